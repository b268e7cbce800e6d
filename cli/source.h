/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening what commands read: files of vectors with the options that describe them, index files, lists of ids. Every
 * function that returns int returns 0, or an exit code after a sentence on stderr. */
#ifndef KITH_CLI_SOURCE_H
#define KITH_CLI_SOURCE_H

#include "command.h"

/* How a file of vectors is to be read, as the options say. */
kith_reader_options source_options(const struct arguments *arguments);

/* dtype: KITH_B1 to read bytes as packed bits, else KITH_DTYPE_NONE. Says on stderr what a careful reader would want to
 * know: a first line that was taken for a header because of its numbers, rows that were left out. */
int source_open(const struct arguments *arguments, const char *path, kith_dtype dtype, kith_reader **reader,
                kith_reader_info *info);
/* The same with options. */
int source_open_with(const struct arguments *arguments, const char *path, const kith_reader_options *options,
                     kith_reader **reader, kith_reader_info *info);

/* "-" as people write it, and as files are opened: standard input. */
const char *source_path(const char *path);

int index_open(const char *path, kith_index **index, kith_index_info *info);
/* The same with --resident, --device and --device-bytes. */
int index_open_resident(const struct arguments *arguments, const char *path, kith_index **index, kith_index_info *info);

/* Open a file of queries for an index: dimension and type must fit. */
int queries_open(const struct arguments *arguments, const char *path, const char *index_path,
                 const kith_index_info *index, kith_reader **reader, kith_reader_info *info);

/* The u64 of an id as people write it: a number, or for an index with string ids the string. */
int id_parse(const kith_index *index, const kith_index_info *info, const char *index_path, const char *text,
             uint64_t *id);

/* The filter that --allow and --deny ask for, of the ids in their text files, one a line; NULL without them. */
int filter_open(const struct arguments *arguments, const kith_index *index, const kith_index_info *info,
                kith_filter **filter);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening what commands read: files of vectors with the options that describe them, index files, lists of ids. Every
 * function that returns int returns 0, or an exit code after a sentence on stderr. */
#ifndef KITH_CLI_SOURCE_H
#define KITH_CLI_SOURCE_H

#include "command.h"

/* dtype: KITH_B1 to read bytes as packed bits, else KITH_DTYPE_NONE. */
int source_open(const struct arguments *arguments, const char *path, kith_dtype dtype, kith_reader **reader,
                kith_reader_info *info);

int index_open(const char *path, kith_index **index, kith_index_info *info);

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

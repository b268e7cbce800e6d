/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside a kith_writer: one struct of functions a format, and the buffered, atomic file below them.
 *
 * W1. Nothing bears the file's name before ki_outfile_commit(); a writer that failed can only be abandoned.
 * W2. Exactly the announced number of rows is written, or none.
 * W3. What cannot be written without loss is refused, never rounded; only bf16 is widened to f4 in .npy, exactly.
 *
 * One owner at a time. */
#ifndef KI_IO_WRITER_H
#define KI_IO_WRITER_H

#include "base/file.h"
#include "io/element.h"
#include "kith.h"

#include <stdbool.h>

typedef struct ki_writer_format {
    /* Refuse what the format cannot hold (before the file is made), and choose element. */
    kith_status (*check)(kith_writer *writer, kith_error *error);
    kith_status (*begin)(kith_writer *writer, kith_error *error); /* the header */
    kith_status (*write)(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error);
} ki_writer_format;

extern const ki_writer_format ki_writer_npy, ki_writer_vecs, ki_writer_bin, ki_writer_csv, ki_writer_jsonl;

struct kith_writer {
    const ki_writer_format *functions;
    ki_outfile file;
    char *path;
    kith_dtype dtype;
    kith_id_kind id_kind;
    bool has_names, failed;
    size_t dim, row_bytes;
    uint64_t rows, written;
    ki_element element; /* in the file; binary formats */
    char separator;     /* csv */
    unsigned char *buffer;
    size_t used;
    uint64_t offset; /* where the buffer goes */
};

kith_status ki_writer_put(kith_writer *writer, const void *data, size_t bytes, kith_error *error);

/* A row's label in a list of ends. */
const char *ki_writer_label(const char *bytes, const uint32_t *ends, size_t row, size_t *label_bytes);

/* Binary formats: elements in a file, and one row of them. */
size_t ki_writer_columns(const kith_writer *writer);
kith_status ki_writer_put_elements(kith_writer *writer, const unsigned char *row, kith_error *error);

#endif

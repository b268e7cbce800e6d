/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside a kith_reader: one struct of functions a format, and what they share.
 *
 * R1. A format's open() proves that the file's size and its header agree before anything is allocated by a count, and
 *     bounds rows and dim by KITH_ROWS_MAX and KITH_DIM_MAX.
 * R2. Rows are numbered in the file here; the public front takes first_row away, so that callers count from 0 in the
 *     window they asked for. Messages count in the file.
 * R3. read() fills reader->data and labels for exactly the rows asked for, or fails; it finds its place by itself, so
 *     seeking is only remembering a number, and a failed read can be repeated.
 * R4. Files are read by pread, never mapped: a file cut while it is read gives an error, not a signal.
 *
 * One owner at a time. */
#ifndef KI_IO_READER_H
#define KI_IO_READER_H

#include "io/element.h"
#include "io/labels.h"
#include "io/lines.h"
#include "io/skip.h"
#include "kith.h"

/* One batch: large enough to keep several threads busy, small beside the builder's memory. */
#define KI_READER_BATCH_BYTES ((size_t)16 << 20)

typedef struct ki_text ki_text;

typedef struct ki_reader_format {
    /* Fill dtype, dim, rows, id_kind, has_names and state. */
    kith_status (*open)(kith_reader *reader, const kith_reader_options *options, kith_error *error);
    kith_status (*read)(kith_reader *reader, uint64_t row, size_t count, kith_error *error);
    void (*close)(kith_reader *reader); /* frees state, which may be NULL; also after a failed open */
} ki_reader_format;

/* A reader of nothing yet, which kith_reader_close() takes; NULL when memory is refused. */
kith_reader *ki_reader_new(const char *path);

extern const ki_reader_format ki_reader_npy, ki_reader_vecs, ki_reader_bin, ki_reader_csv, ki_reader_jsonl,
    ki_reader_source;

struct kith_reader {
    const ki_reader_format *functions; /* NULL: memory */
    kith_format format;
    char *path;
    int fd;
    uint64_t file_bytes;
    kith_dtype dtype;
    kith_id_kind id_kind;
    bool has_names;
    size_t dim, row_bytes;
    uint64_t file_rows; /* of the whole file */
    void *state;        /* the format's */

    uint64_t first_row, rows, next; /* the window, and the next row in it */
    unsigned char *data;
    size_t data_capacity;
    ki_labels ids, names;
    ki_side id_file, name_file;
    char *columns;       /* text formats: as kith_reader_info says them */
    ki_text *text;       /* they lie in state; else NULL */
    bool guessed_header; /* csv */
    bool round;          /* binary formats */
    bool row_ids;        /* rows are left out of a file without ids: ids are what row numbers would be */
    ki_skip skip;

    const unsigned char *memory; /* rows of a reader from memory */
    size_t memory_stride;
    const uint64_t *memory_ids;
};

/* Set rows, dim and dtype after bounding them; `bits`: the columns are bytes of packed bits. */
kith_status ki_reader_set_shape(kith_reader *reader, uint64_t rows, uint64_t columns, kith_dtype dtype, bool bits,
                                kith_error *error);

/* Rows row..row+count of the file into data, ids and names, without those beside the vectors. */
kith_status ki_reader_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error);

/* Formats whose rows all have one size (binary.c): header, then rows of prefix_bytes and columns of `element`. A prefix
 * of 4 bytes is the row's i32 count of columns, and is checked. */
typedef struct ki_binary {
    uint64_t offset;
    size_t prefix_bytes, columns, stride;
    ki_element element;
    unsigned char *staging; /* rows with a prefix or to be narrowed pass through here */
} ki_binary;

/* Proves that the file is offset + rows x stride bytes long and takes the shape. */
kith_status ki_binary_open(kith_reader *reader, const kith_reader_options *options, ki_binary layout, uint64_t rows,
                           uint64_t columns, kith_error *error);
kith_status ki_binary_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error);
void ki_binary_close(kith_reader *reader);

/* The labels that a source lent with its last rows. */
void ki_source_labels(const kith_reader *reader, kith_rows *batch);

/* Does the path end in this suffix, in any case, before a ".gz" if there is one? */
bool ki_suffix_is(const char *path, const char *suffix);
bool ki_suffix_is_gz(const char *path);
/* From the suffix; KITH_FORMAT_AUTO when it says nothing. */
kith_format ki_format_of_suffix(const char *path);
const char *ki_format_name(kith_format format);

/* Lines of a text format, counted by row. */
struct ki_text {
    ki_lines lines;
    uint64_t row; /* of the next line; UINT64_MAX when unknown */
    bool header;  /* the first line is not a row */
};

/* Go to a row, from the start if need be. */
kith_status ki_text_goto(ki_text *text, uint64_t row, kith_error *error);
/* The line of the next row; the end of the file is an error, as rows were counted at open. */
kith_status ki_text_row(ki_text *text, char **line, size_t *bytes, kith_error *error);

#endif

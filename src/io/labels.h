/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids and names of some rows, and the files beside the vectors that may hold them.
 *
 * B1. An id column is KITH_ID_STRING when one id in it is a word: anything but digits after an optional minus sign,
 *     digits after a zero ("007": no digit is lost), or in csv whatever stands in quotes. Otherwise it is KITH_ID_U64,
 *     and an id below 0 or beyond 2^64-2 is refused.
 * B2. Strings are valid UTF-8 without NUL and at most KITH_STRING_MAX bytes; string ids are not empty.
 * B3. Ends are u32: a batch has at most KI_LABELS_MAX rows, so that they cannot overflow.
 *
 * One owner at a time. */
#ifndef KI_IO_LABELS_H
#define KI_IO_LABELS_H

#include "io/lines.h"
#include "kith.h"

#include <stdbool.h>

#define KI_LABELS_MAX ((size_t)1 << 19)

typedef struct ki_labels {
    uint64_t *numbers; /* KITH_ID_U64 */
    char *bytes;       /* strings back to back */
    uint32_t *ends;
    size_t number_count, end_count, used_bytes;
    size_t number_capacity, byte_capacity, end_capacity;
} ki_labels;

void ki_labels_clear(ki_labels *labels); /* keeps the memory */
void ki_labels_free(ki_labels *labels);
kith_status ki_labels_add_number(ki_labels *labels, uint64_t number, kith_error *error);

/* Where a label stands, for messages. */
typedef struct ki_place {
    const char *path;
    uint64_t line;
} ki_place;

/* Add a checked string; `what` is "id" or "name". */
kith_status ki_labels_add_text(ki_labels *labels, ki_place place, const char *what, const char *text, size_t bytes,
                               kith_error *error);
/* Add the text of an id as a number or string, whichever the column is. */
kith_status ki_labels_add_id(ki_labels *labels, kith_id_kind kind, ki_place place, const char *text, size_t bytes,
                             kith_error *error);

/* A column of ids that is looked at while its kind is being decided (B1); begins zeroed. */
typedef struct ki_id_survey {
    bool words;
    uint64_t bad_line; /* of the first number that is no id; 0: none */
    char bad[48];
} ki_id_survey;

/* One id of the column; `word`: it is one whatever it looks like. */
kith_status ki_labels_survey(ki_id_survey *survey, ki_place place, const char *text, size_t bytes, bool word,
                             kith_error *error);
/* What the column is. */
kith_status ki_labels_kind(const ki_id_survey *survey, const char *path, kith_id_kind *kind, kith_error *error);

/* A file with one id or name a row: text, or for ids also .npy. */
typedef struct ki_side {
    char *path; /* NULL: there is none */
    int fd;
    bool ids, npy, npy_signed;
    kith_id_kind kind;
    uint64_t npy_offset, row; /* row: the one that `lines` stands at */
    ki_lines lines;
} ki_side;

#define KI_SIDE_NONE                                                                                                   \
    { .fd = -1 }

/* Open, and tell an .npy of ids, with its rows, from text, whose lines are ready to be read. */
kith_status ki_side_begin(ki_side *side, const char *path, bool ids, uint64_t *npy_rows, kith_error *error);
/* `rows` must be the file's count; `beside` is the vectors' path, for the message. */
kith_status ki_side_open(ki_side *side, const char *path, bool ids, uint64_t rows, const char *beside,
                         kith_error *error);
/* Labels of rows row..row+count. */
kith_status ki_side_read(ki_side *side, uint64_t row, size_t count, ki_labels *labels, kith_error *error);
void ki_side_close(ki_side *side);

#endif

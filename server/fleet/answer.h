/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer of HTTP/1.1 as its bytes come in: head, then a body by length, in chunks or up to the end of the
 * connection.
 *
 * Nothing that the other side says is believed beyond what was bounded: the head has KS_HEAD_BYTES_MAX bytes at most, a
 * body body_max, and sizes are checked before they are counted with. A lone LF ends a line too; a head that says two
 * lengths, or a length and chunks, is refused, as is one that folds lines. */
#ifndef KITH_SERVER_FLEET_ANSWER_H
#define KITH_SERVER_FLEET_ANSWER_H

#include "http/text.h"

enum { KS_HEAD_BYTES_MAX = 16384, KS_CHUNK_LINE_MAX = 256 };

typedef enum ks_answer_part {
    KS_ANSWER_HEAD = 0,
    KS_ANSWER_LENGTH,     /* a body of known length */
    KS_ANSWER_CHUNK_SIZE, /* the line before a chunk, */
    KS_ANSWER_CHUNK,      /* a chunk, */
    KS_ANSWER_CHUNK_END,  /* the line's end behind it, */
    KS_ANSWER_TRAILER,    /* and lines behind the last */
    KS_ANSWER_CLOSE,      /* a body up to the end of the connection */
    KS_ANSWER_WHOLE,
    KS_ANSWER_BAD
} ks_answer_part;

typedef struct ks_answer {
    size_t body_max; /* set it before the first byte */
    ks_answer_part part;
    int status;
    int keeps_alive;         /* another request may follow */
    unsigned long long left; /* of the body or chunk */
    ks_text head, body, line;
    const char *wrong; /* BAD: what was wrong with it, static: "has a head of more than 16 KiB" */
} ks_answer;

/* Ready for another; keeps memory and body_max. */
void ks_answer_begin(ks_answer *answer);
void ks_answer_free(ks_answer *answer);
/* Take bytes; how many were used: fewer only when it is WHOLE or BAD. */
size_t ks_answer_feed(ks_answer *answer, const char *bytes, size_t count);
/* The connection has ended. */
void ks_answer_end(ks_answer *answer);
/* Any byte came. */
int ks_answer_began(const ks_answer *answer);
/* The value of a header without spaces around it; its bytes in *count, no zero behind them. NULL: it is not there. Once
 * the head is read. */
const char *ks_answer_header(const ks_answer *answer, const char *name, size_t *count);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How often keys were seen lately, about: a count-min sketch of four rows of 4-bit counters. It never says too
 * little, but for what ageing took: after ten times as many notes as a row has counters all are halved, so that what
 * was asked for long ago is forgotten. One owner at a time. */
#ifndef KI_CACHE_SKETCH_H
#define KI_CACHE_SKETCH_H

#include <stdint.h>

typedef struct ki_sketch {
    uint64_t *word;    /* sixteen counters each; the rows one behind the other */
    uint64_t counters; /* of a row; a power of two, 16 at least */
    uint64_t notes;    /* since the last ageing, halved with the counters */
} ki_sketch;

static inline uint64_t ki_sketch_bytes(uint64_t counters) {
    return counters * 2;
}
int ki_sketch_create(ki_sketch *sketch, uint64_t counters); /* 0: no memory */
void ki_sketch_free(ki_sketch *sketch);                     /* {0} is fine */
void ki_sketch_note(ki_sketch *sketch, uint64_t hash);
unsigned ki_sketch_count(const ki_sketch *sketch, uint64_t hash); /* 0 to 15 */

#endif

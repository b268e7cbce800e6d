/* SPDX-License-Identifier: Apache-2.0
 *
 * Selection: the k best of a stream, and the k-th largest lower bound.
 *
 * K1. Order is ascending (distance, label); labels are distinct, so the order is total and results are unique.
 * K2. A collector never sorts while it fills: past its capacity it selects the k best by quickselect with pseudo-random
 *     pivots, which no input can make quadratic in practice; few of at most a thousand by insertion.
 *
 * Plain structs owned by the caller; one owner at a time. */
#ifndef KI_KERNEL_TOPK_H
#define KI_KERNEL_TOPK_H

#include "kith.h"

#include <stdbool.h>

typedef struct ki_hit {
    float distance;
    uint32_t position;
    uint64_t label;
} ki_hit;

static inline bool ki_hit_before(const ki_hit *a, const ki_hit *b) {
    return a->distance < b->distance || (a->distance == b->distance && a->label < b->label);
}

/* Order hits so that the k first are the k least (in any order). */
void ki_hits_select(ki_hit *hits, size_t count, size_t k);
void ki_hits_sort(ki_hit *hits, size_t count);

/* The k best hits seen. hits has room for `capacity` > k. */
typedef struct ki_collector {
    ki_hit *hits;
    size_t count, capacity, k;
    float worst; /* nothing farther can enter: +INFINITY until k hits were selected */
} ki_collector;

static inline void ki_collector_reset(ki_collector *c, size_t k) {
    c->count = 0;
    c->k = k;
    c->worst = __builtin_inff();
}

/* Keep only the k best and tighten `worst`. */
void ki_collector_shrink(ki_collector *c);

static inline void ki_collector_push(ki_collector *c, float distance, uint32_t position, uint64_t label) {
    if (!(distance <= c->worst)) return;
    if (c->count == c->capacity) {
        ki_collector_shrink(c);
        if (!(distance <= c->worst)) return;
    }
    c->hits[c->count++] = (ki_hit){distance, position, label};
}

/* The k largest floats seen, as a min-heap. */
typedef struct ki_floor {
    float *heap;
    size_t count, k;
} ki_floor;

/* The k-th largest value so far, -INFINITY before there are k. */
static inline float ki_floor_value(const ki_floor *f) {
    return f->count == f->k ? f->heap[0] : -__builtin_inff();
}
void ki_floor_push(ki_floor *f, float value);

#endif

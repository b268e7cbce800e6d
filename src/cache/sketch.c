/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/sketch.h"

#include "base/checked.h"

enum { ROWS = 4, MOST = 15, NOTES_A_COUNTER = 10 };
static const uint64_t HALVES = UINT64_C(0x7777777777777777);
static const uint64_t spread[ROWS] = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xc2b2ae3d27d4eb4f),
                                      UINT64_C(0x165667b19e3779f9), UINT64_C(0xd6e8feb86659fd93)};

int ki_sketch_create(ki_sketch *sketch, uint64_t counters) {
    *sketch = (ki_sketch){.word = ki_alloc_array_zeroed(counters / 16 * ROWS, sizeof(uint64_t)), .counters = counters};
    return sketch->word != NULL;
}

void ki_sketch_free(ki_sketch *sketch) {
    free(sketch->word);
    sketch->word = NULL;
}

/* The counter of a hash in a row: its word, and where in that it begins. */
static uint64_t *counter_of(const ki_sketch *sketch, uint64_t hash, int row, unsigned *shift) {
    const uint64_t at = ((hash ^ (hash >> 32)) * spread[row] >> 24) & (sketch->counters - 1);
    *shift = (unsigned)(at % 16) * 4;
    return &sketch->word[((uint64_t)row * sketch->counters + at) / 16];
}

static void age(ki_sketch *sketch) {
    for (uint64_t i = 0; i < sketch->counters / 16 * ROWS; i++) sketch->word[i] = (sketch->word[i] >> 1) & HALVES;
    sketch->notes /= 2;
}

void ki_sketch_note(ki_sketch *sketch, uint64_t hash) {
    for (int row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t *word = counter_of(sketch, hash, row, &shift);
        if ((*word >> shift & MOST) < MOST) *word += UINT64_C(1) << shift;
    }
    if (++sketch->notes >= sketch->counters * NOTES_A_COUNTER) age(sketch);
}

unsigned ki_sketch_count(const ki_sketch *sketch, uint64_t hash) {
    unsigned least = MOST;
    for (int row = 0; row < ROWS; row++) {
        unsigned shift;
        const uint64_t *word = counter_of(sketch, hash, row, &shift);
        const unsigned count = (unsigned)(*word >> shift) & MOST;
        if (count < least) least = count;
    }
    return least;
}

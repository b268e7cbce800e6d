/* SPDX-License-Identifier: Apache-2.0
 *
 * Immutable sets of rows or positions, shared by snapshots: a change is a change of a copy that nobody else has yet. In
 * the form that filters of src/index have: a word more than the rows need, bits beyond the rows are 0. */
#ifndef KI_HEAD_BITS_H
#define KI_HEAD_BITS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ki_bits {
    _Atomic uint64_t references;
    uint64_t rows, set; /* set: how many bits are 1 */
    uint64_t words;     /* of memory: at least rows / 64 + 2 */
    uint64_t word[];
} ki_bits;

/* All 0 or all 1; NULL: no memory. */
ki_bits *ki_bits_create(uint64_t rows, int ones);
ki_bits *ki_bits_copy(const ki_bits *bits);
/* The same with memory for `room` rows, so that `rows` may grow up to that: bits beyond the rows are 0. */
ki_bits *ki_bits_copy_with_room(const ki_bits *bits, uint64_t room);
/* The same in a longer set, new bits 1 (a head that grew). */
ki_bits *ki_bits_longer(const ki_bits *bits, uint64_t rows);
/* What is in both, as long as b; a's own count need not be right. NULL: no memory. */
ki_bits *ki_bits_both(const ki_bits *a, const ki_bits *b);
ki_bits *ki_bits_hold(ki_bits *bits);
void ki_bits_release(ki_bits *bits); /* NULL is fine */

static inline int ki_bits_get(const ki_bits *bits, uint64_t row) {
    return (int)(bits->word[row / 64] >> (row % 64) & 1);
}

/* Only on one that was just made. 1 when it changed. */
static inline int ki_bits_clear(ki_bits *bits, uint64_t row) {
    const uint64_t bit = UINT64_C(1) << (row % 64);
    if (!(bits->word[row / 64] & bit)) return 0;
    bits->word[row / 64] &= ~bit;
    bits->set--;
    return 1;
}

/* Only on one that was just made: clear what is set in `gone`, which is as long. Returns how many there were. */
uint64_t ki_bits_take(ki_bits *bits, const ki_bits *gone);

static inline void ki_bits_put(ki_bits *bits, uint64_t row) {
    const uint64_t bit = UINT64_C(1) << (row % 64);
    bits->set += !(bits->word[row / 64] & bit);
    bits->word[row / 64] |= bit;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "head/bits.h"

#include "base/checked.h"

#include <string.h>

static ki_bits *allocate(uint64_t room) {
    uint64_t bytes;
    if (!ki_mul(room / 64 + 2, sizeof(uint64_t), &bytes) || !ki_add(bytes, sizeof(ki_bits), &bytes)) return NULL;
    ki_bits *bits = ki_alloc_array(bytes, 1);
    if (!bits) return NULL;
    atomic_init(&bits->references, 1);
    bits->words = room / 64 + 2;
    return bits;
}

/* Bits first..end become 1. */
static void put_range(ki_bits *bits, uint64_t first, uint64_t end) {
    for (; first < end && first % 64; first++) bits->word[first / 64] |= UINT64_C(1) << (first % 64);
    for (; first + 64 <= end; first += 64) bits->word[first / 64] = UINT64_MAX;
    for (; first < end; first++) bits->word[first / 64] |= UINT64_C(1) << (first % 64);
}

ki_bits *ki_bits_create(uint64_t rows, int ones) {
    ki_bits *bits = allocate(rows);
    if (!bits) return NULL;
    bits->rows = rows;
    bits->set = ones ? rows : 0;
    memset(bits->word, 0, bits->words * sizeof(uint64_t));
    if (ones) put_range(bits, 0, rows);
    return bits;
}

ki_bits *ki_bits_copy_with_room(const ki_bits *bits, uint64_t room) {
    ki_bits *copy = allocate(room > bits->rows ? room : bits->rows);
    if (!copy) return NULL;
    const uint64_t words = bits->rows / 64 + 2;
    copy->rows = bits->rows;
    copy->set = bits->set;
    memcpy(copy->word, bits->word, words * sizeof(uint64_t));
    memset(copy->word + words, 0, (copy->words - words) * sizeof(uint64_t));
    return copy;
}

ki_bits *ki_bits_copy(const ki_bits *bits) {
    return ki_bits_copy_with_room(bits, bits->rows);
}

ki_bits *ki_bits_longer(const ki_bits *bits, uint64_t rows) {
    ki_bits *longer = ki_bits_copy_with_room(bits, rows);
    if (!longer || rows <= bits->rows) return longer;
    put_range(longer, bits->rows, rows);
    longer->set += rows - bits->rows;
    longer->rows = rows;
    return longer;
}

ki_bits *ki_bits_hold(ki_bits *bits) {
    atomic_fetch_add_explicit(&bits->references, 1, memory_order_relaxed);
    return bits;
}

void ki_bits_release(ki_bits *bits) {
    if (bits && atomic_fetch_sub_explicit(&bits->references, 1, memory_order_acq_rel) == 1) free(bits);
}

uint64_t ki_bits_take(ki_bits *bits, const ki_bits *gone) {
    uint64_t taken = 0;
    for (uint64_t w = 0; w * 64 < bits->rows && w * 64 < gone->rows; w++) {
        taken += (uint64_t)__builtin_popcountll(bits->word[w] & gone->word[w]);
        bits->word[w] &= ~gone->word[w];
    }
    bits->set -= taken;
    return taken;
}

ki_bits *ki_bits_both(const ki_bits *a, const ki_bits *b) {
    ki_bits *bits = ki_bits_create(b->rows, 0);
    if (!bits) return NULL;
    for (uint64_t w = 0; w < a->words && w < b->words && w < bits->words; w++) {
        bits->word[w] = a->word[w] & b->word[w];
        bits->set += (uint64_t)__builtin_popcountll(bits->word[w]);
    }
    return bits;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes multiplied and added with checks, and allocation on top of them. Every size that comes from a file, a socket or
 * a caller passes through here before use. */
#ifndef KI_BASE_CHECKED_H
#define KI_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Return false on overflow; *result is then unspecified. */
static inline bool ki_mul(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_mul_overflow(a, b, result);
}
static inline bool ki_add(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_add_overflow(a, b, result);
}

static inline uint64_t ki_round_up(uint64_t value, uint64_t step) {
    return (value + step - 1) / step * step;
}
static inline size_t ki_min_size(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline uint64_t ki_min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* count x size bytes aligned to 64, uninitialised; NULL on overflow or refusal, and for 0 bytes a valid pointer.
 * Freed by free(). */
void *ki_alloc_array(uint64_t count, uint64_t size);
void *ki_alloc_array_zeroed(uint64_t count, uint64_t size);

/* Make *array hold at least `needed` elements of `size` bytes; contents are kept, growth doubles. False on refusal, and
 * then nothing changed. *array may be NULL with *capacity 0. */
bool ki_array_reserve(void **array, size_t *capacity, uint64_t needed, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory between two pages that may not be touched: an operand placed against either of them makes the first byte read
 * or written outside of it a crash.
 *
 * G1. guard_end(g, n) ends where the upper forbidden page begins, whatever n; so its alignment is that of n.
 * G2. guard_start(g) begins where the lower forbidden page ends. */
#ifndef TESTS_SUPPORT_GUARD_H
#define TESTS_SUPPORT_GUARD_H

#include <stddef.h>
#include <stdint.h>

typedef struct guard {
    uint8_t *map; /* the lower forbidden page */
    size_t map_bytes, page_bytes;
} guard;

/* Room for at least `capacity` bytes; aborts the test program if the system refuses. */
void guard_make(guard *g, size_t capacity);
void guard_free(guard *g);

/* The last `bytes` of the room. */
void *guard_end(const guard *g, size_t bytes);
/* The first byte of the room. */
void *guard_start(const guard *g);
/* All bytes of the room to `value`, so that a read before an operand is seen in the result. */
void guard_fill(const guard *g, int value);

#endif

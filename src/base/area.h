/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that grows and is kept, so that work like earlier work allocates nothing. Zero-initialise; free(data) ends it.
 * One owner at a time. */
#ifndef KI_BASE_AREA_H
#define KI_BASE_AREA_H

#include <stddef.h>
#include <stdint.h>

typedef struct ki_area {
    void *data; /* aligned to 64 bytes */
    size_t bytes;
} ki_area;

/* Room for count x size bytes: the memory, or NULL when it is refused (the area is then as it was). Contents are lost
 * when it grows. */
void *ki_area_take(ki_area *area, uint64_t count, size_t size);

/* The same, with contents kept, and twice the memory when it grows. */
void *ki_area_grow(ki_area *area, uint64_t count, size_t size);

#endif

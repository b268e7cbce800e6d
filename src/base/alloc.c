/* SPDX-License-Identifier: Apache-2.0 */
#include "base/checked.h"

#include <string.h>

enum { ALIGNMENT = 64 };

void *ki_alloc_array(uint64_t count, uint64_t size) {
    uint64_t bytes;
    if (!ki_mul(count, size, &bytes) || bytes > (uint64_t)PTRDIFF_MAX - ALIGNMENT) return NULL;
    return aligned_alloc(ALIGNMENT, ki_round_up(bytes ? bytes : 1, ALIGNMENT));
}

void *ki_alloc_array_zeroed(uint64_t count, uint64_t size) {
    void *memory = ki_alloc_array(count, size);
    if (memory) memset(memory, 0, count * size);
    return memory;
}

bool ki_array_reserve(void **array, size_t *capacity, uint64_t needed, size_t size) {
    if (needed <= *capacity) return true;
    const uint64_t doubled = *capacity < SIZE_MAX / 2 ? (uint64_t)*capacity * 2 : SIZE_MAX;
    const uint64_t wanted = needed > doubled ? needed : doubled;
    void *grown = ki_alloc_array(wanted, size);
    if (!grown) return false;
    if (*capacity) memcpy(grown, *array, *capacity * size);
    free(*array);
    *array = grown;
    *capacity = (size_t)wanted;
    return true;
}

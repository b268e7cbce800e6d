/* SPDX-License-Identifier: Apache-2.0 */
#include "base/area.h"

#include "base/checked.h"

void *ki_area_take(ki_area *area, uint64_t count, size_t size) {
    uint64_t bytes;
    if (!ki_mul(count, size, &bytes)) return NULL;
    if (bytes <= area->bytes && area->data) return area->data;
    void *data = ki_alloc_array(bytes, 1);
    if (!data) return NULL;
    free(area->data);
    area->data = data;
    area->bytes = (size_t)bytes;
    return data;
}

void *ki_area_grow(ki_area *area, uint64_t count, size_t size) {
    uint64_t bytes;
    if (!ki_mul(count, size, &bytes)) return NULL;
    if (bytes == 0 && !area->data) bytes = 1;
    return ki_array_reserve(&area->data, &area->bytes, bytes, 1) ? area->data : NULL;
}

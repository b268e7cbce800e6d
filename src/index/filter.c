/* SPDX-License-Identifier: Apache-2.0 */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"

kith_status kith_filter_create(const kith_index *index, const uint64_t *ids, size_t count, size_t *unknown,
                               kith_filter **out, kith_error *error) {
    if (!index || !out || (count && !ids))
        return ki_fail(error, KITH_E_ARG, "kith_filter_create: index, ids or filter is NULL");
    kith_filter *filter = ki_alloc_array_zeroed(1, sizeof(*filter));
    const uint64_t words = index->view.rows / 64 + 2;
    uint64_t *allowed = ki_alloc_array_zeroed(words, sizeof(*allowed));
    if (!filter || !allowed) {
        free(filter);
        free(allowed);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a filter over %llu rows",
                       (unsigned long long)index->view.rows);
    }
    *filter = (kith_filter){.index = index, .words = words, .allowed = allowed};
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t position;
        if (!ki_index_find(index, ids[i], &position)) {
            missing++;
            continue;
        }
        const uint64_t bit = UINT64_C(1) << (position % 64);
        filter->count += !(allowed[position / 64] & bit);
        allowed[position / 64] |= bit;
    }
    if (unknown) *unknown = missing;
    *out = filter;
    return KITH_OK;
}

uint64_t kith_filter_count(const kith_filter *filter) {
    return filter ? filter->count : 0;
}

void kith_filter_destroy(kith_filter *filter) {
    if (!filter) return;
    free(filter->allowed);
    free(filter);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"

/* A filter that lets nothing through; NULL without memory. There is a word more than rows need. */
static kith_filter *empty_filter(const kith_index *index, kith_error *error) {
    kith_filter *filter = ki_alloc_array_zeroed(1, sizeof(*filter));
    const uint64_t words = index->view.rows / 64 + 2;
    uint64_t *allowed = ki_alloc_array_zeroed(words, sizeof(*allowed));
    ki_filter_counts *counts = ki_filter_counts_create();
    ki_filter_notes *notes = ki_filter_notes_create();
    if (!filter || !allowed || !counts || !notes) {
        ki_filter_counts_destroy(counts);
        ki_filter_notes_release(notes);
        free(filter);
        free(allowed);
        (void)!ki_fail(error, KITH_E_NOMEM, "out of memory for a filter over %llu rows",
                       (unsigned long long)index->view.rows);
        return NULL;
    }
    *filter = (kith_filter){.index = index, .words = words, .allowed = allowed, .counts = counts, .notes = notes};
    return filter;
}

kith_status kith_filter_create(const kith_index *index, const uint64_t *ids, size_t count, size_t *unknown,
                               kith_filter **out, kith_error *error) {
    if (!index || !out || (count && !ids))
        return ki_fail(error, KITH_E_ARG, "kith_filter_create: index, ids or filter is NULL");
    kith_filter *filter = empty_filter(index, error);
    if (!filter) return KITH_E_NOMEM;
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t position;
        if (!ki_index_find(index, ids[i], &position)) {
            missing++;
            continue;
        }
        const uint64_t bit = UINT64_C(1) << (position % 64);
        filter->count += !(filter->allowed[position / 64] & bit);
        filter->allowed[position / 64] |= bit;
    }
    if (unknown) *unknown = missing;
    *out = filter;
    return KITH_OK;
}

/* The bits of word `at` that stand for rows: what is beyond the last row is let through by no filter. */
static uint64_t row_bits(uint64_t rows, uint64_t at) {
    if (rows >= at * 64 + 64) return UINT64_MAX;
    return rows > at * 64 ? (UINT64_C(1) << (rows % 64)) - 1 : 0;
}

kith_status kith_filter_create_except(const kith_filter *allow, const kith_filter *deny, kith_filter **out,
                                      kith_error *error) {
    if (!deny || !out) return ki_fail(error, KITH_E_ARG, "kith_filter_create_except: deny or filter is NULL");
    if (allow && allow->index != deny->index)
        return ki_fail(error, KITH_E_ARG, "kith_filter_create_except: the two filters are of different indexes");
    kith_filter *filter = empty_filter(deny->index, error);
    if (!filter) return KITH_E_NOMEM;
    for (uint64_t at = 0; at < filter->words; at++) {
        const uint64_t from = allow ? allow->allowed[at] : row_bits(deny->index->view.rows, at);
        filter->allowed[at] = from & ~deny->allowed[at];
        filter->count += (uint64_t)__builtin_popcountll(filter->allowed[at]);
    }
    *out = filter;
    return KITH_OK;
}

uint64_t kith_filter_count(const kith_filter *filter) {
    return filter ? filter->count : 0;
}

void kith_filter_destroy(kith_filter *filter) {
    if (!filter) return;
    ki_filter_counts_destroy(filter->counts);
    ki_filter_notes_release(filter->notes);
    free(filter->allowed);
    free(filter);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tune/inner.h"

#include "base/status.h"

kith_status ki_tune_tell(const ki_tuning *t, const char *stage, const char *unit, uint64_t done, uint64_t total,
                         kith_error *error) {
    const kith_progress progress = {sizeof(progress), stage, unit, done, total};
    if (!t->progress || !t->progress(t->progress_context, &progress)) return KITH_OK;
    return ki_fail(error, KITH_E_CANCELLED, "tuning was cancelled");
}

kith_status ki_tune_search(const ki_tuning *t, kith_scratch *scratch, size_t first, size_t count, size_t k,
                           const kith_search_options *options, kith_error *error) {
    const ki_view *view = &t->index->view;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = t->queries + first * t->query_bytes;
    queries.dtype = view->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = count;
    queries.dim = view->dim;
    return kith_search(t->index, &queries, k, options, scratch, t->ids + first * k, t->distances + first * k, error);
}

static void set_held(ki_tuning *t, size_t fold, int held) {
    uint64_t *allowed = t->unheld.allowed;
    for (size_t i = fold ? t->folds[fold - 1].held_end : 0; i < t->folds[fold].held_end; i++) {
        const uint32_t position = t->held[i];
        const uint64_t bit = UINT64_C(1) << (position % 64);
        const int allows = (allowed[position / 64] & bit) != 0;
        if (allows == !held) continue; /* near-duplicates of two queries */
        allowed[position / 64] ^= bit;
        t->unheld.count = held ? t->unheld.count - 1 : t->unheld.count + 1;
    }
}

void ki_tune_hold(ki_tuning *t, size_t fold) {
    t->unheld.absent = (uint32_t)fold + 1;
    set_held(t, fold, 1);
}

void ki_tune_let(ki_tuning *t, size_t fold) {
    set_held(t, fold, 0);
}

static kith_status search_counted(ki_tuning *t, size_t first, size_t count, size_t k, kith_search_options options,
                                  kith_error *error) {
    kith_explain explain = KITH_EXPLAIN_INIT;
    options.explain = &explain;
    const kith_status status = ki_tune_search(t, t->wide, first, count, k, &options, error);
    t->visited += explain.visited;
    t->reranked = explain.rerank;
    return status;
}

kith_status ki_tune_search_held(ki_tuning *t, size_t count, size_t k, const kith_search_options *options,
                                kith_error *error) {
    kith_search_options held = *options;
    kith_status status = KITH_OK;
    t->visited = 0;
    if (!t->self) return search_counted(t, 0, count, k, held, error);
    held.filter = &t->unheld;
    for (size_t f = 0, first = 0; first < count && status == KITH_OK; first = t->folds[f++].end) {
        const size_t end = t->folds[f].end < count ? t->folds[f].end : count;
        ki_tune_hold(t, f);
        status = search_counted(t, first, end - first, k, held, error);
        ki_tune_let(t, f);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "search/scratch.h"

#include "base/checked.h"
#include "base/status.h"

kith_status kith_scratch_create(const kith_index *index, kith_pool *pool, kith_scratch **out, kith_error *error) {
    if (!index || !out) return ki_fail(error, KITH_E_ARG, "kith_scratch_create: index or scratch is NULL");
    kith_scratch *scratch = ki_alloc_array_zeroed(1, sizeof(*scratch));
    if (!scratch) return ki_fail(error, KITH_E_NOMEM, "out of memory for a scratch");
    scratch->index = index;
    scratch->pool = pool;
    scratch->threads = ki_pool_threads(pool);
    scratch->workers = ki_alloc_array_zeroed(scratch->threads, sizeof(*scratch->workers));
    int ready = scratch->workers != NULL;
    for (unsigned i = 0; i < scratch->threads && ready; i++)
        ready = (scratch->workers[i].desk = ki_desk_create()) != NULL;
    if (!ready) {
        kith_scratch_destroy(scratch);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a scratch");
    }
    *out = scratch;
    return KITH_OK;
}

void kith_scratch_destroy(kith_scratch *scratch) {
    if (!scratch) return;
    for (unsigned i = 0; i < scratch->threads && scratch->workers; i++) {
        ki_desk_destroy(scratch->workers[i].desk);
        ki_walker_destroy(scratch->workers[i].walker);
        ki_hnsw_searcher_destroy(scratch->workers[i].hnsw);
        free(scratch->workers[i].hits.data);
        free(scratch->workers[i].queries.data);
        ki_lsh_desk_destroy(scratch->workers[i].lsh);
    }
    ki_kept *kept = scratch->kept.data;
    for (size_t i = 0; i < scratch->kept_count; i++) {
        free(kept[i].hits.data);
        free(kept[i].ends.data);
    }
    free(kept);
    free(scratch->workers);
    free(scratch->shared.data);
    free(scratch->offsets.data);
    free(scratch->ids.data);
    free(scratch->distances.data);
    free(scratch->merged.data);
    free(scratch->floats.data);
    free(scratch->poor.data);
    free(scratch->list_counts.data);
    ki_ivf_destroy(scratch->ivf);
    free(scratch);
}

int ki_scratch_keep(kith_scratch *scratch, size_t pieces) {
    if (!ki_area_grow(&scratch->kept, pieces, sizeof(ki_kept))) return 0;
    ki_kept *kept = scratch->kept.data;
    for (; scratch->kept_count < pieces; scratch->kept_count++) kept[scratch->kept_count] = (ki_kept){0};
    for (size_t i = 0; i < pieces; i++) kept[i].used = 0;
    return 1;
}

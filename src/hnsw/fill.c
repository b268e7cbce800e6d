/* SPDX-License-Identifier: Apache-2.0
 *
 * All at once: the numbers of a capacity inserted by the threads of a pool; every vertex made reachable; and the bytes
 * of a segment's parts. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"
#include "hnsw/state.h"

#include <string.h>

enum { RUN = 64 }; /* numbers that a thread takes at a time */

struct filling {
    ki_hnsw *h;
    ki_hnsw_searcher **searchers;
    atomic_int status;
    atomic_uint_fast64_t done;
    kith_progress_fn progress;
    void *progress_context;
};

static void tell(struct filling *f) {
    const kith_progress now = {sizeof(now), "linking", "vectors", atomic_load(&f->done), f->h->options.capacity};
    if (f->progress && f->progress(f->progress_context, &now)) {
        int fine = KITH_OK;
        atomic_compare_exchange_strong(&f->status, &fine, KITH_E_CANCELLED);
    }
}

static void fill_run(void *context, size_t piece, unsigned worker) {
    struct filling *f = context;
    const uint32_t first = (uint32_t)piece * RUN;
    const uint32_t end = (uint32_t)ki_min_u64((uint64_t)first + RUN, f->h->options.capacity);
    for (uint32_t i = first; i < end && !atomic_load(&f->status); i++) {
        const kith_status status = ki_hnsw_insert(f->h, f->searchers[worker], i, NULL);
        int fine = KITH_OK;
        if (status != KITH_OK) atomic_compare_exchange_strong(&f->status, &fine, (int)status);
    }
    atomic_fetch_add(&f->done, end - first);
    if (worker == 0) tell(f);
}

static kith_status explain(kith_status status, const ki_hnsw *h, kith_error *error) {
    if (status == KITH_E_CANCELLED) return ki_fail(error, status, "linking the vectors was cancelled");
    return ki_fail(error, status, "out of memory for an HNSW of %u vectors", h->options.capacity);
}

kith_status ki_hnsw_fill(ki_hnsw *h, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                         kith_error *error) {
    const unsigned threads = ki_pool_threads(pool);
    struct filling f = {.h = h, .progress = progress, .progress_context = progress_context};
    int ready = (f.searchers = ki_alloc_array_zeroed(threads, sizeof(ki_hnsw_searcher *))) != NULL;
    for (unsigned i = 0; i < threads && ready; i++) ready = (f.searchers[i] = ki_hnsw_searcher_create()) != NULL;
    kith_status status = ready ? KITH_OK : explain(KITH_E_NOMEM, h, error);
    if (ready) {
        ki_pool_run(pool, ((size_t)h->options.capacity + RUN - 1) / RUN, fill_run, &f);
        status = (kith_status)atomic_load(&f.status);
        if (status != KITH_OK) status = explain(status, h, error);
        if (status == KITH_OK) status = ki_hnsw_connect(h, f.searchers[0], error);
    }
    for (unsigned i = 0; i < threads && f.searchers; i++) ki_hnsw_searcher_destroy(f.searchers[i]);
    free(f.searchers);
    return status;
}

/* ---- Reachability ------------------------------------------------------------------------------------------------ */

/* Mark what edges lead to from a vertex. queue: room for all. */
static void spread(const ki_hnsw *h, uint32_t from, uint8_t *reached, uint32_t *queue, uint32_t *ids) {
    const uint32_t limit = atomic_load(&h->limit);
    size_t first = 0, end = 0;
    reached[from] = 1;
    queue[end++] = from;
    while (first < end) {
        const size_t count = ki_hnsw_neighbours(&h->net, queue[first++], 0, limit, ids);
        for (size_t i = 0; i < count; i++) {
            if (reached[ids[i]]) continue;
            if (ki_hnsw_load(ki_hnsw_row(&h->net, ids[i]) + KI_HNSW_STATE_AT) != KI_HNSW_VERTEX) continue;
            reached[ids[i]] = 1;
            queue[end++] = ids[i];
        }
    }
}

static int has_room(const ki_hnsw *h, uint32_t number) {
    return ki_hnsw_load(ki_hnsw_row(&h->net, number) + KI_HNSW_COUNT_AT) < 2 * h->net.m;
}

/* The nearest vertex that is reached and has room for one more edge: among those of a walk, or any. */
static uint32_t find_host(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, const uint8_t *reached) {
    ki_hnsw_query q;
    ki_hnsw_query_of_row(&h->net, ki_hnsw_row(&h->net, number), s->z, ki_hnsw_limit2(h), &q);
    ki_hnsw_descend(s, &h->net, &q, s->entry, 0);
    ki_hnsw_walk(s, &h->net, &q, 0, h->options.ef);
    for (size_t i = 0; i < s->pool.count; i++) {
        const uint32_t host = ki_hnsw_number(s->pool.entry[i]);
        if (reached[host] && has_room(h, host)) return host;
    }
    for (uint32_t i = 0; i < s->limit; i++)
        if (reached[i] && has_room(h, i)) return i;
    return KI_HNSW_NONE;
}

kith_status ki_hnsw_connect(ki_hnsw *h, ki_hnsw_searcher *s, kith_error *error) {
    const uint32_t limit = atomic_load(&h->limit);
    uint8_t *reached = ki_alloc_array_zeroed(limit, 1);
    uint32_t *queue = ki_alloc_array(limit, sizeof(*queue)), *ids = s->picked[0];
    const int ready = reached && queue && ki_hnsw_ready_in(h, s, h->options.ef);
    if (ready && s->entry != UINT64_MAX) spread(h, (uint32_t)s->entry, reached, queue, ids);
    for (uint32_t i = 0; ready && s->entry != UINT64_MAX && i < limit; i++) {
        if (reached[i] || !atomic_load(&h->net.rows.chunk[(uint64_t)i >> h->net.rows.shift])) continue;
        if (ki_hnsw_load(ki_hnsw_row(&h->net, i) + KI_HNSW_STATE_AT) != KI_HNSW_VERTEX) continue;
        const uint32_t host = find_host(h, s, i, reached);
        if (host == KI_HNSW_NONE) continue;
        ki_hnsw_link(h, s, host, i, 0);
        spread(h, i, reached, queue, ids);
    }
    free(reached);
    free(queue);
    return ready ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for an HNSW of %u vectors", limit);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static const char magic[8] = {'K', 'I', 'T', 'H', 'N', 'S', 'W', '1'};

kith_status ki_hnsw_save(const ki_hnsw *h, void **model, size_t *model_bytes, const void **rows, uint64_t *rows_bytes,
                         kith_error *error) {
    const size_t at = ki_hnsw_blocks_at(h->options.dim), block = ki_hnsw_block_bytes(h->net.m);
    const uint64_t bytes = at + (uint64_t)h->blocks_used * block;
    const uint64_t entry = atomic_load(&h->entry);
    uint8_t *to = ki_alloc_array_zeroed(bytes, 1);
    if (!to) return ki_fail(error, KITH_E_NOMEM, "out of memory for an HNSW of %u vectors", h->options.capacity);
    memcpy(to, magic, sizeof(magic));
    ki_store_u32(to + 8, h->net.m);
    ki_store_u32(to + 12, h->options.ef);
    ki_store_u32(to + 16, (uint32_t)entry);
    ki_store_u32(to + 20, (uint32_t)(entry >> 32));
    ki_store_u64(to + 24, h->blocks_used);
    if (h->net.centre) memcpy(to + KI_HNSW_MODEL_HEAD_BYTES, h->net.centre, h->options.dim * sizeof(float));
    if (h->blocks_used) memcpy(to + at, ki_hnsw_at(&h->net.blocks, 0), (size_t)h->blocks_used * block);
    *model = to;
    *model_bytes = (size_t)bytes;
    *rows = ki_hnsw_row(&h->net, 0);
    *rows_bytes = (uint64_t)h->options.capacity * h->net.rows.each_bytes;
    return KITH_OK;
}

int ki_hnsw_view_model(const void *model, size_t bytes, uint64_t rows, kith_metric metric, size_t dim,
                       ki_hnsw_view *out) {
    const uint8_t *from = model;
    const size_t at = ki_hnsw_blocks_at(dim);
    uint64_t blocks_bytes;
    if (bytes < at || memcmp(from, magic, sizeof(magic)) != 0) return 0;
    const ki_hnsw_view view = {.m = ki_load_u32(from + 8),
                               .ef = ki_load_u32(from + 12),
                               .entry = ki_load_u32(from + 16),
                               .top = ki_load_u32(from + 20),
                               .blocks = ki_load_u64(from + 24),
                               .centre = metric == KITH_L2SQ || metric == KITH_COSINE
                                             ? (const float *)(const void *)(from + KI_HNSW_MODEL_HEAD_BYTES)
                                             : NULL,
                               .upper = from + at};
    if (view.m < 2 || view.m > KI_HNSW_M_MAX || view.top > KI_HNSW_LEVEL_MAX) return 0;
    if (rows > KI_HNSW_ROWS_MAX || view.entry >= rows || view.blocks > rows * KI_HNSW_LEVEL_MAX) return 0;
    if (!ki_mul(view.blocks, ki_hnsw_block_bytes(view.m), &blocks_bytes) || bytes - at != blocks_bytes) return 0;
    *out = view;
    return 1;
}

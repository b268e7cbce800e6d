/* SPDX-License-Identifier: Apache-2.0
 *
 * What walks over the links of a head find, and how many vertices they look at: measured with vectors that are on their
 * way in, for 10 and for 100 results and candidates from as many to 48 times as many. Between what was measured, and for
 * other numbers of results, it is interpolated.
 *
 * A sample errs: an eighth of what may be missed is kept back. */
#include "base/checked.h"
#include "head/head_state.h"
#include "kernel/distance.h"

#include <string.h>

static const size_t depths[KI_HEAD_DEPTHS] = {10, 100};
static const double ratios[KI_HEAD_RATIOS] = {1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48};
enum { ALL = 1000000, ENOUGH = 995000, KEPT_BACK = 8 };

/* ---- Measuring --------------------------------------------------------------------------------------------------- */

struct measuring {
    const ki_head_block *block;
    ki_head_graph *graph;
    const uint32_t *places;
    size_t rows, count, query_bytes, k;
    uint8_t *queries;
    ki_hit *exact, *hits; /* depths[last] a query; of one query */
    size_t *exact_count;
};

static void read_queries(const struct measuring *m) {
    const ki_head_block *block = m->block;
    for (size_t i = 0; i < m->count; i++) {
        const uint8_t *row = block->originals + (size_t)m->places[i] * block->row_bytes;
        uint8_t *to = m->queries + i * m->query_bytes;
        if (block->dtype == KITH_B1)
            memcpy(to, row, block->row_bytes);
        else
            ki_distance()->to_f32[block->dtype](row, block->dim, (float *)(void *)to);
    }
}

/* The nearest of all that is in the graph. */
static kith_status find_exact(const struct measuring *m) {
    ki_counts counts = {0};
    atomic_int stop;
    atomic_init(&stop, 0);
    ki_head_scan scan = {
        .allowed = m->graph->in, .k = m->k, .limits = {.stop = &stop}, .desk = m->graph->desk, .counts = &counts};
    ki_head_scan_view(m->block, m->rows, &scan);
    const size_t group = ki_flat_group(&scan.view, m->k);
    kith_status status = KITH_OK;
    for (size_t q = 0; q < m->count && status == KITH_OK; q += group)
        status = ki_head_scan_run(&scan, 0, m->rows / KI_BLOCK, m->queries + q * m->query_bytes,
                                  ki_min_size(group, m->count - q), m->exact + q * m->k, m->exact_count + q);
    return status;
}

/* How many exact hits are among `count` others. */
static size_t count_found(const ki_hit *exact, size_t all, const ki_hit *hits, size_t count) {
    size_t found = 0;
    for (size_t i = 0; i < all; i++)
        for (size_t j = 0; j < count; j++)
            if (exact[i].position == hits[j].position) {
                found++;
                break;
            }
    return found;
}

static kith_status try_ratio(const struct measuring *m, size_t depth, size_t ratio, uint32_t *share) {
    const size_t k = depths[depth];
    uint64_t found = 0, all = 0, visited = 0;
    for (size_t q = 0; q < m->count; q++) {
        const size_t there = ki_min_size(k, m->exact_count[q]);
        ki_hnsw_search search = {
            .query = m->queries + q * m->query_bytes, .k = k, .ef = (size_t)((double)k * ratios[ratio])};
        size_t count;
        if (search.ef > KI_HNSW_EF_MAX) search.ef = KI_HNSW_EF_MAX;
        const kith_status status = ki_hnsw_find(m->graph->hnsw, m->graph->searcher, &search, m->hits, &count);
        if (status != KITH_OK) return status;
        found += count_found(m->exact + q * m->k, there, m->hits, count);
        all += there;
        visited += search.visited;
    }
    *share = (uint32_t)(all ? found * ALL / all : ALL);
    atomic_store_explicit(&m->graph->visits[depth][ratio], (uint32_t)(visited / m->count), memory_order_relaxed);
    atomic_store_explicit(&m->graph->found[depth][ratio], *share, memory_order_relaxed);
    return KITH_OK;
}

static kith_status try_all(const struct measuring *m, const atomic_int *stop) {
    for (size_t d = 0; d < KI_HEAD_DEPTHS; d++) {
        uint32_t share = 0;
        for (size_t r = 0; r < KI_HEAD_RATIOS; r++) {
            if (atomic_load_explicit(stop, memory_order_relaxed)) return KITH_E_CANCELLED;
            if (share >= ENOUGH) { /* what an earlier measurement left */
                atomic_store_explicit(&m->graph->found[d][r], 0, memory_order_relaxed);
                continue;
            }
            const kith_status status = try_ratio(m, d, r, &share);
            if (status != KITH_OK) return status;
        }
    }
    return KITH_OK;
}

kith_status ki_head_measure(const ki_head_block *block, ki_head_graph *graph, size_t rows, const uint32_t *places,
                            size_t count, const atomic_int *stop) {
    struct measuring m = {.block = block, .graph = graph, .rows = rows, .places = places, .count = count};
    kith_status status = KITH_E_NOMEM;
    m.k = depths[KI_HEAD_DEPTHS - 1];
    m.query_bytes = block->dtype == KITH_B1 ? block->row_bytes : block->dim * sizeof(float);
    m.queries = ki_alloc_array(count, m.query_bytes);
    m.exact = ki_alloc_array(count * m.k, sizeof(*m.exact));
    m.exact_count = ki_alloc_array_zeroed(count, sizeof(*m.exact_count));
    m.hits = ki_alloc_array(m.k, sizeof(*m.hits));
    if (m.queries && m.exact && m.exact_count && m.hits) {
        read_queries(&m);
        status = find_exact(&m);
        if (status == KITH_OK) status = try_all(&m, stop);
    }
    free(m.queries);
    free(m.exact);
    free(m.exact_count);
    free(m.hits);
    return status;
}

/* ---- What it says ------------------------------------------------------------------------------------------------ */

/* Candidates a result, and visits, that find a share of depths[depth] results; 0: none do. */
static double ratio_of(const ki_head_graph *graph, size_t depth, double target, double *visits) {
    double before = 0, visits_before = 0;
    for (size_t r = 0; r < KI_HEAD_RATIOS; r++) {
        const double found = atomic_load_explicit(&graph->found[depth][r], memory_order_relaxed) / (double)ALL;
        const double visited = atomic_load_explicit(&graph->visits[depth][r], memory_order_relaxed);
        if (found >= target) {
            const double part = r && found > before ? (target - before) / (found - before) : 1;
            *visits = r ? visits_before + part * (visited - visits_before) : visited;
            return r ? ratios[r - 1] + part * (ratios[r] - ratios[r - 1]) : ratios[r];
        }
        before = found;
        visits_before = visited;
    }
    return 0;
}

size_t ki_head_effort(const ki_head_graph *graph, size_t k, double target, double *visits) {
    const double wanted = target + (1 - target) / KEPT_BACK;
    double few = 0, many = 0;
    const double ratio_few = ratio_of(graph, 0, wanted, &few), ratio_many = ratio_of(graph, 1, wanted, &many);
    double ef = ratio_few * (double)depths[0];
    *visits = few;
    if (ratio_few <= 0 || (k > depths[0] && ratio_many <= 0)) return 0;
    if (k > depths[1]) {
        ef = ratio_many * (double)k;
        *visits = many * (double)k / (double)depths[1];
    } else if (k > depths[0]) {
        const double part = (double)(k - depths[0]) / (double)(depths[1] - depths[0]);
        ef += part * (ratio_many * (double)depths[1] - ef);
        *visits += part * (many - few);
    }
    return ki_min_size((size_t)ef + 1, KI_HNSW_EF_MAX);
}

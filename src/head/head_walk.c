/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks of searches over what is linked of a head. Whether they pay is computed from counts: rows that a scan looks at
 * and vertices that a walk does, by what either costs. AVX2, one query, us, the walk at recall .95:
 *
 *     rows x dimensions     4,000 x 384   8,000 x 384   20,000 x 384   60,000 x 384   20,000 x 96   20,000 x 32
 *     scan                           78           166            497          3,036           117            71
 *     walk                           44            55             72            160            80            54
 *
 * With 16 queries a call and more a scan costs half of that a query. A snapshot's rows may be fewer than the graph has,
 * or others: so walks are told which of them live, which costs a twentieth more where all do, and where fewer are found
 * than there are the caller scans. */
#include "base/checked.h"
#include "head/head_state.h"

/* Costs in units of a twentieth of a nanosecond, the second in those of a row: from the table, whose walks looked at some
 * 650 vertices. */
enum { VISIT_COST = 1500, VISIT_ROW_COST = 2, BATCH = 4 };

static size_t count_bits(const uint64_t *bits, size_t count) {
    size_t set = 0;
    for (size_t i = 0; i < count / 64; i++) set += (size_t)__builtin_popcountll(bits[i]);
    if (count % 64) set += (size_t)__builtin_popcountll(bits[count / 64] & ((UINT64_C(1) << count % 64) - 1));
    return set;
}

/* Whether a walk costs less than scanning what is linked. Where matches lie apart from the query it is longer than
 * expected: it gives up when it has cost as much as the scan that follows. */
static int pays(const ki_head_search *search, const ki_head_block *block, double visits, ki_head_walk *walk) {
    const double a_query = search->query_count >= BATCH ? 2 : 1, row = (double)ki_head_row_cost(block);
    const double most = (double)walk->linked * row / ((VISIT_COST + VISIT_ROW_COST * row) * a_query);
    walk->visits_max = (uint64_t)most + 1;
    return visits * (double)walk->linked / (double)walk->matches < most;
}

void ki_head_walk_plan(const ki_head_search *search, const uint64_t *allowed, size_t rows, ki_head_walk *walk) {
    ki_head_block *block = &search->head->blocks[search->spec];
    *walk = (ki_head_walk){0};
    if (!(search->target_recall > 0) || !(search->target_recall < 1)) return;
    ki_head_graph *graph = atomic_load_explicit(&block->graph, memory_order_acquire);
    const size_t linked = graph ? atomic_load_explicit(&graph->linked, memory_order_acquire) : 0;
    if (ki_head_worth_links(block, rows, linked))
        atomic_fetch_add_explicit(&block->asked, search->query_count, memory_order_relaxed);
    if (!linked || !search->live || !search->walker) return;
    walk->graph = graph;
    walk->linked = ki_min_size(linked, rows / KI_BLOCK * KI_BLOCK);
    walk->allowed = allowed ? allowed : search->live->word; /* all of them */
    walk->matches = count_bits(walk->allowed, walk->linked);
    double visits = 0;
    walk->ef = ki_head_effort(graph, search->k, search->target_recall, &visits);
    if (!walk->ef || !walk->matches || !pays(search, block, visits, walk)) walk->linked = 0;
}

int ki_head_walk_run(const ki_head_search *search, const ki_head_walk *walk, const void *query, ki_hit *hits,
                     size_t *count) {
    const ki_head_block *block = &search->head->blocks[search->spec];
    ki_hnsw_search asked = {.query = query,
                            .k = search->k,
                            .ef = walk->ef,
                            .allowed = walk->allowed,
                            .allowed_count = walk->linked,
                            .visits_max = walk->visits_max};
    const kith_status status = ki_hnsw_find(walk->graph->hnsw, search->walker, &asked, hits, count);
    search->counts->visited += asked.visited;
    search->counts->scanned_rows += asked.visited;
    if (status != KITH_OK || asked.gave_up || *count < ki_min_size(search->k, walk->matches)) return 0;
    for (size_t i = 0; i < *count; i++) hits[i].label = block->labels[hits[i].position];
    ki_hits_sort(hits, *count); /* ties are in the order of their keys now */
    return 1;
}

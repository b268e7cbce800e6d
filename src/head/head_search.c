/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching the vectors of one name of a head: what is linked is walked to where that is allowed and pays
 * (head_walk.c); blocks that are coded are scanned, the rest is scored plainly, and the answers are merged. Scans and
 * scores are exact (flat/flat.h F2), so without walks the whole is. */
#include "base/checked.h"
#include "base/status.h"
#include "head/head_state.h"

#include <string.h>

/* Fewer live rows than one in so many: scoring them costs less than scanning all. 8,192 rows of 384 floats are scanned
 * in 165 us by AVX2, and 512 of them scored in 41: there a quarter would do, and less where products of bytes are
 * faster. */
enum { GATHER_SHARE = 8 };

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

void ki_head_scan_view(const ki_head_block *block, size_t rows, ki_head_scan *scan) {
    ki_view *view = &scan->view;
    scan->block = block;
    scan->coded = ki_min_size(atomic_load_explicit(&block->coded, memory_order_acquire), rows / KI_BLOCK);
    *view = (ki_view){.rows = rows,
                      .dim = block->dim,
                      .row_bytes = block->row_bytes,
                      .blocks = scan->coded,
                      .dtype = block->dtype,
                      .metric = block->metric,
                      .lists = {.count = 1},
                      .originals = block->originals,
                      .norms2 = block->norms2,
                      .labels = block->labels};
    if (!scan->coded) return;
    view->whole = block->recipe.whole != KI_WHOLE_NOT;
    view->full = (ki_level){block->codes, block->factors, block->block_bytes / KI_QUAD_BYTES, scan->coded};
    view->centre = block->recipe.centre;
    view->centre_norm = block->centre_norm;
}

/* Merge `more` into hits, which has `count` and room for k; how many there are then. Both ascend. */
static size_t merge(ki_hit *hits, size_t count, const ki_hit *more, size_t more_count, size_t k) {
    size_t old = 0, new = 0;
    while (old + new < k && (old < count || new < more_count)) {
        if (new == more_count || (old < count && ki_hit_before(&hits[old], &more[new])))
            old++;
        else
            new ++;
    }
    const size_t total = old + new;
    for (size_t to = total; new > 0;) /* from the end: what moves has gone from its place */
        hits[--to] = old > 0 && ki_hit_before(&more[new - 1], &hits[old - 1]) ? hits[--old] : more[--new];
    return total;
}

/* By one plan. */
static kith_status run_part(const ki_head_scan *scan, kith_plan plan, size_t first, size_t end, const void *queries,
                            size_t count, ki_hit *hits, size_t *hit_count) {
    const ki_flat_search flat = {
        .view = &scan->view, .plan = plan, .k = scan->k, .allowed = scan->allowed, .limits = scan->limits};
    if (first >= end) return KITH_OK;
    const kith_status status = ki_flat_run(&flat, scan->desk, queries, count, first, end, NULL, 0, scan->counts);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        size_t found;
        const ki_hit *more = ki_desk_hits(scan->desk, i, &found);
        hit_count[i] = merge(hits + i * scan->k, hit_count[i], more, found, scan->k);
    }
    return status;
}

kith_status ki_head_scan_run(const ki_head_scan *scan, size_t first, size_t end, const void *queries, size_t count,
                             ki_hit *hits, size_t *hit_count) {
    const size_t middle = scan->coded < first ? first : ki_min_size(scan->coded, end);
    const kith_status status = run_part(scan, KITH_PLAN_SCAN, first, middle, queries, count, hits, hit_count);
    if (status != KITH_OK) return status;
    return run_part(scan, KITH_PLAN_PLAIN, middle, end, queries, count, hits, hit_count);
}

/* ---- Searches ---------------------------------------------------------------------------------------------------- */

/* What one search works with. */
struct work {
    const ki_head_search *search;
    ki_head_scan scan;
    ki_head_walk walk;
};

/* Bits by place of bits by serial. Where every row has a vector they are the same. */
static kith_status allow(struct work *work, kith_error *error) {
    const ki_head_search *search = work->search;
    const ki_head_block *block = work->scan.block;
    const size_t rows = (size_t)work->scan.view.rows;
    if (!search->live || (search->live->set == search->count && search->live->rows == search->count)) return KITH_OK;
    if (rows == search->count) {
        work->scan.allowed = search->live->word;
        return KITH_OK;
    }
    uint64_t *bits = ki_area_take(search->area, rows / 64 + 2, sizeof(*bits));
    if (!bits) return ki_fail(error, KITH_E_NOMEM, "out of memory for a search of %zu rows of the head", rows);
    memset(bits, 0, (rows / 64 + 2) * sizeof(*bits));
    for (size_t p = 0; p < rows; p++) bits[p / 64] |= (uint64_t)ki_bits_get(search->live, block->serial[p]) << (p % 64);
    work->scan.allowed = bits;
    return KITH_OK;
}

static kith_status begin(const ki_head_search *search, struct work *work, kith_error *error) {
    const ki_head_block *block = &search->head->blocks[search->spec];
    const size_t rows = ki_head_block_places(block, search->count);
    *work = (struct work){
        .search = search,
        .scan = {.k = search->k, .limits = search->limits, .desk = search->desk, .counts = search->counts}};
    ki_head_scan_view(block, rows, &work->scan);
    const int gathers = search->live && search->live->set < work->scan.coded * KI_BLOCK / GATHER_SHARE;
    if (gathers) work->scan.coded = 0;
    const kith_status status = allow(work, error);
    if (status == KITH_OK && !gathers) ki_head_walk_plan(search, work->scan.allowed, rows, &work->walk);
    return status;
}

static const void *query_at(const struct work *work, size_t query) {
    const ki_view *view = &work->scan.view;
    const size_t bytes = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    return (const uint8_t *)work->search->queries + query * bytes;
}

/* Walk to what is linked, or scan that, for each query of a group. */
static kith_status run_linked(const struct work *work, size_t query, size_t count, ki_hit *hits, size_t *hit_count) {
    const ki_head_search *search = work->search;
    kith_status status = KITH_OK;
    for (size_t i = query; i < query + count && status == KITH_OK; i++) {
        status = ki_limits_reached(&search->limits, 0);
        if (status != KITH_OK ||
            ki_head_walk_run(search, &work->walk, query_at(work, i), hits + i * search->k, &hit_count[i]))
            continue;
        hit_count[i] = 0;
        status = ki_head_scan_run(&work->scan, 0, work->walk.linked / KI_BLOCK, query_at(work, i), 1,
                                  hits + i * search->k, &hit_count[i]);
    }
    return status;
}

static kith_status run_group(const struct work *work, size_t query, size_t count, ki_hit *hits, size_t *hit_count) {
    const size_t blocks = ((size_t)work->scan.view.rows + KI_BLOCK - 1) / KI_BLOCK;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < count; i++) hit_count[query + i] = 0;
    if (work->walk.linked) status = run_linked(work, query, count, hits, hit_count);
    if (status != KITH_OK) return status;
    return ki_head_scan_run(&work->scan, work->walk.linked / KI_BLOCK, blocks, query_at(work, query), count,
                            hits + query * work->search->k, hit_count + query);
}

kith_status ki_head_run(const ki_head_search *search, ki_hit *hits, size_t *hit_count, kith_error *error) {
    struct work work;
    kith_status status = begin(search, &work, error);
    if (status != KITH_OK) return status;
    const size_t group = ki_flat_group(&work.scan.view, search->k);
    for (size_t query = 0; query < search->query_count; query += group) {
        status = run_group(&work, query, ki_min_size(group, search->query_count - query), hits, hit_count);
        if (status == KITH_E_NOMEM) return ki_fail(error, status, "out of memory for a search of the head");
        if (status != KITH_OK) return status;
    }
    const ki_head_block *block = &search->head->blocks[search->spec];
    for (size_t query = 0; query < search->query_count; query++)
        for (size_t i = 0; i < hit_count[query]; i++)
            hits[query * search->k + i].position = block->serial[hits[query * search->k + i].position];
    return KITH_OK;
}

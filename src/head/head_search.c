/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching the vectors of one name of a head: the blocks that are coded are scanned, the rest is scored plainly, and
 * the two answers are merged. Both are exact (flat/flat.h F2), so the whole is. */
#include "base/checked.h"
#include "base/status.h"
#include "head/head_state.h"

#include <string.h>

/* What one search works with. */
struct work {
    const ki_head_search *search;
    ki_view view;            /* of the first `rows` places */
    size_t coded;            /* blocks to be scanned; the rest is scored */
    const uint64_t *allowed; /* by place, or NULL */
};

/* Fewer live rows than one in so many: scoring them costs less than scanning all. 8,192 rows of 384 floats are scanned
 * in 165 us by AVX2, and 512 of them scored in 41: there a quarter would do, and less where products of bytes are
 * faster. */
enum { GATHER_SHARE = 8 };

static void fill_view(const ki_head_block *block, size_t rows, size_t coded, ki_view *view) {
    *view = (ki_view){.rows = rows,
                      .dim = block->dim,
                      .row_bytes = block->row_bytes,
                      .blocks = coded,
                      .dtype = block->dtype,
                      .metric = block->metric,
                      .lists = {.count = 1},
                      .originals = block->originals,
                      .norms2 = block->norms2,
                      .labels = block->labels};
    if (!coded) return;
    view->whole = block->recipe.whole != KI_WHOLE_NOT;
    view->full = (ki_level){block->codes, block->factors, block->block_bytes / KI_QUAD_BYTES, coded};
    view->centre = block->recipe.centre;
    view->centre_norm = block->centre_norm;
}

/* Bits by place of bits by serial. Where every row has a vector they are the same. */
static kith_status allow(struct work *work, const ki_head_block *block, kith_error *error) {
    const ki_head_search *search = work->search;
    const size_t rows = (size_t)work->view.rows;
    work->allowed = NULL;
    if (!search->live || (search->live->set == search->count && search->live->rows == search->count)) return KITH_OK;
    if (rows == search->count) {
        work->allowed = search->live->word;
        return KITH_OK;
    }
    uint64_t *bits = ki_area_take(search->area, rows / 64 + 2, sizeof(*bits));
    if (!bits) return ki_fail(error, KITH_E_NOMEM, "out of memory for a search of %zu rows of the head", rows);
    memset(bits, 0, (rows / 64 + 2) * sizeof(*bits));
    for (size_t p = 0; p < rows; p++) bits[p / 64] |= (uint64_t)ki_bits_get(search->live, block->serial[p]) << (p % 64);
    work->allowed = bits;
    return KITH_OK;
}

static kith_status begin(const ki_head_search *search, struct work *work, kith_error *error) {
    const ki_head_block *block = &search->head->blocks[search->spec];
    const size_t rows = ki_head_block_places(block, search->count);
    work->search = search;
    work->coded = ki_min_size(atomic_load_explicit(&block->coded, memory_order_acquire), rows / KI_BLOCK);
    if (search->live && search->live->set < work->coded * KI_BLOCK / GATHER_SHARE) work->coded = 0;
    fill_view(block, rows, work->coded, &work->view);
    return allow(work, block, error);
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

/* One plan over the blocks first..end for a group of queries, merged into what they have. */
static kith_status run_part(const struct work *work, kith_plan plan, size_t first, size_t end, size_t query,
                            size_t count, ki_hit *hits, size_t *hit_count) {
    const ki_head_search *search = work->search;
    const size_t bytes = work->view.dtype == KITH_B1 ? work->view.row_bytes : work->view.dim * sizeof(float);
    const ki_flat_search flat = {
        .view = &work->view, .plan = plan, .k = search->k, .allowed = work->allowed, .limits = search->limits};
    const kith_status status = ki_flat_run(&flat, search->desk, (const uint8_t *)search->queries + query * bytes, count,
                                           first, end, NULL, 0, search->counts);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        size_t found;
        const ki_hit *more = ki_desk_hits(search->desk, i, &found);
        const size_t at = query + i;
        hit_count[at] = merge(hits + at * search->k, hit_count[at], more, found, search->k);
    }
    return status;
}

static kith_status run_group(const struct work *work, size_t query, size_t count, ki_hit *hits, size_t *hit_count) {
    const size_t blocks = ((size_t)work->view.rows + KI_BLOCK - 1) / KI_BLOCK;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < count; i++) hit_count[query + i] = 0;
    if (work->coded) status = run_part(work, KITH_PLAN_SCAN, 0, work->coded, query, count, hits, hit_count);
    if (status == KITH_OK && work->coded < blocks)
        status = run_part(work, KITH_PLAN_PLAIN, work->coded, blocks, query, count, hits, hit_count);
    return status;
}

kith_status ki_head_run(const ki_head_search *search, ki_hit *hits, size_t *hit_count, kith_error *error) {
    struct work work;
    kith_status status = begin(search, &work, error);
    if (status != KITH_OK) return status;
    const size_t group = ki_flat_group(&work.view, search->k);
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

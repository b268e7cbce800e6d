/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lists a query cannot do without. With a threshold known, a list is skipped if the centroid's score, the
 * errors of its code and the list's radius together prove that none of its vectors reaches the threshold:
 *
 *     ip, cosine   <q',x> <= <q',c> + |q'| R                    l2   |q-x| >= |q-c| - R
 *
 * Data with clusters, or of few dimensions, loses most of its lists; in hundreds of dimensions hardly any, and then
 * the standing panels scan everything. */
#include "flat/desk.h"

#include "base/checked.h"
#include "kernel/pick.h"
#include "quant/int8.h"

#include <math.h>
#include <string.h>

/* At most this score, by the defining kernel, for every vector of a list. centroid: an upper bound of its score. */
static float best_of_list(const ki_desk *desk, const ki_query_code *code, float centroid, size_t list) {
    const float g = ki_rounding(desk->view->dim), radius = desk->view->lists.radius[list];
    if (desk->view->metric != KITH_L2SQ) {
        const float reach = (code->a + code->b) * radius;
        return centroid + reach * (1 + 0x1p-18f) + code->c;
    }
    const float apart = sqrtf(centroid < 0 ? -2 * centroid : 0) * (1 - 0x1p-18f) - radius;
    return apart > 0 ? -apart * apart / 2 * (1 - 4 * g) * (1 - 0x1p-18f) : 0;
}

/* Mark the lists of one block of coarse codes that a query needs. */
static size_t mark_block(ki_desk *desk, size_t query, size_t block, const int32_t dot[KI_BLOCK]) {
    const ki_lists *lists = &desk->view->lists;
    const ki_query_code *code = &desk->code[0][query];
    const float *factors = lists->coarse.factors + block * KI_FACTORS, tau = ki_desk_threshold(desk, query);
    size_t marked = 0;
    for (size_t v = 0; v < KI_BLOCK && block * KI_BLOCK + v < lists->count; v++) {
        const size_t list = block * KI_BLOCK + v;
        const float norm = factors[KI_FACTOR_NORM + v];
        const float score =
            code->base + (float)dot[v] * code->scale * factors[KI_FACTOR_SCALE + v] + factors[KI_FACTOR_BIAS + v];
        const float error = code->a * norm + code->b * factors[KI_FACTOR_ERROR + v] + desk->norm2_slack * norm * norm +
                            code->c + 0x1p-20f * fabsf(score);
        if (desk->search->nprobe) desk->centroid_scores[query * lists->coarse.blocks * KI_BLOCK + list] = score;
        const int needed = !(best_of_list(desk, code, score + error, list) < tau - 0x1p-20f * fabsf(tau));
        desk->needed[list * desk->count + query] = (uint8_t)needed;
        marked += (size_t)needed;
    }
    return marked;
}

/* How many lists a query probes; its centroids' scores are given. */
static size_t probes_of(ki_desk *desk, size_t query, const float *scores, int count_unusual) {
    const ki_flat_search *search = desk->search;
    const ki_query_code *code = &desk->code[0][query];
    float best = -INFINITY;
    for (size_t list = 0; list < desk->view->lists.count; list++) best = scores[list] > best ? scores[list] : best;
    if (search->careful.nprobe <= search->nprobe ||
        !(ki_query_statistic(desk->view, best, code->b) < search->careful.below))
        return search->nprobe;
    desk->counts->unusual += (uint64_t)count_unusual;
    return ki_min_size(search->careful.nprobe, desk->view->lists.count);
}

/* Only the nearest lists of a query: their centroids' scores were kept, a row each. Returns those that begin in the
 * blocks first..end. */
static size_t keep_nearest(ki_desk *desk, size_t query, size_t first, size_t end) {
    const ki_lists *lists = &desk->view->lists;
    const size_t row = lists->coarse.blocks * KI_BLOCK;
    const float *scores = desk->centroid_scores + query * row;
    float *spare = desk->centroid_scores + desk->count * row;
    memcpy(spare, scores, lists->count * sizeof(float));
    const float least = ki_pick_nth(spare, lists->count, probes_of(desk, query, scores, first == 0));
    size_t kept = 0;
    for (size_t list = 0; list < lists->count; list++) {
        uint8_t *needed = &desk->needed[list * desk->count + query];
        *needed &= (uint8_t)(scores[list] >= least);
        kept += (size_t)(*needed && lists->first_block[list] >= first && lists->first_block[list] < end);
    }
    return kept;
}

/* The pairs of a query and a list that begins in the blocks first..end, where nprobe leaves no list out: those that
 * bounds do not rule out, or all, where nothing is gained by gathering who needs a list. */
static size_t count_probed(const ki_desk *desk, size_t first, size_t end, int gathered) {
    const ki_lists *lists = &desk->view->lists;
    size_t probed = 0;
    for (size_t list = 0; list < lists->count; list++) {
        if (lists->first_block[list] < first || lists->first_block[list] >= end) continue;
        const uint8_t *needed = desk->needed + list * desk->count;
        for (size_t i = 0; i < desk->count; i++) probed += gathered ? needed[i] : 1;
    }
    return probed;
}

int ki_desk_mark_lists(ki_desk *desk, size_t first, size_t end) {
    const ki_lists *lists = &desk->view->lists;
    const size_t quads = desk->view->full.quads, width = desk->tile->dots_width;
    const int all = desk->search->nprobe != 0; /* to know the nearest, all must be looked at */
    const size_t from = all ? 0 : lists->of_block[first], to = all ? lists->count : lists->of_block[end - 1] + 1;
    desk->needed = ki_area_take(&desk->needed_buffer, lists->count, desk->count);
    if (!desk->needed) return -1;
    const size_t nprobe = desk->search->nprobe;
    if (nprobe) {
        desk->centroid_scores =
            ki_area_take(&desk->centroid_buffer, (desk->count + 1) * lists->coarse.blocks, KI_BLOCK * sizeof(float));
        if (!desk->centroid_scores) return -1;
    }
    size_t marked = 0;
    for (size_t block = from / KI_BLOCK; block * KI_BLOCK < to; block++)
        for (size_t done = 0; done < desk->count; done += width) {
            const int8_t *queries[KI_DOTS_MAX];
            int32_t starts[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
            const size_t taken = ki_min_size(width, desk->count - done);
            for (size_t i = 0; i < taken; i++) {
                queries[i] = desk->bytes[0] + (done + i) * 4 * quads;
                starts[i] = desk->code[0][done + i].start;
            }
            desk->tile->dots(&lists->coarse, block, queries, starts, (unsigned)taken, dot);
            for (size_t i = 0; i < taken; i++) marked += mark_block(desk, done + i, block, dot[i]);
        }
    if (nprobe && nprobe < lists->count) {
        for (size_t i = 0; i < desk->count; i++) desk->counts->probed_lists += keep_nearest(desk, i, first, end);
        return 1;
    }
    const size_t blocks = (to + KI_BLOCK - 1) / KI_BLOCK - from / KI_BLOCK;
    const int gathered = marked * 5 < blocks * KI_BLOCK * desk->count * 3; /* which costs some: below, it pays */
    if (nprobe) desk->counts->probed_lists += count_probed(desk, first, end, gathered);
    return gathered;
}

size_t ki_desk_needing(const ki_desk *desk, size_t list, uint32_t *query) {
    size_t count = 0;
    const uint8_t *needed = desk->needed + list * desk->count;
    for (size_t i = 0; i < desk->count; i++) {
        query[count] = (uint32_t)i;
        count += needed[i];
    }
    return count;
}

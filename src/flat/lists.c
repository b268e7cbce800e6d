/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lists a query cannot do without. With a threshold known, a list is skipped if the centroid's score, the
 * errors of its code and the list's radius together prove that none of its vectors reaches the threshold. What no
 * vector's score exceeds, by the defining kernel, is the *reach* of the query in the list. Data with clusters, or of
 * few dimensions, loses most of its lists; in hundreds of dimensions hardly any, and then the standing panels scan
 * everything.
 *
 * L1. Reach. Let c be the list's centroid, R its radius (at least the longest |x - c|, as the file has it), q' the
 *     query as its code stands for it (l2: less the centre; cosine: of unit length), s the score of c (<q',c> and so
 *     on, B2 of quant/int8.h), and s+ = estimate + error of the centroid's int8 code, which B2 proves to be at least s:
 *     the centroids are coded as vectors are. Then, for every x of the list,
 *         ip, cosine   <q',x> = <q',c> + <q',x-c> <= s+ + |q'| R                           (Cauchy, Schwarz)
 *         l2           |q-x| >= |q-c| - |x-c| >= sqrt(-2 s+) - R, and scores are -|q-x|^2/2  (triangle)
 *     |q'| <= a + b: b is at least the length of the query's code, a that of what the code leaves out. Where the root
 *     is no larger than R the reach is 0, which no score of l2 exceeds.
 * L2. Rounding. 2^-18 of the product and of the root covers their few operations (2^-24 each); c and 4 g cover the
 *     defining kernel's own sums, as in B2. What is compared with a threshold has 2^-20 of it to spare.
 * L3. A reach is good for the whole search, whatever thresholds become: who needs a list is asked anew where it is
 *     scanned. So lists that a threshold has ruled out meanwhile cost no exact product with their centroid. */
#include "flat/desk.h"

#include "base/checked.h"
#include "kernel/pick.h"
#include "quant/int8.h"

#include <math.h>
#include <string.h>

/* L1; centroid: s+. */
static float reach_of(const ki_desk *desk, const ki_query_code *code, float centroid, size_t list) {
    const float g = ki_rounding(desk->view->dim), radius = desk->view->lists.radius[list];
    if (desk->view->metric != KITH_L2SQ) {
        const float reach = (code->a + code->b) * radius;
        return centroid + reach * (1 + 0x1p-18f) + code->c;
    }
    const float apart = sqrtf(centroid < 0 ? -2 * centroid : 0) * (1 - 0x1p-18f) - radius;
    return apart > 0 ? -apart * apart / 2 * (1 - 4 * g) * (1 - 0x1p-18f) : 0;
}

/* The reach of a query in the lists of one block of coarse codes; how many of them it needs now. */
static size_t mark_block(ki_desk *desk, size_t query, size_t block, const int32_t dot[KI_BLOCK]) {
    const ki_lists *lists = &desk->view->lists;
    const ki_query_code *code = &desk->code[0][query];
    const float *factors = lists->coarse.factors + block * KI_FACTORS;
    size_t marked = 0;
    for (size_t v = 0; v < KI_BLOCK && block * KI_BLOCK + v < lists->count; v++) {
        const size_t list = block * KI_BLOCK + v;
        const float norm = factors[KI_FACTOR_NORM + v];
        const float score =
            code->base + (float)dot[v] * code->scale * factors[KI_FACTOR_SCALE + v] + factors[KI_FACTOR_BIAS + v];
        const float error = code->a * norm + code->b * factors[KI_FACTOR_ERROR + v] + desk->norm2_slack * norm * norm +
                            code->c + 0x1p-20f * fabsf(score);
        if (desk->search->nprobe) desk->centroid_scores[query * lists->coarse.blocks * KI_BLOCK + list] = score;
        desk->reach[list * desk->count + query] = reach_of(desk, code, score + error, list);
        marked += (size_t)ki_desk_needs(desk, list, query);
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
        if (!(scores[list] >= least)) desk->reach[list * desk->count + query] = -INFINITY;
        kept += (size_t)(ki_desk_needs(desk, list, query) && lists->first_block[list] >= first &&
                         lists->first_block[list] < end);
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
        for (size_t i = 0; i < desk->count; i++) probed += gathered ? (size_t)ki_desk_needs(desk, list, i) : 1;
    }
    return probed;
}

/* The lists from..to of every stride-th query from `first` on; how many pairs are needed. */
static size_t mark_some(ki_desk *desk, size_t from, size_t to, size_t first, size_t stride) {
    const ki_level *coarse = &desk->view->lists.coarse;
    const size_t quads = desk->view->full.quads, width = desk->tile->dots_width;
    size_t marked = 0;
    for (size_t block = from / KI_BLOCK; block * KI_BLOCK < to; block++)
        for (size_t next = first; next < desk->count;) {
            const int8_t *queries[KI_DOTS_MAX];
            int32_t starts[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
            size_t query[KI_DOTS_MAX], taken = 0;
            for (; taken < width && next < desk->count; next += stride, taken++) {
                query[taken] = next;
                queries[taken] = desk->bytes[0] + next * 4 * quads;
                starts[taken] = desk->code[0][next].start;
            }
            desk->tile->dots(coarse, block, queries, starts, (unsigned)taken, dot);
            for (size_t i = 0; i < taken; i++) marked += mark_block(desk, query[i], block, dot[i]);
        }
    return marked;
}

/* All queries; or, where they need not know their nearest lists, some from all over first, which stop it when they need
 * most lists anyway. *pairs: of lists and queries that were looked at. Returns how many of them are needed. */
static size_t mark_all(ki_desk *desk, size_t from, size_t to, size_t *pairs) {
    enum { TRIED = 64 };
    const size_t each = ki_round_up(to, KI_BLOCK) - from / KI_BLOCK * KI_BLOCK;
    const size_t stride = (desk->count + TRIED - 1) / TRIED;
    size_t marked = mark_some(desk, from, to, 0, stride);
    *pairs = each * ((desk->count + stride - 1) / stride);
    if (stride > 1 && !desk->search->nprobe && marked * 5 >= *pairs * 4) return marked;
    for (size_t first = 1; first < stride; first++) marked += mark_some(desk, from, to, first, stride);
    *pairs = each * desk->count;
    desk->reach_known = 1;
    return marked;
}

int ki_desk_mark_lists(ki_desk *desk, size_t first, size_t end) {
    const ki_lists *lists = &desk->view->lists;
    const size_t nprobe = desk->search->nprobe;
    const int all = nprobe != 0; /* to know the nearest, all must be looked at */
    const size_t from = all ? 0 : lists->of_block[first], to = all ? lists->count : lists->of_block[end - 1] + 1;
    size_t pairs;
    desk->reach = ki_area_take(&desk->reach_buffer, (uint64_t)lists->count * desk->count, sizeof(float));
    if (!desk->reach) return -1;
    if (nprobe) {
        desk->centroid_scores =
            ki_area_take(&desk->centroid_buffer, (desk->count + 1) * lists->coarse.blocks, KI_BLOCK * sizeof(float));
        if (!desk->centroid_scores) return -1;
    }
    const size_t marked = mark_all(desk, from, to, &pairs);
    if (nprobe && nprobe < lists->count) {
        for (size_t i = 0; i < desk->count; i++) desk->counts->probed_lists += keep_nearest(desk, i, first, end);
        return 1;
    }
    const int gathered = marked * 5 < pairs * 3; /* which costs some: below, it pays */
    if (nprobe) desk->counts->probed_lists += count_probed(desk, first, end, gathered);
    return gathered;
}

size_t ki_desk_needing(const ki_desk *desk, size_t list, uint32_t *query) {
    size_t count = 0;
    for (size_t i = 0; i < desk->count; i++) {
        query[count] = (uint32_t)i;
        count += (size_t)ki_desk_needs(desk, list, i);
    }
    return count;
}

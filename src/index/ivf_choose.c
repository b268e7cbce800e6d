/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing lists: queries are coded, a panel of them meets the coded centroids, and each query takes its nprobe best.
 * The scores of centroids are estimates too: their error is that of one more int8 product, far below the spread of a
 * list. */
#include "index/ivf_state.h"

#include "base/checked.h"
#include "base/clock.h"
#include "kernel/distance.h"
#include "quant/level1.h"

#include <math.h>
#include <string.h>

static kith_status encode(ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const ki_flat *flat = ivf->flat;
    const float *q = ki_ivf_query(ivf, query);
    ivf->inverse[query] = ki_query_inverse(flat, q);
    if (!ki_query_encode(flat, q, ivf->inverse[query], w->rows, ivf->bytes + query * 4 * flat->full.quads,
                         &ivf->code[query]))
        return KITH_E_CORRUPT;
    ivf->scan_scale[query] = ivf->code[query].scale;
    ivf->scan_start[query] = ivf->code[query].start;
    if (ivf->search->code == KITH_SCAN_SECOND)
        ki_second_prepare(&flat->second, w->rows, w->spare, ivf->second + query * flat->second.query_bytes);
    return KITH_OK;
}

/* A panel of queries without thresholds: their full codes, or those of the first level. */
static void pack_panel(const ki_ivf *ivf, const ki_ivf_worker *w, int in_first, size_t first, unsigned count,
                       ki_panel *panel) {
    const size_t quads = in_first ? ivf->flat->level1.quads : ivf->flat->full.quads;
    const int8_t *bytes = in_first ? ivf->scan_bytes : ivf->bytes, *rows[KI_PANEL_MAX];
    *panel = (ki_panel){.packed = w->packed, .count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = i < count ? -INFINITY : INFINITY;
    for (unsigned i = 0; i < count; i++) {
        const size_t query = first + i;
        rows[i] = bytes + query * 4 * quads;
        panel->scale[i] = in_first ? ivf->scan_scale[query] : ivf->code[query].scale;
        panel->start[i] = in_first ? ivf->scan_start[query] : ivf->code[query].start;
    }
    ivf->tile->pack(rows, count, quads, w->packed);
}

/* Scores of all vectors of a level: a row of blocks * 16 floats a query, into w->coarse. */
static size_t put_scores(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level) {
    size_t put = 0;
    for (size_t block = 0; block < level->blocks;) {
        size_t hits = 0;
        block = ivf->tile->score(level, panel, block, level->blocks, w->hits, w->scores, KI_IVF_HITS, &hits);
        for (size_t h = 0; h < hits; h++) {
            if (w->hits[h].query >= panel->count) continue; /* an infinite score, as below */
            memcpy(w->coarse + (w->hits[h].query * level->blocks + w->hits[h].block) * KI_BLOCK, w->scores[h],
                   sizeof(w->scores[h]));
            put++;
        }
    }
    return put;
}

/* A damaged file's factors can make scores infinite or NaN. A block of NaN the kernel passes over: it counts as least.
 */
static void score_level(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level) {
    const size_t wanted = panel->count * level->blocks;
    if (put_scores(ivf, w, panel, level) == wanted) return;
    for (size_t i = 0; i < wanted * KI_BLOCK; i++) w->coarse[i] = -INFINITY;
    put_scores(ivf, w, panel, level);
}

/* Code a query's place in the first level's basis. Where it holds what no finite basis gives, the query has code 0. */
static void encode_first(ki_ivf *ivf, float *place, size_t query) {
    const size_t columns = 4 * ivf->flat->level1.quads, directions = ki_level1_directions(columns);
    int8_t *code = ivf->scan_bytes + query * columns;
    float largest = 0, norm2 = 0;
    ki_int8_facts facts = {0};
    for (size_t j = directions; j < columns; j++) place[j] = 0; /* lengths of what is left out: for bounds only */
    for (size_t j = 0; j < directions; j++) {
        largest = fabsf(place[j]) > largest ? fabsf(place[j]) : largest;
        norm2 += place[j] * place[j];
    }
    memset(code, 0, columns);
    if (isfinite(norm2)) ki_int8_encode(place, columns, largest, norm2, code, &facts);
    ivf->scan_scale[query] = facts.scale;
    ivf->scan_start[query] = -KI_CODE_OFFSET * facts.sum;
}

/* What all vectors of a list have in common in their scores; the query's own base, the same for all lists, is left out:
 * beside a query far away it would drown the rest. */
static float base_of(const ki_ivf *ivf, float centroid_score) {
    return ivf->flat->residual && ivf->search->code != KITH_SCAN_FIRST ? centroid_score : 0;
}

/* A threshold that the `wanted` best scores reach. */
static float least_score(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t wanted) {
    const size_t blocks = ivf->flat->lists.coarse.blocks, groups = ki_pick_groups(wanted);
    float *maxima = w->work, *spare = maxima + groups * KI_BLOCK;
    if (groups > blocks || groups * KI_BLOCK < wanted) return -INFINITY;
    for (size_t i = 0; i < groups * KI_BLOCK; i++) maxima[i] = -INFINITY;
    ivf->pick->maxima(scores, blocks, groups, maxima);
    return ivf->pick->nth(maxima, groups * KI_BLOCK, wanted, spare);
}

/* The `wanted` best centroids by (score, list), in the order of lists, into w->index. Returns how many: fewer only
 * where a damaged file's scores are NaN, or those of padding are not least. */
static size_t pick_lists(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t wanted) {
    const size_t blocks = ivf->flat->lists.coarse.blocks, lists = ivf->flat->lists.count;
    const float least = least_score(ivf, w, scores, wanted);
    size_t found = ki_min_size(ivf->pick->above(scores, blocks, least, w->index, lists), lists);
    while (found && w->index[found - 1] >= lists) found--; /* they ascend */
    if (found <= wanted) return found;
    float *const reached = w->work, *const spare = reached + ki_round_up(found, KI_BLOCK);
    for (size_t i = 0; i < found; i++) reached[i] = scores[w->index[i]];
    const float last = ivf->pick->nth(reached, found, wanted, spare);
    size_t ties = wanted, kept = 0;
    for (size_t i = 0; i < found; i++) ties -= reached[i] > last;
    for (size_t i = 0; i < found && kept < wanted; i++) {
        const int tie = reached[i] == last && ties > 0;
        w->index[kept] = w->index[i];
        kept += reached[i] > last || tie;
        ties -= (size_t)tie;
    }
    return kept;
}

/* The score of the nearest of the centroids picked: from scores of the first level, which leave something out, it is
 * computed anew. */
static float best_score(const ki_ivf *ivf, const ki_ivf_worker *w, size_t query, const float *scores, size_t picked) {
    const ki_flat *flat = ivf->flat;
    const float *q = ki_ivf_query(ivf, query);
    float best = -INFINITY;
    uint32_t list = 0;
    for (size_t i = 0; i < picked; i++)
        if (scores[w->index[i]] > best) best = scores[list = w->index[i]];
    if (!picked || !ivf->coarse_first) return ivf->code[query].base + best;
    const float *centroid = flat->lists.centroids + (size_t)list * flat->dim;
    if (flat->metric == KITH_L2SQ) return -ki_distance()->l2sq[KITH_F32](q, centroid, flat->dim) / 2;
    return ivf->inverse[query] * ki_distance()->dot[KITH_F32](q, centroid, flat->dim);
}

float ki_ivf_statistic(const ki_flat *flat, float best, float query_norm) {
    return flat->metric == KITH_IP ? best / (query_norm > 0 ? query_norm : 1) : best;
}

float ki_ivf_chosen_statistic(const ki_ivf *ivf, size_t query) {
    return ivf->statistic[query];
}

static void choose_best(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const float *scores, ki_flat_counts *counts) {
    const size_t careful = ki_min_size(ivf->search->careful.nprobe, ivf->probe_stride);
    size_t picked = pick_lists(ivf, w, scores, ivf->nprobe);
    ivf->statistic[query] = ki_ivf_statistic(ivf->flat, best_score(ivf, w, query, scores, picked), ivf->code[query].b);
    if (careful > ivf->nprobe && ivf->statistic[query] < ivf->search->careful.below) {
        picked = pick_lists(ivf, w, scores, careful);
        counts->unusual++;
    }
    ki_probe *probe = ivf->probe + query * ivf->probe_stride;
    ivf->probes[query] = (uint32_t)picked;
    for (size_t i = 0; i < picked; i++) probe[i] = (ki_probe){w->index[i], base_of(ivf, scores[w->index[i]])};
    for (size_t i = 0; i < picked && ivf->spill; i++)
        ivf->probed[query * ivf->words + probe[i].list / 64] |= UINT64_C(1) << probe[i].list % 64;
}

/* The places of a panel's queries in the first level, from their full codes; the panel becomes theirs. */
static void enter_first(ki_ivf *ivf, ki_ivf_worker *w, size_t first, ki_panel *panel) {
    const unsigned count = panel->count;
    score_level(ivf, w, panel, &ivf->basis.level);
    for (unsigned i = 0; i < count; i++)
        encode_first(ivf, w->coarse + i * ivf->basis.level.blocks * KI_BLOCK, first + i);
    if (ivf->coarse_first) pack_panel(ivf, w, 1, first, count, panel);
}

kith_status ki_ivf_choose(ki_ivf *ivf, unsigned worker, size_t first, size_t count, ki_flat_counts *counts) {
    ki_ivf_worker *w = &ivf->worker[worker];
    const ki_lists *lists = &ivf->flat->lists;
    const uint64_t start = ki_now_ns();
    const size_t width = ivf->tile->width, row = lists->coarse.blocks * KI_BLOCK;
    for (size_t done = 0; done < count; done += width) {
        const unsigned taken = (unsigned)ki_min_size(width, count - done);
        ki_panel panel;
        for (unsigned i = 0; i < taken; i++) {
            const kith_status status = encode(ivf, w, first + done + i);
            if (status != KITH_OK) return status;
        }
        pack_panel(ivf, w, 0, first + done, taken, &panel);
        if (ivf->search->code == KITH_SCAN_FIRST) enter_first(ivf, w, first + done, &panel);
        score_level(ivf, w, &panel, ivf->coarse_first ? &lists->coarse_first : &lists->coarse);
        for (unsigned i = 0; i < taken; i++) choose_best(ivf, w, first + done + i, w->coarse + i * row, counts);
    }
    counts->stage_ns[KITH_STAGE_PREPARE] += ki_now_ns() - start;
    return KITH_OK;
}

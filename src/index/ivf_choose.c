/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing lists: queries are coded, a panel of them meets the coded centroids, and each query takes its nprobe best.
 * The scores of centroids are estimates too: their error is that of one more int8 product, far below the spread of a
 * list. */
#include "index/ivf_state.h"

#include "base/checked.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

static kith_status encode(ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const ki_flat *flat = ivf->flat;
    const float *q = ki_ivf_query(ivf, query);
    ivf->inverse[query] = ki_query_inverse(flat, q);
    if (!ki_query_encode(flat, q, ivf->inverse[query], w->rows, ivf->bytes + query * 4 * flat->full.quads,
                         &ivf->code[query]))
        return KITH_E_CORRUPT;
    if (ivf->search->second)
        ki_second_prepare(&flat->second, w->rows, w->spare, ivf->second + query * flat->second.query_bytes);
    return KITH_OK;
}

/* A panel of the queries listed, without thresholds. */
static void pack_panel(const ki_ivf *ivf, const ki_ivf_worker *w, size_t first, unsigned count, ki_panel *panel) {
    const int8_t *rows[KI_PANEL_MAX];
    *panel = (ki_panel){.packed = w->packed, .count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = i < count ? -INFINITY : INFINITY;
    for (unsigned i = 0; i < count; i++) {
        rows[i] = ivf->bytes + (first + i) * 4 * ivf->flat->full.quads;
        panel->scale[i] = ivf->code[first + i].scale;
        panel->start[i] = ivf->code[first + i].start;
    }
    ivf->tile->pack(rows, count, ivf->flat->full.quads, w->packed);
}

/* Scores of all centroids: a row of coarse.blocks * 16 floats a query. */
static size_t put_scores(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel) {
    const ki_level *coarse = &ivf->flat->lists.coarse;
    size_t put = 0;
    for (size_t block = 0; block < coarse->blocks;) {
        size_t hits = 0;
        block = ivf->tile->score(coarse, panel, block, coarse->blocks, w->hits, w->scores, KI_IVF_HITS, &hits);
        for (size_t h = 0; h < hits; h++) {
            if (w->hits[h].query >= panel->count) continue; /* an infinite score, as below */
            memcpy(w->coarse + (w->hits[h].query * coarse->blocks + w->hits[h].block) * KI_BLOCK, w->scores[h],
                   sizeof(w->scores[h]));
            put++;
        }
    }
    return put;
}

/* A damaged file's factors can make scores infinite or NaN. A block of NaN the kernel passes over: it counts as least.
 */
static void score_centroids(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel) {
    const size_t wanted = panel->count * ivf->flat->lists.coarse.blocks;
    if (put_scores(ivf, w, panel) == wanted) return;
    for (size_t i = 0; i < wanted * KI_BLOCK; i++) w->coarse[i] = -INFINITY;
    put_scores(ivf, w, panel);
}

/* What all vectors of a list have in common in their scores; the query's own base, the same for all lists, is left out:
 * beside a query far away it would drown the rest. */
static float base_of(const ki_ivf *ivf, float centroid_score) {
    return ivf->flat->residual ? centroid_score : 0;
}

/* A threshold that the `wanted` best scores reach. */
static float least_score(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t wanted) {
    const size_t blocks = ivf->flat->lists.coarse.blocks, groups = ki_pick_groups(wanted);
    float *maxima = w->work, *spare = maxima + groups * KI_BLOCK;
    if (groups > blocks || groups * KI_BLOCK < wanted) return -INFINITY;
    for (size_t i = 0; i < groups * KI_BLOCK; i++) maxima[i] = -INFINITY;
    ivf->pick->maxima(scores, blocks, groups, maxima);
    return ivf->pick->nth(maxima, groups, wanted, spare);
}

/* The `wanted` best centroids, nearest first, into w->picked. Returns how many: fewer only where a damaged file's
 * scores are NaN, or those of padding are not least. */
static size_t pick_lists(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t wanted) {
    const size_t blocks = ivf->flat->lists.coarse.blocks, lists = ivf->flat->lists.count;
    const float least = least_score(ivf, w, scores, wanted);
    const size_t found = ki_min_size(ivf->pick->above(scores, blocks, least, w->index, lists), lists);
    size_t kept = 0;
    for (; kept < found && w->index[kept] < lists; kept++)
        w->picked[kept] = (ki_hit){.distance = -scores[w->index[kept]], .label = w->index[kept]};
    wanted = ki_min_size(wanted, kept);
    ki_hits_select(w->picked, kept, wanted);
    ki_hits_sort(w->picked, wanted);
    return wanted;
}

float ki_ivf_statistic(const ki_flat *flat, float best, float query_norm) {
    return flat->metric == KITH_IP ? best / (query_norm > 0 ? query_norm : 1) : best;
}

float ki_ivf_chosen_statistic(const ki_ivf *ivf, size_t query) {
    return ivf->statistic[query];
}

static void choose_best(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const float *scores, ki_flat_counts *counts) {
    const ki_query_code *code = &ivf->code[query];
    const size_t careful = ki_min_size(ivf->search->careful.nprobe, ivf->probe_stride);
    size_t picked = pick_lists(ivf, w, scores, ivf->nprobe);
    const float best = picked ? -w->picked[0].distance : -INFINITY;
    ivf->statistic[query] = ki_ivf_statistic(ivf->flat, code->base + best, code->b);
    if (careful > ivf->nprobe && ivf->statistic[query] < ivf->search->careful.below) {
        picked = pick_lists(ivf, w, scores, careful);
        counts->unusual++;
    }
    ki_probe *probe = ivf->probe + query * ivf->probe_stride;
    ivf->probes[query] = (uint32_t)picked;
    for (size_t i = 0; i < picked; i++)
        probe[i] = (ki_probe){(uint32_t)w->picked[i].label, base_of(ivf, -w->picked[i].distance)};
}

kith_status ki_ivf_choose(ki_ivf *ivf, unsigned worker, size_t first, size_t count, ki_flat_counts *counts) {
    ki_ivf_worker *w = &ivf->worker[worker];
    const uint64_t start = ki_now_ns();
    const size_t width = ivf->tile->width, row = ivf->flat->lists.coarse.blocks * KI_BLOCK;
    for (size_t done = 0; done < count; done += width) {
        const unsigned taken = (unsigned)ki_min_size(width, count - done);
        ki_panel panel;
        for (unsigned i = 0; i < taken; i++) {
            const kith_status status = encode(ivf, w, first + done + i);
            if (status != KITH_OK) return status;
        }
        pack_panel(ivf, w, first + done, taken, &panel);
        score_centroids(ivf, w, &panel);
        for (unsigned i = 0; i < taken; i++) choose_best(ivf, w, first + done + i, w->coarse + i * row, counts);
    }
    counts->stage_ns[KITH_STAGE_PREPARE] += ki_now_ns() - start;
    return KITH_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Scanning lists: panels of the queries that probe a list against its codes.
 *
 * A query's threshold is the rerank-th largest of its lane maxima (kernel/pick.h P1): every score that reaches it is
 * one of at most a few dozen, whatever the data, so candidates are appended and hardly ever sorted. Where the buffer
 * fills all the same, those behind the threshold go, then all but the rerank best. */
#include "index/ivf_state.h"

#include "base/checked.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

static float threshold_of(const ki_ivf *ivf, size_t query) {
    return atomic_load_explicit(&ivf->tau[query], memory_order_relaxed);
}

static void raise_threshold(ki_ivf *ivf, size_t query, float to) {
    float seen = threshold_of(ivf, query);
    while (to > seen && !atomic_compare_exchange_weak_explicit(&ivf->tau[query], &seen, to, memory_order_relaxed,
                                                               memory_order_relaxed)) {
    }
}

/* Keep what reaches a threshold; how many. */
static size_t keep_above(ki_candidate *candidate, size_t count, float least) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        candidate[kept] = candidate[i];
        kept += candidate[i].score >= least;
    }
    return kept;
}

/* Ties at the threshold in plenty: only the best by (score, position) stay. */
static size_t keep_best(ki_ivf_worker *w, ki_candidate *candidate, size_t count, size_t wanted) {
    for (size_t i = 0; i < count; i++)
        w->picked[i] = (ki_hit){-candidate[i].score, candidate[i].position, candidate[i].position};
    ki_hits_select(w->picked, count, wanted);
    for (size_t i = 0; i < wanted; i++) candidate[i] = (ki_candidate){-w->picked[i].distance, w->picked[i].position};
    return wanted;
}

static void make_room(ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const size_t enough = ivf->capacity / 2 + ivf->rerank / 2;
    ki_candidate *candidate = w->candidate + query * ivf->capacity;
    size_t kept = keep_above(candidate, w->candidates[query], threshold_of(ivf, query));
    if (kept > enough) {
        for (size_t i = 0; i < kept; i++) w->work[i] = candidate[i].score;
        const float worst = ki_pick_nth(w->work, kept, ivf->rerank);
        raise_threshold(ivf, query, worst);
        kept = keep_above(candidate, kept, worst);
        if (kept > enough) kept = keep_best(w, candidate, kept, ivf->rerank);
    }
    w->candidates[query] = (uint32_t)kept;
}

static void push(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const float *scores, unsigned mask, uint32_t row) {
    ki_candidate *candidate = w->candidate + query * ivf->capacity;
    for (; mask; mask &= mask - 1) {
        const unsigned v = (unsigned)__builtin_ctz(mask);
        if (w->candidates[query] == ivf->capacity) {
            make_room(ivf, w, query);
            if (!(scores[v] >= threshold_of(ivf, query))) continue;
        }
        candidate[w->candidates[query]++] = (ki_candidate){scores[v], row + v};
    }
}

/* Take what one call of the kernel found: first all scores into the maxima, then the thresholds, then candidates. */
static void consume(ki_ivf *ivf, ki_ivf_worker *w, const ki_pair *pair, unsigned count, size_t hits) {
    const ki_pick_kernels *pick = ivf->pick;
    const size_t lanes = ivf->groups * KI_BLOCK, group_mask = ivf->groups ? ivf->groups - 1 : 0;
    uint32_t touched = 0, row;
    for (size_t h = 0; h < hits; h++) {
        ki_tile_hit *hit = &w->hits[h];
        const unsigned mask = ki_flat_valid_mask(ivf->flat, ivf->search->allowed, hit->block, &row);
        /* A damaged file's infinite score reaches even the need of the panel's empty places. */
        hit->mask = hit->query < count ? (uint16_t)(hit->mask & mask) : 0;
        if (!hit->mask) continue;
        pick->lift(w->scores[h], pair[hit->query].base, mask,
                   w->maxima + pair[hit->query].query * lanes + (hit->block & group_mask) * KI_BLOCK);
        touched |= ivf->groups ? 1u << hit->query : 0;
    }
    for (uint32_t left = touched; left; left &= left - 1) {
        const size_t query = pair[__builtin_ctz(left)].query;
        raise_threshold(ivf, query, pick->nth(w->maxima + query * lanes, ivf->groups, ivf->rerank, w->work));
    }
    for (size_t h = 0; h < hits; h++) {
        const ki_tile_hit *hit = &w->hits[h];
        const size_t query = pair[hit->query].query;
        if (!hit->mask) continue;
        const unsigned mask = ki_flat_valid_mask(ivf->flat, ivf->search->allowed, hit->block, &row);
        push(ivf, w, query, w->scores[h], mask & pick->reach(w->scores[h], threshold_of(ivf, query)), row);
    }
}

/* What a vector's own part of the score must reach; a little less, as sums are rounded. */
static float need_of(const ki_ivf *ivf, const ki_pair *pair) {
    const float tau = threshold_of(ivf, pair->query);
    return tau - pair->base - 0x1p-21f * (fabsf(tau) + fabsf(pair->base));
}

static void scan_int8(ki_ivf *ivf, ki_ivf_worker *w, const ki_pair *pair, unsigned count, size_t first, size_t end) {
    const ki_level *full = &ivf->flat->full;
    const int8_t *rows[KI_PANEL_MAX];
    ki_panel panel = {.packed = w->packed, .count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel.need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        rows[i] = ivf->bytes + (size_t)pair[i].query * 4 * full->quads;
        panel.scale[i] = ivf->code[pair[i].query].scale;
        panel.start[i] = ivf->code[pair[i].query].start;
        panel.need[i] = need_of(ivf, &pair[i]);
    }
    ivf->tile->pack(rows, count, full->quads, w->packed);
    for (size_t block = first; block < end;) {
        size_t hits = 0;
        block = ivf->tile->score(full, &panel, block, end, w->hits, w->scores, KI_IVF_HITS, &hits);
        if (!hits) continue;
        consume(ivf, w, pair, count, hits);
        for (unsigned i = 0; i < count && block < end; i++) panel.need[i] = need_of(ivf, &pair[i]);
    }
}

static void scan_second(ki_ivf *ivf, ki_ivf_worker *w, const ki_pair *pair, unsigned count, size_t first, size_t end) {
    const ki_flat *flat = ivf->flat;
    const void *prepared[KI_PANEL_MAX];
    float need[KI_PANEL_MAX];
    for (unsigned i = 0; i < count; i++) {
        prepared[i] = ivf->second + (size_t)pair[i].query * flat->second.query_bytes;
        need[i] = need_of(ivf, &pair[i]);
    }
    for (size_t block = first; block < end;) {
        size_t hits = 0;
        block = ki_second_score(&flat->second, flat->second_codes, flat->second_factors, block, end, prepared, need,
                                count, w->second_work, w->hits, w->scores, KI_IVF_HITS, &hits);
        if (!hits) continue;
        consume(ivf, w, pair, count, hits);
        for (unsigned i = 0; i < count && block < end; i++) need[i] = need_of(ivf, &pair[i]);
    }
}

static int stopped(const ki_ivf *ivf, unsigned worker) {
    const ki_ivf_search *search = ivf->search;
    if (atomic_load_explicit(search->stop, memory_order_relaxed)) return 1;
    int status = 0;
    if (search->deadline_ns && ki_now_ns() > search->deadline_ns) status = KITH_E_DEADLINE;
    if (!status && worker == 0 && search->cancelled && search->cancelled(search->cancelled_context))
        status = KITH_E_CANCELLED;
    if (status) atomic_store_explicit(search->stop, status, memory_order_relaxed);
    return status != 0;
}

/* All queries that probe a list. */
static void scan_list(ki_ivf *ivf, ki_ivf_worker *w, size_t list) {
    const ki_lists *lists = &ivf->flat->lists;
    const int second = ivf->search->second;
    const size_t width = second ? ki_min_size(ivf->flat->second.width, KI_PANEL_MAX) : ivf->tile->width;
    const size_t from = lists->first_block[list], to = lists->first_block[list + 1];
    const size_t pairs = ivf->pair_first[list + 1] - ivf->pair_first[list];
    for (size_t done = 0; done < pairs && from < to; done += width) {
        const ki_pair *pair = ivf->pair + ivf->pair_first[list] + done;
        (second ? scan_second : scan_int8)(ivf, w, pair, (unsigned)ki_min_size(width, pairs - done), from, to);
    }
}

static void count_list(const ki_ivf *ivf, size_t list, ki_flat_counts *counts) {
    const ki_flat *flat = ivf->flat;
    const size_t pairs = ivf->pair_first[list + 1] - ivf->pair_first[list];
    const size_t blocks = flat->lists.first_block[list + 1] - flat->lists.first_block[list];
    const size_t bytes = ivf->search->second ? flat->second.block_bytes : flat->full.quads * KI_QUAD_BYTES;
    counts->scanned_bytes += pairs * blocks * (bytes + KI_FACTORS * sizeof(float));
    counts->scanned_rows += pairs * (flat->lists.first_row[list + 1] - flat->lists.first_row[list]);
    counts->probed_lists += pairs;
}

kith_status ki_ivf_scan(ki_ivf *ivf, unsigned worker, size_t first, size_t end, ki_flat_counts *counts) {
    enum { LISTS_BETWEEN_POLLS = 16 };
    const uint64_t start = ki_now_ns();
    size_t scanned = 0;
    for (size_t list = first; list < end; list++) {
        if (ivf->pair_first[list] == ivf->pair_first[list + 1]) continue;
        if (scanned++ % LISTS_BETWEEN_POLLS == 0 && stopped(ivf, worker))
            return (kith_status)atomic_load(ivf->search->stop);
        scan_list(ivf, &ivf->worker[worker], list);
        count_list(ivf, list, counts);
    }
    counts->stage_ns[KITH_STAGE_SCAN] += ki_now_ns() - start;
    return KITH_OK;
}

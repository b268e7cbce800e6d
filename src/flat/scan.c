/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan: tiles against panels, survivors bounded one by one, candidates kept until they must be scored.
 *
 * Thresholds first: a query's threshold is the k-th largest lower bound seen. To start tight, some two per cent of the
 * blocks, spread evenly, are scanned on the full codes before the rest, and the threshold is guessed from the first few
 * of that sample, many times tighter in rank than what the sample proves. A guess that k results do not confirm in the
 * end (one query in a hundred) is taken back and the query scanned again with what its results prove. Then groups of
 * blocks that stay in cache meet all panels in turn. A pair that the first level lets through is bounded again by the
 * full codes (or, with few queries, scored at once), and what these let through waits in the query's pending list. When
 * that list is full the entries that fell behind the threshold go; if they were few, all that are left are scored
 * exactly at once, so that no data can overflow it.
 *
 * N1. Every vector whose score may reach the final threshold has been pending or collected once and only once.
 * N2. Results are final only where guess <= tau: then nothing at or above the k-th best was skipped. */
#include "flat/desk.h"

#include "base/checked.h"
#include "base/counting_sort.h"
#include "quant/int8.h"

#include <math.h>

enum { SAMPLE_SHARE = 64, GUESS_RANK_MAX = 256 };

/* Which blocks the first pass took: `count` of them, 2^shift apart. */
struct sample {
    size_t first, count;
    unsigned shift;
};

static int in_sample(const struct sample *sample, size_t block) {
    const size_t offset = block - sample->first;
    return (offset & (((size_t)1 << sample->shift) - 1)) == 0 && offset >> sample->shift < sample->count;
}

static int make_room(ki_desk *desk, size_t query) {
    ki_pending *pending = desk->pending + query * desk->pending_capacity;
    size_t kept = 0;
    for (size_t i = 0; i < desk->pending_count[query]; i++)
        if (pending[i].upper >= ki_desk_threshold(desk, query)) pending[kept++] = pending[i];
    desk->pending_count[query] = kept;
    return kept <= desk->pending_capacity / 2 || ki_desk_flush(desk, query);
}

static ki_list_terms list_terms(const ki_desk *desk, size_t query, size_t block) {
    const ki_view *view = desk->view;
    return ki_query_list_terms(view, &desk->code[0][query], ki_desk_query(desk, query), desk->rows + query * view->dim,
                               view->residual ? view->lists.of_block[block] : 0);
}

int ki_desk_bound(ki_desk *desk, size_t query, size_t block, unsigned mask, const int32_t dot[KI_BLOCK]) {
    const ki_view *view = desk->view;
    const ki_query_code *code = &desk->code[0][query];
    const float *factors = view->full.factors + block * KI_FACTORS;
    const ki_list_terms terms = list_terms(desk, query, block);
    unsigned count;
    const uint32_t row = ki_view_block_row(view, block, &count);
    for (; mask; mask &= mask - 1) {
        const unsigned v = (unsigned)__builtin_ctz(mask);
        const float norm = factors[KI_FACTOR_NORM + v];
        const float estimate =
            terms.base + (float)dot[v] * code->scale * factors[KI_FACTOR_SCALE + v] + factors[KI_FACTOR_BIAS + v];
        const int known = code->whole && norm <= KI_WHOLE_NORM;
        const float error = view->originals && !known ? terms.a * norm + code->b * factors[KI_FACTOR_ERROR + v] +
                                                            desk->norm2_slack * norm * norm + terms.c
                                                      : 0;
        if (!(estimate + error >= ki_desk_threshold(desk, query))) continue;
        if (desk->pending_count[query] == desk->pending_capacity) {
            if (!make_room(desk, query)) return 0;
            if (!(estimate + error >= ki_desk_threshold(desk, query))) continue;
        }
        desk->counts->candidates++;
        desk->pending[query * desk->pending_capacity + desk->pending_count[query]++] =
            (ki_pending){estimate + error, row + v, estimate, known || !view->originals};
        if (desk->search->k) {
            ki_floor_push(&desk->floor[query], estimate - error);
            ki_desk_raise(desk, query);
        }
    }
    return 1;
}

/* Take the hits of one block through the full codes, several queries at a time. */
static int refine_block(ki_desk *desk, const ki_tile_hit *hits, size_t count) {
    const size_t quads = desk->view->full.quads, block = hits[0].block;
    for (size_t done = 0; done < count;) {
        const int8_t *queries[KI_DOTS_MAX];
        int32_t starts[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
        const size_t taken = ki_min_size(desk->tile->dots_width, count - done);
        for (size_t i = 0; i < taken; i++) {
            const size_t query = hits[done + i].query;
            queries[i] = desk->bytes[0] + query * 4 * quads;
            starts[i] = desk->code[0][query].start;
        }
        desk->tile->dots(&desk->view->full, block, queries, starts, (unsigned)taken, dot);
        for (size_t i = 0; i < taken; i++)
            if (!ki_desk_bound(desk, hits[done + i].query, block, hits[done + i].mask, dot[i])) return 0;
        done += taken;
    }
    desk->counts->scanned_bytes += count * quads * KI_QUAD_BYTES;
    return 1;
}

/* With few queries hardly two meet in a block: it is cheaper to score the survivors of the first level at once than to
 * read sixteen codes for each: text embeddings (384 f16, Zen 3), calls of 32 queries a fifth faster, of 64 a twelfth, of
 * 96 and more no longer. */
static int scores_directly(const ki_desk *desk, size_t level) {
    enum { FEW = 64 };
    const ki_view *view = desk->view;
    return level && view->originals && desk->count <= FEW && view->row_bytes < view->full.quads * KI_QUAD_BYTES / 2;
}

static int score_block(ki_desk *desk, const ki_tile_hit *hits, size_t count) {
    const size_t enough = desk->search->k > 32 ? ki_min_size(desk->search->k, desk->pending_capacity) : 32;
    for (size_t i = 0; i < count; i++) {
        const size_t query = hits[i].query;
        ki_pending *pending = desk->pending + query * desk->pending_capacity;
        unsigned rows;
        const uint32_t first = ki_view_block_row(desk->view, hits[i].block, &rows);
        for (unsigned mask = hits[i].mask; mask; mask &= mask - 1) {
            const uint32_t position = first + (unsigned)__builtin_ctz(mask);
            const uint8_t *row = desk->view->originals + (size_t)position * desk->view->row_bytes;
            __builtin_prefetch(row);
            __builtin_prefetch(row + desk->view->row_bytes / 2);
            desk->counts->candidates++;
            /* What the sample left may fill the list already. */
            if (desk->pending_count[query] == desk->pending_capacity && !ki_desk_flush(desk, query)) return 0;
            pending[desk->pending_count[query]++] = (ki_pending){.upper = INFINITY, .position = position};
            if (desk->pending_count[query] >= enough && !ki_desk_flush(desk, query)) return 0;
        }
    }
    return 1;
}

/* Sort what the panels found in the blocks first..end by block, and refine: a block is then read once for all. */
static int refine_group(ki_desk *desk, size_t level, size_t first) {
    const int direct = scores_directly(desk, level);
    uint32_t at[KI_GROUP_BLOCKS_MAX + 2];
    ki_sort_begin(at, desk->group_blocks);
    for (size_t i = 0; i < desk->found_count; i++) ki_sort_count(at, desk->found[i].block - first);
    ki_sort_starts(at, desk->group_blocks);
    for (size_t i = 0; i < desk->found_count; i++)
        desk->sorted[ki_sort_place(at, desk->found[i].block - first)] = desk->found[i];
    for (size_t b = 0; b < desk->group_blocks; b++)
        if (at[b + 1] > at[b] && !(direct ? score_block : refine_block)(desk, desk->sorted + at[b], at[b + 1] - at[b]))
            return 0;
    desk->found_count = 0;
    return 1;
}

static unsigned count_bits(unsigned mask) {
    mask -= mask >> 1 & 0x5555;
    mask = (mask & 0x3333) + (mask >> 2 & 0x3333);
    mask = (mask + (mask >> 4)) & 0x0f0f;
    return (mask + (mask >> 8)) & 31;
}

/* Note hits, less those on vectors that do not exist, are not allowed or were in the sample. */
static void note_hits(ki_desk *desk, size_t level, const ki_panel *panel, const uint32_t *slot, size_t count,
                      const struct sample *already) {
    const ki_tile_hit *hits = desk->hits;
    const int full = !desk->search->allowed && desk->view->lists.count == 1;
    const size_t last = (size_t)(desk->view->rows / KI_BLOCK);
    uint32_t row;
    for (size_t i = 0; i < count; i++) {
        ki_tile_hit hit = hits[i];
        if (hit.query >= panel->count) continue; /* a damaged file's estimate reaches even the need of an empty place */
        if (!full || hit.block >= last)
            hit.mask &= (uint16_t)ki_view_valid_mask(desk->view, desk->search->allowed, hit.block, &row);
        if (!hit.mask || in_sample(already, hit.block)) continue;
        if (level) desk->counts->level1_survivors += count_bits(hit.mask);
        hit.query = (uint16_t)slot[hit.query];
        desk->found[desk->found_count++] = hit;
    }
}

/* One panel against the blocks first..end at one level; bounds: of these blocks, or NULL. */
static void scan_blocks(ki_desk *desk, size_t level, const ki_panel *panel, const uint32_t *slot,
                        const ki_block_bound *bounds, size_t first, size_t end, const struct sample *already) {
    const ki_level *codes = level ? &desk->view->level1 : &desk->view->full;
    for (size_t block = first; block < end;) {
        size_t count = 0;
        const size_t next = desk->tile->scan(codes, panel, bounds ? bounds + (block - first) : NULL, block, end,
                                             desk->hits, KI_TILE_HITS, &count);
        desk->counts->scanned_bytes += (next - block) * panel->count * (codes->quads * KI_QUAD_BYTES + KI_FACTORS * 4);
        desk->counts->scanned_rows += (next - block) * panel->count * KI_BLOCK;
        if (count) note_hits(desk, level, panel, slot, count, already);
        block = next;
    }
}

/* The same where codes are relative to their list's centroid: what a panel needs changes from list to list. A query that
 * its list cannot give anything has no product with the centroid, which costs as much as a list's own products. */
static void scan_residual(ki_desk *desk, ki_panel *panel, const uint32_t *slot, const ki_block_bound *bounds,
                          size_t first, size_t end, const struct sample *already) {
    const ki_lists *lists = &desk->view->lists;
    for (size_t block = first; block < end;) {
        const size_t list = lists->of_block[block], next = ki_min_size(end, lists->first_block[list + 1]);
        for (unsigned i = 0; i < panel->count; i++) {
            panel->need[i] = INFINITY;
            if (desk->reach_known && !ki_desk_needs(desk, list, slot[i])) continue;
            const ki_list_terms terms = list_terms(desk, slot[i], block);
            panel->a[i] = terms.a;
            panel->need[i] = ki_desk_need(desk, slot[i], terms.base, desk->view->originals ? terms.c : 0);
        }
        scan_blocks(desk, 0, panel, slot, bounds ? bounds + (block - first) : NULL, block, next, already);
        block = next;
    }
}

static void scan_panel(ki_desk *desk, size_t level, ki_panel *panel, const uint32_t *slot, const ki_block_bound *bounds,
                       size_t first, size_t end, const struct sample *already) {
    if (!level && desk->view->residual)
        scan_residual(desk, panel, slot, bounds, first, end, already);
    else
        scan_blocks(desk, level, panel, slot, bounds, first, end, already);
}

/* Bounds of a group of blocks for panels of the given size; NULL where the kernel bounds each vector itself. */
static const ki_block_bound *group_bounds(ki_desk *desk, size_t level, size_t most, size_t first, size_t end) {
    const int bounded = level || desk->view->originals;
    if (desk->tile->bounds_single && most == 1) return NULL;
    ki_tile_bounds(level ? &desk->view->level1 : &desk->view->full, first, end, bounded ? desk->norm2_slack : 0,
                   desk->bounds);
    return desk->bounds;
}

static kith_status end_group(ki_desk *desk, size_t level, size_t first) {
    if (desk->found_count && !refine_group(desk, level, first)) return KITH_E_NOMEM;
    return ki_limits_reached(&desk->search->limits, desk->worker);
}

/* The next blocks from `block` on that are to be read: those that a filter leaves something of, and gaps between them
 * that are too short to be worth a break. *next: one after the last; returns `end` where there are none. */
static size_t next_run(const ki_desk *desk, size_t block, size_t end, size_t *next) {
    enum { GAP = 2 };
    const uint64_t *allowed = desk->search->allowed;
    uint32_t row;
    *next = end;
    if (!allowed) return block;
    while (block < end && !ki_view_valid_mask(desk->view, allowed, block, &row)) block++;
    for (size_t at = block + 1, last = block; at < end; at++) {
        if (ki_view_valid_mask(desk->view, allowed, at, &row)) last = at;
        *next = last + 1;
        if (at - last >= GAP) break;
    }
    return block;
}

/* All panels against a group of blocks. */
static kith_status scan_group(ki_desk *desk, size_t level, size_t first, size_t end, const struct sample *already) {
    const size_t most = desk->panels == 1 ? desk->panel[level][0].count : desk->tile->width;
    for (size_t block = first, next; (block = next_run(desk, block, end, &next)) < end; block = next) {
        const ki_block_bound *bounds = group_bounds(desk, level, most, block, next);
        for (size_t p = 0; p < desk->panels; p++)
            scan_panel(desk, level, &desk->panel[level][p], desk->slot + p * desk->tile->width, bounds, block, next,
                       already);
    }
    return end_group(desk, level, first);
}

kith_status ki_desk_scan_blocks(ki_desk *desk, size_t first, size_t end) {
    const struct sample none = {0};
    return scan_group(desk, 0, first, end, &none);
}

/* The queries that need its list against a run of blocks. */
static void scan_needing(ki_desk *desk, size_t level, size_t needing, size_t first, size_t end) {
    const struct sample none = {0};
    const ki_block_bound *bounds = group_bounds(desk, level, needing, first, end);
    for (size_t done = 0; done < needing; done += desk->tile->width) {
        ki_panel panel = {.packed = desk->gathered_packed};
        ki_desk_pack_panel(desk, level, desk->gathered + done, ki_min_size(desk->tile->width, needing - done), &panel);
        /* A panel of one packed alone may do without bounds only if the kernel's other panels may. */
        scan_panel(desk, level, &panel, desk->gathered + done,
                   panel.count == 1 && desk->tile->bounds_single ? NULL : bounds, first, end, &none);
    }
}

static kith_status scan_needed(ki_desk *desk, size_t level, size_t first, size_t end) {
    size_t next, needing = 0, block = next_run(desk, first, end, &next);
    if (block < end) needing = ki_desk_needing(desk, desk->view->lists.of_block[first], desk->gathered);
    if (!needing) return KITH_OK;
    for (; block < end; block = next_run(desk, next, end, &next)) scan_needing(desk, level, needing, block, next);
    return end_group(desk, level, first);
}

/* List after list, each for the queries that need it. */
static kith_status scan_lists(ki_desk *desk, size_t first, size_t end) {
    const ki_lists *lists = &desk->view->lists;
    const size_t level = desk->search->plan == KITH_PLAN_LEVELS;
    kith_status status = KITH_OK;
    for (size_t block = first; block < end && status == KITH_OK;) {
        const size_t list_end = ki_min_size(end, lists->first_block[lists->of_block[block] + 1]);
        const size_t next = ki_min_size(list_end, block + desk->group_blocks);
        status = scan_needed(desk, level, block, next);
        block = next;
    }
    return status;
}

/* Whether every query came with a threshold. */
static int all_seeded(const ki_desk *desk) {
    for (size_t i = 0; i < desk->count; i++)
        if (!(desk->tau[i] > -INFINITY)) return 0;
    return 1;
}

/* Blocks for the first pass: enough that a good threshold is in sight. */
static struct sample choose_sample(const ki_desk *desk, size_t first, size_t end) {
    const size_t blocks = end - first, least = 64 + desk->search->k / 8;
    struct sample sample = {first, 0, 0};
    if (desk->search->k == 0 || blocks < 8 * least || all_seeded(desk)) return sample;
    while (blocks >> (sample.shift + 1) >= least && (1u << sample.shift) < SAMPLE_SHARE) sample.shift++;
    sample.count = blocks >> sample.shift;
    return sample;
}

/* The rank j in the sample so that about one query in three hundred has j of its k nearest there (Poisson tail): most
 * often the k-th best of all is then no worse than the j-th best of the sample. */
static size_t hopeful_rank(size_t k, double share) {
    const double expected = (double)k * share;
    double term = exp(-expected), below = term;
    size_t j = 1;
    for (; 1 - below > 0.003 && j < k; j++) {
        term *= expected / (double)j;
        below += term;
    }
    return j;
}

/* Set guess[query] to the rank-th largest lower bound of what was found so far. */
static void guess_threshold(ki_desk *desk, size_t query, size_t rank) {
    const ki_floor *floor = &desk->floor[query];
    if (floor->count < rank || rank >= desk->search->k || rank > GUESS_RANK_MAX) return;
    float least[GUESS_RANK_MAX];
    ki_floor best = {.heap = least, .k = rank};
    for (size_t i = 0; i < floor->count; i++) ki_floor_push(&best, floor->heap[i]);
    const float guess = ki_floor_value(&best);
    if (!(guess > desk->guess[query])) return;
    desk->guess[query] = guess;
    ki_desk_renew(desk, query);
}

static kith_status scan_sample(ki_desk *desk, const struct sample *sample) {
    const struct sample none = {0};
    kith_status status = KITH_OK;
    for (size_t i = 0; i < sample->count && status == KITH_OK; i++) {
        const size_t block = sample->first + (i << sample->shift);
        status = scan_group(desk, 0, block, block + 1, &none);
    }
    return status;
}

/* Guess anew from what the first `share` of the blocks holds. */
static void guess_all(ki_desk *desk, double share) {
    const size_t rank = hopeful_rank(desk->search->k, share);
    for (size_t i = 0; i < desk->count; i++) guess_threshold(desk, i, rank);
}

static unsigned reversed(unsigned value, unsigned bits) {
    unsigned result = 0;
    for (unsigned i = 0; i < bits; i++) result |= (value >> i & 1) << (bits - 1 - i);
    return result;
}

/* Neighbours often lie together, in the order in which they were made. So the groups of blocks are taken in 32 passes
 * that each spread over the whole range, and the guess tightens whenever the part seen has doubled. */
static kith_status scan_rest(ki_desk *desk, size_t first, size_t end, const struct sample *sample) {
    enum { PASS_BITS = 5, PASSES = 1 << PASS_BITS };
    const size_t level = desk->search->plan == KITH_PLAN_LEVELS;
    const size_t groups = (end - first + desk->group_blocks - 1) / desk->group_blocks;
    kith_status status = KITH_OK;
    for (unsigned pass = 0; pass < PASSES && status == KITH_OK; pass++) {
        if (sample->count && desk->view->originals && pass > 0 && (pass & (pass - 1)) == 0)
            guess_all(desk, (double)pass / PASSES + (1 - (double)pass / PASSES) / (1u << sample->shift));
        for (size_t group = reversed(pass, PASS_BITS); group < groups && status == KITH_OK; group += PASSES) {
            const size_t block = first + group * desk->group_blocks;
            status = scan_group(desk, level, block, ki_min_size(end, block + desk->group_blocks), sample);
        }
    }
    return status;
}

/* Score what is pending; then a guess that was not reached by k results, here or in another range, is taken back: those
 * queries are listed in desk->slot with the threshold that their results prove. Returns how many, or SIZE_MAX. */
static size_t settle(ki_desk *desk, size_t count) {
    size_t again = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t query = desk->slot[i];
        if (i + 1 < count) ki_desk_expect(desk, desk->slot[i + 1]);
        if (!ki_desk_flush(desk, query)) return SIZE_MAX;
        if (desk->guess[query] > desk->tau[query]) desk->slot[again++] = query;
        desk->guess[query] = -INFINITY;
    }
    return again;
}

/* Thresholds must be proven, so that nothing has to be taken back: from seeds, or a radius. */
static int may_skip_lists(const ki_desk *desk, size_t first, size_t end) {
    enum { LISTS_LEAST = 8 };
    if (desk->search->nprobe) return end > first;
    return desk->view->originals && desk->view->lists.count >= LISTS_LEAST && end > first && all_seeded(desk);
}

kith_status ki_flat_scan(ki_desk *desk, size_t first, size_t end) {
    for (size_t i = 0; i < desk->count && desk->shared; i++) ki_desk_raise(desk, i);
    const struct sample none = {0}, sample = choose_sample(desk, first, end);
    if (may_skip_lists(desk, first, end)) {
        const int few = ki_desk_mark_lists(desk, first, end);
        if (few < 0) return KITH_E_NOMEM;
        if (few) {
            const kith_status status = scan_lists(desk, first, end);
            return status == KITH_OK && settle(desk, desk->count) == SIZE_MAX ? KITH_E_NOMEM : status;
        }
    }
    kith_status status = scan_sample(desk, &sample);
    if (status != KITH_OK) return status;
    if (sample.count && desk->view->originals) guess_all(desk, (double)sample.count / (double)(end - first));
    status = scan_rest(desk, first, end, &sample);
    if (status != KITH_OK) return status;
    const size_t again = settle(desk, desk->count);
    if (again == SIZE_MAX) return KITH_E_NOMEM;
    if (again == 0) return KITH_OK;
    for (size_t i = 0; i < again; i++) ki_desk_restart(desk, desk->slot[i]);
    ki_desk_pack(desk, again);
    status = scan_rest(desk, first, end, &none);
    return status == KITH_OK && settle(desk, again) == SIZE_MAX ? KITH_E_NOMEM : status;
}

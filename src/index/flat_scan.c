/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan: tiles against panels, survivors bounded one by one, candidates kept until they must be scored.
 *
 * Thresholds first: a query's threshold is the k-th largest lower bound seen. To start tight, some two per cent of the
 * blocks, spread evenly, are scanned on the full codes before the rest, and the threshold is guessed from the first few
 * of that sample, five times tighter in rank than what the sample proves. A guess that k results do not confirm in the
 * end (one query in a hundred) is taken back and the query scanned again with what its results prove. Then chunks of
 * blocks that fit half of the L2 cache meet all panels in turn. A pair that the first level lets through is bounded
 * again by the full codes, a pair that these let through waits in the query's pending list; when that list is full the
 * entries that fell behind the threshold go, and if they were few all are scored exactly at once, so that no data can
 * overflow it.
 *
 * N1. Every vector whose score may reach the final threshold has been pending or collected once and only once.
 * N2. Results are final only where guess <= tau: then nothing at or above the k-th best was skipped. */
#include "index/flat_lane.h"

#include "base/checked.h"
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

/* Bits of the block's vectors that exist and are allowed. */
static unsigned valid_mask(const ki_lane *lane, size_t block) {
    const uint64_t position = (uint64_t)block * KI_BLOCK, left = lane->flat->rows - position;
    unsigned mask = left >= KI_BLOCK ? 0xffffu : (1u << left) - 1;
    const uint64_t *allowed = lane->search->allowed;
    if (allowed) mask &= (unsigned)(allowed[position / 64] >> (position % 64)) & 0xffffu;
    return mask;
}

static int make_room(ki_lane *lane, size_t query) {
    ki_pending *pending = lane->pending + query * lane->pending_capacity;
    size_t kept = 0;
    for (size_t i = 0; i < lane->pending_count[query]; i++)
        if (pending[i].upper >= ki_lane_threshold(lane, query)) pending[kept++] = pending[i];
    lane->pending_count[query] = kept;
    return kept <= lane->pending_capacity / 2 || ki_lane_flush(lane, query);
}

/* Keep the masked vectors of a block that the full codes let through. */
static int bound_vectors(ki_lane *lane, size_t query, size_t block, unsigned mask, const int32_t dot[KI_BLOCK]) {
    const ki_flat *flat = lane->flat;
    const ki_query_code *code = &lane->code[0][query];
    const float *factors = flat->full.factors + block * KI_FACTORS;
    for (; mask; mask &= mask - 1) {
        const unsigned v = (unsigned)__builtin_ctz(mask);
        const float norm = factors[KI_FACTOR_NORM + v];
        const float estimate =
            code->base + (float)dot[v] * code->scale * factors[KI_FACTOR_SCALE + v] + factors[KI_FACTOR_BIAS + v];
        const float error = flat->originals ? code->a * norm + code->b * factors[KI_FACTOR_ERROR + v] +
                                                  lane->norm2_slack * norm * norm + code->c
                                            : 0;
        if (!(estimate + error >= ki_lane_threshold(lane, query))) continue;
        if (lane->pending_count[query] == lane->pending_capacity) {
            if (!make_room(lane, query)) return 0;
            if (!(estimate + error >= ki_lane_threshold(lane, query))) continue;
        }
        lane->counts->candidates++;
        lane->pending[query * lane->pending_capacity + lane->pending_count[query]++] =
            (ki_pending){estimate + error, (uint32_t)(block * KI_BLOCK + v), estimate};
        if (lane->search->k) {
            ki_floor_push(&lane->floor[query], estimate - error);
            ki_lane_raise(lane, query);
        }
    }
    return 1;
}

/* Take hits[at..] of one block, at most KI_DOTS_MAX, through the full codes together; returns how many, 0 on no memory.
 */
static size_t refine(ki_lane *lane, const uint32_t *slot, const ki_tile_hit *hits, size_t count) {
    const size_t quads = lane->flat->full.quads;
    const int8_t *queries[KI_DOTS_MAX];
    int32_t starts[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
    unsigned taken = 0;
    for (; taken < KI_DOTS_MAX && taken < count && hits[taken].block == hits[0].block; taken++) {
        const size_t query = slot[hits[taken].query];
        queries[taken] = lane->bytes[0] + query * 4 * quads;
        starts[taken] = lane->code[0][query].start;
    }
    lane->tile->dots(&lane->flat->full, hits[0].block, queries, starts, taken, dot);
    lane->counts->scanned_bytes += taken * quads * KI_QUAD_BYTES;
    for (unsigned i = 0; i < taken; i++)
        if (!bound_vectors(lane, slot[hits[i].query], hits[i].block, hits[i].mask, dot[i])) return 0;
    return taken;
}

static unsigned count_bits(unsigned mask) {
    mask -= mask >> 1 & 0x5555;
    mask = (mask & 0x3333) + (mask >> 2 & 0x3333);
    mask = (mask + (mask >> 4)) & 0x0f0f;
    return (mask + (mask >> 8)) & 31;
}

/* Drop hits on vectors that do not exist, are not allowed or were in the sample. */
static size_t filter_hits(ki_lane *lane, size_t level, size_t count, const struct sample *already) {
    ki_tile_hit *hits = lane->hits;
    const int all_valid = !lane->search->allowed;
    const size_t last = (size_t)(lane->flat->rows / KI_BLOCK);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        ki_tile_hit hit = hits[i];
        if (!all_valid || hit.block >= last) hit.mask &= (uint16_t)valid_mask(lane, hit.block);
        if (!hit.mask || in_sample(already, hit.block)) continue;
        if (level) lane->counts->level1_survivors += count_bits(hit.mask);
        hits[kept++] = hit;
    }
    return kept;
}

/* One panel against the blocks first..end at one level. */
static int scan_panel(ki_lane *lane, size_t level, size_t number, const ki_block_bound *bounds, size_t first,
                      size_t end, const struct sample *already) {
    const ki_level *codes = level ? &lane->flat->level1 : &lane->flat->full;
    const ki_panel *panel = &lane->panel[level][number];
    const uint32_t *slot = lane->slot + number * lane->tile->width;
    for (size_t block = first; block < end;) {
        size_t count = 0;
        const size_t next = lane->tile->scan(codes, panel, bounds ? bounds + (block - first) : NULL, block, end,
                                             lane->hits, KI_TILE_HITS, &count);
        lane->counts->scanned_bytes += (next - block) * panel->count * (codes->quads * KI_QUAD_BYTES + KI_FACTORS * 4);
        if (count) count = filter_hits(lane, level, count, already);
        for (size_t i = 0; i < count;) {
            const size_t taken = refine(lane, slot, lane->hits + i, count - i);
            if (!taken) return 0;
            i += taken;
        }
        block = next;
    }
    return 1;
}

static kith_status scan_group(ki_lane *lane, size_t level, size_t first, size_t end, const struct sample *already) {
    const ki_level *codes = level ? &lane->flat->level1 : &lane->flat->full;
    const int bounded = level || lane->flat->originals;
    const int needless = lane->tile->bounds_single && lane->panels == 1 && lane->panel[level][0].count == 1;
    if (!needless) ki_tile_bounds(codes, first, end, bounded ? lane->norm2_slack : 0, lane->bounds);
    for (size_t panel = 0; panel < lane->panels; panel++)
        if (!scan_panel(lane, level, panel, needless ? NULL : lane->bounds, first, end, already)) return KITH_E_NOMEM;
    return ki_lane_stopped(lane) ? (kith_status)atomic_load(lane->search->stop) : KITH_OK;
}

/* Blocks for the first pass: enough that a good threshold is in sight. */
static struct sample choose_sample(const ki_lane *lane, size_t first, size_t end) {
    const size_t blocks = end - first, least = 64 + lane->search->k / 8;
    struct sample sample = {first, 0, 0};
    if (lane->search->k == 0 || blocks < 8 * least) return sample;
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
static void guess_threshold(ki_lane *lane, size_t query, size_t rank) {
    const ki_floor *floor = &lane->floor[query];
    if (floor->count < rank || rank >= lane->search->k || rank > GUESS_RANK_MAX) return;
    float least[GUESS_RANK_MAX];
    ki_floor best = {.heap = least, .k = rank};
    for (size_t i = 0; i < floor->count; i++) ki_floor_push(&best, floor->heap[i]);
    const float guess = ki_floor_value(&best);
    if (!(guess > lane->guess[query])) return;
    lane->guess[query] = guess;
    ki_lane_renew(lane, query);
}

static kith_status scan_sample(ki_lane *lane, const struct sample *sample) {
    const struct sample none = {0};
    kith_status status = KITH_OK;
    for (size_t i = 0; i < sample->count && status == KITH_OK; i++) {
        const size_t block = sample->first + (i << sample->shift);
        status = scan_group(lane, 0, block, block + 1, &none);
    }
    return status;
}

/* Guess anew from what the first `share` of the blocks holds. */
static void guess_all(ki_lane *lane, double share) {
    const size_t rank = hopeful_rank(lane->search->k, share);
    for (size_t i = 0; i < lane->count; i++) guess_threshold(lane, i, rank);
}

static unsigned reversed(unsigned value, unsigned bits) {
    unsigned result = 0;
    for (unsigned i = 0; i < bits; i++) result |= (value >> i & 1) << (bits - 1 - i);
    return result;
}

/* Neighbours often lie together, in the order in which they were made. So the groups of blocks are taken in 32 passes
 * that each spread over the whole range, and the guess tightens whenever the part seen has doubled. */
static kith_status scan_rest(ki_lane *lane, size_t first, size_t end, const struct sample *sample) {
    enum { PASS_BITS = 5, PASSES = 1 << PASS_BITS };
    const size_t level = lane->search->plan == KITH_PLAN_LEVELS;
    const size_t groups = (end - first + KI_GROUP_BLOCKS - 1) / KI_GROUP_BLOCKS;
    kith_status status = KITH_OK;
    for (unsigned pass = 0; pass < PASSES && status == KITH_OK; pass++) {
        if (sample->count && lane->flat->originals && pass > 0 && (pass & (pass - 1)) == 0)
            guess_all(lane, (double)pass / PASSES + (1 - (double)pass / PASSES) / (1u << sample->shift));
        for (size_t group = reversed(pass, PASS_BITS); group < groups && status == KITH_OK; group += PASSES) {
            const size_t block = first + group * KI_GROUP_BLOCKS;
            status = scan_group(lane, level, block, ki_min_size(end, block + KI_GROUP_BLOCKS), sample);
        }
    }
    return status;
}

/* Score what is pending; then a guess that was not reached by k results, here or in another range, is taken back: those
 * queries are listed in lane->slot with the threshold that their results prove. Returns how many, or SIZE_MAX. */
static size_t settle(ki_lane *lane, size_t count) {
    size_t again = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t query = lane->slot[i];
        if (!ki_lane_flush(lane, query)) return SIZE_MAX;
        if (lane->guess[query] > lane->tau[query]) lane->slot[again++] = query;
        lane->guess[query] = -INFINITY;
    }
    return again;
}

kith_status ki_flat_scan(ki_lane *lane, size_t first, size_t end) {
    const struct sample none = {0}, sample = choose_sample(lane, first, end);
    for (size_t i = 0; i < lane->count && lane->shared; i++) ki_lane_raise(lane, i);
    kith_status status = scan_sample(lane, &sample);
    if (status != KITH_OK) return status;
    if (sample.count && lane->flat->originals) guess_all(lane, (double)sample.count / (double)(end - first));
    status = scan_rest(lane, first, end, &sample);
    if (status != KITH_OK) return status;
    const size_t again = settle(lane, lane->count);
    if (again == SIZE_MAX) return KITH_E_NOMEM;
    if (again == 0) return KITH_OK;
    for (size_t i = 0; i < again; i++) ki_lane_restart(lane, lane->slot[i]);
    ki_lane_pack(lane, again);
    status = scan_rest(lane, first, end, &none);
    return status == KITH_OK && settle(lane, again) == SIZE_MAX ? KITH_E_NOMEM : status;
}

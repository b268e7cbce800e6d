/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan by AMX: TDPBSUD multiplies 16 queries x 64 dimensions (A, signed) with 64 dimensions x 16 vectors (B,
 * unsigned, sixteen rows of a block as they lie) into 16 x 16 sums. Four sums are kept: 32 queries against two blocks,
 * or up to 16 queries against four, so that the latency of a product hides behind three others.
 *
 * M1. Dimensions come in whole tiles of 64. The packed query is zero past its end; codes are read on past the block's
 *     (T2), and what is read is multiplied by zero.
 * M2. Sums leave the tiles through memory. While the products of one step run, the sums of the step before are
 *     screened, some groups of eight rows after each tile of dimensions: two buffers take turns.
 * M3. Screening is one integer compare for 16 sums:
 *         sum >= limit,
 *     where limit is a lower bound of the least sum with which any vector of the block could satisfy T1. It leaves a
 *     mask a row; rows whose mask is not zero take the float test of T1. So the limit decides about speed only, as long
 *     as it is never too high.
 * M4. Tile numbers are fixed: tmm0-3 sums, tmm4-5 queries, tmm6-7 codes. Tile instructions are assembly with their
 *     memory as operands, because intrinsics of gcc 12 do not tell the compiler which memory they read.
 *
 * Panels of up to twelve queries go to the avx512 kernels. Those multiply twelve as they do five, and a panel of sixteen
 * as one of twelve and one of four; tiles take 51 ns to be configured and released, wait 100 ns for queries that were
 * just packed, and score sixteen rows for every block, however few of them are queries. In the short lists of a batch of
 * 128, where most panels have 5 to 12 queries, tiles were 11 % slower (Sapphire Rapids). Any thread. */
#include "kernel/tile.h"

#include "base/checked.h"
#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum {
    SMALL = 12,        /* most queries of a panel that the avx512 kernels scan: as many as fill theirs */
    HALF = 16,         /* queries of a tile */
    TILE_BYTES = 1024, /* a tile of codes, of queries or of sums */
    TILE_QUADS = 16,   /* rows of a block that make a tile */
    SUMS = 4,          /* tiles of sums */
    ROWS = SUMS * HALF,
    GROUP = 8, /* rows screened at a time */
    GROUPS = ROWS / GROUP
};

static size_t tiles_of(size_t quads) {
    return (quads + TILE_QUADS - 1) / TILE_QUADS;
}

static unsigned halves_of(unsigned count) {
    return count <= HALF ? 1 : 2;
}

static void fill_small(ki_tile_kernels *table) {
    ki_tile_fill_avx512(KI_AVX512 | KI_AVX512VNNI, table);
}

/* ---- Packing ----------------------------------------------------------------------------------------------------- */

static size_t amx_packed_bytes(size_t quads, unsigned count) {
    if (count <= SMALL) {
        ki_tile_kernels small;
        fill_small(&small);
        return small.packed_bytes(quads, count);
    }
    return tiles_of(quads) * halves_of(count) * TILE_BYTES;
}

/* [tile of dimensions][half][query][64] */
static void amx_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    if (count <= SMALL) {
        ki_tile_kernels small;
        fill_small(&small);
        small.pack(rows, count, quads, packed);
        return;
    }
    const unsigned halves = halves_of(count);
    const size_t bytes = 4 * quads;
    memset(packed, 0, tiles_of(quads) * halves * TILE_BYTES);
    for (unsigned i = 0; i < count; i++) {
        int8_t *out = (int8_t *)packed + i * KI_QUAD_BYTES; /* halves follow one another, as their rows do */
        for (size_t at = 0; at < bytes; at += KI_QUAD_BYTES, out += halves * TILE_BYTES)
            memcpy(out, rows[i] + at, ki_min_size(KI_QUAD_BYTES, bytes - at));
    }
}

/* ---- Tiles ------------------------------------------------------------------------------------------------------- */

typedef const uint8_t tile_bytes[TILE_BYTES];

#define TILE_LOAD(number, address)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #number                                                              \
                     :                                                                                                 \
                     : "r"(address), "r"((size_t)KI_QUAD_BYTES), "m"(*(tile_bytes *)(const void *)(address)))
#define TILE_STORE(number, address)                                                                                    \
    __asm__ volatile("tilestored %%tmm" #number ", (%1,%2,1)"                                                          \
                     : "=m"(*(uint8_t(*)[TILE_BYTES])(void *)(address))                                                \
                     : "r"(address), "r"((size_t)KI_QUAD_BYTES))
#define TILE_ZERO(number)              __asm__ volatile("tilezero %%tmm" #number :::)
#define TILE_PRODUCT(sum, query, code) __asm__ volatile("tdpbsud %%tmm" #code ", %%tmm" #query ", %%tmm" #sum :::)

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} tile_config;

/* All eight tiles of 16 rows of 64 bytes. */
static const tile_config whole_tiles = {
    .palette = 1, .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

INLINE void configure(void) {
    __asm__ volatile("ldtilecfg %0" : : "m"(whole_tiles));
}

INLINE void release(void) {
    __asm__ volatile("tilerelease" :::);
}

INLINE void zero_sums(void) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}

/* One tile of dimensions: 32 queries against two blocks; sums of query half h and block s go to tmm 2h + s. */
INLINE void multiply_two(const uint8_t *packed, const uint8_t *const *codes, size_t at) {
    TILE_LOAD(6, codes[0] + at);
    TILE_LOAD(4, packed);
    TILE_PRODUCT(0, 4, 6);
    TILE_LOAD(7, codes[1] + at);
    TILE_PRODUCT(1, 4, 7);
    TILE_LOAD(5, packed + TILE_BYTES);
    TILE_PRODUCT(2, 5, 6);
    TILE_PRODUCT(3, 5, 7);
}

/* The same: 16 queries against four blocks; block s goes to tmm s. */
INLINE void multiply_four(const uint8_t *packed, const uint8_t *const *codes, size_t at) {
    TILE_LOAD(4, packed);
    TILE_LOAD(6, codes[0] + at);
    TILE_PRODUCT(0, 4, 6);
    TILE_LOAD(7, codes[1] + at);
    TILE_PRODUCT(1, 4, 7);
    TILE_LOAD(5, codes[2] + at);
    TILE_PRODUCT(2, 4, 5);
    TILE_LOAD(6, codes[3] + at);
    TILE_PRODUCT(3, 4, 6);
}

INLINE void store_sums(int32_t *sums) {
    TILE_STORE(0, sums);
    TILE_STORE(1, sums + HALF * KI_BLOCK);
    TILE_STORE(2, sums + 2 * HALF * KI_BLOCK);
    TILE_STORE(3, sums + 3 * HALF * KI_BLOCK);
}

/* ---- Limits ------------------------------------------------------------------------------------------------------ */

/* Scales outside of 2^-90..2^90, where a quotient could leave the range of floats, get a NaN: everything is a hit. */
INLINE float inverse(float scale) {
    if (scale == 0) return INFINITY;
    return scale >= 0x1p-90f && scale <= 0x1p90f ? 1 / scale : NAN;
}

/* What the limits need of a panel, for each half of it. */
typedef struct panel_terms {
    __m512 need[2], room[2], a[2], b[2], inverse[2];
    __m512i start[2];
} panel_terms;

/* Twice and more what T1 allows the float test to be off, so that limits stay below it. */
static const float rounding = 0x1p-19f;

INLINE void take_terms(const ki_panel *panel, unsigned halves, panel_terms *terms) {
    for (unsigned h = 0; h < halves; h++) {
        float inverses[HALF], room[HALF];
        for (unsigned i = 0; i < HALF; i++) {
            const float need = panel->need[HALF * h + i];
            inverses[i] = inverse(panel->scale[HALF * h + i]);
            room[i] = need < INFINITY ? rounding * fabsf(need) : 0; /* places past the panel's count need infinity */
        }
        terms->need[h] = _mm512_loadu_ps(panel->need + HALF * h);
        terms->room[h] = _mm512_loadu_ps(room);
        terms->a[h] = _mm512_loadu_ps(panel->a + HALF * h);
        terms->b[h] = _mm512_loadu_ps(panel->b + HALF * h);
        terms->inverse[h] = _mm512_loadu_ps(inverses);
        terms->start[h] = _mm512_loadu_si512(panel->start + HALF * h);
    }
}

/* What the limits need of a block: 1 / scale_max, rounded down, and 1 / scale_min, rounded up. */
typedef struct block_terms {
    const ki_block_bound *bound;
    float of_max, of_min;
} block_terms;

INLINE block_terms terms_of(const ki_block_bound *bound) {
    return (block_terms){bound, inverse(bound->scale_max) * (1 - rounding), inverse(bound->scale_min) * (1 + rounding)};
}

/* For 16 queries and a block, the M3 limits of sums without `start`. A vector that satisfies T1 has
 *     a*b*dot >= need' - bias >= n,
 * so dot >= n / (b * scale_max), or with negative n n / (b * scale_min). Dots lie within 2^30 either way, so larger
 * quotients are cut to that, and one that is no number becomes the least limit. */
INLINE __m512i limits(const panel_terms *terms, unsigned h, const block_terms *block) {
    const ki_block_bound *bound = block->bound;
    const __m512 low = _mm512_set1_ps(-0x1p30f), high = _mm512_set1_ps(0x1p30f + 128);
    __m512 slack = _mm512_fmadd_ps(terms->b[h], _mm512_set1_ps(bound->error), _mm512_set1_ps(bound->slack));
    slack = _mm512_fmadd_ps(terms->a[h], _mm512_set1_ps(bound->norm), slack);
    const __m512 magnitude = _mm512_add_ps(slack, _mm512_set1_ps(fabsf(bound->bias)));
    __m512 n = _mm512_sub_ps(_mm512_sub_ps(terms->need[h], slack), _mm512_set1_ps(bound->bias));
    n = _mm512_sub_ps(_mm512_fnmadd_ps(magnitude, _mm512_set1_ps(rounding), n), terms->room[h]);
    const __mmask16 positive = _mm512_cmp_ps_mask(n, _mm512_setzero_ps(), _CMP_GT_OQ);
    const __m512 factor = _mm512_mask_blend_ps(positive, _mm512_set1_ps(block->of_min), _mm512_set1_ps(block->of_max));
    __m512 limit = _mm512_mul_ps(_mm512_mul_ps(n, terms->inverse[h]), factor);
    limit = _mm512_max_ps(_mm512_sub_ps(limit, _mm512_set1_ps(1)), low); /* NaN gives the second operand */
    return _mm512_sub_epi32(_mm512_cvtps_epi32(_mm512_min_ps(limit, high)), terms->start[h]);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

/* The sums of one step of blocks and what is needed to screen them. Row i of tile t is the query 16 * half[t] + i
 * against the block `block[t]`. */
typedef struct step {
    _Alignas(64) int32_t sums[ROWS][KI_BLOCK];
    _Alignas(64) int32_t limit[ROWS];
    _Alignas(64) uint16_t reached[ROWS]; /* which sums of a row reach its limit */
    size_t first;
} step;

/* Which block and half of the panel a tile of sums is about. */
INLINE unsigned block_of(unsigned t, unsigned halves) {
    return halves == 2 ? t & 1 : t;
}
INLINE unsigned half_of(unsigned t, unsigned halves) {
    return halves == 2 ? t >> 1 : 0;
}

/* Limits for a step; blocks from `end` on are repeats of the last, which no sum may reach. */
INLINE void set_limits(step *s, const panel_terms *terms, const ki_block_bound *bounds, size_t first, size_t end,
                       unsigned halves) {
    block_terms blocks[SUMS];
    s->first = first;
    for (unsigned b = 0; b < SUMS / halves; b++) blocks[b] = terms_of(&bounds[first + b < end ? b : 0]);
#pragma GCC unroll 4
    for (unsigned t = 0; t < SUMS; t++) {
        const unsigned b = block_of(t, halves);
        const __m512i limit =
            first + b < end ? limits(terms, half_of(t, halves), &blocks[b]) : _mm512_set1_epi32(INT32_MAX);
        _mm512_store_si512(s->limit + HALF * t, limit);
    }
}

/* Which sums of eight rows reach their limits. */
INLINE void screen(step *s, unsigned group) {
#pragma GCC unroll 8
    for (unsigned i = GROUP * group; i < GROUP * (group + 1); i++)
        s->reached[i] =
            (uint16_t)_mm512_cmpge_epi32_mask(_mm512_load_si512(s->sums[i]), _mm512_set1_epi32(s->limit[i]));
}

/* The rows of a step in which some sum reaches its limit. */
INLINE uint64_t rows_reached(const step *s) {
    const __m512i low = _mm512_load_si512(s->reached), high = _mm512_load_si512(s->reached + ROWS / 2);
    return (uint64_t)_mm512_test_epi16_mask(low, low) | (uint64_t)_mm512_test_epi16_mask(high, high) << (ROWS / 2);
}

/* The float test of T1 for one row. Returns the new number of hits. */
INLINE size_t test_row(const step *s, unsigned row, const ki_level *level, const ki_panel *panel,
                       const ki_block_bound *bounds, unsigned halves, ki_tile_hit *hits, size_t used) {
    const unsigned tile = row / HALF, q = HALF * half_of(tile, halves) + row % HALF, block = block_of(tile, halves);
    const float *factors = level->factors + (s->first + block) * KI_FACTORS;
    const ki_block_bound *bound = &bounds[block];
    const float need = panel->need[q] - bound->slack - panel->a[q] * bound->norm - panel->b[q] * bound->error;
    const __m512i sum = _mm512_add_epi32(_mm512_load_si512(s->sums[row]), _mm512_set1_epi32(panel->start[q]));
    const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(panel->scale[q]));
    const __m512 estimate =
        _mm512_fmadd_ps(dot, _mm512_loadu_ps(factors + KI_FACTOR_SCALE), _mm512_loadu_ps(factors + KI_FACTOR_BIAS));
    const __mmask16 mask = _mm512_cmp_ps_mask(estimate, _mm512_set1_ps(need), _CMP_GE_OQ);
    ki_tile_note(&hits[used], s->first + block, q, mask);
    return used + (mask != 0);
}

/* What is left of screening from `group` on, then the float test where it is asked for. */
INLINE size_t finish(step *s, unsigned group, const ki_level *level, const ki_panel *panel,
                     const ki_block_bound *bounds, unsigned halves, ki_tile_hit *hits, size_t used) {
    for (; group < GROUPS; group++) screen(s, group);
    for (uint64_t rows = rows_reached(s); rows; rows &= rows - 1)
        used = test_row(s, (unsigned)__builtin_ctzll(rows), level, panel, bounds, halves, hits, used);
    return used;
}

/* Groups to look at after each tile of dimensions, so that all are by the last one. */
static unsigned groups_a_tile(size_t tiles) {
    return (unsigned)((GROUPS + tiles - 1) / tiles);
}

INLINE size_t scan_tiles(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                         size_t end, ki_tile_hit *hits, size_t capacity, size_t *count, unsigned halves) {
    const size_t tiles = tiles_of(level->quads), block_bytes = level->quads * KI_QUAD_BYTES;
    const unsigned blocks = SUMS / halves;
    size_t used = *count, block = first;
    step steps[2], *before = NULL;
    const unsigned share = groups_a_tile(tiles);
    panel_terms terms;
    take_terms(panel, halves, &terms);
    configure();
    for (unsigned turn = 0; block < end && used + 4 * KI_PANEL_MAX <= capacity; block += blocks, turn ^= 1) {
        step *now = &steps[turn];
        const uint8_t *packed = panel->packed, *codes[SUMS];
        unsigned group = before ? 0 : GROUPS;
        for (unsigned s = 0; s < blocks; s++) codes[s] = level->codes + ki_min_size(block + s, end - 1) * block_bytes;
        zero_sums();
        for (size_t t = 0; t < tiles; t++, packed += halves * TILE_BYTES) {
            if (halves == 2)
                multiply_two(packed, codes, t * TILE_BYTES);
            else
                multiply_four(packed, codes, t * TILE_BYTES);
            for (unsigned i = 0; i < share && group < GROUPS; i++) screen(before, group++);
        }
        store_sums(now->sums[0]);
        set_limits(now, &terms, bounds + (block - first), block, end, halves);
        if (before) used = finish(before, group, level, panel, bounds + (before->first - first), halves, hits, used);
        before = now;
    }
    if (before) used = finish(before, 0, level, panel, bounds + (before->first - first), halves, hits, used);
    release();
    *count = used;
    return ki_min_size(block, end);
}

TARGET static size_t scan_half(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                               size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan_tiles(level, panel, bounds, first, end, hits, capacity, count, 1);
}

TARGET static size_t scan_whole(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                                size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan_tiles(level, panel, bounds, first, end, hits, capacity, count, 2);
}

static size_t amx_scan(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                       size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    if (panel->count > HALF) return scan_whole(level, panel, bounds, first, end, hits, capacity, count);
    if (panel->count > SMALL) return scan_half(level, panel, bounds, first, end, hits, capacity, count);
    ki_tile_kernels small;
    fill_small(&small);
    return small.scan(level, panel, bounds, first, end, hits, capacity, count);
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* The scores of T4 for the eight rows of a group. Hits are frequent, so that a branch for each would be mispredicted:
 * all is stored at the next free place, which is taken only by a hit. Blocks from `end` on are repeats of the last, and
 * places past the panel's count are empty.
 * Returns the new number of hits. */
INLINE size_t score_group(const step *s, unsigned group, const ki_level *level, const ki_panel *panel, size_t end,
                          unsigned halves, ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t used) {
    const unsigned tile = group / 2, query = HALF * half_of(tile, halves) + GROUP * (group & 1);
    const size_t block = s->first + block_of(tile, halves);
    if (block >= end || query >= panel->count) return used;
    const float *factors = level->factors + block * KI_FACTORS;
    const __m512 scale = _mm512_loadu_ps(factors + KI_FACTOR_SCALE), bias = _mm512_loadu_ps(factors + KI_FACTOR_BIAS);
#pragma GCC unroll 8
    for (unsigned i = 0; i < GROUP; i++) {
        const unsigned q = query + i;
        const __m512i sum =
            _mm512_add_epi32(_mm512_load_si512(s->sums[GROUP * group + i]), _mm512_set1_epi32(panel->start[q]));
        const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(panel->scale[q]));
        const __m512 score = _mm512_fmadd_ps(dot, scale, bias);
        const __mmask16 mask = _mm512_cmp_ps_mask(score, _mm512_set1_ps(panel->need[q]), _CMP_GE_OQ);
        ki_tile_note(&hits[used], block, q, mask);
        _mm512_storeu_ps(scores[used], score);
        used += mask != 0;
    }
    return used;
}

/* Ask for so many lines. */
INLINE void ask(ki_tile_ask *beside, size_t lines) {
    for (size_t i = 0; i < lines && beside->step; i++) ki_tile_ask_next(beside);
}

INLINE size_t score_tiles(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                          float (*scores)[KI_BLOCK], size_t capacity, size_t *count, unsigned halves) {
    const size_t tiles = tiles_of(level->quads), block_bytes = level->quads * KI_QUAD_BYTES;
    const unsigned blocks = SUMS / halves, share = groups_a_tile(tiles);
    size_t used = *count, block = first;
    unsigned group = GROUPS; /* of the step before: the next to score */
    step steps[2];
    const step *before = steps;
    configure();
    for (unsigned turn = 0; block < end && used + 4 * KI_PANEL_MAX <= capacity; block += blocks, turn ^= 1) {
        step *now = &steps[turn];
        const uint8_t *packed = panel->packed, *codes[SUMS];
        for (unsigned s = 0; s < blocks; s++) codes[s] = level->codes + ki_min_size(block + s, end - 1) * block_bytes;
        ki_tile_ask beside = ki_tile_ask_beside(panel, (block - first) * level->quads, blocks * level->quads);
        now->first = block;
        zero_sums();
        for (size_t t = 0; t < tiles; t++, packed += halves * TILE_BYTES) {
            if (halves == 2)
                multiply_two(packed, codes, t * TILE_BYTES);
            else
                multiply_four(packed, codes, t * TILE_BYTES);
            ask(&beside, blocks * ki_min_size(TILE_QUADS, level->quads - t * TILE_QUADS));
            for (unsigned i = 0; i < share && group < GROUPS; i++)
                used = score_group(before, group++, level, panel, end, halves, hits, scores, used);
        }
        store_sums(now->sums[0]);
        while (group < GROUPS) used = score_group(before, group++, level, panel, end, halves, hits, scores, used);
        before = now;
        group = 0;
    }
    while (group < GROUPS) used = score_group(before, group++, level, panel, end, halves, hits, scores, used);
    release();
    *count = used;
    return ki_min_size(block, end);
}

TARGET static size_t score_half(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score_tiles(level, panel, first, end, hits, scores, capacity, count, 1);
}

TARGET static size_t score_whole(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                 ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score_tiles(level, panel, first, end, hits, scores, capacity, count, 2);
}

static size_t amx_score(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                        float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    if (panel->count > HALF) return score_whole(level, panel, first, end, hits, scores, capacity, count);
    if (panel->count > SMALL) return score_half(level, panel, first, end, hits, scores, capacity, count);
    ki_tile_kernels small;
    fill_small(&small);
    return small.score(level, panel, first, end, hits, scores, capacity, count);
}

void ki_tile_fill_amx(uint32_t features, ki_tile_kernels *table) {
    const uint32_t needed = KI_AVX512 | KI_AVX512VNNI | KI_AMX_INT8;
    if ((features & needed) != needed) return;
    fill_small(table); /* for dots */
    table->width = 2 * HALF;
    table->packed_bytes = amx_packed_bytes;
    table->pack = amx_pack;
    table->scan = amx_scan;
    table->score = amx_score;
}

#else
void ki_tile_fill_amx(uint32_t features, ki_tile_kernels *table) {
    (void)features;
    (void)table;
}
#endif

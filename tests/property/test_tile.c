/* SPDX-License-Identifier: Apache-2.0
 *
 * Every tile scan kernel, at every feature mask that this machine can run, against plain loops: dots are the exact
 * integers, a scan reports every vector that satisfies T1 of kernel/tile.h and none that misses it by more than float
 * arithmetic explains, resumes without losing or repeating a hit, and reads nothing but its operands and what T2
 * allows. Every operand ends where a forbidden page begins.
 *
 * score (T4) is held against the same plain loops bit for bit, hits and scores.
 *
 * The amx kernels run on the processor's tiles, or through tests/support/amx_emulator.h where it has none.
 *
 * Guards against: saturating products (codes 0 and 255 against -128 and 127), a tail of dimensions or blocks left out,
 * an integer limit above the float threshold, padding vectors reported, tiles left configured. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/tile.h"
#include "support/amx_emulator.h"
#include "support/guard.h"

enum { MASKS_MAX = 16, QUADS_MAX = 70, BLOCKS_MAX = 48, CAPACITY_MIN = 8 * KI_PANEL_MAX, HITS_MAX = 4096 };

/* ---- Feature masks ----------------------------------------------------------------------------------------------- */

static struct mask {
    char name[32];
    uint32_t features;
    ki_tile_kernels table;
} masks[MASKS_MAX];
static size_t mask_count;

static void add_mask(uint32_t features, const char *name) {
    for (size_t i = 0; i < mask_count; i++)
        if (masks[i].features == features) return;
    assert_true(mask_count < MASKS_MAX);
    masks[mask_count].features = features;
    snprintf(masks[mask_count].name, sizeof(masks->name), "\"%s\"", name);
    ki_tile_fill(features, &masks[mask_count++].table);
}

/* ---- Scenes ------------------------------------------------------------------------------------------------------ */

/* What the numbers are like. */
enum flavour {
    PLAIN,
    WHOLE,   /* all terms are whole numbers that floats hold: no rounding at all */
    EXTREME, /* codes 0 and 255, queries -128 and 127 only */
    PADDED,  /* the last block ends in padding: scale 0, bias -FLT_MAX; scales of zero elsewhere too */
    HOSTILE, /* scales up to the limits of what floats can divide */
    FLAVOURS
};

/* Rooms made once; operands move in them so that each ends at the forbidden page. */
static guard code_room, factor_room, packed_room, bound_room, hit_room, score_room;

typedef struct scene {
    const struct mask *mask;
    enum flavour flavour;
    ki_rng rng;
    ki_level level;
    ki_block_bound *bounds; /* of blocks first..end */
    size_t first, end;
    ki_panel panel;
    int8_t queries[KI_PANEL_MAX][4 * QUADS_MAX];
    int32_t dots[BLOCKS_MAX][KI_PANEL_MAX][KI_BLOCK];
} scene;

static scene s;

static int set_up(void **state) {
    static const char *const settings[] = {"",     "scalar",   "neon",          "neon,-neondot", "neon,-neoni8mm",
                                           "avx2", "-avxvnni", "avx2,-avxvnni", "-avx512vnni",   "avx512"};
    const uint32_t found = ki_cpu_features_found(), vnni = KI_AVX512 | KI_AVX512VNNI;
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        uint32_t features;
        assert_true(ki_cpu_lower(found, settings[i], &features));
        add_mask(features, settings[i]);
    }
    if ((found & vnni) == vnni && amx_emulator_install() != AMX_NOWHERE)
        add_mask(found | KI_AMX_INT8, "amx, emulated"); /* tiles of the processor's own came with the first setting */
    print_message("feature masks:");
    for (size_t i = 0; i < mask_count; i++) print_message(" %s", masks[i].name);
    print_message("\n");
    guard_make(&code_room, (size_t)BLOCKS_MAX * QUADS_MAX * KI_QUAD_BYTES + KI_TILE_OVERREAD);
    guard_make(&factor_room, BLOCKS_MAX * KI_FACTORS * sizeof(float));
    guard_make(&packed_room, (size_t)1 << 17);
    guard_make(&bound_room, BLOCKS_MAX * sizeof(ki_block_bound));
    guard_make(&hit_room, HITS_MAX * sizeof(ki_tile_hit));
    guard_make(&score_room, HITS_MAX * KI_BLOCK * sizeof(float));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    guard_free(&code_room);
    guard_free(&factor_room);
    guard_free(&packed_room);
    guard_free(&bound_room);
    guard_free(&hit_room);
    guard_free(&score_room);
    return 0;
}

static double between(double low, double high) {
    return low + (high - low) * ki_rng_unit(&s.rng);
}

/* A power of two, 0 now and then. */
static float hostile_scale(void) {
    static const float scales[] = {0, 0x1p-95f, 0x1p-80f, 0x1p-60f, 1, 0x1p60f, 0x1p80f};
    return scales[ki_rng_below(&s.rng, sizeof(scales) / sizeof(*scales))];
}

static void make_factors(float *factors, size_t block) {
    for (size_t v = 0; v < KI_BLOCK; v++) {
        float scale = (float)exp2(between(-14, -4)), bias = (float)between(-2, 2);
        float norm = (float)between(0, 3), error = (float)between(0, 0.01);
        if (s.flavour == PADDED && block + 1 == s.level.blocks && v >= block % KI_BLOCK)
            scale = norm = error = 0, bias = -FLT_MAX;
        else if (s.flavour == PADDED && ki_rng_below(&s.rng, 8) == 0)
            scale = 0;
        if (s.flavour == HOSTILE) scale = hostile_scale();
        if (s.flavour == WHOLE) scale = 1, bias = (float)ki_rng_below(&s.rng, 4), norm = error = 0;
        factors[KI_FACTOR_SCALE + v] = scale;
        factors[KI_FACTOR_BIAS + v] = bias;
        factors[KI_FACTOR_NORM + v] = norm;
        factors[KI_FACTOR_ERROR + v] = error;
    }
}

/* T2: what may be read past the codes. Only the amx kernels do. */
static size_t overread(void) {
    return s.mask->features & KI_AMX_INT8 ? KI_TILE_OVERREAD : 0;
}

static void make_level(size_t quads, size_t blocks) {
    const size_t bytes = blocks * quads * KI_QUAD_BYTES;
    uint8_t *codes;
    float *factors = guard_end(&factor_room, blocks * KI_FACTORS * sizeof(float));
    guard_fill(&code_room, 0xEE);
    codes = guard_end(&code_room, bytes + overread());
    for (size_t i = 0; i < bytes; i++)
        codes[i] = s.flavour == EXTREME ? (uint8_t)(0 - ki_rng_below(&s.rng, 2)) : (uint8_t)ki_rng_below(&s.rng, 256);
    s.level = (ki_level){codes, factors, quads, blocks};
    for (size_t block = 0; block < blocks; block++) make_factors(factors + block * KI_FACTORS, block);
}

/* The part of the level that is scanned. */
static void make_part(size_t first, size_t end) {
    s.first = first;
    s.end = end;
    s.bounds = guard_end(&bound_room, (end - first) * sizeof(*s.bounds));
    s.panel.norm2_slack = s.flavour == HOSTILE ? 0 : 0x1p-16f;
    ki_tile_bounds(&s.level, first, end, s.panel.norm2_slack, s.bounds);
}

static void make_queries(unsigned count) {
    const size_t dims = 4 * s.level.quads;
    s.panel = (ki_panel){.count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) s.panel.need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        int32_t sum = 0;
        for (size_t j = 0; j < dims; j++) {
            const int v = s.flavour == EXTREME ? -128 + 255 * (int)ki_rng_below(&s.rng, 2)
                                               : -128 + (int)ki_rng_below(&s.rng, 256);
            s.queries[i][j] = (int8_t)v;
            sum += v;
        }
        s.panel.start[i] = -128 * sum;
        s.panel.scale[i] = s.flavour == HOSTILE ? hostile_scale() : (float)exp2(between(-14, -4));
        if (s.flavour == WHOLE) s.panel.scale[i] = 1;
        if (s.flavour == PADDED && i % 7 == 3) s.panel.scale[i] = 0;
        s.panel.a[i] = (float)between(0, 0.1);
        s.panel.b[i] = (float)between(0, 3);
    }
    for (size_t block = 0; block < s.level.blocks; block++)
        for (unsigned i = 0; i < count; i++)
            for (size_t v = 0; v < KI_BLOCK; v++) {
                const uint8_t *codes = s.level.codes + block * s.level.quads * KI_QUAD_BYTES + 4 * v;
                int32_t dot = 0;
                for (size_t j = 0; j < dims; j++) dot += (codes[j / 4 * KI_QUAD_BYTES + j % 4] - 128) * s.queries[i][j];
                s.dots[block][i][v] = dot;
            }
}

/* The terms of T1 for one query and vector, in double: the left side less the right side. `own`: with what the vector
 * itself has in place of the maxima over its block. */
static double t1_excess(size_t block, unsigned query, size_t v, bool own, double *largest) {
    const float *factors = s.level.factors + block * KI_FACTORS;
    ki_block_bound bound = s.bounds[block - s.first];
    if (own) {
        bound.norm = factors[KI_FACTOR_NORM + v];
        bound.error = factors[KI_FACTOR_ERROR + v];
        bound.slack = s.panel.norm2_slack * bound.norm * bound.norm;
    }
    const double term[] = {
        (double)factors[KI_FACTOR_SCALE + v] * (double)s.panel.scale[query] * s.dots[block][query][v],
        (double)factors[KI_FACTOR_BIAS + v],
        -(double)s.panel.need[query],
        (double)s.panel.a[query] * (double)bound.norm,
        (double)s.panel.b[query] * (double)bound.error,
        (double)bound.slack,
    };
    double sum = 0;
    *largest = 0x1p-100; /* where products underflow */
    for (size_t i = 0; i < sizeof(term) / sizeof(*term); i++) {
        sum += term[i];
        if (fabs(term[i]) > *largest) *largest = fabs(term[i]);
    }
    return sum;
}

/* Whether this panel may be scanned without bounds of blocks. */
static bool takes_no_bounds(void) {
    return s.panel.count == 1 && s.mask->table.bounds_single;
}

/* Thresholds: some that all or none reach, most at the very value of some vector, so that the comparison is close. */
static void make_needs(void) {
    for (unsigned i = 0; i < s.panel.count; i++) {
        const uint64_t kind = ki_rng_below(&s.rng, 8), tries = kind < 6 ? 1 + 10 * kind : 1;
        double best = -INFINITY, largest;
        s.panel.need[i] = 0;
        for (uint64_t t = 0; t < tries; t++) {
            const size_t block = s.first + ki_rng_below(&s.rng, s.end - s.first);
            const double excess = t1_excess(block, i, ki_rng_below(&s.rng, KI_BLOCK), takes_no_bounds(), &largest);
            if (excess > best) best = excess;
        }
        s.panel.need[i] = kind == 6 ? -INFINITY : kind == 7 ? FLT_MAX : (float)fmax(-FLT_MAX, fmin(best, FLT_MAX));
    }
}

static void pack(void) {
    const int8_t *rows[KI_PANEL_MAX];
    const ki_tile_kernels *table = &s.mask->table;
    void *packed = guard_end(&packed_room, table->packed_bytes(s.level.quads, s.panel.count));
    for (unsigned i = 0; i < s.panel.count; i++) rows[i] = s.queries[i];
    table->pack(rows, s.panel.count, s.level.quads, packed);
    s.panel.packed = packed;
}

static void make_scene(const struct mask *mask, enum flavour flavour, size_t quads, size_t blocks, unsigned count) {
    s.mask = mask;
    s.flavour = flavour;
    make_level(quads, blocks);
    make_queries(count);
    make_part(blocks > 2 ? ki_rng_below(&s.rng, 2) : 0, blocks - (blocks > 4 ? ki_rng_below(&s.rng, 2) : 0));
    make_needs();
    pack();
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

static uint16_t reported[BLOCKS_MAX][KI_PANEL_MAX];

static void take_hits(const ki_tile_hit *hits, size_t count, size_t from, size_t to) {
    for (size_t i = 0; i < count; i++) {
        assert_in_range(hits[i].block, from, to - 1);
        assert_true(hits[i].query < s.panel.count);
        assert_int_not_equal(hits[i].mask, 0);
        if (reported[hits[i].block][hits[i].query])
            fail_msg("%s: block %u, query %u was reported twice", s.mask->name, hits[i].block, hits[i].query);
        reported[hits[i].block][hits[i].query] = hits[i].mask;
    }
}

/* Scan all, in as many calls as it takes. Each begins with `held` places already taken. */
static void scan(size_t capacity, size_t held) {
    const bool bounds = !takes_no_bounds() || capacity % 2;
    ki_tile_hit *hits = guard_end(&hit_room, capacity * sizeof(*hits));
    memset(reported, 0, sizeof(reported));
    for (size_t block = s.first; block < s.end;) {
        size_t count = held;
        const size_t next = s.mask->table.scan(&s.level, &s.panel, bounds ? s.bounds + (block - s.first) : NULL, block,
                                               s.end, hits, capacity, &count);
        assert_true(next > block && next <= s.end);
        assert_true(count >= held && count <= capacity);
        if (next < s.end) assert_true(count + 4 * KI_PANEL_MAX > capacity);
        take_hits(hits + held, count - held, block, next);
        block = next;
    }
    if (s.mask->features & KI_AMX_INT8) assert_int_equal(amx_tiles_configured(), 0);
}

static void check_pair(size_t block, unsigned query) {
    for (size_t v = 0; v < KI_BLOCK; v++) {
        const bool hit = reported[block][query] >> v & 1;
        double largest;
        const double excess = t1_excess(block, query, v, !hit && takes_no_bounds(), &largest);
        if (largest > (double)FLT_MAX && isfinite(largest)) continue; /* T1 speaks of what floats can hold */
        if (s.flavour == WHOLE && hit != (excess >= 0)) fail_msg("%s: %g is not judged exactly", s.mask->name, excess);
        if (hit ? excess >= -1e-4 * largest : excess < 0x1p-21 * largest) continue;
        fail_msg("%s: flavour %d, %zu quads, %zu..%zu of %zu blocks, %u queries: block %zu, query %u, vector %zu was "
                 "%s, T1 has %g to spare where the largest term is %g",
                 s.mask->name, s.flavour, s.level.quads, s.first, s.end, s.level.blocks, s.panel.count, block, query, v,
                 hit ? "reported" : "not reported", excess, largest);
    }
}

static void check_scan(void) {
    for (size_t block = s.first; block < s.end; block++)
        for (unsigned i = 0; i < s.panel.count; i++) check_pair(block, i);
}

static void test_scan_every_count(void **state) {
    static const size_t quads[] = {1, 5, 15, 16, 17, 33};
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){1};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (unsigned count = 1; count <= m->table.width; count++)
            for (size_t blocks = 1; blocks <= 9; blocks++) {
                make_scene(m, (enum flavour)(blocks % FLAVOURS), quads[(count + blocks) % 6], blocks, count);
                scan(HITS_MAX, 0);
                check_scan();
            }
}

static void test_scan_every_length(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){2};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t quads = 1; quads <= QUADS_MAX; quads++)
            for (int flavour = 0; flavour < FLAVOURS; flavour++) {
                const unsigned count = 1 + (unsigned)ki_rng_below(&s.rng, m->table.width);
                make_scene(m, (enum flavour)flavour, quads, 1 + ki_rng_below(&s.rng, 6), count);
                scan(HITS_MAX, 0);
                check_scan();
            }
}

/* All pairs are hits, the capacity is the least allowed. */
static void test_scan_resumes(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){3};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (unsigned count = 1; count <= m->table.width; count++)
            for (size_t held = 0; held <= CAPACITY_MIN / 2; held += CAPACITY_MIN / 4 - 1) {
                make_scene(m, PLAIN, 1 + count % 3, BLOCKS_MAX - count % 5, count);
                for (unsigned i = 0; i < count; i++)
                    if (held == 0 || ki_rng_below(&s.rng, 2)) s.panel.need[i] = -1e6f;
                scan(CAPACITY_MIN + count % 7, held);
                check_scan();
            }
}

/* Nothing is scanned where nothing is asked for or there is no room. */
static void test_scan_of_nothing(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){4};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (unsigned count = 1; count <= m->table.width; count++) {
            ki_tile_hit *hits = guard_end(&hit_room, CAPACITY_MIN * sizeof(*hits));
            size_t used = 0, full = CAPACITY_MIN;
            make_scene(m, PLAIN, 3, 4, count);
            assert_int_equal(m->table.scan(&s.level, &s.panel, s.bounds, 2, 2, hits, CAPACITY_MIN, &used), 2);
            assert_int_equal(used, 0);
            assert_int_equal(m->table.scan(&s.level, &s.panel, s.bounds, s.first, s.end, hits, CAPACITY_MIN, &full),
                             s.first);
            assert_int_equal(full, CAPACITY_MIN);
        }
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

static float scored[BLOCKS_MAX][KI_PANEL_MAX][KI_BLOCK];

/* The score of T4. */
static float score_of(size_t block, unsigned query, size_t v) {
    const float *factors = s.level.factors + block * KI_FACTORS;
    const float dot = (float)s.dots[block][query][v] * s.panel.scale[query];
    return fmaf(dot, factors[KI_FACTOR_SCALE + v], factors[KI_FACTOR_BIAS + v]);
}

/* A scene for score: thresholds at the very score of some vector, or that all or none reach. What score must not read
 * is no number. */
static void make_score_scene(const struct mask *mask, enum flavour flavour, size_t quads, size_t blocks,
                             unsigned count) {
    make_scene(mask, flavour, quads, blocks, count);
    for (unsigned i = 0; i < count; i++) {
        const uint64_t kind = ki_rng_below(&s.rng, 8);
        float need = -INFINITY;
        for (uint64_t t = 0; t < 1 + 4 * kind; t++)
            need = fmaxf(need,
                         score_of(s.first + ki_rng_below(&s.rng, s.end - s.first), i, ki_rng_below(&s.rng, KI_BLOCK)));
        s.panel.need[i] = kind == 6 ? -INFINITY : kind == 7 ? FLT_MAX : need;
    }
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) s.panel.a[i] = s.panel.b[i] = NAN;
    s.panel.norm2_slack = NAN;
    s.panel.ahead = (const void *)(uintptr_t)64; /* may be asked for, never read */
    s.panel.ahead_lines = ki_rng_below(&s.rng, 2) * quads * (1 + ki_rng_below(&s.rng, 2 * blocks));
}

/* Score all, in as many calls as it takes. Each begins with `held` places already taken. */
static void score(size_t capacity, size_t held) {
    ki_tile_hit *hits = guard_end(&hit_room, capacity * sizeof(*hits));
    float(*scores)[KI_BLOCK] = guard_end(&score_room, capacity * sizeof(*scores));
    memset(reported, 0, sizeof(reported));
    for (size_t block = s.first; block < s.end;) {
        size_t count = held;
        memset(scores, 0xEE, capacity * sizeof(*scores));
        memset(hits, 0xEE, capacity * sizeof(*hits));
        const size_t next = s.mask->table.score(&s.level, &s.panel, block, s.end, hits, scores, capacity, &count);
        assert_true(next > block && next <= s.end);
        assert_true(count >= held && count <= capacity);
        if (next < s.end) assert_true(count + 4 * KI_PANEL_MAX > capacity);
        take_hits(hits + held, count - held, block, next);
        for (size_t h = held; h < count; h++) memcpy(scored[hits[h].block][hits[h].query], scores[h], sizeof(*scores));
        for (size_t i = 0; i < held * sizeof(*scores); i++) assert_int_equal(((uint8_t *)scores)[i], 0xEE);
        for (size_t i = 0; i < held * sizeof(*hits); i++) assert_int_equal(((uint8_t *)hits)[i], 0xEE);
        block = next;
    }
    if (s.mask->features & KI_AMX_INT8) assert_int_equal(amx_tiles_configured(), 0);
}

static void check_scores(void) {
    for (size_t block = s.first; block < s.end; block++)
        for (unsigned i = 0; i < s.panel.count; i++) {
            float expected[KI_BLOCK];
            unsigned mask = 0;
            for (size_t v = 0; v < KI_BLOCK; v++) {
                expected[v] = score_of(block, i, v);
                mask |= (unsigned)(expected[v] >= s.panel.need[i]) << v;
            }
            if (reported[block][i] == mask && (!mask || memcmp(expected, scored[block][i], sizeof(expected)) == 0))
                continue;
            fail_msg("%s: flavour %d, %zu quads, %zu..%zu of %zu blocks, %u queries: block %zu, query %u: reported %x, "
                     "expected %x, or the scores differ",
                     s.mask->name, s.flavour, s.level.quads, s.first, s.end, s.level.blocks, s.panel.count, block, i,
                     reported[block][i], mask);
        }
}

static void test_scores_every_count(void **state) {
    static const size_t quads[] = {1, 5, 15, 16, 17, 33, QUADS_MAX};
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){6};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (unsigned count = 1; count <= m->table.width; count++)
            for (size_t blocks = 1; blocks <= 9; blocks++) {
                make_score_scene(m, (enum flavour)(blocks % FLAVOURS), quads[(count + blocks) % 7], blocks, count);
                score(HITS_MAX, blocks % 2);
                check_scores();
            }
}

static void test_scores_every_length(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){7};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t quads = 1; quads <= QUADS_MAX; quads++)
            for (int flavour = 0; flavour < FLAVOURS; flavour++) {
                const unsigned count = 1 + (unsigned)ki_rng_below(&s.rng, m->table.width);
                make_score_scene(m, (enum flavour)flavour, quads, 1 + ki_rng_below(&s.rng, 6), count);
                score(HITS_MAX, 0);
                check_scores();
            }
}

/* All pairs are hits, the capacity is the least allowed; and nothing is scored without room or blocks. */
static void test_scores_resume(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){8};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (unsigned count = 1; count <= m->table.width; count++) {
            for (size_t held = 0; held <= CAPACITY_MIN / 2; held += CAPACITY_MIN / 4 - 1) {
                make_score_scene(m, PLAIN, 1 + count % 3, BLOCKS_MAX - count % 5, count);
                for (unsigned i = 0; i < count; i++)
                    if (held == 0 || ki_rng_below(&s.rng, 2)) s.panel.need[i] = -1e6f;
                score(CAPACITY_MIN + count % 7, held);
                check_scores();
            }
            size_t used = 0, full = CAPACITY_MIN;
            ki_tile_hit *hits = guard_end(&hit_room, CAPACITY_MIN * sizeof(*hits));
            float(*scores)[KI_BLOCK] = guard_end(&score_room, CAPACITY_MIN * sizeof(*scores));
            assert_int_equal(m->table.score(&s.level, &s.panel, 2, 2, hits, scores, CAPACITY_MIN, &used), 2);
            assert_int_equal(used, 0);
            assert_int_equal(m->table.score(&s.level, &s.panel, s.first, s.end, hits, scores, CAPACITY_MIN, &full),
                             s.first);
            assert_int_equal(full, CAPACITY_MIN);
        }
}

/* ---- Single blocks ----------------------------------------------------------------------------------------------- */

static void test_dots(void **state) {
    (void)state;
    amx_emulator_install();
    s.rng = (ki_rng){5};
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        for (size_t quads = 1; quads <= QUADS_MAX; quads++)
            for (unsigned count = 1; count <= m->table.dots_width; count++) {
                const int8_t *rows[KI_DOTS_MAX];
                int32_t dot[KI_DOTS_MAX][KI_BLOCK];
                s.mask = m;
                s.flavour = (quads + count) % 2 ? PLAIN : EXTREME;
                make_level(quads, 2);
                make_queries(count);
                for (unsigned i = 0; i < count; i++) /* each query ends at the forbidden page in its turn */
                    rows[i] = i == quads % count ? memcpy(guard_end(&packed_room, 4 * quads), s.queries[i], 4 * quads)
                                                 : s.queries[i];
                for (size_t block = 0; block < 2; block++) {
                    m->table.dots(&s.level, block, rows, s.panel.start, count, dot);
                    assert_memory_equal(dot, s.dots[block], count * sizeof(*dot));
                }
            }
}

/* 65,536 dimensions of the largest products: sums that just fit 32 bits. */
static void test_largest_sums(void **state) {
    enum { QUADS = 16384, DIMS = 4 * QUADS };
    static const struct {
        uint8_t code;
        int8_t query;
    } pairs[] = {{255, 127}, {255, -128}, {0, 127}, {0, -128}};
    uint8_t *codes = malloc(DIMS * KI_BLOCK + KI_TILE_OVERREAD);
    int8_t *query = malloc(DIMS);
    float factors[KI_FACTORS] = {0};
    const int8_t *rows[KI_PANEL_MAX];
    (void)state;
    assert_true(codes && query);
    amx_emulator_install();
    for (size_t v = 0; v < KI_BLOCK; v++) factors[v] = 1;
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) rows[i] = query;
    for (size_t p = 0; p < sizeof(pairs) / sizeof(*pairs); p++) {
        const int32_t expected = (pairs[p].code - 128) * pairs[p].query * DIMS;
        memset(codes, pairs[p].code, DIMS * KI_BLOCK + KI_TILE_OVERREAD);
        memset(query, pairs[p].query, DIMS);
        for (const struct mask *m = masks; m < masks + mask_count; m++) {
            const ki_level level = {codes, factors, QUADS, 1};
            ki_panel panel = {.count = m->table.width};
            ki_block_bound bound;
            ki_tile_hit hits[CAPACITY_MIN];
            int32_t dot[KI_DOTS_MAX][KI_BLOCK];
            size_t used = 0;
            void *packed = malloc(m->table.packed_bytes(QUADS, panel.count));
            assert_non_null(packed);
            for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel.need[i] = INFINITY;
            for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel.start[i] = -128 * pairs[p].query * DIMS;
            for (unsigned i = 0; i < panel.count; i++) {
                panel.scale[i] = 1;
                panel.need[i] = (float)expected * (1 - 1e-5f * (i % 2 == (expected > 0) ? 1.0f : -1.0f));
            }
            m->table.pack(rows, panel.count, QUADS, packed);
            panel.packed = packed;
            ki_tile_bounds(&level, 0, 1, 0, &bound);
            m->table.dots(&level, 0, rows, panel.start, m->table.dots_width, dot);
            for (size_t i = 0; i < m->table.dots_width * KI_BLOCK; i++)
                assert_int_equal(dot[i / KI_BLOCK][i % KI_BLOCK], expected);
            assert_int_equal(m->table.scan(&level, &panel, &bound, 0, 1, hits, CAPACITY_MIN, &used), 1);
            assert_int_equal(used, (panel.count + 1) / 2 - (panel.count % 2 && hits[0].query == 1));
            for (size_t i = 0; i < used; i++) assert_int_equal(hits[i].mask, 0xffff);
            free(packed);
        }
    }
    free(codes);
    free(query);
}

static void test_emulator_took_part(void **state) {
    (void)state;
    for (const struct mask *m = masks; m < masks + mask_count; m++)
        if (m->features & KI_AMX_INT8 && amx_emulator_install() == AMX_EMULATED)
            assert_true(amx_emulator_instructions() > 1000);
}

static void test_table_of_process(void **state) {
    ki_tile_kernels table;
    (void)state;
    ki_tile_fill(ki_cpu_features(), &table);
    assert_in_range(table.dots_width, 1, KI_DOTS_MAX);
    assert_ptr_equal(ki_tile(), ki_tile());
    assert_int_equal(ki_tile()->width, table.width);
    assert_int_equal(ki_tile()->dots_width, table.dots_width);
    assert_ptr_equal(ki_tile()->scan, table.scan);
    assert_ptr_equal(ki_tile()->score, table.score);
    assert_ptr_equal(ki_tile()->dots, table.dots);
    assert_in_range(table.width, 1, KI_PANEL_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dots),
        cmocka_unit_test(test_scan_every_count),
        cmocka_unit_test(test_scan_every_length),
        cmocka_unit_test(test_scan_resumes),
        cmocka_unit_test(test_scan_of_nothing),
        cmocka_unit_test(test_scores_every_count),
        cmocka_unit_test(test_scores_every_length),
        cmocka_unit_test(test_scores_resume),
        cmocka_unit_test(test_largest_sums),
        cmocka_unit_test(test_emulator_took_part),
        cmocka_unit_test(test_table_of_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

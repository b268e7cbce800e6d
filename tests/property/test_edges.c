/* SPDX-License-Identifier: Apache-2.0
 *
 * What walks compute (kernel/edges.h): every feature mask of this machine against plain code that knows only what the
 * head draws, bit for bit, with operands that end where a forbidden page begins, and at odd addresses.
 *
 * Guards against: sums that overflow a byte or a word at the greatest width, a last odd step or block left out,
 * nibbles, halves and planes swapped, factors that are no numbers, ties rounded otherwise, the wrong one of equal
 * values. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/edges.h"
#include "support/guard.h"

enum { MASKS_MAX = 8, WIDTH_MAX = 4096, STEPS_MAX = WIDTH_MAX / 16, PLANES_MAX = 4, BLOCKS_MAX = KI_EDGES_MAX / 16 };

static struct {
    const char *name;
    ki_edges_kernels table;
} masks[MASKS_MAX];
static size_t mask_count;
static guard code_room, table_room, add_room, mul_room, out_room, float_room, word_room;

static int set_up(void **state) {
    static const char *const settings[] = {"scalar", "neon", "avx2", "avx512,-avx512vnni", "avx512"};
    uint32_t seen[MASKS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        uint32_t features;
        int known = 0;
        assert_true(ki_cpu_lower(ki_cpu_features_found(), settings[i], &features));
        for (size_t m = 0; m < mask_count; m++) known |= seen[m] == features;
        if (known) continue;
        seen[mask_count] = features;
        masks[mask_count].name = settings[i];
        ki_edges_fill(features, &masks[mask_count++].table);
    }
    guard_make(&code_room, (size_t)PLANES_MAX * BLOCKS_MAX * STEPS_MAX * 32 + 1);
    guard_make(&table_room, (size_t)STEPS_MAX * KI_EDGES_STEP_BYTES + 1);
    guard_make(&add_room, (KI_EDGES_MAX + 1) * sizeof(float));
    guard_make(&mul_room, (KI_EDGES_MAX + 1) * sizeof(float));
    guard_make(&out_room, (KI_EDGES_MAX + 1) * sizeof(float));
    guard_make(&float_room, (WIDTH_MAX + 1) * sizeof(float));
    guard_make(&word_room, (WIDTH_MAX + 1) * sizeof(int16_t));
    return 0;
}

static int tear_down(void **state) {
    guard *rooms[] = {&code_room, &table_room, &add_room, &mul_room, &out_room, &float_room, &word_room};
    (void)state;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) guard_free(rooms[i]);
    return 0;
}

/* `bytes` at the end of the room, or `odd` bytes before it. */
static void *place(const guard *room, size_t bytes, size_t odd) {
    return guard_end(room, bytes + odd);
}

static int one_in(ki_rng *rng, unsigned count) {
    return ki_rng_below(rng, count) == 0;
}

static float draw(ki_rng *rng, float size) {
    return (float)(2 * ki_rng_unit(rng) - 1) * size;
}

static float hostile(ki_rng *rng) {
    static const float values[] = {0, -0.0f, NAN, -NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e-45f, FLT_MIN};
    return values[ki_rng_below(rng, sizeof(values) / sizeof(*values))];
}

static int same(float a, float b) {
    return memcmp(&a, &b, sizeof(a)) == 0 || (isnan(a) && isnan(b));
}

/* ---- Estimates --------------------------------------------------------------------------------------------------- */

/* E1: the magnitude of a query's whole numbers. */
static int limit_of(size_t steps) {
    return KI_EDGES_Z / (int)((steps * 16 + 2047) / 2048);
}

/* The entry of pattern p for four numbers. */
static uint8_t entry_of(const int *z, unsigned p) {
    int sum = KI_EDGES_BIAS;
    for (unsigned i = 0; i < 4; i++) sum += p >> i & 1 ? z[i] : -z[i];
    return (uint8_t)sum;
}

/* The bit that neighbour n has for a dimension in a block of a plane. */
static unsigned bit_of(const uint8_t *block, unsigned n, size_t dimension) {
    const size_t group = dimension % 16 / 4; /* low nibble of both halves, then the high ones */
    const uint8_t byte = block[dimension / 16 * 32 + group % 2 * 16 + n];
    return byte >> (group / 2 * 4 + dimension % 4) & 1;
}

/* <z, u> in whole numbers, dimension by dimension. */
static int product_of(const ki_edges *e, const int *z, unsigned n) {
    int product = 0;
    for (unsigned b = 0; b < e->planes; b++) {
        const uint8_t *block = e->codes + (b * e->blocks + n / 16) * e->steps * 32;
        for (size_t i = 0; i < e->steps * 16; i++) product += (bit_of(block, n % 16, i) ? z[i] : -z[i]) * (1 << b);
    }
    return product;
}

enum kind { RANDOM, HOSTILE, MOST, LEAST, KINDS };

/* Numbers and codes; extreme ones give the greatest sums that there can be. */
static void fill_codes(ki_rng *rng, enum kind kind, size_t steps, int *z, uint8_t *codes, size_t code_bytes) {
    const int limit = limit_of(steps);
    for (size_t i = 0; i < steps * 16; i++) {
        z[i] = (int)ki_rng_below(rng, 2 * (uint64_t)limit + 1) - limit;
        if (kind == MOST || kind == LEAST || one_in(rng, 16)) z[i] = one_in(rng, 2) ? limit : -limit;
    }
    for (size_t i = 0; i < code_bytes; i++) codes[i] = (uint8_t)ki_rng_next(rng);
    if (kind != MOST && kind != LEAST) return;
    memset(codes, 0, code_bytes);
    for (size_t at = 0; at < code_bytes; at += 32)
        for (size_t i = 0; i < 16; i++)
            for (unsigned n = 0; n < 16; n++) {
                const int up = (z[at / 32 % steps * 16 + i] > 0) == (kind == MOST);
                codes[at + i / 4 % 2 * 16 + n] |= (uint8_t)(up << (i / 8 * 4 + i % 4));
            }
}

static void check_estimates(const ki_edges *e, const int *z, size_t odd) {
    const unsigned neighbours = 16 * e->blocks;
    float expected[KI_EDGES_MAX], *out = place(&out_room, neighbours * sizeof(*out), odd * sizeof(*out));
    uint64_t below = 0;
    for (unsigned n = 0; n < neighbours; n++) {
        expected[n] = fmaf(e->mul[n], (float)product_of(e, z, n) * e->unit, e->base + e->add[n]);
        if (expected[n] < e->below) below |= UINT64_C(1) << n;
    }
    for (size_t m = 0; m < mask_count; m++) {
        memset(out, 0xff, neighbours * sizeof(*out));
        const uint64_t got = masks[m].table.estimate(e, out);
        for (unsigned n = 0; n < neighbours; n++)
            if (!same(out[n], expected[n]))
                fail_msg("%s, %zu steps, %u blocks, %u planes: neighbour %u is %a, not %a", masks[m].name, e->steps,
                         e->blocks, e->planes, n, (double)out[n], (double)expected[n]);
        if (got != below)
            fail_msg("%s, %zu steps, %u blocks, %u planes: %llx is below, not %llx", masks[m].name, e->steps, e->blocks,
                     e->planes, (unsigned long long)got, (unsigned long long)below);
    }
}

static void estimate_one(ki_rng *rng, enum kind kind, size_t steps, unsigned blocks, unsigned planes) {
    static int z[WIDTH_MAX];
    const size_t odd = ki_rng_below(rng, 2), code_bytes = steps * 32 * blocks * planes;
    const size_t float_bytes = 16 * blocks * sizeof(float);
    uint8_t *codes = place(&code_room, code_bytes, odd);
    uint8_t *table = place(&table_room, steps * KI_EDGES_STEP_BYTES, odd);
    float *add = place(&add_room, float_bytes, odd * sizeof(float));
    float *mul = place(&mul_room, float_bytes, odd * sizeof(float));
    fill_codes(rng, kind, steps, z, codes, code_bytes);
    for (size_t i = 0; i < steps * KI_EDGES_STEP_BYTES; i++) table[i] = entry_of(z + i / 16 * 4, i % 16);
    for (unsigned n = 0; n < 16 * blocks; n++) {
        add[n] = kind == HOSTILE && one_in(rng, 3) ? hostile(rng) : draw(rng, 10);
        mul[n] = kind == HOSTILE && one_in(rng, 3) ? hostile(rng) : draw(rng, 0.1f);
    }
    const ki_edges edges = {.codes = codes,
                            .fetch = codes,
                            .table = table,
                            .add = add,
                            .mul = mul,
                            .steps = steps,
                            .blocks = blocks,
                            .planes = planes,
                            .unit = kind == HOSTILE && one_in(rng, 4) ? hostile(rng) : draw(rng, 0.01f),
                            .base = kind == HOSTILE && one_in(rng, 4) ? hostile(rng) : draw(rng, 5),
                            .below = kind == HOSTILE && one_in(rng, 2) ? hostile(rng) : draw(rng, 5)};
    check_estimates(&edges, z, odd);
}

static void every_tier_estimates_alike(void **state) {
    static const size_t steps[] = {1, 2, 3, 4, 5, 6, 7, 9, 24, 33, 48, 127, 128, 129, 255, 256};
    ki_rng rng = {71};
    (void)state;
    for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++)
        for (unsigned blocks = 1; blocks <= BLOCKS_MAX; blocks++)
            for (unsigned planes = 1; planes <= PLANES_MAX; planes++)
                for (int kind = 0; kind < KINDS; kind++) {
                    if (steps[s] > 100 && (blocks + planes + (unsigned)kind) % 4) continue; /* one of four */
                    estimate_one(&rng, (enum kind)kind, steps[s], blocks, planes);
                }
}

/* The sums that come nearest to the end of 16 bits, on all planes. */
static void the_greatest_sums_fit(void **state) {
    ki_rng rng = {72};
    (void)state;
    for (int kind = MOST; kind <= LEAST; kind++) {
        estimate_one(&rng, (enum kind)kind, 128, 2, 4); /* 2048 * 15 */
        estimate_one(&rng, (enum kind)kind, 127, 3, 4);
        estimate_one(&rng, (enum kind)kind, STEPS_MAX, 4, 4);
        estimate_one(&rng, (enum kind)kind, STEPS_MAX - 1, 1, 4);
    }
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static void check_largest(ki_rng *rng, size_t count, size_t odd) {
    float *x = place(&float_room, count * sizeof(*x), odd * sizeof(*x)), largest = 0;
    for (size_t i = 0; i < count; i++) x[i] = one_in(rng, 8) ? hostile(rng) : draw(rng, 3);
    if (odd) x[ki_rng_below(rng, count)] = INFINITY;
    for (size_t i = 0; i < count; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    for (size_t m = 0; m < mask_count; m++) {
        const float got = masks[m].table.largest(x, count);
        if (!same(got, largest)) fail_msg("%s: %a of %zu is %a", masks[m].name, (double)largest, count, (double)got);
    }
}

/* x * inverse falls between two numbers every fourth time. */
static void fill_floats(ki_rng *rng, float *x, size_t count, int limit, float inverse) {
    for (size_t i = 0; i < count; i++) {
        const int whole = (int)ki_rng_below(rng, 2 * (uint64_t)limit + 1) - limit;
        x[i] = (float)(one_in(rng, 8) ? limit : one_in(rng, 8) ? -limit : whole);
        if (x[i] < (float)limit && one_in(rng, 4)) x[i] += 0.5f;
        if (x[i] > (float)-limit && one_in(rng, 4)) x[i] -= (float)(0.499 * ki_rng_unit(rng));
        x[i] = x[i] == 0 && one_in(rng, 2) ? -0.0f : x[i] / inverse;
    }
}

static void check_whole(ki_rng *rng, size_t count, size_t odd) {
    static const float inverses[] = {1, 0.5f, 0.333f, 0};
    const float inverse = inverses[ki_rng_below(rng, 4)];
    const int limit = limit_of(count / 16);
    float *x = place(&float_room, count * sizeof(*x), odd * sizeof(*x));
    int16_t *wide = place(&word_room, count * sizeof(*wide), odd * sizeof(*wide));
    uint8_t *table = place(&table_room, 4 * count, odd);
    fill_floats(rng, x, count, 32767, inverse > 0 ? inverse : 1);
    for (size_t m = 0; m < mask_count; m++) {
        memset(wide, 0x55, count * sizeof(*wide));
        masks[m].table.wide(x, inverse, count, wide);
        for (size_t i = 0; i < count; i++)
            if (wide[i] != lrintf(x[i] * inverse))
                fail_msg("%s: %a is not %d", masks[m].name, (double)(x[i] * inverse), wide[i]);
    }
    fill_floats(rng, x, count, limit, inverse > 0 ? inverse : 1);
    for (size_t m = 0; m < mask_count; m++) {
        memset(table, 0x55, 4 * count);
        masks[m].table.table(x, inverse, count / 16, table);
        for (size_t i = 0; i < 4 * count; i++) {
            int z[4];
            for (size_t j = 0; j < 4; j++) z[j] = (int)lrintf(x[i / 16 * 4 + j] * inverse);
            if (table[i] != entry_of(z, i % 16))
                fail_msg("%s, %zu numbers: entry %zu is %d, not %d", masks[m].name, count, i, table[i],
                         entry_of(z, i % 16));
        }
    }
}

static void every_tier_makes_queries_alike(void **state) {
    ki_rng rng = {73};
    (void)state;
    for (size_t count = 16; count <= WIDTH_MAX; count += count < 400 ? 16 : 928)
        for (size_t odd = 0; odd < 2; odd++) {
            check_largest(&rng, count, odd);
            check_whole(&rng, count, odd);
        }
}

/* Of numbers that are none no greatest is found, and 0 is the least that there can be. */
static void nothing_but_nans(void **state) {
    float x[32];
    (void)state;
    for (size_t i = 0; i < 32; i++) x[i] = NAN;
    for (size_t m = 0; m < mask_count; m++) assert_true(masks[m].table.largest(x, 32) == 0);
    x[17] = -4;
    for (size_t m = 0; m < mask_count; m++) assert_true(masks[m].table.largest(x, 32) == 4);
}

/* ---- Products and places ----------------------------------------------------------------------------------------- */

static void check_dot(ki_rng *rng, size_t count, int limit, int extreme, size_t odd) {
    int8_t *x = place(&code_room, count, odd);
    int16_t *q = place(&word_room, count * sizeof(*q), odd * sizeof(*q));
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = (int8_t)ki_rng_next(rng);
        q[i] = (int16_t)((int)ki_rng_below(rng, 2 * (uint64_t)limit + 1) - limit);
        if (extreme) {
            x[i] = extreme == 1 ? -128 : 127;
            q[i] = (int16_t)(extreme == 2 ? -limit : limit);
        }
        sum += x[i] * q[i];
    }
    for (size_t m = 0; m < mask_count; m++) {
        const int32_t got = masks[m].table.dot(x, q, count);
        if (got != sum) fail_msg("%s, %zu numbers: %d, not %lld", masks[m].name, count, got, (long long)sum);
    }
}

static void every_tier_multiplies_alike(void **state) {
    ki_rng rng = {74};
    (void)state;
    for (size_t count = 16; count <= WIDTH_MAX; count += count < 512 ? 16 : 896)
        for (int extreme = 0; extreme < 4; extreme++) {
            const size_t fit = (size_t)INT32_MAX / 128 / count;
            check_dot(&rng, count, fit < INT16_MAX ? (int)fit : INT16_MAX, extreme, (size_t)extreme % 2);
        }
}

/* What lies behind `count` up to a multiple of 8 may be read, and is no place. */
static void check_least(ki_rng *rng, size_t count, int kind) {
    const size_t readable = (count + 7) / 8 * 8;
    float *values = place(&float_room, readable * sizeof(*values), 0);
    size_t best = 0;
    for (size_t i = 0; i < readable; i++) {
        values[i] = kind ? (float)ki_rng_below(rng, 1 + count / 4) : draw(rng, 100);
        if (kind == 2) values[i] = one_in(rng, 2) ? INFINITY : one_in(rng, 2) ? 0.0f : -0.0f;
        if (kind == 3) values[i] = INFINITY;
        if (kind == 4) values[i] = one_in(rng, 9) ? -INFINITY : -FLT_MAX;
    }
    for (size_t i = 1; i < count; i++)
        if (values[i] < values[best]) best = i;
    for (size_t i = count; i < readable; i++)
        values[i] = one_in(rng, 2) ? NAN : one_in(rng, 2) ? values[best] : -INFINITY;
    for (size_t m = 0; m < mask_count; m++) {
        const size_t got = masks[m].table.least(values, count);
        if (got != best) fail_msg("%s: the least of %zu is %zu, not %zu", masks[m].name, count, best, got);
    }
}

static void every_tier_finds_the_same_least(void **state) {
    ki_rng rng = {75};
    (void)state;
    for (size_t count = 1; count <= 3000; count += count < 200 ? 1 : 211)
        for (int kind = 0; kind < 5; kind++)
            for (int time = 0; time < 4; time++) check_least(&rng, count, kind);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_estimates_alike),     cmocka_unit_test(the_greatest_sums_fit),
        cmocka_unit_test(every_tier_makes_queries_alike), cmocka_unit_test(nothing_but_nans),
        cmocka_unit_test(every_tier_multiplies_alike),    cmocka_unit_test(every_tier_finds_the_same_least),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

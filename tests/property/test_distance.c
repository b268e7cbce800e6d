/* SPDX-License-Identifier: Apache-2.0
 *
 * Every distance kernel, at every feature mask that this machine can run, against a reference written here: the same
 * bits as the long-hand definition (D1 of kernel/distance.h), close to arithmetic in double, no byte touched outside
 * the operands. Guards against: a tier whose tail, order or rounding differs (answers would then depend on the
 * machine), a load past the end (a crash on a mapped file's last page), a fused or reordered sum, flushed denormals. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/distance.h"
#include "support/guard.h"

enum { DIM_MAX = 65536, MASKS_MAX = 32, ROWS = 4 };

/* ---- Feature masks ----------------------------------------------------------------------------------------------- */

static struct {
    size_t count;
    struct {
        uint32_t features;
        char name[32];
        ki_distance_kernels table;
    } list[MASKS_MAX];
} masks;

static void add_mask(uint32_t found, const char *setting) {
    uint32_t features;

    assert_true(ki_cpu_lower(found, setting, &features));
    for (size_t i = 0; i < masks.count; i++)
        if (masks.list[i].features == features) return;
    assert_true(masks.count < MASKS_MAX);
    masks.list[masks.count].features = features;
    snprintf(masks.list[masks.count].name, sizeof masks.list[0].name, "\"%s\"", setting);
    ki_distance_fill(features, &masks.list[masks.count].table);
    masks.count++;
}

/* What was found, each tier below it, and what was found less one feature at a time. */
static int set_up_masks(void **state) {
    static const char *const settings[] = {
        "",         "scalar",      "neon",        "avx2",        "avx512",         "amx",
        "-avxvnni", "-avx512vnni", "-avx512bf16", "-avx512fp16", "-avx512vpopcnt", "-avx512vbmi",
        "-avx512",  "-amxint8",    "-amxbf16",    "-neondot",    "-neoni8mm",
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) add_mask(ki_cpu_features_found(), settings[i]);
    print_message("feature masks:");
    for (size_t i = 0; i < masks.count; i++) print_message(" %s", masks.list[i].name);
    print_message("\n");
    return 0;
}

/* ---- The reference ----------------------------------------------------------------------------------------------- */

static const struct number_type {
    kith_dtype dtype;
    const char *name;
    size_t bytes;
} types[] = {
    {KITH_F32, "f32", 4}, {KITH_F16, "f16", 2}, {KITH_BF16, "bf16", 2}, {KITH_I8, "i8", 1}, {KITH_U8, "u8", 1},
};
enum { TYPES = sizeof types / sizeof *types };

static double value_of_f16(unsigned bits) {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static double value_of_bf16(unsigned bits) {
    const int exponent = bits >> 7 & 255;
    const int fraction = bits & 127;
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 255) return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(128 + fraction, exponent - 134) : ldexp(fraction, -133));
}

static double value_of(kith_dtype dtype, const void *row, size_t i) {
    const uint8_t *bytes = row;
    uint16_t half;
    float f;

    switch (dtype) {
    case KITH_F32:
        memcpy(&f, bytes + 4 * i, sizeof f);
        return (double)f;
    case KITH_F16:
        memcpy(&half, bytes + 2 * i, sizeof half);
        return value_of_f16(half);
    case KITH_BF16:
        memcpy(&half, bytes + 2 * i, sizeof half);
        return value_of_bf16(half);
    case KITH_I8:
        return bytes[i] < 128 ? bytes[i] : bytes[i] - 256.0;
    default:
        return bytes[i];
    }
}

/* D1 word by word: both operands padded to whole groups of 16. volatile keeps the compiler from joining operations. */
static float reference_pair(bool l2sq, kith_dtype dtype, const void *q, const void *x, size_t dim) {
    volatile float s[16] = {0}, r8[8], r4[4], r2[2];

    for (size_t i = 0; i < (dim + 15) / 16 * 16; i++) {
        volatile float a = i < dim ? (float)value_of(KITH_F32, q, i) : 0;
        volatile float b = i < dim ? (float)value_of(dtype, x, i) : 0;
        if (l2sq) {
            volatile float t = a - b;
            s[i % 16] = fmaf(t, t, s[i % 16]);
        } else {
            s[i % 16] = fmaf(a, b, s[i % 16]);
        }
    }
    for (int j = 0; j < 8; j++) r8[j] = s[j] + s[j + 8];
    for (int j = 0; j < 4; j++) r4[j] = r8[j] + r8[j + 4];
    for (int j = 0; j < 2; j++) r2[j] = r4[j] + r4[j + 2];
    return r2[0] + r2[1];
}

static double reference_norm2(kith_dtype dtype, const void *x, size_t dim) {
    volatile double s[16] = {0}, r8[8], r4[4], r2[2];

    for (size_t i = 0; i < dim; i++) {
        const double value = value_of(dtype, x, i);
        s[i % 16] = fma(value, value, s[i % 16]);
    }
    for (int j = 0; j < 8; j++) r8[j] = s[j] + s[j + 8];
    for (int j = 0; j < 4; j++) r4[j] = r8[j] + r8[j + 4];
    for (int j = 0; j < 2; j++) r2[j] = r4[j] + r4[j + 2];
    return r2[0] + r2[1];
}

/* The result in double and how far a float result may be from it. */
static double wide_pair(bool l2sq, kith_dtype dtype, const void *q, const void *x, size_t dim, double *tolerance) {
    double sum = 0, magnitude = 0;

    for (size_t i = 0; i < dim; i++) {
        const double a = value_of(KITH_F32, q, i), b = value_of(dtype, x, i);
        const double term = l2sq ? (a - b) * (a - b) : a * b;
        sum += term;
        magnitude += fabs(term);
    }
    /* dim/16 fused steps and 4 additions, and for l2sq the rounding of the difference, twice; then what denormals
     * lose. */
    *tolerance = ((double)dim / 16 + 8) * 0x1p-24 * magnitude * 1.01 + ((double)dim + 16) * 0x1p-149;
    return sum;
}

static bool same_float(float a, float b) {
    return !memcmp(&a, &b, sizeof a);
}

static bool same_double(double a, double b) {
    return !memcmp(&a, &b, sizeof a);
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

enum value_kind { ORDINARY, DENORMAL, ZEROS, LARGE, MIXED, VALUE_KINDS };
static const char *const kind_names[VALUE_KINDS] = {"ordinary", "denormal", "zeros", "large", "mixed"};

/* `dim` keeps the norm of large values within KITH_NORM_MAX. */
static float random_float(ki_rng *rng, enum value_kind kind, size_t dim) {
    const double sign = ki_rng_next(rng) & 1 ? -1 : 1;

    switch (kind) {
    case ORDINARY:
        return (float)ki_rng_normal(rng);
    case DENORMAL:
        return (float)(sign * ldexp((double)ki_rng_below(rng, 1u << 23), -149));
    case ZEROS:
        return (float)(sign * 0.0);
    case LARGE:
        return (float)(sign * (0.5 + ki_rng_unit(rng) / 2) * KITH_NORM_MAX / sqrt((double)dim) * 0.999);
    default:
        return random_float(rng, (enum value_kind)ki_rng_below(rng, LARGE), dim);
    }
}

static uint16_t random_half(ki_rng *rng, kith_dtype dtype, enum value_kind kind, size_t dim) {
    const unsigned sign = (unsigned)(ki_rng_next(rng) & 1) << 15;
    const unsigned denormals = dtype == KITH_F16 ? 1024 : 128;

    if (kind == ZEROS) return (uint16_t)sign;
    if (kind == DENORMAL) return (uint16_t)(sign | ki_rng_below(rng, denormals));
    if (dtype == KITH_F16) return (uint16_t)(sign | ki_rng_below(rng, 0x7C00)); /* any finite */
    const float f = random_float(rng, kind, dim);
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static void fill_row(ki_rng *rng, kith_dtype dtype, enum value_kind kind, void *row, size_t dim) {
    uint8_t *bytes = row;

    for (size_t i = 0; i < dim; i++) {
        if (dtype == KITH_F32) {
            const float f = random_float(rng, kind, dim);
            memcpy(bytes + 4 * i, &f, sizeof f);
        } else if (dtype == KITH_F16 || dtype == KITH_BF16) {
            const uint16_t half = random_half(rng, dtype, kind, dim);
            memcpy(bytes + 2 * i, &half, sizeof half);
        } else if (kind == LARGE) {
            bytes[i] = ki_rng_next(rng) & 1 ? 0x80 : dtype == KITH_I8 ? 0x7F : 0xFF;
        } else {
            bytes[i] = kind == ZEROS ? 0 : (uint8_t)ki_rng_next(rng);
        }
    }
}

/* ---- Pairs, rows of four, norms ---------------------------------------------------------------------------------- */

static const size_t large_dims[] = {255, 256, 257, 1000, 1024, 4095, DIM_MAX};
enum { SMALL_DIMS = 201, LARGE_DIMS = sizeof large_dims / sizeof *large_dims };

static size_t dim_at(size_t i) {
    return i < SMALL_DIMS ? i : large_dims[i - SMALL_DIMS];
}

/* One query and four rows, each against its own forbidden page; `shift` bytes before it, to be unaligned. */
typedef struct operands {
    guard q_guard, x_guard[ROWS];
    const float *q;
    const void *x[ROWS];
} operands;

static void place(operands *o, ki_rng *rng, const struct number_type *type, enum value_kind kind, size_t dim,
                  size_t shift) {
    uint8_t *q = (uint8_t *)guard_end(&o->q_guard, dim * 4 + shift);
    fill_row(rng, KITH_F32, kind, q, dim);
    o->q = (const float *)(const void *)q;
    for (size_t r = 0; r < ROWS; r++) {
        uint8_t *x = (uint8_t *)guard_end(&o->x_guard[r], dim * type->bytes + shift);
        fill_row(rng, type->dtype, kind, x, dim);
        o->x[r] = x;
    }
}

/* A row as floats; the last one stays valid. */
static const float *as_floats(kith_dtype dtype, const void *x, size_t dim) {
    static float values[DIM_MAX];
    for (size_t i = 0; i < dim; i++) values[i] = (float)value_of(dtype, x, i);
    return values;
}

static void check_operands(const operands *o, const struct number_type *type, enum value_kind kind, size_t dim) {
    float expected[2][ROWS], square[ROWS];
    double norm2[ROWS];

    for (size_t r = 0; r < ROWS; r++) {
        norm2[r] = reference_norm2(type->dtype, o->x[r], dim);
        square[r] = reference_pair(false, type->dtype, as_floats(type->dtype, o->x[r], dim), o->x[r], dim);
        for (int l2sq = 0; l2sq < 2; l2sq++) {
            double tolerance;
            const double wide = wide_pair(l2sq, type->dtype, o->q, o->x[r], dim, &tolerance);
            expected[l2sq][r] = reference_pair(l2sq, type->dtype, o->q, o->x[r], dim);
            if (!(fabs((double)expected[l2sq][r] - wide) <= tolerance))
                fail_msg("the definition itself: %s %s, dim %zu: %a, in double %a, tolerance %a", type->name,
                         kind_names[kind], dim, (double)expected[l2sq][r], wide, tolerance);
        }
    }
    for (size_t m = 0; m < masks.count; m++) {
        const ki_distance_kernels *table = &masks.list[m].table;
        for (int l2sq = 0; l2sq < 2; l2sq++) {
            ki_pair_fn *pair = l2sq ? table->l2sq[type->dtype] : table->dot[type->dtype];
            float four[ROWS];
            (l2sq ? table->l2sq4 : table->dot4)[type->dtype](o->q, o->x, dim, four);
            for (size_t r = 0; r < ROWS; r++) {
                const float one = pair(o->q, o->x[r], dim);
                if (!same_float(one, expected[l2sq][r]) || !same_float(four[r], expected[l2sq][r]))
                    fail_msg("%s %s %s, dim %zu, row %zu, mask %s: pair %a, four %a, expected %a",
                             l2sq ? "l2sq" : "dot", type->name, kind_names[kind], dim, r, masks.list[m].name,
                             (double)one, (double)four[r], (double)expected[l2sq][r]);
            }
        }
        for (size_t r = 0; r < ROWS; r++) {
            const double got = table->norm2[type->dtype](o->x[r], dim);
            if (!same_double(got, norm2[r]))
                fail_msg("norm2 %s %s, dim %zu, mask %s: %a, expected %a", type->name, kind_names[kind], dim,
                         masks.list[m].name, got, norm2[r]);
            const float own = ki_square(table, type->dtype, o->x[r], dim);
            if (!same_float(own, square[r]))
                fail_msg("square %s %s, dim %zu, mask %s: %a, expected %a", type->name, kind_names[kind], dim,
                         masks.list[m].name, (double)own, (double)square[r]);
        }
    }
}

static void operands_make(operands *o) {
    guard_make(&o->q_guard, DIM_MAX * 4 + 64);
    guard_fill(&o->q_guard, 0xFF); /* NaN: seen in any sum that takes it in */
    for (size_t r = 0; r < ROWS; r++) {
        guard_make(&o->x_guard[r], DIM_MAX * 4 + 64);
        guard_fill(&o->x_guard[r], 0xFF);
    }
}

static void operands_free(operands *o) {
    guard_free(&o->q_guard);
    for (size_t r = 0; r < ROWS; r++) guard_free(&o->x_guard[r]);
}

static void test_pairs_at_every_length(void **state) {
    operands o;
    ki_rng rng = {1};

    (void)state;
    operands_make(&o);
    for (size_t t = 0; t < TYPES; t++)
        for (size_t i = 0; i < SMALL_DIMS + LARGE_DIMS; i++) {
            const size_t dim = dim_at(i);
            for (int kind = 0; kind < VALUE_KINDS; kind++) {
                place(&o, &rng, &types[t], (enum value_kind)kind, dim, 0);
                check_operands(&o, &types[t], (enum value_kind)kind, dim);
            }
        }
    operands_free(&o);
}

static void test_pairs_unaligned(void **state) {
    operands o;
    ki_rng rng = {2};

    (void)state;
    operands_make(&o);
    for (size_t t = 0; t < TYPES; t++)
        for (size_t dim = 0; dim < 70; dim++)
            for (size_t shift = 1; shift < 64; shift += shift < 8 ? 1 : 13) {
                place(&o, &rng, &types[t], ORDINARY, dim, shift);
                check_operands(&o, &types[t], ORDINARY, dim);
            }
    operands_free(&o);
}

/* A row may be its own neighbour: the four may be one. */
static void test_four_times_the_same_row(void **state) {
    float q[100], x[100], four[ROWS];
    const void *rows[ROWS] = {x, x, x, x};
    ki_rng rng = {3};

    (void)state;
    fill_row(&rng, KITH_F32, ORDINARY, q, 100);
    fill_row(&rng, KITH_F32, ORDINARY, x, 100);
    for (size_t m = 0; m < masks.count; m++) {
        masks.list[m].table.l2sq4[KITH_F32](q, rows, 100, four);
        for (size_t r = 0; r < ROWS; r++) assert_true(same_float(four[r], reference_pair(true, KITH_F32, q, x, 100)));
    }
}

/* The padding of a tail turns a sum of -0 into +0; without a tail -0 stays. */
static void test_padding_takes_part(void **state) {
    float q[17], x[17];

    (void)state;
    for (size_t i = 0; i < 17; i++) q[i] = 0x1p-140f, x[i] = -0x1p-140f;
    for (size_t m = 0; m < masks.count; m++) {
        ki_pair_fn *dot = masks.list[m].table.dot[KITH_F32];
        assert_true(same_float(dot(q, x, 16), -0.0f));
        assert_true(same_float(dot(q, x, 15), 0.0f));
        assert_true(same_float(dot(q, x, 17), 0.0f));
    }
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* All 65,536 patterns through to_f32. NaN must stay NaN with its sign; the rest must be exact. */
static void check_all_halves(const ki_distance_kernels *table, const char *mask, kith_dtype dtype) {
    static uint16_t halves[65536];
    static float got[65536];

    for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    table->to_f32[dtype](halves, 65536, got);
    for (unsigned i = 0; i < 65536; i++) {
        const double expected = dtype == KITH_F16 ? value_of_f16(i) : value_of_bf16(i);
        const bool good =
            isnan(expected) ? isnan(got[i]) && bits_of(got[i]) >> 31 == i >> 15 : same_float(got[i], (float)expected);
        if (!good)
            fail_msg("to_f32 %s, pattern 0x%04x, mask %s: %a, expected %a", dtype == KITH_F16 ? "f16" : "bf16", i, mask,
                     (double)got[i], expected);
    }
}

static void test_every_half_to_float(void **state) {
    (void)state;
    for (size_t m = 0; m < masks.count; m++) {
        check_all_halves(&masks.list[m].table, masks.list[m].name, KITH_F16);
        check_all_halves(&masks.list[m].table, masks.list[m].name, KITH_BF16);
    }
}

/* Whatever a NaN turns into, every tier must turn it into the same. */
static void test_nan_bits_agree(void **state) {
    static uint16_t halves[65536], got[2048], expected[2048];
    static float scalar[65536], fast[65536], nans[2048];
    const ki_distance_kernels *reference = NULL;

    (void)state;
    for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    for (uint32_t i = 0; i < 2048; i++) nans[i] = float_of(0x7F800001u + i * 4093u + (i & 1) * 0x80000000u);
    for (size_t m = 0; m < masks.count; m++)
        if (!masks.list[m].features) reference = &masks.list[m].table;
    assert_non_null(reference);
    for (size_t m = 0; m < masks.count; m++)
        for (int type = KITH_F16; type <= KITH_BF16; type++) {
            reference->to_f32[type](halves, 65536, scalar);
            masks.list[m].table.to_f32[type](halves, 65536, fast);
            assert_memory_equal(scalar, fast, sizeof fast);
            reference->from_f32[type](nans, 2048, expected);
            masks.list[m].table.from_f32[type](nans, 2048, got);
            assert_memory_equal(expected, got, sizeof got);
            for (size_t i = 0; i < 2048; i++)
                assert_true(isnan(type == KITH_F16 ? value_of_f16(got[i]) : value_of_bf16(got[i])));
        }
}

/* Positive patterns ascend with their values, so the nearest is found by bisection; `top` is infinity's pattern and
 * counts as the power of two that would follow the largest number. */
static uint16_t nearest_half(kith_dtype dtype, float f) {
    const unsigned top = dtype == KITH_F16 ? 0x7C00 : 0x7F80;
    const double top_value = dtype == KITH_F16 ? 0x1p16 : 0x1p128;
    const double magnitude = fabs((double)f);
    const unsigned sign = signbit(f) ? 0x8000 : 0;
    unsigned low = 0, high = top;

    if (magnitude >= top_value) return (uint16_t)(sign | top);
    while (high - low > 1) {
        const unsigned middle = (low + high) / 2;
        if ((dtype == KITH_F16 ? value_of_f16(middle) : value_of_bf16(middle)) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    const double below = magnitude - (dtype == KITH_F16 ? value_of_f16(low) : value_of_bf16(low));
    const double high_value = high == top ? top_value : dtype == KITH_F16 ? value_of_f16(high) : value_of_bf16(high);
    const double above = high_value - magnitude;
    const unsigned nearest = below < above ? low : below > above ? high : low & 1 ? high : low;
    return (uint16_t)(sign | nearest);
}

/* Every number, every half-way point between neighbours (the ties), and the floats just beside it. */
static size_t hard_floats(kith_dtype dtype, float *out) {
    const unsigned top = dtype == KITH_F16 ? 0x7C00 : 0x7F80;
    size_t count = 0;

    for (unsigned i = 0; i < top; i++) {
        const double low = dtype == KITH_F16 ? value_of_f16(i) : value_of_bf16(i);
        const double high = i + 1 == top ? (dtype == KITH_F16 ? 0x1p16 : 0x1p128)
                                         : (dtype == KITH_F16 ? value_of_f16(i + 1) : value_of_bf16(i + 1));
        const float tie = (float)((low + high) / 2);
        const float around[4] = {(float)low, tie, nextafterf(tie, 0), nextafterf(tie, INFINITY)};
        for (size_t k = 0; k < 4; k++) {
            out[count++] = around[k];
            out[count++] = -around[k];
        }
    }
    return count;
}

static void check_from_f32(kith_dtype dtype, const float *floats, size_t count) {
    static uint16_t expected[300000], got[300000];

    for (size_t i = 0; i < count; i++) expected[i] = nearest_half(dtype, floats[i]);
    for (size_t m = 0; m < masks.count; m++) {
        masks.list[m].table.from_f32[dtype](floats, count, got);
        for (size_t i = 0; i < count; i++)
            if (got[i] != expected[i])
                fail_msg("from_f32 %s of %a, mask %s: 0x%04x, expected 0x%04x", dtype == KITH_F16 ? "f16" : "bf16",
                         (double)floats[i], masks.list[m].name, got[i], expected[i]);
    }
}

static void test_from_float_rounds_to_even(void **state) {
    static float floats[300000];
    ki_rng rng = {4};

    (void)state;
    for (int type = KITH_F16; type <= KITH_BF16; type++) {
        check_from_f32((kith_dtype)type, floats, hard_floats((kith_dtype)type, floats));
        size_t count = 0;
        while (count < 200000) { /* floats of any pattern */
            const float f = float_of((uint32_t)ki_rng_next(&rng));
            if (!isnan(f)) floats[count++] = f;
        }
        floats[count++] = INFINITY;
        floats[count++] = -INFINITY;
        check_from_f32((kith_dtype)type, floats, count);
    }
}

/* A half that goes out and comes back is the same half. */
static void test_round_trip(void **state) {
    static uint16_t halves[65536], back[65536];
    static float floats[65536];

    (void)state;
    for (size_t m = 0; m < masks.count; m++)
        for (int type = KITH_F16; type <= KITH_BF16; type++) {
            size_t count = 0;
            for (unsigned i = 0; i < 65536; i++)
                if (!isnan(type == KITH_F16 ? value_of_f16(i) : value_of_bf16(i))) halves[count++] = (uint16_t)i;
            masks.list[m].table.to_f32[type](halves, count, floats);
            masks.list[m].table.from_f32[type](floats, count, back);
            assert_memory_equal(halves, back, count * sizeof *back);
        }
}

/* Lengths, alignments and both ends of the output. */
static void test_conversions_at_every_length(void **state) {
    guard in, out;
    ki_rng rng = {5};

    (void)state;
    guard_make(&in, 1024);
    guard_make(&out, 1024);
    for (size_t t = 0; t < TYPES; t++)
        for (size_t count = 0; count <= 200; count++)
            for (size_t m = 0; m < masks.count; m++) {
                const ki_distance_kernels *table = &masks.list[m].table;
                uint8_t *from = guard_end(&in, count * types[t].bytes + (count & 1));
                uint8_t *to = guard_end(&out, count * 4);
                uint8_t *before = count ? to - 1 : to - 4;
                fill_row(&rng, types[t].dtype, ORDINARY, from, count);
                *before = 0x5A;
                table->to_f32[types[t].dtype](from, count, (float *)(void *)to);
                for (size_t i = 0; i < count; i++)
                    assert_true(value_of(KITH_F32, to, i) == value_of(types[t].dtype, from, i));
                assert_int_equal(*before, 0x5A);
                if (!table->from_f32[types[t].dtype]) continue;
                uint8_t *back = guard_end(&in, count * 2);
                memset(back, 0, count * 2);
                table->from_f32[types[t].dtype]((const float *)(const void *)to, count, back);
                for (size_t i = 0; i < count; i++)
                    assert_true(value_of(types[t].dtype, back, i) == value_of(KITH_F32, to, i));
            }
    guard_free(&in);
    guard_free(&out);
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

static void check_bits(const uint8_t *a, const uint8_t *b, size_t bytes) {
    uint64_t expected_both = 0, expected_either = 0;

    for (size_t i = 0; i < bytes * 8; i++) {
        const unsigned bit_a = a[i / 8] >> (i % 8) & 1, bit_b = b[i / 8] >> (i % 8) & 1;
        expected_both += bit_a & bit_b;
        expected_either += bit_a | bit_b;
    }
    for (size_t m = 0; m < masks.count; m++) {
        uint64_t both = 1, either = 1;
        masks.list[m].table.bits(a, b, bytes, &both, &either);
        const uint64_t differ = masks.list[m].table.hamming(a, b, bytes);
        if (both != expected_both || either != expected_either || differ != expected_either - expected_both)
            fail_msg("bits, %zu bytes, mask %s: both %ju, either %ju, differ %ju; expected %ju, %ju", bytes,
                     masks.list[m].name, (uintmax_t)both, (uintmax_t)either, (uintmax_t)differ,
                     (uintmax_t)expected_both, (uintmax_t)expected_either);
    }
}

static void test_bits_at_every_length(void **state) {
    guard ga, gb;
    ki_rng rng = {6};

    (void)state;
    guard_make(&ga, 8192);
    guard_make(&gb, 8192);
    guard_fill(&ga, 0xFF);
    guard_fill(&gb, 0xFF);
    for (size_t n = 0; n <= 302; n++) {
        const size_t bytes = n <= 300 ? n : n == 301 ? 1000 : 8192;
        uint8_t *a = guard_end(&ga, bytes), *b = guard_end(&gb, bytes);
        for (size_t i = 0; i < bytes; i++) a[i] = (uint8_t)ki_rng_next(&rng), b[i] = (uint8_t)ki_rng_next(&rng);
        check_bits(a, b, bytes);
        memset(a, 0xFF, bytes);
        memset(b, 0xFF, bytes);
        check_bits(a, b, bytes); /* the largest counts */
    }
    guard_free(&ga);
    guard_free(&gb);
}

/* ---- The public function ----------------------------------------------------------------------------------------- */

static void test_kith_distance_values(void **state) {
    const float q[3] = {1, 2, 3}, x[3] = {3, 1, 0};
    const uint8_t a[2] = {0xF0, 0x01}, b[2] = {0x30, 0x03}, empty[2] = {0, 0};
    float d = -1;

    (void)state;
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, 3, q, x, &d), KITH_OK);
    assert_true(same_float(d, 14));
    assert_int_equal(kith_distance(KITH_IP, KITH_F32, 3, q, x, &d), KITH_OK);
    assert_true(same_float(d, -5));
    assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 3, q, x, &d), KITH_OK);
    assert_true(fabs((double)d - (1 - 5 / sqrt(14.0 * 10.0))) < 1e-6);
    assert_int_equal(kith_distance(KITH_HAMMING, KITH_B1, 16, a, b, &d), KITH_OK);
    assert_true(same_float(d, 3));
    assert_int_equal(kith_distance(KITH_JACCARD, KITH_B1, 16, a, b, &d), KITH_OK);
    assert_true(same_float(d, 1 - 3.0f / 6));
    assert_int_equal(kith_distance(KITH_JACCARD, KITH_B1, 16, empty, empty, &d), KITH_OK);
    assert_true(same_float(d, 0));
    assert_int_equal(kith_distance(KITH_JACCARD, KITH_B1, 16, a, empty, &d), KITH_OK);
    assert_true(same_float(d, 1));
}

static void test_kith_distance_refuses(void **state) {
    const float q[16] = {1}, zero[16] = {0};
    float d = 42;

    (void)state;
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, 3, NULL, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, 3, q, NULL, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, 3, q, q, NULL), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, 0, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_F32, KITH_DIM_MAX + 1, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_METRIC_NONE, KITH_F32, 3, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_DTYPE_NONE, 3, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, KITH_B1, 8, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_HAMMING, KITH_F32, 8, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_JACCARD, KITH_B1, 12, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance((kith_metric)99, KITH_F32, 3, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_L2SQ, (kith_dtype)99, 3, q, q, &d), KITH_E_ARG);
    assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 16, zero, q, &d), KITH_E_DATA);
    assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 16, q, zero, &d), KITH_E_DATA);
    assert_true(same_float(d, 42)); /* untouched */
}

/* ---- Cosine ------------------------------------------------------------------------------------------------------ */

/* Norms from the least to the largest allowed give a distance; others are refused, as by a build. */
static void test_cosine_at_extremes(void **state) {
    const float sizes[] = {0x1p-40f, 0x1.000002p-40f, 0x1p-20f, 1, 0x1.fffffep61f, 0x1p62f};
    const float refused[] = {0,       0x1p-149f, 0x1p-126f, 0x1p-70f, 0x1.fffffep-41f, 0x1.000002p62f,
                             FLT_MAX, INFINITY,  NAN};
    enum { SIZES = sizeof sizes / sizeof *sizes, REFUSED = sizeof refused / sizeof *refused };

    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        for (size_t j = 0; j < SIZES; j++) {
            const float q[1] = {sizes[i]}, x[1] = {-sizes[j]};
            float d = NAN;
            assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 1, q, x, &d), KITH_OK);
            assert_true((double)d > 2 - 1e-6 && d <= 2 && (i != j || same_float(d, 2)));
            assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 1, q, &sizes[j], &d), KITH_OK);
            assert_true(d >= 0 && (double)d < 1e-6 && (i != j || same_float(d, 0)));
        }
    for (size_t i = 0; i < REFUSED; i++) {
        float d = 42;
        assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 1, &refused[i], &sizes[3], &d), KITH_E_DATA);
        assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, 1, &sizes[3], &refused[i], &d), KITH_E_DATA);
        assert_true(same_float(d, 42));
    }
}

/* A vector is at distance 0 from itself, from its double and from its equal in float: +0, not nearly. Guards against:
 * 6e-8 above, or below, which a radius of 0 and a root of the distance stumble over. */
static void test_cosine_of_equal_vectors(void **state) {
    static float q[DIM_MAX], turned[DIM_MAX], doubled[DIM_MAX];
    static uint8_t x[DIM_MAX * 4];
    ki_rng rng = {8};
    size_t checked = 0;

    (void)state;
    for (size_t t = 0; t < TYPES; t++)
        for (size_t i = 1; i < SMALL_DIMS + LARGE_DIMS; i++)
            for (int kind = 0; kind < VALUE_KINDS; kind++) {
                const size_t dim = dim_at(i);
                float d[3] = {NAN, NAN, NAN};
                fill_row(&rng, types[t].dtype, (enum value_kind)kind, x, dim);
                for (size_t j = 0; j < dim; j++) {
                    q[j] = (float)value_of(types[t].dtype, x, j);
                    turned[j] = -q[j];
                    doubled[j] = q[j] * 2;
                }
                if (kith_distance(KITH_COSINE, types[t].dtype, dim, q, x, &d[0]) != KITH_OK) continue; /* zeros */
                assert_int_equal(kith_distance(KITH_COSINE, types[t].dtype, dim, turned, x, &d[1]), KITH_OK);
                if (kith_distance(KITH_COSINE, types[t].dtype, dim, doubled, x, &d[2]) != KITH_OK)
                    d[2] = 0; /* > 2^62 */
                if (!same_float(d[0], 0) || !same_float(d[1], 2) || !same_float(d[2], 0))
                    fail_msg("%s %s, dim %zu: itself %a, opposite %a, double %a", types[t].name, kind_names[kind], dim,
                             (double)d[0], (double)d[1], (double)d[2]);
                checked++;
            }
    assert_true(checked > TYPES * SMALL_DIMS * 2);
}

/* Close to the truth, symmetric, and within 0..2, however near the vectors are. */
static void test_cosine_of_near_vectors(void **state) {
    static float q[1000], x[1000];
    ki_rng rng = {9};

    (void)state;
    for (size_t round = 0; round < 4000; round++) {
        const size_t dim = 1 + ki_rng_below(&rng, 1000);
        const double noise = ldexp(1, -(int)ki_rng_below(&rng, 30)), size = ldexp(1, (int)ki_rng_below(&rng, 60) - 30);
        long double dot = 0, q2 = 0, x2 = 0;
        for (size_t j = 0; j < dim; j++) {
            const double value = ki_rng_normal(&rng);
            q[j] = (float)(size * value);
            x[j] = (float)(value * (1 + noise * ki_rng_normal(&rng)) * (round % 3 ? 1 : -3));
            dot += (long double)q[j] * (long double)x[j];
            q2 += (long double)q[j] * (long double)q[j];
            x2 += (long double)x[j] * (long double)x[j];
        }
        float d, back;
        assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, dim, q, x, &d), KITH_OK);
        assert_int_equal(kith_distance(KITH_COSINE, KITH_F32, dim, x, q, &back), KITH_OK);
        const long double off = fabsl((long double)d - (1 - dot / sqrtl(q2 * x2)));
        /* Three sums of the defining kernel, half of each of the two norms' errors, and one rounding of the result. */
        const long double bound = 2 * ((long double)dim / 16 + 8) * 0x1p-24L * 1.01L + 0x1p-24L;
        if (!(d >= 0 && d <= 2 && same_float(d, back) && off <= bound))
            fail_msg("dim %zu, noise %g: %a and back %a, off by %Lg, at most %Lg", dim, noise, (double)d, (double)back,
                     off, bound);
    }
}

/* The bits come from ki_distance(), which is one table, whatever thread asks. */
static void test_table_is_constant(void **state) {
    ki_distance_kernels again;

    (void)state;
    assert_ptr_equal(ki_distance(), ki_distance());
    ki_distance_fill(ki_cpu_features(), &again);
    assert_memory_equal(&again, ki_distance(), sizeof again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_at_every_length),       cmocka_unit_test(test_pairs_unaligned),
        cmocka_unit_test(test_four_times_the_same_row),     cmocka_unit_test(test_padding_takes_part),
        cmocka_unit_test(test_every_half_to_float),         cmocka_unit_test(test_nan_bits_agree),
        cmocka_unit_test(test_from_float_rounds_to_even),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_conversions_at_every_length), cmocka_unit_test(test_bits_at_every_length),
        cmocka_unit_test(test_kith_distance_values),        cmocka_unit_test(test_kith_distance_refuses),
        cmocka_unit_test(test_cosine_at_extremes),          cmocka_unit_test(test_cosine_of_equal_vectors),
        cmocka_unit_test(test_cosine_of_near_vectors),      cmocka_unit_test(test_table_is_constant),
    };
    return cmocka_run_group_tests(tests, set_up_masks, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *data_kind_name(data_kind kind) {
    static const char *const name[DATA_KINDS] = {"normal",  "clustered", "whole",    "equal",     "duplicates",
                                                 "outlier", "huge",      "denormal", "tiny",      "scales",
                                                 "ties",    "low rank",  "sparse",   "near ties", "far"};
    return (unsigned)kind < DATA_KINDS ? name[kind] : "?";
}

static void *take(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

static float half_value(uint16_t half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float magnitude = exponent ? ldexpf((float)(fraction + 1024), exponent - 25) : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* The nearest of all finite halves, found by bisection: slow and plain. Ties go to the even one. */
static uint16_t half_of(float value) {
    const float magnitude = fabsf(value);
    uint16_t low = 0, high = 0x7bff;
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (half_value(middle) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    const double below = (double)magnitude - (double)half_value(low),
                 above = (double)half_value(high) - (double)magnitude;
    const uint16_t nearest = below < above || (below == above && !(low & 1)) ? low : high;
    return (uint16_t)(nearest | (signbit(value) ? 0x8000 : 0));
}

static uint16_t bf16_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    bits += 0x7fff + (bits >> 16 & 1);
    if ((bits & 0x7f800000) == 0x7f800000) bits = (bits & 0x80000000) | 0x7f7f0000;
    return (uint16_t)(bits >> 16);
}

void data_convert(const float *from, kith_dtype dtype, size_t dim, void *row) {
    for (size_t j = 0; j < dim; j++) {
        const float whole = rintf(from[j]);
        switch (dtype) {
        case KITH_F32:
            ((float *)row)[j] = from[j];
            break;
        case KITH_F16:
            ((uint16_t *)row)[j] = half_of(from[j]);
            break;
        case KITH_BF16:
            ((uint16_t *)row)[j] = bf16_of(from[j]);
            break;
        case KITH_I8:
            ((int8_t *)row)[j] = (int8_t)(whole < -128 ? -128 : whole > 127 ? 127 : whole);
            break;
        default:
            ((uint8_t *)row)[j] = (uint8_t)(whole < 0 ? 0 : whole > 255 ? 255 : whole);
        }
    }
}

void data_floats(kith_dtype dtype, const void *row, size_t dim, float *to) {
    for (size_t j = 0; j < dim; j++) {
        uint32_t bits;
        switch (dtype) {
        case KITH_F32:
            to[j] = ((const float *)row)[j];
            break;
        case KITH_F16:
            to[j] = half_value(((const uint16_t *)row)[j]);
            break;
        case KITH_BF16:
            bits = (uint32_t)((const uint16_t *)row)[j] << 16;
            memcpy(&to[j], &bits, sizeof(bits));
            break;
        case KITH_I8:
            to[j] = (float)((const int8_t *)row)[j];
            break;
        default:
            to[j] = (float)((const uint8_t *)row)[j];
        }
    }
}

/* ---- Kinds ------------------------------------------------------------------------------------------------------- */

struct maker {
    data_kind kind;
    size_t dim, rows;
    uint64_t seed;
    int narrow; /* i8 or u8: values of some tens */
    int low;    /* least whole value */
    float *basis;
};

enum { RANK = 3, CLUSTERS = 37 };

static void normals(ki_rng *rng, float factor, size_t dim, float *to) {
    for (size_t j = 0; j < dim; j++) to[j] = (float)ki_rng_normal(rng) * factor;
}

static float power_of_ten(ki_rng *rng, double from, double to) {
    return (float)pow(10, from + (to - from) * ki_rng_unit(rng));
}

/* Row `row` of the kind, before it is converted. */
static void make_row(const struct maker *m, size_t row, float *to) {
    const size_t dim = m->dim;
    ki_rng rng = {m->seed * 0x9e37 + row}, shared = {m->seed};
    switch (m->kind) {
    case DATA_CLUSTERED: {
        const size_t cluster = m->rows > CLUSTERS ? row * CLUSTERS / m->rows : row;
        ki_rng centre = {m->seed ^ (cluster * 77)};
        const float spread = cluster % 3 ? 0.05f : 0.4f;
        for (size_t j = 0; j < dim; j++) to[j] = (float)(ki_rng_normal(&centre) + (double)spread * ki_rng_normal(&rng));
        break;
    }
    case DATA_WHOLE:
        for (size_t j = 0; j < dim; j++) to[j] = (float)((int)ki_rng_below(&rng, 256) + m->low);
        break;
    case DATA_EQUAL:
        normals(&shared, 1, dim, to);
        break;
    case DATA_DUPLICATES:
        rng.state = m->seed + ki_rng_below(&rng, 7);
        normals(&rng, 1, dim, to);
        break;
    case DATA_OUTLIER:
        normals(&rng, 1, dim, to);
        to[dim / 2] *= 1e6f;
        break;
    case DATA_HUGE:
        normals(&rng, 1, dim, to);
        break;
    case DATA_DENORMAL:
        for (size_t j = 0; j < dim; j++) to[j] = (float)((int)ki_rng_below(&rng, 2001) - 1000) * FLT_TRUE_MIN;
        break;
    case DATA_TINY:
        normals(&rng, 1e-22f, dim, to);
        break;
    case DATA_SCALES: {
        const float size = power_of_ten(&rng, -22, 16);
        for (size_t j = 0; j < dim; j++) to[j] = (float)ki_rng_normal(&rng) * size * power_of_ten(&rng, -4, 0);
        break;
    }
    case DATA_TIES: /* each has the same number of ones: lengths, and distances from the centre, are all equal */
        for (size_t j = 0; j < dim; j++) to[j] = 0;
        to[ki_rng_below(&rng, dim)] = 3;
        break;
    case DATA_LOW_RANK: {
        float weight[RANK];
        normals(&rng, 1, RANK, weight);
        for (size_t j = 0; j < dim; j++) {
            to[j] = 1e-4f * (float)ki_rng_normal(&rng);
            for (size_t r = 0; r < RANK; r++) to[j] += weight[r] * m->basis[r * dim + j];
        }
        break;
    }
    case DATA_SPARSE:
        for (size_t j = 0; j < dim; j++) to[j] = ki_rng_below(&rng, 16) ? 0 : (float)ki_rng_normal(&rng);
        break;
    case DATA_NEAR_TIES:
        normals(&shared, 1, dim, to);
        for (size_t j = 0; j < dim; j++)
            if (ki_rng_below(&rng, 8) == 0) to[j] = nextafterf(to[j], row % 2 ? 9 : -9);
        break;
    case DATA_FAR:
        for (size_t j = 0; j < dim; j++) to[j] = 1000 + (float)j + 0.01f * (float)ki_rng_normal(&rng);
        break;
    default:
        normals(&rng, 1, dim, to);
    }
}

static double length_of(const float *x, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++) sum += (double)x[j] * (double)x[j];
    return sqrt(sum);
}

/* Bring a made row into the range that the type can hold and kith_build accepts. */
static void fit_row(const struct maker *m, kith_dtype dtype, float *row) {
    double length = length_of(row, m->dim), factor = 1;
    if (m->kind == DATA_HUGE && length > 0) factor = 4.6e18 / length;
    if (m->narrow && m->kind != DATA_WHOLE) {
        /* Small integers: what was spread over orders of magnitude saturates, what was tiny becomes zero. */
        factor = m->kind == DATA_TINY || m->kind == DATA_DENORMAL || m->kind == DATA_SCALES ? 1 : 40;
        if (m->kind == DATA_FAR) factor = 0.06;
    }
    for (size_t j = 0; j < m->dim; j++) {
        row[j] = (float)((double)row[j] * factor);
        if (dtype == KITH_F16) row[j] = row[j] > 6e4f ? 6e4f : row[j] < -6e4f ? -6e4f : row[j];
    }
    length = length_of(row, m->dim);
    for (size_t j = 0; j < m->dim && length > 4.61e18; j++) row[j] = (float)((double)row[j] * 4.6e18 / length);
}

/* Under cosine a row needs a direction: 2^-40 is the least length. */
static void give_length(kith_metric metric, kith_dtype dtype, size_t dim, size_t row, void *bytes, float *floats) {
    if (metric != KITH_COSINE) return;
    data_floats(dtype, bytes, dim, floats);
    const double length = length_of(floats, dim);
    if (length >= KITH_COSINE_NORM_MIN) return;
    for (size_t j = 0; j < dim; j++) floats[j] = length > 0 ? (float)(floats[j] / length * 0x1.8p-40) : 0;
    if (length_of(floats, dim) < KITH_COSINE_NORM_MIN * 1.25) floats[row % dim] = dtype == KITH_F32 ? 0x1.4p-40f : 1;
    data_convert(floats, dtype, dim, bytes);
    data_floats(dtype, bytes, dim, floats);
    if (length_of(floats, dim) >= KITH_COSINE_NORM_MIN) return;
    floats[row % dim] = 1;
    data_convert(floats, dtype, dim, bytes);
}

static void make_bits(data_kind kind, size_t row, size_t bytes, uint64_t seed, unsigned char *to) {
    ki_rng rng = {seed * 31 + row};
    if (kind == DATA_EQUAL) rng.state = seed;
    if (kind == DATA_DUPLICATES) rng.state = seed + ki_rng_below(&rng, 5);
    for (size_t j = 0; j < bytes; j++) {
        to[j] = (unsigned char)ki_rng_next(&rng);
        if (kind == DATA_SPARSE) to[j] &= (unsigned char)(ki_rng_next(&rng) & ki_rng_next(&rng));
        if (kind == DATA_SPARSE && row % 7 == 0) to[j] = 0;
        if (kind == DATA_TIES) to[j] = (unsigned char)(row % bytes == j ? 1u << row % 8 : 0);
    }
}

static void make_rows(data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim, uint64_t seed,
                      size_t first_seed_row, unsigned char *to) {
    const size_t row_bytes = kith_row_bytes(dtype, dim);
    struct maker m = {kind, dim, rows, seed, dtype == KITH_I8 || dtype == KITH_U8, dtype == KITH_I8 ? -128 : 0, NULL};
    if (dtype == KITH_B1) {
        for (size_t i = 0; i < rows; i++) make_bits(kind, i + first_seed_row, row_bytes, seed, to + i * row_bytes);
        return;
    }
    if (dtype == KITH_F32 && seed % 2) m.low = -128;
    float *row = take(dim, sizeof(float));
    m.basis = take(RANK * dim, sizeof(float));
    ki_rng rng = {seed + 1};
    normals(&rng, 1, RANK * dim, m.basis);
    for (size_t i = 0; i < rows; i++) {
        make_row(&m, i + first_seed_row, row);
        fit_row(&m, dtype, row);
        data_convert(row, dtype, dim, to + i * row_bytes);
        give_length(metric, dtype, dim, i, to + i * row_bytes, row);
    }
    free(m.basis);
    free(row);
}

data_set data_make(data_kind kind, kith_dtype dtype, kith_metric metric, size_t rows, size_t dim, uint64_t seed,
                   int with_ids) {
    data_set set = {.dtype = dtype, .metric = metric, .rows = rows, .dim = dim};
    set.row_bytes = kith_row_bytes(dtype, dim);
    assert_int_not_equal(set.row_bytes, 0);
    set.bytes = take(rows, set.row_bytes);
    make_rows(kind, dtype, metric, rows, dim, seed, 0, set.bytes);
    if (!with_ids) return set;
    set.ids = take(rows, sizeof(uint64_t));
    /* Multiplying by an odd number permutes the u64s: distinct, and far from ascending. */
    for (size_t i = 0; i < rows; i++) set.ids[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 1;
    return set;
}

void data_free(data_set *set) {
    free(set->bytes);
    free(set->ids);
    *set = (data_set){0};
}

const void *data_row(const data_set *set, size_t row) {
    return set->bytes + row * set->row_bytes;
}

uint64_t data_id(const data_set *set, size_t row) {
    return set->ids ? set->ids[row] : row;
}

/* ---- Queries and answers ----------------------------------------------------------------------------------------- */

void *data_queries(const data_set *set, data_kind kind, kith_dtype dtype, size_t count, uint64_t seed) {
    const size_t dim = set->dim, row_bytes = kith_row_bytes(dtype, dim);
    unsigned char *queries = take(count, row_bytes);
    float *row = take(dim, sizeof(float));
    ki_rng rng = {seed};
    for (size_t i = 0; i < count; i++) {
        unsigned char *to = queries + i * row_bytes;
        const void *stored = data_row(set, ki_rng_below(&rng, set->rows));
        make_rows(i % 7 == 6   ? DATA_SCALES
                  : i % 7 == 5 ? DATA_NORMAL
                               : kind,
                  dtype, set->metric, 1, dim, seed, set->rows + i, to);
        if (dtype == KITH_B1) {
            if (i % 3 == 0) memcpy(to, stored, row_bytes);
            continue;
        }
        data_floats(set->dtype, stored, dim, row);
        if (i % 7 == 1) /* near a stored one */
            for (size_t j = 0; j < dim; j++) row[j] += 0.01f * row[j] * (float)ki_rng_normal(&rng);
        if (i % 7 == 2)
            for (size_t j = 0; j < dim; j++) row[j] = -row[j];
        if (i % 14 == 4) memset(row, 0, dim * sizeof(*row));
        if (i % 7 > 2 && i % 14 != 4) continue;
        if (length_of(row, dim) > 4.61e18)
            for (size_t j = 0; j < dim; j++) row[j] *= 0.9f;
        data_convert(row, dtype, dim, to);
        give_length(set->metric, dtype, dim, i, to, row);
    }
    free(row);
    return queries;
}

static int compare_hits(const void *a, const void *b) {
    const data_hit *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

size_t data_reference(const data_set *set, const void *query, const char *allowed, data_hit *hits) {
    size_t used = 0;
    for (size_t i = 0; i < set->rows; i++) {
        if (allowed && !allowed[i]) continue;
        hits[used].row = (uint32_t)i;
        hits[used].id = data_id(set, i);
        assert_int_equal(
            kith_distance(set->metric, set->dtype, set->dim, query, data_row(set, i), &hits[used].distance), KITH_OK);
        used++;
    }
    qsort(hits, used, sizeof(*hits), compare_hits);
    return used;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static char folder[256];

int data_folder_make(void **state) {
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof(folder), "%s/kith-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

int data_folder_remove(void **state) {
    char command[300];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

const char *data_path(const char *name) {
    static char path[4][400];
    static unsigned turn;
    char *text = path[turn++ % 4];
    snprintf(text, sizeof(path[0]), "%s/%s", folder, name);
    return text;
}

void data_build(const data_set *set, const char *path, const kith_build_options *options) {
    kith_error error = {KITH_OK, ""};
    kith_reader *reader = NULL;
    kith_build_options own = KITH_BUILD_OPTIONS_INIT;
    if (options) own = *options;
    own.metric = set->metric;
    if (!own.threads && !own.pool) own.threads = 1;
    if (kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, set->ids, &reader, &error) != KITH_OK)
        fail_msg("%s", error.text);
    if (kith_build(reader, path, &own, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    kith_reader_close(reader);
}

kith_index *data_open(const char *path) {
    kith_error error = {KITH_OK, ""};
    kith_index *index = NULL;
    if (kith_index_open(path, NULL, &index, &error) != KITH_OK) fail_msg("%s", error.text);
    return index;
}

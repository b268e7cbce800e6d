/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/level1.h"

#include "base/checked.h"
#include "base/rng.h"
#include "kernel/distance.h"
#include "kernel/project.h"

#include <math.h>
#include <string.h>

float ki_level1_kappa(size_t dim, size_t columns, double omega) {
    const double terms = KI_PROJECT_RUN + (double)dim / KI_PROJECT_RUN + 2; /* roundings in a chain of project */
    return (float)((terms * 0x1p-24 * sqrt((double)columns) + omega) * 1.01);
}

void ki_level1_encode(float *h, size_t dim, size_t columns, float norm2, float kappa, int8_t *code,
                      ki_int8_facts *facts) {
    const size_t directions = ki_level1_directions(columns);
    float largest = 0, h2 = 0;
    for (size_t j = 0; j < directions; j++) largest = fabsf(h[j]) > largest ? fabsf(h[j]) : largest;
    for (size_t j = 0; j < directions; j++) h2 += h[j] * h[j];
    const float left = norm2 - h2, slack = (2 * kappa + 2 * ki_rounding(dim) + 0x1p-16f) * norm2;
    const float rest = sqrtf((left > 0 ? left : 0) + slack) * (1 + 0x1p-20f) + 0x1p-60f * sqrtf((float)dim);
    const float top = rest / 2 > largest ? rest / 2 : largest;
    const float scale = top / 126.5f; /* leaves room for the rounding up of the rest */
    const float inverse = 126.5f / top;
    const float error2 = ki_projector()->quantise(h, inverse, scale, directions, code, &facts->sum, &facts->square);
    const float units = ceilf(rest / 2 / scale * (1 + 0x1p-20f));
    for (size_t j = directions; j < columns; j++) code[j] = (int8_t)(units > 127 ? 127 : units);
    facts->sum += (int32_t)(columns - directions) * code[directions];
    facts->scale = scale;
    facts->norm = ki_length_above(norm2, dim);
    facts->error = ki_length_above(error2, dim) + 0x1p-21f * facts->norm;
}

/* Modified Gram-Schmidt over the rows of `directions` x dim, twice a row; a row that vanishes is drawn anew. */
static void orthonormalise(float *rows, size_t directions, size_t dim, ki_rng *rng) {
    ki_pair_fn *dot = ki_distance()->dot[KITH_F32];
    for (size_t c = 0; c < directions; c++) {
        float *row = rows + c * dim, after = 0;
        for (int attempt = 0; attempt < 4; attempt++) {
            const float before = sqrtf(dot(row, row, dim));
            for (size_t j = 0; j < dim && before > 0; j++) row[j] /= before;
            for (size_t b = 0; b < 2 * c; b++) {
                const float *other = rows + b % c * dim, product = dot(row, other, dim);
                for (size_t j = 0; j < dim; j++) row[j] -= product * other[j];
            }
            after = sqrtf(dot(row, row, dim));
            if (before > 0x1p-50f && after > 1e-5f) break;
            after = 0;
            for (size_t j = 0; j < dim; j++) row[j] = (float)ki_rng_normal(rng);
        }
        for (size_t j = 0; j < dim; j++) row[j] = after > 0 ? row[j] / after : 0;
    }
}

/* to (columns x rows) = from (rows x columns) transposed; `from` has `stride` columns a row. */
static void transpose(const float *from, size_t rows, size_t columns, size_t stride, float *to) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) to[j * rows + i] = from[i * stride + j];
}

/* Frobenius norm of V'V - I for the rows of `directions` x dim: products of floats are exact in double. */
static double defect(const float *rows, size_t directions, size_t dim) {
    double sum = 0;
    for (size_t a = 0; a < directions; a++)
        for (size_t b = 0; b <= a; b++) {
            const float *x = rows + a * dim, *y = rows + b * dim;
            double part[4] = {0, 0, 0, 0}; /* four chains: a quarter of the latency */
            for (size_t j = 0; j < dim; j++) part[j % 4] += (double)x[j] * (double)y[j];
            const double product = part[0] + part[1] + part[2] + part[3] - (a == b);
            sum += product * product * (a == b ? 1 : 2);
        }
    return sqrt(sum) * 1.001;
}

int ki_level1_train(const float *rows, size_t count, size_t dim, size_t columns, uint64_t seed, float *basis) {
    enum { STEPS = 5 }; /* the spectrum of embeddings falls fast: more steps moved the survivors by less than 2 % */
    const size_t directions = ki_level1_directions(columns);
    float *transposed = ki_alloc_array((uint64_t)count * dim, sizeof(float));
    float *middle = ki_alloc_array((uint64_t)count * columns, sizeof(float));
    float *turned = ki_alloc_array((uint64_t)dim * columns, sizeof(float));
    int done = 0;
    if (!transposed || !middle || !turned) goto out;
    transpose(rows, count, dim, dim, transposed);
    ki_rng rng = {seed};
    for (size_t i = 0; i < dim * columns; i++) basis[i] = i % columns < directions ? (float)ki_rng_normal(&rng) : 0;
    for (int step = 0; step <= STEPS; step++) {
        if (step > 0) { /* basis = S'(S basis): one step of the power method for all columns at once */
            ki_projector()->project(rows, count, dim, basis, columns, middle);
            ki_projector()->project(transposed, dim, count, middle, columns, basis);
        }
        transpose(basis, dim, directions, columns, turned);
        orthonormalise(turned, directions, dim, &rng);
        for (size_t j = 0; j < dim; j++)
            for (size_t c = 0; c < directions; c++) basis[j * columns + c] = turned[c * dim + j];
    }
    done = 1;
out:
    free(transposed);
    free(middle);
    free(turned);
    return done;
}

int ki_level1_mix(const float *basis, size_t trained, size_t dim, size_t columns, uint64_t seed, float *mixed,
                  double *omega) {
    const size_t directions = ki_level1_directions(columns);
    float *rotation = ki_alloc_array((uint64_t)directions * directions, sizeof(float));
    float *cut = ki_alloc_array((uint64_t)dim * directions, sizeof(float));
    float *square = ki_alloc_array_zeroed((uint64_t)directions * columns, sizeof(float));
    float *turned = ki_alloc_array((uint64_t)directions * dim, sizeof(float));
    const int ready = rotation && cut && square && turned;
    ki_rng rng = {seed + 1};
    if (ready) {
        for (size_t i = 0; i < directions * directions; i++) rotation[i] = (float)ki_rng_normal(&rng);
        orthonormalise(rotation, directions, directions, &rng);
        for (size_t j = 0; j < directions; j++)
            memcpy(square + j * columns, rotation + j * directions, directions * sizeof(float));
        for (size_t j = 0; j < dim; j++) memcpy(cut + j * directions, basis + j * trained, directions * sizeof(float));
        ki_projector()->project(cut, dim, directions, square, columns, mixed);
        transpose(mixed, dim, directions, columns, turned);
        orthonormalise(turned, directions, dim, &rng);
        *omega = defect(turned, directions, dim);
        memset(mixed, 0, dim * columns * sizeof(float));
        for (size_t j = 0; j < dim; j++)
            for (size_t c = 0; c < directions; c++) mixed[j * columns + c] = turned[c * dim + j];
    }
    free(rotation);
    free(cut);
    free(square);
    free(turned);
    return ready;
}

enum { QUERIES = KI_PROJECT_COLUMNS };

/* What the choice looks at: `count` sample rows against QUERIES of them as queries. */
struct sample {
    const float *rows, *projected;
    size_t count, dim, columns;
    int l2;
    float *queries;       /* dim x QUERIES, or a segment of directions x QUERIES */
    float *product;       /* count x QUERIES: <query, row> */
    float *partial;       /* count x QUERIES: the same over the leading directions */
    float *segment;       /* count x KI_LEVEL1_STEP */
    float *added;         /* count x QUERIES */
    float *norm2, *lead2; /* count */
    float best[QUERIES];
};

static size_t query_row(const struct sample *s, size_t query) {
    return query * s->count / QUERIES;
}

static void true_scores(struct sample *s) {
    for (size_t q = 0; q < QUERIES; q++) {
        const float *row = s->rows + query_row(s, q) * s->dim;
        for (size_t j = 0; j < s->dim; j++) s->queries[j * QUERIES + q] = row[j];
        s->best[q] = -INFINITY;
    }
    ki_projector()->project(s->rows, s->count, s->dim, s->queries, QUERIES, s->product);
    for (size_t i = 0; i < s->count; i++) {
        const float *row = s->rows + i * s->dim;
        s->norm2[i] = ki_distance()->dot[KITH_F32](row, row, s->dim);
        s->lead2[i] = 0;
        for (size_t q = 0; q < QUERIES; q++) {
            const float score = s->product[i * QUERIES + q] - (s->l2 ? s->norm2[i] / 2 : 0);
            s->partial[i * QUERIES + q] = 0;
            if (i != query_row(s, q) && score > s->best[q]) s->best[q] = score;
        }
    }
}

/* Take the next KI_LEVEL1_STEP directions into partial and lead2. */
static void add_segment(struct sample *s, size_t first) {
    for (size_t i = 0; i < s->count; i++) {
        const float *from = s->projected + i * s->columns + first;
        memcpy(s->segment + i * KI_LEVEL1_STEP, from, KI_LEVEL1_STEP * sizeof(float));
        s->lead2[i] += ki_distance()->dot[KITH_F32](from, from, KI_LEVEL1_STEP);
    }
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t j = 0; j < KI_LEVEL1_STEP; j++)
            s->queries[j * QUERIES + q] = s->projected[query_row(s, q) * s->columns + first + j];
    ki_projector()->project(s->segment, s->count, KI_LEVEL1_STEP, s->queries, QUERIES, s->added);
    for (size_t i = 0; i < s->count * QUERIES; i++) s->partial[i] += s->added[i];
}

/* Share of (query, row) pairs whose upper bound reaches the query's best true score. */
static double survivor_share(const struct sample *s) {
    float rest[QUERIES], norm[QUERIES];
    uint64_t passed = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        const size_t row = query_row(s, q);
        rest[q] = sqrtf(fmaxf(s->norm2[row] - s->lead2[row], 0));
        norm[q] = sqrtf(s->norm2[row]);
    }
    for (size_t i = 0; i < s->count; i++) {
        const float own_rest = sqrtf(fmaxf(s->norm2[i] - s->lead2[i], 0)), own_norm = sqrtf(s->norm2[i]);
        const float bias = s->l2 ? s->norm2[i] / 2 : 0;
        for (size_t q = 0; q < QUERIES; q++) {
            const float coding = 0.014f * norm[q] * own_norm; /* what int8 adds on both sides, as measured */
            passed += s->partial[i * QUERIES + q] + rest[q] * own_rest + coding - bias >= s->best[q];
        }
    }
    return (double)passed / ((double)s->count * QUERIES);
}

static size_t cheapest(struct sample *s) {
    /* In bytes a vector of a scan: the epilogue costs about 16, a second look at a whole block 1.6 times its size (it
     * is one query at a time), both measured on AVX-512. */
    const double epilogue = 16, second_look = 1.6, full = (double)s->dim + epilogue;
    double least = full * 5 / 6;
    size_t chosen = 0;
    true_scores(s);
    for (size_t columns = KI_LEVEL1_STEP; columns <= s->columns; columns += KI_LEVEL1_STEP) {
        add_segment(s, columns - KI_LEVEL1_STEP);
        const double block_share = 1 - pow(1 - survivor_share(s), 16);
        const double cost = (double)columns + epilogue + block_share * second_look * full;
        if (cost < least) {
            least = cost;
            chosen = columns;
        }
    }
    return chosen;
}

size_t ki_level1_choose(const float *rows, const float *projected, size_t count, size_t dim, size_t columns, int l2) {
    const uint64_t pairs = (uint64_t)count * QUERIES;
    struct sample s = {.rows = rows, .projected = projected, .count = count, .dim = dim, .columns = columns, .l2 = l2};
    s.queries = ki_alloc_array((uint64_t)(dim > KI_LEVEL1_STEP ? dim : KI_LEVEL1_STEP) * QUERIES, sizeof(float));
    s.product = ki_alloc_array(pairs, sizeof(float));
    s.partial = ki_alloc_array(pairs, sizeof(float));
    s.added = ki_alloc_array(pairs, sizeof(float));
    s.segment = ki_alloc_array((uint64_t)count * KI_LEVEL1_STEP, sizeof(float));
    s.norm2 = ki_alloc_array(count, sizeof(float));
    s.lead2 = ki_alloc_array(count, sizeof(float));
    const int ready = s.queries && s.product && s.partial && s.added && s.segment && s.norm2 && s.lead2;
    const size_t chosen = ready ? cheapest(&s) : 0;
    free(s.queries);
    free(s.product);
    free(s.partial);
    free(s.added);
    free(s.segment);
    free(s.norm2);
    free(s.lead2);
    return chosen;
}

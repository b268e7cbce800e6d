/* SPDX-License-Identifier: Apache-2.0
 *
 * Product codes: checking, viewing, encoding, preparing and scoring. Training is in pq_train.c. */
#include "quant/pq.h"

#include <float.h>
#include <math.h>

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "kernel/pq_scan.h"
#include "quant/int8.h"
#include "quant/second_model.h"

enum { COLUMNS_MAX = 256, PREPARED_HEAD = 64 };

/* Centroids beyond this come from no training: their products with queries could leave the range of floats. */
static const float centroid_most = 0x1p63f;

/* ---- Models ------------------------------------------------------------------------------------------------------ */

kith_status ki_pq_check(const ki_second_spec *spec, size_t dim, kith_error *error) {
    char name[32];
    ki_second_text(spec, name);
    if (spec->bits != 4 && spec->bits != 8)
        return ki_fail(error, KITH_E_ARG, "code %s: parts of %u bits, expected 4 or 8", name, spec->bits);
    if (spec->m == 0 || spec->m > KI_PQ_PARTS_MAX)
        return ki_fail(error, KITH_E_ARG, "code %s: %u parts, expected 1 to %d", name, spec->m, KI_PQ_PARTS_MAX);
    if (dim % spec->m != 0 || dim == 0) {
        size_t below = spec->m < dim ? spec->m : dim;
        while (below > 1 && dim % below != 0) below--;
        return ki_fail(error, KITH_E_ARG,
                       "code %s: %zu dimensions do not divide into %u equal parts; %zu parts would do", name, dim,
                       spec->m, below);
    }
    if (spec->rotated && dim > KI_PQ_ROTATED_DIM_MAX)
        return ki_fail(error, KITH_E_ARG, "code %s: a rotation is learned for at most %d dimensions, not %zu", name,
                       KI_PQ_ROTATED_DIM_MAX, dim);
    return KITH_OK;
}

uint64_t ki_pq_model_bytes(const ki_second_spec *spec, size_t dim) {
    const uint64_t columns = UINT64_C(1) << spec->bits, n = dim;
    return KI_SECOND_HEADER + sizeof(float) * (columns * (n + spec->m) + (spec->rotated ? n * n : 0));
}

ki_pq_model ki_pq_model_of(const ki_second_spec *spec, size_t dim, void *bytes) {
    ki_pq_model model = {.dim = dim, .m = spec->m, .part = dim / spec->m, .columns = (size_t)1 << spec->bits};
    model.books = (float *)(void *)((uint8_t *)bytes + KI_SECOND_HEADER);
    model.bias = model.books + dim * model.columns;
    model.rotation = spec->rotated ? model.bias + model.m * model.columns : NULL;
    return model;
}

/* For reading only. */
static ki_pq_model model_of(const ki_second *second) {
    return ki_pq_model_of(&second->spec, second->dim, (void *)(uintptr_t)second->model);
}

static size_t rows_of(const ki_second_spec *spec) {
    const size_t parts = spec->bits == 4 ? KI_PQ_ROW4 : KI_PQ_ROW8;
    return (spec->m + parts - 1) / parts;
}

int ki_pq_view(ki_second *second) {
    const ki_second_spec *spec = &second->spec;
    const uint8_t *header = second->model;
    if (ki_pq_model_bytes(spec, second->dim) != second->model_bytes) return 0;
    for (int i = KI_SECOND_OWN + 4; i < KI_SECOND_HEADER; i++)
        if (header[i]) return 0;
    const float omega = ki_load_f32(header + KI_SECOND_OWN);
    if (!(omega >= 0 && omega <= (spec->rotated ? 0.01f : 0)) || signbit(omega)) return 0;
    const ki_pq_model model = model_of(second);
    if (!ki_second_within(model.books, model.dim * model.columns, centroid_most)) return 0;
    if (!ki_second_finite(model.bias, model.m * model.columns)) return 0;
    if (model.rotation && !ki_second_within(model.rotation, model.dim * model.dim, 2)) return 0;
    second->block_bytes = rows_of(spec) * KI_QUAD_BYTES;
    second->query_bytes = PREPARED_HEAD + rows_of(spec) * (spec->bits == 4 ? KI_PQ_TABLE4 : KI_PQ_TABLE8);
    second->work_bytes = 0;
    second->width = ki_pq()->width;
    return 1;
}

size_t ki_pq_sample(const ki_second_spec *spec) {
    return spec->bits == 4 ? 16384 : 32768;
}

/* y = R x */
static void rotate(const ki_pq_model *model, const float *x, float *y) {
    const ki_distance_kernels *distance = ki_distance();
    const float *rows = model->rotation;
    size_t i = 0;
    for (; i + 4 <= model->dim; i += 4, rows += 4 * model->dim) {
        const void *const four[4] = {rows, rows + model->dim, rows + 2 * model->dim, rows + 3 * model->dim};
        distance->dot4[KITH_F32](x, four, model->dim, y + i);
    }
    for (; i < model->dim; i++, rows += model->dim) y[i] = distance->dot[KITH_F32](x, rows, model->dim);
}

/* ---- Encoding ---------------------------------------------------------------------------------------------------- */

size_t ki_pq_encode_bytes(const ki_second *second) {
    return (size_t)ki_round_up(second->dim * sizeof(float) + second->spec.m, 64);
}

/* The best multiple of the joined centroids of `codes` for y, and the length of what it leaves. */
static float fit(const ki_pq_model *model, const float *y, const uint8_t *codes, double *left) {
    double products = 0, squares = 0, error2 = 0;
    for (size_t i = 0; i < model->dim; i++) {
        const double c = model->books[i * model->columns + codes[i / model->part]];
        products += (double)y[i] * c;
        squares += c * c;
    }
    /* Where centroids are next to nothing beside y, the zero vector serves as well, and no factor grows without
     * bound. */
    float a = squares > 0 && fabs(products) < 0x1p40 * squares ? (float)(products / squares) : 0;
    for (size_t i = 0; i < model->dim; i++) {
        const double e = (double)y[i] - (double)a * (double)model->books[i * model->columns + codes[i / model->part]];
        error2 += e * e;
    }
    *left = sqrt(error2);
    return a;
}

/* Q1, with room for the sums in double and the rounding to float. */
static float stated_error(const ki_second *second, double left, float norm) {
    const float omega = ki_load_f32((const uint8_t *)second->model + KI_SECOND_OWN);
    const float gamma = second->spec.rotated ? ki_rounding(second->dim) * sqrtf((float)second->dim) : 0;
    const float above = (float)left * (1 + 0x1p-20f) + gamma * norm;
    return (above + 2 * omega * (above + norm)) * (1 + 0x1p-20f) + 0x1p-60f * sqrtf((float)second->dim);
}

static void put_codes(const ki_second *second, const uint8_t *codes, unsigned v, uint8_t *block) {
    if (second->spec.bits == 8) {
        for (size_t s = 0; s < second->spec.m; s++) block[s * KI_BLOCK + v] = codes[s];
        return;
    }
    for (size_t s = 0; s < second->spec.m; s++) {
        const unsigned high = s / 4 % 2;
        uint8_t *byte = block + s / KI_PQ_ROW4 * KI_QUAD_BYTES + s % 4 * KI_BLOCK + v;
        *byte = (uint8_t)(*byte | codes[s] << (4 * high));
    }
}

void ki_pq_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                  uint8_t *block, float *factors) {
    const ki_pq_model model = model_of(second);
    const ki_pq_kernels *kernels = ki_pq();
    float *turned = work;
    uint8_t *codes = (uint8_t *)(turned + model.dim);
    memset(block, 0, second->block_bytes);
    memset(factors, 0, KI_FACTORS * sizeof(float));
    for (unsigned v = count; v < KI_BLOCK; v++) factors[KI_FACTOR_BIAS + v] = -FLT_MAX;
    for (unsigned v = 0; v < count; v++, residuals += model.dim) {
        const float *y = residuals;
        if (model.rotation) rotate(&model, residuals, turned), y = turned;
        for (size_t s = 0; s < model.m; s++) {
            float best;
            codes[s] = (uint8_t)kernels->nearest(y + s * model.part, model.books + s * model.part * model.columns,
                                                 model.bias + s * model.columns, model.part, model.columns, &best);
        }
        put_codes(second, codes, v, block);
        double left;
        factors[KI_FACTOR_SCALE + v] = fit(&model, y, codes, &left);
        factors[KI_FACTOR_BIAS + v] = bias[v];
        const float norm = ki_length_above((float)ki_distance()->norm2[KITH_F32](residuals, model.dim), model.dim);
        factors[KI_FACTOR_NORM + v] = norm;
        factors[KI_FACTOR_ERROR + v] = stated_error(second, left, norm);
    }
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

/* The step of a query's tables, from the ranges of its parts as they come. */
struct step {
    float group[4]; /* sums of ranges, by part % 4 */
    float group_most, part_most;
    double total;
};

static void step_add(struct step *step, size_t s, float range) {
    if (s % 16 < 4) step->group[s % 4] = 0;
    step->group[s % 4] += range;
    if (step->group[s % 4] > step->group_most) step->group_most = step->group[s % 4];
    if (range > step->part_most) step->part_most = range;
    step->total += range;
}

/* The least step with which entries fit (P1), each rounded up by at most a half. */
static float step_delta(const struct step *step, unsigned bits, size_t m) {
    const float entries = bits == 4 ? step->group_most / (KI_PQ_GROUP_MAX - 2) : step->part_most / KI_PQ_GROUP_MAX;
    const float all = (float)(step->total / (double)(KI_PQ_SUM_MAX - m));
    const float delta = entries > all ? entries : all;
    return delta > 0x1p-125f ? delta : 0x1p-125f;
}

/* Sixteen entries to their place (kernel/pq_scan.h). */
static uint8_t *place(uint8_t *tables, unsigned bits, size_t s, size_t k) {
    if (bits == 4) return tables + s * 16;
    return tables + s / KI_PQ_ROW8 * KI_PQ_TABLE8 + k / 16 * 64 + s % KI_PQ_ROW8 * 16;
}

void ki_pq_prepare(const ki_second *second, const float *query, float *work, void *prepared) {
    const ki_pq_model model = model_of(second);
    const ki_pq_kernels *kernels = ki_pq();
    float values[COLUMNS_MAX], *lows = work + model.dim;
    uint8_t *tables = (uint8_t *)prepared + PREPARED_HEAD;
    const float *y = query;
    if (model.rotation) rotate(&model, query, work), y = work;
    struct step step = {{0, 0, 0, 0}, 0, 0, 0};
    double low = 0;
    const size_t book = model.part * model.columns;
    for (size_t s = 0; s < model.m; s++) {
        float high;
        kernels->products(y + s * model.part, model.books + s * book, model.part, model.columns, values, &lows[s],
                          &high);
        step_add(&step, s, high - lows[s]);
        low += lows[s];
    }
    const float delta = step_delta(&step, second->spec.bits, model.m), inverse = 1 / delta;
    memset(prepared, 0, second->query_bytes);
    /* Products once more rather than kept: all of them would be four times the tables. */
    for (size_t s = 0; s < model.m; s++) {
        float least, high;
        kernels->products(y + s * model.part, model.books + s * book, model.part, model.columns, values, &least, &high);
        for (size_t k = 0; k < model.columns; k += 16)
            kernels->to_bytes(values + k, lows[s], inverse, place(tables, second->spec.bits, s, k));
    }
    ki_store_f32(prepared, delta);
    ki_store_f32((uint8_t *)prepared + sizeof(float), (float)low);
}

size_t ki_pq_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                   const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                   float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    const ki_pq_kernels *kernels = ki_pq();
    ki_pq_scan scan = {.codes = codes, .factors = factors, .rows = rows_of(&second->spec), .count = count};
    (void)work;
    for (unsigned q = 0; q < count; q++) {
        const uint8_t *bytes = prepared[q];
        scan.tables[q] = bytes + PREPARED_HEAD;
        scan.delta[q] = ki_load_f32(bytes);
        scan.low[q] = ki_load_f32(bytes + sizeof(float));
        scan.need[q] = need[q];
    }
    return (second->spec.bits == 4 ? kernels->score4 : kernels->score8)(&scan, first, end, hits, scores, capacity,
                                                                        used);
}

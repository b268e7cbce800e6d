/* SPDX-License-Identifier: Apache-2.0 */
#include "view/query.h"

#include "kernel/distance.h"
#include "kernel/project.h"

#include <math.h>
#include <string.h>

void ki_query_terms(const ki_view *view, const ki_int8_facts *facts, float base, float centre_norm, float kappa,
                    ki_query_code *code) {
    const float g = ki_rounding(view->dim), norm = facts->norm;
    code->scale = facts->scale;
    code->base = base;
    code->a = facts->error + (2 * g + 4 * kappa) * norm;
    code->b = facts->scale * sqrtf((float)facts->square) * (1 + 0x1p-18f);
    code->c = 2 * g * norm * centre_norm + 0x1p-20f * fabsf(base);
    if (view->metric == KITH_COSINE) code->c += 4 * g + 0x1p-19f;
    if (view->metric == KITH_L2SQ) code->c = 2 * g * norm * norm;
    code->start = -KI_CODE_OFFSET * facts->sum;
    code->whole = 0;
}

int ki_query_encode(const ki_view *view, const float *query, float inverse, float *row, int8_t *bytes,
                    ki_query_code *code) {
    const size_t dim = view->dim;
    const ki_distance_kernels *kernels = ki_distance();
    float norm2 = 0, largest = 0, base;
    if (view->metric == KITH_L2SQ) {
        ki_projector()->centre(query, 1, view->centre, dim, row, &largest, &norm2);
        base = -norm2 / 2;
    } else {
        for (size_t j = 0; j < dim; j++) row[j] = query[j] * inverse;
        for (size_t j = 0; j < dim; j++) largest = fabsf(row[j]) > largest ? fabsf(row[j]) : largest;
        norm2 = kernels->dot[KITH_F32](row, row, dim);
        base = kernels->dot[KITH_F32](row, view->centre, dim);
    }
    if (!isfinite(norm2) || !isfinite(base)) return 0;
    ki_int8_facts facts;
    memset(bytes + dim, 0, 4 * view->full.quads - dim);
    const int whole = view->whole && ki_int8_is_whole(row, dim, -128, 127);
    if (whole)
        ki_int8_encode_whole(row, dim, norm2, bytes, &facts);
    else
        ki_int8_encode(row, dim, largest, norm2, bytes, &facts);
    ki_query_terms(view, &facts, base, view->centre_norm, 0, code);
    /* The residual of a fraction may be rounded to a whole number: the query itself must be one. */
    code->whole = whole && facts.norm <= KI_WHOLE_NORM &&
                  (view->metric == KITH_IP ? view->centre_norm <= KI_WHOLE_NORM
                                           : view->metric == KITH_L2SQ && ki_int8_is_whole(query, dim, -1024, 1024));
    return 1;
}

ki_list_terms ki_query_list_terms(const ki_view *view, const ki_query_code *code, const float *query, const float *row,
                                  size_t list) {
    if (!view->residual) return (ki_list_terms){code->base, code->a, code->c};
    const float *centroid = view->lists.centroids + list * view->dim;
    if (view->metric != KITH_L2SQ)
        return (ki_list_terms){ki_distance()->dot[KITH_F32](row, centroid, view->dim), code->a, code->c};
    const float far2 = ki_distance()->l2sq[KITH_F32](query, centroid, view->dim), g = ki_rounding(view->dim);
    const float apart = view->lists.coarse.factors[list / KI_BLOCK * KI_FACTORS + KI_FACTOR_NORM + list % KI_BLOCK];
    return (ki_list_terms){-far2 / 2, code->a + 2 * g * apart, 2 * g * far2};
}

float ki_query_inverse(const ki_view *view, const float *query) {
    if (view->metric != KITH_COSINE) return 1;
    return ki_inverse_norm(ki_distance()->norm2[KITH_F32](query, view->dim));
}

float ki_query_norm2(const ki_view *view, const float *query) {
    return view->metric == KITH_COSINE ? ki_square(ki_distance(), KITH_F32, query, view->dim) : 1;
}

/* Files of version 1 do not hold it. */
static float stored_norm2(const ki_view *view, uint32_t position) {
    if (view->norms2) return view->norms2[position];
    return ki_square(ki_distance(), view->dtype, view->originals + (size_t)position * view->row_bytes, view->dim);
}

static float finish_distance(const ki_view *view, float norm2, uint32_t position, float sum) {
    switch (view->metric) {
    case KITH_IP:
        return -sum;
    case KITH_COSINE:
        return ki_cosine_distance(sum, norm2, stored_norm2(view, position));
    default:
        return sum;
    }
}

float ki_query_distance(const ki_view *view, const float *query, float norm2, uint32_t position) {
    const ki_distance_kernels *kernels = ki_distance();
    const void *x = view->originals + (size_t)position * view->row_bytes;
    const float sum = view->metric == KITH_L2SQ ? kernels->l2sq[view->dtype](query, x, view->dim)
                                                : kernels->dot[view->dtype](query, x, view->dim);
    return finish_distance(view, norm2, position, sum);
}

void ki_query_distances4(const ki_view *view, const float *query, float norm2, const uint32_t position[4],
                         float distance[4]) {
    const ki_distance_kernels *kernels = ki_distance();
    const void *x[4];
    for (int i = 0; i < 4; i++) x[i] = view->originals + (size_t)position[i] * view->row_bytes;
    if (view->metric == KITH_L2SQ)
        kernels->l2sq4[view->dtype](query, x, view->dim, distance);
    else
        kernels->dot4[view->dtype](query, x, view->dim, distance);
    for (int i = 0; i < 4; i++) distance[i] = finish_distance(view, norm2, position[i], distance[i]);
}

float ki_score_below(kith_metric metric, float distance) {
    if (metric == KITH_L2SQ) return -distance / 2;
    if (metric == KITH_IP) return -distance;
    return 1 - distance - 0x1p-22f;
}

float ki_distance_of_score(kith_metric metric, float score) {
    if (metric == KITH_L2SQ) return score < 0 ? -2 * score : 0;
    if (metric == KITH_IP) return -score;
    return score > 1 ? 0 : score < -1 ? 2 : 1 - score;
}

float ki_query_statistic(const ki_view *view, float best, float query_norm) {
    return view->metric == KITH_IP ? best / (query_norm > 0 ? query_norm : 1) : best;
}

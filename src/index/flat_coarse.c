/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists at build time: their centroids as codes, and the bias of residuals. */
#include "base/checked.h"
#include "index/flat_build.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "quant/int8.h"

#include <float.h>
#include <math.h>
#include <string.h>

float ki_residual_bias(const float *centroid, const float *centre, const float *residual, size_t dim) {
    enum { CHAINS = 8 };
    double sum[CHAINS] = {0};
    for (size_t j = 0; j < dim; j++) {
        const double r = residual[j];
        sum[j % CHAINS] += ((double)centroid[j] - (double)centre[j] + r / 2) * r;
    }
    return (float)-(((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
}

/* The length of a float vector, rounded up. */
static float length_above(const float *x, size_t dim) {
    return ki_length_above(ki_distance()->dot[KITH_F32](x, x, dim), dim);
}

static void lay_centroid(const ki_recipe *recipe, size_t list, float *residual, int8_t *code, ki_coarse *coarse) {
    const size_t dim = recipe->dim, quads = (dim + 3) / 4, block = list / KI_BLOCK, v = list % KI_BLOCK;
    const float *centroid = recipe->centroids + list * dim;
    float largest, norm2, *factors = coarse->factors + block * KI_FACTORS + v;
    uint8_t *to = coarse->codes + block * quads * KI_QUAD_BYTES + 4 * v;
    ki_int8_facts facts;
    ki_projector()->centre(centroid, 1, recipe->centre, dim, residual, &largest, &norm2);
    memset(code, 0, 4 * quads);
    ki_int8_encode(residual, dim, largest, norm2, code, &facts);
    for (size_t j = 0; j < 4 * quads; j++) to[j / 4 * KI_QUAD_BYTES + j % 4] = (uint8_t)(128 + code[j]);
    factors[KI_FACTOR_SCALE] = facts.scale;
    factors[KI_FACTOR_BIAS] = recipe->metric == KITH_L2SQ ? -norm2 / 2 : 0;
    factors[KI_FACTOR_NORM] = facts.norm;
    factors[KI_FACTOR_ERROR] = facts.error;
    coarse->spread = facts.norm > coarse->spread ? facts.norm : coarse->spread;
    const float length = length_above(centroid, dim);
    coarse->norm = length > coarse->norm ? length : coarse->norm;
}

int ki_coarse_create(const ki_recipe *recipe, ki_coarse *out) {
    const size_t quads = (recipe->dim + 3) / 4, blocks = (recipe->lists + KI_BLOCK - 1) / KI_BLOCK;
    ki_coarse coarse = {.blocks = blocks};
    float *residual = ki_alloc_array(recipe->dim, sizeof(float));
    int8_t *code = ki_alloc_array(4 * quads, 1);
    coarse.codes = ki_alloc_array(blocks, quads * KI_QUAD_BYTES);
    coarse.factors = ki_alloc_array_zeroed(blocks, KI_FACTORS * sizeof(float));
    const int done = residual && code && coarse.codes && coarse.factors;
    if (done) {
        memset(coarse.codes, 128, blocks * quads * KI_QUAD_BYTES);
        for (size_t v = recipe->lists; v < blocks * KI_BLOCK; v++)
            coarse.factors[v / KI_BLOCK * KI_FACTORS + KI_FACTOR_BIAS + v % KI_BLOCK] = -FLT_MAX;
        for (size_t l = 0; l < recipe->lists; l++) lay_centroid(recipe, l, residual, code, &coarse);
    }
    free(residual);
    free(code);
    if (done)
        *out = coarse;
    else
        ki_coarse_free(&coarse);
    return done;
}

void ki_coarse_free(ki_coarse *coarse) {
    free(coarse->codes);
    free(coarse->factors);
    *coarse = (ki_coarse){0};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists at build time: their centroids as codes, and the bias of residuals. */
#include "base/checked.h"
#include "flat/build.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "quant/int8.h"
#include "quant/level1.h"

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

/* residual: dim + level1_columns floats; code: as many bytes, dim rounded up to quads. */
static void lay_centroid(const ki_recipe *recipe, size_t list, float *residual, int8_t *code, ki_coarse *coarse) {
    const size_t dim = recipe->dim, quads = (dim + 3) / 4, columns = recipe->level1_columns;
    const float *centroid = recipe->centroids + list * dim;
    const int l2 = recipe->metric == KITH_L2SQ;
    float largest, norm2, *projected = residual + dim;
    ki_int8_facts facts;
    ki_projector()->centre(centroid, 1, recipe->centre, dim, residual, &largest, &norm2);
    memset(code, 0, 4 * quads);
    ki_int8_encode(residual, dim, largest, norm2, code, &facts);
    const ki_tile_room room = {coarse->codes, coarse->factors, quads};
    ki_tile_put(&room, list, code, (float[]){facts.scale, l2 ? -norm2 / 2 : 0, facts.norm, facts.error});
    coarse->spread = facts.norm > coarse->spread ? facts.norm : coarse->spread;
    const float length = length_above(centroid, dim);
    coarse->norm = length > coarse->norm ? length : coarse->norm;
    if (!columns) return;
    ki_projector()->centre(centroid, 1, recipe->level1_centre, dim, residual, &largest, &norm2);
    ki_projector()->project(residual, 1, dim, recipe->basis, columns, projected);
    ki_level1_encode(projected, dim, columns, norm2, recipe->kappa, code, &facts);
    const ki_tile_room first = {coarse->first_codes, coarse->first_factors, columns / 4};
    ki_tile_put(&first, list, code, (float[]){facts.scale, l2 ? -norm2 / 2 : 0, facts.norm, facts.error});
}

/* Codes and factors of nothing, which never win. */
static int take_level(size_t blocks, size_t quads, uint8_t **codes, float **factors) {
    *codes = ki_alloc_array(blocks, quads * KI_QUAD_BYTES);
    *factors = ki_alloc_array(blocks, KI_FACTORS * sizeof(float));
    if (!*codes || !*factors) return 0;
    ki_tile_clear(&(ki_tile_room){*codes, *factors, quads}, 0, blocks);
    return 1;
}

int ki_coarse_create(const ki_recipe *recipe, ki_coarse *out) {
    const size_t quads = (recipe->dim + 3) / 4, blocks = (recipe->lists + KI_BLOCK - 1) / KI_BLOCK;
    const size_t columns = recipe->level1_columns;
    ki_coarse coarse = {.blocks = blocks};
    float *residual = ki_alloc_array(recipe->dim + columns, sizeof(float));
    int8_t *code = ki_alloc_array(4 * quads + columns, 1);
    const int done = residual && code && take_level(blocks, quads, &coarse.codes, &coarse.factors) &&
                     (!columns || take_level(blocks, columns / 4, &coarse.first_codes, &coarse.first_factors));
    for (size_t l = 0; l < recipe->lists && done; l++) lay_centroid(recipe, l, residual, code, &coarse);
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
    free(coarse->first_codes);
    free(coarse->first_factors);
    *coarse = (ki_coarse){0};
}

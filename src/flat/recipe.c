/* SPDX-License-Identifier: Apache-2.0
 *
 * How a sample becomes a recipe: the centre, whole values, and the first level. */
#include "flat/build.h"

#include "base/checked.h"
#include "kernel/project.h"
#include "quant/int8.h"
#include "quant/level1.h"

#include <string.h>

static void mean_of(const float *sample, size_t count, size_t dim, float *mean) {
    for (size_t j = 0; j < dim; j++) mean[j] = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dim; j++) mean[j] += sample[i * dim + j] / (float)count;
}

static size_t most_columns(const ki_recipe *recipe, uint64_t rows, kith_first_level wish) {
    enum { ROWS_LEAST = 8192, DIM_LEAST = 96 };
    const size_t dim = recipe->dim, most = dim < 1024 ? 256 : KI_LEVEL1_MAX;
    if (wish == KITH_FIRST_LEVEL_NONE || dim > KI_LEVEL1_DIM_MAX || dim < KI_LEVEL1_STEP) return 0;
    if (wish == KITH_FIRST_LEVEL_AUTO && (rows < ROWS_LEAST || dim < DIM_LEAST)) return 0;
    const size_t columns = dim * 3 / 4 / KI_LEVEL1_STEP * KI_LEVEL1_STEP;
    return columns < KI_LEVEL1_STEP ? KI_LEVEL1_STEP : ki_min_size(columns, most);
}

/* Train on the centred sample, choose the number of columns, and cut the basis to it. */
static int make_level1(const float *sample, size_t count, size_t columns, kith_first_level wish, uint64_t seed,
                       ki_recipe *recipe) {
    const size_t dim = recipe->dim;
    float *centred = ki_alloc_array((uint64_t)count * dim, sizeof(float));
    float *projected = ki_alloc_array((uint64_t)count * columns, sizeof(float));
    float *wide = ki_alloc_array((uint64_t)dim * columns, sizeof(float));
    int done = 0;
    if (!centred || !projected || !wide) goto out;
    for (size_t i = 0; i < count * dim; i++) centred[i] = sample[i] - recipe->level1_centre[i % dim];
    if (!ki_level1_train(centred, count, dim, columns, seed, wide)) goto out;
    ki_projector()->project(centred, count, dim, wide, columns, projected);
    size_t chosen = ki_level1_choose(centred, projected, count, dim, columns, recipe->metric == KITH_L2SQ);
    if (!chosen && wish == KITH_FIRST_LEVEL_ON) chosen = columns < 128 ? columns : 128;
    done = 1;
    if (!chosen) goto out;
    recipe->basis = ki_alloc_array((uint64_t)dim * chosen, sizeof(float));
    done = recipe->basis && ki_level1_mix(wide, columns, dim, chosen, seed, recipe->basis, &recipe->omega);
    if (!done) goto out;
    recipe->level1_columns = chosen;
    recipe->kappa = ki_level1_kappa(dim, chosen, recipe->omega);
out:
    free(centred);
    free(projected);
    free(wide);
    return done;
}

kith_status ki_recipe_make(const float *sample, size_t count, uint64_t rows, kith_metric metric, kith_dtype dtype,
                           size_t dim, int whole, kith_first_level first_level, uint64_t seed, ki_recipe *recipe) {
    ki_recipe made = {
        .metric = metric, .dtype = dtype, .dim = dim, .row_bytes = kith_row_bytes(dtype, dim), .whole = whole};
    made.centre = ki_alloc_array(dim, sizeof(float));
    made.level1_centre = ki_alloc_array(dim, sizeof(float));
    if (!made.centre || !made.level1_centre) goto no_memory;
    mean_of(sample, count, dim, made.level1_centre);
    memcpy(made.centre, made.level1_centre, dim * sizeof(float));
    if (whole) { /* bytes 0..255 around 128, or -128..127 around 0: by what the sample holds */
        float least = 0;
        for (size_t i = 0; i < count * dim; i++) least = sample[i] < least ? sample[i] : least;
        made.low = dtype == KITH_I8 || (dtype != KITH_U8 && least < 0) ? -128 : 0;
        made.high = made.low + 255;
        for (size_t j = 0; j < dim; j++) made.centre[j] = made.low + KI_CODE_OFFSET;
    }
    const size_t columns = most_columns(&made, rows, first_level);
    if (columns && !make_level1(sample, count, columns, first_level, seed, &made)) goto no_memory;
    *recipe = made;
    return KITH_OK;
no_memory:
    ki_recipe_free(&made);
    return KITH_E_NOMEM;
}

void ki_recipe_free(ki_recipe *recipe) {
    free(recipe->centre);
    free(recipe->level1_centre);
    free(recipe->basis);
    *recipe = (ki_recipe){0};
}

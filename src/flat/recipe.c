/* SPDX-License-Identifier: Apache-2.0
 *
 * How a sample becomes a recipe: the centre, whole values, and the first level. */
#include "flat/build.h"

#include "base/checked.h"
#include "kernel/project.h"
#include "quant/int8.h"
#include "quant/level1.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void mean_of(const float *sample, size_t count, size_t dim, float *mean) {
    for (size_t j = 0; j < dim; j++) mean[j] = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < dim; j++) mean[j] += sample[i * dim + j] / (float)count;
}

static double distance2(const float *x, const float *y, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++) sum += ((double)x[j] - (double)y[j]) * ((double)x[j] - (double)y[j]);
    return sum;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Whether a few long rows make most of the squares about the mean. work: count doubles. Rows of one size have a mean
 * square about their median one; lengths that are log-normal with sigma 1 have seven times that. */
static int heavy_tailed(const float *sample, size_t count, size_t dim, const float *mean, double *work) {
    enum { HEAVY = 4 };
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        work[i] = distance2(sample + i * dim, mean, dim);
        sum += work[i];
    }
    qsort(work, count, sizeof(*work), compare_doubles);
    return sum > HEAVY * work[count / 2] * (double)count;
}

/* The point with the least sum of distances, by Weiszfeld's iteration from the coordinates' means: long rows draw it no
 * farther than others do. work: dim doubles. */
static void geometric_median(const float *sample, size_t count, size_t dim, float *centre, double *work) {
    enum { STEPS = 24 };
    for (int step = 0; step < STEPS; step++) {
        double weights = 0;
        for (size_t j = 0; j < dim; j++) work[j] = 0;
        for (size_t i = 0; i < count; i++) {
            const float *row = sample + i * dim;
            const double apart = sqrt(distance2(row, centre, dim));
            if (!(apart > 0)) continue; /* a row at the centre draws it nowhere */
            for (size_t j = 0; j < dim; j++) work[j] += (double)row[j] / apart;
            weights += 1 / apart;
        }
        for (size_t j = 0; j < dim && weights > 0; j++) centre[j] = (float)(work[j] / weights);
    }
}

/* The middle of the sample: its mean, unless a few long rows would draw that away from all the others, to which codes
 * would then be relative from afar. */
static int middle_of(const float *sample, size_t count, size_t dim, float *centre) {
    double *work = ki_alloc_array(count > dim ? count : dim, sizeof(*work));
    if (!work) return 0;
    mean_of(sample, count, dim, centre);
    if (heavy_tailed(sample, count, dim, centre, work)) geometric_median(sample, count, dim, centre, work);
    free(work);
    return 1;
}

/* The centre of whole numbers (KI_WHOLE_WIDE): 128 or 0, so that codes take all of 0..255 or -128..127, by what the
 * sample holds. KI_WHOLE_CLOSE: of each coordinate the whole number nearest to its middle around which twice what the
 * sample holds has codes still: bounds widen and the codes of centroids coarsen with the distance from the centre. */
static void centre_whole(const float *sample, size_t count, ki_recipe *recipe) {
    const size_t dim = recipe->dim;
    float least = 0, most = 0;
    for (size_t i = 0; i < count * dim; i++) {
        least = sample[i] < least ? sample[i] : least;
        most = sample[i] > most ? sample[i] : most;
    }
    const int with_sign = recipe->dtype == KITH_I8 || (recipe->dtype != KITH_U8 && least < 0);
    const float low = with_sign ? -KI_CODE_OFFSET : 0, wide = low + KI_CODE_OFFSET;
    if (recipe->whole == KI_WHOLE_CLOSE) {
        least = 2 * least > low ? 2 * least : low;
        most = 2 * most < low + 255 ? 2 * most : low + 255;
    } else {
        least = low;
        most = low + 255;
    }
    for (size_t j = 0; j < dim; j++) {
        const float middle = rintf(recipe->level1_centre[j]);
        const float from = most - KI_CODE_MAX, to = least + KI_CODE_OFFSET;
        recipe->centre[j] = middle < from ? from : middle > to ? to : middle;
        if (from > to) recipe->centre[j] = wide;
    }
}

ki_row_fault ki_recipe_holds(const ki_recipe *recipe, const float *row) {
    int inside = 1;
    for (size_t j = 0; j < recipe->dim; j++) {
        const float least = recipe->centre[j] - KI_CODE_OFFSET, most = recipe->centre[j] + KI_CODE_MAX;
        if (rintf(row[j]) != row[j]) return KI_ROW_NOT_WHOLE;
        inside &= row[j] >= least && row[j] <= most;
    }
    return inside ? KI_ROW_FINE : KI_ROW_OUTSIDE;
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
                           size_t dim, ki_whole whole, kith_first_level first_level, uint64_t seed, ki_recipe *recipe) {
    ki_recipe made = {
        .metric = metric, .dtype = dtype, .dim = dim, .row_bytes = kith_row_bytes(dtype, dim), .whole = whole};
    made.centre = ki_alloc_array(dim, sizeof(float));
    made.level1_centre = ki_alloc_array(dim, sizeof(float));
    if (!made.centre || !made.level1_centre) goto no_memory;
    if (!middle_of(sample, count, dim, made.level1_centre)) goto no_memory;
    memcpy(made.centre, made.level1_centre, dim * sizeof(float));
    if (whole) centre_whole(sample, count, &made);
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

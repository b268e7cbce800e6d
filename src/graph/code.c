/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors become int8 codes in the graph's space (view/graph.h): normalised for cosine, centred, rotated, a scale each.
 *
 * N_x is that of the code where it matters: an estimate C_q + N_x - 2<q', a c> should err by the code's error along
 * q' - x', not along q'. With |a c|^2 in place of |x'|^2 it does so, for l2 and cosine; for ip, where
 *     N_x = -2<centre, x - centre> = |x'|^2 + |centre|^2 - |x|^2,
 * in the same way.
 *
 * The height of a vector on the sphere is sqrt(limit^2 - |x|^2). Codes hold it less the mean height, as KI_GRAPH_STEP
 * elements of a quarter of it each; a height that they cannot hold is cut, which only makes candidates a little
 * worse. */
#include "graph/inner.h"
#include "graph/query.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "quant/rotate.h"

#include <math.h>
#include <string.h>

enum { RUN = 1024 /* vectors of a piece */ };

static int8_t whole_code(float x) {
    const float bounded = x > 127 ? 127 : x < -127 ? -127 : x;
    return (int8_t)(bounded < 0 ? bounded - 0.5f : bounded + 0.5f);
}

static void finish_code(ki_graph_codes *codes, uint64_t v) {
    const int8_t *code = codes->code + v * codes->bytes;
    int32_t sum = 0, square = 0;
    for (size_t j = 0; j < codes->bytes; j++) {
        if (j == codes->width) codes->product[v] = square;
        sum += code[j];
        square += code[j] * code[j];
    }
    if (codes->bytes == codes->width) codes->product[v] = square;
    codes->start[v] = -128 * sum;
    codes->square[v] = codes->scale[v] * codes->scale[v] * (float)square;
}

/* norm[v] becomes |x|^2 for now. */
static void code_vector(ki_graph_build *build, uint64_t v, const float *x, float *work) {
    ki_graph_codes *codes = &build->codes;
    const size_t dim = build->in.dim, width = codes->width;
    const double norm2 = ki_distance()->norm2[KITH_F32](x, dim);
    const float factor = build->in.metric == KITH_COSINE ? ki_inverse_norm(norm2) : 1;
    int8_t *code = codes->code + v * codes->bytes;
    const ki_graph space = {.width = width, .centre = build->in.centre, .signs = build->signs};
    float most = 0;
    ki_graph_place(&space, dim, x, factor, work);
    for (size_t j = 0; j < width; j++) most = fabsf(work[j]) > most ? fabsf(work[j]) : most;
    const float scale = most / 127, inverse = scale > 0 ? 1 / scale : 0;
    for (size_t j = 0; j < width; j++) code[j] = whole_code(isfinite(inverse) ? work[j] * inverse : 0);
    codes->scale[v] = scale;
    codes->norm[v] = build->in.metric == KITH_COSINE ? 1 : (float)norm2;
    finish_code(codes, v);
}

static void code_run(void *context, size_t piece, unsigned worker) {
    ki_graph_build *build = context;
    const uint64_t first = (uint64_t)piece * RUN;
    const size_t count = (size_t)ki_min_u64(RUN, build->in.rows - first), dim = build->in.dim;
    kith_error error = {0};
    (void)worker;
    if (atomic_load(&build->stop)) return;
    float *rows = ki_alloc_array(count, dim * sizeof(float)), *work = ki_alloc_array(build->codes.width, sizeof(float));
    kith_status status = rows && work ? build->in.read(build->in.context, first, count, rows, &error)
                                      : ki_fail(&error, KITH_E_NOMEM, "out of memory for %zu vectors", count);
    for (size_t i = 0; i < count && status == KITH_OK; i++) code_vector(build, first + i, rows + i * dim, work);
    if (status != KITH_OK) ki_graph_fail(build, piece, status, &error);
    free(rows);
    free(work);
}

static double height(const ki_graph_build *build, uint64_t v) {
    const double below = (double)build->limit * build->limit - build->codes.norm[v];
    return below > 0 ? sqrt(below) : 0;
}

/* The heights, and N_x from |x|^2. */
static void raise_vectors(ki_graph_build *build) {
    ki_graph_codes *codes = &build->codes;
    const double centre2 = ki_distance()->norm2[KITH_F32](build->in.centre, build->in.dim);
    double mean = 0;
    for (uint64_t v = 0; v < codes->rows; v++) mean += height(build, v);
    mean /= (double)codes->rows;
    for (uint64_t v = 0; v < codes->rows; v++) {
        const double share = (height(build, v) - mean) / 4;
        const float elements = codes->scale[v] > 0 ? (float)(share / codes->scale[v]) : 0;
        int8_t *code = codes->code + v * codes->bytes + codes->width;
        codes->norm[v] = (float)((double)codes->square[v] + centre2 - codes->norm[v]);
        memset(code, whole_code(elements), KI_GRAPH_STEP);
        finish_code(codes, v);
    }
}

static kith_status make_room(ki_graph_build *build, kith_error *error) {
    ki_graph_codes *codes = &build->codes;
    const uint64_t rows = build->in.rows;
    codes->rows = rows;
    codes->width = ki_graph_width(build->in.dim);
    codes->bytes = codes->width + (build->in.metric == KITH_IP ? KI_GRAPH_STEP : 0);
    codes->code = ki_alloc_array_zeroed(rows, codes->bytes);
    codes->scale = ki_alloc_array(rows, sizeof(float));
    codes->square = ki_alloc_array(rows, sizeof(float));
    codes->norm = ki_alloc_array(rows, sizeof(float));
    codes->product = ki_alloc_array(rows, sizeof(int32_t));
    codes->start = ki_alloc_array(rows, sizeof(int32_t));
    build->signs = ki_alloc_array(ki_rotate_bytes(codes->width), 1);
    if (codes->code && codes->scale && codes->square && codes->product && codes->norm && codes->start && build->signs)
        return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the codes of a graph of %llu vectors",
                   (unsigned long long)rows);
}

kith_status ki_graph_code_rows(ki_graph_build *build, kith_error *error) {
    ki_graph_codes *codes = &build->codes;
    kith_status status = make_room(build, error);
    if (status != KITH_OK) return status;
    ki_rotate_make(codes->width, build->in.seed, build->signs);
    status = ki_graph_run(build, (size_t)((codes->rows + RUN - 1) / RUN), code_run, build, error);
    if (status != KITH_OK) return status;
    float most = 0;
    for (uint64_t v = 0; v < codes->rows; v++) most = codes->norm[v] > most ? codes->norm[v] : most;
    build->limit = sqrtf(most);
    if (build->in.metric == KITH_IP)
        raise_vectors(build);
    else
        memcpy(codes->norm, codes->square, codes->rows * sizeof(float));
    return KITH_OK;
}

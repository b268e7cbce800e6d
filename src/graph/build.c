/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs of building put together: see build.h. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "quant/rotate.h"

#include <stdlib.h>
#include <string.h>

/* ---- What stages share ------------------------------------------------------------------------------------------- */

void ki_graph_fail(ki_graph_build *build, size_t piece, kith_status status, const kith_error *failure) {
    pthread_mutex_lock(&build->failing);
    if (build->status == KITH_OK || piece < build->failed_piece) {
        build->status = status;
        build->failed_piece = piece;
        build->failure = *failure;
    }
    pthread_mutex_unlock(&build->failing);
    atomic_store(&build->stop, 1);
}

void ki_graph_tell(ki_graph_build *build, uint64_t done) {
    const kith_progress progress = {sizeof(progress), "linking", "vectors", done, build->in.rows};
    kith_error error = {0};
    if (build->in.progress && !atomic_load(&build->stop) && build->in.progress(build->in.progress_context, &progress))
        ki_graph_fail(build, 0, ki_fail(&error, KITH_E_CANCELLED, "the build was cancelled"), &error);
}

kith_status ki_graph_run(ki_graph_build *build, size_t pieces, ki_pool_fn fn, void *context, kith_error *error) {
    ki_pool_run(build->in.pool, pieces, fn, context);
    if (build->status != KITH_OK && error) *error = build->failure;
    return build->status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

uint64_t ki_graph_build_bytes(const ki_graph_input *input) {
    const uint64_t width = ki_graph_width(input->dim) + KI_GRAPH_STEP;
    /* Codes with five numbers each; edges with both counts; the edges once more while they are turned round; elders,
     * members and reached vertices. */
    const uint64_t each = width + 5 * sizeof(float) + 2 * input->degree * sizeof(uint32_t) + 2 + 6 * sizeof(uint32_t);
    return input->rows * each + input->lists * width * sizeof(float);
}

static kith_status find_edges(ki_graph_build *build, kith_error *error) {
    if (build->in.near) return ki_graph_take_near(build, error);
    const kith_status status = ki_graph_find_near(build, error);
    return status == KITH_OK ? ki_graph_widen(build, error) : status;
}

static kith_status start(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->in.rows;
    build->edge = ki_alloc_array(rows, build->in.degree * sizeof(uint32_t));
    build->count = ki_alloc_array_zeroed(rows, 1);
    build->chosen = ki_alloc_array_zeroed(rows, 1);
    if (!build->edge || !build->count || !build->chosen)
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a graph of %llu vectors", (unsigned long long)rows);
    kith_status status = ki_graph_code_rows(build, error);
    if (status == KITH_OK) status = ki_graph_find_twins(build, error);
    if (status == KITH_OK) status = ki_graph_make_cells(build, error);
    if (status == KITH_OK) status = find_edges(build, error);
    if (status == KITH_OK) status = ki_graph_link(build, error);
    if (status == KITH_OK) status = ki_graph_hang_twins(build, error);
    if (status == KITH_OK) status = ki_graph_choose_entries(build, error);
    if (status == KITH_OK) status = ki_graph_connect(build, error);
    if (status == KITH_OK) status = ki_graph_make_model(build, error);
    return status;
}

kith_status ki_graph_build_start(const ki_graph_input *input, ki_graph_build **out, kith_error *error) {
    ki_graph_build *build = ki_alloc_array_zeroed(1, sizeof(*build));
    if (!build) return ki_fail(error, KITH_E_NOMEM, "out of memory for a graph");
    build->in = *input;
    pthread_mutex_init(&build->failing, NULL);
    const kith_status status = start(build, error);
    if (status == KITH_OK)
        *out = build;
    else
        ki_graph_build_free(build);
    return status;
}

void ki_graph_build_free(ki_graph_build *build) {
    if (!build) return;
    pthread_mutex_destroy(&build->failing);
    free(build->signs);
    free(build->codes.code);
    free(build->codes.scale);
    free(build->codes.square);
    free(build->codes.product);
    free(build->codes.norm);
    free(build->codes.start);
    free(build->elder);
    free(build->cells.first);
    free(build->cells.member);
    free(build->cells.centre);
    free(build->edge);
    free(build->count);
    free(build->chosen);
    free(build->entry);
    free(build->model);
    free(build);
}

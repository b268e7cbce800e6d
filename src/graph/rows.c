/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a graph, as view/graph.h draws them. */
#include "base/checked.h"
#include "base/status.h"
#include "graph/inner.h"

#include <math.h>
#include <string.h>

enum { RUN = 64 /* rows of a piece */ };

static ki_graph_end end_of(const ki_graph_codes *codes, uint32_t v) {
    const double scale = codes->scale[v];
    return (ki_graph_end){ki_graph_code(codes, v), codes->scale[v], codes->norm[v], scale * scale * codes->product[v]};
}

static void put_row(const ki_graph_build *build, uint32_t x, ki_graph_edge *edge_room, uint8_t *row) {
    const ki_graph_codes *codes = &build->codes;
    const uint32_t degree = build->in.degree, count = build->count[x];
    const uint32_t *edge = build->edge + (size_t)x * degree;
    const ki_graph_head head = {codes->scale[x], codes->norm[x], count, 0};
    uint32_t *id = (uint32_t *)(void *)(row + KI_GRAPH_IDS_AT);
    float *add = (float *)(void *)(id + degree);
    memset(row, 0, build->row_bytes);
    memcpy(row, &head, sizeof(head));
    memcpy(row + ki_graph_self_at(degree, build->bits), ki_graph_code(codes, x), codes->width);
    for (uint32_t n = 0; n < degree; n++) id[n] = n < count ? edge[n] : x;
    if (!build->bits) return;
    const ki_graph_end from = end_of(codes, x);
    for (uint32_t n = 0; n < count; n++) {
        const ki_graph_end to = end_of(codes, edge[n]);
        ki_graph_put_edge(&from, &to, n, degree, build->bits, codes->width, edge_room, row);
    }
    for (uint32_t n = count; n < degree; n++) add[n] = INFINITY;
}

static void write_run(void *context, size_t piece, unsigned worker) {
    ki_graph_build *build = context;
    const uint64_t first = (uint64_t)piece * RUN;
    const size_t count = (size_t)ki_min_u64(RUN, build->codes.rows - first);
    kith_error error = {0};
    (void)worker;
    if (atomic_load(&build->stop)) return;
    uint8_t *rows = ki_alloc_array(count, build->row_bytes);
    ki_graph_edge *edge = ki_alloc_array(1, sizeof(*edge));
    kith_status status = KITH_OK;
    if (!rows || !edge) status = ki_fail(&error, KITH_E_NOMEM, "out of memory for %zu rows of a graph", count);
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        put_row(build, (uint32_t)(first + i), edge, rows + i * build->row_bytes);
    if (status == KITH_OK) status = build->in.write(build->in.context, first, count, rows, &error);
    if (status != KITH_OK) ki_graph_fail(build, piece, status, &error);
    free(rows);
    free(edge);
}

kith_status ki_graph_build_rows(ki_graph_build *build, kith_error *error) {
    return ki_graph_run(build, (size_t)((build->codes.rows + RUN - 1) / RUN), write_run, build, error);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of a graph's rows, and of the graph as a whole. */
#include "graph/build.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static int all_zero(const uint8_t *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (bytes[i]) return 0;
    return 1;
}

static const char *check_ids(const uint32_t *id, uint32_t count, uint32_t degree, uint64_t rows, uint32_t v) {
    for (uint32_t i = 0; i < degree; i++) {
        if (i >= count && id[i] != v) return "a place without a neighbour names another vertex";
        if (i >= count) continue;
        if (id[i] >= rows) return "a neighbour lies outside of the graph";
        if (id[i] == v) return "a vertex is its own neighbour";
        for (uint32_t k = 0; k < i; k++)
            if (id[k] == id[i]) return "a neighbour is named twice";
    }
    return NULL;
}

static const char *check_factors(const float *add, const float *mul, uint32_t count, uint32_t degree) {
    for (uint32_t i = 0; i < degree; i++) {
        if (i < count && (!isfinite(add[i]) || !isfinite(mul[i]))) return "a factor of an edge is not finite";
        if (i >= count && (!isinf(add[i]) || add[i] < 0 || mul[i] != 0))
            return "a place without a neighbour has factors of one";
    }
    return NULL;
}

static const char *check_row(const ki_graph *graph, uint64_t rows, uint32_t v) {
    const uint8_t *row = ki_graph_row(graph, v);
    const uint32_t degree = graph->degree;
    const size_t width = graph->width, self = ki_graph_self_at(degree, graph->bits);
    const size_t codes = ki_graph_codes_at(degree, graph->bits, width);
    const size_t lists = KI_GRAPH_IDS_AT + degree * sizeof(uint32_t) * (graph->bits ? 3 : 1);
    const uint32_t *id = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
    const float *add = (const float *)(const void *)(id + degree);
    ki_graph_head head;
    memcpy(&head, row, sizeof(head));
    if (!isfinite(head.scale) || head.scale < 0 || !isfinite(head.norm)) return "a vertex has no finite scale and norm";
    if (head.count > degree) return "a vertex has more neighbours than places";
    const char *wrong = check_ids(id, head.count, degree, rows, v);
    if (!wrong && graph->bits) wrong = check_factors(add, add + degree, head.count, degree);
    if (wrong) return wrong;
    if (head.zero || !all_zero(row, lists, self) || !all_zero(row, self + width, codes) ||
        !all_zero(row, codes + graph->bits * ki_graph_plane_bytes(degree, width), graph->row_bytes))
        return "bytes that should be zero are not";
    return NULL;
}

const char *ki_graph_check_rows(const ki_graph *graph, uint64_t rows, uint64_t first, uint64_t end, uint64_t *vertex) {
    for (uint64_t v = first; v < end; v++) {
        const char *wrong = check_row(graph, rows, (uint32_t)v);
        if (!wrong) continue;
        *vertex = v;
        return wrong;
    }
    return NULL;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static int mark(uint64_t *reached, uint32_t v) {
    const uint64_t bit = UINT64_C(1) << v % 64;
    if (reached[v / 64] & bit) return 0;
    reached[v / 64] |= bit;
    return 1;
}

kith_status ki_graph_unreached(const ki_graph *graph, uint64_t rows, uint64_t *unreached) {
    uint64_t *reached = ki_alloc_array_zeroed(rows / 64 + 1, sizeof(*reached));
    uint32_t *queue = ki_alloc_array(rows, sizeof(*queue));
    size_t count = 0;
    const kith_status status = reached && queue ? KITH_OK : KITH_E_NOMEM;
    for (uint32_t e = 0; e < graph->entries && status == KITH_OK; e++)
        if (graph->entry[e] < rows && mark(reached, graph->entry[e])) queue[count++] = graph->entry[e];
    for (size_t at = 0; at < count; at++) {
        const uint8_t *row = ki_graph_row(graph, queue[at]);
        const uint32_t *id = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
        ki_graph_head head;
        memcpy(&head, row, sizeof(head));
        for (uint32_t i = 0; i < head.count && i < graph->degree; i++)
            if (id[i] < rows && mark(reached, id[i])) queue[count++] = id[i];
    }
    if (status == KITH_OK) *unreached = rows - count;
    free(reached);
    free(queue);
    return status;
}

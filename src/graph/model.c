/* SPDX-License-Identifier: Apache-2.0
 *
 * The model of a graph: what view/graph.h draws, written and read. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "quant/rotate.h"

#include <math.h>
#include <string.h>

enum { MAGIC_BYTES = 8, STEP = 64, ZEROS = 36 };
static const char magic[MAGIC_BYTES + 1] = "KITHGRA1";

struct model_head {
    char magic[MAGIC_BYTES];
    uint32_t degree, bits, width, entries;
    float limit;
    uint8_t zeros[ZEROS];
};
_Static_assert(sizeof(struct model_head) == KI_GRAPH_MODEL_HEAD_BYTES, "the head of a model");

static size_t signs_at(size_t dim) {
    return (size_t)ki_round_up(KI_GRAPH_MODEL_HEAD_BYTES + dim * sizeof(float), STEP);
}

static size_t entries_at(size_t dim) {
    return (size_t)ki_round_up(signs_at(dim) + ki_rotate_bytes(ki_graph_width(dim)), STEP);
}

static size_t entry_rows_at(size_t dim, uint32_t entries) {
    return (size_t)ki_round_up(entries_at(dim) + entries * sizeof(uint32_t), STEP);
}

static size_t model_bytes(size_t dim, uint32_t entries) {
    return entry_rows_at(dim, entries) + entries * ki_graph_entry_bytes(ki_graph_width(dim));
}

uint64_t ki_graph_model_bytes(size_t dim, uint64_t rows) {
    return model_bytes(dim, ki_graph_entries(rows));
}

static void put_entry_rows(const ki_graph_build *build, uint8_t *to) {
    const ki_graph_codes *codes = &build->codes;
    for (uint32_t e = 0; e < build->entries; e++, to += ki_graph_entry_bytes(codes->width)) {
        const uint32_t v = build->entry[e];
        const ki_graph_head head = {codes->scale[v], codes->norm[v], build->count[v], 0};
        memcpy(to, &head, sizeof(head));
        memcpy(to + KI_GRAPH_ENTRY_SELF_AT, ki_graph_code(codes, v), codes->width);
    }
}

void *ki_graph_first_model(size_t dim, uint64_t rows, uint32_t degree, uint32_t bits) {
    const uint32_t entries = ki_graph_entries(rows);
    uint8_t *model = ki_alloc_array_zeroed(model_bytes(dim, entries), 1);
    struct model_head head = {
        .degree = degree, .bits = bits, .width = (uint32_t)ki_graph_width(dim), .entries = entries};
    if (!model) return NULL;
    memcpy(head.magic, magic, MAGIC_BYTES);
    memcpy(model, &head, sizeof(head));
    return model;
}

kith_status ki_graph_make_model(ki_graph_build *build, kith_error *error) {
    const size_t dim = build->in.dim;
    build->bits = build->in.bits;
    build->row_bytes = ki_graph_row_bytes(build->in.degree, build->bits, build->codes.width);
    build->model_bytes = model_bytes(dim, build->entries);
    build->model = ki_alloc_array_zeroed(build->model_bytes, 1);
    if (!build->model) return ki_fail(error, KITH_E_NOMEM, "out of memory for the model of a graph");
    struct model_head head = {.degree = build->in.degree,
                              .bits = build->bits,
                              .width = (uint32_t)build->codes.width,
                              .entries = build->entries,
                              .limit = build->limit};
    uint8_t *to = build->model;
    memcpy(head.magic, magic, MAGIC_BYTES);
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), build->in.centre, dim * sizeof(float));
    memcpy(to + signs_at(dim), build->signs, ki_rotate_bytes(build->codes.width));
    memcpy(to + entries_at(dim), build->entry, build->entries * sizeof(uint32_t));
    put_entry_rows(build, to + entry_rows_at(dim, build->entries));
    return KITH_OK;
}

const void *ki_graph_build_model(const ki_graph_build *build, size_t *bytes, size_t *row_bytes) {
    *bytes = build->model_bytes;
    *row_bytes = build->row_bytes;
    return build->model;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int head_holds(const struct model_head *head, uint64_t rows, size_t dim) {
    static const uint8_t zeros[ZEROS] = {0};
    const uint32_t degree = head->degree, bits = head->bits;
    return memcmp(head->magic, magic, MAGIC_BYTES) == 0 && (degree == 32 || degree == 48 || degree == 64) &&
           (bits == 0 || bits == 1 || bits == 2 || bits == 4) && head->width == ki_graph_width(dim) &&
           head->entries >= 1 && head->entries <= KI_GRAPH_ENTRIES_MAX && head->entries <= rows &&
           isfinite(head->limit) && head->limit >= 0 && memcmp(head->zeros, zeros, ZEROS) == 0;
}

int ki_graph_view(const void *model, size_t bytes, uint64_t rows, size_t dim, ki_graph *graph) {
    const uint8_t *from = model;
    struct model_head head;
    if (dim < 1 || dim > KI_GRAPH_DIM_MAX || bytes < sizeof(head)) return 0;
    memcpy(&head, from, sizeof(head));
    if (!head_holds(&head, rows, dim) || bytes != model_bytes(dim, head.entries)) return 0;
    const float *centre = (const float *)(const void *)(from + sizeof(head));
    const uint32_t *entry = (const uint32_t *)(const void *)(from + entries_at(dim));
    for (size_t j = 0; j < dim; j++)
        if (!isfinite(centre[j])) return 0;
    for (uint32_t e = 0; e < head.entries; e++)
        if (entry[e] >= rows) return 0;
    *graph = (ki_graph){.degree = head.degree,
                        .bits = head.bits,
                        .width = head.width,
                        .row_bytes = ki_graph_row_bytes(head.degree, head.bits, head.width),
                        .limit = head.limit,
                        .centre = centre,
                        .signs = from + signs_at(dim),
                        .entries = head.entries,
                        .entry = entry,
                        .entry_rows = from + entry_rows_at(dim, head.entries)};
    return 1;
}

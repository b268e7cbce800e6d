/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph of an index: what was asked for, checked; its parts, planned; and made when the originals lie in the
 * segment, from where it reads them.
 *
 * Sizes of parts are planned before there is a graph: they follow from rows, dimension, degree and bits alone. */
#include "base/checked.h"
#include "base/status.h"
#include "build/build.h"
#include "graph/build.h"
#include "index/index.h"
#include "kernel/distance.h"

#include <stdlib.h>

/* ---- What was asked for ------------------------------------------------------------------------------------------ */

/* Rows from which on an index that nobody has named gets a graph. */
static const uint64_t auto_rows = 20000;

static ki_graph_input input_of(const ki_build *b) {
    return (ki_graph_input){.rows = b->source.rows,
                            .dim = b->source.dim,
                            .metric = b->recipe.metric,
                            .centre = b->recipe.level1_centre,
                            .lists = 1,
                            .degree = b->graph.degree,
                            .bits = b->graph.bits,
                            .seed = b->options.seed,
                            .pool = b->pool,
                            .progress = b->options.progress,
                            .progress_context = b->options.progress_context};
}

static uint64_t mebibytes(uint64_t bytes) {
    return (bytes >> 20) + 1;
}

/* Whether a graph is of use to single queries, and can be made, where nobody asks for one. */
static int wants_graph(const ki_build *b) {
    const ki_graph_input input = input_of(b);
    return auto_rows && b->source.rows >= auto_rows && b->recipe.dtype != KITH_B1 &&
           b->source.dim <= KI_GRAPH_DIM_MAX && b->options.originals == KITH_ORIGINALS_KEEP &&
           ki_graph_build_bytes(&input) <= b->options.memory_bytes;
}

static kith_status check_graph(const ki_build *b) {
    const ki_graph_input input = input_of(b);
    const uint64_t needed = ki_graph_build_bytes(&input);
    if (b->recipe.dtype == KITH_B1)
        return ki_fail(b->error, KITH_E_UNSUPPORTED, "%s: a graph needs vectors of numbers, these are bits",
                       ki_build_path(b));
    if (b->source.dim > KI_GRAPH_DIM_MAX)
        return ki_fail(b->error, KITH_E_UNSUPPORTED, "%s: a graph has at most %d dimensions, these vectors have %zu",
                       ki_build_path(b), KI_GRAPH_DIM_MAX, b->source.dim);
    if (b->options.originals != KITH_ORIGINALS_KEEP)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "a graph needs the stored vectors: it cannot be built without them");
    if (needed > b->options.memory_bytes)
        return ki_fail(b->error, KITH_E_LIMIT,
                       "%s: a graph of %llu vectors takes about %llu MiB of working memory, %llu MiB may be used",
                       ki_build_path(b), (unsigned long long)b->source.rows, (unsigned long long)mebibytes(needed),
                       (unsigned long long)(b->options.memory_bytes >> 20));
    return KITH_OK;
}

kith_status ki_build_check_graph(ki_build *b) {
    const kith_build_options *o = &b->options;
    b->graph = (ki_build_graph){0};
    if (o->index != KITH_INDEX_AUTO && o->index != KITH_INDEX_GRAPH) return KITH_OK;
    if (o->graph_degree && o->graph_degree != 32 && o->graph_degree != 48 && o->graph_degree != 64)
        return ki_fail(b->error, KITH_E_ARG, "graph_degree is 32, 48 or 64, not %u", o->graph_degree);
    if (o->graph_bits > 4 || o->graph_bits == 3)
        return ki_fail(b->error, KITH_E_ARG, "graph_bits is 1, 2 or 4, not %u", o->graph_bits);
    if (o->graph_lean && o->graph_bits)
        return ki_fail(b->error, KITH_E_ARG, "a lean graph has no codes of edges: graph_bits cannot be %u",
                       o->graph_bits);
    b->graph.degree = o->graph_degree ? o->graph_degree : 32;
    b->graph.wanted = o->index == KITH_INDEX_GRAPH || wants_graph(b);
    return o->index == KITH_INDEX_GRAPH ? check_graph(b) : KITH_OK;
}

void ki_build_choose_bits(ki_build *b, const float *sample, size_t count) {
    const kith_build_options *o = &b->options;
    if (!b->graph.wanted || o->graph_lean) return;
    b->graph.bits = o->graph_bits ? o->graph_bits : ki_graph_bits(sample, count, b->source.dim);
}

/* ---- Its parts --------------------------------------------------------------------------------------------------- */

void ki_build_plan_graph(const ki_build *b, ki_part_plan *plan, size_t *n) {
    const uint64_t rows = b->source.rows, model = ki_graph_model_bytes(b->source.dim, rows);
    if (!b->graph.wanted) return;
    const uint64_t row_bytes = ki_graph_row_bytes(b->graph.degree, b->graph.bits, ki_graph_width(b->source.dim));
    plan[(*n)++] = (ki_part_plan){KI_PART_GRAPH_MODEL, model, model};
    plan[(*n)++] = (ki_part_plan){KI_PART_GRAPH_ROWS, rows * row_bytes, rows};
}

struct graph_files {
    ki_build *b;
    uint64_t row_bytes; /* of the graph */
    /* The unfinished index, its lists searched for candidates of edges. */
    kith_index *index;
    kith_scratch *scratch;
    uint64_t *label; /* positions: in a preview vectors have no ids yet */
    uint64_t *ids;
    float *distances;
    ki_build_frozen frozen; /* or links that were given */
};

static kith_status read_rows(void *context, uint64_t first, size_t count, float *to, kith_error *error) {
    const struct graph_files *files = context;
    const ki_build *b = files->b;
    const uint64_t row_bytes = b->recipe.row_bytes;
    uint8_t *rows = ki_alloc_array(count, row_bytes);
    if (!rows) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu vectors", count);
    const kith_status status =
        ki_segment_get(b->writer, KI_PART_ORIGINALS, first * row_bytes, rows, count * row_bytes, error);
    if (status == KITH_OK) ki_distance()->to_f32[b->recipe.dtype](rows, count * b->recipe.dim, to);
    free(rows);
    return status;
}

static kith_status write_rows(void *context, uint64_t first, size_t count, const void *rows, kith_error *error) {
    const struct graph_files *files = context;
    return ki_segment_put(files->b->writer, KI_PART_GRAPH_ROWS, first * files->row_bytes, rows,
                          count * files->row_bytes, error);
}

/* ---- Candidates of edges ----------------------------------------------------------------------------------------- */

enum {
    ASK = 4096,
    LISTS = 40,
    FEW = 32768 /* vectors among which exact searches take a second */
};

/* Lists are worth searching where they are many. */
static int lists_tell(const ki_build *b) {
    return b->lists.count >= 4 * LISTS;
}

static int searches_tell(const ki_build *b) {
    return lists_tell(b) || b->source.rows <= FEW;
}

static void close_preview(struct graph_files *files) {
    ki_build_frozen_free(&files->frozen);
    kith_scratch_destroy(files->scratch);
    kith_index_close(files->index);
    free(files->label);
    free(files->ids);
    free(files->distances);
}

/* The lists that a vector lies near to hold most of its neighbours: asked for as searches ask; all vectors where they
 * are few. Or the links of an HNSW that was given. */
static kith_status search_near(void *context, uint64_t first, size_t count, size_t each, uint32_t *found,
                               kith_error *error) {
    struct graph_files *files = context;
    if (files->frozen.view) {
        ki_build_frozen_near(&files->frozen, first, count, each, found);
        return KITH_OK;
    }
    const ki_view *view = &files->index->view;
    const size_t k = each + 1;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    if (lists_tell(files->b)) {
        options.plan = KITH_PLAN_IVF;
        options.nprobe = LISTS;
        options.code = view->level1.blocks ? KITH_SCAN_FIRST : KITH_SCAN_INT8;
        options.rerank = view->level1.blocks ? k + k / 2 : k;
    }
    for (size_t done = 0; done < count; done += ASK) {
        kith_queries queries = KITH_QUERIES_INIT;
        queries.data = view->originals + (first + done) * view->row_bytes;
        queries.dtype = view->dtype;
        queries.count = ki_min_size(ASK, count - done);
        queries.dim = view->dim;
        const kith_status status =
            kith_search(files->index, &queries, k, &options, files->scratch, files->ids, files->distances, error);
        if (status != KITH_OK) return status;
        for (size_t i = 0; i < queries.count; i++) {
            uint32_t *to = found + (done + i) * each;
            size_t used = 0;
            for (size_t j = 0; j < k && used < each; j++) {
                const uint64_t id = files->ids[i * k + j];
                if (id < view->rows && id != first + done + i) to[used++] = (uint32_t)id;
            }
            for (; used < each; used++) to[used] = UINT32_MAX;
        }
    }
    return KITH_OK;
}

/* A model that holds, so that the unfinished file can be opened. */
static kith_status put_first_model(ki_build *b) {
    const size_t bytes = (size_t)ki_graph_model_bytes(b->source.dim, b->source.rows);
    void *model = ki_graph_first_model(b->source.dim, b->source.rows, b->graph.degree, b->graph.bits);
    if (!model) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for the model of a graph");
    const kith_status status = ki_segment_put(b->writer, KI_PART_GRAPH_MODEL, 0, model, bytes, b->error);
    free(model);
    return status;
}

static kith_status open_preview(struct graph_files *files) {
    ki_build *b = files->b;
    const size_t k = b->graph.degree + b->graph.degree / 2 + 1;
    ki_segment_head head = ki_build_head(b);
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    ki_segment *segment = NULL;
    open.no_sigbus_handler = b->options.no_sigbus_handler;
    head.id_kind = KITH_ID_U64; /* strings and names are not written yet */
    head.flags &= ~(uint32_t)KI_SEGMENT_NAMES;
    kith_status status = put_first_model(b);
    if (status == KITH_OK) status = ki_segment_preview(b->writer, &head, &open, &segment, b->error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &files->index, b->error);
    if (status != KITH_OK) return status;
    files->label = ki_alloc_array(b->source.rows, sizeof(*files->label));
    files->ids = ki_alloc_array((uint64_t)ASK * k, sizeof(*files->ids));
    files->distances = ki_alloc_array((uint64_t)ASK * k, sizeof(*files->distances));
    if (!files->label || !files->ids || !files->distances)
        return ki_fail(b->error, KITH_E_NOMEM, "out of memory for candidates of a graph's edges");
    for (uint64_t v = 0; v < b->source.rows; v++) files->label[v] = v;
    files->index->view.labels = files->label;
    return kith_scratch_create(files->index, b->pool, &files->scratch, b->error);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* Vectors that were kept to be coded are in the segment now. */
static void forget_rows(ki_build *b) {
    free(b->lists.kept);
    b->lists.kept = NULL;
    b->lists.all = NULL;
}

static kith_status put_graph(ki_build *b, const ki_graph_input *input, struct graph_files *files) {
    ki_graph_build *graph = NULL;
    size_t bytes = 0, row_bytes = 0;
    kith_status status = ki_build_frozen_start(b, &files->frozen);
    if (status == KITH_OK && !files->frozen.view && searches_tell(b)) status = open_preview(files);
    if (status == KITH_OK) status = ki_graph_build_start(input, &graph, b->error);
    close_preview(files);
    if (status != KITH_OK) return status;
    const void *model = ki_graph_build_model(graph, &bytes, &row_bytes);
    files->row_bytes = row_bytes;
    status = ki_segment_put(b->writer, KI_PART_GRAPH_MODEL, 0, model, bytes, b->error);
    if (status == KITH_OK) status = ki_graph_build_rows(graph, b->error);
    ki_graph_build_free(graph);
    return status;
}

kith_status ki_build_make_graph(ki_build *b) {
    struct graph_files files = {.b = b};
    ki_graph_input input = input_of(b);
    uint32_t *first_row = NULL;
    if (!b->graph.wanted) return KITH_OK;
    forget_rows(b);
    input.read = read_rows;
    input.write = write_rows;
    input.near = b->options.links || searches_tell(b) ? search_near : NULL;
    input.context = &files;
    if (b->lists.count) {
        first_row = ki_alloc_array_zeroed((uint64_t)b->lists.count + 1, sizeof(*first_row));
        if (!first_row) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %zu lists", b->lists.count);
        for (size_t l = 0; l < b->lists.count; l++) first_row[l + 1] = first_row[l] + b->lists.rows_of[l];
        input.lists = b->lists.count;
        input.first_row = first_row;
        input.centroids = b->lists.kmeans.centroids;
    }
    const kith_status status = put_graph(b, &input, &files);
    free(first_row);
    return status;
}

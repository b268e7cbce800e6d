/* SPDX-License-Identifier: Apache-2.0
 *
 * The HNSW of an index: what was asked for, checked; and made when the vectors lie in the segment, which it reads
 * through a preview. It is a section behind the others. One thread makes equal bytes of equal input; several make a
 * graph that depends on who was first (hnsw/hnsw.h W5). */
#include "hnsw/hnsw.h"
#include "base/checked.h"
#include "base/status.h"
#include "build/build.h"
#include "index/index.h"

#include <stdlib.h>

static uint32_t degree_of(const ki_build *b) {
    return b->options.hnsw_m ? b->options.hnsw_m : KI_HNSW_M_DEFAULT;
}

kith_status ki_build_check_hnsw(ki_build *b) {
    const kith_build_options *o = &b->options;
    const uint32_t m = degree_of(b);
    if (o->index != KITH_INDEX_HNSW) return KITH_OK;
    if (m < 2 || m > KI_HNSW_M_MAX)
        return ki_fail(b->error, KITH_E_ARG, "hnsw_m is %u, 2 to %d are possible", m, (int)KI_HNSW_M_MAX);
    if (o->hnsw_ef && (o->hnsw_ef < m || o->hnsw_ef > KI_HNSW_EF_MAX))
        return ki_fail(b->error, KITH_E_ARG, "hnsw_ef is %u, hnsw_m (%u) to %d are possible", o->hnsw_ef, m,
                       (int)KI_HNSW_EF_MAX);
    if (o->originals != KITH_ORIGINALS_KEEP)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "an HNSW needs the stored vectors: it cannot be built without them");
    if (b->source.rows > KI_HNSW_ROWS_MAX)
        return ki_fail(b->error, KITH_E_LIMIT, "%s: has %llu rows, an HNSW holds at most %u", ki_build_path(b),
                       (unsigned long long)b->source.rows, KI_HNSW_ROWS_MAX);
    const size_t row = ki_hnsw_row_bytes(m, ki_hnsw_code_bytes(b->recipe.dtype, b->source.dim));
    const uint64_t mebibytes = (b->source.rows * (row + 16) >> 20) + 1;
    if (mebibytes > b->options.memory_bytes >> 20)
        return ki_fail(b->error, KITH_E_LIMIT,
                       "%s: an HNSW of %llu vectors takes about %llu MiB of working memory, %llu MiB may be used",
                       ki_build_path(b), (unsigned long long)b->source.rows, (unsigned long long)mebibytes,
                       (unsigned long long)(b->options.memory_bytes >> 20));
    return KITH_OK;
}

static const void *vector_of(void *context, uint32_t number) {
    const ki_view *view = context;
    return view->originals + (size_t)number * view->row_bytes;
}

static kith_status fill(ki_build *b, ki_view *view, ki_hnsw **graph) {
    const ki_hnsw_options options = {.metric = view->metric,
                                     .dtype = view->dtype,
                                     .dim = view->dim,
                                     .m = degree_of(b),
                                     .ef = b->options.hnsw_ef ? b->options.hnsw_ef : KI_HNSW_EF_DEFAULT,
                                     .seed = b->options.seed,
                                     .capacity = (uint32_t)view->rows,
                                     .one_piece = 1,
                                     .centre = view->centre,
                                     .vector = vector_of,
                                     .context = view};
    const kith_status status = ki_hnsw_create(&options, graph, b->error);
    if (status != KITH_OK) return status;
    return ki_hnsw_fill(*graph, b->pool, b->options.progress, b->options.progress_context, b->error);
}

static kith_status append(ki_build *b, const ki_hnsw *graph) {
    void *model = NULL;
    const void *rows = NULL;
    size_t model_bytes = 0;
    uint64_t rows_bytes = 0;
    kith_status status = ki_hnsw_save(graph, &model, &model_bytes, &rows, &rows_bytes, b->error);
    if (status != KITH_OK) return status;
    const ki_part_data parts[2] = {{{KI_PART_HNSW_MODEL, model_bytes, model_bytes}, model},
                                   {{KI_PART_HNSW_LINKS, rows_bytes, b->source.rows}, rows}};
    status = ki_segment_append(b->writer, parts, 2, b->error);
    free(model);
    return status;
}

kith_status ki_build_hnsw(ki_build *b, const ki_segment_head *head) {
    ki_segment *segment = NULL;
    kith_index *index = NULL;
    ki_hnsw *graph = NULL;
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    if (b->options.index != KITH_INDEX_HNSW) return KITH_OK;
    open.no_sigbus_handler = b->options.no_sigbus_handler;
    kith_status status = ki_segment_preview(b->writer, head, &open, &segment, b->error);
    if (status == KITH_OK) status = ki_index_of_segment(segment, &index, b->error);
    if (status == KITH_OK) status = fill(b, &index->view, &graph);
    kith_index_close(index);
    if (status == KITH_OK) status = append(b, graph);
    ki_hnsw_destroy(graph);
    return status;
}

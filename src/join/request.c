/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "join/join.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"

#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define MEMORY_LEAST   (UINT64_C(16) << 20)
#define MEMORY_DEFAULT (UINT64_C(256) << 20)
enum { BATCH_MOST = 16384 };

/* All that a plan's choice and the output depend on, without padding: hashed as bytes. */
struct fingerprint {
    uint64_t k, format, plan, nprobe, rerank, effort, code, filter, filtered, batch, self, rows, dim, dtype, id_kind;
    double target_recall;
    char version[24];
};

static kith_status check_options(const kith_join_options *o, int self, kith_error *error) {
    const size_t most = KITH_K_MAX - (self != 0);
    if (o->k == 0 || o->k > most)
        return ki_fail(error, KITH_E_ARG, "kith_join: k is %zu, 1 to %zu are possible", o->k, most);
    if ((unsigned)o->format > KITH_JOIN_NDJSON)
        return ki_fail(error, KITH_E_ARG, "kith_join: format %d is unknown", (int)o->format);
    if (o->memory_bytes && o->memory_bytes < MEMORY_LEAST)
        return ki_fail(error, KITH_E_ARG, "kith_join: memory_bytes is %llu, at least %llu are needed",
                       (unsigned long long)o->memory_bytes, (unsigned long long)MEMORY_LEAST);
    return KITH_OK;
}

static kith_status set_queries(ki_join_request *request, kith_error *error) {
    const ki_view *view = &request->index->view;
    const kith_reader *queries = request->queries;
    const char *path = ki_segment_path(request->index->segment);
    if (!queries) {
        if (!view->originals)
            return ki_fail(error, KITH_E_UNSUPPORTED,
                           "%s: was built without originals, which a join of its own vectors needs", path);
        request->dtype = view->dtype;
        request->id_kind = request->index->id_kind;
        request->rows = view->rows;
    } else {
        if (queries->dim != view->dim)
            return ki_fail(error, KITH_E_ARG, "%s: has queries of %zu dimensions, the vectors of %s have %zu",
                           queries->path, queries->dim, path, view->dim);
        if ((queries->dtype == KITH_B1) != (view->dtype == KITH_B1))
            return ki_fail(error, KITH_E_ARG, "%s: its %s queries do not fit the %s vectors of %s", queries->path,
                           kith_dtype_name(queries->dtype), kith_dtype_name(view->dtype), path);
        request->dtype = queries->dtype;
        request->id_kind = queries->id_kind;
        request->rows = queries->rows;
    }
    request->row_bytes = kith_row_bytes(request->dtype, view->dim);
    return KITH_OK;
}

static void set_format(ki_join_request *request, const char *out) {
    const int text = ki_suffix_is(out, ".ndjson") || ki_suffix_is(out, ".jsonl");
    request->format = request->options.format;
    if (request->format == KITH_JOIN_AUTO) request->format = text ? KITH_JOIN_NDJSON : KITH_JOIN_NPY;
}

/* Half of the memory for queries and results; the rest is for text. Where a recall is asked for, the planner looks at
 * the size of a batch, which must then not depend on the memory of the day. */
static void set_batch(ki_join_request *request) {
    const kith_join_options *o = &request->options;
    const uint64_t asked = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT;
    request->even = o->target_recall > 0 && o->target_recall < 1;
    const uint64_t memory = (request->even ? MEMORY_LEAST : asked) / 2;
    const uint64_t each =
        request->row_bytes + 6 * sizeof(uint64_t) + (request->wanted + o->k) * (sizeof(uint64_t) + sizeof(float));
    const uint64_t most = ki_min_u64(memory / each, o->batch ? ki_min_u64(o->batch, KITH_QUERIES_MAX) : BATCH_MOST);
    request->batch = most ? (size_t)most : 1;
}

static void set_hashes(ki_join_request *request) {
    const kith_join_options *o = &request->options;
    const kith_filter *filter = o->filter;
    struct fingerprint f;
    kith_index_info info;
    ki_segment_info(request->index->segment, &info);
    request->index_hash = info.file_hash;
    memset(&f, 0, sizeof(f));
    f.k = o->k;
    f.format = request->format;
    f.plan = o->plan;
    f.nprobe = o->nprobe;
    f.rerank = o->rerank;
    f.effort = o->effort;
    f.code = o->code;
    f.target_recall = o->target_recall;
    f.filtered = filter != NULL;
    f.filter = filter ? XXH3_64bits(filter->allowed, filter->words * sizeof(*filter->allowed)) : 0;
    f.batch = request->even ? request->batch : 0;
    f.self = request->queries == NULL;
    f.rows = request->rows;
    f.dim = request->index->view.dim;
    f.dtype = request->dtype;
    f.id_kind = request->id_kind;
    strncpy(f.version, kith_version(), sizeof(f.version) - 1);
    request->hash = XXH3_64bits(&f, sizeof(f));
}

kith_status ki_join_request_make(const kith_index *index, kith_reader *queries, const char *out,
                                 const kith_join_options *options, ki_join_request *request, kith_error *error) {
    kith_join_options today = KITH_JOIN_OPTIONS_INIT;
    const kith_join_options *o = &today;
    if (!index || !out) return ki_fail(error, KITH_E_ARG, "kith_join: index or out is NULL");
    if (!*out) return ki_fail(error, KITH_E_ARG, "kith_join: the name of the output is empty");
    kith_status status = ki_grown_read(KI_GROWN_JOIN_OPTIONS, options, &today, error);
    if (status == KITH_OK) status = check_options(o, queries == NULL, error);
    if (status != KITH_OK) return status;
    if (o->filter && o->filter->index != index)
        return ki_fail(error, KITH_E_ARG, "kith_join: the filter belongs to another index");
    *request = (ki_join_request){.index = index, .queries = queries, .options = *o};
    request->wanted = o->k + (queries == NULL);
    status = set_queries(request, error);
    if (status != KITH_OK) return status;
    set_format(request, out);
    set_batch(request);
    set_hashes(request);
    return KITH_OK;
}

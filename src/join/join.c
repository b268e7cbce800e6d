/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_join(): batch after batch is read, searched and written, with a checkpoint now and then. */
#include "join/join.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/pool.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* A batch of about a second, but of enough queries to share what they read: progress moves, and an interruption loses
 * little. A checkpoint waits until ten times what the one before took has passed, so that a slow disk does not hold up
 * the work. */
enum { FIRST_BATCH = 4096, LEAST_BATCH = 2048, PATIENCE = 10 };
static const uint64_t BATCH_NS = 1000000000, CHECKPOINT_NS = 2000000000;

struct join {
    ki_join_request request;
    ki_join_files files;
    ki_join_state state;
    ki_join_source source;
    ki_join_output output;
    kith_pool *own_pool;
    kith_scratch *scratch;
    uint64_t *found; /* batch x wanted; a self-join's are copied to output without the query itself */
    float *found_distances;
    kith_explain explain;
    int approximate, cancelled;
    const char *restarted;
    uint64_t resumed, search_ns;
    uint64_t saved, checkpoint_at_ns; /* queries of the last checkpoint, and when the next is due */
    size_t batch;                     /* queries of the next search */
};

static int is_self(const struct join *join) {
    return join->request.queries == NULL;
}

static int report_progress(struct join *join, const char *stage, uint64_t done, uint64_t total) {
    const kith_join_options *o = &join->request.options;
    const kith_progress now = {sizeof(now), stage, "queries", done, total};
    if (o->progress && o->progress(o->progress_context, &now)) join->cancelled = 1;
    return join->cancelled;
}

static kith_status fail_cancelled(kith_error *error) {
    return ki_fail(error, KITH_E_CANCELLED, "the join was cancelled");
}

/* ---- Searching a batch ------------------------------------------------------------------------------------------- */

/* Fits the cancelled callback of searches, which is asked from the calling thread. */
static int poll_cancelled(void *context) {
    struct join *join = context;
    return report_progress(join, "joining", join->state.done, join->request.rows);
}

/* "query 3 holds a NaN": people need the row of their file, or the stored vector's id. */
static kith_status fail_query(const struct join *join, const kith_error *from, kith_error *error) {
    const char *path = ki_segment_path(join->request.index->segment);
    unsigned long long query = 0;
    int used = 0;
    if (is_self(join) && ki_segment_damaged(join->request.index->segment))
        return ki_fail(error, KITH_E_CORRUPT, "%s: the file was truncated, overwritten or lost pages while it was open",
                       path);
    if (sscanf(from->text, "query %llu %n", &query, &used) != 1 || used == 0 || query >= join->source.count)
        return ki_fail(error, from->status, "%s", from->text);
    if (is_self(join))
        return ki_fail(error, KITH_E_CORRUPT, "%s: the stored vector of id %llu %s", path,
                       (unsigned long long)join->source.ids[query], from->text + used);
    const kith_reader *reader = join->request.queries;
    return ki_fail(error, KITH_E_DATA, "%s: row %llu %s", reader->path,
                   (unsigned long long)(reader->first_row + join->source.first + query), from->text + used);
}

static kith_search_options search_options(struct join *join) {
    const kith_join_options *o = &join->request.options;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = o->plan;
    options.filter = o->filter;
    options.target_recall = o->target_recall;
    options.nprobe = o->nprobe;
    options.rerank = o->rerank;
    options.effort = o->effort;
    options.code = o->code;
    options.cancelled = o->progress ? poll_cancelled : NULL;
    options.cancelled_context = join;
    return options;
}

/* A search of nothing tells whether the options are fine, before anything is changed. */
static kith_status check_options(struct join *join, kith_error *error) {
    const kith_search_options options = search_options(join);
    const kith_queries queries = KITH_QUERIES_INIT;
    return kith_search(join->request.index, &queries, join->request.wanted, &options, join->scratch, NULL, NULL, error);
}

static kith_status search_batch(struct join *join, kith_error *error) {
    const ki_join_request *request = &join->request;
    kith_search_options options = search_options(join);
    kith_queries queries = KITH_QUERIES_INIT;
    kith_error local = {0};
    options.explain = &join->explain;
    queries.data = join->source.data;
    queries.dtype = request->dtype;
    queries.count = join->source.count;
    queries.dim = request->index->view.dim;
    const uint64_t start = ki_now_ns();
    const kith_status status = kith_search(request->index, &queries, request->wanted, &options, join->scratch,
                                           join->found, join->found_distances, &local);
    join->search_ns += ki_now_ns() - start;
    if (status == KITH_E_CANCELLED) return fail_cancelled(error);
    if (status == KITH_E_DATA) return fail_query(join, &local, error);
    if (status != KITH_OK && error) *error = local;
    join->approximate |= !join->explain.exact;
    return status;
}

/* k of the k+1 results of each query: without the query itself, or else without the last. */
static void leave_out_self(struct join *join) {
    const size_t k = join->request.options.k;
    for (size_t i = 0; i < join->source.count; i++) {
        const uint64_t *ids = join->found + i * (k + 1);
        const float *distances = join->found_distances + i * (k + 1);
        size_t at = 0;
        while (at < k && ids[at] != join->source.ids[i]) at++;
        memcpy(join->output.ids + i * k, ids, at * sizeof(*ids));
        memcpy(join->output.ids + i * k + at, ids + at + 1, (k - at) * sizeof(*ids));
        memcpy(join->output.distances + i * k, distances, at * sizeof(*distances));
        memcpy(join->output.distances + i * k + at, distances + at + 1, (k - at) * sizeof(*distances));
    }
}

static kith_status write_batch(struct join *join, kith_error *error) {
    uint64_t bytes = join->state.text_bytes;
    if (is_self(join)) leave_out_self(join);
    const kith_status status = join->request.format == KITH_JOIN_NPY ? ki_join_arrays_write(&join->output, error)
                                                                     : ki_join_text_write(&join->output, &bytes, error);
    if (status != KITH_OK) return status;
    join->state.text_bytes = bytes;
    join->state.queries = join->source.hash;
    join->state.done += join->source.count;
    return KITH_OK;
}

/* ---- All batches ------------------------------------------------------------------------------------------------- */

static kith_status checkpoint(struct join *join, kith_error *error) {
    const kith_join_options *o = &join->request.options;
    const uint64_t start = ki_now_ns(), least = o->checkpoint_ns ? o->checkpoint_ns : CHECKPOINT_NS;
    const kith_status status = ki_join_files_checkpoint(&join->files, &join->state, error);
    const uint64_t now = ki_now_ns(), wait = (now - start) * PATIENCE;
    if (status == KITH_OK) join->saved = join->state.done;
    join->checkpoint_at_ns = now + (wait > least && !o->checkpoint_ns ? wait : least);
    return status;
}

static void size_next_batch(struct join *join, uint64_t took_ns) {
    if (join->request.even || join->request.options.batch) return;
    const double next = (double)join->source.count * (double)BATCH_NS / (double)(took_ns + 1);
    const size_t most = join->request.batch;
    join->batch = next >= (double)most ? most : ki_min_size(most, next < LEAST_BATCH ? LEAST_BATCH : (size_t)next);
}

static kith_status run_batch(struct join *join, kith_error *error) {
    const uint64_t start = ki_now_ns();
    const size_t count = (size_t)ki_min_u64(join->batch, join->request.rows - join->state.done);
    kith_status status = ki_join_source_next(&join->source, count, error);
    if (status == KITH_OK) status = search_batch(join, error);
    if (status == KITH_OK) status = write_batch(join, error);
    if (status != KITH_OK) return status;
    const uint64_t now = ki_now_ns();
    size_next_batch(join, now - start);
    return now >= join->checkpoint_at_ns && join->state.done < join->request.rows ? checkpoint(join, error) : KITH_OK;
}

static kith_status run_batches(struct join *join, kith_error *error) {
    const uint64_t rows = join->request.rows;
    kith_status status = KITH_OK;
    const uint64_t least = join->request.options.checkpoint_ns;
    join->checkpoint_at_ns = ki_now_ns() + (least ? least : CHECKPOINT_NS);
    if (report_progress(join, "joining", join->state.done, rows)) status = fail_cancelled(error);
    while (join->state.done < rows && status == KITH_OK) {
        status = run_batch(join, error);
        if (status == KITH_OK && report_progress(join, "joining", join->state.done, rows))
            status = fail_cancelled(error);
    }
    /* What was done is worth keeping whatever happened; that it cannot be kept is not what went wrong. */
    if (status != KITH_OK && join->state.done > join->saved) {
        const kith_status kept = checkpoint(join, NULL);
        (void)kept;
    }
    return status;
}

/* ---- Going on ---------------------------------------------------------------------------------------------------- */

/* Read the queries that were done again. *same: they are what they were. */
static kith_status check_queries(struct join *join, const ki_join_state *state, int *same, kith_error *error) {
    kith_status status = KITH_OK;
    for (uint64_t done = 0; done < state->done && status == KITH_OK; done += join->source.count) {
        if (report_progress(join, "checking", done, state->done)) return fail_cancelled(error);
        status = ki_join_source_next(&join->source, (size_t)ki_min_u64(join->request.batch, state->done - done), error);
    }
    *same = join->source.hash == state->queries;
    return status;
}

static const char *difference(struct join *join, const ki_join_state *state) {
    const ki_join_request *request = &join->request;
    uint64_t expected[KI_JOIN_PARTS] = {state->text_bytes, 0};
    if (state->index != request->index_hash) return "the index is another one";
    if (state->request != request->hash || state->rows != request->rows) return "the queries or options are others";
    for (size_t i = 0; i < join->files.count && request->format == KITH_JOIN_NPY; i++)
        expected[i] = ki_join_array_bytes(request, i);
    return ki_join_files_match(&join->files, state, expected) ? NULL : "its .part files are missing or were changed";
}

/* Take up an earlier join's work; *why says why not. */
static kith_status take_up(struct join *join, const char **why, kith_error *error) {
    ki_join_state state;
    kith_status status = ki_join_state_load(join->files.state_path, &state, why, error);
    if (status != KITH_OK || *why) return status;
    *why = difference(join, &state);
    if (*why) return KITH_OK;
    if (!is_self(join)) {
        int same = 0;
        status = check_queries(join, &state, &same, error);
        if (status != KITH_OK) return status;
        if (!same) *why = "the queries that were done are others now";
        if (*why) return KITH_OK;
    } else {
        join->source.first = state.done;
    }
    if (join->request.format == KITH_JOIN_NDJSON && state.done < state.rows)
        status = ki_outfile_cut(&join->files.part[0], state.text_bytes, error);
    join->state = state;
    join->saved = join->resumed = state.done;
    return status;
}

static kith_status begin_anew(struct join *join, kith_error *error) {
    join->state =
        (ki_join_state){.index = join->request.index_hash, .request = join->request.hash, .rows = join->request.rows};
    kith_status status = ki_join_source_rewind(&join->source, error);
    if (status == KITH_OK) status = ki_join_files_reset(&join->files, error);
    if (status == KITH_OK && join->request.format == KITH_JOIN_NPY) status = ki_join_arrays_begin(&join->output, error);
    return status;
}

static kith_status begin(struct join *join, kith_error *error) {
    const char *why = "";
    kith_status status = ki_join_source_rewind(&join->source, error);
    if (status == KITH_OK && !join->request.options.restart) status = take_up(join, &why, error);
    if (status != KITH_OK || !why) return status;
    join->restarted = why;
    return begin_anew(join, error);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status take_memory(struct join *join, kith_error *error) {
    const ki_join_request *request = &join->request;
    kith_status status = KITH_OK;
    kith_pool *pool = request->options.pool;
    if (!pool) status = kith_pool_create(request->options.threads, &join->own_pool, error);
    if (!pool) pool = join->own_pool;
    if (status == KITH_OK) status = kith_scratch_create(request->index, pool, &join->scratch, error);
    if (status == KITH_OK) status = check_options(join, error);
    if (status == KITH_OK) status = ki_join_source_open(&join->source, request, error);
    if (status != KITH_OK) return status;
    const size_t capacity = join->source.capacity, k = request->options.k;
    join->batch = request->even || request->options.batch ? request->batch : ki_min_size(request->batch, FIRST_BATCH);
    join->output = (ki_join_output){.request = request, .files = &join->files, .source = &join->source, .pool = pool};
    join->found = ki_alloc_array(capacity, request->wanted * sizeof(*join->found));
    join->found_distances = ki_alloc_array(capacity, request->wanted * sizeof(*join->found_distances));
    join->output.ids = is_self(join) ? ki_alloc_array(capacity, k * sizeof(uint64_t)) : join->found;
    join->output.distances = is_self(join) ? ki_alloc_array(capacity, k * sizeof(float)) : join->found_distances;
    if (!join->found || !join->found_distances || !join->output.ids || !join->output.distances)
        return ki_fail(error, KITH_E_NOMEM, "out of memory for the results of %zu queries", capacity);
    return KITH_OK;
}

static void give_back(struct join *join) {
    ki_join_files_close(&join->files);
    ki_join_output_end(&join->output);
    ki_join_source_close(&join->source);
    if (is_self(join)) {
        free(join->output.ids);
        free(join->output.distances);
    }
    free(join->found);
    free(join->found_distances);
    kith_scratch_destroy(join->scratch);
    kith_pool_destroy(join->own_pool);
}

static kith_status run(struct join *join, kith_error *error) {
    kith_status status = begin(join, error);
    if (status == KITH_OK) status = run_batches(join, error);
    /* Kept before the first rename, so that a kill between the two is made good. */
    if (status == KITH_OK && join->resumed < join->request.rows) status = checkpoint(join, error);
    return status == KITH_OK ? ki_join_files_finish(&join->files, error) : status;
}

static void fill_report(const struct join *join, uint64_t start, kith_join_report *report) {
    const ki_join_request *request = &join->request;
    uint64_t bytes = join->state.text_bytes;
    for (size_t i = 0; i < KI_JOIN_PARTS && request->format == KITH_JOIN_NPY; i++)
        bytes += ki_join_array_bytes(request, i);
    const kith_join_report today = {
        .struct_size = sizeof(today),
        .queries = request->rows,
        .resumed = join->resumed,
        .restarted = join->restarted,
        .plan = join->explain.plan,
        .plan_name = join->explain.plan_name ? join->explain.plan_name : "",
        .exact = !join->approximate,
        .total_ns = ki_now_ns() - start,
        .search_ns = join->search_ns,
        .output_bytes = bytes,
    };
    ki_grown_write(KI_GROWN_JOIN_REPORT, &today, report);
}

kith_status kith_join(const kith_index *index, kith_reader *queries, const char *out, const kith_join_options *options,
                      kith_join_report *report, kith_error *error) {
    const uint64_t start = ki_now_ns();
    struct join join = {.files = KI_JOIN_FILES_NONE, .explain = KITH_EXPLAIN_INIT, .restarted = ""};
    kith_status status = ki_grown_check(KI_GROWN_JOIN_REPORT, report, error);
    if (status == KITH_OK) status = ki_join_request_make(index, queries, out, options, &join.request, error);
    if (status != KITH_OK) return status;
    status = take_memory(&join, error);
    if (status == KITH_OK) status = ki_join_files_open(&join.files, &join.request, out, error);
    if (status == KITH_OK) status = run(&join, error);
    if (status == KITH_OK && report) fill_report(&join, start, report);
    give_back(&join);
    return status;
}

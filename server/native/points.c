/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing and deleting points. A body of JSON is one write, all of it or none. A body of lines (application/x-ndjson)
 * is written in batches: each of them all or none, in order; an error says up to which line all was written. */
#include <string.h>

#include "native/batch.h"

enum { BATCH_POINTS = 10000, BATCH_BYTES = 32 * 1048576 };

/* ---- One body ---------------------------------------------------------------------------------------------------- */

static int add_points(ks_v1_batch *batch, const json_t *points) {
    for (size_t i = 0; i < json_array_size(points); i++) {
        char where[48];
        snprintf(where, sizeof where, "point %zu", i + 1);
        if (ks_v1_batch_add(batch, json_array_get(points, i), where) != 0) return -1;
    }
    return 0;
}

static void write_body(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"mode", "points", NULL};
    const size_t max = ks_app_of(call)->limits.points_max;
    const char *word = "upsert";
    const json_t *points = NULL;
    kith_write_mode mode;
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    const json_t *body = ks_body(call, "an object with \"points\"");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_text(call, body, "mode", &word) < 0 ||
        ks_v1_mode(call, word, &mode) != 0)
        return;
    const int there = ks_member_array(call, body, "points", &points);
    if (there < 0) return;
    if (!there || json_array_size(points) < 1 || json_array_size(points) > max) {
        ks_call_fail(call, there && json_array_size(points) ? 413 : 400,
                     "\"points\" must be an array of 1..%zu points, and %zu are there", max,
                     there ? json_array_size(points) : 0);
        return;
    }
    ks_v1_batch *batch = ks_v1_batch_make(call, shop, mode);
    if (batch && add_points(batch, points) == 0 && ks_v1_batch_write(batch, &report) == KITH_OK)
        ks_v1_report(call, &report);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

struct lines {
    ks_call *call;
    ks_v1_batch *batch;
    kith_write_report sum;
    size_t line, written; /* this one, and up to which all was written */
    size_t bytes;         /* of the lines in the batch */
};

static int flush(struct lines *lines) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    if (lines->batch->count == 0) return 0;
    if (ks_v1_batch_write(lines->batch, &report) != KITH_OK) return -1;
    lines->sum.version = report.version;
    lines->sum.inserted += report.inserted;
    lines->sum.replaced += report.replaced;
    lines->sum.removed += report.removed;
    lines->sum.unmet += report.unmet;
    lines->written = lines->line;
    lines->bytes = 0;
    ks_v1_batch_clear(lines->batch);
    return 0;
}

static int add_line(struct lines *lines, const char *text, size_t bytes) {
    kith_error error = {0};
    char where[48];
    lines->line++;
    if (strspn(text, " \t\r") >= bytes) return 0;
    json_t *point = ks_parse_own(lines->call, text, bytes, &error);
    snprintf(where, sizeof where, "line %zu", lines->line);
    if (!point) {
        ks_call_fail(lines->call, error.status == KITH_E_NOMEM ? 503 : 400, "%s of the body: %s", where, error.text);
        return -1;
    }
    const int failed = ks_v1_batch_add(lines->batch, point, where);
    json_decref(point); /* a call may have a million lines */
    if (failed) return -1;
    lines->bytes += bytes;
    return lines->batch->count == BATCH_POINTS || lines->bytes >= BATCH_BYTES ? flush(lines) : 0;
}

/* Add to the error what was written before the line that failed. */
static void tell_written(struct lines *lines) {
    const ks_text said = lines->call->reply.body;
    const int status = lines->call->reply.status;
    if (!lines->written || said.failed) return;
    json_t *error = json_loadb(said.bytes, said.used, 0, NULL);
    const char *message = json_string_value(json_object_get(json_object_get(error, "error"), "message"));
    char *copy = message ? ks_call_copy(lines->call, message, strlen(message)) : NULL;
    json_decref(error);
    if (copy) ks_call_fail(lines->call, status, "%s (lines 1..%zu were written)", copy, lines->written);
}

static void write_lines(ks_call *call, ks_shop *shop) {
    const char *word = ks_call_argument(call, "mode");
    struct lines lines = {.call = call, .sum = KITH_WRITE_REPORT_INIT};
    kith_write_mode mode;
    if (ks_v1_mode(call, word ? word : "upsert", &mode) != 0) return;
    lines.batch = ks_v1_batch_make(call, shop, mode);
    if (!lines.batch) return;
    const char *at = call->body, *end = call->body + call->body_bytes;
    int failed = 0;
    while (at < end && !failed) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        failed = add_line(&lines, at, (size_t)((newline ? newline : end) - at));
        at = newline ? newline + 1 : end;
    }
    if (!failed) failed = flush(&lines);
    if (failed)
        tell_written(&lines);
    else if (lines.written == 0)
        ks_call_fail(call, 400, "the body has no points");
    else
        ks_v1_report(call, &lines.sum);
}

static void write_points(ks_call *call, ks_shop *shop) {
    if (ks_call_is_type(call, "application/x-ndjson"))
        write_lines(call, shop);
    else
        write_body(call, shop);
}

void ks_v1_points_write(ks_call *call) {
    ks_v1_work(call, KS_V1_CHANGES, write_points);
}

/* ---- Deleting ---------------------------------------------------------------------------------------------------- */

static void delete_where(ks_call *call, ks_shop *shop, const char *filter) {
    kith_error error = {0};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    if (ks_v1_bind(call, shop, filter, &filter) != 0) return;
    const kith_status status = kith_collection_delete_where(shop->collection, filter, &report, &error);
    if (status == KITH_OK)
        ks_v1_report(call, &report);
    else
        ks_call_fail_status(call, status, &error);
}

static void delete_ids(ks_call *call, ks_shop *shop, const kith_ids *ids, const uint64_t *if_version) {
    kith_error error = {0};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_status status;
    if (call->key->segment) {
        status = ks_v1_bound_delete(call, shop, ids, if_version, &report);
    } else {
        status = kith_collection_delete(shop->collection, ids, if_version, &report, &error);
        if (status != KITH_OK) ks_call_fail_status(call, status, &error);
    }
    if (status == KITH_OK) ks_v1_report(call, &report);
}

static void delete_points(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"ids", "if_version", "filter", NULL};
    const char *filter = NULL;
    const uint64_t *versions = NULL;
    size_t count = 0;
    kith_ids ids;
    const json_t *body = ks_body(call, "an object with \"ids\" or a \"filter\"");
    if (!body || ks_members_only(call, body, known) != 0 || ks_v1_filter(call, body, &filter) != 0) return;
    const json_t *given = json_object_get(body, "ids"), *if_version = json_object_get(body, "if_version");
    if (!given == !filter || (filter && if_version)) {
        ks_call_fail(call, 400, "say either \"ids\", and perhaps an \"if_version\" for each, or a \"filter\"");
        return;
    }
    if (filter && (!filter[strspn(filter, " \t\r\n")] || strcmp(filter, "{}") == 0)) {
        ks_call_fail(call, 400, "an empty filter matches everything: to delete all points, say \"true\"");
        return;
    }
    if (filter) {
        delete_where(call, shop, filter);
        return;
    }
    if (ks_v1_ids(call, shop, given, "ids", &ids) != 0) return;
    if (if_version && !(versions = ks_uints(call, if_version, "if_version", &count))) return;
    if (if_version && count != ids.count) {
        ks_call_fail(call, 400, "\"if_version\" has %zu numbers, and there are %zu ids", count, ids.count);
        return;
    }
    delete_ids(call, shop, &ids, versions);
}

void ks_v1_points_delete(ks_call *call) {
    ks_v1_work(call, KS_V1_CHANGES, delete_points);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: work that outlives its call. The call that begins one is answered with 202 and its number. */
#include <stdlib.h>
#include <string.h>

#include "native/inner.h"

static void forget_nothing(void *context) {
    (void)context;
}

void ks_v1_begin_job(ks_call *call, const char *kind, ks_job_fn *work, void (*forget)(void *context), void *context) {
    ks_app *app = ks_app_of(call);
    kith_error error = {0};
    uint64_t number = 0;
    ks_shop *shop = ks_v1_may_change(call) == 0 ? ks_v1_borrow(call) : NULL;
    if (shop && call->key->segment) {
        ks_call_fail(call, 403, "this key is bound to a segment, and jobs are of the whole collection");
        ks_shelf_return(app->shelf, shop);
        shop = NULL;
    }
    if (!shop) {
        if (forget) forget(context);
        ks_call_done(call);
        return;
    }
    const kith_status status =
        ks_run_job(app->run, kind, shop, work, forget ? forget : forget_nothing, context, &number, &error);
    if (status == KITH_OK) {
        call->reply.status = 202;
        ks_text_format(&call->reply.body, "{\"job\":%llu}", (unsigned long long)number);
        ks_v1_written(call);
    } else {
        ks_call_fail(call, 503, "%s", error.text);
    }
    ks_call_done(call);
}

/* ---- Compacting, measuring --------------------------------------------------------------------------------------- */

static kith_status compact(void *context, ks_shop *shop, kith_progress_fn progress, void *progress_context,
                           ks_text *made, kith_error *error) {
    (void)context;
    const kith_status status = kith_collection_compact(shop->collection, progress, progress_context, error);
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (status != KITH_OK || kith_collection_get_info(shop->collection, &info) != KITH_OK) return status;
    ks_text_format(made, "{\"items\":%llu,\"segments\":%zu,\"disk_bytes\":%llu}", (unsigned long long)info.items,
                   info.segments, (unsigned long long)info.disk_bytes);
    return KITH_OK;
}

static void begin_compact(ks_call *call, const char *kind) {
    if (call->body_bytes) {
        static const char *const none[] = {NULL};
        const json_t *body = ks_body(call, "empty");
        if (!body || ks_members_only(call, body, none) != 0) {
            ks_call_done(call);
            return;
        }
    }
    ks_v1_begin_job(call, kind, compact, NULL, NULL);
}

void ks_v1_compact(ks_call *call) {
    begin_compact(call, "compact");
}

/* Plans are measured when a collection is compacted; there is no other way to do it. */
void ks_v1_tune(ks_call *call) {
    begin_compact(call, "tune");
}

/* ---- What became of them ----------------------------------------------------------------------------------------- */

static void add_job(ks_json *json, const ks_job_info *info) {
    const int done = strcmp(info->state, "done") == 0;
    ks_json_object(json, NULL);
    ks_json_uint(json, "job", info->number);
    ks_json_text(json, "kind", info->kind);
    ks_json_text(json, "collection", info->collection);
    ks_json_text(json, "state", info->state);
    ks_json_text(json, "stage", info->stage);
    ks_json_text(json, "unit", info->unit);
    ks_json_uint(json, "done", info->done);
    ks_json_uint(json, "total", info->total);
    ks_json_uint(json, "started_ms", info->started_ms);
    ks_json_uint(json, "ended_ms", info->ended_ms);
    ks_json_verbatim(json, "made", info->text, done ? strlen(info->text) : 0);
    ks_json_text(json, "error", strcmp(info->state, "failed") == 0 ? info->text : NULL);
    ks_json_text(json, "error_kind", ks_v1_kind(info->status));
    ks_json_object_end(json);
}

void ks_v1_jobs(ks_call *call) {
    ks_app *app = ks_app_of(call);
    ks_job_info info;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "jobs");
    for (size_t place = 0; ks_run_job_at(app->run, place, &info); place++)
        if (ks_key_may_name(call->key, info.collection)) add_job(&json, &info);
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_v1_written(call);
    ks_call_done(call);
}

/* The one of the path; 0: the call was failed. */
static int find(ks_call *call, ks_job_info *info) {
    ks_app *app = ks_app_of(call);
    char *end = NULL;
    const char *text = call->parts[0];
    const unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    for (size_t place = 0; end && !*end && ks_run_job_at(app->run, place, info); place++)
        if (info->number == number && ks_key_may_name(call->key, info->collection)) return 1;
    ks_call_fail(call, 404, "there is no job %.32s; the last 256 are remembered", text);
    return 0;
}

void ks_v1_job(ks_call *call) {
    ks_job_info info;
    if (find(call, &info)) {
        ks_json json = KS_JSON(&call->reply.body);
        add_job(&json, &info);
        ks_v1_written(call);
    }
    ks_call_done(call);
}

void ks_v1_job_cancel(ks_call *call) {
    ks_job_info info;
    if (find(call, &info)) {
        const int there = ks_run_job_cancel(ks_app_of(call)->run, info.number);
        ks_text_format(&call->reply.body, "{\"cancelled\":%s}", there && !info.ended_ms ? "true" : "false");
        ks_v1_written(call);
    }
    ks_call_done(call);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /v1/stats: the figures of the last seconds, for the page and `kith top`. */
#include <stdio.h>
#include <unistd.h>

#include "native/inner.h"

/* What of the process lies in memory; 0: it cannot be told. */
static uint64_t resident_bytes(void) {
    unsigned long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    const long page = sysconf(_SC_PAGESIZE);
    if (!file) return 0;
    if (fscanf(file, "%lu %lu", &all, &resident) != 2 || page < 1) resident = 0;
    fclose(file);
    return (uint64_t)resident * (uint64_t)page;
}

void ks_v1_recall(ks_json *json, ks_app *app, const ks_shop *shop) {
    ks_recall recall;
    if (!app->watch || !ks_watch_recall(app->watch, shop->number, &recall)) {
        ks_json_null(json, "recall");
        return;
    }
    ks_json_object(json, "recall");
    ks_json_real(json, "mean", recall.mean);
    ks_json_real(json, "low", recall.low);
    ks_json_real(json, "high", recall.high);
    ks_json_uint(json, "checked", recall.checked);
    ks_json_object_end(json);
}

static void add_collection(ks_json *json, ks_app *app, const ks_shop *shop) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (kith_collection_get_info(shop->collection, &info) != KITH_OK) return;
    ks_json_object(json, NULL);
    ks_json_text(json, "name", shop->name);
    ks_json_uint(json, "items", info.items);
    ks_json_uint(json, "segments", info.segments);
    ks_json_uint(json, "head_rows", info.head_rows);
    ks_json_uint(json, "dead_rows", info.dead_rows);
    ks_json_uint(json, "disk_bytes", info.disk_bytes);
    ks_json_uint(json, "memory_bytes", info.memory_bytes);
    ks_json_uint(json, "cache_bytes", info.cache_bytes);
    ks_json_uint(json, "cache_hits", info.cache_hits);
    ks_json_uint(json, "cache_misses", info.cache_misses);
    ks_json_uint(json, "profile_cache_hits", info.profile_cache_hits);
    ks_json_uint(json, "profile_cache_misses", info.profile_cache_misses);
    ks_json_text(json, "work", info.work);
    ks_json_uint(json, "work_done", info.work_done);
    ks_json_uint(json, "work_total", info.work_total);
    ks_json_text(json, "trouble", info.trouble);
    ks_v1_recall(json, app, shop);
    ks_json_object_end(json);
}

static void add_server(ks_json *json, ks_app *app) {
    ks_recent recent = {0};
    ks_run_state run = {0};
    ks_http_state http = {0};
    if (app->watch) ks_watch_recent(app->watch, &recent);
    if (app->run) ks_run_state_of(app->run, &run);
    if (app->http) ks_http_state_of(app->http, &http);
    ks_json_real(json, "calls_per_s", recent.calls_per_s);
    ks_json_real(json, "queries_per_s", recent.queries_per_s);
    ks_json_real(json, "errors_per_s", recent.errors_per_s);
    ks_json_real(json, "p50_ms", recent.p50_ns / 1e6);
    ks_json_real(json, "p99_ms", recent.p99_ns / 1e6);
    ks_json_real(json, "batch_mean", recent.batch_mean);
    ks_json_uint(json, "queue", run.queued);
    ks_json_uint(json, "work_queue", run.work_queued);
    ks_json_real(json, "busy", run.busy);
    ks_json_uint(json, "refused", run.refused + http.refused);
    ks_json_uint(json, "connections", http.connections);
    ks_json_uint(json, "memory_bytes", resident_bytes());
}

static void write_stats(ks_call *call, void *context) {
    ks_app *app = context;
    ks_shop *shop;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    add_server(&json, app);
    ks_json_array(&json, "collections");
    for (size_t i = 0; (shop = ks_shelf_at(app->shelf, i)); i++) {
        /* What a collection is like says how much others have in it. */
        if (ks_key_may_name(call->key, shop->name) && !call->key->segment) add_collection(&json, app, shop);
        ks_shelf_return(app->shelf, shop);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    call->reply.cache_control = "no-store";
    ks_v1_written(call);
}

void ks_v1_stats(ks_call *call) {
    ks_app *app = ks_app_of(call);
    ks_run_work(app->run, call, write_stats, app);
}

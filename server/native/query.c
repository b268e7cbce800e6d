/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/collections/{}/query: asked, handed to the query processor, and answered by whoever found it. */
#include <string.h>

#include "native/ask.h"

static const char octets[] = "application/octet-stream";

static void add_considered(ks_json *json, const kith_explain *explain) {
    ks_json_array(json, "considered");
    for (size_t i = 0; i < explain->considered_count && i < 8; i++) {
        ks_json_object(json, NULL);
        const kith_plan plan = explain->considered[i].plan;
        const int walks = plan == KITH_PLAN_GRAPH || plan == KITH_PLAN_HNSW || plan == KITH_PLAN_LSH;
        ks_json_text(json, "plan", kith_plan_name(plan));
        ks_json_text(json, "code", kith_scan_code_name(explain->considered[i].code));
        ks_json_uint(json, walks ? "effort" : "nprobe", explain->considered[i].nprobe);
        ks_json_uint(json, walks ? "nprobe" : "effort", 0);
        ks_json_uint(json, "rerank", explain->considered[i].rerank);
        ks_json_real(json, "query_ns", explain->considered[i].query_ns);
        ks_json_real(json, "recall", explain->considered[i].recall);
        ks_json_text(json, "why", explain->considered[i].why);
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

/* As `kith query --explain` has it, and what the server did. */
static void add_explain(ks_json *json, const ks_found *found) {
    const kith_ask_report *report = found->report;
    const kith_explain *explain = found->explain;
    ks_json_object(json, "explain");
    ks_json_uint(json, "version", report->version);
    ks_json_uint(json, "generation", report->generation);
    ks_json_uint(json, "items", report->items);
    ks_json_uint(json, "matched", report->matched);
    ks_json_uint(json, "segments", report->segments);
    ks_json_uint(json, "head_rows", report->head_rows);
    ks_json_bool(json, "exact", report->exact);
    ks_json_bool(json, "cached", report->cached);
    ks_json_text(json, "filter", report->filter_how ? report->filter_how : "");
    ks_json_text(json, "plan", explain->plan_name ? explain->plan_name : "");
    ks_json_text(json, "tier", explain->tier ? explain->tier : "");
    ks_json_uint(json, "scanned_rows", explain->scanned_rows);
    ks_json_uint(json, "scanned_bytes", explain->scanned_bytes);
    ks_json_uint(json, "probed_lists", explain->probed_lists);
    ks_json_uint(json, "candidates", explain->candidates);
    ks_json_uint(json, "reranked", explain->reranked);
    ks_json_uint(json, "visited", explain->visited);
    ks_json_bool(json, "hot", explain->hot);
    ks_json_uint(json, "unusual", explain->unusual);
    ks_json_uint(json, "filter_ns", report->filter_ns);
    ks_json_uint(json, "segments_ns", report->segments_ns);
    ks_json_uint(json, "head_ns", report->head_ns);
    ks_json_uint(json, "read_ns", report->read_ns);
    ks_json_uint(json, "total_ns", report->total_ns);
    ks_json_uint(json, "batch", found->batch);
    ks_json_uint(json, "waited_ns", found->waited_ns);
    ks_json_uint(json, "searched_ns", found->searched_ns);
    add_considered(json, explain);
    ks_json_object_end(json);
}

static void answer(ks_call *call, const ks_v1_asking *asking, const ks_found *found) {
    ks_v1_items items;
    ks_v1_items_of(&items, asking->search.shop, found->result, found->hits, asking->search.ask.with);
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "version", found->report->version);
    ks_json_array(&json, "results");
    for (size_t q = found->first; q < found->first + found->count; q++) {
        ks_json_array(&json, NULL);
        for (size_t at = q ? (size_t)found->hits->ends[q - 1] : 0; at < found->hits->ends[q]; at++) {
            ks_json_object(&json, NULL);
            ks_v1_item(&items, at, &json);
            ks_json_object_end(&json);
        }
        ks_json_array_end(&json);
    }
    ks_json_array_end(&json);
    if (asking->explains && found->explain) add_explain(&json, found);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

static void finish(ks_search *search, const ks_found *found) {
    ks_call *call = search->call;
    const ks_v1_asking *asking = search->context;
    call->waited_ns = found->waited_ns;
    call->searched_ns = found->searched_ns;
    if (found->refused) {
        ks_call_fail(call, 503, "the server is busy, and this query could not have been answered in time");
        call->reply.retry_after_s = 1;
    } else if (found->status != KITH_OK) {
        ks_call_fail_status(call, found->status, found->error);
    } else if (asking->raw) {
        ks_v1_answer_raw(call, search, found);
    } else {
        answer(call, asking, found);
    }
    ks_call_done(call);
}

static int read_query(ks_call *call, ks_v1_asking *asking) {
    asking->raw = ks_call_accepts(call, octets);
    if ((ks_call_is_type(call, octets) ? ks_v1_ask_arguments : ks_v1_ask_body)(call, asking) != 0) return -1;
    if (!asking->raw || (!asking->search.ask.with && !asking->explains)) return 0;
    ks_call_fail(call, 400, "an answer of %s has ids and distances: \"with\" and \"explain\" need JSON", octets);
    return -1;
}

void ks_v1_query(ks_call *call) {
    ks_v1_ask(call, read_query, finish);
}

void ks_v1_ask(ks_call *call, ks_v1_read_fn *read, void (*finished)(ks_search *search, const ks_found *found)) {
    ks_app *app = ks_app_of(call);
    ks_v1_asking *asking = ks_call_alloc(call, sizeof *asking);
    if (!asking) ks_call_no_memory(call);
    ks_shop *shop = asking ? ks_v1_borrow(call) : NULL;
    if (!shop) {
        ks_call_done(call);
        return;
    }
    asking->explain = (kith_explain)KITH_EXPLAIN_INIT;
    asking->search.call = call;
    asking->search.shop = shop;
    asking->search.ask = (kith_ask)KITH_ASK_INIT;
    asking->search.ask.legs = asking->legs;
    asking->search.ask.target_recall = app->limits.target_recall;
    asking->search.only = 1;
    asking->search.finish = finished;
    asking->search.context = asking;
    if (read(call, asking) == 0) {
        ks_run_search(app->run, &asking->search);
        return;
    }
    ks_shelf_return(app->shelf, shop);
    ks_call_done(call);
}

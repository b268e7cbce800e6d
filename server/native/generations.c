/* SPDX-License-Identifier: Apache-2.0
 *
 * Generations: which there are, beginning, checking, trying, making current, dropping. They are of the whole
 * collection. */
#include <stdlib.h>
#include <string.h>

#include "native/inner.h"

enum { LACKING_MAX = 100 }; /* ids that a check names */

/* The number in the path: 0, or -1. */
static int path_number(ks_call *call, uint32_t *number) {
    char *end = NULL;
    const char *text = call->parts[1];
    const unsigned long long wide = *text >= '0' && *text <= '9' && strlen(text) <= 10 ? strtoull(text, &end, 10) : 0;
    if (end && !*end && wide >= 1 && wide <= UINT32_MAX) {
        *number = (uint32_t)wide;
        return 0;
    }
    ks_call_fail(call, 400, "\"%.64s\" is no number of a generation", text);
    return -1;
}

/* ---- Which there are --------------------------------------------------------------------------------------------- */

static void add_vectors(ks_json *json, const ks_shop *shop, uint32_t number) {
    kith_vector_spec spec;
    ks_json_array(json, "vectors");
    for (size_t i = 0; i < shop->vector_count; i++) {
        if (kith_collection_generation_vector(shop->collection, number, i, &spec, NULL) != KITH_OK) continue;
        ks_json_object(json, NULL);
        ks_json_text(json, "name", spec.name);
        ks_json_uint(json, "dim", spec.dim);
        ks_json_text(json, "dtype", kith_dtype_name(spec.dtype));
        ks_json_text(json, "metric", kith_metric_name(spec.metric));
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

static void add_generation(ks_json *json, const ks_shop *shop, const kith_generation_info *info) {
    ks_json_object(json, NULL);
    ks_json_uint(json, "number", info->number);
    ks_json_text(json, "state", kith_generation_state_name(info->state));
    ks_json_text(json, "model", info->model);
    ks_json_real(json, "share", info->share);
    ks_json_uint(json, "created_ms", info->created_ms);
    ks_json_uint(json, "own", info->own);
    add_vectors(json, shop, info->number);
    ks_json_object_end(json);
}

/* ?user=U: also "asked", the number of the one that answers U's searches. */
static void list(ks_call *call, ks_shop *shop) {
    const char *user = ks_call_argument(call, "user");
    kith_error error = {0};
    uint32_t asked = 0;
    const kith_status status = user ? kith_collection_generation_of(shop->collection, user, &asked, &error) : KITH_OK;
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "generations");
    for (size_t place = 0;; place++) {
        kith_generation_info info = KITH_GENERATION_INFO_INIT;
        if (kith_collection_generation(shop->collection, place, &info, NULL) != KITH_OK) break;
        add_generation(&json, shop, &info);
    }
    ks_json_array_end(&json);
    if (user) ks_json_uint(&json, "asked", asked);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_generations(ks_call *call) {
    ks_v1_work(call, 0, list);
}

/* ---- Beginning and dropping -------------------------------------------------------------------------------------- */

static void begin(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"model", "vectors", NULL};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_vector_spec specs[KITH_VECTORS_MAX];
    kith_error error = {0};
    uint32_t number = 0;
    const json_t *body = ks_body(call, "an object with \"model\" and \"vectors\"");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_text(call, body, "model", &options.model) < 0 ||
        ks_v1_vector_specs(call, body, specs, &options.vector_count) != 0)
        return;
    options.vectors = specs;
    const kith_status status = kith_collection_generation_begin(shop->collection, &options, &number, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    call->reply.status = 201;
    ks_text_format(&call->reply.body, "{\"number\":%u}", number);
    ks_v1_written(call);
}

void ks_v1_generation_begin(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, begin);
}

static void drop(ks_call *call, ks_shop *shop) {
    kith_error error = {0};
    uint32_t number;
    if (path_number(call, &number) != 0) return;
    const kith_status status = kith_collection_generation_drop(shop->collection, number, &error);
    if (status == KITH_OK)
        ks_text_add_line(&call->reply.body, "{\"dropped\":true}");
    else
        ks_call_fail_status(call, status, &error);
}

void ks_v1_generation_drop(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, drop);
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

struct lacking {
    ks_json json;
    size_t count;
    int strings;
};

static void note_lacking(void *context, uint64_t id, const char *text, size_t text_bytes, const char *vector) {
    struct lacking *lacking = context;
    if (lacking->count++ >= LACKING_MAX) return;
    ks_json_object(&lacking->json, NULL);
    if (lacking->strings)
        ks_json_bytes(&lacking->json, "id", text, text_bytes);
    else
        ks_json_uint(&lacking->json, "id", id);
    ks_json_text(&lacking->json, "vector", vector);
    ks_json_object_end(&lacking->json);
}

/* Stops when nobody waits for it any more. */
static int watch(void *context, const kith_progress *progress) {
    (void)progress;
    return ks_call_gone(context);
}

static int read_check(ks_call *call, kith_generation_check_options *options) {
    static const char *const known[] = {"sample", "k", "target", "seed", NULL};
    uint64_t sample = options->sample, k = options->k;
    if (!call->body_bytes) return 0;
    const json_t *body = ks_body(call, "an object, or empty");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_uint(call, body, "sample", 100000, &sample) < 0 ||
        ks_member_uint(call, body, "k", KITH_K_MAX - 1, &k) < 0 ||
        ks_member_real(call, body, "target", 0, 1, &options->target_recall) < 0 ||
        ks_member_uint(call, body, "seed", UINT64_MAX, &options->seed) < 0)
        return -1;
    options->sample = (size_t)sample;
    options->k = (size_t)k;
    return 0;
}

static void write_check(ks_call *call, const kith_generation_report *report, const ks_text *lacking) {
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "number", report->number);
    ks_json_uint(&json, "current", report->current);
    ks_json_uint(&json, "version", report->version);
    ks_json_uint(&json, "items", report->items);
    ks_json_uint(&json, "with_vectors", report->with_vectors);
    ks_json_uint(&json, "lacking", report->lacking);
    ks_json_uint(&json, "sampled", report->sampled);
    ks_json_real(&json, "recall", report->recall);
    ks_json_real(&json, "overlap", report->overlap);
    ks_json_verbatim(&json, "first_lacking", lacking->bytes, lacking->used);
    ks_json_object_end(&json);
    if (lacking->failed) ks_call_no_memory(call);
    ks_v1_written(call);
}

static void check(ks_call *call, ks_shop *shop) {
    kith_generation_check_options options = KITH_GENERATION_CHECK_OPTIONS_INIT;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    kith_error error = {0};
    uint32_t number;
    ks_text text = {0};
    struct lacking lacking = {.json = KS_JSON(&text), .strings = shop->id_kind == KITH_ID_STRING};
    if (path_number(call, &number) != 0 || read_check(call, &options) != 0) return;
    options.lacking = note_lacking;
    options.lacking_context = &lacking;
    options.progress = watch;
    options.progress_context = call;
    ks_json_array(&lacking.json, NULL);
    const kith_status status = kith_collection_generation_check(shop->collection, number, &options, &report, &error);
    ks_json_array_end(&lacking.json);
    if (status == KITH_OK)
        write_check(call, &report, &text);
    else
        ks_call_fail_status(call, status, &error);
    ks_text_free(&text);
}

void ks_v1_generation_check(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE, check);
}

/* ---- Trying, and making current ---------------------------------------------------------------------------------- */

static void canary(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"share", NULL};
    kith_error error = {0};
    double share = -1;
    uint32_t number;
    const json_t *body = ks_body(call, "an object with a \"share\"");
    if (!body || path_number(call, &number) != 0 || ks_members_only(call, body, known) != 0 ||
        ks_member_real(call, body, "share", 0, 1, &share) < 0)
        return;
    if (share < 0) {
        ks_call_fail(call, 400, "\"share\" is missing: a number of 0..1");
        return;
    }
    const kith_status status = kith_collection_generation_canary(shop->collection, number, share, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "number", number);
    ks_json_real(&json, "share", share);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_generation_canary(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, canary);
}

static void write_flip(ks_call *call, const kith_flip_report *report) {
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_uint(&json, "from", report->from);
    ks_json_uint(&json, "to", report->to);
    ks_json_uint(&json, "items", report->items);
    ks_json_uint(&json, "with_vectors", report->with_vectors);
    ks_json_real(&json, "recall", report->recall);
    ks_json_real(&json, "overlap", report->overlap);
    ks_json_uint(&json, "pause_ns", report->pause_ns);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

static void flip(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"to", "min_share", "min_recall", "min_overlap", NULL};
    kith_flip_options options = KITH_FLIP_OPTIONS_INIT;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    kith_error error = {0};
    uint64_t to = 0;
    const json_t *body = ks_body(call, "an object with \"to\" (0: the generation before)");
    if (!body || ks_members_only(call, body, known) != 0) return;
    const int there = ks_member_uint(call, body, "to", UINT32_MAX, &to);
    const int share = ks_member_real(call, body, "min_share", 0, 1, &options.min_share);
    const int recall = ks_member_real(call, body, "min_recall", 0, 1, &options.min_recall);
    const int overlap = ks_member_real(call, body, "min_overlap", 0, 1, &options.min_overlap);
    if (there < 0 || share < 0 || recall < 0 || overlap < 0) return;
    if (!there) {
        ks_call_fail(call, 400, "\"to\" is missing: the number of a generation, or 0 for the one before");
        return;
    }
    const int asked =
        share || recall || overlap; /* back to the one before nothing is required unless it is asked for */
    const kith_status status =
        kith_collection_flip(shop->collection, (uint32_t)to, asked ? &options : NULL, &report, &error);
    if (status == KITH_OK)
        write_flip(call, &report);
    else
        ks_call_fail_status(call, status, &error);
}

void ks_v1_flip(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, flip);
}

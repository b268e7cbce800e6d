/* SPDX-License-Identifier: Apache-2.0
 *
 * Collections: which there are, what each is like, making and dropping them, declaring fields. */
#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "native/inner.h"

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

static void add_vectors(ks_json *json, const ks_shop *shop) {
    kith_vector_spec spec;
    ks_json_array(json, "vectors");
    for (size_t i = 0; kith_collection_vector(shop->collection, i, &spec) == KITH_OK; i++) {
        ks_json_object(json, NULL);
        ks_json_text(json, "name", spec.name);
        ks_json_uint(json, "dim", spec.dim);
        ks_json_text(json, "dtype", kith_dtype_name(spec.dtype));
        ks_json_text(json, "metric", kith_metric_name(spec.metric));
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

static void add_fields(ks_json *json, const ks_shop *shop) {
    kith_field field;
    ks_json_array(json, "fields");
    for (size_t i = 0; kith_collection_field(shop->collection, i, &field) == KITH_OK; i++) {
        ks_json_object(json, NULL);
        ks_json_text(json, "name", field.name);
        ks_json_text(json, "type", kith_field_type_name(field.type));
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

static void add_numbers(ks_json *json, const kith_collection_info *info) {
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"generation", info->generation},
        {"generations", info->generations},
        {"segments", info->segments},
        {"segment_rows", info->segment_rows},
        {"dead_rows", info->dead_rows},
        {"head_rows", info->head_rows},
        {"disk_bytes", info->disk_bytes},
        {"catalog_bytes", info->catalog_bytes},
        {"segment_bytes", info->segment_bytes},
        {"memory_bytes", info->memory_bytes},
        {"head_memory_bytes", info->head_memory_bytes},
        {"cache_bytes", info->cache_bytes},
        {"cache_hits", info->cache_hits},
        {"cache_misses", info->cache_misses},
        {"cache_evictions", info->cache_evictions},
        {"profile_cache_bytes", info->profile_cache_bytes},
        {"profile_cache_hits", info->profile_cache_hits},
        {"profile_cache_misses", info->profile_cache_misses},
        {"resident_bytes", info->resident_bytes},
        {"own_segments", info->own_segments},
        {"work_done", info->work_done},
        {"work_total", info->work_total},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ks_json_uint(json, numbers[i].name, numbers[i].number);
}

/* How many items the key may see. 0, or -1. */
static int items_of(ks_call *call, const ks_shop *shop, const kith_collection_info *info, uint64_t *items) {
    const char *bound = NULL;
    kith_error error = {0};
    *items = call->key->segment ? 0 : info->items;
    if (!call->key->segment || !shop->segment_field[0]) return 0;
    if (ks_v1_bind(call, shop, NULL, &bound) != 0) return -1;
    const kith_status status = kith_collection_count(shop->collection, bound, items, &error);
    if (status != KITH_OK) ks_call_fail_status(call, status, &error);
    return status == KITH_OK ? 0 : -1;
}

/* As `kith info --json` has it, and the recall that was measured live. */
static void tell(ks_call *call, ks_shop *shop) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    uint64_t items = 0;
    const kith_status status = kith_collection_get_info(shop->collection, &info);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, NULL);
        return;
    }
    if (items_of(call, shop, &info, &items) != 0) return;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "name", shop->name);
    ks_json_uint(&json, "items", items);
    ks_json_uint(&json, "version", info.version);
    ks_json_text(&json, "ids", info.id_kind == KITH_ID_STRING ? "strings" : "u64");
    ks_json_text(&json, "model", info.model);
    ks_json_text(&json, "segment_field", info.segment_field);
    ks_json_bool(&json, "read_only", info.read_only);
    add_vectors(&json, shop);
    add_fields(&json, shop);
    add_numbers(&json, &info);
    ks_json_text(&json, "work", info.work);
    ks_json_text(&json, "trouble", info.trouble);
    ks_v1_recall(&json, ks_app_of(call), shop);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_collection_get(ks_call *call) {
    ks_v1_work(call, 0, tell);
}

static void list(ks_call *call, void *context) {
    ks_app *app = context;
    ks_shop *shop;
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "collections");
    for (size_t i = 0; (shop = ks_shelf_at(app->shelf, i)); i++) {
        kith_collection_info info = KITH_COLLECTION_INFO_INIT;
        uint64_t items = 0;
        if (ks_key_may_name(call->key, shop->name) && kith_collection_get_info(shop->collection, &info) == KITH_OK) {
            if (items_of(call, shop, &info, &items) != 0) {
                ks_shelf_return(app->shelf, shop);
                return;
            }
            ks_json_object(&json, NULL);
            ks_json_text(&json, "name", shop->name);
            ks_json_uint(&json, "items", items);
            ks_json_uint(&json, "version", info.version);
            ks_json_text(&json, "ids", info.id_kind == KITH_ID_STRING ? "strings" : "u64");
            add_vectors(&json, shop);
            ks_json_object_end(&json);
        }
        ks_shelf_return(app->shelf, shop);
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_collections(ks_call *call) {
    ks_app *app = ks_app_of(call);
    ks_run_work(app->run, call, list, app);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ks_v1_root(ks_call *call) {
    ks_app *app = ks_app_of(call);
    const uint64_t now = now_ms();
    size_t count = 0;
    ks_shop *shop;
    for (size_t i = 0; (shop = ks_shelf_at(app->shelf, i)); i++) {
        count += ks_key_may_name(call->key, shop->name) != 0;
        ks_shelf_return(app->shelf, shop);
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "name", "kith");
    ks_json_text(&json, "version", kith_version());
    ks_json_real(&json, "uptime_s", now > app->started_ms ? (double)(now - app->started_ms) / 1000 : 0);
    ks_json_bool(&json, "read_only", app->read_only);
    ks_json_uint(&json, "collections", count);
    ks_json_object_end(&json);
    ks_v1_written(call);
    ks_call_done(call);
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

int ks_v1_vector_specs(ks_call *call, const json_t *body, kith_vector_spec *specs, size_t *count) {
    static const char *const known[] = {"name", "dim", "dtype", "metric", NULL};
    const json_t *vectors = NULL;
    if (ks_member_array(call, body, "vectors", &vectors) < 0) return -1;
    *count = json_array_size(vectors);
    if (*count < 1 || *count > KITH_VECTORS_MAX) {
        ks_call_fail(call, 400,
                     "\"vectors\" must be an array of 1..%u objects with \"name\", \"dim\", \"dtype\", \"metric\"",
                     KITH_VECTORS_MAX);
        return -1;
    }
    for (size_t i = 0; i < *count; i++) {
        const json_t *vector = json_array_get(vectors, i);
        const char *dtype = "f32", *metric = NULL;
        uint64_t dim = 0;
        specs[i] = (kith_vector_spec){.name = ""};
        if (!json_is_object(vector)) {
            ks_call_fail(call, 400, "\"vectors\", number %zu, is no object with \"dim\"", i + 1);
            return -1;
        }
        if (ks_members_only(call, vector, known) != 0 || ks_member_text(call, vector, "name", &specs[i].name) < 0 ||
            ks_member_uint(call, vector, "dim", KITH_DIM_MAX, &dim) < 0 ||
            ks_member_text(call, vector, "dtype", &dtype) < 0 || ks_member_text(call, vector, "metric", &metric) < 0)
            return -1;
        specs[i].dim = (size_t)dim;
        specs[i].dtype = kith_dtype_parse(dtype);
        specs[i].metric = metric ? kith_metric_parse(metric) : KITH_METRIC_NONE;
        if (dim && specs[i].dtype && (specs[i].metric || !metric)) continue;
        ks_call_fail(call, 400,
                     "\"vectors\", number %zu, needs a \"dim\" of 1..%u, a \"dtype\" of f32, f16, bf16, i8, u8 or "
                     "b1, and a \"metric\" of l2, ip, cosine, hamming or jaccard",
                     i + 1, KITH_DIM_MAX);
        return -1;
    }
    return 0;
}

static int read_field(ks_call *call, const json_t *from, kith_field *field) {
    static const char *const known[] = {"name", "type", NULL};
    const char *word = NULL;
    if (!json_is_object(from)) {
        ks_call_fail(call, 400, "a field must be an object with \"name\" and \"type\"");
        return -1;
    }
    *field = (kith_field){0};
    if (ks_members_only(call, from, known) != 0 || ks_member_text(call, from, "name", &field->name) < 0 ||
        ks_member_text(call, from, "type", &word) < 0)
        return -1;
    if (field->name && word && kith_field_type_parse(word, &field->type)) return 0;
    ks_call_fail(call, 400, "a field needs a \"name\", and a \"type\" of tag, tags, int, float, bool or time");
    return -1;
}

static int read_fields(ks_call *call, const json_t *body, kith_collection_options *options) {
    const json_t *list = NULL;
    if (ks_member_array(call, body, "fields", &list) < 0) return -1;
    const size_t count = json_array_size(list);
    if (count > KITH_FIELDS_MAX) {
        ks_call_fail(call, 400, "\"fields\" has %zu of them, and at most %u are taken", count, KITH_FIELDS_MAX);
        return -1;
    }
    kith_field *fields = ks_call_alloc(call, (count + 1) * sizeof *fields);
    if (!fields) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        if (read_field(call, json_array_get(list, i), &fields[i]) != 0) return -1;
    options->fields = fields;
    options->field_count = count;
    return 0;
}

static int read_options(ks_call *call, kith_collection_options *options, kith_vector_spec *specs) {
    static const char *const known[] = {"ids", "vectors", "fields", "segment_field", "model", NULL};
    const char *ids = "u64";
    const json_t *body = ks_body(call, "an object with \"vectors\"");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_text(call, body, "ids", &ids) < 0 ||
        ks_v1_vector_specs(call, body, specs, &options->vector_count) != 0 || read_fields(call, body, options) != 0 ||
        ks_member_text(call, body, "segment_field", &options->segment_field) < 0 ||
        ks_member_text(call, body, "model", &options->model) < 0)
        return -1;
    options->vectors = specs;
    options->id_kind = strcmp(ids, "u64") == 0 ? KITH_ID_U64 : KITH_ID_STRING;
    if (options->id_kind == KITH_ID_U64 || strcmp(ids, "string") == 0 || strcmp(ids, "strings") == 0) return 0;
    ks_call_fail(call, 400, "\"ids\" must be \"u64\" or \"string\"");
    return -1;
}

static void create(ks_call *call, void *context) {
    ks_app *app = context;
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    kith_vector_spec specs[KITH_VECTORS_MAX];
    kith_error error = {0};
    const char *name = call->parts[0];
    if (read_options(call, &options, specs) != 0) return;
    const kith_status status = ks_shelf_create(app->shelf, name, &options, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_shop *shop = ks_v1_shop(call);
    if (!shop) return;
    tell(call, shop);
    if (!call->reply.status) call->reply.status = 201;
}

/* What only a key may that is bound to nothing: 403, and -1. */
static int may_name(ks_call *call) {
    if (ks_v1_may_change(call) != 0) return -1;
    if (ks_key_may_name(call->key, call->parts[0]) && !call->key->segment) return 0;
    ks_call_fail(call, 403, "this key may not make or drop a collection called \"%s\"", call->parts[0]);
    return -1;
}

void ks_v1_collection_create(ks_call *call) {
    if (may_name(call) == 0)
        ks_run_write(ks_app_of(call)->run, call, create, ks_app_of(call));
    else
        ks_call_done(call);
}

static void drop(ks_call *call, void *context) {
    ks_app *app = context;
    kith_error error = {0};
    const kith_status status = ks_shelf_drop(app->shelf, call->parts[0], &error);
    if (status == KITH_E_NOTFOUND)
        ks_call_fail(call, 404, "there is no collection called \"%s\" here", call->parts[0]);
    else if (status != KITH_OK)
        ks_call_fail_status(call, status, &error);
    else
        ks_text_add_line(&call->reply.body, "{\"dropped\":true}");
}

void ks_v1_collection_drop(ks_call *call) {
    if (may_name(call) == 0)
        ks_run_write(ks_app_of(call)->run, call, drop, ks_app_of(call));
    else
        ks_call_done(call);
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

static void declare(ks_call *call, ks_shop *shop) {
    kith_field field;
    kith_error error = {0};
    const json_t *body = ks_body(call, "an object with \"name\" and \"type\"");
    if (!body || read_field(call, body, &field) != 0) return;
    const kith_status status = kith_collection_declare(shop->collection, &field, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    add_fields(&json, shop);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

void ks_v1_field(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, declare);
}

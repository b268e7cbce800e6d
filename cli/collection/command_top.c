/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith top`, and `kith info` of a folder: what a collection holds and is doing. top_server.c has servers. */
#define _GNU_SOURCE
#include "collection/collection.h"
#include "collection/top.h"
#include "http_get.h"
#include "table.h"
#include "terminal.h"

#include <string.h>
#include <time.h>

static void lists_json(struct json *json, const struct shop *shop) {
    kith_vector_spec spec;
    kith_field field;
    emit_array(json, "vectors");
    for (size_t i = 0; kith_collection_vector(shop->collection, i, &spec) == KITH_OK; i++) {
        emit_object(json, NULL);
        emit_text(json, "name", spec.name);
        emit_uint(json, "dim", spec.dim);
        emit_text(json, "dtype", kith_dtype_name(spec.dtype));
        emit_text(json, "metric", kith_metric_name(spec.metric));
        emit_object_end(json);
    }
    emit_array_end(json);
    emit_array(json, "fields");
    for (size_t i = 0; kith_collection_field(shop->collection, i, &field) == KITH_OK; i++) {
        emit_object(json, NULL);
        emit_text(json, "name", field.name);
        emit_text(json, "type", kith_field_type_name(field.type));
        emit_object_end(json);
    }
    emit_array_end(json);
}

static void info_json(struct json *json, const struct shop *shop) {
    const kith_collection_info *info = &shop->info;
    emit_object(json, NULL);
    emit_text(json, "path", shop->path);
    emit_uint(json, "items", info->items);
    emit_uint(json, "version", info->version);
    emit_text(json, "ids", info->id_kind == KITH_ID_STRING ? "strings" : "u64");
    emit_text(json, "model", info->model);
    emit_uint(json, "generation", info->generation);
    emit_uint(json, "generations", info->generations);
    emit_text(json, "segment_field", info->segment_field);
    emit_uint(json, "segments", info->segments);
    emit_uint(json, "own_segments", info->own_segments);
    emit_uint(json, "segment_rows", info->segment_rows);
    emit_uint(json, "dead_rows", info->dead_rows);
    emit_uint(json, "head_rows", info->head_rows);
    emit_uint(json, "disk_bytes", info->disk_bytes);
    emit_uint(json, "catalog_bytes", info->catalog_bytes);
    emit_uint(json, "segment_bytes", info->segment_bytes);
    emit_uint(json, "memory_bytes", info->memory_bytes);
    emit_uint(json, "head_memory_bytes", info->head_memory_bytes);
    emit_uint(json, "cache_bytes", info->cache_bytes);
    emit_uint(json, "cache_hits", info->cache_hits);
    emit_uint(json, "cache_misses", info->cache_misses);
    emit_uint(json, "cache_evictions", info->cache_evictions);
    emit_uint(json, "profile_cache_bytes", info->profile_cache_bytes);
    emit_uint(json, "profile_cache_hits", info->profile_cache_hits);
    emit_uint(json, "profile_cache_misses", info->profile_cache_misses);
    emit_uint(json, "resident_bytes", info->resident_bytes);
    emit_text(json, "work", info->work);
    emit_uint(json, "work_done", info->work_done);
    emit_uint(json, "work_total", info->work_total);
    emit_text(json, "trouble", info->trouble);
    lists_json(json, shop);
    emit_object_end(json);
}

static void info_text(const struct shop *shop) {
    const kith_collection_info *info = &shop->info;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    kith_vector_spec spec;
    kith_field field;
    printf("%s%s%s\n", terminal_style(stdout, STYLE_BOLD), shop->path, terminal_style(stdout, STYLE_PLAIN));
    pair_line(stdout, "items", "%s, %s as ids; version %llu", human_count(a, info->items),
              info->id_kind == KITH_ID_STRING ? "strings" : "numbers", (unsigned long long)info->version);
    for (size_t i = 0; kith_collection_vector(shop->collection, i, &spec) == KITH_OK; i++)
        pair_line(stdout, i ? "" : "vectors", "%s%s%zu %s, %s", spec.name, *spec.name ? ": " : "", spec.dim,
                  kith_dtype_name(spec.dtype), kith_metric_name(spec.metric));
    for (size_t i = 0; kith_collection_field(shop->collection, i, &field) == KITH_OK; i++)
        pair_line(stdout, i ? "" : "fields", "%s: %s%s", field.name, kith_field_type_name(field.type),
                  strcmp(field.name, info->segment_field) == 0 ? ", the segment key" : "");
    if (*info->model) pair_line(stdout, "model", "%s", info->model);
    if (info->generations > 1)
        pair_line(stdout, "generation", "%u, one of %u (kith generation shows them)", info->generation,
                  info->generations);
    pair_line(stdout, "segments", "%zu, of %s rows, %s of them dead", info->segments,
              human_count(a, info->segment_rows), human_count(b, info->dead_rows));
    if (info->own_segments) pair_line(stdout, "", "%zu of them of one segment key alone", info->own_segments);
    pair_line(stdout, "in memory", "%s rows not in a segment yet", human_count(a, info->head_rows));
    pair_line(stdout, "disk", "%s: catalog %s, segments %s", human_bytes(a, info->disk_bytes),
              human_bytes(b, info->catalog_bytes), human_bytes(c, info->segment_bytes));
    if (info->working)
        pair_line(stdout, "at work", "%s, %s of %s rows", info->work, human_count(a, info->work_done),
                  human_count(b, info->work_total));
    if (*info->trouble) pair_line(stdout, "trouble", "%s", info->trouble);
}

int shop_info(const struct arguments *arguments) {
    struct shop shop = {0};
    const int failed = shop_open(arguments, true, &shop);
    struct json json = JSON_PRETTY(stdout);
    if (!failed && option_given(arguments, OPTION_JSON)) {
        info_json(&json, &shop);
    } else if (!failed) {
        info_text(&shop);
    }
    shop_close(&shop);
    return failed;
}

/* ---- Again and again --------------------------------------------------------------------------------------------- */

/* One line: what changed since the last one. */
static void top_line(const struct shop *shop, uint64_t version_before, double seconds) {
    const kith_collection_info *info = &shop->info;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], d[HUMAN_BYTES];
    printf("%12s items  %10s writes  %9s in memory  %4zu segments  %11s  %s\n", human_count(a, info->items),
           human_rate(b, seconds > 0 ? (double)(info->version - version_before) / seconds : 0),
           human_count(c, info->head_rows), info->segments, human_bytes(d, info->disk_bytes), info->work);
    fflush(stdout);
}

int command_top(const struct arguments *arguments) {
    struct shop shop = {0};
    const double interval = option_real(arguments, OPTION_SECONDS, 1);
    uint64_t left = option_number(arguments, OPTION_LIMIT, UINT64_MAX);
    if (!(interval >= 0.01 && interval <= 3600))
        return fail_usage(COMMAND_TOP, "--seconds is \"%s\", but 0.01 to 3600 was expected",
                          option_text(arguments, OPTION_SECONDS, ""));
    if (http_is_url(arguments->operands[0])) return top_server(arguments);
    if (option_given(arguments, OPTION_KEY_FILE) || option_given(arguments, OPTION_CA))
        return fail_usage(COMMAND_TOP, "--key-file and --ca are for servers, and %s is a folder",
                          arguments->operands[0]);
    int failed = shop_open(arguments, true, &shop);
    uint64_t before = shop.info.version;
    for (bool first = true; !failed && left && !interrupt_asked(NULL); left--, first = false) {
        const struct timespec pause = {(time_t)interval, (long)((interval - (double)(time_t)interval) * 1e9)};
        struct json json = JSON_LINES(stdout);
        if (!first) nanosleep(&pause, NULL);
        if (kith_collection_get_info(shop.collection, &shop.info) != KITH_OK)
            failed = fail(EXIT_OTHER, "%s cannot be looked at", shop.path);
        if (failed) break;
        if (option_given(arguments, OPTION_JSON)) {
            info_json(&json, &shop);
        } else {
            top_line(&shop, before, first ? 0 : interval);
        }
        before = shop.info.version;
        if (ferror(stdout)) failed = EXIT_BROKEN;
    }
    shop_close(&shop);
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith info` and `kith verify`: what an index file holds, and whether it is whole. */
#include <string.h>

#include "approximate.h"
#include "collection/collection.h"
#include "json.h"
#include "progress.h"
#include "source.h"
#include "table.h"
#include "terminal.h"

static const char *id_kind_name(kith_id_kind kind) {
    return kind == KITH_ID_STRING ? "strings" : kind == KITH_ID_U64 ? "u64" : "rows";
}

static double raw_bytes(const kith_index_info *info) {
    return (double)info->rows * (double)kith_row_bytes(info->dtype, info->dim);
}

/* What calibration measured, in short: of the measured k the one nearest to 10, at the largest batch, the fastest
 * setting of each recall. NULL: nothing reaches it. */
static const kith_tuned *fastest(const kith_tuned *tuned, size_t count, double recall) {
    const kith_tuned *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (tuned[i].recall < recall || tuned[i].k > 10) continue;
        if (best && (tuned[i].k < best->k || (tuned[i].k == best->k && tuned[i].batch < best->batch))) continue;
        const bool same = best && tuned[i].k == best->k && tuned[i].batch == best->batch;
        if (!same || tuned[i].query_ns < best->query_ns) best = &tuned[i];
    }
    return best;
}

static const double told_recalls[] = {0.9, 0.95, 0.99};
#define TOLD_RECALLS (sizeof(told_recalls) / sizeof(*told_recalls))

static void calibration_json(struct json *json, const kith_tuned *tuned, size_t count) {
    emit_object(json, "calibration");
    emit_uint(json, "settings", count);
    emit_array(json, "fastest");
    for (size_t i = 0; i < TOLD_RECALLS; i++) {
        const kith_tuned *setting = fastest(tuned, count, told_recalls[i]);
        if (!setting) continue;
        emit_object(json, NULL);
        emit_real(json, "target", told_recalls[i]);
        emit_text(json, "plan", kith_plan_name(setting->plan));
        emit_uint(json, "k", setting->k);
        emit_uint(json, "batch", setting->batch);
        emit_uint(json, "nprobe", plan_walks(setting->plan) ? 0 : setting->nprobe);
        emit_uint(json, "effort", plan_walks(setting->plan) ? setting->nprobe : 0);
        emit_real(json, "recall", setting->recall);
        emit_real(json, "query_ns", setting->query_ns);
        emit_object_end(json);
    }
    emit_array_end(json);
    emit_object_end(json);
}

static void calibration_text(const kith_index_info *info, const kith_tuned *tuned, size_t count) {
    char rate[HUMAN_BYTES];
    const bool approximate =
        info->lists > 1 || *info->second_code || info->graph_degree || info->hnsw_m || info->lsh_tables;
    if (!approximate || !info->has_originals) return;
    if (!count) pair_line(stdout, "calibration", "none: --target-recall searches exactly; kith tune measures");
    for (size_t i = 0; i < TOLD_RECALLS; i++) {
        const kith_tuned *setting = fastest(tuned, count, told_recalls[i]);
        if (setting)
            pair_line(stdout, i ? "" : "calibration", "recall@%zu %.2f: %s in batches of %zu on one thread", setting->k,
                      told_recalls[i], human_rate(rate, 1e9 / setting->query_ns), setting->batch);
    }
}

static void sections_json(struct json *json, const kith_index *index) {
    kith_section section = KITH_SECTION_INIT;
    emit_array(json, "sections");
    for (size_t i = 0; kith_index_section(index, i, &section) == KITH_OK; i++) {
        emit_object(json, NULL);
        emit_text(json, "name", section.name);
        emit_uint(json, "offset", section.offset);
        emit_uint(json, "bytes", section.bytes);
        emit_uint(json, "count", section.count);
        emit_object_end(json);
    }
    emit_array_end(json);
}

static void info_json(const char *path, const kith_index *index, const kith_index_info *info) {
    const kith_tuned *tuned = NULL;
    const size_t count = kith_index_tuned(index, &tuned);
    struct json json = JSON_PRETTY(stdout);
    char hash[24];
    emit_object(&json, NULL);
    emit_text(&json, "path", path);
    emit_uint(&json, "format_version", info->format_version);
    emit_uint(&json, "rows", info->rows);
    emit_uint(&json, "dim", info->dim);
    emit_text(&json, "dtype", kith_dtype_name(info->dtype));
    emit_text(&json, "metric", kith_metric_name(info->metric));
    emit_text(&json, "ids", id_kind_name(info->id_kind));
    emit_bool(&json, "names", info->has_names != 0);
    emit_bool(&json, "exact", info->has_originals != 0);
    emit_bool(&json, "integer_codes", info->integer_codes != 0);
    emit_uint(&json, "lists", info->lists);
    emit_uint(&json, "list_rows_max", info->list_rows_max);
    emit_uint(&json, "spilled_rows", info->spilled_rows);
    index_type_members(&json, info);
    emit_uint(&json, "first_level_dim", info->first_level_dim);
    emit_real(&json, "code_error", info->code_error);
    emit_real(&json, "first_level_error", info->first_level_error);
    emit_text(&json, "second_code", info->second_code);
    emit_real(&json, "second_code_error", info->second_code_error);
    emit_uint(&json, "second_code_bytes", info->second_code_bytes);
    emit_real(&json, "near_duplicates", info->near_duplicates);
    emit_uint(&json, "file_bytes", info->file_bytes);
    emit_real(&json, "raw_bytes", raw_bytes(info));
    emit_real(&json, "ratio", raw_bytes(info) > 0 ? (double)info->file_bytes / raw_bytes(info) : 0);
    emit_uint(&json, "feature_compat", info->feature_compat);
    emit_uint(&json, "feature_incompat", info->feature_incompat);
    /* Text: readers that keep numbers as doubles would lose the low bits. */
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)info->file_hash);
    emit_text(&json, "file_hash", hash);
    if (count) {
        calibration_json(&json, tuned, count);
    } else {
        emit_null(&json, "calibration");
    }
    sections_json(&json, index);
    emit_object_end(&json);
}

static int sections_table(const kith_index *index, uint64_t file_bytes) {
    static const struct table_column columns[] = {{"section", TABLE_LEFT},
                                                  {"offset", TABLE_RIGHT},
                                                  {"bytes", TABLE_RIGHT},
                                                  {"count", TABLE_RIGHT},
                                                  {"share", TABLE_RIGHT}};
    char text[HUMAN_BYTES];
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return fail(EXIT_OTHER, "out of memory");
    kith_section section = KITH_SECTION_INIT;
    for (size_t i = 0; kith_index_section(index, i, &section) == KITH_OK; i++) {
        table_text(table, section.name, strlen(section.name));
        table_format(table, "%s", human_count(text, section.offset));
        table_format(table, "%s", human_count(text, section.bytes));
        table_format(table, "%s", human_count(text, section.count));
        table_format(table, "%.1f %%", file_bytes ? 100.0 * (double)section.bytes / (double)file_bytes : 0);
    }
    const bool printed = table_flush(table);
    table_destroy(table);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int info_text(const char *path, const kith_index *index, const kith_index_info *info) {
    const kith_tuned *tuned = NULL;
    const size_t count = kith_index_tuned(index, &tuned);
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    printf("%s%s%s\n", terminal_style(stdout, STYLE_BOLD), path, terminal_style(stdout, STYLE_PLAIN));
    pair_line(stdout, "vectors", "%s", human_count(a, info->rows));
    pair_line(stdout, "dimension", "%s%s", human_count(a, info->dim), info->dtype == KITH_B1 ? " bits" : "");
    pair_line(stdout, "type", "%s", kith_dtype_name(info->dtype));
    pair_line(stdout, "metric", "%s", kith_metric_name(info->metric));
    pair_line(stdout, "ids", "%s",
              info->id_kind == KITH_ID_STRING ? "strings"
              : info->id_kind == KITH_ID_U64  ? "numbers"
                                              : "row numbers");
    pair_line(stdout, "names", "%s", info->has_names ? "yes" : "no");
    pair_line(stdout, "answers", "%s", info->has_originals ? "exact" : "approximate: the originals are not stored");
    if (info->integer_codes) {
        pair_line(stdout, "codes", "the values themselves");
    } else {
        pair_line(stdout, "codes", "mean error %.3f %%", 100 * info->code_error);
    }
    if (info->first_level_dim)
        pair_line(stdout, "first level", "%zu dimensions, leaves out %.1f %% of a vector's length",
                  info->first_level_dim, 100 * info->first_level_error);
    if (*info->second_code)
        pair_line(stdout, "second code", "%s, mean error %.1f %%, %s", info->second_code, 100 * info->second_code_error,
                  human_bytes(a, info->second_code_bytes));
    if (info->lists > 1) {
        pair_line(stdout, "lists", "%s, the longest of %s vectors", human_count(a, info->lists),
                  human_count(b, info->list_rows_max));
    } else {
        pair_line(stdout, "lists", "%s", human_count(a, info->lists));
    }
    if (info->spilled_rows) pair_line(stdout, "second lists", "of %s vectors", human_count(a, info->spilled_rows));
    index_type_lines(stdout, info);
    calibration_text(info, tuned, count);
    near_duplicates_line(stdout, info);
    pair_line(stdout, "size", "%s; the vectors themselves are %s", human_bytes(a, info->file_bytes),
              human_bytes(b, (uint64_t)raw_bytes(info)));
    pair_line(stdout, "format", "version %u, features %llx/%llx, hash %016llx", info->format_version,
              (unsigned long long)info->feature_compat, (unsigned long long)info->feature_incompat,
              (unsigned long long)info->file_hash);
    putchar('\n');
    return sections_table(index, info->file_bytes);
}

int command_info(const struct arguments *arguments) {
    kith_index *index = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    if (shop_is_folder(arguments->operands[0])) return shop_info(arguments);
    int failed = index_open(arguments->operands[0], &index, &info);
    if (failed) return failed;
    if (option_given(arguments, OPTION_JSON)) {
        info_json(arguments->operands[0], index, &info);
    } else {
        failed = info_text(arguments->operands[0], index, &info);
    }
    kith_index_close(index);
    return failed;
}

/* info: of an index; NULL: a collection. */
static void verify_json(const char *path, const kith_index_info *info, kith_status status, const kith_error *error,
                        uint64_t took_ns) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "path", path);
    emit_bool(&json, "ok", status == KITH_OK);
    if (status != KITH_OK) {
        emit_text(&json, "status", kith_status_text(status));
        emit_text(&json, "error", error->text);
    } else if (info) {
        emit_uint(&json, "rows", info->rows);
        emit_uint(&json, "file_bytes", info->file_bytes);
    }
    emit_uint(&json, "total_ns", took_ns);
    emit_object_end(&json);
}

static void verify_text(const char *path, const kith_index_info *info, uint64_t took_ns) {
    char rows[HUMAN_BYTES], size[HUMAN_BYTES], time[HUMAN_BYTES], rate[HUMAN_BYTES];
    const double seconds = (double)took_ns * 1e-9;
    human_duration(time, seconds);
    printf("%s: %sgood%s: ", path, terminal_style(stdout, STYLE_GREEN), terminal_style(stdout, STYLE_PLAIN));
    if (info) {
        printf("%s vectors, %s, every byte checked in %s, %s\n", human_count(rows, info->rows),
               human_bytes(size, info->file_bytes), time,
               human_byte_rate(rate, seconds > 0 ? (double)info->file_bytes / seconds : 0));
    } else {
        printf("catalog and segments, every byte checked in %s\n", time);
    }
}

int command_verify(const struct arguments *arguments) {
    const char *path = arguments->operands[0];
    const bool folder = shop_is_folder(path);
    kith_error error = {0};
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_index *index = NULL;
    kith_pool *pool = NULL;
    struct progress progress;
    kith_status status = kith_pool_create((unsigned)option_number(arguments, OPTION_THREADS, 0), &pool, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    const uint64_t start_ns = now_ns();
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    status = folder ? kith_collection_verify(path, pool, progress_report, &progress, &error)
                    : kith_index_verify(path, pool, progress_report, &progress, &error);
    progress_end(&progress);
    const uint64_t took_ns = now_ns() - start_ns;
    if (status == KITH_OK && !folder) status = kith_index_open(path, NULL, &index, &error);
    if (status == KITH_OK && !folder) kith_index_get_info(index, &info);
    if (option_given(arguments, OPTION_JSON) && status != KITH_E_CANCELLED) {
        verify_json(path, folder ? NULL : &info, status, &error, took_ns);
    } else if (status == KITH_OK && !option_given(arguments, OPTION_QUIET)) {
        verify_text(path, folder ? NULL : &info, took_ns);
    }
    kith_index_close(index);
    kith_pool_destroy(pool);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

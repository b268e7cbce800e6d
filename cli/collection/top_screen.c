/* SPDX-License-Identifier: Apache-2.0
 *
 * The figures of a server for people (top.h). What a server says is foreign text: it is cleaned before it is shown. */
#define _GNU_SOURCE
#include "collection/top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "table.h"
#include "terminal.h"

/* ---- What a server says ------------------------------------------------------------------------------------------ */

static double number(const json_t *object, const char *name) {
    const double value = json_number_value(json_object_get(object, name));
    return isfinite(value) && value > 0 ? value : 0;
}

static uint64_t count(const json_t *object, const char *name) {
    const double value = number(object, name);
    return value < 1e18 ? (uint64_t)value : (uint64_t)1e18;
}

static const char *text(const json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

/* ---- Cells ------------------------------------------------------------------------------------------------------- */

enum { CELL_BYTES = 96 };

/* "0.953 (0.947 to 0.959) of 1,234" */
static const char *recall_cell(char cell[CELL_BYTES], const json_t *collection) {
    char checked[HUMAN_BYTES];
    const json_t *recall = json_object_get(collection, "recall");
    if (!json_is_object(recall) || !count(recall, "checked")) return "-";
    snprintf(cell, CELL_BYTES, "%.3f (%.3f to %.3f) of %s", number(recall, "mean"), number(recall, "low"),
             number(recall, "high"), human_count(checked, count(recall, "checked")));
    return cell;
}

static const char *share_cell(char cell[CELL_BYTES], uint64_t part, uint64_t all) {
    if (!all) return "-";
    snprintf(cell, CELL_BYTES, "%.1f %%", 100 * (double)part / (double)all);
    return cell;
}

/* "merging 40 %", or what else goes on. */
static const char *work_cell(char cell[CELL_BYTES], const json_t *collection) {
    const char *work = text(collection, "work");
    const double all = number(collection, "work_total");
    if (*work && all > 0) {
        snprintf(cell, CELL_BYTES, "%.60s %.0f %%", work, fmin(100, 100 * number(collection, "work_done") / all));
    } else {
        snprintf(cell, CELL_BYTES, "%.60s", work);
    }
    return cell;
}

static void add_collection(struct table *table, const json_t *collection) {
    char cell[CELL_BYTES], human[HUMAN_BYTES];
    const uint64_t hits = count(collection, "cache_hits"), misses = count(collection, "cache_misses");
    const char *name = text(collection, "name");
    table_text(table, name, strlen(name));
    table_format(table, "%s", human_count(human, count(collection, "items")));
    table_format(table, "%llu", (unsigned long long)count(collection, "segments"));
    table_format(table, "%s", human_count(human, count(collection, "head_rows")));
    table_format(table, "%s", share_cell(cell, hits, hits + misses));
    table_format(table, "%s", recall_cell(cell, collection));
    table_format(table, "%s", work_cell(cell, collection));
}

static const struct table_column columns[] = {
    {"collection", TABLE_LEFT},  {"items", TABLE_RIGHT}, {"segments", TABLE_RIGHT}, {"in memory", TABLE_RIGHT},
    {"cache hits", TABLE_RIGHT}, {"recall", TABLE_LEFT}, {"work", TABLE_LEFT},
};

/* At most so many of the collections, and how many there are besides. */
static bool show_collections(FILE *stream, const json_t *stats, size_t most) {
    const json_t *collections = json_object_get(stats, "collections");
    const size_t all = json_array_size(collections), shown = all < most ? all : most;
    struct table *table = table_create(stream, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return false;
    for (size_t i = 0; i < shown; i++) add_collection(table, json_array_get(collections, i));
    const bool whole = table_flush(table);
    table_destroy(table);
    if (shown < all) fprintf(stream, "and %zu more\n", all - shown);
    return whole;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

bool top_table(FILE *stream, const json_t *stats) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    pair_line(stream, "calls", "%s, %s failed", human_rate(a, number(stats, "calls_per_s")),
              human_rate(b, number(stats, "errors_per_s")));
    pair_line(stream, "queries", "%s, %.1f together", human_rate(a, number(stats, "queries_per_s")),
              number(stats, "batch_mean"));
    pair_line(stream, "time", "p50 %s, p99 %s", human_duration(a, number(stats, "p50_ms") / 1e3),
              human_duration(b, number(stats, "p99_ms") / 1e3));
    pair_line(stream, "load", "%.0f %% busy, %s waiting", 100 * number(stats, "busy"),
              human_count(a, count(stats, "queue")));
    pair_line(stream, "held", "%s connections, %s of memory", human_count(b, count(stats, "connections")),
              human_bytes(c, count(stats, "memory_bytes")));
    fputc('\n', stream);
    return show_collections(stream, stats, SIZE_MAX);
}

/* A label, and a value in bold that takes a number of columns. */
static void figure(FILE *stream, const char *label, int columns_wide, const char *value) {
    fprintf(stream, "%-8s%s%-*s%s", label, terminal_style(stream, STYLE_BOLD), columns_wide, value,
            terminal_style(stream, STYLE_PLAIN));
}

void top_screen(FILE *stream, const char *url, const json_t *stats, size_t lines) {
    char a[HUMAN_BYTES], clock[16] = "", shown[512], cell[CELL_BYTES];
    const time_t now = time(NULL);
    struct tm parts;
    if (localtime_r(&now, &parts)) strftime(clock, sizeof(clock), "%H:%M:%S", &parts);
    text_clean(shown, sizeof(shown), url, strlen(url));
    fprintf(stream, "%s%s%s  %s  (q ends)\n\n", terminal_style(stream, STYLE_BOLD), shown,
            terminal_style(stream, STYLE_PLAIN), clock);
    figure(stream, "queries", 16, human_rate(a, number(stats, "queries_per_s")));
    figure(stream, "calls", 16, human_rate(a, number(stats, "calls_per_s")));
    figure(stream, "failed", 0, human_rate(a, number(stats, "errors_per_s")));
    fputc('\n', stream);
    figure(stream, "p50", 16, human_duration(a, number(stats, "p50_ms") / 1e3));
    figure(stream, "p99", 16, human_duration(a, number(stats, "p99_ms") / 1e3));
    snprintf(cell, sizeof(cell), "%.1f queries", number(stats, "batch_mean"));
    figure(stream, "batch", 0, cell);
    fputc('\n', stream);
    snprintf(cell, sizeof(cell), "%.0f %%", 100 * number(stats, "busy"));
    figure(stream, "busy", 16, cell);
    figure(stream, "waiting", 16, human_count(a, count(stats, "queue")));
    figure(stream, "memory", 0, human_bytes(a, count(stats, "memory_bytes")));
    fputc('\n', stream);
    figure(stream, "open", 0, human_count(a, count(stats, "connections")));
    fputs("\n\n", stream);
    show_collections(stream, stats, lines > 10 ? lines - 10 : 1);
}

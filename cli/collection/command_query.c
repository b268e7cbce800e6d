/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith query`: the items of a collection that are nearest to queries of a file, to one of the command line, to a
 * stored item, or to what a profile likes. */
#include "approximate.h"
#include "collection/collection.h"
#include "progress.h"
#include "query_text.h"
#include "source.h"
#include "table.h"
#include "terminal.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 256 }; /* queries of one call */

struct asking {
    const struct arguments *arguments;
    struct shop shop;
    kith_vector_spec spec;
    kith_ask ask;
    kith_ask_report report; /* of the last call */
    kith_explain explain;
    void *single;
    bool leaves_out; /* --id: the first hit that is that very item is left out */
    uint64_t left_out;
    size_t k; /* as printed */
    struct table *table;
    uint64_t start_ns;
};

/* ---- Printing ---------------------------------------------------------------------------------------------------- */

static void id_cell(struct table *table, const struct shop *shop, const kith_hits *hits, size_t at) {
    if (shop->info.id_kind != KITH_ID_STRING) {
        table_format(table, "%llu", (unsigned long long)hits->ids[at]);
        return;
    }
    const uint64_t begin = at ? hits->id_ends[at - 1] : 0;
    table_text(table, hits->id_bytes + begin, (size_t)(hits->id_ends[at] - begin));
}

/* A payload for eyes: of a long string, such as a picture that lies in it, the beginning says enough. What programs read
 * (a pipe, --json) is whole. */
static void payload_cell(struct table *table, const char *payload, size_t bytes) {
    enum { STRING_MOST = 60, CELL_MOST = 1000, DOTS = 3 };
    char cell[CELL_MOST + DOTS];
    size_t used = 0, within = 0; /* bytes of the string that we are in, its quote among them; 0: in none */
    bool escaped = false, cut = false;
    if (!terminal_is(stdout)) {
        table_text(table, payload, bytes);
        return;
    }
    for (size_t i = 0; i < bytes && used < CELL_MOST - DOTS; i++) {
        const bool quote = payload[i] == '"' && !escaped;
        if (within > STRING_MOST && !cut && !quote && !escaped && ((unsigned char)payload[i] & 0xC0) != 0x80) {
            memcpy(cell + used, "...", DOTS);
            used += DOTS;
            cut = true;
        }
        if (quote) cut = false;
        if (!cut) cell[used++] = payload[i];
        within = quote ? !within : within ? within + 1 : 0;
        escaped = within && !escaped && payload[i] == '\\';
    }
    table_text(table, cell, used);
}

static void row_cells(const struct asking *asking, uint64_t query, size_t rank, const kith_hits *hits, size_t at) {
    size_t bytes;
    const char *payload = shop_payload(hits, at, &bytes);
    const float distance = hits->distances[at];
    table_format(asking->table, "%llu", (unsigned long long)query);
    table_format(asking->table, "%zu", rank);
    id_cell(asking->table, &asking->shop, hits, at);
    table_format(asking->table, "%.7g", distance < 0 || distance > 0 ? (double)distance : 0.0);
    payload_cell(asking->table, payload, bytes);
}

/* Whether a hit is printed, as the rank-th one. */
static bool printed(const struct asking *asking, const kith_hits *hits, size_t at, size_t *rank) {
    if ((asking->leaves_out && hits->ids[at] == asking->left_out) || *rank == asking->k) return false;
    ++*rank;
    return true;
}

static void print_query(struct asking *asking, uint64_t number, const kith_hits *hits, uint64_t begin, uint64_t end) {
    size_t rank = 0;
    struct json json = JSON_LINES(stdout);
    if (asking->table) {
        for (uint64_t i = begin; i < end; i++)
            if (printed(asking, hits, (size_t)i, &rank)) row_cells(asking, number, rank, hits, (size_t)i);
        return;
    }
    emit_object(&json, NULL);
    emit_uint(&json, "query", number);
    emit_array(&json, "results");
    for (uint64_t i = begin; i < end; i++) {
        if (!printed(asking, hits, (size_t)i, &rank)) continue;
        emit_object(&json, NULL);
        shop_item_json(&json, &asking->shop, hits, (size_t)i);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_object_end(&json);
}

static int print_hits(struct asking *asking, uint64_t first) {
    kith_hits hits = KITH_HITS_INIT;
    if (kith_result_hits(asking->shop.result, &hits) != KITH_OK) return fail(EXIT_OTHER, "the result cannot be read");
    for (size_t q = 0; q < hits.queries; q++)
        print_query(asking, first + q, &hits, q ? hits.ends[q - 1] : 0, hits.ends[q]);
    if (asking->table && !table_flush(asking->table)) return fail(EXIT_OTHER, "out of memory");
    return fflush(stdout) ? EXIT_BROKEN : EXIT_OK;
}

static void explain_json(const kith_ask_report *report, const kith_explain *explain) {
    struct json json = JSON_LINES(stderr);
    emit_object(&json, NULL);
    emit_uint(&json, "version", report->version);
    emit_uint(&json, "generation", report->generation);
    emit_uint(&json, "items", report->items);
    emit_uint(&json, "matched", report->matched);
    emit_uint(&json, "segments", report->segments);
    emit_uint(&json, "head_rows", report->head_rows);
    emit_bool(&json, "exact", report->exact != 0);
    emit_text(&json, "filter", report->filter_how);
    emit_text(&json, "plan", explain->plan_name ? explain->plan_name : "");
    emit_uint(&json, "scanned_rows", explain->scanned_rows);
    emit_uint(&json, "visited", explain->visited);
    emit_uint(&json, "reranked", explain->reranked);
    emit_uint(&json, "filter_ns", report->filter_ns);
    emit_uint(&json, "segments_ns", report->segments_ns);
    emit_uint(&json, "head_ns", report->head_ns);
    emit_uint(&json, "read_ns", report->read_ns);
    emit_uint(&json, "total_ns", report->total_ns);
    emit_object_end(&json);
}

static void explain_text(const kith_ask_report *report, const kith_explain *explain) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    pair_line(stderr, "state", "version %llu, generation %u, %s items, %s of them match",
              (unsigned long long)report->version, report->generation, human_count(a, report->items),
              human_count(b, report->matched));
    if (*report->filter_how) pair_line(stderr, "filter", "%s", report->filter_how);
    if (report->read_payloads)
        pair_line(stderr, "", "reads payloads: a field that is not declared (kith declare makes it fast)");
    pair_line(stderr, "searched", "%zu segments, %s rows in memory", report->segments,
              human_count(a, report->head_rows));
    pair_line(stderr, "answers", "%s%s%s", report->exact ? "exact" : "approximate",
              explain->plan_name && *explain->plan_name ? ", plan " : "", explain->plan_name ? explain->plan_name : "");
    pair_line(stderr, "time", "%s: filter %s, segments %s", human_duration(a, (double)report->total_ns * 1e-9),
              human_duration(b, (double)report->filter_ns * 1e-9),
              human_duration(c, (double)report->segments_ns * 1e-9));
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

static int search_and_print(struct asking *asking, uint64_t first) {
    kith_error error = {0};
    asking->report = (kith_ask_report)KITH_ASK_REPORT_INIT;
    asking->explain = (kith_explain)KITH_EXPLAIN_INIT;
    const kith_status status =
        kith_collection_search(asking->shop.collection, &asking->ask, asking->shop.result, &error);
    return status == KITH_OK ? print_hits(asking, first) : fail_status(status, &error);
}

static int search_rows(struct asking *asking, const void *data, kith_dtype dtype, size_t count, uint64_t first) {
    kith_queries queries = KITH_QUERIES_INIT;
    kith_leg leg = {.vector = asking->spec.name, .queries = &queries};
    queries.data = data;
    queries.dtype = dtype;
    queries.count = count;
    queries.dim = asking->spec.dim;
    asking->ask.legs = &leg;
    asking->ask.leg_count = 1;
    return search_and_print(asking, first);
}

static int search_file(struct asking *asking) {
    kith_reader *reader = NULL;
    kith_reader_info about = KITH_READER_INFO_INIT;
    kith_error error = {0};
    kith_rows rows = {.count = 1};
    const char *path = asking->arguments->operands[1];
    int failed = source_open(asking->arguments, path, asking->spec.dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE,
                             &reader, &about);
    if (!failed && about.dim != asking->spec.dim)
        failed = fail(EXIT_INPUT, "%s has queries of %zu elements, but the vectors of %s have %zu", path, about.dim,
                      asking->shop.path, asking->spec.dim);
    while (!failed && rows.count) {
        const kith_status status = kith_reader_next(reader, BATCH, &rows, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
        if (!failed && rows.count) failed = search_rows(asking, rows.data, about.dtype, rows.count, rows.first);
    }
    kith_reader_close(reader);
    return failed;
}

/* The vector of the item that --id names. */
static int single_from_id(struct asking *asking) {
    const char *text = option_text(asking->arguments, OPTION_ID, "");
    struct shop_ids ids = {0};
    kith_error error = {0};
    kith_hits hits = KITH_HITS_INIT;
    const uint8_t *present = NULL;
    int failed = shop_ids_parse(&asking->shop, &text, 1, &ids);
    if (!failed) {
        const kith_status status = kith_collection_generation_get(
            asking->shop.collection, asking->shop.generation, &ids.ids, KITH_WITH_VECTORS, asking->shop.result, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    shop_ids_free(&ids);
    if (failed) return failed;
    if (kith_result_hits(asking->shop.result, &hits) != KITH_OK || hits.count == 0)
        return fail(EXIT_ABSENT, "%s has no item %s", asking->shop.path, text);
    const void *row = kith_result_vectors(asking->shop.result, asking->spec.name, &present);
    if (!row || !present[0]) return fail(EXIT_ABSENT, "item %s has no such vector", text);
    const bool bits = asking->spec.dtype == KITH_B1;
    memcpy(asking->single, row, bits ? asking->spec.dim / 8 : asking->spec.dim * sizeof(float));
    asking->leaves_out = true;
    asking->left_out = hits.ids[0];
    if (asking->ask.k < KITH_K_MAX) asking->ask.k++;
    return EXIT_OK;
}

static int search_single(struct asking *asking) {
    const bool bits = asking->spec.dtype == KITH_B1;
    asking->single = calloc(asking->spec.dim, sizeof(float)); /* enough for bits too */
    if (!asking->single) return fail(EXIT_OTHER, "out of memory");
    const int failed = option_given(asking->arguments, OPTION_QUERY)
                           ? query_parse(option_text(asking->arguments, OPTION_QUERY, ""), asking->shop.path, bits,
                                         asking->spec.dim, asking->single)
                           : single_from_id(asking);
    return failed ? failed : search_rows(asking, asking->single, bits ? KITH_B1 : KITH_F32, 1, 0);
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int check_sources(const struct arguments *arguments) {
    const int sources =
        (arguments->operand_count > 1) + option_given(arguments, OPTION_QUERY) + option_given(arguments, OPTION_ID);
    const bool profile = option_given(arguments, OPTION_PROFILE);
    if (option_given(arguments, OPTION_GENERATION) && option_given(arguments, OPTION_USER))
        return fail_usage(COMMAND_QUERY,
                          "--generation and --user both say which generation is asked: give one of them");
    if (profile && (sources > 1 || arguments->operand_count > 1))
        return fail_usage(COMMAND_QUERY, "with --profile, query takes one of --query and --id at most");
    if (!profile && (option_given(arguments, OPTION_BLEND) || option_given(arguments, OPTION_WITH_SEEN)))
        return fail_usage(COMMAND_QUERY, "--blend and --with-seen are of a --profile");
    if (profile || sources == 1) return EXIT_OK;
    return fail_usage(COMMAND_QUERY,
                      "query takes one of a file of queries, --query, --id and --profile, but %d were given", sources);
}

/* The vector that queries are of: that of the profile, if there is one. */
static int query_vector(struct asking *asking) {
    const char *name = option_text(asking->arguments, OPTION_PROFILE, NULL);
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    kith_error error = {0};
    if (!name || option_given(asking->arguments, OPTION_VECTOR))
        return shop_vector(asking->arguments, &asking->shop, &asking->spec);
    const kith_status status = kith_collection_profile_get(asking->shop.collection, name, &report, NULL, 0, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    for (size_t i = 0; shop_spec(&asking->shop, i, &asking->spec); i++)
        if (strcmp(asking->spec.name, report.vector) == 0) return EXIT_OK;
    return fail(EXIT_OTHER, "%s has no vector \"%s\"", asking->shop.path, report.vector);
}

static void ask_profile(struct asking *asking) {
    const struct arguments *arguments = asking->arguments;
    asking->ask.profile = option_text(arguments, OPTION_PROFILE, NULL);
    asking->ask.blend = option_real(arguments, OPTION_BLEND, 0);
    asking->ask.diversity = option_real(arguments, OPTION_DIVERSITY, 0);
    asking->ask.leave_out_seen = asking->ask.profile && !option_given(arguments, OPTION_WITH_SEEN);
}

/* By a profile alone, by a context too, or by queries. */
static int search_all(struct asking *asking) {
    const struct arguments *arguments = asking->arguments;
    if (arguments->operand_count > 1) return search_file(asking);
    if (asking->ask.profile && !option_given(arguments, OPTION_QUERY) && !option_given(arguments, OPTION_ID))
        return search_and_print(asking, 0);
    return search_single(asking);
}

static int prepare(struct asking *asking) {
    const struct arguments *arguments = asking->arguments;
    static const struct table_column columns[] = {{"query", TABLE_RIGHT},
                                                  {"rank", TABLE_RIGHT},
                                                  {"id", TABLE_LEFT},
                                                  {"distance", TABLE_RIGHT},
                                                  {"payload", TABLE_LEFT}};
    kith_search_options wishes = KITH_SEARCH_OPTIONS_INIT;
    int failed = approximate_options(arguments, &wishes);
    if (!failed) failed = shop_open(arguments, true, &asking->shop);
    if (!failed) failed = query_vector(asking);
    if (failed) return failed;
    asking->k = (size_t)option_number(arguments, OPTION_K, 10);
    asking->ask.k = asking->k;
    asking->ask.filter = option_text(arguments, OPTION_WHERE, NULL);
    asking->ask.segment = option_text(arguments, OPTION_SEGMENT, NULL);
    asking->ask.target_recall = wishes.target_recall;
    asking->ask.plan = wishes.plan;
    asking->ask.model = option_text(arguments, OPTION_MODEL, NULL);
    asking->ask.generation = asking->shop.generation; /* for all queries the same, whatever becomes current */
    asking->ask.with = KITH_WITH_PAYLOAD;
    ask_profile(asking);
    asking->ask.timeout_ns = option_number(arguments, OPTION_TIMEOUT, 0);
    asking->ask.cancelled = interrupt_asked;
    asking->ask.report = &asking->report;
    asking->ask.explain = &asking->explain;
    if (option_given(arguments, OPTION_JSON)) return EXIT_OK;
    asking->table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    return asking->table ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

int command_query(const struct arguments *arguments) {
    struct asking asking = {.arguments = arguments};
    asking.ask = (kith_ask)KITH_ASK_INIT;
    int failed = check_sources(arguments);
    if (!failed) failed = prepare(&asking);
    if (!failed) failed = search_all(&asking);
    if (!failed && option_given(arguments, OPTION_EXPLAIN)) {
        if (asking.table) {
            explain_text(&asking.report, &asking.explain);
        } else {
            explain_json(&asking.report, &asking.explain);
        }
    }
    table_destroy(asking.table);
    free(asking.single);
    shop_close(&asking.shop);
    return failed;
}

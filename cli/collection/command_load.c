/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith load`: all rows of files of vectors as one segment of a collection. */
#define _GNU_SOURCE
#include "collection/items.h"
#include "collection/lines.h"
#include "progress.h"
#include "source.h"
#include "table.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

struct loading {
    const struct arguments *arguments;
    struct shop shop;
    struct progress progress;
    kith_load_vectors vectors[OPERANDS_MAX];
    size_t vector_count;
    struct lines lines; /* payloads that lie beside the vectors of a file of lines */
    struct growing bytes, ends;
    int failed; /* of a payload, which was told */
};

/* ---- Payloads of lines ------------------------------------------------------------------------------------------- */

/* The next line that is not blank: a row. */
static int next_row(struct loading *loading, size_t *bytes) {
    int failed = EXIT_OK;
    do {
        failed = lines_next(&loading->lines, bytes);
    } while (!failed && *bytes != SIZE_MAX && *bytes == strspn(loading->lines.text, " \t"));
    if (!failed && *bytes == SIZE_MAX) failed = fail(EXIT_INPUT, "%s has fewer lines than it had", loading->lines.path);
    return failed;
}

static int add_row(struct loading *loading) {
    size_t bytes = 0;
    char *payload = NULL;
    int failed = next_row(loading, &bytes);
    if (!failed)
        failed = item_line_payload(loading->lines.path, loading->lines.number, loading->lines.text, bytes,
                                   option_text(loading->arguments, OPTION_VECTOR_KEY, NULL), &payload);
    const bool kept = failed || !payload || growing_add(&loading->bytes, payload, strlen(payload));
    const uint64_t end = loading->bytes.used;
    free(payload);
    return kept && (failed || growing_add(&loading->ends, &end, sizeof(end))) ? failed
                                                                              : fail(EXIT_OTHER, "out of memory");
}

/* A kith_payloads_fn. */
static kith_status give_payloads(void *context, uint64_t first, size_t count, kith_payloads *payloads,
                                 kith_error *error) {
    struct loading *loading = context;
    size_t bytes;
    loading->bytes.used = loading->ends.used = 0;
    if (first == 0) /* rows that --first-row leaves out */
        for (uint64_t i = option_number(loading->arguments, OPTION_FIRST_ROW, 0); i > 0 && !loading->failed; i--)
            loading->failed = next_row(loading, &bytes);
    for (size_t i = 0; i < count && !loading->failed; i++) loading->failed = add_row(loading);
    *payloads = (kith_payloads){loading->bytes.data, (const uint64_t *)(const void *)loading->ends.data};
    if (!loading->failed) return KITH_OK;
    error->status = KITH_E_FORMAT;
    snprintf(error->text, sizeof(error->text), "%s: its payloads cannot be read", loading->lines.path);
    return KITH_E_FORMAT;
}

/* ---- What is loaded ---------------------------------------------------------------------------------------------- */

/* NAME=FILE, where NAME is one of the collection's vectors; else the vector that --vector says. */
static int take_name(const struct loading *loading, const char *operand, kith_vector_spec *spec, const char **path) {
    const char *equals = strchr(operand, '=');
    for (size_t i = 0; equals && i < loading->shop.info.vectors; i++) {
        if (kith_collection_vector(loading->shop.collection, i, spec) != KITH_OK) continue;
        if (strlen(spec->name) != (size_t)(equals - operand) || memcmp(spec->name, operand, strlen(spec->name)) != 0)
            continue;
        *path = equals + 1;
        return EXIT_OK;
    }
    *path = operand;
    return shop_vector(loading->arguments, &loading->shop, spec);
}

static int add_vectors(struct loading *loading, const char *operand) {
    kith_vector_spec spec = {0};
    kith_reader_info about = KITH_READER_INFO_INIT;
    kith_reader_options options = source_options(loading->arguments);
    const char *path = operand;
    kith_load_vectors *vectors = &loading->vectors[loading->vector_count];
    const int failed = take_name(loading, operand, &spec, &path);
    if (failed) return failed;
    options.dtype = spec.dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE;
    if (loading->vector_count) options.ids_path = NULL; /* those of the first file are the items' */
    vectors->name = spec.name;
    const int refused = source_open_with(loading->arguments, path, &options, &vectors->reader, &about);
    loading->vector_count += !refused;
    return refused;
}

/* Lines of items hold their payloads, unless those are given beside. */
static int open_payloads(struct loading *loading, kith_load_options *options) {
    const char *path = loading->arguments->operands[1];
    options->payloads_path = source_path(option_text(loading->arguments, OPTION_PAYLOADS, NULL));
    if (options->payloads_path || loading->vector_count > 1 || !lines_are(loading->arguments, path)) return EXIT_OK;
    if (strcmp(path, "-") == 0)
        return fail_usage(COMMAND_LOAD, "lines of items are read twice, which standard input cannot be: use add");
    options->payloads = give_payloads;
    options->payloads_context = loading;
    return lines_open(path, &loading->lines);
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static void say(const struct loading *loading, const kith_load_report *report) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    if (option_given(loading->arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "inserted", report->inserted);
        emit_uint(&json, "replaced", report->replaced);
        emit_uint(&json, "version", report->version);
        emit_uint(&json, "resumed", report->resumed);
        emit_uint(&json, "total_ns", report->total_ns);
        emit_uint(&json, "commit_ns", report->commit_ns);
        emit_object_end(&json);
    } else if (!option_given(loading->arguments, OPTION_QUIET)) {
        printf("%s: %s items loaded, %s replaced, in %s\n", loading->shop.path, human_count(a, report->inserted),
               human_count(b, report->replaced), human_duration(c, (double)report->total_ns * 1e-9));
    }
}

static int load(struct loading *loading) {
    const struct arguments *arguments = loading->arguments;
    kith_load_options options = KITH_LOAD_OPTIONS_INIT;
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    kith_error error = {0};
    options.mode = (kith_write_mode)option_number(arguments, OPTION_MODE, KITH_UPSERT);
    options.resume = option_given(arguments, OPTION_RESUME);
    options.threads = (unsigned)option_number(arguments, OPTION_THREADS, 0);
    options.memory_bytes = option_number(arguments, OPTION_MEMORY, 0);
    options.no_calibration = option_given(arguments, OPTION_NO_CALIBRATION);
    options.progress = progress_report;
    options.progress_context = &loading->progress;
    const int failed = open_payloads(loading, &options);
    if (failed) return failed;
    const kith_status status = kith_collection_load(loading->shop.collection, loading->vectors, loading->vector_count,
                                                    &options, &report, &error);
    progress_end(&loading->progress);
    if (status == KITH_OK) {
        say(loading, &report);
        return EXIT_OK;
    }
    if (status == KITH_E_CANCELLED && !option_given(arguments, OPTION_QUIET))
        note("what is built stays in %s: the same command with --resume goes on", loading->shop.path);
    return loading->failed ? loading->failed : fail_status(status, &error);
}

int command_load(const struct arguments *arguments) {
    struct loading loading = {.arguments = arguments};
    int failed = shop_open(arguments, false, &loading.shop);
    progress_start(&loading.progress, option_given(arguments, OPTION_QUIET));
    for (size_t i = 1; i < arguments->operand_count && !failed; i++)
        failed = add_vectors(&loading, arguments->operands[i]);
    if (!failed) failed = load(&loading);
    for (size_t i = 0; i < loading.vector_count; i++) kith_reader_close(loading.vectors[i].reader);
    lines_close(&loading.lines);
    free(loading.bytes.data);
    free(loading.ends.data);
    shop_close(&loading.shop);
    return failed;
}

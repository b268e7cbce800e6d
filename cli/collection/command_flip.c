/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith flip`, which makes a generation current, and `kith generation FOLDER check`, which looks at one before. */
#include "collection/generation.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"

int generation_check_options_of(enum command_id command, const struct arguments *arguments,
                                kith_generation_check_options *options) {
    *options = (kith_generation_check_options)KITH_GENERATION_CHECK_OPTIONS_INIT;
    options->sample = (size_t)option_number(arguments, OPTION_SAMPLE, options->sample);
    options->k = (size_t)option_number(arguments, OPTION_K, options->k);
    options->seed = option_number(arguments, OPTION_SEED, 0);
    return generation_share(command, arguments, OPTION_TARGET_RECALL, "target-recall", options->target_recall,
                            &options->target_recall);
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

/* A bar on the terminal would stand in the way of lines. */
static void print_lacking(void *context, uint64_t id, const char *text, size_t text_bytes, const char *vector) {
    struct json json = JSON_LINES(stdout);
    progress_end(context);
    emit_object(&json, NULL);
    if (text_bytes) {
        emit_bytes(&json, "lacking", text, text_bytes);
    } else {
        emit_uint(&json, "lacking", id);
    }
    emit_text(&json, "vector", vector);
    emit_object_end(&json);
}

static void report_json(const kith_generation_report *report) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_uint(&json, "number", report->number);
    emit_uint(&json, "current", report->current);
    emit_uint(&json, "version", report->version);
    emit_uint(&json, "items", report->items);
    emit_uint(&json, "with_vectors", report->with_vectors);
    emit_uint(&json, "lacking", report->lacking);
    emit_uint(&json, "sampled", report->sampled);
    emit_real(&json, "recall", report->recall);
    emit_real(&json, "overlap", report->overlap);
    emit_object_end(&json);
}

static void report_text(FILE *stream, const kith_generation_report *report, double target) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    pair_line(stream, "state", "version %llu, %s items", (unsigned long long)report->version,
              human_count(a, report->items));
    pair_line(stream, "generation", "%u, beside %u, which is current", report->number, report->current);
    pair_line(stream, "vectors", "%s items have them, %s lack some", human_count(b, report->with_vectors),
              human_count(c, report->lacking));
    if (!report->sampled) return;
    pair_line(stream, "sought", "%s stored vectors", human_count(a, report->sampled));
    pair_line(stream, "recall", "%.4f at a target of %g", report->recall, target);
    pair_line(stream, "overlap", "%.4f of the neighbours are those of generation %u", report->overlap, report->current);
}

int generation_check(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    kith_generation_check_options options;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    kith_error error = {0};
    struct progress progress;
    const bool lines = option_given(arguments, OPTION_LACKING);
    const int failed = generation_check_options_of(COMMAND_GENERATION, arguments, &options);
    if (failed) return failed;
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    options.lacking = lines ? print_lacking : NULL;
    options.lacking_context = &progress;
    options.progress = progress_report;
    options.progress_context = &progress;
    const kith_status status = kith_collection_generation_check(shop->collection, number, &options, &report, &error);
    progress_end(&progress);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        report_json(&report);
    } else if (!lines || !option_given(arguments, OPTION_QUIET)) {
        report_text(lines ? stderr : stdout, &report, options.target_recall);
    }
    return EXIT_OK;
}

/* ---- Flipping ---------------------------------------------------------------------------------------------------- */

static void flip_json(const kith_flip_report *report, uint64_t took_ns) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_uint(&json, "from", report->from);
    emit_uint(&json, "to", report->to);
    emit_uint(&json, "items", report->items);
    emit_uint(&json, "with_vectors", report->with_vectors);
    emit_real(&json, "recall", report->recall);
    emit_real(&json, "overlap", report->overlap);
    emit_uint(&json, "pause_ns", report->pause_ns);
    emit_uint(&json, "total_ns", took_ns);
    emit_object_end(&json);
}

static void flip_text(const struct shop *shop, const kith_flip_report *report) {
    char time[HUMAN_BYTES];
    if (report->from == report->to) {
        printf("%s: generation %u is current already\n", shop->path, report->to);
    } else {
        printf("%s: generation %u is current, %u was before; writes waited for %s\n", shop->path, report->to,
               report->from, human_duration(time, (double)report->pause_ns * 1e-9));
    }
}

static int check_operands(const struct arguments *arguments) {
    const bool back = option_given(arguments, OPTION_BACK), number = arguments->operand_count > 1;
    if (back != number) return EXIT_OK;
    return fail_usage(COMMAND_FLIP, "flip needs the number of a generation, or --back%s",
                      back ? ", but not both" : "; kith generation shows them");
}

/* *required: whether anything is; going back asks for nothing by itself. */
static int flip_options_of(const struct arguments *arguments, kith_generation_check_options *check,
                           kith_flip_options *options, bool *required) {
    const bool back = option_given(arguments, OPTION_BACK);
    *options = (kith_flip_options)KITH_FLIP_OPTIONS_INIT;
    *required = !back || option_given(arguments, OPTION_MIN_SHARE) || option_given(arguments, OPTION_MIN_RECALL) ||
                option_given(arguments, OPTION_MIN_OVERLAP);
    options->check = check;
    int failed = generation_check_options_of(COMMAND_FLIP, arguments, check);
    if (!failed)
        failed =
            generation_share(COMMAND_FLIP, arguments, OPTION_MIN_SHARE, "min-share", back ? 0 : 1, &options->min_share);
    if (!failed)
        failed = generation_share(COMMAND_FLIP, arguments, OPTION_MIN_RECALL, "min-recall", 0, &options->min_recall);
    if (!failed)
        failed = generation_share(COMMAND_FLIP, arguments, OPTION_MIN_OVERLAP, "min-overlap", 0, &options->min_overlap);
    return failed;
}

int command_flip(const struct arguments *arguments) {
    struct shop shop = {0};
    kith_generation_check_options check;
    kith_flip_options options;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    kith_error error = {0};
    struct progress progress;
    bool required;
    uint32_t number = 0;
    const uint64_t start_ns = now_ns();
    int failed = check_operands(arguments);
    if (!failed) failed = flip_options_of(arguments, &check, &options, &required);
    if (!failed && arguments->operand_count > 1)
        failed = generation_parse(COMMAND_FLIP, arguments->operands[1], &number);
    if (failed) return failed;
    failed = shop_open(arguments, false, &shop);
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    check.progress = progress_report;
    check.progress_context = &progress;
    kith_status status = KITH_OK;
    if (!failed) status = kith_collection_flip(shop.collection, number, required ? &options : NULL, &report, &error);
    progress_end(&progress);
    if (!failed && status != KITH_OK) failed = fail_status(status, &error);
    if (status == KITH_E_DATA && !option_given(arguments, OPTION_QUIET))
        note("kith generation %s check says more; with --lacking, which items lack vectors", shop.path);
    if (!failed && option_given(arguments, OPTION_JSON)) {
        flip_json(&report, now_ns() - start_ns);
    } else if (!failed && !option_given(arguments, OPTION_QUIET)) {
        flip_text(&shop, &report);
    }
    shop_close(&shop);
    return failed;
}

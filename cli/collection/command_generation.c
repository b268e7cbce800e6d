/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith generation` and `kith flip`: generations of a collection listed, begun, checked, tried and dropped; which one
 * is current. */
#include "collection/collection.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Listing ----------------------------------------------------------------------------------------------------- */

/* Vectors of a generation: all of its names. */
static kith_status vector_of(const struct shop *shop, uint32_t number, size_t at, kith_vector_spec *spec) {
    return kith_collection_generation_vector(shop->collection, number, at, spec, NULL);
}

static void list_json(const struct shop *shop) {
    struct json json = JSON_LINES(stdout);
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    kith_vector_spec spec;
    for (size_t place = 0; kith_collection_generation(shop->collection, place, &info, NULL) == KITH_OK; place++) {
        emit_object(&json, NULL);
        emit_uint(&json, "generation", info.number);
        emit_text(&json, "state", kith_generation_state_name(info.state));
        emit_text(&json, "model", info.model);
        emit_real(&json, "share", info.share);
        emit_uint(&json, "created_ms", info.created_ms);
        emit_uint(&json, "own", info.own);
        emit_array(&json, "vectors");
        for (size_t i = 0; vector_of(shop, info.number, i, &spec) == KITH_OK; i++) {
            emit_object(&json, NULL);
            emit_text(&json, "name", spec.name);
            emit_uint(&json, "dim", spec.dim);
            emit_text(&json, "dtype", kith_dtype_name(spec.dtype));
            emit_text(&json, "metric", kith_metric_name(spec.metric));
            emit_object_end(&json);
        }
        emit_array_end(&json);
        emit_object_end(&json);
    }
}

/* "image: 512 f16 cosine, title: 384 f32 l2": cut where it is long. */
enum { VECTORS_TEXT = 200 };
static size_t vectors_text(const struct shop *shop, uint32_t number, char text[VECTORS_TEXT]) {
    kith_vector_spec spec;
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; used < VECTORS_TEXT - 1 && vector_of(shop, number, i, &spec) == KITH_OK; i++) {
        const int bytes =
            snprintf(text + used, VECTORS_TEXT - used, "%s%s%s%zu %s %s", i ? ", " : "", spec.name,
                     *spec.name ? ": " : "", spec.dim, kith_dtype_name(spec.dtype), kith_metric_name(spec.metric));
        used += bytes > 0 ? (size_t)bytes : 0;
    }
    return strlen(text);
}

static int list_text(const struct shop *shop) {
    static const struct table_column columns[] = {{"generation", TABLE_RIGHT},
                                                  {"state", TABLE_LEFT},
                                                  {"users", TABLE_RIGHT},
                                                  {"model", TABLE_LEFT},
                                                  {"vectors", TABLE_LEFT}};
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    char vectors[VECTORS_TEXT];
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return fail(EXIT_OTHER, "out of memory");
    for (size_t place = 0; kith_collection_generation(shop->collection, place, &info, NULL) == KITH_OK; place++) {
        const char *state = kith_generation_state_name(info.state);
        table_format(table, "%u", (unsigned)info.number);
        table_text(table, state, strlen(state));
        table_format(table, "%.4g%%", info.share * 100);
        table_text(table, info.model, strlen(info.model));
        table_text(table, vectors, vectors_text(shop, info.number, vectors));
    }
    const bool done = table_flush(table);
    table_destroy(table);
    return done ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int list(const struct arguments *arguments, const struct shop *shop) {
    if (!option_given(arguments, OPTION_JSON)) return list_text(shop);
    list_json(shop);
    return EXIT_OK;
}

/* ---- Begun ------------------------------------------------------------------------------------------------------- */

static int begin(const struct arguments *arguments, const struct shop *shop) {
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_vector_spec single = {.name = "", .dim = (size_t)option_number(arguments, OPTION_DIM, 0)}, *specs = NULL;
    kith_error error = {0};
    char *words = NULL;
    uint32_t number = 0;
    int failed = EXIT_OK;
    single.metric = (kith_metric)option_number(arguments, OPTION_METRIC, KITH_METRIC_NONE);
    single.dtype = (kith_dtype)option_number(arguments, OPTION_DTYPE, KITH_DTYPE_NONE);
    options.model = option_text(arguments, OPTION_MODEL, NULL);
    options.vectors = &single;
    options.vector_count = 1;
    if (option_given(arguments, OPTION_VECTORS)) {
        failed = shop_vectors_parse(option_text(arguments, OPTION_VECTORS, ""), &specs, &options.vector_count, &words);
        options.vectors = specs;
    }
    if (!failed) {
        const kith_status status = kith_collection_generation_begin(shop->collection, &options, &number, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    if (!failed && !option_given(arguments, OPTION_QUIET)) printf("%u\n", (unsigned)number);
    free(specs);
    free(words);
    return failed;
}

/* ---- Checked ----------------------------------------------------------------------------------------------------- */

static int check(const struct arguments *arguments, const struct shop *shop, uint32_t number) {
    kith_generation_check_options options = KITH_GENERATION_CHECK_OPTIONS_INIT;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    kith_error error = {0};
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    options.k = (size_t)option_number(arguments, OPTION_K, 10);
    options.target_recall = option_real(arguments, OPTION_TARGET_RECALL, options.target_recall);
    const kith_status status = kith_collection_generation_check(shop->collection, number, &options, &report, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "generation", report.number);
        emit_uint(&json, "current", report.current);
        emit_uint(&json, "version", report.version);
        emit_uint(&json, "items", report.items);
        emit_uint(&json, "with_vectors", report.with_vectors);
        emit_uint(&json, "lacking", report.lacking);
        emit_uint(&json, "sampled", report.sampled);
        emit_real(&json, "recall", report.recall);
        emit_real(&json, "overlap", report.overlap);
        emit_object_end(&json);
        return EXIT_OK;
    }
    pair_line(stdout, "items", "%s, %s of them with its vectors, %s without", human_count(a, report.items),
              human_count(b, report.with_vectors), human_count(c, report.lacking));
    pair_line(stdout, "recall", "%.4f at a target of %g, of %zu vectors", report.recall, options.target_recall,
              report.sampled);
    pair_line(stdout, "overlap", "%.4f of the %zu nearest are those of generation %u too", report.overlap, options.k,
              (unsigned)report.current);
    return EXIT_OK;
}

/* ---- The commands ------------------------------------------------------------------------------------------------ */

/* What is to be done: one thing at most. */
static int check_arguments(const struct arguments *arguments) {
    const bool begins = option_given(arguments, OPTION_BEGIN), numbered = arguments->operand_count > 1;
    const int acts = option_given(arguments, OPTION_CHECK) + option_given(arguments, OPTION_CANARY) +
                     option_given(arguments, OPTION_DROP);
    const bool shapes = option_given(arguments, OPTION_DIM) || option_given(arguments, OPTION_METRIC) ||
                        option_given(arguments, OPTION_DTYPE);
    if (acts + begins > 1) return fail_usage(COMMAND_GENERATION, "--begin, --check, --canary and --drop go one by one");
    if (acts && !numbered) return fail_usage(COMMAND_GENERATION, "which generation is meant? Its number is missing");
    if (numbered && !acts) return fail_usage(COMMAND_GENERATION, "a number goes with --check, --canary or --drop");
    if (!begins && (shapes || option_given(arguments, OPTION_VECTORS) || option_given(arguments, OPTION_MODEL)))
        return fail_usage(COMMAND_GENERATION, "vectors and model are said of a generation that is begun: --begin");
    if (begins && option_given(arguments, OPTION_DIM) == option_given(arguments, OPTION_VECTORS))
        return fail_usage(COMMAND_GENERATION, "--begin needs --dim, for the unnamed vector, or --vectors");
    if (shapes && option_given(arguments, OPTION_VECTORS))
        return fail_usage(COMMAND_GENERATION, "--vectors gives each vector its type and metric: NAME:DIM:TYPE:METRIC");
    return EXIT_OK;
}

/* A number of a generation: a word of the command line. */
static int parse_generation(enum command_id command, const char *text, uint32_t *number) {
    uint64_t read;
    if (!parse_number(text, strlen(text), &read) || read == 0 || read > UINT32_MAX)
        return fail_usage(command, "\"%s\" is no number of a generation", text);
    *number = (uint32_t)read;
    return EXIT_OK;
}

int command_generation(const struct arguments *arguments) {
    struct shop shop = {0};
    uint32_t number = 0;
    kith_error error = {0};
    kith_status status = KITH_OK;
    const bool changes = option_given(arguments, OPTION_BEGIN) || option_given(arguments, OPTION_CANARY) ||
                         option_given(arguments, OPTION_DROP);
    int failed = check_arguments(arguments);
    if (!failed && arguments->operand_count > 1)
        failed = parse_generation(COMMAND_GENERATION, arguments->operands[1], &number);
    if (!failed) failed = shop_open(arguments, !changes, &shop);
    if (!failed && option_given(arguments, OPTION_BEGIN)) {
        failed = begin(arguments, &shop);
    } else if (!failed && option_given(arguments, OPTION_CHECK)) {
        failed = check(arguments, &shop, number);
    } else if (!failed && option_given(arguments, OPTION_CANARY)) {
        status = kith_collection_generation_canary(shop.collection, number, option_real(arguments, OPTION_CANARY, 0),
                                                   &error);
    } else if (!failed && option_given(arguments, OPTION_DROP)) {
        status = kith_collection_generation_drop(shop.collection, number, &error);
    } else if (!failed) {
        failed = list(arguments, &shop);
    }
    if (status != KITH_OK) failed = fail_status(status, &error);
    shop_close(&shop);
    return failed;
}

static int flip(const struct arguments *arguments, const struct shop *shop, uint32_t number) {
    kith_flip_options options = KITH_FLIP_OPTIONS_INIT;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    kith_error error = {0};
    char pause[HUMAN_BYTES];
    options.min_share = option_real(arguments, OPTION_MIN_SHARE, number ? 1 : 0);
    options.min_recall = option_real(arguments, OPTION_MIN_RECALL, 0);
    options.min_overlap = option_real(arguments, OPTION_MIN_OVERLAP, 0);
    const kith_status status = kith_collection_flip(shop->collection, number, &options, &report, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "from", report.from);
        emit_uint(&json, "to", report.to);
        emit_uint(&json, "pause_ns", report.pause_ns);
        emit_object_end(&json);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        printf("generation %u is current, after %u; writes waited for %s\n", (unsigned)report.to, (unsigned)report.from,
               human_duration(pause, (double)report.pause_ns * 1e-9));
    }
    return EXIT_OK;
}

int command_flip(const struct arguments *arguments) {
    struct shop shop = {0};
    uint32_t number = 0;
    const bool back = option_given(arguments, OPTION_BACK);
    int failed = EXIT_OK;
    if (back == (arguments->operand_count > 1))
        failed = fail_usage(COMMAND_FLIP, "flip takes the number of a generation, or --back");
    if (!failed && !back) failed = parse_generation(COMMAND_FLIP, arguments->operands[1], &number);
    if (!failed) failed = shop_open(arguments, false, &shop);
    if (!failed) failed = flip(arguments, &shop, number);
    shop_close(&shop);
    return failed;
}

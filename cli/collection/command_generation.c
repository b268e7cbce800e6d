/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith generation`: the generations of a collection, shown, begun, checked, tried with some users, and dropped. */
#include "collection/generation.h"
#include "suggest.h"
#include "table.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

enum { SPECS_BYTES = 4096 };

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static void generation_json(const struct shop *shop, const kith_generation_info *info) {
    struct json json = JSON_LINES(stdout);
    kith_vector_spec spec;
    emit_object(&json, NULL);
    emit_uint(&json, "number", info->number);
    emit_text(&json, "state", kith_generation_state_name(info->state));
    emit_text(&json, "model", info->model);
    emit_real(&json, "share", info->share);
    emit_uint(&json, "created_ms", info->created_ms);
    emit_uint(&json, "own", info->own);
    emit_array(&json, "vectors");
    for (size_t i = 0; shop_spec(shop, i, &spec); i++) {
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

/* "image: 512 f16 cosine, title: 384 f32 l2" */
static void specs_cell(struct table *table, const struct shop *shop) {
    char text[SPECS_BYTES];
    size_t used = 0;
    kith_vector_spec spec;
    text[0] = 0;
    for (size_t i = 0; shop_spec(shop, i, &spec) && used < sizeof(text); i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%s%zu %s %s", i ? ", " : "", spec.name,
                                 *spec.name ? ": " : "", spec.dim, kith_dtype_name(spec.dtype),
                                 kith_metric_name(spec.metric));
    table_text(table, text, strlen(text));
}

static void generation_cells(struct table *table, const struct shop *shop, const kith_generation_info *info) {
    const char *state = kith_generation_state_name(info->state);
    table_format(table, "%u", info->number);
    table_text(table, state, strlen(state));
    table_text(table, info->model, strlen(info->model));
    if (info->share > 0) {
        table_format(table, "%.6g %%", info->share * 100);
    } else {
        table_text(table, "", 0);
    }
    specs_cell(table, shop);
}

static int show(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    static const struct table_column columns[] = {{"generation", TABLE_RIGHT},
                                                  {"state", TABLE_LEFT},
                                                  {"model", TABLE_LEFT},
                                                  {"share", TABLE_RIGHT},
                                                  {"vectors", TABLE_LEFT}};
    const bool lines = option_given(arguments, OPTION_JSON);
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    kith_error error = {0};
    struct table *table = lines ? NULL : table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    kith_status status = KITH_OK;
    (void)number;
    if (!lines && !table) return fail(EXIT_OTHER, "out of memory");
    for (size_t place = 0; status == KITH_OK; place++) {
        status = kith_collection_generation(shop->collection, place, &info, &error);
        if (status != KITH_OK) break;
        shop->generation = info.number;
        if (lines) {
            generation_json(shop, &info);
        } else {
            generation_cells(table, shop, &info);
        }
    }
    const bool printed = !table || table_flush(table);
    table_destroy(table);
    if (status != KITH_E_NOTFOUND) return fail_status(status, &error);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

static int check_vectors(const struct arguments *arguments) {
    const bool dim = option_given(arguments, OPTION_DIM), vectors = option_given(arguments, OPTION_VECTORS);
    if (dim == vectors)
        return fail_usage(COMMAND_GENERATION,
                          "begin needs --dim, where an item has one vector, or --vectors, where it has named ones");
    if (vectors && (option_given(arguments, OPTION_METRIC) || option_given(arguments, OPTION_DTYPE)))
        return fail_usage(COMMAND_GENERATION, "--vectors gives each vector its type and metric: NAME:DIM:TYPE:METRIC");
    return EXIT_OK;
}

/* What was not said is as the current generation has it: another model of the same items most often differs in the
 * dimension alone. */
static void complete(const struct shop *shop, kith_vector_spec *spec) {
    kith_vector_spec now;
    for (size_t i = 0; shop_spec(shop, i, &now); i++) {
        if (strcmp(now.name, spec->name) != 0) continue;
        if (spec->dtype == KITH_DTYPE_NONE) spec->dtype = now.dtype;
        if (spec->metric == KITH_METRIC_NONE) spec->metric = now.metric;
    }
}

/* --dim: of the only vector. */
static int single_spec(const struct arguments *arguments, const struct shop *shop, kith_vector_spec *spec) {
    if (shop->info.vectors != 1 || !shop_spec(shop, 0, spec))
        return fail_usage(COMMAND_GENERATION,
                          "%s has several named vectors: --vectors says of which the generation has "
                          "its own",
                          shop->path);
    spec->dim = (size_t)option_number(arguments, OPTION_DIM, 0);
    spec->dtype = (kith_dtype)option_number(arguments, OPTION_DTYPE, (uint64_t)spec->dtype);
    spec->metric = (kith_metric)option_number(arguments, OPTION_METRIC, (uint64_t)spec->metric);
    return EXIT_OK;
}

static int tell_begun(const struct arguments *arguments, const struct shop *shop, uint32_t number) {
    struct json json = JSON_LINES(stdout);
    if (option_given(arguments, OPTION_JSON)) {
        emit_object(&json, NULL);
        emit_uint(&json, "generation", number);
        emit_object_end(&json);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        printf("%s: generation %u is begun, without vectors yet (kith add --mode update --generation %u)\n", shop->path,
               number, number);
    }
    return EXIT_OK;
}

static int begin(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_vector_spec single = {0}, *specs = NULL;
    kith_error error = {0};
    char *words = NULL;
    options.model = option_text(arguments, OPTION_MODEL, NULL);
    int failed = check_vectors(arguments);
    if (!failed && option_given(arguments, OPTION_VECTORS)) {
        failed = shop_vectors_parse(COMMAND_GENERATION, option_text(arguments, OPTION_VECTORS, ""), &specs,
                                    &options.vector_count, &words);
        for (size_t i = 0; i < options.vector_count && !failed; i++) complete(shop, &specs[i]);
        options.vectors = specs;
    } else if (!failed) {
        failed = single_spec(arguments, shop, &single);
        options.vectors = &single;
        options.vector_count = 1;
    }
    if (!failed) {
        const kith_status status = kith_collection_generation_begin(shop->collection, &options, &number, &error);
        failed = status == KITH_OK ? tell_begun(arguments, shop, number) : fail_status(status, &error);
    }
    free(specs);
    free(words);
    return failed;
}

/* ---- Trying and dropping ----------------------------------------------------------------------------------------- */

int generation_share(enum command_id command, const struct arguments *arguments, enum option_id id, const char *name,
                     double otherwise, double *share) {
    *share = option_real(arguments, id, otherwise);
    if (*share >= 0 && *share <= 1) return EXIT_OK;
    return fail_usage(command, "--%s is \"%s\", but a share from 0 to 1, such as 0.05, was expected", name,
                      option_text(arguments, id, ""));
}

static int canary(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    kith_error error = {0};
    double share;
    struct json json = JSON_LINES(stdout);
    if (!option_given(arguments, OPTION_SHARE))
        return fail_usage(COMMAND_GENERATION, "canary needs --share, of the users, such as 0.05; 0 ends it");
    const int failed = generation_share(COMMAND_GENERATION, arguments, OPTION_SHARE, "share", 0, &share);
    if (failed) return failed;
    const kith_status status = kith_collection_generation_canary(shop->collection, number, share, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        emit_object(&json, NULL);
        emit_uint(&json, "generation", number);
        emit_real(&json, "share", share);
        emit_object_end(&json);
    } else if (!option_given(arguments, OPTION_QUIET) && share > 0) {
        printf("%s: %.6g %% of the users are sent to generation %u\n", shop->path, share * 100, number);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        printf("%s: no users are sent to generation %u\n", shop->path, number);
    }
    return EXIT_OK;
}

static int drop(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    kith_error error = {0};
    struct json json = JSON_LINES(stdout);
    const kith_status status = kith_collection_generation_drop(shop->collection, number, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        emit_object(&json, NULL);
        emit_uint(&json, "dropped", number);
        emit_object_end(&json);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        printf("%s: generation %u is dropped\n", shop->path, number);
    }
    return EXIT_OK;
}

/* The third operand is a user. */
static int of_user(const struct arguments *arguments, struct shop *shop, uint32_t number) {
    kith_error error = {0};
    const kith_status status = kith_collection_generation_of(shop->collection, arguments->operands[2], &number, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    struct json json = JSON_LINES(stdout);
    if (option_given(arguments, OPTION_JSON)) {
        emit_object(&json, NULL);
        emit_text(&json, "user", arguments->operands[2]);
        emit_uint(&json, "generation", number);
        emit_object_end(&json);
    } else {
        printf("%u\n", number);
    }
    return EXIT_OK;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static const char NUMBER[] = "the number of a generation, which kith generation FOLDER shows";

enum { SHOW, BEGIN, CHECK, CANARY, OF, DROP, VERBS };

static const struct verb {
    const char *name;
    const char *operand; /* what stands behind it; NULL: nothing */
    bool writes;
    int (*run)(const struct arguments *arguments, struct shop *shop, uint32_t number);
} verbs[VERBS] = {
    [SHOW] = {"", NULL, false, show},
    [BEGIN] = {"begin", NULL, true, begin},
    [CHECK] = {"check", NUMBER, false, generation_check},
    [CANARY] = {"canary", NUMBER, true, canary},
    [OF] = {"of", "the name of a user", false, of_user},
    [DROP] = {"drop", NUMBER, true, drop},
};

/* Options of one verb alone. */
static const struct {
    enum option_id option;
    int verb;
    const char *name;
} belongings[] = {
    {OPTION_MODEL, BEGIN, "model"},
    {OPTION_DIM, BEGIN, "dim"},
    {OPTION_DTYPE, BEGIN, "dtype"},
    {OPTION_METRIC, BEGIN, "metric"},
    {OPTION_VECTORS, BEGIN, "vectors"},
    {OPTION_SAMPLE, CHECK, "sample"},
    {OPTION_K, CHECK, "k"},
    {OPTION_TARGET_RECALL, CHECK, "target-recall"},
    {OPTION_SEED, CHECK, "seed"},
    {OPTION_LACKING, CHECK, "lacking"},
    {OPTION_SHARE, CANARY, "share"},
};

static int find_verb(const struct arguments *arguments, const struct verb **verb) {
    const char *name = arguments->operand_count > 1 ? arguments->operands[1] : "";
    struct suggestion near;
    suggest_start(&near, name, strlen(name));
    *verb = NULL;
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) *verb = &verbs[i];
        if (*verbs[i].name) suggest_offer(&near, verbs[i].name);
    }
    if (*verb && (arguments->operand_count < 2 || *name)) return EXIT_OK;
    return fail_usage(COMMAND_GENERATION, "\"%s\" is none of begin, check, canary, of and drop%s%s%s", name,
                      near.best ? "; did you mean \"" : "", near.best ? near.best : "", near.best ? "\"?" : "");
}

static int check_verb(const struct arguments *arguments, const struct verb *verb) {
    const size_t wanted = !*verb->name ? 1 : verb->operand ? 3 : 2;
    if (arguments->operand_count < wanted)
        return fail_usage(COMMAND_GENERATION, "%s needs %s", verb->name, verb->operand);
    if (arguments->operand_count > wanted)
        return fail_usage(COMMAND_GENERATION, "%s does not know what to do with \"%s\"", verb->name,
                          arguments->operands[wanted]);
    for (size_t i = 0; i < sizeof(belongings) / sizeof(*belongings); i++)
        if (option_given(arguments, belongings[i].option) && verb != &verbs[belongings[i].verb])
            return fail_usage(COMMAND_GENERATION, "--%s belongs to kith generation FOLDER %s", belongings[i].name,
                              verbs[belongings[i].verb].name);
    return EXIT_OK;
}

int generation_parse(enum command_id command, const char *text, uint32_t *number) {
    uint64_t value;
    if (!parse_number(text, strlen(text), &value) || value == 0 || value > UINT32_MAX)
        return fail_usage(command, "\"%s\" is no number of a generation: those are whole numbers from 1", text);
    *number = (uint32_t)value;
    return EXIT_OK;
}

int command_generation(const struct arguments *arguments) {
    struct shop shop = {0};
    const struct verb *verb;
    uint32_t number = 0;
    int failed = find_verb(arguments, &verb);
    if (!failed) failed = check_verb(arguments, verb);
    if (!failed && verb->operand == NUMBER)
        failed = generation_parse(COMMAND_GENERATION, arguments->operands[2], &number);
    if (failed) return failed;
    failed = verb == &verbs[DROP] ? shop_open_alone(arguments, &shop) : shop_open(arguments, !verb->writes, &shop);
    if (!failed) failed = verb->run(arguments, &shop, number);
    shop_close(&shop);
    return failed;
}

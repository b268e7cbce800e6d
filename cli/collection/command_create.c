/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith create` and `kith declare`: a new collection, and a field that becomes indexed. */
#include "collection/collection.h"
#include "table.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

static int check_vectors(const struct arguments *arguments) {
    const bool dim = option_given(arguments, OPTION_DIM), vectors = option_given(arguments, OPTION_VECTORS);
    if (dim == vectors)
        return fail_usage(COMMAND_CREATE, "create needs --dim, for one vector an item, or --vectors, for named ones");
    if (vectors && (option_given(arguments, OPTION_METRIC) || option_given(arguments, OPTION_DTYPE)))
        return fail_usage(COMMAND_CREATE, "--vectors gives each vector its type and metric: NAME:DIM:TYPE:METRIC");
    return EXIT_OK;
}

static int create(const struct arguments *arguments, const kith_collection_options *options) {
    kith_error error = {0};
    const char *path = arguments->operands[0];
    const kith_status status = kith_collection_create(path, options, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_QUIET)) return EXIT_OK;
    printf("%s%s%s: an empty collection\n", terminal_style(stdout, STYLE_BOLD), path,
           terminal_style(stdout, STYLE_PLAIN));
    return EXIT_OK;
}

int command_create(const struct arguments *arguments) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    kith_vector_spec single = {.name = "", .dim = (size_t)option_number(arguments, OPTION_DIM, 0)};
    kith_vector_spec *specs = NULL;
    kith_field *fields = NULL;
    char *words[2] = {NULL, NULL};
    single.metric = (kith_metric)option_number(arguments, OPTION_METRIC, KITH_METRIC_NONE);
    single.dtype = (kith_dtype)option_number(arguments, OPTION_DTYPE, KITH_DTYPE_NONE);
    options.vectors = &single;
    options.vector_count = 1;
    options.id_kind = option_given(arguments, OPTION_STRING_IDS) ? KITH_ID_STRING : KITH_ID_U64;
    options.segment_field = option_text(arguments, OPTION_SEGMENT_FIELD, NULL);
    options.model = option_text(arguments, OPTION_MODEL, NULL);
    int failed = check_vectors(arguments);
    if (!failed && option_given(arguments, OPTION_VECTORS)) {
        failed = shop_vectors_parse(COMMAND_CREATE, option_text(arguments, OPTION_VECTORS, ""), &specs,
                                    &options.vector_count, &words[0]);
        options.vectors = specs;
    }
    if (!failed && option_given(arguments, OPTION_FIELDS)) {
        failed = shop_fields_parse(COMMAND_CREATE, option_text(arguments, OPTION_FIELDS, ""), &fields,
                                   &options.field_count, &words[1]);
        options.fields = fields;
    }
    if (!failed) failed = create(arguments, &options);
    free(specs);
    free(fields);
    free(words[0]);
    free(words[1]);
    return failed;
}

int command_declare(const struct arguments *arguments) {
    struct shop shop = {0};
    kith_field *fields = NULL;
    size_t count = 0;
    char *words = NULL;
    kith_error error = {0};
    int failed = shop_fields_parse(COMMAND_DECLARE, arguments->operands[1], &fields, &count, &words);
    if (!failed) failed = shop_open(arguments, false, &shop);
    for (size_t i = 0; i < count && !failed; i++) {
        const kith_status status = kith_collection_declare(shop.collection, &fields[i], &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    shop_close(&shop);
    free(fields);
    free(words);
    return failed;
}

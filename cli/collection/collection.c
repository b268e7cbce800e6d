/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "collection/collection.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool shop_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* The generation that --generation or --user asks for. */
static kith_status choose_generation(const struct arguments *arguments, struct shop *shop, kith_error *error) {
    kith_vector_spec spec;
    shop->generation = shop->info.generation;
    if (option_given(arguments, OPTION_USER))
        return kith_collection_generation_of(shop->collection, option_text(arguments, OPTION_USER, ""),
                                             &shop->generation, error);
    if (!option_given(arguments, OPTION_GENERATION)) return KITH_OK;
    shop->generation = (uint32_t)option_number(arguments, OPTION_GENERATION, 0);
    return kith_collection_generation_vector(shop->collection, shop->generation, 0, &spec, error);
}

static int open_with(const struct arguments *arguments, kith_collection_open_options options, struct shop *shop) {
    kith_error error = {0};
    *shop = (struct shop){.path = arguments->operands[0]};
    shop->info = (kith_collection_info)KITH_COLLECTION_INFO_INIT;
    options.threads = (unsigned)option_number(arguments, OPTION_THREADS, 0);
    if (option_given(arguments, OPTION_RELAXED)) options.durability = KITH_DURABILITY_RELAXED;
    kith_status status = kith_collection_open(shop->path, &options, &shop->collection, &error);
    if (status == KITH_OK) status = kith_collection_get_info(shop->collection, &shop->info);
    if (status == KITH_OK) status = choose_generation(arguments, shop, &error);
    if (status == KITH_OK) status = kith_result_create(&shop->result, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

int shop_open(const struct arguments *arguments, bool read_only, struct shop *shop) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.read_only = read_only;
    return open_with(arguments, options, shop);
}

int shop_open_alone(const struct arguments *arguments, struct shop *shop) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = true;
    return open_with(arguments, options, shop);
}

void shop_close(struct shop *shop) {
    kith_result_destroy(shop->result);
    kith_collection_close(shop->collection);
}

bool shop_spec(const struct shop *shop, size_t at, kith_vector_spec *spec) {
    kith_error error = {0};
    return at < shop->info.vectors &&
           kith_collection_generation_vector(shop->collection, shop->generation, at, spec, &error) == KITH_OK;
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

static int parse_numbers(const struct shop *shop, const char *const *texts, size_t count, struct shop_ids *ids) {
    for (size_t i = 0; i < count; i++)
        if (!parse_number(texts[i], strlen(texts[i]), &ids->numbers[i]) || ids->numbers[i] == KITH_ID_NONE)
            return fail(EXIT_USAGE, "\"%s\" is no id: those of %s are whole numbers", texts[i], shop->path);
    ids->ids = (kith_ids){.count = count, .ids = ids->numbers};
    return EXIT_OK;
}

static int parse_strings(const char *const *texts, size_t count, struct shop_ids *ids) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += strlen(texts[i]);
    ids->bytes = malloc(bytes + 1);
    ids->ends = calloc(count + 1, sizeof(*ids->ends));
    if (!ids->bytes || !ids->ends) return fail(EXIT_OTHER, "out of memory");
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(ids->bytes + end, texts[i], strlen(texts[i]));
        end += strlen(texts[i]);
        ids->ends[i] = end;
    }
    ids->ids = (kith_ids){.count = count, .id_bytes = ids->bytes, .id_ends = ids->ends};
    return EXIT_OK;
}

int shop_ids_parse(const struct shop *shop, const char *const *texts, size_t count, struct shop_ids *ids) {
    *ids = (struct shop_ids){0};
    if (shop->info.id_kind == KITH_ID_STRING) return parse_strings(texts, count, ids);
    ids->numbers = calloc(count + 1, sizeof(*ids->numbers));
    return ids->numbers ? parse_numbers(shop, texts, count, ids) : fail(EXIT_OTHER, "out of memory");
}

void shop_ids_free(struct shop_ids *ids) {
    free(ids->numbers);
    free(ids->bytes);
    free(ids->ends);
}

int shop_vector(const struct arguments *arguments, const struct shop *shop, kith_vector_spec *spec) {
    const char *name = option_text(arguments, OPTION_VECTOR, "");
    for (size_t i = 0; shop_spec(shop, i, spec); i++)
        if (strcmp(spec->name, name) == 0) return EXIT_OK;
    if (option_given(arguments, OPTION_VECTOR))
        return fail(EXIT_ABSENT, "%s has no vector called \"%s\"; kith info shows what it has", shop->path, name);
    if (shop->info.vectors == 1 && shop_spec(shop, 0, spec)) return EXIT_OK;
    return fail(EXIT_USAGE, "%s has several named vectors: --vector says which one is meant", shop->path);
}

/* ---- Items as JSON ----------------------------------------------------------------------------------------------- */

const char *shop_payload(const kith_hits *hits, size_t at, size_t *bytes) {
    *bytes = 0;
    if (!hits->payload_ends) return "";
    const uint64_t begin = at ? hits->payload_ends[at - 1] : 0;
    *bytes = (size_t)(hits->payload_ends[at] - begin);
    return hits->payload_bytes + begin;
}

void shop_id_json(struct json *json, const char *name, const struct shop *shop, const kith_hits *hits, size_t at) {
    if (shop->info.id_kind != KITH_ID_STRING) {
        emit_uint(json, name, hits->ids[at]);
        return;
    }
    const uint64_t begin = at ? hits->id_ends[at - 1] : 0;
    emit_bytes(json, name, hits->id_bytes + begin, (size_t)(hits->id_ends[at] - begin));
}

static void numbers_json(struct json *json, const char *name, const kith_vector_spec *spec, const void *row) {
    emit_array(json, name);
    if (spec->dtype == KITH_B1) {
        for (size_t i = 0; i < spec->dim / 8; i++) emit_uint(json, NULL, ((const unsigned char *)row)[i]);
    } else {
        for (size_t i = 0; i < spec->dim; i++) emit_float(json, NULL, ((const float *)row)[i]);
    }
    emit_array_end(json);
}

void shop_vectors_json(struct json *json, const struct shop *shop, size_t at) {
    kith_vector_spec spec;
    const bool named = shop->info.vectors > 1 || (shop_spec(shop, 0, &spec) && spec.name[0] != 0);
    if (named) emit_object(json, "vectors");
    for (size_t i = 0; shop_spec(shop, i, &spec); i++) {
        const uint8_t *present = NULL;
        const unsigned char *rows = kith_result_vectors(shop->result, spec.name, &present);
        const size_t row = spec.dtype == KITH_B1 ? spec.dim / 8 : spec.dim * sizeof(float);
        if (rows && present[at]) numbers_json(json, named ? spec.name : "vector", &spec, rows + at * row);
    }
    if (named) emit_object_end(json);
}

void shop_item_json(struct json *json, const struct shop *shop, const kith_hits *hits, size_t at) {
    size_t bytes;
    const char *payload = shop_payload(hits, at, &bytes);
    shop_id_json(json, "id", shop, hits, at);
    if (hits->distances) emit_float(json, "distance", hits->distances[at]);
    if (hits->versions) emit_uint(json, "version", hits->versions[at]);
    if (hits->expires_ms && hits->expires_ms[at]) emit_uint(json, "expires", hits->expires_ms[at]);
    if (bytes) emit_verbatim(json, "payload", payload, bytes);
}

/* ---- Lists of words ---------------------------------------------------------------------------------------------- */

/* Cut the text at commas, in a copy; the parts begin where *part points. */
static char *cut(const char *text, size_t *parts) {
    char *copy = strdup(text);
    *parts = 1;
    for (char *at = copy; at && *at; at++)
        if (*at == ',') {
            *at = 0;
            (*parts)++;
        }
    return copy;
}

int shop_fields_parse(enum command_id command, const char *text, kith_field **fields, size_t *count, char **memory) {
    *memory = cut(text, count);
    *fields = calloc(*count, sizeof(**fields));
    if (!*memory || !*fields) return fail(EXIT_OTHER, "out of memory");
    char *part = *memory;
    for (size_t i = 0; i < *count; i++) {
        const size_t bytes = strlen(part);
        char *colon = strrchr(part, ':');
        if (!colon || !kith_field_type_parse(colon + 1, &(*fields)[i].type))
            return fail_usage(command,
                              "\"%s\" is no field: NAME:TYPE is expected, with a type of tag, tags, int, float, bool "
                              "and time",
                              part);
        *colon = 0;
        (*fields)[i].name = part;
        part += bytes + 1;
    }
    return EXIT_OK;
}

/* "name:dim[:type[:metric]]". */
static int vector_parse(enum command_id command, char *part, kith_vector_spec *spec) {
    char *word[4] = {part, NULL, NULL, NULL};
    size_t words = 1;
    for (char *at = part; *at && words < 4; at++)
        if (*at == ':') {
            *at = 0;
            word[words++] = at + 1;
        }
    uint64_t dim = 0;
    if (words < 2 || !parse_number(word[1], strlen(word[1]), &dim) || dim == 0 || dim > KITH_DIM_MAX)
        return fail_usage(command,
                          "--vectors: \"%s\" needs a dimension: NAME:DIM[:TYPE[:METRIC]] is expected, such as "
                          "image:512:f16:cosine",
                          word[0]);
    *spec = (kith_vector_spec){.name = word[0], .dim = (size_t)dim};
    if (word[2]) spec->dtype = kith_dtype_parse(word[2]);
    if (word[3]) spec->metric = kith_metric_parse(word[3]);
    if (word[2] && spec->dtype == KITH_DTYPE_NONE)
        return fail_usage(command, "--vectors: \"%s\" is no type: f32, f16, bf16, i8, u8 and b1 are", word[2]);
    if (word[3] && spec->metric == KITH_METRIC_NONE)
        return fail_usage(command, "--vectors: \"%s\" is no metric: l2, ip, cosine, hamming and jaccard are", word[3]);
    return EXIT_OK;
}

int shop_vectors_parse(enum command_id command, const char *text, kith_vector_spec **specs, size_t *count,
                       char **memory) {
    *memory = cut(text, count);
    *specs = calloc(*count, sizeof(**specs));
    if (!*memory || !*specs) return fail(EXIT_OTHER, "out of memory");
    char *part = *memory;
    int failed = EXIT_OK;
    for (size_t i = 0; i < *count && !failed; i++) {
        char *next = part + strlen(part) + 1;
        failed = vector_parse(command, part, &(*specs)[i]);
        part = next;
    }
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of JSON as an item. Errors name the file and the line. */
#include "collection/items.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a line came from. */
struct place {
    const char *path;
    unsigned long long line;
};

static int set_numbers(struct item_batch *batch, size_t at, const json_t *array, const struct place *place) {
    const struct item_column *column = &batch->column[at];
    const bool bits = column->spec.dtype == KITH_B1;
    const size_t wanted = bits ? column->spec.dim / 8 : column->spec.dim;
    if (!json_is_array(array) || json_array_size(array) != wanted)
        return fail(EXIT_INPUT, "%s: line %llu: the vector%s%s has %zu elements, but %zu are expected", place->path,
                    place->line, *column->spec.name ? " " : "", column->spec.name, json_array_size(array), wanted);
    void *row = item_batch_vector(batch, at);
    for (size_t i = 0; i < wanted; i++) {
        const json_t *element = json_array_get(array, i);
        const double number = json_number_value(element);
        if (!json_is_number(element) || (bits && !(number >= 0 && number <= 255 && !(floor(number) < number))) ||
            !(fabs(number) < 0x1.ffffffp127))
            return fail(EXIT_INPUT, "%s: line %llu: element %zu of the vector is no %s", place->path, place->line, i,
                        bits ? "byte" : "number of 32-bit floats");
        if (bits) {
            ((unsigned char *)row)[i] = (unsigned char)number;
        } else {
            ((float *)row)[i] = (float)number;
        }
    }
    return EXIT_OK;
}

static int column_of(const struct item_batch *batch, const char *name, const struct place *place, size_t *at) {
    for (*at = 0; *at < batch->column_count; ++*at)
        if (strcmp(batch->column[*at].spec.name, name) == 0) return EXIT_OK;
    return fail(EXIT_INPUT, "%s: line %llu: %s has no vector called \"%s\"", place->path, place->line,
                batch->shop->path, name);
}

static int set_vectors(struct item_batch *batch, const json_t *item, const struct place *place) {
    const json_t *vector = json_object_get(item, "vector"), *vectors = json_object_get(item, "vectors");
    size_t at = 0;
    if (vector && !json_is_null(vector)) {
        int failed = batch->column_count == 1 ? EXIT_OK : column_of(batch, "", place, &at);
        if (!failed) failed = set_numbers(batch, at, vector, place);
        if (failed) return failed;
    }
    if (!vectors || json_is_null(vectors)) return EXIT_OK;
    if (!json_is_object(vectors))
        return fail(EXIT_INPUT, "%s: line %llu: \"vectors\" is no object of named vectors", place->path, place->line);
    for (void *step = json_object_iter((json_t *)(uintptr_t)vectors); step;
         step = json_object_iter_next((json_t *)(uintptr_t)vectors, step)) {
        int failed = column_of(batch, json_object_iter_key(step), place, &at);
        if (!failed) failed = set_numbers(batch, at, json_object_iter_value(step), place);
        if (failed) return failed;
    }
    return EXIT_OK;
}

static int begin(struct item_batch *batch, const json_t *item, const struct place *place) {
    const json_t *id = json_object_get(item, "id");
    if (!id) return fail(EXIT_INPUT, "%s: line %llu has no \"id\"", place->path, place->line);
    if (batch->shop->info.id_kind == KITH_ID_STRING) {
        if (!json_is_string(id))
            return fail(EXIT_INPUT, "%s: line %llu: the id is no string, but those of %s are", place->path, place->line,
                        batch->shop->path);
        return item_batch_begin(batch, 0, json_string_value(id), json_string_length(id));
    }
    if (!json_is_integer(id) || json_integer_value(id) < 0)
        return fail(EXIT_INPUT, "%s: line %llu: the id is no whole number from 0 to 2^63 - 1", place->path,
                    place->line);
    return item_batch_begin(batch, (uint64_t)json_integer_value(id), NULL, 0);
}

/* "payload", or else all keys that mean nothing here; NULL: there is none. */
static int payload_of(json_t *item, const struct place *place, char **text) {
    static const char *const ours[] = {"id", "vector", "vectors", "expires"};
    json_t *payload = json_object_get(item, "payload");
    if (payload && !json_is_object(payload) && !json_is_null(payload))
        return fail(EXIT_INPUT, "%s: line %llu: \"payload\" is no object", place->path, place->line);
    if (!payload) {
        for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) json_object_del(item, ours[i]);
        payload = item;
    }
    *text = NULL;
    if (json_is_null(payload) || json_object_size(payload) == 0) return EXIT_OK;
    *text = json_dumps(payload, JSON_COMPACT | JSON_REAL_PRECISION(17));
    return *text ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int set_payload(struct item_batch *batch, json_t *item, const struct place *place) {
    char *text = NULL;
    int failed = payload_of(item, place, &text);
    if (!failed && text && !item_batch_payload(batch, text, strlen(text))) failed = fail(EXIT_OTHER, "out of memory");
    free(text);
    return failed;
}

static int add(struct item_batch *batch, json_t *item, const struct place *place) {
    const json_t *expires = json_object_get(item, "expires");
    int failed = json_is_object(item) ? begin(batch, item, place)
                                      : fail(EXIT_INPUT, "%s: line %llu is no object", place->path, place->line);
    if (!failed) failed = set_vectors(batch, item, place);
    if (!failed && expires && !json_is_null(expires)) {
        if (!json_is_integer(expires) || json_integer_value(expires) < 0)
            return fail(EXIT_INPUT, "%s: line %llu: \"expires\" is no time in milliseconds since 1970", place->path,
                        place->line);
        item_batch_expires(batch, (uint64_t)json_integer_value(expires));
    }
    return failed ? failed : set_payload(batch, item, place);
}

static json_t *parse(const struct place *place, const char *text, size_t bytes) {
    json_error_t why;
    json_t *item = json_loadb(text, bytes, JSON_ALLOW_NUL, &why);
    if (!item) (void)fail(EXIT_INPUT, "%s: line %llu, column %d: %s", place->path, place->line, why.column, why.text);
    return item;
}

int item_line_add(struct item_batch *batch, const char *path, uint64_t line, const char *text, size_t bytes) {
    const struct place place = {path, line};
    json_t *item = parse(&place, text, bytes);
    if (!item) return EXIT_INPUT;
    const int failed = add(batch, item, &place);
    json_decref(item);
    return failed;
}

int item_line_payload(const char *path, uint64_t line, const char *text, size_t bytes, const char *other,
                      char **payload) {
    const struct place place = {path, line};
    json_t *item = parse(&place, text, bytes);
    if (!item) return EXIT_INPUT;
    int failed = EXIT_OK;
    if (!json_is_object(item)) {
        failed = fail(EXIT_INPUT, "%s: line %llu is no object", path, place.line);
    } else if (json_object_get(item, "vectors") || json_object_get(item, "expires")) {
        failed = fail(EXIT_INPUT, "%s: line %llu has \"%s\", which load does not take from lines: use add", path,
                      place.line, json_object_get(item, "vectors") ? "vectors" : "expires");
    } else {
        if (other) json_object_del(item, other);
        failed = payload_of(item, &place, payload);
    }
    json_decref(item);
    return failed;
}

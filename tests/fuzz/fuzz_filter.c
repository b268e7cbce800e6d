/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile filters in both forms, and hostile payloads: what stands before the first NUL is a filter, what follows a
 * payload. What is accepted must be accepted again as its canonical text, with the same hash, and a row must match by
 * its values as it does by its payload. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const kith_field fields[] = {
    {"tag", KITH_FIELD_TAG, 0},     {"tags", KITH_FIELD_TAGS, 0}, {"int", KITH_FIELD_INT, 0},
    {"float", KITH_FIELD_FLOAT, 0}, {"bool", KITH_FIELD_BOOL, 0}, {"time", KITH_FIELD_TIME, 0},
    {"a.int", KITH_FIELD_INT, 0},   {"a.tag", KITH_FIELD_TAG, 0}, {"a.b.tags", KITH_FIELD_TAGS, 0}};

static void check(int right) {
    if (!right) abort();
}

static void match(const ki_schema *schema, const ki_filter *filter, const char *payload, size_t bytes) {
    ki_values values = {0};
    const char *undeclared = NULL;
    const int good = ki_values_of(schema, payload, bytes, 0, &values, NULL) == KITH_OK;
    if (ki_filter_check(filter, schema, &undeclared, NULL) == KITH_OK) {
        const int by_payload = ki_filter_matches_payload(filter, schema, payload, bytes, 7, "x", 1);
        if (good && !undeclared) check(ki_filter_matches(filter, schema, &values, 7, "x", 1) == by_payload);
    }
    ki_values_free(&values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A copy of just its length, so that a byte beyond is seen. */
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t bytes = nul ? (size_t)(nul - data) : size, rest = nul ? size - bytes - 1 : 0;
    char *text = malloc(bytes + 1), *payload = malloc(rest + 1);
    ki_schema *schema = NULL;
    ki_filter *filter = NULL, *again = NULL;
    check(text && payload && ki_schema_create(fields, sizeof fields / sizeof *fields, 0, &schema, NULL) == KITH_OK);
    memcpy(text + 1, data, bytes);
    if (rest > 0) memcpy(payload + 1, nul + 1, rest);
    if (ki_filter_parse(text + 1, bytes, &filter, NULL) == KITH_OK) {
        check(ki_filter_parse(filter->canonical, strlen(filter->canonical), &again, NULL) == KITH_OK);
        check(again->hash == filter->hash && strcmp(again->canonical, filter->canonical) == 0);
        match(schema, filter, payload + 1, rest);
    }
    ki_filter_free(again);
    ki_filter_free(filter);
    ki_schema_destroy(schema);
    free(payload);
    free(text);
    return 0;
}

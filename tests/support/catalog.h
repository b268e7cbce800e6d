/* SPDX-License-Identifier: Apache-2.0
 *
 * Catalogs for tests: changes and looks in few words. Include it in one source of a program, behind cmocka.h. What
 * cannot fail there ends the test with the sentence of its error. */
#ifndef TESTS_SUPPORT_CATALOG_H
#define TESTS_SUPPORT_CATALOG_H

#include "support/data.h"

#include "catalog/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != KITH_OK) fail_msg("line %d: %s", __LINE__, error.text);                                          \
    } while (0)

/* A call that must fail, with words that its sentence must have ("" is found in every one). */
#define FAILS(status, words, call)                                                                                     \
    do {                                                                                                               \
        error = (kith_error){KITH_OK, ""};                                                                             \
        const kith_status got = (call);                                                                                \
        if (got != (status))                                                                                           \
            fail_msg("line %d: %d (%s) instead of %d", __LINE__, (int)got, error.text, (int)(status));                 \
        if (!strstr(error.text, words)) fail_msg("line %d: '%s' has not '%s'", __LINE__, error.text, words);           \
    } while (0)

static inline ki_bytes bytes_of(const char *text) {
    return (ki_bytes){text, strlen(text)};
}

static inline ki_catalog *open_file(const char *path, ki_catalog_options options) {
    ki_catalog *catalog = NULL;
    OK(ki_catalog_open_sqlite(path, &options, &catalog, &error));
    return catalog;
}

static inline ki_catalog_item item_of(uint64_t key, uint64_t version, const char *text, const char *payload) {
    return (ki_catalog_item){
        .key = key, .version = version, .text = bytes_of(text ? text : ""), .payload = bytes_of(payload)};
}

static inline void put(ki_catalog *catalog, uint64_t key, uint64_t version, const char *text, const char *payload) {
    const ki_catalog_item item = item_of(key, version, text, payload);
    OK(ki_catalog_put_item(catalog, &item, &error));
}

/* Bytes that tell a number and a length. */
static inline void fill(unsigned char *to, size_t bytes, uint64_t number) {
    uint64_t x = number * 0x9e3779b97f4a7c15u + bytes + 1;
    for (size_t i = 0; i < bytes; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        to[i] = (unsigned char)(x >> 32);
    }
}

/* The payload of an item, or "-" when it is not there; lives until the next such call. */
static inline const char *payload_of(ki_catalog *catalog, uint64_t key) {
    static char text[200];
    ki_found found = {0};
    const kith_status status = ki_catalog_get_item(catalog, key, &found, &error);
    if (status == KITH_E_NOTFOUND) return "-";
    OK(status);
    assert_true(found.item.key == key);
    snprintf(text, sizeof text, "%.*s", (int)found.item.payload.bytes, (const char *)found.item.payload.data);
    ki_found_free(&found);
    return text;
}

/* Keys, numbers or names that a scan gave. */
typedef struct seen {
    uint64_t number[300];
    char name[300][20];
    size_t count, bytes;
    ki_catalog *catalog; /* read inside of the scan, or NULL */
    kith_status end;     /* after the third row, if not KITH_OK */
} seen;

static inline kith_status see(seen *all, uint64_t number, ki_bytes body) {
    assert_true(all->count < 300);
    all->number[all->count++] = number;
    all->bytes += body.bytes;
    return all->end != KITH_OK && all->count == 3 ? all->end : KITH_OK;
}

static inline kith_status see_item(void *context, const ki_catalog_item *item, kith_error *unused) {
    (void)unused;
    return see(context, item->key, item->payload);
}

static inline kith_status see_body(void *context, uint64_t number, ki_bytes body, kith_error *unused) {
    (void)unused;
    return see(context, number, body);
}

static inline kith_status see_record(void *context, ki_bytes name, ki_bytes body, kith_error *unused) {
    seen *all = context;
    (void)unused;
    snprintf(all->name[all->count], sizeof all->name[0], "%.*s", (int)name.bytes, (const char *)name.data);
    return see(context, 0, body);
}

static inline size_t count_items(ki_catalog *catalog) {
    seen rows = {.count = 0};
    OK(ki_catalog_scan_items(catalog, 0, see_item, &rows, &error));
    return rows.count;
}

static inline size_t count_log(ki_catalog *catalog) {
    seen rows = {.count = 0};
    OK(ki_catalog_scan_log(catalog, 0, see_body, &rows, &error));
    return rows.count;
}

#endif

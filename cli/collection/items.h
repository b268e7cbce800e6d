/* SPDX-License-Identifier: Apache-2.0
 *
 * Items on their way into a collection: gathered row by row, written a batch at a time. */
#ifndef KITH_CLI_COLLECTION_ITEMS_H
#define KITH_CLI_COLLECTION_ITEMS_H

#include "collection/collection.h"

/* Bytes that grow. */
struct growing {
    char *data;
    size_t used, room;
};
bool growing_add(struct growing *growing, const void *data, size_t bytes);

/* The vectors of one name, a row an item: floats, or bytes of bits. */
struct item_column {
    kith_vector_spec spec;
    size_t row_bytes;
    struct growing rows, present;
    bool used; /* some item of the batch has one */
};

struct item_batch {
    const struct shop *shop;
    size_t count, column_count;
    struct item_column *column; /* one a named vector */
    struct growing numbers, id_bytes, id_ends, payloads, payload_ends, expiries;
    bool expire, pay; /* some item of the batch has an end, or a payload */
    uint64_t payload_end;
};

int item_batch_create(const struct shop *shop, struct item_batch *batch);
void item_batch_destroy(struct item_batch *batch); /* fine on a zeroed one */
void item_batch_clear(struct item_batch *batch);

/* Begin the next item. Number: text NULL. What it is not given afterwards it lacks. */
int item_batch_begin(struct item_batch *batch, uint64_t number, const char *text, size_t bytes);
/* Where its vector of a column goes: row_bytes, zeroed. */
void *item_batch_vector(struct item_batch *batch, size_t column);
bool item_batch_payload(struct item_batch *batch, const char *json, size_t bytes);
void item_batch_expires(struct item_batch *batch, uint64_t expires_ms);
/* Write what was gathered. `where` and `first` name the rows in messages: "items.jsonl: line 7: ...". */
int item_batch_write(struct item_batch *batch, kith_write_mode mode, const char *where, uint64_t first,
                     kith_write_report *report);

/* One line of JSON as the next item: {"id": 7, "vector": [...], "payload": {...}}; "vectors" holds named ones,
 * "expires" milliseconds since 1970; without "payload" all other keys are the payload. */
int item_line_add(struct item_batch *batch, const char *path, uint64_t line, const char *text, size_t bytes);
/* The payload alone of such a line, whose vector and id are read elsewhere, for the caller to free; NULL: it has none.
 * `other`: one more key that is no part of it, or NULL. Refuses named vectors and ends of single items. */
int item_line_payload(const char *path, uint64_t line, const char *text, size_t bytes, const char *other,
                      char **payload);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/items.h"

#include <stdlib.h>
#include <string.h>

bool growing_add(struct growing *growing, const void *data, size_t bytes) {
    if (bytes > SIZE_MAX / 2 - growing->used) return false;
    if (growing->used + bytes > growing->room) {
        const size_t room = (growing->used + bytes) * 2;
        char *grown = realloc(growing->data, room);
        if (!grown) return false;
        growing->data = grown;
        growing->room = room;
    }
    if (bytes && data) memcpy(growing->data + growing->used, data, bytes);
    if (bytes && !data) memset(growing->data + growing->used, 0, bytes);
    growing->used += bytes;
    return true;
}

int item_batch_create(const struct shop *shop, struct item_batch *batch) {
    *batch = (struct item_batch){.shop = shop, .column_count = shop->info.vectors};
    batch->column = calloc(batch->column_count, sizeof(*batch->column));
    if (!batch->column) return fail(EXIT_OTHER, "out of memory");
    for (size_t i = 0; i < batch->column_count; i++) {
        struct item_column *column = &batch->column[i];
        if (!shop_spec(shop, i, &column->spec))
            return fail(EXIT_OTHER, "%s: named vector %zu cannot be read", shop->path, i);
        const bool bits = column->spec.dtype == KITH_B1;
        column->row_bytes = bits ? column->spec.dim / 8 : column->spec.dim * sizeof(float);
    }
    return EXIT_OK;
}

void item_batch_destroy(struct item_batch *batch) {
    struct growing *all[] = {&batch->numbers,  &batch->id_bytes,     &batch->id_ends,
                             &batch->payloads, &batch->payload_ends, &batch->expiries};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; batch->column && i < batch->column_count; i++) {
        free(batch->column[i].rows.data);
        free(batch->column[i].present.data);
    }
    free(batch->column);
}

void item_batch_clear(struct item_batch *batch) {
    struct growing *all[] = {&batch->numbers,  &batch->id_bytes,     &batch->id_ends,
                             &batch->payloads, &batch->payload_ends, &batch->expiries};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) all[i]->used = 0;
    for (size_t i = 0; i < batch->column_count; i++) {
        batch->column[i].rows.used = batch->column[i].present.used = 0;
        batch->column[i].used = false;
    }
    batch->count = 0;
    batch->payload_end = 0;
    batch->expire = batch->pay = false;
}

int item_batch_begin(struct item_batch *batch, uint64_t number, const char *text, size_t bytes) {
    const uint64_t zero = 0, end = batch->id_bytes.used + bytes;
    bool kept = text ? growing_add(&batch->id_bytes, text, bytes) && growing_add(&batch->id_ends, &end, sizeof(end))
                     : growing_add(&batch->numbers, &number, sizeof(number));
    kept = kept && growing_add(&batch->expiries, &zero, sizeof(zero)) &&
           growing_add(&batch->payload_ends, &batch->payload_end, sizeof(uint64_t));
    for (size_t i = 0; i < batch->column_count && kept; i++)
        kept = growing_add(&batch->column[i].rows, NULL, batch->column[i].row_bytes) &&
               growing_add(&batch->column[i].present, NULL, 1);
    if (!kept) return fail(EXIT_OTHER, "out of memory");
    batch->count++;
    return EXIT_OK;
}

void *item_batch_vector(struct item_batch *batch, size_t at) {
    struct item_column *column = &batch->column[at];
    column->used = true;
    column->present.data[batch->count - 1] = 1;
    return column->rows.data + (batch->count - 1) * column->row_bytes;
}

bool item_batch_payload(struct item_batch *batch, const char *json, size_t bytes) {
    if (!growing_add(&batch->payloads, json, bytes)) return false;
    batch->payload_end += bytes;
    memcpy(batch->payload_ends.data + (batch->count - 1) * sizeof(uint64_t), &batch->payload_end, sizeof(uint64_t));
    batch->pay = true;
    return true;
}

void item_batch_expires(struct item_batch *batch, uint64_t expires_ms) {
    memcpy(batch->expiries.data + (batch->count - 1) * sizeof(uint64_t), &expires_ms, sizeof(uint64_t));
    batch->expire = true;
}

/* The library counts items within a call, "item 3 ..."; people need the row of their file. */
static int fail_write(kith_status status, const kith_error *error, const char *where, uint64_t first) {
    unsigned long long item = 0;
    int used = 0;
    if (sscanf(error->text, "item %llu%n", &item, &used) != 1 || used == 0) return fail_status(status, error);
    kith_error told = {.status = status};
    snprintf(told.text, sizeof(told.text), "%.200s: row %llu%.280s", where, (unsigned long long)(first + item),
             error->text + used);
    return fail_status(status, &told);
}

int item_batch_write(struct item_batch *batch, kith_write_mode mode, const char *where, uint64_t first,
                     kith_write_report *report) {
    kith_items items = KITH_ITEMS_INIT;
    kith_error error = {0};
    kith_item_vectors *vectors = calloc(batch->column_count, sizeof(*vectors));
    if (!vectors) return fail(EXIT_OTHER, "out of memory");
    items.vectors = vectors;
    for (size_t i = 0; i < batch->column_count; i++) {
        const struct item_column *column = &batch->column[i];
        if (!column->used) continue;
        vectors[items.vector_count++] = (kith_item_vectors){.name = column->spec.name,
                                                            .data = column->rows.data,
                                                            .dtype = column->spec.dtype == KITH_B1 ? KITH_B1 : KITH_F32,
                                                            .generation = batch->shop->generation,
                                                            .dim = column->spec.dim,
                                                            .present = (const uint8_t *)column->present.data};
    }
    items.ids = (kith_ids){.count = batch->count};
    if (batch->shop->info.id_kind == KITH_ID_STRING) {
        items.ids.id_bytes = batch->id_bytes.data;
        items.ids.id_ends = (const uint64_t *)(const void *)batch->id_ends.data;
    } else {
        items.ids.ids = (const uint64_t *)(const void *)batch->numbers.data;
    }
    items.payload_bytes = batch->pay ? batch->payloads.data : NULL;
    items.payload_ends = batch->pay ? (const uint64_t *)(const void *)batch->payload_ends.data : NULL;
    items.expires_ms = batch->expire ? (const uint64_t *)(const void *)batch->expiries.data : NULL;
    kith_write_report one = KITH_WRITE_REPORT_INIT;
    const kith_status status = kith_collection_write(batch->shop->collection, &items, mode, &one, &error);
    free(vectors);
    if (status != KITH_OK) return fail_write(status, &error, where, first);
    report->version = one.version;
    report->inserted += one.inserted;
    report->replaced += one.replaced;
    item_batch_clear(batch);
    return EXIT_OK;
}

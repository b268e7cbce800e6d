/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables against hostile bytes. An input is a list of edits of a good table, whose checksums are made right again, so
 * that the checks behind them are reached: pairs of u32, a place and a word (in the columns' data, or with the top bit
 * set in the directory). Whatever opens is filtered, read and checked. */
#define _GNU_SOURCE
#include "fuzz_file.h"

#include "base/bytes.h"
#include "support/reseal.h"
#include "table/column.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { ROWS = 90, FIELDS = 6 };

static const char *const payloads[] = {
    "{\"a\":\"red\",\"b\":[\"x\",\"y\"],\"c\":7,\"d\":1.5,\"e\":true,\"f\":\"2024-01-01\"}",
    "{\"a\":\"blue\",\"b\":[],\"c\":-7,\"d\":-0.0,\"e\":false,\"f\":5}",
    "{\"a\":\"\",\"b\":[\"z\"],\"d\":1e300}",
    "{\"b\":[\"x\",\"z\",\"\"],\"c\":9223372036854775807,\"e\":true}",
    "{}",
};
static const char *const filters[] = {
    "a = \"red\"",
    "a in (\"red\", \"blue\", \"none\") or b has \"x\"",
    "a ~ \"b*\" and not b ~ \"*\"",
    "c = 7 or c < 0",
    "not (d > -1 and d <= 1.5)",
    "e or f >= \"2024-01-01\"",
    "a exists and b missing or c exists and d missing",
    "id in (1, 4, \"item 7\")",
};
enum { PAYLOADS = sizeof(payloads) / sizeof(*payloads), FILTERS = sizeof(filters) / sizeof(*filters) };

/* What does not change between inputs: made once. */
typedef struct base {
    uint8_t *file[2];
    size_t bytes[2];
    ki_schema *schema;
    ki_filter *filter[FILTERS];
} base;

static void must(int good) {
    if (!good) abort();
}

static void make_file(base *b, int kind) {
    static const char path[] = "/tmp/kith-fuzz-table";
    kith_error error;
    ki_values values = {0};
    ki_table_writer *writer = NULL;
    uint64_t bytes, hash;
    must(ki_table_create(path, ROWS, kind ? KITH_ID_STRING : KITH_ID_U64, b->schema, &writer, &error) == KITH_OK);
    for (uint64_t i = 0; i < ROWS; i++) {
        char id[24];
        const char *payload = payloads[i % PAYLOADS];
        const int id_bytes = snprintf(id, sizeof(id), "item %d", (int)i);
        must(ki_values_of(b->schema, payload, strlen(payload), 1, &values, &error) == KITH_OK);
        must(ki_table_add(writer, 2 * i, id, (size_t)id_bytes, &values, &error) == KITH_OK);
    }
    ki_values_free(&values);
    must(ki_table_finish(writer, &bytes, &hash, &error) == KITH_OK);
    FILE *file = fopen(path, "rb");
    b->bytes[kind] = (size_t)bytes;
    b->file[kind] = aligned_alloc(KI_HEADER_BYTES, (size_t)bytes);
    must(file && b->file[kind] && fread(b->file[kind], 1, (size_t)bytes, file) == bytes);
    fclose(file);
    unlink(path);
}

static const base *the_base(void) {
    static base b;
    static const kith_field fields[FIELDS] = {{"a", KITH_FIELD_TAG, 0},  {"b", KITH_FIELD_TAGS, 0},
                                              {"c", KITH_FIELD_INT, 0},  {"d", KITH_FIELD_FLOAT, 0},
                                              {"e", KITH_FIELD_BOOL, 0}, {"f", KITH_FIELD_TIME, 0}};
    kith_error error;
    if (b.schema) return &b;
    must(ki_schema_create(fields, FIELDS, 1, &b.schema, &error) == KITH_OK);
    for (size_t i = 0; i < FILTERS; i++)
        must(ki_filter_parse(filters[i], strlen(filters[i]), &b.filter[i], &error) == KITH_OK);
    make_file(&b, 0);
    make_file(&b, 1);
    return &b;
}

static void edit(uint8_t *file, size_t file_bytes, const uint8_t *data, size_t bytes) {
    ki_layout layout;
    must(reseal_layout(file, file_bytes, &layout) == KITH_OK);
    const ki_part *columns = ki_layout_find(&layout, KI_PART_COLUMN_DATA);
    const ki_part *directory = ki_layout_find(&layout, KI_PART_DIRECTORY);
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        const uint32_t place = ki_load_u32(data + at);
        const ki_part *part = place >> 31 ? directory : columns;
        memcpy(file + part->offset + (place & 0x7fffffff) % (part->bytes - 3), data + at + 4, 4);
    }
    ki_layout_free(&layout);
    reseal(file, file_bytes);
}

static void read_rows(const ki_table *table, const base *b) {
    ki_values values = {0};
    for (uint32_t row = 0; row < ROWS; row++) {
        size_t bytes;
        const char *text = ki_table_text(table, row, &bytes);
        fuzz_touch(text, bytes);
        if (ki_table_values(table, b->schema, row, &values) != KITH_OK) continue;
        for (size_t i = 0; i < values.strings; i++) fuzz_touch(values.string[i], values.string_bytes[i]);
    }
    ki_values_free(&values);
    const uint32_t *rows;
    const uint64_t count = ki_table_word(table, &b->schema->fields[0], "red", 3, &rows);
    for (uint64_t i = 0; rows && i < count; i++) must(rows[i] < ROWS);
}

static void try_table(const char *path, const base *b) {
    kith_error error;
    ki_table *table = NULL;
    if (ki_table_open(path, NULL, &table, &error) != KITH_OK) {
        must(memchr(error.text, 0, sizeof(error.text)) != NULL);
        return;
    }
    for (size_t i = 0; i < FILTERS; i++) {
        roaring_bitmap_t *rows = NULL;
        if (ki_table_match(table, b->schema, b->filter[i], &rows, &error) != KITH_OK) continue;
        must(roaring_bitmap_is_empty(rows) || roaring_bitmap_maximum(rows) < ROWS);
        roaring_bitmap_free(rows);
    }
    read_rows(table, b);
    (void)!ki_table_check(table, NULL, &error);
    ki_table_close(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const base *b = the_base();
    for (int kind = 0; kind < 2; kind++) {
        uint8_t *copy = aligned_alloc(KI_HEADER_BYTES, b->bytes[kind]);
        if (!copy) return 0;
        memcpy(copy, b->file[kind], b->bytes[kind]);
        edit(copy, b->bytes[kind], data, bytes);
        try_table(fuzz_file(copy, b->bytes[kind]), b);
        free(copy);
    }
    return 0;
}

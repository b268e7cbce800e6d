/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables that were damaged, cut, or made by somebody who means ill. Every changed byte and every cut is refused or
 * found; with checksums made right again a file is refused, or read and filtered with any answer, but no read outside
 * of the map (which the sanitizers see); a file cut while it is open costs an answer, never the process. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/table.h"

#include "base/bytes.h"
#include "table/column.h"

#include <sys/mman.h>

static kith_error error;
static ki_schema *schema;

/* ---- Memory that is refused on demand: this takes the place of the C library's ----------------------------------- */

static int allocations, refuse_allocation;

void *aligned_alloc(size_t alignment, size_t bytes) {
    void *memory = NULL;
    if (++allocations == refuse_allocation) return NULL;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

/* ---- Trying a table ---------------------------------------------------------------------------------------------- */

static void touch(const char *text, size_t bytes) {
    static volatile unsigned char sum;
    for (size_t i = 0; i < bytes; i++) sum = (unsigned char)(sum + (unsigned char)text[i]);
}

/* Rows below the table's, or a sentence that names the file. */
static kith_status try_match(const ki_table *table, const ki_filter_node *root) {
    const ki_filter filter = {.root = root};
    roaring_bitmap_t *rows = NULL;
    error.text[0] = 0;
    const kith_status status = ki_table_match(table, schema, &filter, &rows, &error);
    if (status != KITH_OK) {
        if (!strstr(error.text, ".kith")) fail_msg("'%s' names no file", error.text);
        assert_null(rows);
        return status;
    }
    if (!roaring_bitmap_is_empty(rows)) assert_true(roaring_bitmap_maximum(rows) < ki_table_rows(table));
    roaring_bitmap_free(rows);
    return status;
}

/* Conditions of every kind on every field, and trees of them. Whether one was refused as damaged. */
static bool try_filters(const ki_table *table) {
    static const char *const texts[] = {"", "w1", "a3b", "zz"};
    ki_operand text[4], number[] = {table_int(1), table_float(1.5), table_int(1700000000020), table_int(-1)};
    ki_operand id[] = {table_int(5), table_text("item 7")};
    ki_filter_node node[64], *next = node;
    for (size_t i = 0; i < 4; i++) text[i] = table_text(texts[i]);
    id[1].id = 12;
    for (size_t field = 0; field < TABLE_FIELDS; field++) {
        *next++ = table_node(KI_FILTER_EXISTS, field, NULL, 0);
        *next++ = table_node(KI_FILTER_EQ, field, field < 2 ? text : number, 4);
        *next++ = table_node(KI_FILTER_EQ, field, field < 2 ? text + 1 : number, 1);
        *next = table_node(field < 2 ? KI_FILTER_PREFIX : KI_FILTER_RANGE, field, text + field % 2, 1);
        next->has_low = 1;
        next->low = number[field % 4];
        next++;
    }
    *next++ = (ki_filter_node){.op = KI_FILTER_IDS, .count = 2, .operand = id};
    const size_t leaves = (size_t)(next - node);
    const ki_filter_node *child[64];
    for (size_t i = 0; i < leaves; i++) child[i] = &node[i];
    bool refused = false;
    for (size_t i = 0; i + 3 <= leaves; i++) {
        const ki_filter_node negated = table_parent(KI_FILTER_NOT, &child[i], 1), *pair[] = {&node[i + 1], &negated};
        const ki_filter_node trees[] = {node[i], negated, table_parent(KI_FILTER_AND, pair, 2),
                                        table_parent(KI_FILTER_OR, &child[i], 3)};
        for (size_t t = 0; t < 4; t++) {
            const kith_status status = try_match(table, &trees[t]);
            if (status != KITH_OK && status != KITH_E_CORRUPT && status != KITH_E_UNSUPPORTED)
                fail_msg("status %d: %s", (int)status, error.text);
            refused |= status == KITH_E_CORRUPT;
        }
    }
    return refused;
}

static void try_rows(const ki_table *table) {
    static const char *const words[] = {"", "w1", "a3b", "zz"};
    ki_values values = {0};
    const uint64_t rows = ki_table_rows(table);
    for (uint64_t row = 0; row < rows; row += 1 + rows / 100) {
        size_t bytes;
        uint32_t found;
        const char *text = ki_table_text(table, (uint32_t)row, &bytes);
        touch(text, bytes);
        if (ki_table_find(table, ki_table_keys(table)[row], &found)) assert_true(found < rows);
        const kith_status status = ki_table_values(table, schema, (uint32_t)row, &values);
        if (status != KITH_OK && status != KITH_E_CORRUPT && status != KITH_E_NOMEM) fail_msg("status %d", (int)status);
        for (size_t i = 0; status == KITH_OK && i < values.strings; i++)
            touch(values.string[i], values.string_bytes[i]);
    }
    ki_values_free(&values);
    for (size_t i = 0; i < 8; i++) {
        const uint32_t *units = NULL;
        const uint64_t count = ki_table_word(table, &schema->fields[i % 2], words[i / 2], strlen(words[i / 2]), &units);
        for (uint64_t j = 0; units && j < count; j++) assert_true(units[j] < rows);
    }
}

/* Open, use and check a file: whether it was refused or found to be damaged. */
static bool try_file(const char *path, bool use) {
    ki_table *table = NULL;
    error = (kith_error){KITH_OK, ""};
    kith_status status = ki_table_open(path, NULL, &table, &error);
    if (status == KITH_OK) {
        if (use) {
            (void)try_filters(table);
            try_rows(table);
        }
        status = ki_table_check(table, NULL, &error);
        ki_table_close(table);
    }
    if (status != KITH_OK) {
        if (status != KITH_E_CORRUPT && status != KITH_E_VERSION) fail_msg("status %d: %s", (int)status, error.text);
        if (!strstr(error.text, ".kith")) fail_msg("'%s' names no file", error.text);
    }
    return status != KITH_OK;
}

/* A file of rows of every kind; some fields are missing in some rows. */
static test_bytes make(const char *path, size_t rows, uint64_t words, uint64_t sparse, kith_id_kind kind) {
    uint64_t bytes, hash;
    table_row *row = table_rows(rows, words, sparse, rows);
    if (table_write(path, row, rows, kind, schema, &bytes, &hash, &error) != KITH_OK) fail_msg("%s", error.text);
    free(row);
    return test_read(path);
}

static unsigned char *map_writable(const char *path, size_t bytes) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    return map;
}

/* ---- Bytes and lengths ------------------------------------------------------------------------------------------- */

static void every_byte(void **state) {
    const char *path = test_path("bytes.kith");
    test_bytes file = make(path, 70, 9, 4, KITH_ID_STRING);
    unsigned char *map = map_writable(path, file.bytes);
    (void)state;
    assert_false(try_file(path, true));
    for (size_t byte = 0; byte < file.bytes; byte++) {
        map[byte] ^= (unsigned char)(1u << byte % 8);
        if (!try_file(path, byte % 16 == 0)) fail_msg("byte %zu was changed, and nothing found", byte);
        map[byte] = file.data[byte];
    }
    assert_false(try_file(path, true));
    munmap(map, file.bytes);
    free(file.data);
}

static void every_length(void **state) {
    const char *path = test_path("lengths.kith");
    test_bytes file = make(path, 70, 9, 4, KITH_ID_STRING);
    (void)state;
    for (size_t bytes = file.bytes; bytes-- > 0;) {
        assert_int_equal(truncate(path, (off_t)bytes), 0);
        if (!try_file(path, true)) fail_msg("cut to %zu bytes, and nothing found", bytes);
    }
    free(file.data);
}

/* ---- Checksums made right again ---------------------------------------------------------------------------------- */

static uint32_t strange_word(ki_rng *rng) {
    static const uint32_t words[] = {0,   1,   2,   7,    8,          63,         64,         65,
                                     69,  70,  71,  255,  16,         24,         96,         97,
                                     128, 700, 701, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0};
    const size_t count = sizeof(words) / sizeof(*words);
    return ki_rng_below(rng, 4) ? words[ki_rng_below(rng, count)] : (uint32_t)ki_rng_next(rng);
}

/* Some words or bytes of one part, the header, a section's head, or the directory. */
static void change(test_bytes file, ki_rng *rng) {
    ki_layout layout = test_layout(file);
    const size_t changes = 1 + ki_rng_below(rng, 4);
    const ki_part *part = &layout.part[ki_rng_below(rng, layout.parts)];
    const bool header = ki_rng_below(rng, 10) == 0;
    if (ki_rng_below(rng, 3) == 0) part = ki_layout_find(&layout, KI_PART_DIRECTORY);
    for (size_t i = 0; i < changes; i++) {
        const size_t begin = header ? 8 : part->offset, bytes = header ? 112 : part->bytes;
        const size_t at = begin + ki_rng_below(rng, bytes / 4) * 4;
        if (ki_rng_below(rng, 3))
            ki_store_u32(file.data + at, strange_word(rng));
        else
            file.data[at + ki_rng_below(rng, 4)] ^= (unsigned char)(1u << ki_rng_below(rng, 8));
    }
    ki_layout_free(&layout);
    test_reseal(file);
}

static void changed_and_sealed_again(void **state) {
    enum { ROUNDS = 700 };
    static const struct {
        size_t rows;
        uint64_t words, sparse;
        kith_id_kind kind;
    } tables[] = {{70, 9, 4, KITH_ID_STRING}, {700, 300, 0, KITH_ID_U64}, {1, 2, 0, KITH_ID_STRING}};
    ki_rng rng = {16};
    unsigned refused = 0, opened = 0;
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        test_bytes file =
            make(test_path("good.kith"), tables[t].rows, tables[t].words, tables[t].sparse, tables[t].kind);
        test_bytes copy = {malloc(file.bytes), file.bytes};
        for (int round = 0; round < ROUNDS; round++) {
            ki_table *table = NULL;
            const char *path = test_path("hostile.kith");
            memcpy(copy.data, file.data, file.bytes);
            change(copy, &rng);
            test_write(path, copy.data, copy.bytes);
            refused += try_file(path, true);
            if (ki_table_open(path, NULL, &table, &error) == KITH_OK) opened++;
            ki_table_close(table);
        }
        free(file.data);
        free(copy.data);
    }
    assert_true(opened > ROUNDS / 2);  /* what is behind the sizes was reached, */
    assert_true(refused > 2 * ROUNDS); /* and found: fewer are changes of unused bytes and of values */
}

/* Faults of each kind, one by one: opening or checking says which. */
static void faults_are_named(void **state) {
    enum { ROWS = 700 };
    static const struct {
        size_t field;
        int run; /* -1: the part; -2: a count of the directory */
        uint32_t part, word, value;
        const char *words;
    } faults[] = {
        {0, -1, KI_PART_KEYS, 2, 0, "part 'keys', entry 1: is reserved, or does not ascend"},
        {0, -1, KI_PART_TEXT_ENDS, 0, UINT32_MAX, "part 'ends', entry 0: is no end of a string"},
        {0, -1, KI_PART_TEXT_ORDER, 5, ROWS, "part 'order', entry 5: is beyond the last row"},
        {0, -1, KI_PART_DIRECTORY, 0, 4, "part 'directory': its fields do not ascend"},
        {0, -1, KI_PART_DIRECTORY, 1, 7, "part 'directory': a column's counts and bytes cannot be"},
        {0, -1, KI_PART_DIRECTORY, 1, 3, "part 'directory': a column's counts and bytes cannot be"},
        {0, -1, KI_PART_DIRECTORY, 2, 64, "part 'directory': a column does not lie behind the one before"},
        {0, -1, KI_PART_DIRECTORY, 6, ROWS + 1, "part 'directory': a column's counts and bytes cannot be"},
        {0, -1, KI_PART_DIRECTORY, 9, UINT32_MAX, "part 'directory': a column's counts and bytes cannot be"},
        {0, -1, KI_PART_DIRECTORY, 14, 1, "part 'directory': a column's counts and bytes cannot be"},
        {0, KI_RUN_PRESENT, 0, 21, UINT32_MAX, "is not the number of rows with a value"},
        {0, KI_RUN_NUMBERS, 0, 0, UINT32_MAX, "has a word"},
        {0, KI_RUN_WORD_ENDS, 0, 1, 1, "is no end of a word"},
        {0, KI_RUN_WORDS, 0, 0, UINT32_MAX, "words do not ascend"},
        {0, KI_RUN_UNIT_ENDS, 0, 0, 0, "has no rows"},
        {0, KI_RUN_UNITS, 0, 0, ROWS + 70, "has a row that does not"},
        {1, KI_RUN_ROW_ENDS, 0, 3, 1, "has no places"},
        {1, KI_RUN_UNIT_ENDS, 0, 1, 1, "has no rows"},
        {2, KI_RUN_ORDER, 0, 9, ROWS, "of the order is a row without a value"},
        {2, KI_RUN_ORDER, 0, 9, 0, "of the order"},
        {2, KI_RUN_VALUES, 0, 801, 0x12345678, "of the order does not ascend"},
        {3, KI_RUN_VALUES, 0, 801, 0x7ff00000, "is no finite number"},
        {4, KI_RUN_VALUES, 0, 21, 0x80000000, "has a bit, but no value"},
        {5, KI_RUN_ORDER, 0, 2, UINT32_MAX, "of the order is a row without a value"},
    };
    const char *path = test_path("fault.kith");
    test_bytes file = make(path, ROWS, 300, 4, KITH_ID_STRING);
    ki_table *table = NULL;
    (void)state;
    assert_int_equal(ki_table_open(path, NULL, &table, &error), KITH_OK);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        test_bytes copy = {malloc(file.bytes), file.bytes};
        ki_run run[KI_RUNS];
        uint64_t total;
        size_t at;
        memcpy(copy.data, file.data, file.bytes);
        if (faults[i].run < 0)
            at = test_find(file, faults[i].part, NULL);
        else {
            const ki_column *column = &table->column[faults[i].field];
            assert_true(ki_column_runs(&column->entry, ROWS, run, &total));
            assert_true(4 * (uint64_t)faults[i].word < run[faults[i].run].bytes);
            at = test_find(file, KI_PART_COLUMN_DATA, NULL) + column->entry.offset + run[faults[i].run].offset;
        }
        ki_store_u32(copy.data + at + 4 * (size_t)faults[i].word, faults[i].value);
        test_reseal(copy);
        test_write(path, copy.data, copy.bytes);
        if (!try_file(path, true) || !strstr(error.text, faults[i].words))
            fail_msg("fault %zu: '%s' lacks '%s'", i, error.text, faults[i].words);
        free(copy.data);
    }
    ki_table_close(table);
    free(file.data);
}

/* ---- Cut while it is open, and memory that is refused ------------------------------------------------------------ */

static void cut_while_open(void **state) {
    (void)state;
    for (size_t cut = 0; cut < 60000; cut += 4096) {
        const char *path = test_path("cut.kith");
        ki_table *table = NULL;
        test_bytes file = make(path, 700, 300, 4, KITH_ID_STRING);
        assert_true(cut < file.bytes);
        free(file.data);
        assert_int_equal(ki_table_open(path, NULL, &table, &error), KITH_OK);
        assert_false(try_filters(table));
        assert_int_equal(truncate(path, (off_t)cut), 0);
        assert_true(try_filters(table));
        try_rows(table);
        assert_int_not_equal(ki_table_damaged(table), 0);
        assert_int_equal(ki_table_check(table, NULL, &error), KITH_E_CORRUPT);
        ki_table_close(table);
    }
}

static kith_status write_it(const char *path) {
    enum { ROWS = 100 };
    uint64_t bytes, hash;
    table_row *row = table_rows(ROWS, 20, 4, 9);
    const kith_status status = table_write(path, row, ROWS, KITH_ID_STRING, schema, &bytes, &hash, &error);
    free(row);
    return status;
}

static kith_status read_it(const char *path) {
    ki_table *table = NULL;
    ki_values values = {0};
    const ki_operand word = table_text("w1"), several[] = {table_text("w1"), table_text("w2")}, number = table_int(1);
    const ki_filter_node leaf[] = {table_node(KI_FILTER_EQ, 0, &word, 1), table_node(KI_FILTER_EQ, 0, several, 2),
                                   table_node(KI_FILTER_EQ, 2, &number, 1), table_node(KI_FILTER_EXISTS, 3, NULL, 0)};
    const ki_filter_node *child[] = {&leaf[0], &leaf[1], &leaf[2], &leaf[3]};
    const ki_filter_node either = table_parent(KI_FILTER_OR, child, 4);
    kith_status status = ki_table_open(path, NULL, &table, &error);
    if (status == KITH_OK) status = ki_table_values(table, schema, 3, &values);
    if (status == KITH_OK) status = try_match(table, &either);
    ki_values_free(&values);
    ki_table_close(table);
    return status;
}

/* Each allocation refused in turn: KITH_E_NOMEM, and the old file is whole. */
static void refuse_each(kith_status (*work)(const char *path), const char *path, int least) {
    for (int at = 1;; at++) {
        allocations = 0;
        refuse_allocation = at;
        const kith_status status = work(path);
        refuse_allocation = 0;
        if (allocations < at) {
            assert_int_equal(status, KITH_OK);
            assert_true(at > least);
            return;
        }
        assert_int_equal(status, KITH_E_NOMEM);
        assert_false(try_file(path, false));
    }
}

static void memory_is_refused(void **state) {
    const char *path = test_path("memory.kith");
    (void)state;
    assert_int_equal(write_it(path), KITH_OK);
    refuse_each(write_it, path, 40);
    refuse_each(read_it, path, 10);
}

static int begin(void **state) {
    if (test_folder_make(state) != 0) return -1;
    schema = table_schema();
    return 0;
}

static int end(void **state) {
    ki_schema_destroy(schema);
    return test_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte),
        cmocka_unit_test(every_length),
        cmocka_unit_test(changed_and_sealed_again),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(memory_is_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

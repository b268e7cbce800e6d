/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection whose files are damaged: single bits flipped, files cut, files missing.
 *
 *   - verify finds every flip in a segment's files and names the file; one in the catalog it finds, or the collection
 *     holds what it held (SQLite keeps no sums of what no row uses)
 *   - opening and reading never crash, whatever they say
 *   - repair makes it whole again: what it does not tell as lost is there as it was, and verify says so; and it saves
 *     all but the rows whose vectors or ids were in the block that was hit
 *
 * KITH_STRESS=n: n times as many flips. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 1500, DIM = 64, LATER = 40, FILES_MAX = 16 };

static const kith_vector_spec specs[] = {{"", DIM, KITH_F32, KITH_L2SQ}, {"code", 64, KITH_B1, KITH_HAMMING}};
static kith_error error;
static const char *folder;
static model whole;
static kith_result *result;

/* ---- The files of a folder --------------------------------------------------------------------------------------- */

struct file {
    char name[200]; /* below the folder */
    unsigned char *data;
    size_t bytes;
};

static struct file files[FILES_MAX];
static size_t file_count;

static const char *path_of(const struct file *file) {
    static char path[700];
    snprintf(path, sizeof(path), "%s/%.200s", folder, file->name);
    return path;
}

static void write_file(const struct file *file, size_t bytes) {
    FILE *to = fopen(path_of(file), "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(file->data, 1, bytes, to), bytes);
    assert_int_equal(fclose(to), 0);
}

static void read_file(const char *name) {
    struct file *file = &files[file_count++];
    assert_true(file_count <= FILES_MAX);
    snprintf(file->name, sizeof(file->name), "%.199s", name);
    FILE *from = fopen(path_of(file), "rb");
    assert_non_null(from);
    fseek(from, 0, SEEK_END);
    file->bytes = (size_t)ftell(from);
    rewind(from);
    file->data = malloc(file->bytes + 1);
    assert_int_equal(fread(file->data, 1, file->bytes, from), file->bytes);
    fclose(from);
}

static void read_folder(const char *below) {
    char path[700], name[300];
    snprintf(path, sizeof(path), "%s/%s", folder, below);
    DIR *entries = opendir(path);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0) continue;
        snprintf(name, sizeof(name), "%s%s%s", below, *below ? "/" : "", entry->d_name);
        if (entry->d_type == DT_DIR)
            read_folder(name);
        else
            read_file(name);
    }
    closedir(entries);
}

/* As it was. */
static void put_back(void) {
    char command[1500];
    snprintf(command, sizeof(command),
             "cd '%s' && rm -rf catalog* && cd segments && for s in *; do rm -f \"$s\"/*; done", folder);
    assert_int_equal(system(command), 0);
    for (size_t f = 0; f < file_count; f++) {
        snprintf(command, sizeof(command), "%s", path_of(&files[f]));
        *strrchr(command, '/') = 0;
        char make[1600];
        snprintf(make, sizeof(make), "mkdir -p '%s'", command);
        assert_int_equal(access(command, F_OK) == 0 ? 0 : system(make), 0);
        write_file(&files[f], files[f].bytes);
    }
}

static int of_segment(const struct file *file) {
    return strncmp(file->name, "segments/", 9) == 0;
}

/* ---- The collection ---------------------------------------------------------------------------------------------- */

static void write_items(kith_collection *collection, uint64_t first, size_t count, ki_rng *rng) {
    uint64_t *ids = calloc(count, sizeof(*ids)), *ends = calloc(count, sizeof(*ends));
    float *rows = calloc(count * DIM, sizeof(*rows));
    unsigned char *bits = calloc(count, 8);
    uint8_t *present = calloc(count, 1); /* a third has one vector alone */
    char *payloads = NULL;
    size_t bytes = 0;
    kith_items items = KITH_ITEMS_INIT;
    kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
    for (size_t i = 0; i < count; i++) {
        char *payload = condition_payload(rng);
        ids[i] = (first + i) * 3;
        payloads = realloc(payloads, bytes + strlen(payload) + 1);
        memcpy(payloads + bytes, payload, strlen(payload) + 1);
        ends[i] = bytes += strlen(payload);
        free(payload);
        for (size_t j = 0; j < DIM; j++) rows[i * DIM + j] = (float)ki_rng_normal(rng);
        present[i] = i % 3 != 0;
        for (size_t j = 0; j < 8; j++) bits[i * 8 + j] = (unsigned char)ki_rng_next(rng);
    }
    const kith_item_vectors vectors[] = {
        {.name = "", .data = rows, .dtype = KITH_F32, .dim = DIM},
        {.name = "code", .data = bits, .dtype = KITH_B1, .dim = 64, .present = present}};
    items.ids = (kith_ids){.count = count, .ids = ids};
    items.vectors = vectors, items.vector_count = 2;
    items.payload_bytes = payloads, items.payload_ends = ends;
    if (kith_collection_write(collection, &items, KITH_UPSERT, &report, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_int_equal(model_write(&whole, &items, KITH_UPSERT, report.version, &expected), KITH_OK);
    free(ids);
    free(ends);
    free(rows);
    free(bits);
    free(present);
    free(payloads);
}

static kith_collection *open_it(kith_status *status) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.no_background = 1;
    options.threads = 1;
    *status = kith_collection_open(folder, &options, &collection, &error);
    return collection;
}

/* A segment with dead rows, and newer items in the log. */
static int set_up(void **state) {
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    char why[MODEL_WHY_BYTES];
    kith_status status;
    ki_rng rng = {9};
    uint64_t dead[50];
    kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
    if (data_folder_make(state) != 0) return -1;
    folder = strdup(data_path("shop"));
    made.vectors = specs, made.vector_count = 2;
    made.fields = condition_fields, made.field_count = 5;
    model_make(&whole, &made);
    if (kith_result_create(&result, &error) != KITH_OK) return -1;
    if (kith_collection_create(folder, &made, &error) != KITH_OK) return -1;
    kith_collection *collection = open_it(&status);
    if (!collection) return -1;
    write_items(collection, 0, ROWS, &rng);
    if (kith_collection_compact(collection, NULL, NULL, &error) != KITH_OK) return -1;
    for (size_t i = 0; i < 50; i++) dead[i] = i * 17 * 3;
    const kith_ids ids = {.count = 50, .ids = dead};
    if (kith_collection_delete(collection, &ids, NULL, &report, &error) != KITH_OK) return -1;
    model_delete(&whole, &ids, NULL, report.version, &expected);
    write_items(collection, ROWS - LATER / 2, LATER, &rng);
    const int same = model_learn(&whole, collection, result, why) && model_same(&whole, collection, result, &rng, why);
    kith_collection_close(collection);
    if (!same) print_error("%s\n", why);
    read_folder("");
    return same ? 0 : -1;
}

static int tear_down(void **state) {
    for (size_t f = 0; f < file_count; f++) free(files[f].data);
    kith_result_destroy(result);
    model_free(&whole);
    free((char *)(uintptr_t)folder);
    return data_folder_remove(state);
}

/* Whatever it says, it must not crash. */
static void read_anyhow(void) {
    kith_status status;
    kith_collection *collection = open_it(&status);
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_ask ask = KITH_ASK_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    const float query[DIM] = {1, 2, 3};
    if (!collection) return;
    scroll.limit = 5000;
    scroll.with = KITH_WITH_PAYLOAD | KITH_WITH_VECTORS | KITH_WITH_VERSION;
    (void)!kith_collection_scroll(collection, &scroll, result, &error);
    queries.data = query, queries.dtype = KITH_F32, queries.count = 1, queries.dim = DIM;
    const kith_leg leg = {"", &queries, 0};
    ask.legs = &leg, ask.leg_count = 1;
    (void)!kith_collection_search(collection, &ask, result, &error);
    ask.filter = "color = \"red\" or price < 3 or tags has \"blue\"";
    (void)!kith_collection_search(collection, &ask, result, &error);
    kith_collection_close(collection);
}

static size_t times(size_t count) {
    const char *stress = getenv("KITH_STRESS");
    return stress && atoi(stress) > 0 ? count * (size_t)atoi(stress) : count;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void check_as_it_was(const char *what) {
    char why[MODEL_WHY_BYTES];
    kith_status status;
    ki_rng rng = {4};
    kith_collection *collection = open_it(&status);
    if (!collection) fail_msg("%s: verify found nothing, and it does not open: %s", what, error.text);
    if (!model_same(&whole, collection, result, &rng, why)) fail_msg("%s: verify found nothing: %s", what, why);
    kith_collection_close(collection);
}

static void test_flipped_bits(void **state) {
    unsigned long long flips = 0, found = 0, harmless = 0;
    ki_rng rng = {1};
    (void)state;
    for (size_t f = 0; f < file_count; f++)
        for (size_t i = 0; i < times(30); i++) {
            struct file *file = &files[f];
            /* Heads and ends are looked at more closely. */
            const size_t near = file->bytes < 512 ? file->bytes : 512, kind = ki_rng_below(&rng, 4);
            const size_t at = kind == 0   ? ki_rng_below(&rng, near)
                              : kind == 1 ? file->bytes - 1 - ki_rng_below(&rng, near)
                                          : ki_rng_below(&rng, file->bytes);
            const unsigned char bit = (unsigned char)(1u << ki_rng_below(&rng, 8));
            char what[300];
            snprintf(what, sizeof(what), "%.200s, byte %zu, bit %d", file->name, at, bit);
            file->data[at] ^= bit;
            put_back();
            flips++;
            const kith_status status = kith_collection_verify(folder, NULL, NULL, NULL, &error);
            if (status != KITH_OK) {
                found++;
                if (of_segment(file) && !strstr(error.text, strrchr(file->name, '/') + 1))
                    fail_msg("%s: the fault is said to be elsewhere: %s", what, error.text);
                if (of_segment(file)) assert_int_equal(status, KITH_E_CORRUPT);
                read_anyhow();
            } else if (of_segment(file)) {
                fail_msg("%s: verify did not find it", what);
            } else {
                harmless++;
                check_as_it_was(what);
            }
            file->data[at] ^= bit;
        }
    put_back();
    print_message("%llu bits flipped: %llu found, %llu in the catalog where nothing lies\n", flips, found, harmless);
}

static void test_cut_and_missing_files(void **state) {
    ki_rng rng = {2};
    (void)state;
    for (size_t f = 0; f < file_count; f++)
        for (size_t i = 0; i < times(8); i++) {
            const struct file *file = &files[f];
            const size_t bytes = i == 0 ? 0 : i == 1 ? file->bytes - 1 : ki_rng_below(&rng, file->bytes);
            put_back();
            if (i == 2)
                assert_int_equal(unlink(path_of(file)), 0);
            else
                write_file(file, bytes);
            if (kith_collection_verify(folder, NULL, NULL, NULL, &error) == KITH_OK)
                fail_msg("%s cut to %zu of %zu bytes: verify did not find it", file->name, bytes, file->bytes);
            read_anyhow();
        }
    put_back();
}

struct lost {
    size_t count;
    uint64_t id[ROWS + LATER];
};

static void note_lost(void *context, uint64_t id, const char *text, size_t text_bytes, const char *why) {
    struct lost *lost = context;
    (void)text, (void)text_bytes;
    assert_true(lost->count < ROWS + LATER);
    assert_non_null(why);
    lost->id[lost->count++] = id;
}

static int is_lost(const struct lost *lost, uint64_t id) {
    for (size_t i = 0; i < lost->count; i++)
        if (lost->id[i] == id) return 1;
    return 0;
}

/* What is there is as it was, but that it may lack one of its vectors; returns how many vectors are missing. */
static size_t check_repaired(const struct lost *lost, const char *what) {
    kith_status status;
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_hits hits = KITH_HITS_INIT;
    size_t at = 0, missing = 0;
    kith_collection *collection = open_it(&status);
    if (!collection) fail_msg("%s: %s", what, error.text);
    scroll.limit = 5000;
    scroll.with = KITH_WITH_PAYLOAD | KITH_WITH_VECTORS;
    if (kith_collection_scroll(collection, &scroll, result, &error) != KITH_OK) fail_msg("%s: %s", what, error.text);
    kith_result_hits(result, &hits);
    for (size_t i = 0; i < whole.count; i++) {
        const model_item *item = &whole.item[i];
        if (is_lost(lost, item->id)) continue;
        if (at == hits.count || hits.ids[at] != item->id)
            fail_msg("%s: item %llu is neither there nor lost", what, (unsigned long long)item->id);
        const uint64_t begin = at ? hits.payload_ends[at - 1] : 0;
        json_t *payload = json_loadb(hits.payload_bytes + begin, hits.payload_ends[at] - begin, 0, NULL);
        assert_true(payload && json_equal(payload, item->payload));
        json_decref(payload);
        for (size_t s = 0; s < 2; s++) {
            const uint8_t *present = NULL;
            const unsigned char *rows = kith_result_vectors(result, specs[s].name, &present);
            const size_t bytes = kith_row_bytes(specs[s].dtype, specs[s].dim);
            if (!item->vector[s])
                assert_true(!rows || !present[at]);
            else if (!rows || !present[at])
                missing++;
            else
                assert_memory_equal(rows + at * bytes, item->vector[s], bytes);
        }
        at++;
    }
    assert_int_equal(at, hits.count);
    kith_collection_close(collection);
    if (kith_collection_verify(folder, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s: %s", what, error.text);
    return missing;
}

static void test_repair(void **state) {
    static struct lost lost;
    ki_rng rng = {3};
    (void)state;
    unsigned long long repairs = 0, items = 0, vectors = 0, of_blocks = 0, heavy = 0;
    for (size_t f = 0; f < file_count; f++)
        for (size_t i = 0; i < times(8) && of_segment(&files[f]); i++) {
            struct file *file = &files[f];
            kith_repair_report report = KITH_REPAIR_REPORT_INIT;
            const size_t at = ki_rng_below(&rng, file->bytes);
            char what[300];
            snprintf(what, sizeof(what), "%.200s, byte %zu %s", file->name, at, i % 4 == 3 ? "is the end" : "is wrong");
            file->data[at] ^= 0x41;
            put_back();
            file->data[at] ^= 0x41;
            if (i % 4 == 3) write_file(file, at);
            lost.count = 0;
            if (kith_collection_repair(folder, note_lost, &lost, NULL, NULL, &report, &error) != KITH_OK)
                fail_msg("%s: %s", what, error.text);
            assert_int_equal(report.lost, lost.count);
            assert_int_equal(report.segments, 1);
            const size_t missing = check_repaired(&lost, what);
            assert_int_equal(report.items + lost.count, whole.count);
            /* Where it was no block with ids of all. */
            if (file->bytes > 4 * 65536 && i % 4 != 3) {
                of_blocks++;
                heavy += lost.count + missing > whole.count / 2;
            }
            repairs++;
            items += lost.count;
            vectors += missing;
        }
    put_back();
    check_as_it_was("put back");
    assert_true(items > 0 && of_blocks > 0 && heavy * 2 < of_blocks);
    print_message("%llu repairs: %llu items of %zu in each and %llu vectors of others lost\n", repairs, items,
                  whole.count, vectors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_cut_and_missing_files),
        cmocka_unit_test(test_repair),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A collection and its model (support/model.h) go through the same random operations: writes in all modes and sizes,
 * with conditions and without, refused ones among them; deletions by id and by filter; declarations; compactions;
 * closing and opening again. Heads are tiny, so that segments are sealed and merged all the time. After each step
 * searches, gets, counts and scrolls must say what the model says, to the bit; so must a second handle that only reads.
 *
 * KITH_STRESS=n: n times as many runs, with other seeds. KITH_SEED=s: that one alone.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/collection.h"
#include "state/tenants.h"
#include "support/data.h"
#include "support/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 70, BATCH_MAX = 24, IDS = 160 };

static const kith_vector_spec plain_spec[] = {{"", 12, KITH_F32, KITH_L2SQ}};
static const kith_vector_spec several_specs[] = {
    {"text", 24, KITH_F32, KITH_COSINE}, {"image", 17, KITH_F16, KITH_IP}, {"", 64, KITH_B1, KITH_HAMMING}};
static const kith_vector_spec small_specs[] = {{"a", 8, KITH_I8, KITH_L2SQ}, {"b", 16, KITH_BF16, KITH_COSINE}};

static kith_error error;
static unsigned long long steps_done, states_compared;

struct world {
    ki_rng rng;
    uint64_t seed;
    kith_collection_options made;
    kith_collection_open_options open;
    const char *path; /* NULL: in memory */
    kith_collection *collection, *follower;
    kith_result *result;
    model model;
    size_t declared; /* of condition_fields */
    char did[200];
};

#define FAIL(world, ...)                                                                                               \
    do {                                                                                                               \
        char text_[MODEL_WHY_BYTES + 64];                                                                              \
        snprintf(text_, sizeof(text_), __VA_ARGS__);                                                                   \
        fail_msg("KITH_SEED=%llu, after %s: %s", (unsigned long long)(world)->seed, (world)->did, text_);              \
    } while (0)

/* ---- What is written --------------------------------------------------------------------------------------------- */

struct batch {
    kith_items items;
    uint64_t id[BATCH_MAX], end[BATCH_MAX], payload_end[BATCH_MAX], expires[BATCH_MAX], version[BATCH_MAX];
    char text[BATCH_MAX * 32];
    char *payloads;
    size_t payload_bytes;
    kith_item_vectors vectors[3];
    unsigned char *rows[3];
    uint8_t present[3][BATCH_MAX];
};

/* Ids: some near each other, some at the ends of what there is. */
static uint64_t id_of(uint64_t which) {
    if (which % 16 == 0) return UINT64_MAX - 1 - which;
    if (which % 16 == 1) return (UINT64_C(1) << 63) + which;
    return which;
}

static void put_id(struct world *w, struct batch *b, size_t i, uint64_t which) {
    const uint64_t begin = i ? b->end[i - 1] : 0;
    b->id[i] = id_of(which);
    b->end[i] = begin + (uint64_t)snprintf(b->text + begin, sizeof(b->text) - begin, "item-%llu%s",
                                           (unsigned long long)which * 7 % IDS, which % 3 ? "" : "\xc3\xa9");
    const int numbers = w->made.id_kind == KITH_ID_U64;
    b->items.ids = (kith_ids){i + 1, numbers ? b->id : NULL, numbers ? NULL : b->text, numbers ? NULL : b->end};
}

static uint64_t existing(struct world *w, uint64_t fallback);

/* Ids that are distinct, unless they may be there twice. */
static void put_ids(struct world *w, struct batch *b, size_t count, int twice) {
    uint64_t chosen[BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        chosen[i] = ki_rng_below(&w->rng, IDS);
        for (size_t j = 0; j < i && !twice; j++)
            if (chosen[j] == chosen[i]) {
                chosen[i] = ki_rng_below(&w->rng, IDS);
                j = SIZE_MAX;
            }
        put_id(w, b, i, chosen[i]);
    }
}

static void put_vectors(struct world *w, struct batch *b, size_t count) {
    for (size_t s = 0; s < w->made.vector_count; s++) {
        const kith_vector_spec *spec = &w->made.vectors[s];
        if (ki_rng_below(&w->rng, 8) == 0) continue;
        const size_t at = b->items.vector_count++;
        const kith_dtype dtype = spec->dtype == KITH_B1 || ki_rng_below(&w->rng, 3) == 0 ? spec->dtype : KITH_F32;
        const size_t bytes = kith_row_bytes(dtype, spec->dim), stride = bytes + (ki_rng_below(&w->rng, 4) ? 0 : 8);
        b->rows[at] = calloc(count, stride);
        for (size_t i = 0; i < count; i++) {
            float row[64];
            b->present[at][i] = ki_rng_below(&w->rng, 6) != 0;
            if (spec->dtype == KITH_B1) {
                for (size_t j = 0; j < bytes; j++) b->rows[at][i * stride + j] = (unsigned char)ki_rng_next(&w->rng);
                continue;
            }
            for (size_t j = 0; j < spec->dim; j++)
                row[j] =
                    spec->dtype == KITH_I8 ? (float)ki_rng_below(&w->rng, 255) - 127.0f : (float)ki_rng_normal(&w->rng);
            if (ki_rng_below(&w->rng, 5) == 0) /* ties */
                for (size_t j = 0; j < spec->dim; j++) row[j] = (float)(j % 3 + 1);
            data_convert(row, dtype, spec->dim, b->rows[at] + i * stride);
        }
        b->vectors[at] = (kith_item_vectors){.name = spec->name,
                                             .data = b->rows[at],
                                             .dtype = dtype,
                                             .dim = spec->dim,
                                             .stride_bytes = stride == bytes ? 0 : stride,
                                             .present = ki_rng_below(&w->rng, 3) ? b->present[at] : NULL};
    }
    b->items.vectors = b->items.vector_count ? b->vectors : NULL;
}

static void put_payloads(struct world *w, struct batch *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char *text = ki_rng_below(&w->rng, 8) ? condition_payload(&w->rng) : strdup("");
        if (w->declared > 2 && ki_rng_below(&w->rng, 120) == 0) {
            free(text);
            text = strdup("{\"price\": \"dear\"}"); /* that is declared, as a number */
        }
        const size_t bytes = strlen(text);
        b->payloads = realloc(b->payloads, b->payload_bytes + bytes + 1);
        memcpy(b->payloads + b->payload_bytes, text, bytes + 1);
        b->payload_end[i] = b->payload_bytes += bytes;
        free(text);
    }
    b->items.payload_bytes = b->payloads;
    b->items.payload_ends = b->payload_end;
}

static struct batch *make_batch(struct world *w, kith_write_mode mode) {
    struct batch *b = calloc(1, sizeof(*b));
    const size_t count = ki_rng_below(&w->rng, 3) ? 1 + ki_rng_below(&w->rng, BATCH_MAX) : 1;
    const int conditional = ki_rng_below(&w->rng, 4) == 0, twice = mode == KITH_UPSERT && !conditional;
    b->items = (kith_items)KITH_ITEMS_INIT;
    put_ids(w, b, count, twice && ki_rng_below(&w->rng, 4) == 0);
    put_vectors(w, b, count);
    if (ki_rng_below(&w->rng, 5)) put_payloads(w, b, count);
    if (ki_rng_below(&w->rng, 4) == 0) {
        for (size_t i = 0; i < count; i++)
            b->expires[i] = ki_rng_below(&w->rng, 2) ? UINT64_C(4102444800000) + ki_rng_below(&w->rng, 1000) : 0;
        b->items.expires_ms = b->expires;
    }
    if (conditional) {
        for (size_t i = 0; i < count; i++) {
            static const uint64_t fixed[] = {0, KITH_VERSION_ANY, 1};
            b->version[i] = ki_rng_below(&w->rng, 2) ? fixed[ki_rng_below(&w->rng, 3)] : existing(w, 0);
        }
        b->items.if_version = b->version;
    }
    return b;
}

static void free_batch(struct batch *b) {
    for (size_t i = 0; i < 3; i++) free(b->rows[i]);
    free(b->payloads);
    free(b);
}

/* The version of some item. */
static uint64_t existing(struct world *w, uint64_t fallback) {
    return w->model.count ? w->model.item[ki_rng_below(&w->rng, w->model.count)].version : fallback;
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static void check_report(struct world *w, const kith_write_report *got, const kith_write_report *expected) {
    if (got->inserted != expected->inserted || got->replaced != expected->replaced ||
        got->removed != expected->removed || got->unmet != expected->unmet)
        FAIL(w, "%llu inserted, %llu replaced, %llu removed, %llu unmet are reported instead of %llu, %llu, %llu, %llu",
             (unsigned long long)got->inserted, (unsigned long long)got->replaced, (unsigned long long)got->removed,
             (unsigned long long)got->unmet, (unsigned long long)expected->inserted,
             (unsigned long long)expected->replaced, (unsigned long long)expected->removed,
             (unsigned long long)expected->unmet);
    if (got->version != expected->version)
        FAIL(w, "version %llu is reported instead of %llu", (unsigned long long)got->version,
             (unsigned long long)expected->version);
}

static void check_version(struct world *w, uint64_t version, int changed) {
    if (changed ? version <= w->model.version : version != w->model.version)
        FAIL(w, "version %llu after %llu", (unsigned long long)version, (unsigned long long)w->model.version);
}

static void step_write(struct world *w) {
    static const kith_write_mode modes[] = {KITH_UPSERT, KITH_UPSERT, KITH_UPSERT,
                                            KITH_INSERT, KITH_UPDATE, KITH_MERGE};
    static const char *const names[] = {"upsert", "insert", "update", "merge"};
    kith_write_mode mode = modes[ki_rng_below(&w->rng, 6)];
    struct batch *b = make_batch(w, mode);
    kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
    /* Modes that mostly fail for large batches get what is there, or what is not. */
    if (mode != KITH_UPSERT) {
        size_t kept = 0;
        for (size_t i = 0; i < b->items.ids.count && w->made.id_kind == KITH_ID_U64; i++) {
            int there = 0;
            for (size_t j = 0; j < w->model.count; j++) there |= w->model.item[j].id == b->id[i];
            if (there == (mode == KITH_INSERT) && ki_rng_below(&w->rng, 20)) continue;
            b->id[kept++] = b->id[i];
        }
        if (kept) b->items.ids.count = kept;
    }
    snprintf(w->did, sizeof(w->did), "%s of %zu", names[mode], b->items.ids.count);
    kith_status should = model_write(&w->model, &b->items, mode, 0, &expected);
    const kith_status status = kith_collection_write(w->collection, &b->items, mode, &report, &error);
    if (status != should)
        FAIL(w, "status %s instead of %s: %s", kith_status_text(status), kith_status_text(should),
             status == KITH_OK ? "" : error.text);
    if (status == KITH_OK) {
        check_version(w, report.version, expected.inserted + expected.replaced > 0);
        should = model_write(&w->model, &b->items, mode, report.version, &expected);
        assert_int_equal(should, KITH_OK);
        check_report(w, &report, &expected);
    }
    free_batch(b);
}

static void step_delete(struct world *w) {
    struct batch *b = calloc(1, sizeof(*b));
    const size_t count = 1 + ki_rng_below(&w->rng, 10);
    kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
    put_ids(w, b, count, 0);
    for (size_t i = 0; i < count; i++) b->version[i] = ki_rng_below(&w->rng, 2) ? KITH_VERSION_ANY : existing(w, 0);
    const uint64_t *if_version = ki_rng_below(&w->rng, 3) ? NULL : b->version;
    snprintf(w->did, sizeof(w->did), "delete of %zu", count);
    if (kith_collection_delete(w->collection, &b->items.ids, if_version, &report, &error) != KITH_OK)
        FAIL(w, "%s", error.text);
    model_delete(&w->model, &b->items.ids, if_version, report.version, &expected);
    check_report(w, &report, &expected);
    free_batch(b);
}

static condition *some_condition(struct world *w) {
    uint64_t ids[8];
    size_t count = 0;
    const int numbers = w->made.id_kind == KITH_ID_U64;
    while (numbers && count < 8) ids[count++] = id_of(ki_rng_below(&w->rng, IDS)) & INT64_MAX;
    return condition_make(&w->rng, 1 + ki_rng_below(&w->rng, 6), ids, count);
}

static void step_delete_where(struct world *w) {
    condition *where = some_condition(w);
    char *text = condition_text(where);
    kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
    /* Not too much at once. */
    if (text && model_count(&w->model, where) < 1 + w->model.count / 3) {
        snprintf(w->did, sizeof(w->did), "delete where %.150s", text);
        if (kith_collection_delete_where(w->collection, text, &report, &error) != KITH_OK) FAIL(w, "%s", error.text);
        model_delete_where(&w->model, where, report.version, &expected);
        check_report(w, &report, &expected);
    }
    free(text);
    condition_free(where);
}

static void step_declare(struct world *w) {
    if (w->declared == CONDITION_FIELDS) return;
    const kith_field *field = &condition_fields[w->declared++];
    snprintf(w->did, sizeof(w->did), "declaring %s", field->name);
    if (kith_collection_declare(w->collection, field, &error) != KITH_OK) FAIL(w, "%s", error.text);
    model_declare(&w->model, field);
}

/* A few items make a tenant large. */
static void let_split(struct world *w) {
    w->collection->own_from = 4;
}

/* Some tenant's searches pay for segments of its own. */
static void step_ask(struct world *w) {
    (void)ki_tenants_note(w->collection->tenants, ki_rng_below(&w->rng, 2) ? "red" : "r\xc3\xb6t", 1000);
}

static void step_compact(struct world *w) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    snprintf(w->did, sizeof(w->did), "compacting");
    if (kith_collection_compact(w->collection, NULL, NULL, &error) != KITH_OK) FAIL(w, "%s", error.text);
    assert_int_equal(kith_collection_get_info(w->collection, &info), KITH_OK);
    if (info.segments > 1 + info.own_segments || info.dead_rows || info.head_rows)
        FAIL(w, "%zu segments, %llu dead rows, %llu rows in memory are left", info.segments,
             (unsigned long long)info.dead_rows, (unsigned long long)info.head_rows);
}

static void open_follower(struct world *w) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.read_only = 1;
    options.threads = 1;
    if (kith_collection_open(w->path, &options, &w->follower, &error) != KITH_OK) FAIL(w, "%s", error.text);
}

static void step_reopen(struct world *w) {
    if (!w->path) return;
    snprintf(w->did, sizeof(w->did), "opening again");
    kith_collection_close(w->collection);
    w->collection = NULL;
    if (kith_collection_open(w->path, &w->open, &w->collection, &error) != KITH_OK) FAIL(w, "%s", error.text);
    let_split(w);
    if (ki_rng_below(&w->rng, 2)) {
        kith_collection_close(w->follower);
        w->follower = NULL;
        open_follower(w);
    }
}

/* What cannot be is refused, and changes nothing. */
static void step_refused(struct world *w) {
    const kith_vector_spec *spec = &w->made.vectors[0];
    struct batch *b = calloc(1, sizeof(*b));
    float row[64];
    snprintf(w->did, sizeof(w->did), "refused writes");
    for (size_t i = 0; i < spec->dim; i++) row[i] = 1;
    row[spec->dim - 1] = (float)NAN;
    b->items = (kith_items)KITH_ITEMS_INIT;
    put_ids(w, b, 1, 0);
    b->vectors[0] = (kith_item_vectors){.name = spec->name, .data = row, .dtype = KITH_F32, .dim = spec->dim};
    b->items.vectors = b->vectors;
    b->items.vector_count = 1;
    assert_int_equal(kith_collection_write(w->collection, &b->items, KITH_UPSERT, NULL, &error), KITH_E_DATA);
    b->vectors[0].dim = spec->dim + 1;
    assert_int_equal(kith_collection_write(w->collection, &b->items, KITH_UPSERT, NULL, &error), KITH_E_ARG);
    b->vectors[0].dim = spec->dim;
    b->vectors[0].name = "no such vector";
    const kith_status status = kith_collection_write(w->collection, &b->items, KITH_UPSERT, NULL, &error);
    assert_true(status == KITH_E_ARG || status == KITH_E_NOTFOUND);
    b->items.vector_count = 0;
    b->payload_end[0] = 3;
    b->items.payload_bytes = "[1]";
    b->items.payload_ends = b->payload_end;
    assert_int_equal(kith_collection_write(w->collection, &b->items, KITH_UPSERT, NULL, &error), KITH_E_DATA);
    free_batch(b);
}

static void compare(struct world *w, kith_collection *collection, const char *whose);

/* A copy holds what the collection does now, verifies, and so does what is restored from it. */
static void step_snapshot(struct world *w) {
    static unsigned copies;
    char name[60], command[1000];
    kith_collection *copy = NULL;
    if (!w->path) return;
    snprintf(w->did, sizeof(w->did), "a snapshot");
    snprintf(name, sizeof(name), "copy-%u", copies);
    const char *path = data_path(name);
    snprintf(name, sizeof(name), "restored-%u", copies++);
    const char *restored = data_path(name);
    if (kith_collection_snapshot(w->collection, path, &error) != KITH_OK) FAIL(w, "%s", error.text);
    if (kith_collection_verify(path, NULL, NULL, NULL, &error) != KITH_OK) FAIL(w, "%s", error.text);
    if (kith_collection_restore(path, restored, NULL, NULL, &error) != KITH_OK) FAIL(w, "%s", error.text);
    for (int i = 0; i < 2; i++) {
        if (kith_collection_open(i ? restored : path, &w->open, &copy, &error) != KITH_OK) FAIL(w, "%s", error.text);
        compare(w, copy, i ? "what was restored" : "the snapshot");
        kith_collection_close(copy);
    }
    snprintf(command, sizeof(command), "rm -rf '%s' '%s'", path, restored);
    assert_int_equal(system(command), 0);
}

static void step(struct world *w) {
    const uint64_t which = ki_rng_below(&w->rng, 100);
    if (which < 62)
        step_write(w);
    else if (which < 76)
        step_delete(w);
    else if (which < 81)
        step_delete_where(w);
    else if (which < 85)
        step_declare(w);
    else if (which < 89)
        step_compact(w);
    else if (which < 95)
        step_reopen(w);
    else if (which < 97)
        step_snapshot(w);
    else
        step_refused(w);
    if (which % 8 == 0) step_ask(w);
    steps_done++;
}

/* ---- Runs -------------------------------------------------------------------------------------------------------- */

static void compare(struct world *w, kith_collection *collection, const char *whose) {
    char why[MODEL_WHY_BYTES] = "";
    states_compared++;
    if (!model_same(&w->model, collection, w->result, &w->rng, why)) FAIL(w, "%s: %s", whose, why);
    for (int i = 0; i < 3; i++) {
        condition *where = some_condition(w);
        const int same = model_same_search(&w->model, collection, w->result, where, &w->rng, why);
        condition_free(where);
        if (!same) FAIL(w, "%s: %s", whose, why);
    }
}

/* A search that asks for the newest state waits until the follower has it. */
static void wait_for_version(struct world *w) {
    const kith_vector_spec *spec = &w->made.vectors[0];
    float row[64];
    kith_queries queries = KITH_QUERIES_INIT;
    kith_ask ask = KITH_ASK_INIT;
    for (size_t i = 0; i < spec->dim; i++) row[i] = 1;
    queries.data = row, queries.dtype = KITH_F32, queries.count = 1, queries.dim = spec->dim;
    const kith_leg leg = {spec->name, &queries, 0};
    ask.legs = &leg, ask.leg_count = 1, ask.min_version = w->model.version;
    if (kith_collection_search(w->follower, &ask, w->result, &error) != KITH_OK) FAIL(w, "%s", error.text);
}

static void begin(struct world *w) {
    static unsigned folders;
    char name[40];
    snprintf(w->did, sizeof(w->did), "making it");
    assert_int_equal(kith_result_create(&w->result, &error), KITH_OK);
    model_make(&w->model, &w->made);
    if (w->path) {
        snprintf(name, sizeof(name), "collection-%u", folders++);
        w->path = strdup(data_path(name));
        if (kith_collection_create(w->path, &w->made, &error) != KITH_OK) FAIL(w, "%s", error.text);
        if (kith_collection_open(w->path, &w->open, &w->collection, &error) != KITH_OK) FAIL(w, "%s", error.text);
        open_follower(w);
    } else if (kith_collection_open_memory(&w->made, &w->open, &w->collection, &error) != KITH_OK) {
        FAIL(w, "%s", error.text);
    }
    let_split(w);
}

static void end(struct world *w) {
    kith_collection_close(w->follower);
    kith_collection_close(w->collection);
    if (w->path && kith_collection_verify(w->path, NULL, NULL, NULL, &error) != KITH_OK) FAIL(w, "%s", error.text);
    kith_result_destroy(w->result);
    model_free(&w->model);
    free((char *)(uintptr_t)w->path);
}

static void run(uint64_t seed, int on_disk) {
    static const struct {
        const kith_vector_spec *specs;
        size_t count;
    } kinds[] = {{plain_spec, 1}, {several_specs, 3}, {small_specs, 2}};
    struct world w = {.rng = {seed}, .seed = seed, .path = on_disk ? "" : NULL};
    const size_t kind = seed % 3;
    w.made = (kith_collection_options)KITH_COLLECTION_OPTIONS_INIT;
    w.made.id_kind = seed / 3 % 2 ? KITH_ID_STRING : KITH_ID_U64;
    w.made.vectors = kinds[kind].specs;
    w.made.vector_count = kinds[kind].count;
    w.made.fields = condition_fields;
    w.made.field_count = w.declared = seed % 4;
    if (w.declared && seed % 5 < 3) w.made.segment_field = "color";
    w.open = (kith_collection_open_options)KITH_COLLECTION_OPEN_OPTIONS_INIT;
    w.open.head_bytes = 1 + ki_rng_below(&w.rng, 3) * 3000;
    w.open.no_background = seed % 5 == 0;
    w.open.threads = 1 + (unsigned)(seed % 2);
    w.open.durability = seed % 4 == 1 ? KITH_DURABILITY_RELAXED : KITH_DURABILITY_FULL;
    begin(&w);
    for (int i = 0; i < STEPS; i++) {
        char why[MODEL_WHY_BYTES] = "";
        step(&w);
        if (!model_learn(&w.model, w.collection, w.result, why)) FAIL(&w, "%s", why);
        compare(&w, w.collection, "the writer");
        /* With relaxed durability other processes see a commit somewhat later. */
        if (w.follower && ki_rng_below(&w.rng, 3) == 0) {
            if (w.open.durability == KITH_DURABILITY_RELAXED) wait_for_version(&w);
            compare(&w, w.follower, "the follower");
        }
    }
    end(&w);
}

static void runs(int on_disk, uint64_t count) {
    const char *stress = getenv("KITH_STRESS"), *seed = getenv("KITH_SEED");
    if (seed) {
        run(strtoull(seed, NULL, 10), on_disk);
        return;
    }
    if (stress && atoi(stress) > 0) count *= (uint64_t)atoi(stress);
    for (uint64_t i = 0; i < count; i++) run(i, on_disk);
}

static void test_on_disk(void **state) {
    (void)state;
    runs(1, 12);
}

static void test_in_memory(void **state) {
    (void)state;
    runs(0, 12);
    print_message("%llu operations, %llu states compared\n", steps_done, states_compared);
}

/* ---- Time to live ------------------------------------------------------------------------------------------------ */

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Items end at their time: no read shows one afterwards, whatever the background has done, and after opening again. */
static void test_items_end(void **state) {
    (void)state;
    struct world w = {.rng = {5}, .path = ""};
    uint64_t count = 0;
    w.made = (kith_collection_options)KITH_COLLECTION_OPTIONS_INIT;
    w.made.vectors = plain_spec;
    w.made.vector_count = 1;
    w.open = (kith_collection_open_options)KITH_COLLECTION_OPEN_OPTIONS_INIT;
    w.open.head_bytes = 2000;
    begin(&w);
    for (int round = 0; round < 12; round++) {
        char why[MODEL_WHY_BYTES] = "";
        struct batch *b = make_batch(&w, KITH_UPSERT);
        kith_write_report report = KITH_WRITE_REPORT_INIT, expected;
        const uint64_t soon = now_ms() + 40;
        for (size_t i = 0; i < b->items.ids.count; i++) b->expires[i] = i % 3 ? soon + i % 5 : 0;
        b->items.expires_ms = b->expires;
        b->items.if_version = NULL;
        if (kith_collection_write(w.collection, &b->items, KITH_UPSERT, &report, &error) != KITH_OK)
            FAIL(&w, "%s", error.text);
        assert_int_equal(model_write(&w.model, &b->items, KITH_UPSERT, report.version, &expected), KITH_OK);
        free_batch(b);
        if (round % 3 == 1) { /* their end is no longer known from memory */
            if (kith_collection_compact(w.collection, NULL, NULL, &error) != KITH_OK) FAIL(&w, "%s", error.text);
            step_reopen(&w);
        }
        while (now_ms() <= soon + 5) nanosleep(&(struct timespec){0, 2000000}, NULL);
        model_expire(&w.model, now_ms());
        if (!model_learn(&w.model, w.collection, w.result, why)) FAIL(&w, "%s", why);
        snprintf(w.did, sizeof(w.did), "the end of some items");
        if (kith_collection_count(w.collection, NULL, &count, &error) != KITH_OK) FAIL(&w, "%s", error.text);
        assert_int_equal(count, w.model.count);
        w.model.version = 0; /* removing them may count as a version */
        compare(&w, w.collection, "the writer");
        compare(&w, w.follower, "the follower");
        if (round % 4 == 3) {
            step_reopen(&w);
            compare(&w, w.collection, "the writer");
        }
        w.model.version = report.version;
    }
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_disk),
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_items_end),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}

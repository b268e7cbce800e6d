/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles that are kept in memory are those of the catalog at all times, and answers to searches by them that were kept
 * are what a search would give: random events, profiles forgotten and rebuilt, items written and deleted, compactions and
 * reopenings, through the writer and a follower that keep what is hot, each time beside a follower that keeps nothing.
 * Also with events and searches at once. A good share of reads must have needed no row, and of answers no search.
 *
 * KITH_SEED=s: other random numbers.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/shop.h"

#include <pthread.h>
#include <stdatomic.h>

enum { IDS = 120, NAMES = 5, STEPS = 400, QUESTIONS = 10, CACHE = 400000 };

static const char *const names[NAMES] = {"ann", "bo", "cleo", "dev", "ed"};

struct world {
    ki_rng rng;
    char path[512];
    kith_collection *writer, *follower, *plain; /* plain: keeps nothing */
    kith_result *kept, *fresh;
    uint64_t asked, cached;
    uint64_t shown; /* the first hit of the last answer to the first of the names */
};

static kith_collection *open_one(const char *path, int read_only, uint64_t cache_bytes, kith_durability durability) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.read_only = read_only;
    options.no_background = 1;
    options.threads = 1;
    options.durability = durability;
    options.cache_bytes = cache_bytes;
    must(kith_collection_open(path, &options, &collection, &error));
    return collection;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static kith_status write_item(kith_collection *collection, ki_rng *rng) {
    const uint64_t id = ki_rng_below(rng, IDS), color = ki_rng_below(rng, 2);
    const char *payload = color ? "{\"color\":\"red\",\"price\":3}" : "{\"color\":\"blue\",\"price\":7}";
    float row[DIM];
    for (int d = 0; d < DIM; d++) row[d] = (float)(int)ki_rng_below(rng, 9) - 4;
    const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
    const uint64_t end = strlen(payload);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = &vectors, items.vector_count = 1;
    items.payload_bytes = payload, items.payload_ends = &end;
    return kith_collection_write(collection, &items, KITH_UPSERT, NULL, NULL);
}

static kith_status tell(kith_collection *collection, ki_rng *rng, const char *name) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    const kith_profile_event event = {.kind = (kith_event_kind)(1 + ki_rng_below(rng, 4))};
    const uint64_t id = ki_rng_below(rng, IDS);
    options.interests = 3;
    options.seen = 20;
    options.half_life_ms = 5000;
    const kith_status status =
        kith_collection_profile_event(collection, name, &(kith_ids){.count = 1, .ids = &id}, &event, &options, NULL);
    return status == KITH_E_NOTFOUND ? KITH_OK : status; /* no such item */
}

static const char *change(struct world *w) {
    const uint64_t what = ki_rng_below(&w->rng, 40);
    const char *name = names[ki_rng_below(&w->rng, NAMES)];
    const uint64_t id = ki_rng_below(&w->rng, IDS);
    kith_status status = KITH_OK;
    if (what < 12) {
        must(tell(w->writer, &w->rng, name));
        return "an event";
    }
    if (what < 16) {
        must(write_item(w->writer, &w->rng));
        return "a write";
    }
    if (what < 18) {
        must(kith_collection_delete(w->writer, &(kith_ids){.count = 1, .ids = &id}, NULL, NULL, &error));
        return "a deletion";
    }
    if (what == 18) {
        status = kith_collection_profile_delete(w->writer, name, &error);
        if (status != KITH_E_NOTFOUND) must(status);
        return "forgetting";
    }
    if (what == 19) {
        status = kith_collection_profile_rebuild(w->writer, id % 2 ? name : NULL, NULL, NULL, NULL, &error);
        if (status != KITH_E_NOTFOUND) must(status);
        return "rebuilding";
    }
    if (what == 20 && id % 4 == 0) {
        must(kith_collection_compact(w->writer, NULL, NULL, &error));
        return "compaction";
    }
    if (what == 21 && id % 4 == 0) {
        kith_collection_close(w->writer);
        w->writer = open_one(w->path, 0, CACHE, KITH_DURABILITY_FULL);
        return "opening again";
    }
    if (what < 26) { /* the interests stay, and what is left out does not */
        const kith_profile_event seen = {.kind = KITH_EVENT_SEEN};
        status = kith_collection_profile_event(w->writer, names[0], &(kith_ids){.count = 1, .ids = &w->shown}, &seen,
                                               NULL, &error);
        if (status != KITH_E_NOTFOUND) must(status);
        return "an item that was shown";
    }
    return "nothing";
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

static void make_ask(ki_rng *rng, kith_ask *ask, kith_ask_report *report) {
    *ask = (kith_ask)KITH_ASK_INIT;
    *report = (kith_ask_report)KITH_ASK_REPORT_INIT;
    ask->profile = names[ki_rng_below(rng, 4) ? 0 : ki_rng_below(rng, NAMES)];
    ask->k = ki_rng_below(rng, 2) ? 4 : 15;
    ask->leave_out_seen = ki_rng_below(rng, 3) != 0;
    ask->diversity = ki_rng_below(rng, 5) ? 0 : 0.4;
    ask->filter = ki_rng_below(rng, 4) ? NULL : "price < 5";
    ask->segment = ki_rng_below(rng, 4) ? NULL : "red";
    ask->with = ki_rng_below(rng, 3) ? 0 : KITH_WITH_PAYLOAD;
    ask->report = report;
}

static int same_hits(const kith_result *left, const kith_result *right) {
    kith_hits a = KITH_HITS_INIT, b = KITH_HITS_INIT;
    must(kith_result_hits(left, &a));
    must(kith_result_hits(right, &b));
    return a.count == b.count && (!a.count || (memcmp(a.ids, b.ids, a.count * sizeof(*a.ids)) == 0 &&
                                               memcmp(a.distances, b.distances, a.count * sizeof(float)) == 0));
}

static void note_shown(struct world *w, const kith_ask *ask) {
    kith_hits hits = KITH_HITS_INIT;
    must(kith_result_hits(w->fresh, &hits));
    if (ask->profile == names[0] && hits.count) w->shown = hits.ids[0];
}

static void compare_answers(struct world *w, kith_collection *collection, const char *who, const char *did) {
    for (int i = 0; i < QUESTIONS; i++) {
        kith_ask ask;
        kith_ask_report report, other;
        make_ask(&w->rng, &ask, &report);
        const kith_status status = kith_collection_search(collection, &ask, w->kept, &error);
        other = report;
        ask.report = &other;
        const kith_status expected = kith_collection_search(w->plain, &ask, w->fresh, &error);
        if (status != expected) fail_msg("%s, after %s: %d, not %d: %s", who, did, status, expected, error.text);
        if (status == KITH_E_NOTFOUND) continue; /* no such profile, or nothing was liked */
        must(status);
        w->asked++;
        w->cached += report.cached != 0;
        note_shown(w, &ask);
        if (!same_hits(w->kept, w->fresh) || report.matched != other.matched || report.version != other.version)
            fail_msg("%s, after %s: \"%s\" gets another answer (kept: %d)", who, did, ask.profile, report.cached);
    }
}

static void compare_profiles(const struct world *w, kith_collection *collection, const char *who, const char *did) {
    for (int n = 0; n < NAMES; n++) {
        kith_profile_report a = KITH_PROFILE_REPORT_INIT, b = KITH_PROFILE_REPORT_INIT;
        float left[KITH_INTERESTS_MAX * DIM] = {0}, right[KITH_INTERESTS_MAX * DIM] = {0};
        const size_t room = KITH_INTERESTS_MAX * DIM;
        const kith_status status = kith_collection_profile_get(collection, names[n], &a, left, room, &error),
                          expected = kith_collection_profile_get(w->plain, names[n], &b, right, room, &error);
        a.vector = b.vector = NULL;
        if (status != expected || memcmp(&a, &b, sizeof(a)) != 0 || memcmp(left, right, sizeof(left)) != 0)
            fail_msg("%s, after %s: the profile \"%s\" is another one (%d, %d)", who, did, names[n], status, expected);
    }
}

/* ---- The world --------------------------------------------------------------------------------------------------- */

static void make_world(struct world *w, uint64_t seed, kith_durability durability) {
    const char *given = getenv("KITH_SEED");
    const kith_collection_options made = options_of(KITH_ID_U64);
    *w = (struct world){.rng = {given ? strtoull(given, NULL, 10) : seed}};
    snprintf(w->path, sizeof(w->path), "%s", fresh());
    must(kith_collection_create(w->path, &made, &error));
    w->writer = open_one(w->path, 0, CACHE, durability);
    must(kith_result_create(&w->kept, &error));
    must(kith_result_create(&w->fresh, &error));
    for (int i = 0; i < IDS; i++) must(write_item(w->writer, &w->rng));
    for (int n = 0; n < NAMES; n++) must(tell(w->writer, &w->rng, names[n]));
}

static void end_world(struct world *w) {
    kith_collection_close(w->plain);
    kith_collection_close(w->follower);
    kith_collection_close(w->writer);
    kith_result_destroy(w->kept);
    kith_result_destroy(w->fresh);
}

static kith_collection_info info_of(kith_collection *collection) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(collection, &info));
    return info;
}

static void test_hot_profiles_are_those_of_the_catalog(void **state) {
    struct world w;
    (void)state;
    make_world(&w, 3, KITH_DURABILITY_FULL);
    w.follower = open_one(w.path, 1, CACHE, KITH_DURABILITY_FULL);
    w.plain = open_one(w.path, 1, 0, KITH_DURABILITY_FULL);
    for (int step = 0; step < STEPS; step++) {
        const char *did = change(&w);
        compare_answers(&w, w.writer, "the writer", did);
        compare_answers(&w, w.follower, "the follower", did);
        compare_profiles(&w, w.writer, "the writer", did);
        compare_profiles(&w, w.follower, "the follower", did);
    }
    const kith_collection_info info = info_of(w.follower);
    print_message("%llu of %llu answers were kept ones; %llu of %llu reads of profiles needed no row\n",
                  (unsigned long long)w.cached, (unsigned long long)w.asked,
                  (unsigned long long)info.profile_cache_hits,
                  (unsigned long long)(info.profile_cache_hits + info.profile_cache_misses));
    assert_true(w.cached * 10 > w.asked);
    assert_true(info.profile_cache_hits > info.profile_cache_misses);
    assert_in_range(info.profile_cache_bytes, 1, CACHE / 8);
    assert_int_equal(info_of(w.plain).profile_cache_hits + info_of(w.plain).profile_cache_bytes, 0);
    end_world(&w);
}

/* Once it is hot, neither a search nor an event of the writer reads a row. */
static void test_a_hot_profile_needs_no_row(void **state) {
    struct world w;
    kith_ask ask;
    kith_ask_report report;
    (void)state;
    make_world(&w, 4, KITH_DURABILITY_RELAXED);
    make_ask(&w.rng, &ask, &report);
    ask.profile = names[0];
    const kith_profile_event like = {.kind = KITH_EVENT_LIKE};
    uint64_t missed = 0, hot = 0;
    for (uint64_t id = 0; id < IDS; id++) {
        const kith_status status =
            kith_collection_profile_event(w.writer, names[0], &(kith_ids){.count = 1, .ids = &id}, &like, NULL, &error);
        if (status == KITH_E_NOTFOUND) continue;
        must(status);
        if (!hot++) missed = info_of(w.writer).profile_cache_misses;
        must(kith_collection_search(w.writer, &ask, w.kept, &error));
    }
    assert_true(hot > 20);
    assert_int_equal(info_of(w.writer).profile_cache_misses, missed);
    end_world(&w);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

struct crowd {
    kith_collection *collection;
    uint64_t seed;
    atomic_int *stop;
    atomic_uint *told; /* events that were acknowledged */
    const char *wrong;
    unsigned compared;
};

/* Each event is one more: what is read after it was acknowledged has it. */
static void *keep_telling(void *context) {
    struct crowd *c = context;
    ki_rng rng = {c->seed};
    for (int i = 0; i < 300 && !c->wrong; i++) {
        const uint64_t id = ki_rng_below(&rng, IDS);
        const kith_profile_event event = {.kind = KITH_EVENT_VIEW};
        const kith_status status = kith_collection_profile_event(
            c->collection, "crowd", &(kith_ids){.count = 1, .ids = &id}, &event, NULL, NULL);
        if (status == KITH_OK)
            atomic_fetch_add(c->told, 1);
        else if (status != KITH_E_NOTFOUND)
            c->wrong = "an event failed";
    }
    atomic_store(c->stop, 1);
    return NULL;
}

static void *keep_reading(void *context) {
    struct crowd *c = context;
    uint64_t last = 0;
    while (!atomic_load(c->stop) && !c->wrong) {
        const unsigned least = atomic_load(c->told);
        kith_profile_report report = KITH_PROFILE_REPORT_INIT;
        const kith_status status = kith_collection_profile_get(c->collection, "crowd", &report, NULL, 0, NULL);
        if (status == KITH_E_NOTFOUND && least == 0) continue;
        if (status != KITH_OK) c->wrong = "a profile could not be read";
        if (report.events < least) c->wrong = "an acknowledged event is missing";
        if (report.events < last) c->wrong = "an older profile was read";
        last = report.events;
        c->compared++;
    }
    return NULL;
}

static void test_with_events_and_reads_at_once(void **state) {
    enum { READERS = 3 };
    struct world w;
    atomic_int stop = 0;
    atomic_uint told = 0;
    struct crowd crowd[READERS + 1];
    pthread_t thread[READERS + 1];
    (void)state;
    make_world(&w, 5, KITH_DURABILITY_RELAXED);
    for (int i = 0; i <= READERS; i++) {
        crowd[i] = (struct crowd){.collection = w.writer, .seed = w.rng.state + 1, .stop = &stop, .told = &told};
        assert_int_equal(pthread_create(&thread[i], NULL, i ? keep_reading : keep_telling, &crowd[i]), 0);
    }
    for (int i = 0; i <= READERS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i <= READERS; i++)
        if (crowd[i].wrong) fail_msg("%s", crowd[i].wrong);
    end_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hot_profiles_are_those_of_the_catalog),
        cmocka_unit_test(test_a_hot_profile_needs_no_row),
        cmocka_unit_test(test_with_events_and_reads_at_once),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}

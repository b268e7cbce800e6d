/* SPDX-License-Identifier: Apache-2.0
 *
 * A kept answer equals a fresh one at all times: random writes to a few users' items, moves between users,
 * deletions, expiry, compactions, declarations, generations that come, are flipped to, tried and go, and reopening, and
 * every question asked twice, once so that a kept answer is taken and once so that none is (with vectors, which are not
 * kept). Alone, through a second handle that only reads, and with writers and readers at once. A good share of the
 * answers must have been kept ones.
 *
 * KITH_SEED=s: other random numbers.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "state/collection.h"
#include "state/tenants.h"
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 8, IDS = 150, USERS = 4, VECTORS = 2, BATCH_MAX = 8, STEPS = 200, QUESTIONS = 16 };

static kith_error error;
static _Atomic uint64_t now; /* what collections take for the time */
static float query_row[VECTORS][DIM];
static uint32_t second; /* a generation beside the first; 0: there is none */

static uint64_t tell_time(void) {
    return now;
}

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

struct world {
    ki_rng rng;
    char path[512];
    int declared;
    kith_collection *collection, *follower;
    kith_result *kept, *fresh;
    uint64_t asked, hits;
};

/* ---- Questions --------------------------------------------------------------------------------------------------- */

struct question {
    kith_queries queries;
    kith_leg leg;
    kith_ask ask;
    char segment[16];
};

static void make_question(struct question *q, ki_rng *rng, int payloads) {
    static const char *const filters[] = {NULL, "price < 50", "color = \"red\""};
    static const size_t ks[] = {3, 40};
    const kith_queries queries = KITH_QUERIES_INIT;
    const kith_ask ask = KITH_ASK_INIT;
    q->queries = queries;
    q->queries.data = query_row[ki_rng_below(rng, VECTORS)];
    q->queries.dtype = KITH_F32;
    q->queries.count = 1;
    q->queries.dim = DIM;
    q->leg = (kith_leg){.queries = &q->queries};
    q->ask = ask;
    q->ask.legs = &q->leg;
    q->ask.leg_count = 1;
    q->ask.k = ks[ki_rng_below(rng, 2)];
    q->ask.filter = ki_rng_below(rng, 4) ? NULL : filters[ki_rng_below(rng, 3)];
    q->ask.target_recall = ki_rng_below(rng, 6) ? 0 : 0.9;
    q->ask.with = payloads && !ki_rng_below(rng, 3) ? KITH_WITH_PAYLOAD | KITH_WITH_VERSION : 0;
    snprintf(q->segment, sizeof(q->segment), "u%d", (int)ki_rng_below(rng, USERS));
    if (ki_rng_below(rng, 4)) q->ask.segment = q->segment;
    if (second && !ki_rng_below(rng, 4)) q->ask.generation = ki_rng_below(rng, 2) ? second : 1;
    if (second && !ki_rng_below(rng, 4)) q->ask.user = ki_rng_below(rng, 2) ? "ann" : "bo";
}

/* -1: it failed; else whether the answer was a kept one. */
static int ask(kith_collection *collection, const struct question *q, int fresh, kith_result *result,
               kith_ask_report *report, kith_error *why) {
    const kith_ask_report none = KITH_ASK_REPORT_INIT;
    kith_ask ask = q->ask;
    *report = none;
    ask.report = report;
    if (fresh) ask.with |= KITH_WITH_VECTORS;
    return kith_collection_search(collection, &ask, result, why) == KITH_OK ? report->cached : -1;
}

static int same_bytes(const void *a, const void *b, uint64_t bytes) {
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

/* Whether two answers are the same to the bit. */
static int same(const kith_result *left, const kith_result *right) {
    kith_hits a = KITH_HITS_INIT, b = KITH_HITS_INIT;
    kith_result_hits(left, &a);
    kith_result_hits(right, &b);
    const uint64_t numbers = a.count * sizeof(uint64_t);
    if (a.queries != b.queries || a.count != b.count || a.ends[0] != b.ends[0] || !same_bytes(a.ids, b.ids, numbers) ||
        !same_bytes(a.distances, b.distances, a.count * sizeof(float)))
        return 0;
    if (!a.versions != !b.versions || !a.payload_ends != !b.payload_ends) return 0;
    if (a.versions &&
        (!same_bytes(a.versions, b.versions, numbers) || !same_bytes(a.expires_ms, b.expires_ms, numbers)))
        return 0;
    return !a.payload_ends || !a.count ||
           (same_bytes(a.payload_ends, b.payload_ends, numbers) &&
            same_bytes(a.payload_bytes, b.payload_bytes, a.payload_ends[a.count - 1]));
}

static void compare(struct world *w, kith_collection *collection, const char *who, const char *did) {
    for (int i = 0; i < QUESTIONS; i++) {
        struct question q;
        kith_ask_report kept, fresh;
        make_question(&q, &w->rng, 1);
        const int hit = ask(collection, &q, 0, w->kept, &kept, &error),
                  none = ask(collection, &q, 1, w->fresh, &fresh, &error);
        if (hit < 0 || none != 0) fail_msg("%s, after %s: %d, %d: %s", who, did, hit, none, error.text);
        w->asked++;
        w->hits += (uint64_t)hit;
        if (!same(w->kept, w->fresh) || kept.version != fresh.version || kept.matched != fresh.matched ||
            kept.items != fresh.items || kept.exact != fresh.exact)
            fail_msg("%s, after %s: a kept answer (%d) differs from a fresh one: k %zu, segment %s, filter %s", who,
                     did, hit, q.ask.k, q.ask.segment ? q.ask.segment : "-", q.ask.filter ? q.ask.filter : "-");
    }
}

/* ---- Writes ------------------------------------------------------------------------------------------------------ */

static kith_status write_some(kith_collection *collection, ki_rng *rng, int expiring, kith_error *why) {
    static const char *const colors[] = {"red", "blue"};
    float rows[2][BATCH_MAX][DIM];
    char payloads[BATCH_MAX * 80];
    uint64_t id[BATCH_MAX], end[BATCH_MAX], expires[BATCH_MAX];
    const size_t count = 1 + ki_rng_below(rng, BATCH_MAX);
    const int user = (int)ki_rng_below(rng, USERS + 1); /* mostly of one user, so that others' answers stay */
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const int of = ki_rng_below(rng, 12) ? user : (int)ki_rng_below(rng, USERS + 1);
        id[i] = ki_rng_below(rng, 3) ? (uint64_t)of * 30 + ki_rng_below(rng, 30) : ki_rng_below(rng, IDS);
        for (int d = 0; d < DIM; d++) rows[0][i][d] = (float)(int)ki_rng_below(rng, 5) - 2;
        for (int d = 0; second && d < DIM; d++) rows[1][i][d] = (float)(int)ki_rng_below(rng, 5) - 2;
        int bytes = snprintf(payloads + used, 80, "{\"color\":\"%s\",\"price\":%d", colors[ki_rng_below(rng, 2)],
                             (int)ki_rng_below(rng, 100));
        used += (size_t)bytes;
        if (of < USERS) used += (size_t)snprintf(payloads + used, 40, ",\"user\":\"u%d\"", of);
        payloads[used++] = '}';
        end[i] = used;
        expires[i] = expiring && !ki_rng_below(rng, 4) ? now + 1 + ki_rng_below(rng, 30) : 0;
    }
    const kith_item_vectors vectors[] = {
        {.data = rows[0], .dtype = KITH_F32, .dim = DIM, .generation = 1},
        {.data = rows[1], .dtype = KITH_F32, .dim = DIM, .generation = second},
    };
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = count, .ids = id};
    items.vectors = vectors;
    items.vector_count = second ? 2 : 1;
    items.payload_bytes = payloads;
    items.payload_ends = end;
    items.expires_ms = expires;
    return kith_collection_write(collection, &items, KITH_UPSERT, NULL, why);
}

/* An item moves to another user, and nothing else of it changes. */
static kith_status move_one(kith_collection *collection, ki_rng *rng, kith_error *why) {
    char payload[40];
    const uint64_t id = ki_rng_below(rng, IDS);
    snprintf(payload, sizeof(payload), "{\"user\":\"u%d\"}", (int)ki_rng_below(rng, USERS));
    const uint64_t end = strlen(payload);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.payload_bytes = payload;
    items.payload_ends = &end;
    const kith_status status = kith_collection_write(collection, &items, KITH_MERGE, NULL, why);
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

static kith_status delete_some(kith_collection *collection, ki_rng *rng, kith_error *why) {
    const uint64_t id[2] = {ki_rng_below(rng, IDS), ki_rng_below(rng, IDS)};
    return kith_collection_delete(collection, &(kith_ids){.count = 2, .ids = id}, NULL, NULL, why);
}

/* ---- The world --------------------------------------------------------------------------------------------------- */

static kith_collection *open_one(const char *path, int read_only, int background) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.read_only = read_only;
    options.no_background = !background;
    /* Full: relaxed writes may reach a follower between two of its questions. */
    options.durability = background ? KITH_DURABILITY_RELAXED : KITH_DURABILITY_FULL;
    options.threads = 1;
    options.head_bytes = 64 * (DIM * sizeof(float) + 64);
    options.cache_bytes = 300000;
    must(kith_collection_open(path, &options, &collection, &error));
    if (!background) collection->now_ms = tell_time; /* nobody looks at it yet */
    if (!background) collection->own_from = 8;
    return collection;
}

static void make_world(struct world *w, const char *name, uint64_t seed) {
    static const kith_vector_spec spec = {.dim = DIM, .dtype = KITH_F32, .metric = KITH_L2SQ};
    static const kith_field fields[] = {{.name = "price", .type = KITH_FIELD_INT},
                                        {.name = "user", .type = KITH_FIELD_TAG}};
    const char *given = getenv("KITH_SEED");
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    *w = (struct world){.rng = {given ? strtoull(given, NULL, 10) : seed}};
    now = ki_wall_ms() + 3600 * 1000; /* opening looks at the true clock: nothing is over then */
    for (int v = 0; v < VECTORS; v++)
        for (int d = 0; d < DIM; d++) query_row[v][d] = (float)(int)ki_rng_below(&w->rng, 5) - 2;
    made.vectors = &spec;
    made.vector_count = 1;
    made.fields = fields;
    made.field_count = 2;
    made.segment_field = "user";
    snprintf(w->path, sizeof(w->path), "%s", data_path(name));
    must(kith_collection_create(w->path, &made, &error));
    must(kith_result_create(&w->kept, &error));
    must(kith_result_create(&w->fresh, &error));
}

static void end_world(struct world *w) {
    kith_collection_close(w->follower);
    kith_collection_close(w->collection);
    kith_result_destroy(w->kept);
    kith_result_destroy(w->fresh);
}

/* Another generation begins, becomes current or a canary, or goes: the next one lies where it lay. */
static const char *change_generations(struct world *w) {
    const kith_vector_spec spec = {.dim = DIM};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_flip_options flip = KITH_FLIP_OPTIONS_INIT;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    options.vectors = &spec, options.vector_count = 1, flip.min_share = 0;
    if (!second) {
        must(kith_collection_generation_begin(w->collection, &options, &second, &error));
        return "a generation that began";
    }
    must(kith_collection_get_info(w->collection, &info));
    if (info.generation == second || ki_rng_below(&w->rng, 2)) {
        must(kith_collection_flip(w->collection, info.generation == second ? 1 : second, &flip, NULL, &error));
        return "a flip";
    }
    if (ki_rng_below(&w->rng, 2)) {
        must(kith_collection_generation_canary(w->collection, second, ki_rng_unit(&w->rng), &error));
        return "a canary";
    }
    must(kith_collection_generation_drop(w->collection, second, &error));
    second = 0;
    return "a generation that went";
}

/* One random change; what it was. */
static const char *change(struct world *w) {
    static const kith_field color = {.name = "color", .type = KITH_FIELD_TAG};
    const uint64_t what = ki_rng_below(&w->rng, 40);
    if (what < 2) {
        must(delete_some(w->collection, &w->rng, &error));
        return "a deletion";
    }
    if (what < 6) {
        must(move_one(w->collection, &w->rng, &error));
        return "a move";
    }
    if (what < 9) {
        now += ki_rng_below(&w->rng, 20);
        return "some time";
    }
    if (what == 9) {
        (void)ki_tenants_note(w->collection->tenants, "u1",
                              1000); /* who gets segments of their own, from some items on */
        must(kith_collection_compact(w->collection, NULL, NULL, &error));
        return "compaction";
    }
    if (what == 10) {
        kith_collection_close(w->collection);
        w->collection = open_one(w->path, 0, 0);
        return "opening again";
    }
    if (what == 11 && !w->declared++) {
        must(kith_collection_declare(w->collection, &color, &error));
        return "a declaration";
    }
    if (what == 12) {
        must(kith_collection_delete_where(w->collection, "price = 7", NULL, &error));
        return "a deletion by filter";
    }
    if (what == 13 || what == 14) return change_generations(w);
    if (what < 24) {
        must(write_some(w->collection, &w->rng, 1, &error));
        return "a write";
    }
    return "nothing";
}

static void test_kept_answers_are_fresh(void **state) {
    struct world w;
    (void)state;
    make_world(&w, "alone", 7);
    w.collection = open_one(w.path, 0, 0);
    w.follower = open_one(w.path, 1, 0);
    for (int step = 0; step < STEPS; step++) {
        const char *did = change(&w);
        compare(&w, w.collection, "the writer", did);
        compare(&w, w.follower, "the follower", did);
    }
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(w.follower, &info));
    print_message("%llu of %llu answers were kept ones; %llu evicted\n", (unsigned long long)w.hits,
                  (unsigned long long)w.asked, (unsigned long long)info.cache_evictions);
    assert_true(w.hits * 10 > w.asked);
    assert_true(info.cache_bytes > 0 && info.cache_bytes <= 300000);
    assert_true(info.cache_hits > 0 && info.cache_misses > 0);
    end_world(&w);
    second = 0;
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

struct thread {
    kith_collection *collection;
    uint64_t seed, rounds, compared, hits;
    const char *wrong;
};

static void *keep_writing(void *context) {
    struct thread *t = context;
    ki_rng rng = {t->seed};
    for (uint64_t i = 0; i < t->rounds && !t->wrong; i++) {
        kith_status status = write_some(t->collection, &rng, 0, NULL);
        if (status == KITH_OK) status = move_one(t->collection, &rng, NULL);
        if (status == KITH_OK && i % 8 == 0) status = delete_some(t->collection, &rng, NULL);
        if (status != KITH_OK) t->wrong = "a write failed";
    }
    return NULL;
}

/* Of two fresh answers at one version all that was given between them is known. */
static void *keep_asking(void *context) {
    struct thread *t = context;
    ki_rng rng = {t->seed};
    kith_result *result[3] = {0};
    kith_ask_report report[3];
    for (int i = 0; i < 3; i++)
        if (kith_result_create(&result[i], NULL) != KITH_OK) t->wrong = "no memory";
    for (uint64_t i = 0; i < t->rounds && !t->wrong; i++) {
        struct question q;
        make_question(&q, &rng, 1);
        const int before = ask(t->collection, &q, 1, result[0], &report[0], NULL);
        const int hit = ask(t->collection, &q, 0, result[1], &report[1], NULL);
        const int after = ask(t->collection, &q, 1, result[2], &report[2], NULL);
        if (before < 0 || hit < 0 || after < 0) t->wrong = "a search failed";
        t->hits += (uint64_t)(hit > 0);
        if (report[1].version < report[0].version) t->wrong = "an older state was answered";
        if (report[0].version != report[2].version || q.ask.with || report[0].read_payloads) continue;
        t->compared++;
        if (!same(result[0], result[1])) t->wrong = "a kept answer differs from a fresh one";
    }
    for (int i = 0; i < 3; i++) kith_result_destroy(result[i]);
    return NULL;
}

static void test_with_writers_and_readers(void **state) {
    enum { WRITERS = 2, READERS = 2 };
    struct thread t[WRITERS + READERS];
    pthread_t thread[WRITERS + READERS];
    struct world w;
    (void)state;
    make_world(&w, "crowd", 11);
    w.collection = open_one(w.path, 0, 1);
    for (int i = 0; i < WRITERS + READERS; i++) {
        t[i] = (struct thread){.collection = w.collection, .seed = w.rng.state + (uint64_t)i * 99};
        t[i].rounds = i < WRITERS ? 120 : 1200;
        assert_int_equal(pthread_create(&thread[i], NULL, i < WRITERS ? keep_writing : keep_asking, &t[i]), 0);
    }
    uint64_t compared = 0, hits = 0;
    for (int i = 0; i < WRITERS + READERS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < WRITERS + READERS; i++) {
        if (t[i].wrong) fail_msg("thread %d: %s", i, t[i].wrong);
        compared += t[i].compared;
        hits += t[i].hits;
    }
    print_message("%llu compared, %llu kept\n", (unsigned long long)compared, (unsigned long long)hits);
    assert_true(compared > 0 && hits > 0);
    /* What was kept meanwhile, payloads and all, is still right. */
    for (int i = 0; i < 40; i++) compare(&w, w.collection, "all", "writers and readers");
    end_world(&w);
}

/* ---- What stays, and what goes ----------------------------------------------------------------------------------- */

static void put_one(struct world *w, uint64_t id, const char *user) {
    static const float row[DIM] = {1, 2};
    char payload[40];
    const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
    snprintf(payload, sizeof(payload), "{\"user\":\"%s\"}", user);
    const uint64_t end = strlen(payload);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = &vectors, items.vector_count = 1;
    items.payload_bytes = payload, items.payload_ends = &end;
    must(kith_collection_write(w->collection, &items, KITH_UPSERT, NULL, &error));
}

static int kept(struct world *w, const char *segment) {
    struct question q;
    kith_ask_report report;
    ki_rng rng = {1};
    make_question(&q, &rng, 0);
    q.ask.filter = NULL;
    q.ask.target_recall = 0;
    q.ask.segment = segment;
    return ask(w->collection, &q, 0, w->kept, &report, &error);
}

static void test_writes_to_others_leave_a_users_answers(void **state) {
    struct world w;
    (void)state;
    make_world(&w, "users", 1);
    w.collection = open_one(w.path, 0, 0);
    put_one(&w, 1, "anna");
    put_one(&w, 2, "bert");
    for (int sealed = 0; sealed < 2; sealed++) {
        kept(&w, "anna"), kept(&w, "bert"), kept(&w, NULL);
        assert_int_equal(kept(&w, "anna"), 1);
        assert_int_equal(kept(&w, "bert"), 1);
        assert_int_equal(kept(&w, NULL), 1);
        put_one(&w, 3, "bert");
        assert_int_equal(kept(&w, "anna"), 1);
        assert_int_equal(kept(&w, "bert"), 0);
        assert_int_equal(kept(&w, NULL), 0);
        put_one(&w, 3, "anna"); /* an item moves: both change */
        assert_int_equal(kept(&w, "anna"), 0);
        assert_int_equal(kept(&w, "bert"), 0);
        must(kith_collection_compact(w.collection, NULL, NULL, &error));
        assert_int_equal(kept(&w, "anna"), 1); /* no item has changed */
        assert_int_equal(kept(&w, "bert"), 1);
        const uint64_t id = 3;
        must(kith_collection_delete(w.collection, &(kith_ids){.count = 1, .ids = &id}, NULL, NULL, &error));
        assert_int_equal(kept(&w, "anna"), 0); /* a sealed row, by the table's column */
        assert_int_equal(kept(&w, "bert"), 1);
    }
    end_world(&w);
}

/* What was written and sealed before a follower looks again it finds in a segment, and in no log. */
static void test_a_follower_that_missed_a_write(void **state) {
    struct world w;
    (void)state;
    make_world(&w, "missed", 1);
    w.collection = open_one(w.path, 0, 0);
    put_one(&w, 1, "anna");
    kith_collection *writer = w.collection, *reader = open_one(w.path, 1, 0);
    w.collection = reader;
    assert_int_equal(kept(&w, "anna"), 0);
    assert_int_equal(kept(&w, "anna"), 1);
    w.collection = writer;
    put_one(&w, 2, "anna");
    must(kith_collection_compact(writer, NULL, NULL, &error));
    w.collection = reader;
    assert_int_equal(kept(&w, "anna"), 0);
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(w.kept, &hits);
    assert_int_equal(hits.count, 2);
    w.collection = writer;
    w.follower = reader;
    end_world(&w);
}

/* ---- What an answer is made of ----------------------------------------------------------------------------------- */

enum { BATCH = 17 };

/* String ids, two legs, several queries a call; and what is not kept. */
static void test_shapes(void **state) {
    static const kith_vector_spec specs[] = {{"a", DIM, KITH_F32, KITH_L2SQ}, {"b", DIM, KITH_F16, KITH_COSINE}};
    static const char texts[] = "onetwothree";
    static const uint64_t text_ends[] = {3, 6, 11}, payload_ends[] = {7, 7, 14};
    static float rows[BATCH][DIM];
    struct world w;
    (void)state;
    make_world(&w, "unused", 5);
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options open = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    made.id_kind = KITH_ID_STRING;
    made.vectors = specs, made.vector_count = 2;
    open.no_background = 1;
    open.cache_bytes = 1 << 20;
    must(kith_collection_open_memory(&made, &open, &w.collection, &error));
    for (int i = 0; i < BATCH * DIM; i++) rows[i / DIM][i % DIM] = (float)ki_rng_unit(&w.rng) + 1;
    const kith_item_vectors vectors[] = {{.name = "a", .data = rows, .dtype = KITH_F32, .dim = DIM},
                                         {.name = "b", .data = rows, .dtype = KITH_F32, .dim = DIM}};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 3, .id_bytes = texts, .id_ends = text_ends};
    items.vectors = vectors, items.vector_count = 2;
    items.payload_bytes = "{\"x\":1}{\"x\":2}", items.payload_ends = payload_ends;
    must(kith_collection_write(w.collection, &items, KITH_UPSERT, NULL, &error));
    struct question q;
    kith_ask_report report;
    make_question(&q, &w.rng, 0);
    const kith_leg legs[] = {{.vector = "a", .queries = &q.queries, .weight = 2},
                             {.vector = "b", .queries = &q.queries}};
    q.queries.data = rows;
    q.queries.count = 3;
    q.ask.filter = q.ask.segment = NULL;
    q.ask.k = 2;
    q.ask.legs = legs, q.ask.leg_count = 2;
    q.ask.with = KITH_WITH_PAYLOAD;
    assert_int_equal(ask(w.collection, &q, 0, w.fresh, &report, &error), 0);
    assert_int_equal(ask(w.collection, &q, 0, w.kept, &report, &error), 1);
    assert_true(same(w.kept, w.fresh));
    kith_hits a = KITH_HITS_INIT, b = KITH_HITS_INIT;
    kith_result_hits(w.kept, &a);
    kith_result_hits(w.fresh, &b);
    assert_int_equal(a.queries, 3);
    assert_int_equal(a.count, 6);
    assert_memory_equal(a.ends, b.ends, 3 * sizeof(uint64_t));
    assert_memory_equal(a.id_ends, b.id_ends, 6 * sizeof(uint64_t));
    assert_memory_equal(a.id_bytes, b.id_bytes, b.id_ends[5]);
    q.queries.stride_bytes = 2 * sizeof(rows[0]); /* other queries */
    assert_int_equal(ask(w.collection, &q, 0, w.kept, &report, &error), 0);
    q.ask.leg_count = 1;
    for (int what = 0; what < 4; what++) {
        struct question other = q;
        other.queries.stride_bytes = 0;
        const kith_leg leg = {.vector = "a", .queries = &other.queries};
        other.ask.legs = &leg;
        if (what == 0) other.queries.count = BATCH;
        if (what == 1) other.ask.k = 1001;
        if (what == 2) other.ask.with = KITH_WITH_VECTORS;
        if (what == 3) other.ask.plan = KITH_PLAN_PLAIN;
        for (int i = 0; i < 2; i++) assert_int_equal(ask(w.collection, &other, 0, w.kept, &report, &error), 0);
    }
    end_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_writes_to_others_leave_a_users_answers),
        cmocka_unit_test(test_a_follower_that_missed_a_write),
        cmocka_unit_test(test_kept_answers_are_fresh),
        cmocka_unit_test(test_with_writers_and_readers),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The query processor, turn by turn: batches give what single searches give, keys get their shares, who is late, gone
 * or one too many is told so without a search, and what takes long does not hold up the loop. Calls and clock are the
 * test's own; pthread_create() is the processor's.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/run/inner.h"
#include "base/rng.h"
#include "support/unwired_calls.h"
#include "support/shop.h"

#include <math.h>

enum { ITEMS = 3000, K_MAX = 20, PER_SEARCH_MAX = 3 };

static ks_shop shop;

/* A shop of its own: segments with plans, dead rows, and rows in memory. */
static int make_shop(void **state) {
    if (data_folder_make(state) != 0) return -1;
    ki_rng rng = {.state = 5};
    shop.collection = make_at(fresh(), KITH_ID_U64);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t id = 0; id < ITEMS; id += 1 + round * 5) {
            const float row[DIM] = {(float)ki_rng_unit(&rng), (float)ki_rng_unit(&rng), (float)ki_rng_unit(&rng),
                                    (float)ki_rng_unit(&rng)};
            char payload[80];
            const int bytes = snprintf(payload, sizeof(payload), "{\"color\": \"%s\", \"price\": %u, \"x\": %u}",
                                       ki_rng_below(&rng, 3) ? "red" : "blue", (unsigned)ki_rng_below(&rng, 100),
                                       (unsigned)ki_rng_below(&rng, 9));
            const uint64_t end = (uint64_t)bytes;
            const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM};
            kith_items items = KITH_ITEMS_INIT;
            items.ids = (kith_ids){.count = 1, .ids = &id};
            items.vectors = &vectors, items.vector_count = 1;
            items.payload_bytes = payload, items.payload_ends = &end;
            must(kith_collection_write(shop.collection, &items, KITH_UPSERT, NULL, &error));
        }
        if (!round) must(kith_collection_compact(shop.collection, NULL, NULL, &error));
    }
    shop.name = "shop";
    shop.vector_count = 2;
    shop.segment_field = "color";
    return 0;
}

static int drop_shop(void **state) {
    kith_collection_close(shop.collection);
    return data_folder_remove(state);
}

/* ---- One who asks ------------------------------------------------------------------------------------------------ */

struct asker {
    struct fake_call *fake;
    ks_search search;
    kith_queries queries;
    kith_leg leg;
    float rows[PER_SEARCH_MAX][DIM];
    /* What came of it. */
    atomic_int finished;
    unsigned order;
    kith_status status;
    int refused;
    size_t batch, count;
    pthread_t thread;
    uint64_t ids[PER_SEARCH_MAX * K_MAX];
    float distances[PER_SEARCH_MAX * K_MAX];
    size_t ends[PER_SEARCH_MAX];
    char payloads[PER_SEARCH_MAX * K_MAX * 80];
};

static atomic_uint finishes;

static void copy_hits(struct asker *asker, const kith_hits *hits, size_t first, size_t count) {
    const uint64_t from = first ? hits->ends[first - 1] : 0, to = hits->ends[first + count - 1];
    asker->count = to - from;
    assert_true(asker->count <= PER_SEARCH_MAX * K_MAX);
    memcpy(asker->ids, hits->ids + from, asker->count * sizeof(*hits->ids));
    memcpy(asker->distances, hits->distances + from, asker->count * sizeof(*hits->distances));
    for (size_t i = 0; i < count; i++) asker->ends[i] = hits->ends[first + i] - from;
    if (!hits->payload_ends) return;
    const uint64_t begin = from ? hits->payload_ends[from - 1] : 0, end = to ? hits->payload_ends[to - 1] : 0;
    memcpy(asker->payloads, hits->payload_bytes + begin, end - begin);
}

static void on_finish(ks_search *search, const ks_found *found) {
    struct asker *asker = search->context;
    assert_int_equal(asker->finished, 0);
    asker->order = finishes++;
    asker->status = found->status;
    asker->refused = found->refused;
    asker->batch = found->batch;
    asker->thread = pthread_self();
    if (found->status == KITH_OK) {
        assert_int_equal(found->count, asker->queries.count);
        assert_true(found->report->version > 0);
        copy_hits(asker, found->hits, found->first, found->count);
    } else {
        assert_true(strlen(found->error->text) > 10);
    }
    fake_tell(&asker->finished, 1);
    ks_call_done(search->call);
}

static struct asker *asker_new(const ks_key *key) {
    struct asker *asker = calloc(1, sizeof(*asker));
    assert_non_null(asker);
    asker->fake = fake_new(key);
    asker->queries = (kith_queries)KITH_QUERIES_INIT;
    asker->queries.data = asker->rows;
    asker->queries.dtype = KITH_F32;
    asker->queries.count = 1;
    asker->queries.dim = DIM;
    asker->leg = (kith_leg){.queries = &asker->queries};
    asker->search = (ks_search){.call = &asker->fake->call, .shop = &shop, .finish = on_finish, .context = asker};
    asker->search.ask = (kith_ask)KITH_ASK_INIT;
    asker->search.ask.legs = &asker->leg;
    asker->search.ask.leg_count = 1;
    asker->search.ask.k = 5;
    return asker;
}

static void asker_free(struct asker *asker) {
    assert_int_equal(asker->fake->done, 1);
    fake_free(asker->fake);
    free(asker);
}

static ks_run *run_of(ks_run_options options) {
    ks_run *run = NULL;
    options.loops = 1;
    must(ks_run_create(&options, &run, &error));
    return run;
}

/* A budget that no search of this shop exceeds, so that none leaves the loop. */
static const uint64_t AMPLE_NS = UINT64_C(3600000000000);

static void turn_until_idle(ks_run *run) {
    while (ks_run_turn(run, 0) != UINT64_MAX) continue;
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

static void ask_at_random(struct asker *asker, ki_rng *rng) {
    static const char *const filters[] = {NULL, NULL, "color = \"red\"", "price < 20", "x = 3"};
    static const size_t ks[] = {1, 5, 20};
    kith_ask *ask = &asker->search.ask;
    asker->queries.count = 1 + ki_rng_below(rng, PER_SEARCH_MAX);
    for (size_t i = 0; i < asker->queries.count; i++)
        for (size_t j = 0; j < DIM; j++) asker->rows[i][j] = (float)ki_rng_unit(rng);
    ask->k = ks[ki_rng_below(rng, 3)];
    ask->filter = filters[ki_rng_below(rng, 5)];
    ask->segment = ki_rng_below(rng, 4) ? NULL : "blue";
    ask->target_recall = ki_rng_below(rng, 3) ? 0 : 0.9;
    ask->with = ki_rng_below(rng, 2) ? KITH_WITH_PAYLOAD : 0;
    asker->search.priority = ki_rng_below(rng, 4) ? KS_INTERACTIVE : KS_BATCH;
}

static void expect_as_alone(const struct asker *asker, kith_result *result) {
    kith_hits hits = KITH_HITS_INIT;
    struct asker *alone = calloc(1, sizeof(*alone));
    kith_ask ask = asker->search.ask;
    ask.report = NULL;
    ask.cancelled = NULL;
    assert_non_null(alone);
    must(kith_collection_search(shop.collection, &ask, result, &error));
    must(kith_result_hits(result, &hits));
    copy_hits(alone, &hits, 0, asker->queries.count);
    assert_int_equal(asker->status, KITH_OK);
    assert_int_equal(asker->count, alone->count);
    assert_memory_equal(asker->ends, alone->ends, sizeof(alone->ends));
    assert_memory_equal(asker->ids, alone->ids, sizeof(alone->ids));
    assert_memory_equal(asker->distances, alone->distances, sizeof(alone->distances));
    assert_memory_equal(asker->payloads, alone->payloads, sizeof(alone->payloads));
    free(alone);
}

static void test_batches_give_what_single_searches_give(void **state) {
    (void)state;
    static const ks_key keys[] = {{.share = 1, .number = 0}, {.share = 2, .number = 7}};
    enum { AT_ONCE = 60 };
    ki_rng rng = {.state = 11};
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    kith_result *result = NULL;
    must(kith_result_create(&result, &error));
    size_t together = 0;
    for (unsigned round = 0; round < 12; round++) {
        struct asker *askers[AT_ONCE];
        const size_t count = round ? AT_ONCE : 1;
        for (size_t i = 0; i < count; i++) {
            askers[i] = asker_new(&keys[i % 2]);
            ask_at_random(askers[i], &rng);
            ks_run_search(run, &askers[i]->search);
        }
        turn_until_idle(run);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(askers[i]->finished, 1);
            expect_as_alone(askers[i], result);
            together += askers[i]->batch > askers[i]->queries.count;
            asker_free(askers[i]);
        }
    }
    assert_true(together > 300);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.searches, 11 * AT_ONCE + 1);
    assert_true(now.batches < now.searches);
    assert_int_equal(now.queued + now.working + now.refused + now.late + now.gone, 0);
    kith_result_destroy(result);
    ks_run_destroy(run);
}

static void test_a_bad_query_is_nobody_elses_failure(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *askers[12];
    /* So that it is known what one takes, and batches are formed. */
    struct asker *first = asker_new(NULL);
    ks_run_search(run, &first->search);
    turn_until_idle(run);
    asker_free(first);
    for (size_t i = 0; i < 12; i++) {
        askers[i] = asker_new(NULL);
        for (size_t j = 0; j < DIM; j++) askers[i]->rows[0][j] = i == 4 ? NAN : (float)i;
        ks_run_search(run, &askers[i]->search);
    }
    turn_until_idle(run);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(askers[i]->status == KITH_OK, i != 4);
        assert_int_equal(askers[i]->refused, 0);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

/* Who said he has time waits; another one's coming ends that. */
static void test_waiting_for_company(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *one = asker_new(NULL), *two = asker_new(NULL), *three = asker_new(NULL);
    const uint64_t hour = UINT64_C(3600000000000), second = 1000000000;
    one->search.budget_ns = hour; /* of which a second is granted */
    ks_run_search(run, &one->search);
    const uint64_t again = ks_run_turn(run, 0);
    assert_true(again > 0 && again <= second);
    assert_int_equal(one->finished, 0);
    fake_ahead_ns += second;
    assert_true(ks_run_turn(run, 0) == UINT64_MAX);
    assert_int_equal(one->finished, 1);
    two->search.budget_ns = hour;
    ks_run_search(run, &two->search);
    assert_true(ks_run_turn(run, 0) != UINT64_MAX);
    assert_int_equal(two->finished, 0);
    ks_run_search(run, &three->search);
    assert_true(ks_run_turn(run, 0) == UINT64_MAX);
    assert_int_equal(two->finished + three->finished, 2);
    assert_int_equal(two->batch, 2);
    asker_free(one);
    asker_free(two);
    asker_free(three);
    ks_run_destroy(run);
}

/* ---- Shares and priorities --------------------------------------------------------------------------------------- */

static void test_keys_get_their_shares(void **state) {
    (void)state;
    static const ks_key keys[] = {{.share = 1, .number = 3}, {.share = 3, .number = 1}};
    enum { EACH = 2000 };
    static const size_t batch_max[] = {1, 8};
    for (int variant = 0; variant < 2; variant++) {
        ks_run *run =
            run_of((ks_run_options){.budget_ns = AMPLE_NS, .batch_max = batch_max[variant], .queue_max = 2 * EACH});
        struct asker **askers = calloc(2 * EACH, sizeof(*askers));
        assert_non_null(askers);
        for (size_t i = 0; i < 2 * EACH; i++) { /* the one with the smaller share comes first with all of it */
            askers[i] = asker_new(&keys[i / EACH]);
            ks_run_search(run, &askers[i]->search);
        }
        const unsigned before = finishes;
        while (finishes - before < EACH) assert_true(ks_run_turn(run, 0) == 0);
        size_t of[2] = {0, 0};
        for (size_t i = 0; i < 2 * EACH; i++) of[i / EACH] += askers[i]->finished != 0;
        assert_true(of[0] * 3 + 16 >= of[1] && of[0] * 3 <= of[1] + 16);
        turn_until_idle(run);
        for (size_t i = 0; i < 2 * EACH; i++) asker_free(askers[i]);
        free(askers);
        ks_run_destroy(run);
    }
}

/* One who comes to a busy server is not behind all that the others have brought; nor has he, for having asked for
 * nothing so far, more of a right than they. */
static void test_who_comes_later_is_as_the_others(void **state) {
    (void)state;
    static const ks_key keys[] = {{.share = 1, .number = 0}, {.share = 1, .number = 1}};
    enum { EACH = 60 };
    ks_queue queue;
    struct asker *askers[2 * EACH];
    size_t of[2] = {0, 0};
    assert_int_equal(ks_queue_init(&queue, 2 * EACH), 0);
    for (size_t i = 0; i < 2 * EACH; i++) {
        ks_search *shed;
        askers[i] = asker_new(&keys[i / EACH]);
        askers[i]->search.cost_ns = 1000;
        askers[i]->search.queries = 1;
        if (i == EACH) /* the first one has had half of his */
            for (int turn = 0; turn < EACH / 2; turn++) assert_non_null(ks_queue_lead(&queue));
        assert_int_equal(ks_queue_push(&queue, &askers[i]->search, &shed), 0);
    }
    for (int turn = 0; turn < 20; turn++) of[ks_queue_lead(&queue)->call->key == &keys[1]]++;
    assert_in_range(of[0], 9, 11);
    assert_in_range(of[1], 9, 11);
    for (size_t left = 2 * EACH - EACH / 2 - 20; left; left--) assert_non_null(ks_queue_lead(&queue));
    assert_null(ks_queue_lead(&queue));
    for (size_t i = 0; i < 2 * EACH; i++) {
        fake_free(askers[i]->fake);
        free(askers[i]);
    }
    ks_queue_free(&queue);
}

static void test_priorities_without_starving(void **state) {
    (void)state;
    enum { EACH = 100 };
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS, .batch_max = 1});
    struct asker *askers[2 * EACH];
    for (size_t i = 0; i < 2 * EACH; i++) {
        askers[i] = asker_new(NULL);
        askers[i]->search.priority = i < EACH ? KS_BATCH : KS_INTERACTIVE;
        ks_run_search(run, &askers[i]->search);
    }
    for (int turn = 0; turn < 80; turn++) ks_run_turn(run, 0);
    size_t batch = 0, interactive = 0;
    for (size_t i = 0; i < EACH; i++) {
        batch += askers[i]->finished != 0;
        interactive += askers[EACH + i]->finished != 0;
    }
    assert_int_equal(batch, 10);
    assert_int_equal(interactive, 70);
    turn_until_idle(run);
    for (size_t i = 0; i < 2 * EACH; i++) asker_free(askers[i]);
    ks_run_destroy(run);
}

/* ---- Who is not served ------------------------------------------------------------------------------------------- */

static void test_who_is_one_too_many_is_refused_at_once(void **state) {
    (void)state;
    static const ks_key keys[] = {{.share = 1, .number = 0}, {.share = 1, .number = 1}};
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS, .queue_max = 10});
    struct asker *askers[17];
    for (size_t i = 0; i < 15; i++) {
        askers[i] = asker_new(&keys[0]);
        ks_run_search(run, &askers[i]->search);
        assert_int_equal(askers[i]->finished, i >= 10);
    }
    for (size_t i = 10; i < 15; i++) {
        assert_int_equal(askers[i]->status, KITH_E_LIMIT);
        assert_int_equal(askers[i]->refused, 1);
    }
    /* Somebody else has a right to a place; and who has all the time in the world goes first. */
    askers[15] = asker_new(&keys[1]);
    ks_run_search(run, &askers[15]->search);
    assert_int_equal(askers[9]->finished, 1);
    assert_int_equal(askers[9]->refused, 1);
    assert_int_equal(askers[15]->finished, 0);
    askers[16] = asker_new(&keys[1]);
    askers[16]->search.priority = KS_BATCH;
    ks_run_search(run, &askers[16]->search);
    assert_int_equal(askers[16]->refused, 1);
    turn_until_idle(run);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.searches, 10);
    assert_int_equal(now.refused, 7);
    for (size_t i = 0; i < 17; i++) {
        assert_int_equal(askers[i]->finished, 1);
        assert_int_equal(askers[i]->batch == 0, askers[i]->refused);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

static void test_an_interactive_one_takes_the_place_of_a_lesser(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS, .queue_max = 4});
    struct asker *askers[5];
    for (size_t i = 0; i < 5; i++) {
        askers[i] = asker_new(NULL);
        askers[i]->search.priority = i < 4 ? KS_BATCH : KS_INTERACTIVE;
        ks_run_search(run, &askers[i]->search);
    }
    assert_int_equal(askers[3]->refused, 1);
    turn_until_idle(run);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(askers[i]->status == KITH_OK, i != 3);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

static void test_deadlines(void **state) {
    (void)state;
    const uint64_t second = 1000000000;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *over = asker_new(NULL), *soon = asker_new(NULL), *own = asker_new(NULL), *fine = asker_new(NULL);
    over->fake->call.deadline_ns = ks_now_ns() - 1;
    soon->fake->call.deadline_ns = ks_now_ns() + 20 * AMPLE_NS;
    own->fake->call.deadline_ns = ks_now_ns() + 1000 * AMPLE_NS;
    own->search.ask.timeout_ns = 20 * AMPLE_NS;
    fine->fake->call.deadline_ns = ks_now_ns() + 1000 * AMPLE_NS;
    ks_run_search(run, &over->search);
    assert_int_equal(over->finished, 1); /* before its turn */
    ks_run_search(run, &fine->search);
    ks_run_search(run, &own->search);
    ks_run_search(run, &soon->search);
    fake_ahead_ns += 20 * AMPLE_NS + second;
    turn_until_idle(run);
    assert_int_equal(over->status, KITH_E_DEADLINE);
    assert_int_equal(soon->status, KITH_E_DEADLINE);
    assert_int_equal(own->status, KITH_E_DEADLINE);
    assert_int_equal(over->refused + soon->refused + own->refused, 3);
    assert_int_equal(fine->status, KITH_OK);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.late, 2);
    assert_int_equal(now.refused, 3);
    assert_int_equal(now.searches, 1);
    asker_free(over);
    asker_free(soon);
    asker_free(own);
    asker_free(fine);
    ks_run_destroy(run);
}

/* So many wait that its turn would come too late: it is not queued. */
static void test_the_hopeless_are_refused_at_once(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *askers[20];
    for (size_t i = 0; i < 20; i++) {
        askers[i] = asker_new(NULL);
        /* Of an unknown kind an eighth of a budget is expected. */
        if (i == 19) askers[i]->fake->call.deadline_ns = ks_now_ns() + AMPLE_NS;
        ks_run_search(run, &askers[i]->search);
        assert_int_equal(askers[i]->finished, i == 19);
    }
    assert_int_equal(askers[19]->status, KITH_E_DEADLINE);
    assert_int_equal(askers[19]->refused, 1);
    turn_until_idle(run);
    for (size_t i = 0; i < 20; i++) asker_free(askers[i]);
    ks_run_destroy(run);
}

/* Calls are read and written between turns: that takes time too, and shows in how long others waited. */
static void test_gaps_between_turns_are_foreseen(void **state) {
    (void)state;
    const uint64_t ms = 1000000;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS, .batch_max = 1});
    struct asker *askers[60], *soon, *later;
    for (size_t i = 0; i < 60; i++) {
        askers[i] = asker_new(NULL);
        ks_run_search(run, &askers[i]->search);
        fake_ahead_ns += 1000 * ms;
        (void)ks_run_turn(run, 0);
    }
    struct asker *before = asker_new(NULL);
    ks_run_search(run, &before->search);
    soon = asker_new(NULL), later = asker_new(NULL);
    soon->fake->call.deadline_ns = ks_now_ns() + 800 * ms;
    later->fake->call.deadline_ns = ks_now_ns() + 1000000 * ms;
    ks_run_search(run, &soon->search);
    ks_run_search(run, &later->search);
    assert_int_equal(soon->refused, 1);
    turn_until_idle(run);
    assert_int_equal(later->status, KITH_OK);
    /* Where nobody waits it is tried. */
    struct asker *alone = asker_new(NULL);
    alone->fake->call.deadline_ns = ks_now_ns() + 100000 * ms;
    ks_run_search(run, &alone->search);
    turn_until_idle(run);
    assert_int_equal(alone->status, KITH_OK);
    for (size_t i = 0; i < 60; i++) asker_free(askers[i]);
    asker_free(before);
    asker_free(soon);
    asker_free(later);
    asker_free(alone);
    ks_run_destroy(run);
}

/* One that came alone is answered before ks_run_search() returns, unless others wait, it has time, or it is one of
 * several of its call. */
static void test_who_comes_alone_is_answered_at_once(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *askers[6];
    for (size_t i = 0; i < 6; i++) {
        askers[i] = asker_new(NULL);
        askers[i]->search.only = i != 2;
        askers[i]->fake->call.alone = i != 3;
    }
    ks_run_search(run, &askers[0]->search);
    assert_int_equal(askers[0]->finished, 0); /* whose thread the loop is, is not known yet */
    turn_until_idle(run);
    ks_run_search(run, &askers[1]->search);
    assert_int_equal(askers[1]->finished, 1);
    assert_int_equal(askers[1]->batch, 1);
    ks_run_search(run, &askers[2]->search);
    assert_int_equal(askers[2]->finished, 0);
    turn_until_idle(run);
    ks_run_search(run, &askers[3]->search);
    ks_run_search(run, &askers[4]->search); /* another one waits */
    assert_int_equal(askers[3]->finished + askers[4]->finished, 0);
    turn_until_idle(run);
    assert_int_equal(askers[4]->batch, 2);
    askers[5]->search.budget_ns = 1000;
    ks_run_search(run, &askers[5]->search);
    assert_int_equal(askers[5]->finished, 0);
    while (!askers[5]->finished) (void)ks_run_turn(run, 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(askers[i]->status, KITH_OK);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

static void ask_again(ks_search *search, const ks_found *found) {
    struct asker *asker = search->context, *next = (struct asker *)(uintptr_t)search->ask.cancelled_context;
    (void)found;
    asker->finished = 1;
    ks_call_done(search->call);
    ks_run_search(asker->fake->call.app, &next->search);
    assert_int_equal(next->finished, 0); /* the desk is not free */
}

/* Who asks for another one while he is told of the first waits for the turn. */
static void test_who_asks_while_he_is_answered_waits(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *first = asker_new(NULL), *next = asker_new(NULL);
    (void)ks_run_turn(run, 0);
    first->search.only = next->search.only = first->fake->call.alone = next->fake->call.alone = 1;
    first->search.finish = ask_again;
    first->search.ask.cancelled_context = next;
    first->fake->call.app = run;
    ks_run_search(run, &first->search);
    assert_int_equal(first->finished, 1);
    turn_until_idle(run);
    assert_int_equal(next->status, KITH_OK);
    asker_free(first);
    asker_free(next);
    ks_run_destroy(run);
}

/* Whose time is over sooner goes first. */
static void test_the_most_urgent_goes_first(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS, .batch_max = 1});
    struct asker *askers[10];
    const unsigned before = finishes;
    for (size_t i = 0; i < 10; i++) {
        askers[i] = asker_new(NULL);
        askers[i]->fake->call.deadline_ns = ks_now_ns() + (100 - i) * AMPLE_NS;
        ks_run_search(run, &askers[i]->search);
    }
    turn_until_idle(run);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(askers[i]->order - before, 9 - i);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

static void test_who_has_gone_is_dropped(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *askers[20];
    for (size_t i = 0; i < 20; i++) {
        askers[i] = asker_new(NULL);
        ks_run_search(run, &askers[i]->search);
    }
    for (size_t i = 0; i < 20; i += 2) askers[i]->fake->gone = 1;
    turn_until_idle(run);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.gone, 10);
    assert_int_equal(now.searches, 10);
    assert_int_equal(now.refused, 0);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(askers[i]->status, i % 2 ? KITH_OK : KITH_E_CANCELLED);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
}

/* ---- What takes long --------------------------------------------------------------------------------------------- */

static void test_long_ones_leave_the_loop(void **state) {
    (void)state;
    /* Everything is longer than four turns of a nanosecond. */
    ks_run *run = run_of((ks_run_options){.budget_ns = 1, .workers = 2});
    struct asker *askers[10];
    for (size_t i = 0; i < 10; i++) {
        askers[i] = asker_new(NULL);
        ks_run_search(run, &askers[i]->search);
    }
    turn_until_idle(run);
    for (size_t i = 0; i < 10; i++) {
        fake_wait(&askers[i]->finished, 1);
        assert_false(pthread_equal(askers[i]->thread, pthread_self()));
        assert_int_equal(askers[i]->status, KITH_OK);
        fake_wait(&askers[i]->fake->done, 1);
        asker_free(askers[i]);
    }
    ks_run_destroy(run);
    run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *quick = asker_new(NULL);
    ks_run_search(run, &quick->search);
    turn_until_idle(run);
    assert_true(pthread_equal(quick->thread, pthread_self()));
    asker_free(quick);
    ks_run_destroy(run);
}

static void test_waiting_for_a_version_does_not_hold_up_the_loop(void **state) {
    (void)state;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(shop.collection, &info));
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *now = asker_new(NULL), *later = asker_new(NULL);
    now->search.ask.min_version = info.version;
    later->search.ask.min_version = info.version + 1;
    ks_run_search(run, &later->search);
    ks_run_search(run, &now->search);
    turn_until_idle(run);
    assert_int_equal(now->finished, 1);
    assert_int_equal(later->finished, 0);
    must(put(shop.collection, ITEMS + 1, 0.5f, "{\"color\": \"red\"}", KITH_UPSERT, NULL));
    fake_wait(&later->finished, 1);
    assert_int_equal(later->status, KITH_OK);
    fake_wait(&later->fake->done, 1);
    asker_free(now);
    asker_free(later);
    ks_run_destroy(run);
}

/* A search that a client has left is stopped on its way. */
static void test_a_long_one_is_cancelled(void **state) {
    (void)state;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(shop.collection, &info));
    ks_run *run = run_of((ks_run_options){.budget_ns = AMPLE_NS});
    struct asker *asker = asker_new(NULL);
    asker->search.ask.min_version = info.version + 1000; /* which never comes */
    asker->fake->call.deadline_ns = ks_now_ns() + UINT64_C(50000000000);
    ks_run_search(run, &asker->search);
    turn_until_idle(run);
    asker->fake->gone = 1;
    fake_wait(&asker->finished, 1);
    assert_int_equal(asker->status, KITH_E_CANCELLED);
    fake_wait(&asker->fake->done, 1);
    asker_free(asker);
    ks_run_destroy(run);
}

/* ---- Several searches of one call -------------------------------------------------------------------------------- */

struct chain {
    struct asker *next;
    ks_run *run;
    int left, done;
};

static void on_link(ks_search *search, const ks_found *found) {
    struct chain *chain = search->context;
    assert_int_equal(found->status, found->refused ? KITH_E_LIMIT : KITH_OK);
    if (chain->next) { /* who finishes one may queue another */
        struct asker *next = chain->next;
        chain->next = NULL;
        ks_run_search(chain->run, &next->search);
    }
    if (--chain->left == 0) chain->done = 1, ks_call_done(search->call);
}

static void test_searches_of_one_call(void **state) {
    (void)state;
    for (uint64_t budget = 1; budget <= AMPLE_NS; budget += AMPLE_NS - 1) { /* by workers, and by the loop */
        enum { LINKS = 40 };
        ks_run *run = run_of((ks_run_options){.budget_ns = budget, .queue_max = LINKS});
        struct chain chain = {.run = run, .left = LINKS + 1};
        struct asker *links[LINKS + 1], *call = asker_new(NULL);
        for (size_t i = 0; i <= LINKS; i++) {
            links[i] = asker_new(NULL);
            links[i]->search.call = &call->fake->call;
            links[i]->search.finish = on_link;
            links[i]->search.context = &chain;
            links[i]->search.ask.k = 1 + i % 3;
        }
        chain.next = links[LINKS];
        for (size_t i = 0; i < LINKS; i++) ks_run_search(run, &links[i]->search);
        while (!call->fake->done) (void)ks_run_turn(run, 0);
        fake_wait(&call->fake->done, 1);
        ks_run_destroy(run);
        assert_int_equal(chain.done, 1);
        for (size_t i = 0; i <= LINKS; i++) {
            fake_free(links[i]->fake);
            free(links[i]);
        }
        asker_free(call);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_give_what_single_searches_give),
        cmocka_unit_test(test_a_bad_query_is_nobody_elses_failure),
        cmocka_unit_test(test_waiting_for_company),
        cmocka_unit_test(test_keys_get_their_shares),
        cmocka_unit_test(test_who_comes_later_is_as_the_others),
        cmocka_unit_test(test_priorities_without_starving),
        cmocka_unit_test(test_who_is_one_too_many_is_refused_at_once),
        cmocka_unit_test(test_an_interactive_one_takes_the_place_of_a_lesser),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_the_hopeless_are_refused_at_once),
        cmocka_unit_test(test_gaps_between_turns_are_foreseen),
        cmocka_unit_test(test_who_comes_alone_is_answered_at_once),
        cmocka_unit_test(test_who_asks_while_he_is_answered_waits),
        cmocka_unit_test(test_the_most_urgent_goes_first),
        cmocka_unit_test(test_who_has_gone_is_dropped),
        cmocka_unit_test(test_long_ones_leave_the_loop),
        cmocka_unit_test(test_waiting_for_a_version_does_not_hold_up_the_loop),
        cmocka_unit_test(test_a_long_one_is_cancelled),
        cmocka_unit_test(test_searches_of_one_call),
    };
    return cmocka_run_group_tests(tests, make_shop, drop_shop);
}

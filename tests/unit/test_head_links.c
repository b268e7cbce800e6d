/* SPDX-License-Identifier: Apache-2.0
 *
 * Links between the rows of a head: walks find the recall that was asked for with the distances of a scan, exact
 * searches stay exact, filters and older states get min(k, matches) rows of theirs whatever was linked since, churn
 * does not wear recall off, and linking is stopped or refused memory anywhere. Threads are head_links_threads.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faulty_malloc.h"
#include "support/head_links.h"

enum { DIM = 640, ROWS = 1200, K_MOST = 100 };

/* ---- Recall ------------------------------------------------------------------------------------------------------ */

static void check_recall(struct subject *s) {
    uint64_t visited = 0;
    assert_true(recall_of(s, s->live, 10, 0.9, &visited) >= 0.89);
    assert_true(visited > 0 && visited < QUERIES * s->live->set / 2);
    assert_true(recall_of(s, s->live, 4, 0.9, NULL) >= 0.89);
    assert_true(recall_of(s, s->live, 17, 0.8, NULL) >= 0.79);
    visited = 0;
    assert_true(recall_of(s, s->live, 10, 1, &visited) == 1);
    assert_true(recall_of(s, s->live, 10, 0, &visited) == 1);
    assert_int_equal(visited, 0);
}

static void test_recall(void **state) {
    static const kith_metric metrics[] = {KITH_COSINE, KITH_IP}; /* l2sq: below */
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct subject s;
        start(&s, KITH_F32, metrics[i], DIM, ROWS + 5, 3 + i);
        uint64_t visited = 0;
        assert_true(recall_of(&s, s.live, 10, 0.9, &visited) == 1); /* nothing is linked yet */
        assert_int_equal(visited, 0);
        assert_int_equal(ki_head_links_bytes(s.head), 0);
        const uint64_t before = ki_head_memory_bytes(s.head);
        link_all(&s);
        assert_true(ki_head_links_bytes(s.head) > ROWS * (DIM + 32 * 4));
        assert_int_equal(ki_head_memory_bytes(s.head), before + ki_head_links_bytes(s.head));
        check_recall(&s);
        finish(&s);
    }
}

/* Bits have no codes: what is not walked to is scored. Walks pay later there. */
static void test_bits(void **state) {
    struct subject s;
    (void)state;
    start(&s, KITH_B1, KITH_HAMMING, DIM, ROWS, 9);
    link_all(&s);
    assert_true(recall_of(&s, s.live, 10, 0.5, NULL) >= 0.5);
    finish(&s);
}

/* ---- Filters, deaths and older states ---------------------------------------------------------------------------- */

static void check_shares(struct subject *s, const ki_bits *live) {
    static const double shares[] = {0.9, 0.5, 0.2, 0.02, 0};
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        ki_bits *some = some_of(s, live, shares[i]);
        assert_true(recall_of(s, some, 10, 0.8, NULL) >= 0.79);
        assert_true(recall_of(s, some, K_MOST, 0.8, NULL) >= 0.79);
        ki_bits_release(some);
    }
}

static void test_filters(void **state) {
    struct subject s;
    (void)state;
    start(&s, KITH_F32, KITH_COSINE, DIM, ROWS, 21);
    link_all(&s);
    check_shares(&s, s.live);
    assert_true(recall_of(&s, s.live, ROOM, 0.9, NULL) == 1); /* more than there are */
    append(&s, 100);                                          /* not linked */
    check_shares(&s, s.live);
    finish(&s);
}

static void test_churn(void **state) {
    struct subject s;
    uint64_t visited = 0;
    (void)state;
    start(&s, KITH_F32, KITH_L2SQ, DIM, ROWS, 31);
    link_all(&s);
    ki_bits *older = ki_bits_hold(s.live);
    for (int round = 0; round < 2; round++) {
        ki_bits *left = some_of(&s, s.live, 0.7);
        ki_bits_release(s.live);
        s.live = left;
        append(&s, 300);
        assert_true(recall_of(&s, s.live, 10, 0.9, NULL) >= 0.89); /* dead rows are linked, new ones not */
        link_all(&s);
    }
    assert_true(recall_of(&s, s.live, 10, 0.9, &visited) >= 0.89);
    assert_true(visited > 0);
    recall_of(&s, older, 10, 0.9, NULL); /* what died since is gone from the graph, and what came is not of it */
    recall_of(&s, older, K_MOST, 0.9, NULL);
    ki_bits_release(older);
    finish(&s);
}

/* ---- When it is worth while -------------------------------------------------------------------------------------- */

static void test_wants(void **state) {
    struct subject s;
    ki_hit hits[1];
    (void)state;
    start(&s, KITH_F32, KITH_COSINE, DIM, ROWS, 41);
    assert_int_equal(ki_head_wants_links(s.head, 0, ROWS), KI_HEAD_LINK_NOT); /* too few */
    append(&s, ROOM - 10 - ROWS);
    assert_int_equal(ki_head_wants_links(s.head, 0, ROWS), KI_HEAD_LINK_NOT);
    assert_int_equal(ki_head_wants_links(s.head, 0, ROOM - 10), KI_HEAD_LINK_NOT); /* still */
    assert_int_equal(ki_head_wants_links(s.head, 1, ROOM - 10), KI_HEAD_LINK_NOT); /* no such name */
    finish(&s);

    const kith_vector_spec spec = {"", 4096, KITH_I8, KITH_L2SQ};
    static int8_t row[4096];
    static float wide[4096];
    ki_bits *live = ki_bits_create(600, 1);
    s.desk = ki_desk_create();
    s.walker = ki_hnsw_searcher_create();
    s.area = (ki_area){0};
    s.dtype = KITH_I8;
    s.dim = 0;
    assert_int_equal(ki_head_create(&spec, 1, NULL, 600, &s.head, NULL), KITH_OK);
    for (uint64_t i = 0; i < 600; i++) {
        row[i] = (int8_t)i;
        const void *const vector = row;
        assert_int_equal(ki_head_append(s.head, &(ki_head_row){.key = i, .vectors = &vector}, NULL), KITH_OK);
    }
    for (int i = 0; i < 200; i++) search(&s, live, wide, 1, 0, hits, NULL); /* exact ones do not count */
    assert_int_equal(ki_head_wants_links(s.head, 0, 600), KI_HEAD_LINK_LATER);
    for (int i = 0; i < 200; i++) search(&s, live, wide, 1, 0.9, hits, NULL);
    assert_int_equal(ki_head_wants_links(s.head, 0, 600), KI_HEAD_LINK_NOW);
    atomic_int stop = 1;
    kith_error error;
    assert_int_equal(ki_head_link(s.head, 0, 600, live, &stop, &error), KITH_E_CANCELLED);
    assert_non_null(strstr(error.text, "stopped"));
    assert_int_equal(ki_head_wants_links(s.head, 0, 600), KI_HEAD_LINK_LATER); /* asked for anew */
    ki_head_release(s.head);
    ki_bits_release(live);
    ki_desk_destroy(s.desk);
    ki_hnsw_searcher_destroy(s.walker);
    free(s.area.data);
}

/* ---- Memory refused ---------------------------------------------------------------------------------------------- */

static void test_refused_memory(void **state) {
    enum { PARTS = 8, FEW = 300, SMALL = 24 };
    struct subject s;
    long all = 0;
    (void)state;
    for (int part = -1; part < PARTS; part++) {
        start(&s, KITH_F32, KITH_L2SQ, SMALL, FEW, 51);
        kith_error error;
        /* Most of what is asked for is asked for first. */
        faulty_malloc_start(part < 0 ? -1 : part < PARTS / 2 ? part : all * part / PARTS, part % 2);
        const kith_status status = ki_head_link(s.head, 0, FEW, s.live, &never, &error);
        const long count = faulty_malloc_stop();
        if (part < 0) all = count;
        assert_int_equal(status, part < 0 ? KITH_OK : KITH_E_NOMEM);
        assert_true(recall_of(&s, s.live, 10, 0.8, NULL) >= 0.79);
        link_all(&s);
        assert_true(recall_of(&s, s.live, 10, 0.8, NULL) >= 0.79);
        finish(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall), cmocka_unit_test(test_bits),  cmocka_unit_test(test_filters),
        cmocka_unit_test(test_churn),  cmocka_unit_test(test_wants), cmocka_unit_test(test_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

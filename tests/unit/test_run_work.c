/* SPDX-License-Identifier: Apache-2.0
 *
 * What the query processor does beside searches: calls that block, jobs, and what it has learnt of the time that things
 * take. It makes its threads by pthread_create().
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/run/inner.h"
#include "support/unwired_calls.h"

#include <math.h>
#include <string.h>

static kith_error error;

static ks_run *run_of(ks_run_options options) {
    ks_run *run = NULL;
    options.loops = 1;
    if (ks_run_create(&options, &run, &error) != KITH_OK) fail_msg("%s", error.text);
    return run;
}

/* ---- Calls that block -------------------------------------------------------------------------------------------- */

static atomic_int begun, gate;

static void work_that_waits(ks_call *call, void *context) {
    call->reply.status = 200;
    *(int *)context += 1;
    fake_tell(&begun, begun + 1);
    fake_wait(&gate, 1);
}

static void test_calls_beyond_the_limit_are_refused(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 1, .work_max = 3});
    struct fake_call *calls[6];
    int done[6] = {0};
    begun = gate = 0;
    for (size_t i = 0; i < 6; i++) {
        calls[i] = fake_new(NULL);
        ks_run_work(run, &calls[i]->call, work_that_waits, &done[i]);
        if (!i) fake_wait(&begun, 1); /* one is worked on, three wait, two are too many */
    }
    for (size_t i = 4; i < 6; i++) {
        assert_int_equal(calls[i]->done, 1);
        assert_int_equal(calls[i]->call.reply.status, 503);
        assert_true(calls[i]->call.reply.retry_after_s > 0);
    }
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.work_queued, 3);
    assert_int_equal(now.working, 1);
    assert_int_equal(now.refused, 2);
    fake_tell(&gate, 1);
    for (size_t i = 0; i < 6; i++) {
        fake_wait(&calls[i]->done, 1);
        assert_int_equal(done[i], i < 4);
    }
    ks_run_destroy(run);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(calls[i]->done, 1);
        fake_free(calls[i]);
    }
}

static void make_piece(ks_call *call, void *context) {
    (void)call;
    *(int *)context += 1;
}

/* Pieces of streams that are being sent are made though their time is over and the queue is full, each once, and the
 * call is not ended by them. */
static void test_pieces_of_streams(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 1, .work_max = 1});
    struct fake_call *calls[3], *stream = fake_new(NULL);
    int done[3] = {0}, made = 0;
    ks_more more = {make_piece, &made, NULL};
    begun = gate = 0;
    for (size_t i = 0; i < 3; i++) {
        calls[i] = fake_new(NULL);
        ks_run_work(run, &calls[i]->call, work_that_waits, &done[i]);
        if (!i) fake_wait(&begun, 1);
    }
    assert_int_equal(calls[2]->call.reply.status, 503);
    stream->call.deadline_ns = 1;
    assert_int_equal(ks_run_more(run, &stream->call, &more), 0);
    assert_int_equal(made, 0);
    fake_tell(&gate, 1);
    fake_wait(&stream->more, 1);
    assert_int_equal(made, 1);
    assert_int_equal(ks_run_more(run, &stream->call, &more), 0);
    fake_wait(&stream->more, 2);
    ks_run_destroy(run);
    assert_int_equal(made, 2);
    assert_int_equal(stream->done, 0);
    for (size_t i = 0; i < 3; i++) fake_free(calls[i]);
    fake_free(stream);
}

static void test_writes_do_not_hold_up_reads(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 2});
    struct fake_call *calls[6];
    int done[6] = {0};
    begun = gate = 0;
    for (size_t i = 0; i < 5; i++) {
        calls[i] = fake_new(NULL);
        ks_run_write(run, &calls[i]->call, work_that_waits, &done[i]);
    }
    fake_wait(&begun, 2); /* two at a time */
    calls[5] = fake_new(NULL);
    ks_run_work(run, &calls[5]->call, work_that_waits, &done[5]);
    fake_wait(&begun, 3);
    assert_int_equal(done[5], 1);
    fake_tell(&gate, 1);
    for (size_t i = 0; i < 6; i++) fake_wait(&calls[i]->done, 1);
    ks_run_destroy(run);
    for (size_t i = 0; i < 6; i++) fake_free(calls[i]);
}

static void test_calls_whose_time_is_over_are_not_begun(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 1});
    struct fake_call *first = fake_new(NULL), *late = fake_new(NULL), *gone = fake_new(NULL);
    int done[3] = {0};
    begun = gate = 0;
    ks_run_work(run, &first->call, work_that_waits, &done[0]);
    fake_wait(&begun, 1);
    late->call.deadline_ns = ks_now_ns() + UINT64_C(1000000000000);
    ks_run_work(run, &late->call, work_that_waits, &done[1]);
    ks_run_work(run, &gone->call, work_that_waits, &done[2]);
    gone->gone = 1;
    fake_ahead_ns += UINT64_C(2000000000000);
    fake_tell(&gate, 1);
    fake_wait(&late->done, 1);
    fake_wait(&gone->done, 1);
    assert_int_equal(late->call.reply.status, 503);
    assert_int_equal(gone->call.reply.status, 499);
    assert_int_equal(done[1] + done[2], 0);
    ks_run_state now;
    ks_run_state_of(run, &now);
    assert_int_equal(now.late, 1);
    assert_int_equal(now.gone, 1);
    ks_run_destroy(run);
    fake_free(first);
    fake_free(late);
    fake_free(gone);
}

/* ---- Jobs -------------------------------------------------------------------------------------------------------- */

struct job {
    kith_status status;
    const char *made;
    int waits; /* until it is cancelled, or the gate opens */
    atomic_int begun, forgotten;
};

static kith_status job_work(void *context, ks_shop *shop, kith_progress_fn progress, void *progress_context,
                            ks_text *made, kith_error *why) {
    struct job *job = context;
    (void)shop;
    const kith_progress now = {sizeof(now), "merging", "vectors", 3, 7};
    int stop = progress(progress_context, &now);
    fake_tell(&job->begun, 1);
    while (job->waits && !stop && !gate) stop = progress(progress_context, &now);
    if (stop) {
        snprintf(why->text, sizeof(why->text), "cancelled");
        return KITH_E_CANCELLED;
    }
    if (job->status != KITH_OK)
        snprintf(why->text, sizeof(why->text), "it went wrong");
    else if (job->made)
        ks_text_add_line(made, job->made);
    return job->status;
}

static void job_forget(void *context) {
    struct job *job = context;
    fake_tell(&job->forgotten, job->forgotten + 1);
}

static uint64_t begin(ks_run *run, struct job *job) {
    uint64_t number = 0;
    if (ks_run_job(run, "compact", NULL, job_work, job_forget, job, &number, &error) != KITH_OK)
        fail_msg("%s", error.text);
    return number;
}

static ks_job_info info_of(ks_run *run, uint64_t number) {
    ks_job_info info = {0};
    for (size_t place = 0; ks_run_job_at(run, place, &info); place++)
        if (info.number == number) return info;
    fail_msg("there is no job %u", (unsigned)number);
    return info;
}

static void test_jobs(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 1});
    char large[600];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = 0;
    struct job job[] = {{.made = "{\"path\": \"x\"}"},
                        {.status = KITH_E_IO},
                        {.waits = 1},
                        {.made = "not to be seen"},
                        {.made = large}};
    uint64_t number[5];
    ks_job_info info;
    gate = 0;
    assert_int_equal(ks_run_job_at(run, 0, &info), 0);
    assert_int_equal(ks_run_job_cancel(run, 1), 0);
    for (size_t i = 0; i < 5; i++) number[i] = begin(run, &job[i]);
    fake_wait(&job[2].begun, 1);
    info = info_of(run, number[2]);
    assert_string_equal(info.state, "running");
    assert_string_equal(info.stage, "merging");
    assert_string_equal(info.unit, "vectors");
    assert_int_equal(info.done, 3);
    assert_int_equal(info.total, 7);
    assert_true(info.started_ms > 0 && !info.ended_ms);
    assert_string_equal(info_of(run, number[3]).state, "waiting");
    assert_int_equal(ks_run_job_cancel(run, number[3]), 1);
    assert_string_equal(info_of(run, number[3]).state, "cancelled");
    assert_int_equal(ks_run_job_cancel(run, number[2]), 1);
    for (size_t i = 0; i < 5; i++) fake_wait(&job[i].forgotten, 1);
    static const char *const expected[] = {"done", "failed", "cancelled", "cancelled", "done"};
    for (size_t i = 0; i < 5; i++) {
        info = info_of(run, number[i]);
        assert_string_equal(info.state, expected[i]);
        assert_string_equal(info.kind, "compact");
        assert_true(info.ended_ms > 0);
    }
    assert_string_equal(info_of(run, number[0]).text, "{\"path\": \"x\"}");
    assert_string_equal(info_of(run, number[1]).text, "it went wrong");
    assert_string_equal(info_of(run, number[4]).text, ""); /* half of it would be no JSON */
    assert_int_equal(job[3].begun, 0);
    assert_int_equal(ks_run_job_at(run, 0, &info), 1);
    assert_int_equal(info.number, number[4]);               /* the newest first */
    assert_int_equal(ks_run_job_cancel(run, number[0]), 1); /* it is over: nothing happens */
    assert_string_equal(info_of(run, number[0]).state, "done");
    ks_run_destroy(run);
    for (size_t i = 0; i < 5; i++) assert_int_equal(job[i].forgotten, 1);
}

static void test_jobs_are_remembered_within_bounds(void **state) {
    (void)state;
    enum { REMEMBERED = 256 };
    static struct job job[REMEMBERED + 1];
    ks_run *run = run_of((ks_run_options){.workers = 1});
    uint64_t number = 0;
    size_t place = 0;
    ks_job_info info;
    gate = 0;
    job[0].waits = 1;
    for (size_t i = 0; i < REMEMBERED; i++) assert_int_equal(begin(run, &job[i]), i + 1);
    assert_int_equal(ks_run_job(run, "compact", NULL, job_work, job_forget, &job[REMEMBERED], &number, &error),
                     KITH_E_LIMIT);
    assert_int_equal(job[REMEMBERED].forgotten, 1);
    fake_tell(&gate, 1);
    fake_wait(&job[REMEMBERED - 1].forgotten, 1);
    fake_wait(&job[0].forgotten, 1);
    gate = 0;
    while (ks_run_job(run, "compact", NULL, job_work, job_forget, &job[REMEMBERED], &number, &error) != KITH_OK)
        continue; /* until its place is free */
    assert_int_equal(number, REMEMBERED + 1);
    while (ks_run_job_at(run, place, &info)) assert_int_equal(info.number, REMEMBERED + 1 - place++);
    assert_int_equal(place, REMEMBERED);
    assert_int_equal(ks_run_job_cancel(run, 1), 0); /* forgotten */
    ks_run_destroy(run);
}

/* What runs when the server is stopped is cancelled; what waits never begins. */
static void test_jobs_end_with_the_server(void **state) {
    (void)state;
    ks_run *run = run_of((ks_run_options){.workers = 1});
    struct job job[2] = {{.waits = 1}, {.made = "{}"}};
    gate = 0;
    (void)begin(run, &job[0]);
    (void)begin(run, &job[1]);
    fake_wait(&job[0].begun, 1);
    ks_run_destroy(run);
    assert_int_equal(job[0].forgotten + job[1].forgotten, 2);
    assert_int_equal(job[1].begun, 0);
}

/* ---- What was learnt --------------------------------------------------------------------------------------------- */

static void test_learning(void **state) {
    (void)state;
    ks_learnt *learnt = calloc(1, sizeof(*learnt));
    assert_non_null(learnt);
    ks_learnt_init(learnt);
    assert_true(ks_learnt_expect(learnt, 5, 1) < 0);
    assert_true(ks_learnt_lately(learnt, 5) < 0);
    assert_int_equal(ks_learnt_fit(learnt, 5, 1e6, 100), 1); /* nothing known: one */
    ks_learnt_tell(learnt, 5, 1, 1000, 1000);
    assert_true(ks_learnt_expect(learnt, 5, 1) == 1000);
    assert_true(ks_learnt_expect(learnt, 5, 10) == 10000); /* a larger batch costs no more a query */
    assert_int_equal(ks_learnt_fit(learnt, 5, 10000, 100), 10);
    assert_int_equal(ks_learnt_fit(learnt, 5, 500, 100), 1); /* never none */
    ks_learnt_tell(learnt, 5, 10, 2000, 2000);
    assert_true(ks_learnt_expect(learnt, 5, 1) == 1000);
    assert_int_equal(ks_learnt_fit(learnt, 5, 10000, 100), 50);
    assert_int_equal(ks_learnt_fit(learnt, 5, 10000, 30), 30);
    assert_true(ks_learnt_expect(learnt, 5 + KS_KINDS, 1) < 0);
    /* A collection that grew: the sizes that are measured pull the others along. */
    for (int i = 0; i < 100; i++) ks_learnt_tell(learnt, 5, 10, 80000, 80000);
    assert_true(fabs(ks_learnt_expect(learnt, 5, 1) - 8000) < 10);
    assert_true(fabs(ks_learnt_lately(learnt, 5) - 8000) < 10);
    assert_int_equal(ks_learnt_fit(learnt, 5, 40100, 100), 5);
    /* One bad moment is forgotten, however bad. */
    ks_learnt_tell(learnt, 5, 10, 1e15, 1e15);
    for (int i = 0; i < 60; i++) ks_learnt_tell(learnt, 5, 1, 8000, 8000);
    assert_true(ks_learnt_expect(learnt, 5, 10) < 90000);
    /* Batches that gain nothing, and such that do; and what was not tried often enough is not known. */
    for (int i = 0; i < 4; i++) ks_learnt_tell(learnt, 6, 1, 1000, 1000);
    assert_int_equal(ks_learnt_flat(learnt, 6, 8), 0);
    for (int i = 0; i < 3; i++) ks_learnt_tell(learnt, 6, 64, 64 * 950, 64 * 950);
    assert_int_equal(ks_learnt_flat(learnt, 6, 8), 0);
    ks_learnt_tell(learnt, 6, 64, 64 * 950, 64 * 950);
    assert_int_equal(ks_learnt_flat(learnt, 6, 8), 1);
    assert_int_equal(ks_learnt_flat(learnt, 6, 64), 0);                   /* of larger ones nothing is known */
    for (int i = 0; i < 5; i++) ks_learnt_tell(learnt, 6, 1, 3000, 3000); /* what holds up small ones by chance */
    assert_int_equal(ks_learnt_flat(learnt, 6, 8), 1);
    for (int i = 0; i < 20; i++) ks_learnt_tell(learnt, 6, 64, 64 * 600, 64 * 600);
    assert_int_equal(ks_learnt_flat(learnt, 6, 8), 0);
    /* A kind that falls on another's place takes it. */
    ks_learnt_tell(learnt, 5 + KS_KINDS, 1, 7, 7);
    assert_true(ks_learnt_expect(learnt, 5, 1) < 0);
    assert_true(ks_learnt_expect(learnt, 5 + KS_KINDS, 1) == 7);
    pthread_mutex_destroy(&learnt->lock);
    free(learnt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_beyond_the_limit_are_refused),
        cmocka_unit_test(test_pieces_of_streams),
        cmocka_unit_test(test_writes_do_not_hold_up_reads),
        cmocka_unit_test(test_calls_whose_time_is_over_are_not_begun),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_jobs_are_remembered_within_bounds),
        cmocka_unit_test(test_jobs_end_with_the_server),
        cmocka_unit_test(test_learning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

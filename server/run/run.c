/* SPDX-License-Identifier: Apache-2.0
 *
 * The query processor: how a search comes in, and what a turn of a loop does. */
#define _GNU_SOURCE
#include "run/inner.h"

#include "run/shape.h"

#include <stdio.h>
#include <stdlib.h>

/* A short turn is such a part of the budget. */
enum { SHORT = 4 };

/* Longer nobody waits for company, whatever he says. */
static const uint64_t COMPANY_NS = 1000000000;

kith_status ks_run_fail(kith_error *error, kith_status status, const char *sentence) {
    if (!error) return status;
    error->status = status;
    snprintf(error->text, sizeof(error->text), "%s", sentence);
    return status;
}

/* ---- Coming in --------------------------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void prepare(ks_run *run, ks_search *search) {
    ks_shape_set(search);
    search->next = search->prev = NULL;
    search->queued_ns = ks_now_ns();
    search->deadline_ns = search->call->deadline_ns ? search->call->deadline_ns : UINT64_MAX;
    if (search->ask.timeout_ns && search->ask.timeout_ns < UINT64_MAX - search->queued_ns)
        search->deadline_ns = sooner(search->deadline_ns, search->queued_ns + search->ask.timeout_ns);
    search->ready_ns = search->queued_ns + sooner(search->budget_ns, COMPANY_NS);
    double each = ks_learnt_lately(&run->learnt, search->kind);
    if (each < 0) each = (double)run->options.budget_ns / 8; /* until it is known: something */
    search->cost_ns = each * (double)search->queries;
}

/* Answer what is in desk->batch, on the loop's thread. */
static void answer(ks_run *run, ks_lane *lane, size_t count) {
    const uint64_t began = ks_now_ns();
    lane->answering = 1;
    const size_t left = ks_drop_some(run, &lane->desk, count, count > 1);
    if (left) ks_answer(run, &lane->desk, left);
    lane->answering = 0;
    const uint64_t now = ks_now_ns();
    pthread_mutex_lock(&lane->lock);
    ks_lane_was_busy(lane, began, now);
    pthread_mutex_unlock(&lane->lock);
}

/* Whether a search need not wait for a turn: nobody else waits, and none came with it. */
static int is_at_once(ks_run *run, ks_lane *lane, const ks_search *search) {
    if (!search->only || !search->call->alone || search->budget_ns) return 0;
    pthread_mutex_lock(&lane->lock);
    const int free =
        lane->has_thread && pthread_equal(lane->thread, pthread_self()) && !lane->answering && !lane->queue.queued;
    pthread_mutex_unlock(&lane->lock);
    return free && !ks_is_slow(run, search);
}

void ks_run_search(ks_run *run, ks_search *search) {
    const unsigned loop = search->call->loop % run->options.loops;
    ks_lane *lane = &run->lanes[loop];
    ks_search *shed = NULL;
    prepare(run, search);
    if (is_at_once(run, lane, search)) {
        lane->desk.batch[0] = search;
        answer(run, lane, 1);
        return;
    }
    pthread_mutex_lock(&lane->lock);
    const int hopeless = ks_is_hopeless(search, search->queued_ns, ks_lane_wait(lane, search));
    const int full = !hopeless && ks_queue_push(&lane->queue, search, &shed) != 0;
    const int elsewhere = !lane->has_thread || !pthread_equal(lane->thread, pthread_self());
    pthread_mutex_unlock(&lane->lock);
    if (hopeless)
        ks_refuse(run, search, KITH_E_DEADLINE,
                  "The server is busy: the time of this search would be over before its turn. Try again later.");
    if (full)
        ks_refuse(run, search, KITH_E_LIMIT, "The server is busy: too many searches wait already. Try again later.");
    if (shed)
        ks_refuse(run, shed, KITH_E_LIMIT, "The server is busy, and others have a right to go first. Try again later.");
    if (elsewhere && run->wake) run->wake(run->wake_context, loop);
}

/* ---- A turn ------------------------------------------------------------------------------------------------------ */

/* Whether those that wait are as many as a turn takes: then waiting longer would help nobody. */
static int is_company(ks_run *run, const ks_queue *queue) {
    const ks_search *next = ks_queue_peek(queue);
    return queue->queries >=
               ks_learnt_fit(&run->learnt, next->kind, (double)run->options.budget_ns, run->options.batch_max) &&
           queue->queries > next->queries;
}

/* The next leader that the loop itself answers, in desk->batch[0]: 1; 0: there is none now, *when says when. What is
 * dropped or slow on the way is dealt with. Called with the lane's lock, which it gives up for moments. */
static int next_leader(ks_run *run, ks_lane *lane, uint64_t *when) {
    for (;;) {
        const uint64_t ready = ks_queue_ready(&lane->queue), now = ks_now_ns();
        if (ready > now && (ready == UINT64_MAX || !is_company(run, &lane->queue))) {
            *when = ready == UINT64_MAX ? UINT64_MAX : ready - now;
            return 0;
        }
        ks_search *search = ks_queue_lead(&lane->queue);
        const int others = lane->queue.queued != 0;
        ks_lane_turns(lane, search, now);
        pthread_mutex_unlock(&lane->lock);
        const int dropped = ks_dropped(run, search, now, others), slow = !dropped && ks_is_slow(run, search);
        if (slow) ks_slow_push(run, search);
        pthread_mutex_lock(&lane->lock);
        if (!dropped && !slow) {
            lane->desk.batch[0] = search;
            return 1;
        }
    }
}

/* The budget; where more waits than two of them take, half of what waits, up to four budgets: those behind wait anyway,
 * and a query costs less in a larger batch. Where it does not, a quarter of the budget: the answers leave sooner, and
 * who comes meanwhile is sooner told that there is no room for him. */
static double turn_ns(ks_run *run, const ks_lane *lane) {
    const double budget = (double)run->options.budget_ns, half = lane->queue.lines[KS_INTERACTIVE].cost_ns / 2;
    const unsigned kind = lane->desk.batch[0]->kind;
    const size_t few = ks_learnt_fit(&run->learnt, kind, budget / SHORT, run->options.batch_max);
    if (ks_learnt_flat(&run->learnt, kind, few)) return budget / SHORT;
    if (half <= budget) return budget;
    return half < KS_LOOP_TURNS * budget ? half : KS_LOOP_TURNS * budget;
}

uint64_t ks_run_turn(ks_run *run, unsigned loop) {
    ks_lane *lane = &run->lanes[loop % run->options.loops];
    uint64_t when = 0;
    pthread_mutex_lock(&lane->lock);
    lane->thread = pthread_self();
    lane->has_thread = 1;
    if (!next_leader(run, lane, &when)) {
        pthread_mutex_unlock(&lane->lock);
        return when;
    }
    const double turn = turn_ns(run, lane);
    const size_t count = ks_gather(run, &lane->queue, &lane->desk, turn);
    lane->slice_ns = turn < (double)run->options.budget_ns ? turn : (double)run->options.budget_ns;
    pthread_mutex_unlock(&lane->lock);
    answer(run, lane, count);
    pthread_mutex_lock(&lane->lock);
    const uint64_t now = lane->turned_ns, ready = ks_queue_ready(&lane->queue);
    pthread_mutex_unlock(&lane->lock);
    return ready == UINT64_MAX ? UINT64_MAX : ready > now ? ready - now : 0;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static void set_defaults(ks_run_options *options) {
    if (!options->loops) options->loops = 1;
    if (!options->workers) options->workers = 4;
    if (!options->budget_ns) options->budget_ns = 2000000;
    if (!options->batch_max) options->batch_max = 1024;
    if (!options->queue_max) options->queue_max = 4096;
    if (!options->work_max) options->work_max = 1024;
}

static kith_status start(ks_run *run, kith_error *error) {
    const ks_run_options *options = &run->options;
    run->lanes = calloc(options->loops, sizeof(*run->lanes));
    if (!run->lanes) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    int failed = ks_lane_init(&run->slow, options);
    for (unsigned i = 0; i < options->loops; i++) {
        failed |= ks_lane_init(&run->lanes[i], options);
        failed |= ks_desk_init(&run->lanes[i].desk, options->batch_max, error);
    }
    if (failed) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    /* Scrolls and the like, writes, and searches: none of them keeps the others waiting. */
    kith_status status = ks_crew_start(&run->readers, run, options->workers, options->work_max, error);
    if (status == KITH_OK) status = ks_crew_start(&run->writers, run, options->workers, options->work_max, error);
    if (status == KITH_OK) status = ks_slow_start(run, options->workers > 1 ? options->workers / 2 : 1, error);
    if (status == KITH_OK) status = ks_jobs_start(run, error);
    return status;
}

kith_status ks_run_create(const ks_run_options *options, ks_run **out, kith_error *error) {
    if (!options || !out) return ks_run_fail(error, KITH_E_ARG, "ks_run_create: an argument is NULL");
    ks_run *run = calloc(1, sizeof(*run));
    if (!run) return ks_run_fail(error, KITH_E_NOMEM, "out of memory");
    run->options = *options;
    set_defaults(&run->options);
    ks_learnt_init(&run->learnt);
    const kith_status status = start(run, error);
    if (status != KITH_OK) {
        ks_run_destroy(run);
        return status;
    }
    *out = run;
    return KITH_OK;
}

/* What still waits is refused: nobody turns its loop any more. */
static void refuse_rest(ks_run *run) {
    for (unsigned i = 0; i < run->options.loops; i++)
        for (ks_search *search; (search = ks_queue_lead(&run->lanes[i].queue));)
            ks_refuse(run, search, KITH_E_LIMIT, "The server is being stopped.");
}

void ks_run_destroy(ks_run *run) {
    if (!run) return;
    ks_jobs_stop(run);
    ks_crew_stop(&run->readers);
    ks_crew_stop(&run->writers);
    if (run->lanes) {
        ks_slow_stop(run);
        refuse_rest(run);
        ks_lane_free(&run->slow);
    }
    for (unsigned i = 0; run->lanes && i < run->options.loops; i++) {
        ks_desk_free(&run->lanes[i].desk);
        ks_lane_free(&run->lanes[i]);
    }
    pthread_mutex_destroy(&run->learnt.lock);
    free(run->lanes);
    free(run);
}

void ks_run_wake_by(ks_run *run, void (*wake)(void *context, unsigned loop), void *context) {
    run->wake_context = context;
    run->wake = wake;
}

/* ---- What it is like --------------------------------------------------------------------------------------------- */

static size_t waiting_in(ks_lane *lane) {
    pthread_mutex_lock(&lane->lock);
    const size_t waiting = lane->queue.queued;
    pthread_mutex_unlock(&lane->lock);
    return waiting;
}

void ks_run_state_of(ks_run *run, ks_run_state *state) {
    const uint64_t now = ks_now_ns();
    *state = (ks_run_state){.working = run->working,
                            .searches = run->searches,
                            .queries = run->queries,
                            .batches = run->batches,
                            .refused = run->refused,
                            .gone = run->gone,
                            .late = run->late,
                            .queued = waiting_in(&run->slow),
                            .work_queued = ks_crew_waiting(&run->readers) + ks_crew_waiting(&run->writers)};
    for (unsigned i = 0; i < run->options.loops; i++) {
        state->queued += waiting_in(&run->lanes[i]);
        state->busy += ks_lane_busy(&run->lanes[i], now) / run->options.loops;
    }
}

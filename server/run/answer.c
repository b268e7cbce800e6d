/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch becomes one search of the collection; its answers are dealt out to those who asked.
 *
 * A batch that fails is answered again one by one: a NaN in one query must not be the others' failure. */
#define _GNU_SOURCE
#include "run/inner.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* What is asked for all of a batch, and what came of it. */
struct asked {
    kith_ask ask;
    kith_leg leg;
    kith_queries queries;
    kith_ask_report report;
    kith_error error;
    kith_hits hits;
    uint64_t began_ns, ended_ns;
    double cost_ns;
    size_t count, query_count;
    ks_search *const *searches;
};

static int all_gone(void *context) {
    const struct asked *asked = context;
    for (size_t i = 0; i < asked->count; i++)
        if (!ks_call_gone(asked->searches[i]->call)) return 0;
    return 1;
}

/* The queries of all, packed; -1 without memory. Counts and dimensions are those of queries that lie in memory, so that
 * their product has been one already. */
static int pack(ks_desk *desk, struct asked *asked) {
    const size_t dim = asked->searches[0]->ask.legs[0].queries->dim, row_bytes = dim * sizeof(float);
    if (asked->query_count > SIZE_MAX / row_bytes) return -1;
    const size_t needed = asked->query_count * row_bytes;
    if (needed > desk->packed_room) {
        free(desk->packed);
        desk->packed = malloc(needed);
        desk->packed_room = desk->packed ? needed : 0;
        if (!desk->packed) return -1;
    }
    char *to = (char *)desk->packed;
    for (size_t i = 0; i < asked->count; i++) {
        const kith_queries *queries = asked->searches[i]->ask.legs[0].queries;
        const size_t stride = queries->stride_bytes ? queries->stride_bytes : row_bytes;
        for (size_t row = 0; row < queries->count; row++, to += row_bytes)
            memcpy(to, (const char *)queries->data + row * stride, row_bytes);
    }
    asked->queries = (kith_queries)KITH_QUERIES_INIT;
    asked->queries.data = desk->packed;
    asked->queries.dtype = KITH_F32;
    asked->queries.count = asked->query_count;
    asked->queries.dim = dim;
    asked->leg = asked->searches[0]->ask.legs[0];
    asked->leg.queries = &asked->queries;
    asked->ask.legs = &asked->leg;
    return 0;
}

/* Of a batch, who has most time left counts: one whose time is over meanwhile gets his answer nevertheless. */
static uint64_t time_left(const struct asked *asked) {
    uint64_t left = 1;
    for (size_t i = 0; i < asked->count; i++) {
        const uint64_t deadline = asked->searches[i]->deadline_ns;
        if (deadline == UINT64_MAX) return 0;
        if (deadline > asked->began_ns && deadline - asked->began_ns > left) left = deadline - asked->began_ns;
    }
    return left;
}

/* What this thread has used of a processor, and how often it has waited for something. */
struct used {
    double ns;
    long waits;
};

static struct used used_so_far(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) != 0) return (struct used){0};
    const double us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return (struct used){us * 1e3, usage.ru_nvcsw};
}

/* What a search took: by the clock when it waited for a disk or for other threads; else by the time that its thread
 * ran. A processor that others use too would otherwise seem a slow search, which goes to the workers, who are slower
 * still beside each other. */
static double cost_of(const struct asked *asked, struct used before, struct used after) {
    const double wall = (double)(asked->ended_ns - asked->began_ns), ran = after.ns - before.ns;
    return after.waits == before.waits && ran > 0 && ran < wall ? ran : wall;
}

static kith_status search(ks_desk *desk, struct asked *asked) {
    const ks_search *first = asked->searches[0];
    asked->ask = first->ask;
    asked->report = (kith_ask_report)KITH_ASK_REPORT_INIT;
    asked->hits = (kith_hits)KITH_HITS_INIT;
    asked->error = (kith_error){0};
    asked->query_count = 0;
    for (size_t i = 0; i < asked->count; i++) asked->query_count += asked->searches[i]->queries;
    asked->began_ns = asked->ended_ns = ks_now_ns();
    if (asked->count > 1 && pack(desk, asked) != 0) return ks_run_fail(&asked->error, KITH_E_NOMEM, "out of memory");
    asked->ask.report = &asked->report;
    asked->ask.timeout_ns = time_left(asked);
    asked->ask.cancelled = all_gone;
    asked->ask.cancelled_context = asked;
    const struct used before = used_so_far();
    const kith_status status =
        kith_collection_search(first->shop->collection, &asked->ask, desk->result, &asked->error);
    asked->ended_ns = ks_now_ns();
    asked->cost_ns = cost_of(asked, before, used_so_far());
    if (status == KITH_OK) (void)kith_result_hits(desk->result, &asked->hits);
    return status;
}

/* One whose time was over took that long at least; others that failed say nothing of what an answer takes. */
static void learn(ks_run *run, const struct asked *asked, kith_status status) {
    if ((status == KITH_OK && !asked->report.cached) || status == KITH_E_DEADLINE)
        ks_learnt_tell(&run->learnt, asked->searches[0]->kind, asked->query_count, asked->cost_ns,
                       (double)(asked->ended_ns - asked->began_ns));
    ks_count(&run->batches, 1);
    ks_count(&run->searches, asked->count);
    ks_count(&run->queries, asked->query_count);
}

/* All is written before anybody is told: who is told may take his search away. */
static void deal(ks_run *run, ks_desk *desk, const struct asked *asked, kith_status status, ks_found *found) {
    size_t first = 0;
    for (size_t i = 0; i < asked->count; i++) {
        ks_search *each = asked->searches[i];
        each->report = asked->report;
        found[i] = (ks_found){.status = status,
                              .error = &asked->error,
                              .result = desk->result,
                              .hits = &asked->hits,
                              .first = first,
                              .count = each->queries,
                              .report = &each->report,
                              .explain = each->ask.explain,
                              .batch = asked->query_count,
                              .waited_ns = asked->began_ns > each->queued_ns ? asked->began_ns - each->queued_ns : 0,
                              .searched_ns = asked->ended_ns - asked->began_ns};
        first += each->queries;
    }
    if (run->options.observe) run->options.observe(run->options.observe_context, asked->searches, found, asked->count);
    for (size_t i = 0; i < asked->count; i++) ks_finish(run, asked->searches[i], &found[i]);
}

static void answer_alone(ks_run *run, ks_desk *desk, ks_search *alone) {
    ks_found found;
    struct asked asked = {.searches = &alone, .count = 1};
    const kith_status status = search(desk, &asked);
    learn(run, &asked, status);
    deal(run, desk, &asked, status, &found);
}

void ks_answer(ks_run *run, ks_desk *desk, size_t count) {
    struct asked asked = {.searches = desk->batch, .count = count};
    ks_count(&run->working, count);
    const kith_status status = search(desk, &asked);
    if (count == 1 || status == KITH_OK || status == KITH_E_DEADLINE || status == KITH_E_CANCELLED) {
        learn(run, &asked, status);
        deal(run, desk, &asked, status, desk->found);
    } else {
        for (size_t i = 0; i < count; i++) answer_alone(run, desk, desk->batch[i]);
    }
    atomic_fetch_sub_explicit(&run->working, count, memory_order_relaxed);
}

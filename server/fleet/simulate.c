/* SPDX-License-Identifier: Apache-2.0
 *
 * Servers, their queues and recorded traffic. */
#define _GNU_SOURCE
#include "fleet/simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 256, BUCKETS = 512 };
#define FIRST_MS 0.01
#define GROWTH   1.04 /* 512 buckets from 10 us to an hour and more */

struct server {
    double ready_s;       /* answers from here */
    double given_s;       /* time of work it was given so far, all threads */
    double busy_before_s; /* done by the end of the interval before */
    double free_s[];      /* when each thread will be idle */
};

struct run {
    const ks_model *model;
    const ks_load *load;
    const ks_scale_options *options;
    ks_scale scale;
    ks_chooser chooser;
    unsigned fixed;
    struct server **servers; /* wanted ones, oldest first; `max` places, each made when it is first used */
    unsigned count, ready;
    size_t interval;
    double now_s, waited_s; /* now_s: end of the current interval; waited_s: sum of waits in it */
    double cost_s, fewer_s; /* fewer_s: when there were last made fewer */
    uint64_t random, all[BUCKETS], recent[BUCKETS], recent_count;
    ks_outcome_of_run *outcome;
};

static kith_status no_memory(kith_error *error) {
    if (error) {
        error->status = KITH_E_NOMEM;
        snprintf(error->text, sizeof(error->text), "There is no memory for the simulation.");
    }
    return KITH_E_NOMEM;
}

ks_model ks_model_defaults(void) {
    return (ks_model){.service_ms = 5, .threads = 2, .start_s = 30, .shed_ms = 1000, .late_ms = 100, .interval_s = 15};
}

const char *ks_model_check(const ks_model *model) {
    if (!(model->service_ms >= 1e-3 && model->service_ms <= 1e6)) return "a call must take 1 us to 1,000 s";
    if (model->threads < 1 || model->threads > THREADS_MAX) return "a server must have 1 to 256 threads";
    if (!(model->start_s >= 0 && model->start_s <= 86400)) return "a server must start within a day";
    if (!(model->shed_ms > 0 && model->shed_ms <= 1e7)) return "calls must be refused before they wait for 10,000 s";
    if (!(model->late_ms > 0 && model->late_ms <= 1e7)) return "answers must be due within 10,000 s";
    if (!(model->interval_s >= 1 && model->interval_s <= 3600)) return "looks must be 1 s to an hour apart";
    return NULL;
}

/* ---- The load ---------------------------------------------------------------------------------------------------- */

void ks_load_free(ks_load *load) {
    free(load->calls);
    *load = (ks_load){0};
}

static kith_status load_grow(ks_load *load, size_t *room, size_t place, kith_error *error) {
    if (place >= KS_INTERVALS_MAX) {
        if (error) {
            error->status = KITH_E_LIMIT;
            snprintf(error->text, sizeof(error->text),
                     "The traffic lasts longer than %d intervals: take longer ones, or less of it.", KS_INTERVALS_MAX);
        }
        return KITH_E_LIMIT;
    }
    while (*room <= place) {
        const size_t more = *room ? 2 * *room : 1024;
        uint32_t *calls = realloc(load->calls, more * sizeof(*calls));
        if (!calls) return no_memory(error);
        memset(calls + *room, 0, (more - *room) * sizeof(*calls));
        load->calls = calls;
        *room = more;
    }
    if (load->count <= place) load->count = place + 1;
    return KITH_OK;
}

kith_status ks_load_read(ks_arrivals *arrivals, const ks_model *model, ks_load *out, kith_error *error) {
    ks_load load = {0};
    size_t room = 0;
    double time_s = 0;
    int got;
    kith_status status = KITH_OK;
    ks_arrivals_rewind(arrivals);
    while (status == KITH_OK && (got = ks_arrivals_next(arrivals, &time_s, error)) != 0) {
        const size_t place = (size_t)(time_s / model->interval_s);
        status = got < 0 ? KITH_E_FORMAT : load_grow(&load, &room, place, error);
        if (status != KITH_OK) break;
        if (load.calls[place] < UINT32_MAX) load.calls[place]++;
        load.all++;
    }
    if (status == KITH_OK && !load.all) {
        status = KITH_E_FORMAT;
        if (error) {
            error->status = status;
            snprintf(error->text, sizeof(error->text), "The traffic has no calls in it.");
        }
    }
    if (status != KITH_OK) {
        ks_load_free(&load);
        return status;
    }
    *out = load;
    return KITH_OK;
}

double ks_load_servers(const ks_load *load, const ks_model *model, const ks_scale_options *scale, size_t interval) {
    const double busy_s = load->calls[interval] * model->service_ms / 1e3;
    return busy_s / (model->interval_s * model->threads * scale->busy);
}

static unsigned oracle(const struct run *run, size_t interval) {
    const double servers = ceil(ks_load_servers(run->load, run->model, run->options, interval) - 1e-9);
    if (!(servers > run->options->min)) return run->options->min;
    return servers < run->options->max ? (unsigned)servers : run->options->max;
}

/* ---- Servers ----------------------------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood 2014); 0 <= result < 1. */
static double draw(struct run *run) {
    uint64_t z = run->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int want(struct run *run, unsigned count, double start_s) {
    const double from_s = run->now_s;
    while (run->count < count) {
        struct server **place = &run->servers[run->count];
        const size_t bytes = sizeof(**place) + run->model->threads * sizeof(double);
        if (!*place) *place = malloc(bytes);
        if (!*place) return 0;
        memset(*place, 0, bytes);
        (*place)->ready_s = from_s + start_s;
        run->count++;
    }
    run->count = count;
    return 1;
}

static unsigned ready_at(const struct run *run, double time_s) {
    unsigned ready = 0;
    while (ready < run->count && run->servers[ready]->ready_s <= time_s) ready++;
    return ready;
}

static unsigned first_free(const struct run *run, const struct server *server) {
    unsigned first = 0;
    for (unsigned i = 1; i < run->model->threads; i++)
        if (server->free_s[i] < server->free_s[first]) first = i;
    return first;
}

static void count_time(struct run *run, double took_ms) {
    const double place = took_ms > FIRST_MS ? ceil(log(took_ms / FIRST_MS) / log(GROWTH)) : 0;
    const size_t bucket = place < BUCKETS - 1 ? (size_t)place : BUCKETS - 1;
    run->all[bucket]++;
    run->recent[bucket]++;
    run->recent_count++;
}

static double quantile(const uint64_t *counts, uint64_t count, double share) {
    uint64_t sum = 0;
    size_t i = 0;
    if (!count) return 0;
    while (i < BUCKETS - 1 && (double)(sum += counts[i]) < share * (double)count) i++;
    return FIRST_MS * pow(GROWTH, (double)i);
}

static void call(struct run *run, double time_s) {
    const ks_model *model = run->model;
    run->outcome->calls++;
    while (run->ready < run->count && run->servers[run->ready]->ready_s <= time_s) run->ready++;
    if (!run->ready) {
        run->outcome->refused++;
        return;
    }
    struct server *server = run->servers[(unsigned)(draw(run) * run->ready)];
    struct server *other = run->servers[(unsigned)(draw(run) * run->ready)];
    unsigned thread = first_free(run, server);
    const unsigned others = first_free(run, other);
    if (other->free_s[others] < server->free_s[thread]) {
        server = other;
        thread = others;
    }
    const double begins = fmax(time_s, server->free_s[thread]), waits_ms = (begins - time_s) * 1e3;
    if (waits_ms > model->shed_ms) {
        run->outcome->refused++;
        return;
    }
    const double takes_ms = model->service_ms * 0.5 * (1 - log(1 - draw(run)));
    server->free_s[thread] = begins + takes_ms / 1e3;
    server->given_s += takes_ms / 1e3;
    run->waited_s += waits_ms / 1e3;
    count_time(run, waits_ms + takes_ms);
    if (waits_ms + takes_ms > model->late_ms) run->outcome->late++;
}

/* ---- Looks ------------------------------------------------------------------------------------------------------- */

/* Share of their time that the servers which answer were busy since the last look. What is still to be done lies in one
 * piece at the end of what each thread was given. */
static double busy(struct run *run, unsigned ready) {
    double sum = 0;
    for (unsigned i = 0; i < ready; i++) {
        struct server *server = run->servers[i];
        double left = 0;
        for (unsigned t = 0; t < run->model->threads; t++) left += fmax(0, server->free_s[t] - run->now_s);
        const double done = server->given_s - left;
        const double was_there = fmin(run->model->interval_s, run->now_s - server->ready_s);
        if (was_there > 0) sum += fmin(1, (done - server->busy_before_s) / (was_there * run->model->threads));
        server->busy_before_s = done;
    }
    return ready ? sum / ready : 0;
}

static unsigned look(struct run *run) {
    const unsigned ready = ready_at(run, run->now_s);
    const ks_scale_sample sample = {.time_s = run->now_s,
                                    .servers = ready,
                                    .busy = busy(run, ready),
                                    .p99_ms = quantile(run->recent, run->recent_count, 0.99),
                                    .queue = run->waited_s / run->model->interval_s};
    return ks_scale_next(&run->scale, &sample, NULL);
}

/* At the end of an interval: how many there are in the next. */
static int choose(struct run *run) {
    unsigned count = run->fixed;
    double start_s = 0;
    if (run->chooser == KS_CHOOSE_SCALE) {
        count = look(run);
        start_s = run->model->start_s;
    } else if (run->chooser == KS_CHOOSE_ORACLE) {
        count = run->interval < run->load->count ? oracle(run, run->interval) : run->count;
        /* They were started in time, and cost from then on. */
        if (count > run->count) run->cost_s += (count - run->count) * run->model->start_s;
    }
    ks_outcome_of_run *outcome = run->outcome;
    if (count != run->count && run->now_s > 0) {
        outcome->changes++;
        if (count < run->count) run->fewer_s = run->now_s;
        if (count > run->count && run->now_s - run->fewer_s <= run->options->steady_s) outcome->flaps++;
    }
    return want(run, count, run->now_s > 0 ? start_s : 0);
}

static int end_interval(struct run *run) {
    run->outcome->servers[run->interval++] = (uint16_t)run->count;
    run->cost_s += run->count * run->model->interval_s;
    if (run->count > run->outcome->most) run->outcome->most = run->count;
    run->now_s = (double)run->interval * run->model->interval_s;
    const int fine = choose(run);
    run->ready = ready_at(run, run->now_s);
    memset(run->recent, 0, sizeof(run->recent));
    run->recent_count = 0;
    run->waited_s = 0;
    return fine;
}

static kith_status play(struct run *run, ks_arrivals *arrivals, kith_error *error) {
    double time_s = 0;
    int got;
    ks_arrivals_rewind(arrivals);
    while ((got = ks_arrivals_next(arrivals, &time_s, error)) == 1) {
        const size_t interval = (size_t)(time_s / run->model->interval_s);
        while (run->interval < interval)
            if (!end_interval(run)) return no_memory(error);
        call(run, time_s);
    }
    if (got < 0) return KITH_E_FORMAT;
    while (run->interval < run->load->count)
        if (!end_interval(run)) return no_memory(error);
    return KITH_OK;
}

static void sum_up(const struct run *run) {
    ks_outcome_of_run *outcome = run->outcome;
    const uint64_t answered = outcome->calls - outcome->refused;
    outcome->p50_ms = quantile(run->all, answered, 0.5);
    outcome->p99_ms = quantile(run->all, answered, 0.99);
    outcome->p999_ms = quantile(run->all, answered, 0.999);
    outcome->server_hours = run->cost_s / 3600;
    outcome->mean = run->cost_s / (run->model->interval_s * (double)run->load->count);
}

kith_status ks_simulate(ks_arrivals *arrivals, const ks_load *load, const ks_model *model,
                        const ks_scale_options *scale, ks_chooser chooser, unsigned fixed, ks_outcome_of_run *outcome,
                        kith_error *error) {
    const unsigned room = chooser == KS_CHOOSE_FIXED ? fixed : scale->max;
    ks_outcome_of_run made = {.servers = calloc(load->count, sizeof(*made.servers))};
    struct run *run = calloc(1, sizeof(*run));
    struct server **servers = calloc(room ? room : 1, sizeof(*servers));
    kith_status status = KITH_E_NOMEM;
    if (!run || !servers || !made.servers) {
        no_memory(error);
        goto out;
    }
    *run = (struct run){.model = model,
                        .load = load,
                        .options = scale,
                        .chooser = chooser,
                        .fixed = fixed,
                        .servers = servers,
                        .random = model->seed,
                        .fewer_s = -INFINITY,
                        .outcome = &made};
    /* All begin with what the first interval needs. */
    const unsigned first = chooser == KS_CHOOSE_FIXED ? fixed : oracle(run, 0);
    ks_scale_start(&run->scale, scale, first);
    status = want(run, first, 0) ? KITH_OK : no_memory(error);
    run->ready = run->count;
    if (status == KITH_OK) status = play(run, arrivals, error);
    if (status == KITH_OK) {
        sum_up(run);
        *outcome = made;
        made.servers = NULL;
    }
out:
    for (unsigned i = 0; servers && i < room; i++) free(servers[i]);
    free(made.servers);
    free(servers);
    free(run);
    return status;
}

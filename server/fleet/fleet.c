/* SPDX-License-Identifier: Apache-2.0
 *
 * A front: its thread, and what others ask of it. */
#define _GNU_SOURCE
#include "error/error.h"
#include "fleet/fleet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fleet/inner.h"
#include "json/json.h"

#define MS UINT64_C(1000000)

enum { EVENTS_MAX = 256 };

void ks_fleet_tell(ks_fleet *fleet, int trouble, const char *format, ...) {
    char sentence[KS_URL_MAX + 200];
    va_list values;
    if (!fleet->options.tell) return;
    va_start(values, format);
    vsnprintf(sentence, sizeof(sentence), format, values);
    va_end(values);
    fleet->options.tell(fleet->options.tell_context, trouble, sentence);
}

static void wake(const ks_fleet *fleet) {
    const uint64_t one = 1;
    while (write(fleet->event, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* ---- Rosters ----------------------------------------------------------------------------------------------------- */

void ks_roster_leave(ks_roster *roster) {
    if (--roster->users == 0) free(roster);
}

static int same_place(const ks_place *a, const ks_place *b) {
    return a->address_bytes == b->address_bytes && memcmp(&a->address, &b->address, a->address_bytes) == 0;
}

static ks_roster *make_roster(ks_fleet *fleet, const ks_place *places, size_t count, uint64_t now_ns) {
    ks_roster *roster = calloc(1, sizeof(*roster));
    if (!roster) return NULL;
    roster->fleet = fleet;
    roster->users = 1;
    roster->write_to = SIZE_MAX;
    ks_set_start(&roster->set, fleet->options.policy, count, ++fleet->random, now_ns);
    for (size_t i = 0; i < count; i++) {
        roster->backends[i].place = places[i];
        roster->backends[i].roster = roster;
        roster->backends[i].number = i;
    }
    return roster;
}

/* Where all that a list names is; looking it up blocks. */
typedef struct found {
    ks_place places[KS_BACKENDS_MAX], writers[KS_BACKENDS_MAX];
    size_t count, writer_count;
} found;

static kith_status find_all(const ks_fleet *fleet, const char *list, found *all, kith_error *error) {
    const kith_status status = ks_places_find(list, all->places, &all->count, error);
    if (status != KITH_OK || !fleet->options.write_to) return status;
    return ks_places_find(fleet->options.write_to, all->writers, &all->writer_count, error);
}

static kith_status choose_writer(ks_roster *roster, const found *all, kith_error *error) {
    const char *write_to = roster->fleet->options.write_to;
    if (!write_to) return KITH_OK;
    for (size_t i = 0; all->writer_count == 1 && i < roster->set.count; i++)
        if (same_place(&roster->backends[i].place, &all->writers[0])) roster->write_to = i;
    if (roster->write_to != SIZE_MAX) return KITH_OK;
    return ks_error(error, KITH_E_ARG, "Writes are to go to %s, which is %s.", write_to,
                    all->writer_count == 1 ? "none of the backends" : "not one address");
}

/* What is known of a backend stays with it. Calls under way are counted where they began. */
static void take_over(ks_roster *roster, const ks_roster *old) {
    for (size_t i = 0; i < roster->set.count; i++) {
        for (size_t j = 0; j < old->set.count; j++) {
            if (!same_place(&roster->backends[i].place, &old->backends[j].place)) continue;
            roster->set.peers[i] = old->set.peers[j];
            roster->set.peers[i].under_way = 0;
            roster->set.peers[i].riches = 0;
            roster->backends[i].probes = old->backends[j].probes;
            roster->backends[i].probes_failed = old->backends[j].probes_failed;
        }
    }
    roster->set.panics = old->set.panics;
}

static void dismiss(ks_roster *roster) {
    if (!roster) return;
    roster->current = 0;
    for (size_t i = 0; i < roster->set.count; i++) {
        ks_probe_stop(&roster->backends[i]);
        ks_links_drop_idle(&roster->backends[i], UINT64_MAX);
    }
    ks_roster_leave(roster);
}

static int is_same(const ks_roster *roster, const ks_place *places, size_t count) {
    if (!roster || roster->set.count != count) return 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < count && !same_place(&roster->backends[i].place, &places[j])) j++;
        if (j == count) return 0;
    }
    return 1;
}

/* Under the lock. */
static kith_status change(ks_fleet *fleet, const found *all, kith_error *error) {
    const uint64_t now_ns = ks_now_ns();
    const size_t count = all->count;
    if (is_same(fleet->roster, all->places, count)) return KITH_OK;
    ks_roster *roster = make_roster(fleet, all->places, count, now_ns);
    if (!roster) return ks_error(error, KITH_E_NOMEM, "There is no memory for a list of backends.");
    const kith_status status = choose_writer(roster, all, error);
    if (status != KITH_OK) {
        free(roster);
        return status;
    }
    if (fleet->roster) {
        take_over(roster, fleet->roster);
        ks_fleet_tell(fleet, 0, "There are %zu backends now, where %zu were before.", count, fleet->roster->set.count);
    }
    dismiss(fleet->roster);
    roster->current = 1;
    fleet->roster = roster;
    /* The first looks are spread, so that later ones are. */
    for (size_t i = 0; i < count; i++)
        ks_probe_start(&roster->backends[i], now_ns, fleet->options.probe_ms * MS * i / count);
    return KITH_OK;
}

/* Look names up, which blocks, and change what changed. */
static kith_status look_up(ks_fleet *fleet, const char *list, kith_error *error) {
    found *all = calloc(1, sizeof(*all));
    kith_status status = all ? find_all(fleet, list, all, error)
                             : ks_error(error, KITH_E_NOMEM, "There is no memory for a list of backends.");
    if (status == KITH_OK) {
        pthread_mutex_lock(&fleet->lock);
        status = change(fleet, all, error);
        pthread_mutex_unlock(&fleet->lock);
        wake(fleet);
    }
    free(all);
    return status;
}

kith_status ks_fleet_reload(ks_fleet *fleet, kith_error *error) {
    char *list = fleet->options.file ? ks_places_read(fleet->options.file, error) : strdup(fleet->options.backends);
    if (!list) return error && error->status != KITH_OK ? error->status : KITH_E_NOMEM;
    const kith_status status = look_up(fleet, list, error);
    if (status == KITH_OK) {
        pthread_mutex_lock(&fleet->lock);
        char *old = fleet->list;
        fleet->list = list;
        pthread_mutex_unlock(&fleet->lock);
        list = old;
    }
    free(list);
    return status;
}

/* ---- The threads ------------------------------------------------------------------------------------------------- */

static void take_queue(ks_fleet *fleet, uint64_t now_ns) {
    pthread_mutex_lock(&fleet->queue_lock);
    ks_errand *errand = fleet->queue;
    fleet->queue = NULL;
    fleet->queue_end = &fleet->queue;
    pthread_mutex_unlock(&fleet->queue_lock);
    while (errand) {
        ks_errand *next = errand->next;
        errand->next = fleet->under_way;
        errand->at = &fleet->under_way;
        if (errand->next) errand->next->at = &errand->next;
        fleet->under_way = errand;
        fleet->calls++;
        errand->roster = fleet->roster;
        errand->roster->users++;
        ks_errand_begin(errand, now_ns);
        errand = next;
    }
}

static void free_dropped(ks_fleet *fleet) {
    while (fleet->dropped) {
        ks_link *link = fleet->dropped;
        fleet->dropped = link->next;
        ks_answer_free(&link->answer);
        ks_text_free(&link->head);
        free(link);
    }
}

static int is_stopping(ks_fleet *fleet) {
    pthread_mutex_lock(&fleet->queue_lock);
    const int stopping = fleet->stopping;
    pthread_mutex_unlock(&fleet->queue_lock);
    return stopping;
}

static void back_from_outside(ks_fleet *fleet, uint64_t now_ns) {
    ks_roster *roster = fleet->roster;
    const uint64_t back = ks_set_tick(&roster->set, now_ns);
    for (size_t i = 0; back && i < roster->set.count; i++)
        if (back >> i & 1)
            ks_fleet_tell(fleet, 0, "The backend %s gets calls again, after some had failed.",
                          roster->backends[i].place.url);
}

static int wait_ms(ks_fleet *fleet) {
    pthread_mutex_lock(&fleet->lock);
    const uint64_t due = ks_timers_next(&fleet->timers), now_ns = ks_now_ns();
    pthread_mutex_unlock(&fleet->lock);
    if (due <= now_ns) return 0;
    return due - now_ns > 1000 * MS ? 1000 : (int)((due - now_ns + MS - 1) / MS);
}

static void *run(void *context) {
    ks_fleet *fleet = context;
    struct epoll_event events[EVENTS_MAX];
    while (!is_stopping(fleet)) {
        const int count = epoll_wait(fleet->epoll, events, EVENTS_MAX, wait_ms(fleet));
        pthread_mutex_lock(&fleet->lock);
        for (int i = 0; i < count; i++) {
            uint64_t woken;
            if (events[i].data.ptr) {
                ks_link_event(events[i].data.ptr, events[i].events);
            } else if (read(fleet->event, &woken, sizeof(woken)) < 0 && errno != EAGAIN && errno != EINTR) {
                break;
            }
        }
        const uint64_t now_ns = ks_now_ns();
        back_from_outside(fleet, now_ns);
        take_queue(fleet, now_ns);
        ks_timers_run(&fleet->timers, now_ns);
        free_dropped(fleet);
        pthread_mutex_unlock(&fleet->lock);
    }
    pthread_mutex_lock(&fleet->lock);
    take_queue(fleet, ks_now_ns());
    while (fleet->under_way) ks_errand_fail(fleet->under_way, 503, "This server is being stopped.", ks_now_ns());
    pthread_mutex_unlock(&fleet->lock);
    return NULL;
}

/* Names may get other addresses. */
static void *resolve(void *context) {
    ks_fleet *fleet = context;
    int in_trouble = 0;
    pthread_mutex_lock(&fleet->queue_lock);
    while (!fleet->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)(fleet->options.resolve_ms / 1000);
        until.tv_nsec += (long)(fleet->options.resolve_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        if (pthread_cond_timedwait(&fleet->stop_changed, &fleet->queue_lock, &until) == 0 || fleet->stopping) continue;
        pthread_mutex_unlock(&fleet->queue_lock);
        kith_error error = {0};
        pthread_mutex_lock(&fleet->lock);
        char *list = fleet->list ? strdup(fleet->list) : NULL;
        pthread_mutex_unlock(&fleet->lock);
        const int fine = list && look_up(fleet, list, &error) == KITH_OK;
        if (!fine && !in_trouble) ks_fleet_tell(fleet, 1, "The backends stay as they were: %s", error.text);
        in_trouble = !fine;
        free(list);
        pthread_mutex_lock(&fleet->queue_lock);
    }
    pthread_mutex_unlock(&fleet->queue_lock);
    return NULL;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static void set_defaults(ks_fleet_options *options) {
    if (!options->connect_ms) options->connect_ms = 1000;
    if (!options->probe_ms) options->probe_ms = 1000;
    if (!options->resolve_ms) options->resolve_ms = 10000;
    if (!(options->retry_share < 0 || options->retry_share > 0)) options->retry_share = 0.2;
    if (!(options->hedge_share < 0 || options->hedge_share > 0)) options->hedge_share = 0.05;
    if (!options->calls_max) options->calls_max = 10000;
    if (!options->connections_max) options->connections_max = 1024;
    if (!options->answer_max) options->answer_max = (size_t)64 << 20;
    if (!options->answers_max) options->answers_max = (size_t)512 << 20;
    if (!options->seed) options->seed = ks_now_ns();
}

/* Three in ten seconds are always allowed: a fifth of four calls is none. */
static ks_budget budget_of(double share, unsigned least) {
    return (ks_budget){.share = share > 0 ? share : 0, .least = share > 0 ? least : 0};
}

static int copy_text(const char **text) {
    if (!*text) return 1;
    *text = strdup(*text);
    return *text != NULL;
}

static kith_status open_all(ks_fleet *fleet, kith_error *error) {
    struct epoll_event event = {.events = EPOLLIN};
    fleet->epoll = epoll_create1(EPOLL_CLOEXEC);
    fleet->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fleet->epoll < 0 || fleet->event < 0 || epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fleet->event, &event) < 0)
        return ks_error(error, KITH_E_IO, "The system refuses an epoll: %s.", strerrordesc_np(errno));
    const kith_status status = ks_fleet_reload(fleet, error);
    if (status != KITH_OK) return status;
    fleet->thread_runs = pthread_create(&fleet->thread, NULL, run, fleet) == 0;
    fleet->resolver_runs = fleet->thread_runs && pthread_create(&fleet->resolver, NULL, resolve, fleet) == 0;
    if (!fleet->resolver_runs) return ks_error(error, KITH_E_NOMEM, "The system refuses a thread.");
    return KITH_OK;
}

kith_status ks_fleet_start(const ks_fleet_options *options, ks_fleet **out, kith_error *error) {
    if (!options->backends == !options->file)
        return ks_error(error, KITH_E_ARG, "Backends are named by a list or by a file, not by both.");
    ks_fleet *fleet = calloc(1, sizeof(*fleet));
    if (!fleet) return ks_error(error, KITH_E_NOMEM, "There is no memory for a front.");
    fleet->options = *options;
    fleet->epoll = fleet->event = -1;
    fleet->queue_end = &fleet->queue;
    pthread_mutex_init(&fleet->lock, NULL);
    pthread_mutex_init(&fleet->queue_lock, NULL);
    pthread_cond_init(&fleet->stop_changed, NULL);
    set_defaults(&fleet->options);
    fleet->random = fleet->options.seed;
    fleet->retries = budget_of(fleet->options.retry_share, 3);
    fleet->hedges = budget_of(fleet->options.hedge_share, 1);
    kith_status status = KITH_OK;
    /* All three, so that none of them is the caller's afterwards. */
    const int copied =
        copy_text(&fleet->options.backends) + copy_text(&fleet->options.file) + copy_text(&fleet->options.write_to);
    if (copied < 3) status = ks_error(error, KITH_E_NOMEM, "There is no memory for a front.");
    if (status == KITH_OK) status = open_all(fleet, error);
    if (status != KITH_OK) {
        ks_fleet_stop(fleet);
        return status;
    }
    *out = fleet;
    return KITH_OK;
}

static void free_text(const char *text) {
    char *own;
    memcpy(&own, &text, sizeof(own));
    free(own);
}

void ks_fleet_stop(ks_fleet *fleet) {
    if (!fleet) return;
    pthread_mutex_lock(&fleet->queue_lock);
    fleet->stopping = 1;
    pthread_cond_broadcast(&fleet->stop_changed);
    pthread_mutex_unlock(&fleet->queue_lock);
    if (fleet->resolver_runs) pthread_join(fleet->resolver, NULL);
    if (fleet->thread_runs) {
        wake(fleet);
        pthread_join(fleet->thread, NULL);
    }
    dismiss(fleet->roster);
    free_dropped(fleet);
    ks_timers_free(&fleet->timers);
    if (fleet->epoll >= 0) close(fleet->epoll);
    if (fleet->event >= 0) close(fleet->event);
    pthread_cond_destroy(&fleet->stop_changed);
    pthread_mutex_destroy(&fleet->queue_lock);
    pthread_mutex_destroy(&fleet->lock);
    free_text(fleet->options.backends);
    free_text(fleet->options.file);
    free_text(fleet->options.write_to);
    free(fleet->list);
    free(fleet);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static int fits_a_line(const char *text) {
    for (; text && *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 127) return 0;
    return 1;
}

static void refuse_call(ks_call *call, int status, const char *sentence) {
    ks_call_fail(call, status, "%s", sentence);
    if (status == 503) call->reply.retry_after_s = 1;
    ks_call_done(call);
}

void ks_fleet_send(ks_fleet *fleet, ks_call *call) {
    if (!fits_a_line(call->path) || !fits_a_line(call->query)) {
        refuse_call(call, 400, "The path has a blank in it.");
        return;
    }
    ks_errand *errand = ks_call_alloc(call, sizeof(*errand));
    if (!errand) {
        ks_call_no_memory(call);
        ks_call_done(call);
        return;
    }
    errand->fleet = fleet;
    errand->call = call;
    errand->kind = ks_kind_of(call->method, call->path);
    pthread_mutex_lock(&fleet->queue_lock);
    const int stopping = fleet->stopping, first = !fleet->queue;
    const int full = fleet->queued >= fleet->options.calls_max;
    if (!stopping && !full) {
        *fleet->queue_end = errand;
        fleet->queue_end = &errand->next;
        fleet->queued++;
    }
    pthread_mutex_unlock(&fleet->queue_lock);
    if (stopping || full) {
        refuse_call(call, 503, stopping ? "This server is being stopped." : "Too many calls wait for backends.");
    } else if (first) {
        wake(fleet);
    }
}

void ks_fleet_fail(ks_call *call, int status, const char *sentence) {
    ks_text *body = &call->reply.body;
    call->reply.status = status;
    call->reply.type = NULL;
    ks_text_clear(body);
    const int native = strncmp(call->path, "/v1", 3) == 0;
    ks_json json = KS_JSON(body);
    ks_json_object(&json, NULL);
    ks_json_object(&json, native ? "error" : "status");
    if (native) ks_json_int(&json, "status", status);
    ks_json_text(&json, native ? "message" : "error", sentence);
    ks_json_object_end(&json);
    if (!native) {
        ks_json_null(&json, "result");
        ks_json_real(&json, "time", 0);
    }
    ks_json_object_end(&json);
}

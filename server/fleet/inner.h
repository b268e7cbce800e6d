/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a front share and nobody else sees.
 *
 * I1. Everything here is under fleet->lock, which the thread holds whenever it does not wait; only the queue of calls
 *     that come has a lock of its own.
 * I2. A roster is one list of backends. A reload makes another; calls under way keep the one that they began with, by
 *     counting themselves among its users, and it goes with the last of them.
 * I3. A link carries one request at a time. Whoever gave it one is told once, by `over`, unless it drops the link. */
#ifndef KITH_SERVER_FLEET_INNER_H
#define KITH_SERVER_FLEET_INNER_H

#include <pthread.h>
#include <sys/socket.h>

#include "fleet/answer.h"
#include "fleet/fleet.h"
#include "fleet/kind.h"
#include "fleet/timers.h"

enum { KS_URL_MAX = 300, KS_ATTEMPTS_MAX = 2, KS_IDLE_LINKS_MAX = 64 };

typedef struct ks_link ks_link;
typedef struct ks_roster ks_roster;
typedef struct ks_errand ks_errand;

/* ---- Backends ---------------------------------------------------------------------------------------------------- */

/* Where a backend is. */
typedef struct ks_place {
    char url[KS_URL_MAX];  /* as it was given, without a slash at the end: its name in metrics and sentences */
    char host[KS_URL_MAX]; /* what Host says */
    struct sockaddr_storage address;
    socklen_t address_bytes;
} ks_place;

typedef struct ks_backend {
    ks_place place;
    ks_roster *roster;
    size_t number; /* in the roster and its set */
    ks_link *idle; /* most recently used first */
    size_t idle_count, link_count;
    ks_timer probe_timer;
    ks_link *probe; /* under way, or NULL */
    uint64_t probes, probes_failed;
} ks_backend;

struct ks_roster {
    ks_fleet *fleet;
    size_t users; /* calls, and the fleet itself */
    int current;
    size_t write_to; /* SIZE_MAX: none */
    ks_set set;
    ks_backend backends[KS_BACKENDS_MAX];
};

/* "http://host:port"; the address is not looked up. 1, or 0 and *wrong says why: static. */
int ks_place_parse(const char *url, size_t bytes, ks_place *place, char name[KS_URL_MAX], char port[8],
                   const char **wrong);
/* All places of a list, names looked up: at most KS_BACKENDS_MAX. */
kith_status ks_places_find(const char *text, ks_place *places, size_t *count, kith_error *error);
/* A file's text, the caller's to free. NULL: *error says why. */
char *ks_places_read(const char *path, kith_error *error);

/* ---- Links ------------------------------------------------------------------------------------------------------- */

struct ks_link {
    ks_fleet *fleet;
    ks_backend *backend;
    ks_link *next, **at; /* among the backend's idle ones; at: what points here */
    int fd;
    uint32_t watched; /* events that epoll was told */
    int connecting, busy, reused;
    uint64_t since_ns; /* it is idle, or busy */
    ks_text head;      /* of the request */
    const char *body;
    size_t body_bytes, sent;
    ks_answer answer;
    size_t held;       /* bytes of the answer counted in fleet->held */
    const char *wrong; /* no whole answer came, because: static text, and */
    int why;           /* an errno, or 0 */
    void (*over)(ks_link *link, void *context);
    void *context;
};

/* An idle one, or a new one that is not connected yet. NULL: *wrong says why, with an errno in *why or 0. */
ks_link *ks_link_take(ks_backend *backend, int fresh, const char **wrong, int *why);
/* Send link->head and a body, which must stay until it is over. */
void ks_link_ask(ks_link *link, const char *body, size_t body_bytes, void (*over)(ks_link *link, void *context),
                 void *context);
void ks_link_event(ks_link *link, uint32_t events);
/* When it is over: keep it for another request if it can be. */
void ks_link_give(ks_link *link);
/* Close it, whatever it is at; nobody is told. */
void ks_link_drop(ks_link *link);
void ks_links_drop_idle(ks_backend *backend, uint64_t idle_since_ns); /* those idle since then or longer */

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

typedef struct ks_attempt {
    ks_errand *errand;
    ks_link *link; /* NULL: this place is free */
    size_t backend;
    uint64_t began_ns;
    int hedge, fresh;
} ks_attempt;

struct ks_errand {
    ks_fleet *fleet;
    ks_call *call;
    ks_roster *roster;
    ks_errand *next, **at; /* queued or under way */
    ks_kind kind;
    ks_timer timer;
    uint64_t tried; /* a bit a backend */
    uint64_t hedge_ns;
    unsigned retries, renewals, unreached;
    ks_attempt attempts[KS_ATTEMPTS_MAX];
    char wrong[KS_URL_MAX + 200]; /* of the last attempt that failed: a sentence */
};

/* The request as a backend is to see it. */
void ks_request_write(ks_text *text, const ks_call *call, const char *host, uint64_t left_ms);

void ks_errand_begin(ks_errand *errand, uint64_t now_ns);
/* End it with an error of our own, whatever is under way. */
void ks_errand_fail(ks_errand *errand, int status, const char *sentence, uint64_t now_ns);

/* ---- Probes ------------------------------------------------------------------------------------------------------ */

void ks_probe_start(ks_backend *backend, uint64_t now_ns, uint64_t first_ns);
void ks_probe_stop(ks_backend *backend);

/* ---- The fleet --------------------------------------------------------------------------------------------------- */

struct ks_fleet {
    ks_fleet_options options; /* texts are copies */
    pthread_t thread, resolver;
    int thread_runs, resolver_runs;
    int epoll, event;
    pthread_mutex_t lock; /* I1 */
    ks_roster *roster;
    char *list; /* of backends, as it was given or read last */
    ks_errand *under_way;
    size_t calls, held; /* held: bytes of answers */
    ks_timers timers;
    ks_link *dropped; /* freed after the events at hand were looked at, which may name them */
    ks_budget retries, hedges;
    uint64_t hedges_won;
    uint64_t random;
    pthread_mutex_t queue_lock;
    pthread_cond_t stop_changed;
    ks_errand *queue, **queue_end;
    size_t queued; /* and under way: for calls_max */
    int stopping;
};

void ks_roster_leave(ks_roster *roster); /* a user fewer */
void ks_fleet_tell(ks_fleet *fleet, int trouble, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP over libmicrohttpd. Each loop is a thread with a daemon and connections of its own, which runs to completion: it
 * takes what has come, calls handlers, lets the turn of the query processor answer what they have queued, and sends. So
 * an idle server answers at once, and what comes while a batch is computed is the next batch. */
#ifndef KITH_SERVER_HTTP_HTTP_H
#define KITH_SERVER_HTTP_HTTP_H

#include "http/route.h"

typedef struct ks_http_options {
    const char *address;     /* numeric, or "localhost" */
    uint16_t port;           /* 0: any; ks_http_port() tells */
    int socket;              /* listening already (socket activation), or -1 */
    unsigned loops;          /* threads; 0: 1 */
    const char *certificate; /* PEM files, whose names live as long as the server; NULL: no TLS */
    const char *private_key;
    size_t connections_max; /* 0: 10,000 more are refused with 503 */
    size_t body_max;        /* 0: 64 MiB; larger ones are 413 */
    size_t bodies_max;      /* bytes of all bodies at once; 0: 512 MiB; beyond, 503 */
    size_t replies_max; /* bytes of replies that clients have not taken yet; 0: 512 MiB; beyond, 503 for long ones */
    uint64_t idle_ms;   /* that a connection may be silent; 0: 60,000 */
    uint64_t
        request_ms; /* that a request may take to come, 408, and again so long as its body comes at 64 KB a second or
                             * more; 0: 15,000 */
    uint64_t answer_ms; /* from arrival to deadline_ns; 0: 10,000 */
    void *app;          /* becomes call->app */
    const ks_router *router;
    /* Who asks: sets call->key and returns 0, or 401 or 403 and has written the reply. The route is known. */
    int (*authenticate)(ks_call *call);
    /* One turn of what was queued by handlers of this loop: NULL, or returns in how many nanoseconds it wants another,
     * 0 now, UINT64_MAX not until something comes. */
    uint64_t (*turn)(void *app, unsigned loop);
    /* NULL, or told when a call is over, by the loop's thread: for metrics and the log. call->route is NULL where none
     * was found, and the status 499 where the client went before its answer. */
    void (*observe)(const ks_call *call, uint64_t total_ns, size_t sent_bytes);
} ks_http_options;

typedef struct ks_http ks_http;

typedef struct ks_http_state {
    uint64_t connections, requests, refused; /* open now; so far; connections and bodies refused for want of room */
    uint64_t body_bytes;                     /* held now */
} ks_http_state;

kith_status ks_http_start(const ks_http_options *options, ks_http **http, kith_error *error);
uint16_t ks_http_port(const ks_http *http);
void ks_http_state_of(const ks_http *http, ks_http_state *state);
/* Read certificate and key again, for connections that come from now on; what cannot be used changes nothing. By one
 * thread at a time. KITH_OK without TLS, too. */
kith_status ks_http_renew(ks_http *http, kith_error *error);
/* Wake a loop, so that its turn comes. Any thread. */
void ks_http_wake(ks_http *http, unsigned loop);
/* Take no more connections (the port is free at once), say "Connection: close" in replies, and wait until all calls are
 * answered or the time is up; then stop. Whether all were answered. */
int ks_http_drain(ks_http *http, uint64_t limit_ms);
/* Only after threads that end calls, or say that there is more of them, have ended. NULL is fine. */
void ks_http_stop(ks_http *http);

#endif

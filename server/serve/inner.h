/* SPDX-License-Identifier: Apache-2.0
 *
 * What serve's files share. */
#ifndef KITH_SERVER_SERVE_INNER_H
#define KITH_SERVER_SERVE_INNER_H

#include <stdatomic.h>

#include "app.h"
#include "serve/serve.h"
#include "watch/watch.h"

enum { KS_FAMILIES = 4, KS_URL_BYTES = 96, KS_LACKS_BYTES = 128, KS_ADDRESS_BYTES = 48 };

/* Keys that were read anew: those before live on, since calls may still point to them. */
typedef struct ks_retired {
    struct ks_retired *next;
    ks_keys *keys;
} ks_retired;

typedef struct ks_serve_state {
    ks_app app; /* first: call->app is both */
    ks_serve_options options;
    ks_family families[KS_FAMILIES];
    ks_router *router;
    kith_pool *pool;
    _Atomic(ks_keys *) keys;
    ks_retired *retired;
    char url[KS_URL_BYTES];
    char lacks_files[KS_LACKS_BYTES], lacks_calls[KS_LACKS_BYTES]; /* why the process is not confined; "": it is */
} ks_serve_state;

/* families.c: all families of routes; how many. */
size_t ks_serve_families(ks_family families[KS_FAMILIES]);

/* front.c: a server that forwards (serve.h, backends). */
int ks_serve_is_front(const ks_serve_options *options);
size_t ks_serve_front_families(ks_family families[KS_FAMILIES]);
kith_status ks_serve_open_front(ks_serve_state *state, kith_error *error);
void ks_serve_reload_front(ks_serve_state *state);
size_t ks_serve_front_count(const ks_serve_state *state);

/* admission.c */
int ks_serve_authenticate(ks_call *call);
/* Whether what is asked for may be reached from other machines only in safety; socket: -1, or one that listens. */
kith_status ks_serve_is_safe(const ks_serve_options *options, int socket, kith_error *error);

/* Where a socket listens, in numbers; 0: not at an address of the internet. */
int ks_serve_address_of(int socket, char text[KS_ADDRESS_BYTES], unsigned *port);

/* service.c: the system's service manager. */
void ks_serve_notify(const char *what);
/* The socket that it hands over, in *socket; -1: none. */
kith_status ks_serve_activated(int *socket, kith_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What handlers share: call->app is one of these. */
#ifndef KITH_SERVER_APP_H
#define KITH_SERVER_APP_H

#include "http/http.h"
#include "keys/keys.h"
#include "run/run.h"
#include "shelf/shelf.h"

typedef struct ks_limits {
    size_t k_max;          /* 1,024 unless said */
    size_t queries_max;    /* of one call; 1,024 */
    size_t points_max;     /* of one call; 100,000 */
    unsigned filter_depth; /* 32 */
    double target_recall;  /* of searches that name none; 0.95 */
} ks_limits;

typedef struct ks_app {
    ks_shelf *shelf;
    ks_run *run;
    struct ks_watch *watch; /* watch/watch.h */
    const ks_keys *keys;
    ks_http *http;
    struct ks_fleet *fleet; /* fleet/fleet.h; NULL: this server answers by itself */
    ks_limits limits;
    const char *public_url; /* how people reach it, for texts: "http://127.0.0.1:6333" */
    uint64_t started_ms;    /* since 1970 */
    int read_only;
} ks_app;

static inline ks_app *ks_app_of(const ks_call *call) {
    return call->app;
}

#endif

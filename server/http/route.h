/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes: which handler a method and a path lead to. Families of routes (native, qdrant, page, watch) each show one
 * array. */
#ifndef KITH_SERVER_HTTP_ROUTE_H
#define KITH_SERVER_HTTP_ROUTE_H

#include "http/call.h"

typedef enum ks_role {
    KS_NOBODY = 0, /* needs no key: liveness, the page's own files */
    KS_READ,
    KS_WRITE,
    KS_ADMIN
} ks_role;

typedef struct ks_route {
    ks_method method;
    const char *pattern; /* "/v1/collections/{}/query": a {} is one part of the path */
    ks_role role;        /* that the key must have at least */
    const char *op;      /* what metrics and the log call it: "query" */
    void (*handle)(ks_call *call);
} ks_route;

typedef struct ks_family {
    const char *prefix; /* of paths whose errors, also "no such route", it writes: "/v1"; "" is the last resort */
    ks_fail_fn *fail;
    const ks_route *routes;
    size_t count;
} ks_family;

typedef struct ks_router ks_router;

/* The families' arrays must live as long as it. */
kith_status ks_router_create(const ks_family *families, size_t count, ks_router **router, kith_error *error);
void ks_router_destroy(ks_router *router);

/* Find the route of call->method and call->path: sets route, parts and fail. 200; 404; 405, and reply.allow is set; 400
 * (the path is not what a path may be). */
int ks_router_find(const ks_router *router, ks_call *call);

#endif

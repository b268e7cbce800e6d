/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith serve`: opens what is served, starts the parts, and ends them when it is told to. */
#ifndef KITH_SERVER_SERVE_SERVE_H
#define KITH_SERVER_SERVE_SERVE_H

#include "kith.h"

enum { KS_PORT = 6333 };

typedef struct ks_serve_options {
    const char *path;    /* a collection's folder, or one of many */
    const char *address; /* NULL: 127.0.0.1 */
    int port;            /* 0: any that is free; it is printed */
    unsigned loops;      /* threads that answer; 0: 1 */
    unsigned workers;    /* threads for what blocks; 0: 4 */
    const char *keys_path;
    const char *certificate, *private_key; /* PEM files */
    int insecure;                          /* non-zero: a public address without keys or TLS */
    int read_only;
    int create; /* non-zero: make the folder when it is not there */
    kith_durability durability;
    uint64_t cache_bytes;             /* of each collection */
    uint64_t resident_bytes;          /* of each collection: copies of graphs */
    size_t body_max, connections_max; /* 0: as ks_http_options */
    uint64_t budget_ns;               /* 0: as ks_run_options */
    double recall_share;              /* of searches that are checked exactly */
    double target_recall;             /* of searches that name none */
    int log_json, log_level;          /* ks_log_level */
    uint64_t drain_ms;                /* that calls may take to end; 0: 30,000 */
    int unconfined;                   /* non-zero: neither Landlock nor seccomp */
    int reserved;                     /* 0 */
    /* A front: it forwards to backends and has no collections of its own; path is NULL then. */
    const char *backends, *backends_path; /* a list, or a file with one, read again at SIGHUP */
    const char *write_to;                 /* the backend that writes go to; NULL: none, when there are several */
    int policy;                           /* ks_policy */
    double retry_share, hedge_share;      /* of calls; 0: as ks_fleet_options; below 0: none */
} ks_serve_options;

/* Serve until SIGTERM or SIGINT, which end what is there in order; a second one kills. SIGHUP reads keys and
 * certificate again. Prints one line on stdout when it listens. KITH_OK after a signal; KITH_E_ARG (an address, or a
 * public one that is not safe), KITH_E_BUSY (the port is taken, or a collection is written by another process), and
 * what the parts fail with. */
kith_status ks_serve(const ks_serve_options *options, kith_error *error);

/* A new key: its secret, and its line of the file of keys as JSON text, the caller's to free. With path: the file gets
 * it too, as a whole or not at all, and is made when it is not there. */
typedef struct ks_new_key {
    const char *name, *role; /* "read", "write", "admin" */
    const char *segment;     /* NULL: all */
    const char *collection;  /* NULL: all */
    const char *path;        /* NULL: none */
} ks_new_key;
enum { KS_NEW_SECRET_BYTES = 52 };
kith_status ks_serve_key(const ks_new_key *key, char secret[KS_NEW_SECRET_BYTES], char **line, kith_error *error);

#endif

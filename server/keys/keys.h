/* SPDX-License-Identifier: Apache-2.0
 *
 * API keys: who may do what. The file has a SHA-256 of each key, never the key:
 *
 *     {"keys": [{"name": "shop-web", "sha256": "<64 hex digits>", "role": "read", "segment": "tenant-7",
 *                "collections": ["shop"], "share": 1}]}
 *
 * Keys are random and long, so a fast hash is enough; all of them are compared, in constant time. */
#ifndef KITH_SERVER_KEYS_KEYS_H
#define KITH_SERVER_KEYS_KEYS_H

#include "http/route.h"

struct ks_key {
    const char *name; /* for the log */
    ks_role role;
    const char *segment;            /* that every search, read and write of it is bound to; NULL: all */
    const char *const *collections; /* that it may name; NULL: all */
    size_t collection_count;
    double share;    /* of a busy server, relative to the other keys'; 1 unless said */
    unsigned number; /* 0 and up: place in the queue's accounts */
};

typedef struct ks_keys ks_keys;

enum { KS_KEYS_MAX = 4096 };

/* Read a file of keys, which must not be readable by everybody. KITH_E_DATA names what is wrong with it. */
kith_status ks_keys_read(const char *path, ks_keys **keys, kith_error *error);
/* One key without a name that may do all: for a server that only this machine reaches. */
kith_status ks_keys_open(ks_keys **keys, kith_error *error);
void ks_keys_destroy(ks_keys *keys);
size_t ks_keys_count(const ks_keys *keys);

/* Whose this secret is; NULL: nobody's. secret NULL: what may be done without one, NULL where keys are asked for. */
const ks_key *ks_keys_find(const ks_keys *keys, const char *secret);
/* The secret of a call: "Authorization: Bearer ...", "api-key" or "X-API-Key". NULL: none. */
const char *ks_keys_secret(const ks_call *call);
int ks_key_may_name(const ks_key *key, const char *collection);

/* A new secret of 256 random bits as text, and the line of the file that allows it. */
enum { KS_SECRET_BYTES = 52 };
kith_status ks_key_make(char secret[KS_SECRET_BYTES], char sha256[65], kith_error *error);

#endif

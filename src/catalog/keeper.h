/* SPDX-License-Identifier: Apache-2.0
 *
 * What a keeper of catalogs offers (inner): a struct of functions. catalog.c and reading.c check what callers hand
 * over, hold the rules G1..G3 and know which thread reads through what; a keeper stores and finds.
 *
 * K1. One thread at a time is between begin and the end of commit or rollback; only it calls the changes.
 * K2. A *reading* is one way to read: it is used by one thread at a time. Between reading_start for several reads and
 *     reading_stop it shows one state: KI_READ_SEVERAL that of the start, KI_READ_FEW that of the first read or of the
 *     start. Else each read by itself shows one, and so do reads inside of a scan.
 * K3. The reading that `own` gives belongs to the changing thread and shows its own changes. It is never started.
 * K4. Names and bodies were checked: no NULL with bytes, nothing larger than KI_CATALOG_BODY_MAX. */
#ifndef KI_CATALOG_KEEPER_H
#define KI_CATALOG_KEEPER_H

#include "catalog/catalog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

typedef enum ki_numbered { KI_LOG, KI_SEGMENTS, KI_NUMBERED_TABLES } ki_numbered;

/* Settings are records of this kind, which callers' kinds of 32 bits never are. */
#define KI_KIND_SETTING INT64_C(-1)

typedef enum ki_reading_kind { KI_READ_ONE, KI_READ_SCAN, KI_READ_SEVERAL, KI_READ_FEW } ki_reading_kind;

typedef struct ki_reading {
    struct ki_reading *next;
    pthread_t thread; /* that it was lent to */
    unsigned depth;   /* how often */
    _Atomic uint64_t memory_bytes;
} ki_reading;

typedef struct ki_keeper {
    void (*close)(void *self);

    kith_status (*begin)(void *self, kith_error *error);
    /* Ends the transaction, however it comes out. *unknown: what the disk holds is not known (G1). */
    kith_status (*commit)(void *self, int *unknown, kith_error *error);
    void (*rollback)(void *self);
    kith_status (*put_item)(void *self, const ki_catalog_item *item, kith_error *error);
    kith_status (*remove_item)(void *self, uint64_t key, kith_error *error);
    kith_status (*put_numbered)(void *self, ki_numbered table, uint64_t number, ki_bytes body, kith_error *error);
    kith_status (*remove_numbered)(void *self, ki_numbered table, uint64_t first, uint64_t last, kith_error *error);
    kith_status (*put_named)(void *self, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error);
    kith_status (*remove_named)(void *self, int64_t kind, ki_bytes name, kith_error *error);

    /* Commits that only `own` shows yet. By a thread that has the lock: make sure that it does (a fault may have undone
     * them there), and show them to all readings. */
    uint64_t (*pending)(void *self);
    kith_status (*settle)(void *self, kith_error *error);
    kith_status (*publish)(void *self, kith_error *error);

    ki_reading *(*own)(void *self);
    kith_status (*reading_create)(void *self, ki_reading **reading, kith_error *error);
    void (*reading_destroy)(ki_reading *reading);
    kith_status (*reading_start)(ki_reading *reading, ki_reading_kind kind, kith_error *error);
    void (*reading_stop)(ki_reading *reading);

    /* KITH_E_NOTFOUND without a text where it says so in catalog.h. */
    kith_status (*get_item)(ki_reading *reading, uint64_t key, ki_found *found, kith_error *error);
    kith_status (*find_text)(ki_reading *reading, ki_bytes text, uint64_t *key, kith_error *error);
    kith_status (*get_named)(ki_reading *reading, int64_t kind, ki_bytes name, ki_found *found, kith_error *error);
    kith_status (*scan_items)(ki_reading *reading, uint64_t first, ki_catalog_item_fn fn, void *context,
                              kith_error *error);
    kith_status (*scan_expired)(ki_reading *reading, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                kith_error *error);
    kith_status (*next_expiry)(ki_reading *reading, uint64_t *expires_ms, kith_error *error);
    kith_status (*scan_numbered)(ki_reading *reading, ki_numbered table, uint64_t first, ki_catalog_body_fn fn,
                                 void *context, kith_error *error);
    kith_status (*scan_named)(ki_reading *reading, int64_t kind, ki_catalog_record_fn fn, void *context,
                              kith_error *error);

    kith_status (*stamp)(void *self, uint64_t *stamp, kith_error *error);
    kith_status (*sync)(void *self, kith_error *error);
    /* With a reading that was started for several reads. */
    kith_status (*copy)(void *self, ki_reading *reading, const char *path, kith_error *error);
    kith_status (*check)(ki_reading *reading, kith_progress_fn progress, void *progress_context, kith_error *error);
    /* Takes ki_catalog_lock where nobody may change meanwhile. */
    kith_status (*tidy)(void *self, ki_catalog *catalog, kith_error *error);
    /* Readings not counted. */
    void (*sizes)(void *self, uint64_t *disk_bytes, uint64_t *memory_bytes);
} ki_keeper;

struct ki_catalog {
    const ki_keeper *keeper;
    void *self; /* the keeper's own */
    pid_t process;
    unsigned char *mark; /* a page that is not 0 here, and 0 in a child of fork(); NULL: ask for the process's number */
    int read_only;

    pthread_mutex_t mutex; /* guards all that follows; held for moments */
    pthread_cond_t ended;  /* nobody changes any more */
    int changing;
    pthread_t changer;
    unsigned borrowed;    /* the lock is a reader's, who reads what is pending: how often it has entered */
    kith_status failed;   /* of the transaction that is open, or KITH_OK */
    kith_status poisoned; /* KITH_OK, or why there are no more changes */
    ki_reading *lent, *spare;
    size_t spares;
    char failure[KITH_ERROR_TEXT_BYTES]; /* of `failed` or `poisoned` */
};

/* A catalog around a keeper; on failure the caller still has it to close. */
kith_status ki_catalog_make(const ki_keeper *keeper, void *self, int read_only, ki_catalog **catalog,
                            kith_error *error);

/* This is the process that opened it, no child of that one. Costs no system call. */
int ki_catalog_here(const ki_catalog *catalog);
/* KITH_E_ARG: NULL, or this is a child of the process that opened it. */
kith_status ki_catalog_usable(const ki_catalog *catalog, kith_error *error);
/* Between these no other thread changes anything; not for a thread that does. */
kith_status ki_catalog_lock(ki_catalog *catalog, kith_error *error);
void ki_catalog_unlock(ki_catalog *catalog);

/* The calling thread is between begin and the end of commit. */
int ki_catalog_is_changer(ki_catalog *catalog);
/* No more changes, for this reason. By a thread that has the lock. */
void ki_catalog_poison(ki_catalog *catalog, kith_status status, const kith_error *reason);

/* reading.c: the calling thread's way to read: its own changes, what it has begun, or another one until leave. */
kith_status ki_reading_enter(ki_catalog *catalog, ki_reading_kind kind, ki_reading **reading, kith_error *error);
void ki_reading_leave(ki_catalog *catalog, ki_reading *reading);
void ki_reading_close_all(ki_catalog *catalog);

/* Room in found->memory for `bytes`, NULL: refused. */
char *ki_found_room(ki_found *found, uint64_t bytes);

#endif

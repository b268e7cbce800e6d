/* SPDX-License-Identifier: Apache-2.0
 *
 * The shelf: the collections that are served, by name. It is one collection's folder, which has that folder's name, or
 * a folder of them, where collections are made and dropped too.
 *
 * A name is 1..64 bytes of UTF-8 without control characters, "/" and "\\", not "." or ".."; a folder's name is the
 * collection's where that fits [a-z0-9][a-z0-9_-]*, and otherwise "=" and its bytes in hex. Folders are opened beneath
 * the shelf's own (openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS where the system has it).
 *
 * Whoever works with a collection borrows it; one that is dropped goes from the shelf at once and from the disk when
 * all have given it back. */
#ifndef KITH_SERVER_SHELF_SHELF_H
#define KITH_SERVER_SHELF_SHELF_H

#include "kith.h"

enum { KS_NAME_MAX = 64 };

typedef struct ks_shelf ks_shelf;

/* A collection that is borrowed. All is constant while it is. */
typedef struct ks_shop {
    const char *name;
    kith_collection *collection;
    kith_id_kind id_kind;
    size_t vector_count;       /* named vectors; specs: kith_collection_vector() */
    const char *segment_field; /* "" without */
    unsigned number;           /* never used again: for metrics and queues */
} ks_shop;

typedef struct ks_shelf_options {
    int read_only;
    kith_durability durability;
    uint64_t cache_bytes; /* of each collection */
    uint64_t head_bytes;
    uint64_t resident_bytes; /* of each collection: kith_collection_open_options */
    kith_pool *pool;         /* borrowed */
} ks_shelf_options;

/* Open all that lies there. A collection that cannot be opened is told to `trouble` and left out; that nothing is there
 * is fine where the folder may have more. KITH_E_NOTFOUND, KITH_E_IO, KITH_E_BUSY, KITH_E_NOMEM. */
kith_status ks_shelf_open(const char *path, const ks_shelf_options *options,
                          void (*trouble)(void *context, const char *name, const kith_error *error), void *context,
                          ks_shelf **shelf, kith_error *error);
void ks_shelf_close(ks_shelf *shelf);       /* all must have been given back */
int ks_shelf_is_one(const ks_shelf *shelf); /* it is one collection's folder: nothing is made or dropped */

/* By name or alias. KITH_E_NOTFOUND. Any thread, quick. */
kith_status ks_shelf_borrow(ks_shelf *shelf, const char *name, ks_shop **shop, kith_error *error);
void ks_shelf_return(ks_shelf *shelf, ks_shop *shop); /* NULL is fine */
/* The one at a place, in the order of names; NULL behind the last. Borrowed. */
ks_shop *ks_shelf_at(ks_shelf *shelf, size_t place);

/* KITH_E_ARG (a name that is none, options), KITH_E_BUSY (it is there, or the shelf is one collection's). They may take
 * milliseconds: on a worker. */
kith_status ks_shelf_create(ks_shelf *shelf, const char *name, const kith_collection_options *options,
                            kith_error *error);
kith_status ks_shelf_drop(ks_shelf *shelf, const char *name, kith_error *error);

/* Aliases, durable: another name of a collection. KITH_E_NOTFOUND, KITH_E_BUSY (a collection's name). All changes of a
 * call, or none. */
typedef struct ks_alias {
    const char *alias, *collection; /* collection NULL: the alias goes */
} ks_alias;
kith_status ks_shelf_alias(ks_shelf *shelf, const ks_alias *changes, size_t count, kith_error *error);
/* The alias at a place, in the order of aliases: 1 and both are copied (KS_NAME_MAX + 1 bytes); 0 behind the last. */
int ks_shelf_alias_at(ks_shelf *shelf, size_t place, char *alias, char *collection);

/* What a client family keeps about a collection besides (what Qdrant's client said when it made it): a small text,
 * whole or not at all. Read: *text is the caller's to free, NULL when nothing was kept. */
kith_status ks_shelf_keep(ks_shelf *shelf, const ks_shop *shop, const char *what, const char *text, size_t bytes,
                          kith_error *error);
kith_status ks_shelf_kept(ks_shelf *shelf, const ks_shop *shop, const char *what, char **text, size_t *bytes,
                          kith_error *error);

/* The folder of snapshots of a collection, made when it is not there, as an absolute path that is the caller's to
 * free. */
kith_status ks_shelf_snapshots(ks_shelf *shelf, const ks_shop *shop, char **path, kith_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The tail of a relaxed catalog (inner): the newest commits, which SQLite has not committed yet.
 *
 * A transaction of SQLite costs a dozen system calls, however small it is. Where nobody waits for the disk
 * (KITH_DURABILITY_RELAXED) that is most of a small commit. So its changes are made in SQLite's open transaction, and
 * written as one record to the file `<path>-tail`; SQLite commits when enough have come together, or somebody wants to
 * see them.
 *
 *   record   sum, sequence, bytes of the changes, each eight bytes; changes
 *   change   what, table, three numbers, bytes of two texts, each eight bytes; the texts
 *
 * A1. SQLite's transaction also writes the mark: the sequence of the last commit that is in it, and a salt, which is
 *     new with each opening. A record is valid if its sum, seeded with the salt, is right and its sequence is one more
 *     than that of the one before it, the mark being before the first. What is behind is of an earlier round, or torn.
 * A2. So what a killed process had committed is the file and the valid records. After a crash of the machine, which may
 *     have lost what SQLite wrote last and kept the records behind that, those do not follow the mark and are left out:
 *     no commit is there without those before it.
 * A3. Changing, committing and what the tail holds are the changer's (catalog lock). `pending` is for any thread. */
#ifndef KI_CATALOG_TAIL_H
#define KI_CATALOG_TAIL_H

#include "catalog/catalog.h"

#include <sqlite3.h>
#include <stdatomic.h>

typedef enum ki_change_kind {
    KI_CHANGE_PUT_ITEM = 1,
    KI_CHANGE_REMOVE_ITEM,
    KI_CHANGE_PUT_NUMBERED,
    KI_CHANGE_REMOVE_NUMBERED,
    KI_CHANGE_PUT_NAMED,
    KI_CHANGE_REMOVE_NAMED
} ki_change_kind;

typedef struct ki_change {
    ki_change_kind what;
    uint64_t table, a, b, c;
    ki_bytes name, body;
} ki_change;

typedef struct ki_tail {
    sqlite3_file *file; /* NULL: there is none, each commit is SQLite's */
    char *path;
    uint64_t salt, applied, sequence; /* of the mark; the last commit */
    uint64_t end;                     /* bytes of valid records */
    uint64_t since_ns;                /* when the first of them was written */
    int lost;                         /* SQLite's transaction is gone, and the records are to be done again */
    int broken;                       /* the transaction that was begun is gone, and what is open is not it */
    void *record;                     /* of the transaction that is open */
    size_t capacity, bytes;           /* bytes 0: nothing was changed */
    int too_large;                    /* it was: SQLite commits at once */
    _Atomic uint64_t pending;         /* commits that only the tail has */
} ki_tail;

#endif

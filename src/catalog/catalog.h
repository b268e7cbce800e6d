/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalog of a collection: all that must outlive the process and is no segment file. It keeps bytes under keys and
 * a few numbers; what they mean is known to src/collection. An interface with two keepers:
 *
 *   ki_catalog_open_sqlite   a file, SQLite in WAL mode: one writer and any number of readers, also other processes
 *   ki_catalog_open_memory   memory alone: for tests, and for hosts that keep the data themselves
 *
 * What it holds:
 *
 *   settings   name -> bytes                 how the collection was made; generations, declared fields, numbers
 *   items      key -> id text, version, expiry, payload      what an item is besides its vectors
 *   log        sequence -> bytes             the writes that are in no segment yet
 *   segments   number -> bytes               the live segments
 *   records    (kind, name) -> bytes         profiles and what else comes
 *
 * G1. Changes are made between begin and commit, by one thread at a time; another one's begin waits. A commit that
 *     returns KITH_OK is durable as `durability` says (KITH_DURABILITY_RELAXED: it survives the process, and a crash of
 *     the machine may take the last ones, never a middle one; ki_catalog_sync makes them durable). A change that fails
 *     undoes all since begin: what follows fails with the same status until rollback. A commit that fails ends the
 *     transaction and leaves everything as before, and the catalog refuses further changes until it is opened again
 *     (KITH_E_IO), because what the disk holds is unknown.
 * G2. KITH_E_NOSPACE, KITH_E_BUSY and KITH_E_NOMEM do not poison: the next begin may succeed.
 * G3. Reads see what was committed, and between begin and commit the writing thread's own changes, if it reads through
 *     the same ki_catalog. Any thread may read at any time; a scan sees one state.
 *     With KITH_DURABILITY_RELAXED and `gather` small commits are gathered (tail.h). Readers in this process see them
 *     at once, but may wait for a transaction that is open: who is between begin and commit waits for nobody who reads.
 *     Other processes see them after some 20 ms of further commits, or a ki_catalog_sync, which the owner calls every
 *     tenth of a second; and what a killed process committed last, when somebody has opened it for writing.
 * G4. Keys are u64 and scans ascend by them as u64, whatever SQLite thinks of the upper half.
 * G5. Every blob that is read has a checksum beside it that was compared: KITH_E_CORRUPT names table and key.
 * G6. Who writes a read-only catalog, and a change outside of begin and commit, gets KITH_E_ARG. After a fork() the
 *     child may do nothing with a catalog but close it, which then closes no files. */
#ifndef KI_CATALOG_CATALOG_H
#define KI_CATALOG_CATALOG_H

#include "kith.h"

typedef struct ki_catalog ki_catalog;

/* Bytes of one body or payload; names and ids of items: KITH_STRING_MAX. KITH_E_LIMIT beyond. */
#define KI_CATALOG_BODY_MAX ((size_t)512 << 20)

typedef struct ki_catalog_options {
    int create;    /* make it; KITH_E_BUSY: there is one already */
    int read_only; /* changes are KITH_E_ARG; also of one that another process writes */
    kith_durability durability;
    int gather; /* with KITH_DURABILITY_RELAXED: gather small commits (G3); for who calls ki_catalog_sync regularly */
    const char *vfs; /* SQLite's name of the file system, NULL: the usual one (tests) */
} ki_catalog_options;

/* KITH_E_NOTFOUND, KITH_E_BUSY, KITH_E_CORRUPT (no catalog of kith, or damaged), KITH_E_VERSION (of a newer kith),
 * KITH_E_IO, KITH_E_NOMEM. */
kith_status ki_catalog_open_sqlite(const char *path, const ki_catalog_options *options, ki_catalog **catalog,
                                   kith_error *error);
kith_status ki_catalog_open_memory(ki_catalog **catalog, kith_error *error);
void ki_catalog_close(ki_catalog *catalog); /* what is not committed is undone; NULL is fine */

typedef struct ki_bytes {
    const void *data;
    size_t bytes;
} ki_bytes;

typedef struct ki_catalog_item {
    uint64_t key, version;
    uint64_t expires_ms; /* 0: never; at most INT64_MAX */
    ki_bytes text;       /* the string id; bytes 0 with numbers */
    ki_bytes payload;    /* bytes 0: none */
} ki_catalog_item;

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

kith_status ki_catalog_begin(ki_catalog *catalog, kith_error *error);
kith_status ki_catalog_commit(ki_catalog *catalog, kith_error *error);
void ki_catalog_rollback(ki_catalog *catalog);

kith_status ki_catalog_put_setting(ki_catalog *catalog, const char *name, ki_bytes value, kith_error *error);
/* Insert or replace. KITH_E_ARG: another key has this id. */
kith_status ki_catalog_put_item(ki_catalog *catalog, const ki_catalog_item *item, kith_error *error);
/* Fine when it is not there. */
kith_status ki_catalog_remove_item(ki_catalog *catalog, uint64_t key, kith_error *error);
/* Sequences ascend, gaps are allowed. KITH_E_ARG: there is one with this number. */
kith_status ki_catalog_append_log(ki_catalog *catalog, uint64_t sequence, ki_bytes body, kith_error *error);
/* Remove all up to and with `sequence`. */
kith_status ki_catalog_drop_log(ki_catalog *catalog, uint64_t sequence, kith_error *error);
/* Insert or replace. */
kith_status ki_catalog_put_segment(ki_catalog *catalog, uint64_t number, ki_bytes body, kith_error *error);
kith_status ki_catalog_remove_segment(ki_catalog *catalog, uint64_t number, kith_error *error);
kith_status ki_catalog_put_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, ki_bytes body, kith_error *error);
kith_status ki_catalog_remove_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, kith_error *error);

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

/* What a read found: memory that is kept from read to read, freed by ki_found_free. */
typedef struct ki_found {
    ki_catalog_item item; /* points into memory */
    ki_bytes body;
    void *memory;
    size_t capacity;
} ki_found;
void ki_found_free(ki_found *found); /* {0} is fine */

/* KITH_E_NOTFOUND without an error text: that is an answer. */
kith_status ki_catalog_get_setting(ki_catalog *catalog, const char *name, ki_found *found, kith_error *error);
kith_status ki_catalog_get_item(ki_catalog *catalog, uint64_t key, ki_found *found, kith_error *error);
/* The key of a string id. KITH_E_NOTFOUND likewise. */
kith_status ki_catalog_find_text(ki_catalog *catalog, ki_bytes text, uint64_t *key, kith_error *error);
kith_status ki_catalog_get_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, ki_found *found,
                                  kith_error *error);

/* Called for each row in order; what it is given lives for the call. A status other than KITH_OK ends the scan and is
 * returned. It may read the catalog, not change it. */
typedef kith_status (*ki_catalog_item_fn)(void *context, const ki_catalog_item *item, kith_error *error);
typedef kith_status (*ki_catalog_body_fn)(void *context, uint64_t number, ki_bytes body, kith_error *error);
typedef kith_status (*ki_catalog_record_fn)(void *context, ki_bytes name, ki_bytes body, kith_error *error);

/* Items with keys from `first` on, ascending. */
kith_status ki_catalog_scan_items(ki_catalog *catalog, uint64_t first, ki_catalog_item_fn fn, void *context,
                                  kith_error *error);
/* Items that expire at or before now_ms, by expiry; found through an index. payload is left out. */
kith_status ki_catalog_scan_expired(ki_catalog *catalog, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                    kith_error *error);
/* The least expiry that is not 0; 0: nothing expires. */
kith_status ki_catalog_next_expiry(ki_catalog *catalog, uint64_t *expires_ms, kith_error *error);
/* The log beyond `after`, and the segments, by ascending number. */
kith_status ki_catalog_scan_log(ki_catalog *catalog, uint64_t after, ki_catalog_body_fn fn, void *context,
                                kith_error *error);
kith_status ki_catalog_scan_segments(ki_catalog *catalog, ki_catalog_body_fn fn, void *context, kith_error *error);
kith_status ki_catalog_scan_records(ki_catalog *catalog, uint32_t kind, ki_catalog_record_fn fn, void *context,
                                    kith_error *error);
/* Begin and end one state for several reads of this thread: settings, segments and log that belong together. Cheap. */
kith_status ki_catalog_read_begin(ki_catalog *catalog, kith_error *error);
/* The same for about so many rows that are read one by one, as cheap as it can be: where commits are gathered (G3) and
 * the rows are few, whoever begins a change waits until the end. So between the two this thread only reads. */
kith_status ki_catalog_read_rows(ki_catalog *catalog, uint64_t rows, kith_error *error);
void ki_catalog_read_end(ki_catalog *catalog);
/* A number that differs whenever a change was committed since, by whomever. Cheap: no table is read. */
kith_status ki_catalog_stamp(ki_catalog *catalog, uint64_t *stamp, kith_error *error);
/* Make what was committed durable, as KITH_DURABILITY_FULL does by itself. Any thread; commits go on. */
kith_status ki_catalog_sync(ki_catalog *catalog, kith_error *error);

/* ---- Keeping ----------------------------------------------------------------------------------------------------- */

/* A consistent copy under another path, which must not exist; writers go on meanwhile. */
kith_status ki_catalog_copy(ki_catalog *catalog, const char *path, kith_error *error);
/* Every page, row and checksum. KITH_E_CORRUPT says what and where. */
kith_status ki_catalog_check(ki_catalog *catalog, kith_progress_fn progress, void *progress_context, kith_error *error);
/* Move the write-ahead log into the file, while others read and write. Where much of the file is free (a quarter, and
 * 16 MiB), write it anew and give that back: the next begin waits for it meanwhile. */
kith_status ki_catalog_tidy(ki_catalog *catalog, kith_error *error);
/* Bytes on disk, with the write-ahead log; bytes in memory. */
void ki_catalog_sizes(ki_catalog *catalog, uint64_t *disk_bytes, uint64_t *memory_bytes);

#endif

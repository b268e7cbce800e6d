/* SPDX-License-Identifier: Apache-2.0
 *
 * A sealed segment of a collection: a folder `segments/<number>` with a table of its rows and, for each named vector
 * that any row has, an index file whose ids are the rows' keys.
 *
 * L1. Files are immutable and were synced and read back before the catalog named them. A later declaration writes
 *     another table beside the old one.
 * L2. Rows are numbered by ascending key (table/table.h); an index has its own positions. Which rows live is no property
 *     of the segment but of a snapshot.
 * L3. Who holds a reference may read. When the last one lets go of a segment that was retired, its files are removed.
 *
 * Constant once open, but for the free scratches: any thread. */
#ifndef KI_COLLECTION_SEALED_H
#define KI_COLLECTION_SEALED_H

#include "collection/bits.h"
#include "index/index.h"
#include "table/table.h"

#include <pthread.h>

typedef struct ki_sealed_scratch ki_sealed_scratch; /* inner: a kith_scratch that is free for now */

typedef struct ki_sealed {
    _Atomic uint64_t references;
    atomic_int retired;
    uint64_t number, generation;
    char *folder;
    ki_table *table;
    char *table_name; /* of its file in the folder */
    size_t specs;
    kith_index **index; /* one a name; NULL: no row has it */
    uint64_t disk_bytes;
    pthread_mutex_t mutex; /* guards `free` */
    ki_sealed_scratch *free;
} ki_sealed;

/* What the catalog keeps of a segment, as bytes with a version of their own: files and their sizes and hashes, rows,
 * generation, and the dead rows. */
kith_status ki_sealed_encode(const ki_sealed *sealed, const ki_bits *alive, void **body, size_t *bytes,
                             kith_error *error);
/* Open what the catalog names; *alive: the rows that live. KITH_E_CORRUPT names the file and what differs. */
kith_status ki_sealed_open(const char *segments_folder, uint64_t number, const void *body, size_t bytes, size_t specs,
                           ki_sealed **sealed, ki_bits **alive, kith_error *error);
ki_sealed *ki_sealed_hold(ki_sealed *sealed);
void ki_sealed_release(ki_sealed *sealed); /* NULL is fine */

/* The rows that live as the positions of one index: bits for searches. NULL: no memory. */
ki_bits *ki_sealed_positions(const ki_sealed *sealed, size_t spec, const ki_bits *alive);
/* The position of a key in one index; 0: it is not there. */
int ki_sealed_position(const ki_sealed *sealed, size_t spec, uint64_t key, uint32_t *position);

/* A scratch for searches of one index, made where none is free; pool NULL: the calling thread alone. Give it back. */
kith_status ki_sealed_take(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch **scratch, kith_error *error);
void ki_sealed_give(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch *scratch);

#endif

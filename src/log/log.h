/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: what one write did, as bytes. One body a version; the catalog keeps them until their rows are in segments.
 * It says effects, not wishes: after an update it has the whole item. So applying a body needs nothing but the body,
 * the writer applies its own bodies as a reader or the next opening does, and doing it twice changes nothing.
 *
 *   0   u32 format 1           16  u64 next_key, after this write
 *   4   u32 operations         24  u32 slots (generations.h) that there were
 *   8   u64 version            28  u32 0
 *   32  operations
 *       u64 XXH3-64 of all before it
 *
 *   an item that is put                      an item that is removed
 *   0   u32 1                                0   u32 2
 *   4   u32 text_bytes                       4   u32 0
 *   8   u64 key                              8   u64 key
 *   16  u64 expires_ms
 *   24  u64 present: a bit a slot
 *   32  u32 payload_bytes
 *   36  u32 0
 *   40  text, payload, and zeros up to a multiple of 8
 *       the vectors that are present, in the stored type, each with zeros up to a multiple of 8
 *
 * O1. Every count is bounded before use, and what follows the last operation is the hash and nothing else.
 * O2. A body that ki_log_begin and its like wrote is at most KI_LOG_BYTES_MAX: SQLite keeps no larger ones.
 *
 * One owner at a time. */
#ifndef KI_LOG_LOG_H
#define KI_LOG_LOG_H

#include "state/collection.h"
#include "state/generations.h"

enum { KI_LOG_PUT = 1, KI_LOG_REMOVE = 2 };
#define KI_LOG_BYTES_MAX ((uint64_t)KITH_WRITE_BYTES_MAX + (UINT64_C(64) << 20))

/* One operation; pointers into the body, or the caller's. */
typedef struct ki_log_operation {
    int kind;
    uint64_t key, expires_ms;
    ki_bytes text, payload;
    const void *vector[KITH_VECTORS_MAX]; /* by slot; NULL: the item lacks it */
} ki_log_operation;

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

typedef struct ki_log_body {
    const ki_generations *generations;
    unsigned char *data; /* owned; kept from body to body */
    size_t bytes, capacity;
    uint32_t operations;
} ki_log_body; /* {0}, and generations */

void ki_log_free(ki_log_body *body);
kith_status ki_log_begin(ki_log_body *body, uint64_t version, kith_error *error);
/* KITH_E_LIMIT, KITH_E_NOMEM: the body is as before. */
kith_status ki_log_add(ki_log_body *body, const ki_log_operation *operation, kith_error *error);
kith_status ki_log_end(ki_log_body *body, uint64_t next_key, kith_error *error);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

typedef struct ki_log_head {
    uint64_t version, next_key;
    uint32_t operations;
} ki_log_head;

typedef kith_status (*ki_log_fn)(void *context, const ki_log_head *head, const ki_log_operation *operation,
                                 kith_error *error);

/* Hand on the operations of a body in their order. sequence: under which the catalog has it; path: the collection, for
 * messages. KITH_E_CORRUPT, KITH_E_VERSION, and what fn returns. *head is set before the first call. */
kith_status ki_log_read(const ki_generations *generations, const char *path, uint64_t sequence, ki_bytes body,
                        ki_log_head *head, ki_log_fn fn, void *context, kith_error *error);

#endif

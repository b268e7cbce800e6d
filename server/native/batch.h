/* SPDX-License-Identifier: Apache-2.0
 *
 * Points of bodies, gathered into what one write takes. */
#ifndef KITH_SERVER_NATIVE_BATCH_H
#define KITH_SERVER_NATIVE_BATCH_H

#include "native/inner.h"

typedef struct ks_v1_column {
    kith_vector_spec spec;
    uint32_t generation;
    ks_text rows, present; /* a row and a byte an item, as far as there are any: padded before the write */
} ks_v1_column;

typedef struct ks_v1_batch {
    ks_call *call;
    ks_shop *shop;
    kith_write_mode mode;
    size_t count;
    ks_text ids, id_bytes;  /* u64: the ids, or the ends of strings */
    ks_text payloads, ends; /* u64 ends */
    ks_text expires, versions;
    int has_payload, has_expires, has_versions;
    size_t columns;
    ks_v1_column column[KITH_VECTORS_MAX];
} ks_v1_batch;

/* One that is freed when the call is over. NULL: the call was failed. */
ks_v1_batch *ks_v1_batch_make(ks_call *call, ks_shop *shop, kith_write_mode mode);
/* One more point; where names it in errors: "point 3". Its kind of mistakes that the library does not know are found
 * here: members, types. 0, or -1. */
int ks_v1_batch_add(ks_v1_batch *batch, const json_t *point, const char *where);
void ks_v1_batch_clear(ks_v1_batch *batch); /* keeps the memory */
/* As the library takes it; the arrays live in the batch, `vectors` has room for KITH_VECTORS_MAX. -1: no memory. */
int ks_v1_batch_items(ks_v1_batch *batch, kith_items *items, kith_item_vectors *vectors);

/* Write it under the rights of the key (bound.c where that has a segment). KITH_OK; or the call was failed. */
kith_status ks_v1_batch_write(ks_v1_batch *batch, kith_write_report *report);
kith_status ks_v1_bound_write(ks_v1_batch *batch, const kith_items *items, kith_write_report *report);
kith_status ks_v1_bound_delete(ks_call *call, ks_shop *shop, const kith_ids *ids, const uint64_t *if_version,
                               kith_write_report *report);

int ks_v1_mode(ks_call *call, const char *word, kith_write_mode *mode);

#endif

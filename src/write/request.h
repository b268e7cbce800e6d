/* SPDX-License-Identifier: Apache-2.0
 *
 * A write as a caller asked for it, checked as far as that goes without the collection's state: ids, sizes, UTF-8,
 * vectors in the stored type, payloads. What is borrowed from the caller lives until the call returns, which waits for
 * the commit.
 *
 * Q1. Of an id that is there twice the last item stays; `superseded` marks the others.
 * Q2. Messages name the item by its number and id.
 * Q3. Vectors were brought to the slots of one table of generations. If another one is current by the time of the
 *     commit, the request is `stale`, and made anew: what is written is what the caller meant when it is acknowledged.
 *
 * One owner at a time: the caller, then whoever commits, then the caller again. */
#ifndef KI_WRITE_REQUEST_H
#define KI_WRITE_REQUEST_H

#include "state/collection.h"
#include "state/generations.h"

typedef enum ki_verb {
    KI_VERB_WRITE,
    KI_VERB_REMOVE,
    KI_VERB_REMOVE_WHERE, /* what a filter matches */
    KI_VERB_REMOVE_EXPIRED
} ki_verb;

/* The vectors of one slot: rows in the stored type. */
typedef struct ki_request_vectors {
    const unsigned char *rows; /* NULL: none are given */
    size_t stride;
    const uint8_t *present; /* NULL: all */
    void *owned;            /* rows, where they were converted */
} ki_request_vectors;

typedef struct ki_request ki_request;
struct ki_request {
    ki_verb verb;
    kith_write_mode mode;
    size_t count;
    kith_ids ids;
    const uint64_t *if_version, *expires_ms, *payload_ends;
    const char *payload_bytes;
    const ki_generations *generations;           /* Q3; NULL: no vectors are given */
    ki_request_vectors vector[KITH_VECTORS_MAX]; /* by slot */
    uint8_t *superseded;                         /* NULL: no id is there twice */
    const ki_schema *schema;                     /* that payloads were checked against */
    const char *filter;                          /* REMOVE_WHERE */
    uint64_t bytes;                              /* about: what a batch is bounded by */

    /* The outcome; guarded by the queue (commit.c) */
    kith_status status;
    kith_error error;
    kith_write_report report;
    int done, stale;
    ki_request *next;
};

kith_status ki_request_write(kith_collection *collection, const kith_items *items, kith_write_mode mode,
                             ki_request *request, kith_error *error);
kith_status ki_request_remove(kith_collection *collection, const kith_ids *ids, const uint64_t *if_version,
                              ki_request *request, kith_error *error);
void ki_request_free(ki_request *request); /* also after a failure */

/* Arrays of ids are there and hold what they should. */
kith_status ki_ids_check(const ki_made *made, const kith_ids *ids, kith_error *error);
/* The text of a string id; bytes 0 with numbers. */
ki_bytes ki_ids_text(const kith_ids *ids, size_t item);
/* "item 3 (id 7)", for messages. */
enum { KI_ITEM_TEXT = 128 };
const char *ki_item_text(const kith_ids *ids, size_t item, char text[KI_ITEM_TEXT]);
/* The payload of an item; bytes 0: none is given. */
ki_bytes ki_request_payload(const ki_request *request, size_t item);
/* Its vector of a slot; NULL: none is given. */
const void *ki_request_vector(const ki_request *request, size_t slot, size_t item);

#endif

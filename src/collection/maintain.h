/* SPDX-License-Identifier: Apache-2.0
 *
 * The maintainer, inside: who may do one of the jobs of seal.h, and what is known of it.
 *
 * T1. One job at a time: who does one has claimed the work. A caller that compacts goes before the background thread,
 *     whose job is cancelled.
 * T2. `mutex` is a leaf: nobody who holds it takes another lock.
 * T3. A job that fails is trouble: it is kept as a sentence, and tried again after a pause that doubles. Other kinds of
 *     jobs go on meanwhile. */
#ifndef KI_COLLECTION_MAINTAIN_H
#define KI_COLLECTION_MAINTAIN_H

#include "collection/seal.h"

/* In the order in which they are looked for. */
typedef enum ki_work { KI_WORK_SEAL, KI_WORK_FIELDS, KI_WORK_EXPIRE, KI_WORK_MERGE, KI_WORKS } ki_work;

/* What is known of the failures of one kind of work. */
typedef struct ki_trouble {
    unsigned failures; /* since it last went well */
    uint64_t again_ns; /* not before */
    char text[KITH_ERROR_TEXT_BYTES];
} ki_trouble;

struct ki_maintainer {
    kith_collection *collection;
    pthread_t thread;
    int has_thread;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    int stop, woken, claimed;
    unsigned compacting; /* callers that compact or wait for that */
    const char *work;    /* "" while nobody works; static */
    ki_watch *watched;   /* of who works */
    ki_trouble trouble[KI_WORKS];
    char shown[KITH_ERROR_TEXT_BYTES]; /* what ki_maintain_info lent */
    ki_sealed **buried;
    size_t buried_count, buried_capacity;

    atomic_int dozing; /* the thread sleeps until it is woken: any write wakes it */
    unsigned threads;  /* of builds; constant */

    uint64_t seen_version, seen_ns; /* the thread's: when the version last changed, about */
};

/* Let go of retired segments that nobody else holds; all: whoever holds them. */
void ki_maintain_dig(ki_maintainer *maintainer, int all);

/* Claim the work for a caller: 0 when `watch` asks to stop, or the collection closes, while others are at it. What it is
 * called until then is told by ki_maintain_name. */
int ki_maintain_claim(ki_maintainer *maintainer, ki_watch *watch, const char *work);
void ki_maintain_name(ki_maintainer *maintainer, const char *work);
void ki_maintain_release(ki_maintainer *maintainer);

/* ---- maintain_thread.c --------------------------------------------------------------------------------------------- */

/* Note how one kind of work went. KITH_E_CANCELLED is no failure. */
void ki_maintain_note(ki_maintainer *maintainer, ki_work work, kith_status status, const kith_error *error);
void *ki_maintain_run(void *maintainer);

#endif

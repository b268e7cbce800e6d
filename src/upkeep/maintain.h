/* SPDX-License-Identifier: Apache-2.0
 *
 * The maintainer, inside: who may do one of the jobs of seal.h, and what is known of it.
 *
 * T1. One job that seals and one other at a time: who does one has claimed it. A caller that compacts goes before the
 *     background thread, whose job is cancelled. Sealing goes on while segments are merged, however long that takes:
 *     writers wait for it.
 * T2. `mutex` is a leaf: nobody who holds it takes another lock.
 * T3. A job that fails is trouble: it is kept as a sentence, and tried again after a pause that doubles. Other kinds of
 *     jobs go on meanwhile. */
#ifndef KI_UPKEEP_MAINTAIN_H
#define KI_UPKEEP_MAINTAIN_H

#include "upkeep/seal.h"

/* In the order in which they are looked for. */
typedef enum ki_work {
    KI_WORK_SEAL,
    KI_WORK_FIELDS,
    KI_WORK_SLOTS,
    KI_WORK_EXPIRE,
    KI_WORK_MERGE,
    KI_WORK_CALIBRATE,
    KI_WORK_STUDY,
    KI_WORK_TIDY,
    KI_WORKS
} ki_work;

/* What is known of the failures of one kind of work. */
typedef struct ki_trouble {
    unsigned failures; /* since it last went well */
    uint64_t again_ns; /* not before */
    char text[KITH_ERROR_TEXT_BYTES];
} ki_trouble;

/* Texts that ki_maintain_info tells live as long as the maintainer, as anybody may still be reading them: each is kept
 * once, and this many at most. */
enum { KI_TOLD_MAX = 128 };

typedef enum ki_claim { KI_CLAIM_SEAL, KI_CLAIM_REST, KI_CLAIMS } ki_claim;

/* One of the two jobs. */
typedef struct ki_at_work {
    int claimed;
    unsigned waiting;  /* callers that want it */
    const char *name;  /* "" while nobody works; static */
    ki_watch *watched; /* of who works */
} ki_at_work;

/* Rows of the head that grows, being linked (link.c). */
typedef struct ki_linker {
    pthread_t thread;
    int has_thread;
    atomic_int stop, done;
    ki_head *head; /* held by the thread; known to others by its address alone */
    size_t spec, count;
    ki_bits *live; /* held by the thread */
} ki_linker;

struct ki_maintainer {
    kith_collection *collection;
    pthread_t thread;
    int has_thread;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    int stop, woken;
    ki_at_work at_work[KI_CLAIMS];
    ki_trouble trouble[KI_WORKS];
    char *told[KI_TOLD_MAX]; /* what ki_maintain_info lent; each never changes */
    size_t told_count;
    ki_sealed **buried;
    size_t buried_count, buried_capacity;

    atomic_int dozing; /* the thread sleeps until it is woken: any write wakes it */
    unsigned threads;  /* of builds; constant */

    ki_linker linker; /* the thread's */

    uint64_t seen_version, seen_ns;      /* the thread's: when the version last changed, about */
    uint64_t unmerged_ns, unmeasured_ns; /* the thread's: since when segments wait for that, 0: none does */
    uint64_t tidied_stamp, tidy_ns;      /* the thread's: of the catalog when it was tidy; when to look again, 0: now */
    uint64_t synced_version, unsynced_ns; /* the thread's, relaxed: what is on the disk; since when something is not */
};

/* Let go of retired segments that nobody else holds; all: whoever holds them. */
void ki_maintain_dig(ki_maintainer *maintainer, int all);

/* Claim a job for a caller: 0 when `watch` asks to stop, or the collection closes, while others are at it. A caller who
 * has the claim to the rest may claim sealing too, not the other way round. */
int ki_maintain_claim(ki_maintainer *maintainer, ki_claim claim, ki_watch *watch, const char *name);
void ki_maintain_release(ki_maintainer *maintainer, ki_claim claim);
/* Seal with the claim to it. */
kith_status ki_maintain_seal(ki_maintainer *maintainer, ki_seal_what what, ki_watch *watch, kith_error *error);
/* What the job is called from now on. */
void ki_maintain_name(ki_maintainer *maintainer, ki_claim claim, const char *name);

/* ---- link.c ------------------------------------------------------------------------------------------------------ */

/* Begin to link rows of the head of a state that grows, if that is due, or let it end. Whether to look again soon. Only
 * by the background thread. */
int ki_link_look(ki_maintainer *maintainer, const ki_snapshot *snapshot);
void ki_link_stop(ki_maintainer *maintainer); /* and wait until it has */

/* ---- slots.c ----------------------------------------------------------------------------------------------------- */

/* Give up the files of slots that are leaving, and then the slots; with the claim to the rest. Fine when there are
 * none. */
kith_status ki_slots_clear(ki_maintainer *maintainer, ki_watch *watch, kith_error *error);

/* ---- maintain_thread.c ------------------------------------------------------------------------------------------- */

/* Note how one kind of work went. KITH_E_CANCELLED is no failure. */
void ki_maintain_note(ki_maintainer *maintainer, ki_work work, kith_status status, const kith_error *error);
void *ki_maintain_run(void *maintainer);

#endif

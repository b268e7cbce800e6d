/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share.
 *
 * 1. A lane's lock is held for moments: never while something is searched, and never while somebody is told. Locks are
 *    taken in the order lane, learnt.
 * 2. `finishing` of the lane of a call is held while its searches finish. It is recursive: who finishes one may queue
 *    another that is refused at once.
 * 3. A desk is used by one thread at a time. */
#ifndef KITH_SERVER_RUN_INNER_H
#define KITH_SERVER_RUN_INNER_H

#include "run/learn.h"
#include "run/queue.h"
#include "run/run.h"

#include <pthread.h>
#include <stdatomic.h>

/* Turns that a search may take on a loop; and those that one batch of a worker may take. */
#define KS_LOOP_TURNS   4
#define KS_WORKER_TURNS 10

/* What one thread needs to answer a batch. */
typedef struct ks_desk {
    kith_result *result;
    ks_search **batch;
    ks_found *found;
    float *packed; /* queries of a batch, one behind the other */
    size_t packed_room;
} ks_desk;

/* Where searches wait: one for each loop, and one for the searching workers. */
typedef struct ks_lane {
    pthread_mutex_t lock;
    pthread_cond_t came; /* workers wait for it */
    ks_queue queue;
    pthread_t thread; /* the loop's, once its first turn has come */
    int has_thread;
    pthread_mutex_t finishing;
    ks_desk desk;
    int answering;      /* the loop's thread is at the desk */
    double slice_ns;    /* that the last turn was to take, at most the budget */
    double gap_ns;      /* that passes between two turns though searches wait: calls are read and written then */
    uint64_t turned_ns; /* when the last turn was over */
    uint64_t second, busy_ns[2]; /* the last second with a turn; what turns took in it and in the one before */
} ks_lane;

typedef struct ks_work ks_work;

/* Threads that do one sort of what blocks. */
typedef struct ks_crew {
    pthread_mutex_t lock;
    pthread_cond_t came;
    ks_work *first, *last;
    size_t waiting, max;
    int stop;
    struct ks_run *run;
    pthread_t *threads;
    unsigned count;
} ks_crew;

/* A thread that answers what would hold up a loop. */
typedef struct ks_searcher {
    struct ks_run *run;
    ks_desk desk;
    pthread_t thread;
} ks_searcher;

typedef struct ks_jobs ks_jobs;

struct ks_run {
    ks_run_options options;
    ks_lane *lanes, slow;
    ks_learnt learnt;
    ks_searcher *searchers;
    unsigned searcher_count;
    int stop; /* under slow.lock */
    ks_crew readers, writers;
    ks_jobs *jobs;
    void (*wake)(void *context, unsigned loop);
    void *wake_context;
    atomic_uint_fast64_t working, searches, queries, batches, refused, gone, late;
};

static inline void ks_count(atomic_uint_fast64_t *counter, uint64_t more) {
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* ---- lane.c */

int ks_lane_init(ks_lane *lane, const ks_run_options *options); /* -1: no memory */
void ks_lane_free(ks_lane *lane);
/* How long one that comes now will wait; and, when a turn begins, what is learnt of that. Under the lane's lock. */
double ks_lane_wait(const ks_lane *lane, const ks_search *search);
void ks_lane_turns(ks_lane *lane, const ks_search *leader, uint64_t now_ns);
void ks_lane_was_busy(ks_lane *lane, uint64_t from_ns, uint64_t to_ns);
double ks_lane_busy(ks_lane *lane, uint64_t now_ns); /* share of the last second */
int ks_desk_init(ks_desk *desk, size_t batch_max, kith_error *error);
void ks_desk_free(ks_desk *desk);

/* ---- finish.c */

void ks_finish(ks_run *run, ks_search *search, const ks_found *found);
/* Not begun: 503. */
void ks_refuse(ks_run *run, ks_search *search, kith_status status, const char *sentence);
/* Whether its time will be over before it can be answered, when others that come first take so long. Where there are no
 * others it is tried, whatever was learnt: what nobody tries any more would never be known to have become quicker. */
int ks_is_hopeless(const ks_search *search, uint64_t now_ns, double wait_ns);
/* Whether it need not be begun, since its client has gone or its time is over, or will be too soon while others wait:
 * then it is finished. */
int ks_dropped(ks_run *run, ks_search *search, uint64_t now_ns, int others);
/* Those of desk->batch that have to be begun, moved to its beginning: how many. */
size_t ks_drop_some(ks_run *run, ks_desk *desk, size_t count, int others);
/* Take a batch out of a queue whose lock is held: the leader is in desk->batch[0]. */
size_t ks_gather(ks_run *run, ks_queue *queue, ks_desk *desk, double ns);

/* ---- answer.c */

/* Answer desk->batch and finish all of it. */
void ks_answer(ks_run *run, ks_desk *desk, size_t count);

/* ---- slow.c: searches that would hold up a loop */

int ks_is_slow(ks_run *run, const ks_search *search);
void ks_slow_push(ks_run *run, ks_search *search);
kith_status ks_slow_start(ks_run *run, unsigned threads, kith_error *error);
void ks_slow_stop(ks_run *run);

/* ---- work.c */

kith_status ks_crew_start(ks_crew *crew, ks_run *run, unsigned threads, size_t max, kith_error *error);
void ks_crew_stop(ks_crew *crew); /* does what waits first; fine on a zeroed one */
size_t ks_crew_waiting(ks_crew *crew);

/* ---- job.c */

kith_status ks_jobs_start(ks_run *run, kith_error *error);
void ks_jobs_stop(ks_run *run);

kith_status ks_run_fail(kith_error *error, kith_status status, const char *sentence);

#endif

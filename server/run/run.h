/* SPDX-License-Identifier: Apache-2.0
 *
 * The query processor: searches of calls, answered in batches that adapt, and work that blocks, done by workers.
 *
 * Searches wait in the lane of their call's loop. A turn takes those that may go together (same collection, vector, k,
 * filter, segment, target, plan, what comes with the items, generation and model), the most urgent first, and has them
 * answered by one kith_collection_search(). How many: what is there, as long as the batch is expected to take no longer
 * than the budget (2 ms unless said); so one alone goes at once, and what comes meanwhile goes next. Where more waits
 * than two budgets take, a turn takes half of it, up to four; but a quarter of the budget where larger batches are
 * known to gain nothing (walks over graphs). Searches that said they have time (budget_ns) wait for company as long as
 * nothing else does.
 *
 * Between keys turns are dealt by weighted fair queueing: next is the one that has had the least time for its share. A
 * search whose deadline will have passed before its turn is refused at once (503), as is one that comes when the queue
 * is full, unless somebody else has more than his share of it: then his last one goes. One whose client has gone is
 * dropped. Searches that are expected to take longer than four turns (many queries at once, exact ones over much), or
 * that may have to wait for a version, go to the workers.
 *
 * A search that is the only one of a call that came alone does not wait for the turn: it is answered before
 * ks_run_search() returns, which saves a round of the loop (some ten microseconds beside a walk of fifty).
 *
 * A call may have several searches: all of them are made before the first is queued. Those of one call never finish at
 * the same time, so that what they share needs no lock. */
#ifndef KITH_SERVER_RUN_RUN_H
#define KITH_SERVER_RUN_RUN_H

#include "http/call.h"
#include "shelf/shelf.h"

typedef struct ks_run ks_run;
typedef struct ks_search ks_search;

typedef enum ks_priority {
    KS_INTERACTIVE = 0,
    KS_BATCH = 1 /* only when no interactive search waits, but not starved: at least one turn of eight */
} ks_priority;

/* What became of a search. Valid during finish only. */
typedef struct ks_found {
    kith_status status; /* KITH_E_DEADLINE, KITH_E_LIMIT and KITH_E_NOMEM with refused: it was not begun, the reply is a
                         * 503. KITH_E_CANCELLED: the client has gone */
    int refused;
    const kith_error *error;
    const kith_result *result;
    const kith_hits *hits; /* of the whole batch */
    size_t first, count;   /* its queries among those of the hits */
    const kith_ask_report *report;
    const kith_explain *explain; /* NULL unless ask.explain was set */
    size_t batch;                /* queries that were answered together */
    uint64_t waited_ns, searched_ns;
} ks_found;

/* One search of a call; a call may have several. It lies in the call's memory, as does all that it points to. */
struct ks_search {
    ks_call *call;
    ks_shop *shop; /* borrowed by who makes the search; run gives it back after finish */
    kith_ask ask;  /* report, timeout_ns, cancelled: run sets them */
    ks_priority priority;
    uint64_t budget_ns; /* may wait so long for company; 0: not at all */
    int only;           /* non-zero: the call has no other search */
    /* On a loop's or a worker's thread; must not block. Ends the call when it is the last of its searches; its memory,
     * and so the search, may be gone then. A refused one may say Retry-After: a second. */
    void (*finish)(ks_search *search, const ks_found *found);
    void *context;
    /* run's own */
    ks_search *next, *prev;
    uint64_t queued_ns, deadline_ns, ready_ns;
    kith_ask_report report;
    unsigned mark, kind;
    size_t queries;
    double cost_ns;
};

typedef struct ks_run_options {
    unsigned loops;
    unsigned workers;   /* threads for what blocks; 0: 4 */
    uint64_t budget_ns; /* a turn; 0: 2 ms */
    size_t batch_max;   /* queries of a turn; 0: 1,024 */
    size_t queue_max;   /* searches that wait, a loop; 0: 4,096 */
    size_t work_max;    /* calls that wait for a worker; 0: 1,024: beyond, 503 */
    ks_shelf *shelf;
    /* NULL, or told of each batch: for metrics, and for checking live what was found. During it, the searches and found
     * live; found->first and count of each search are given. */
    void (*observe)(void *context, ks_search *const *searches, const ks_found *found, size_t count);
    void *observe_context;
} ks_run_options;

kith_status ks_run_create(const ks_run_options *options, ks_run **run, kith_error *error);
/* Waits for workers. NULL is fine. */
void ks_run_destroy(ks_run *run);
void ks_run_wake_by(ks_run *run, void (*wake)(void *context, unsigned loop), void *context);

/* Queue a search. On the loop's thread of its call, or a worker's. finish is called once, perhaps before this returns
 * (refused, or answered at once). */
void ks_run_search(ks_run *run, ks_search *search);
/* Have a worker do what blocks: `work` writes the reply, and run ends the call. */
void ks_run_work(ks_run *run, ks_call *call, void (*work)(ks_call *call, void *context), void *context);
/* Writes: as ks_run_work, but for calls that change something; several at a time, so that they share
 * synchronisations. */
void ks_run_write(ks_run *run, ks_call *call, void (*work)(ks_call *call, void *context), void *context);
/* Have a worker that reads make the next piece of the call's stream, whose callback then returns KS_STREAM_LATER. It
 * waits behind others, but is never refused: there are no more of them than connections. `more` lies in the call's
 * memory, zeroed but for the first two. */
typedef struct ks_more {
    void (*work)(ks_call *call, void *context);
    void *context;
    struct ks_work *item; /* run's own */
} ks_more;
int ks_run_more(ks_run *run, ks_call *call, ks_more *more); /* -1: no memory, and nothing is done */
/* Of ks_http_options.turn. */
uint64_t ks_run_turn(ks_run *run, unsigned loop);

typedef struct ks_run_state {
    uint64_t queued, working, work_queued;              /* now: searches that wait; searches and calls that are worked
                                                         * on; calls that wait for a worker */
    uint64_t searches, queries, batches, refused, gone; /* so far */
    uint64_t late;                                      /* deadline passed while it waited */
    double busy;                                        /* share of the last second that turns took, of all loops */
} ks_run_state;
void ks_run_state_of(ks_run *run, ks_run_state *state);

/* ---- Jobs: long work that outlives its call */

typedef struct ks_job_info {
    uint64_t number;
    char kind[16], collection[65];
    char state[12]; /* "waiting", "running", "done", "failed", "cancelled" */
    char stage[40], unit[16];
    uint64_t done, total;
    uint64_t started_ms, ended_ms; /* since 1970 */
    char text[512];                /* why it failed, or what it made, as JSON */
    kith_status status;            /* what it failed with */
} ks_job_info;

/* `work` on a worker of its own kind (one job at a time), with a progress callback that it must pass on, which also
 * cancels. It writes what it made to `made` as JSON. forget(context) at the end, also when it is refused
 * (KITH_E_LIMIT). shop: borrowed, given back by run. */
typedef kith_status ks_job_fn(void *context, ks_shop *shop, kith_progress_fn progress, void *progress_context,
                              ks_text *made, kith_error *error);
kith_status ks_run_job(ks_run *run, const char *kind, ks_shop *shop, ks_job_fn *work, void (*forget)(void *context),
                       void *context, uint64_t *number, kith_error *error);
int ks_run_job_at(ks_run *run, size_t place,
                  ks_job_info *info);                /* newest first; 0 behind the last; 256 are remembered */
int ks_run_job_cancel(ks_run *run, uint64_t number); /* 0: no such job */

#endif

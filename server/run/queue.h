/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches that wait. Each key has an account, for interactive searches and for others: a list by deadline. Next is the
 * account that has had the least time for its share (weighted fair queueing: of each search its expected cost, divided
 * by the share, is added to the account's pass when it is taken; one that has been empty begins where the others are).
 *
 * 1. Of accounts with something in them the heap has those of one line (a priority) by pass.
 * 2. A search is in one list of one account of one queue, or in none.
 * The caller holds the lock of the queue. */
#ifndef KITH_SERVER_RUN_QUEUE_H
#define KITH_SERVER_RUN_QUEUE_H

#include "run/run.h"

enum { KS_LINES = 2 };

typedef struct ks_account {
    ks_search *first, *last;
    ks_search *cursor;    /* where the one who gathers a batch goes on; NULL: at its end */
    size_t queued, place; /* in the heap */
    double pass, share, cost_ns;
    size_t looked;          /* searches that were compared with the leader */
    unsigned long gathered; /* the batch that cursor and looked are of */
    struct ks_account *aside;
} ks_account;

typedef struct ks_line {
    ks_account **accounts; /* by the number of the key */
    ks_account **heap;
    size_t active, queued;
    double pass, shares, cost_ns;
} ks_line;

typedef struct ks_queue {
    ks_line lines[KS_LINES];
    size_t max, queued, queries;
    size_t hurried;    /* that have no time to wait for company */
    uint64_t ready_ns; /* when the first of the others has waited enough; exact unless `stale` */
    int stale;
    unsigned passed_over; /* turns since the batch line had one, while it waits */
    unsigned long batches;
} ks_queue;

int ks_queue_init(ks_queue *queue, size_t max); /* -1: no memory */
void ks_queue_free(ks_queue *queue);

/* 0, and *shed is one that went for it, or NULL; or -1: there is no room (or no memory) for this one. */
int ks_queue_push(ks_queue *queue, ks_search *search, ks_search **shed);
/* How long it will wait, by what the others that come before it are expected to cost. */
double ks_queue_wait(const ks_queue *queue, const ks_search *search);
/* The next one, taken out; NULL: none. */
ks_search *ks_queue_lead(ks_queue *queue);
/* Those that may go with the leader, taken out, as long as there is room for their queries: put behind it, *count
 * searches in all. */
void ks_queue_gather(ks_queue *queue, ks_search **batch, size_t *count, size_t count_max, size_t queries_max);
/* When the next turn is worth while: now (0), or the time when the first has waited enough; UINT64_MAX: none waits. */
uint64_t ks_queue_ready(ks_queue *queue);
/* Who would be next, left where it is. */
const ks_search *ks_queue_peek(const ks_queue *queue);

#endif

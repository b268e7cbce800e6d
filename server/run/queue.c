/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches that wait. */
#include "run/queue.h"

#include "keys/keys.h"
#include "run/shape.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_BACK = 64,  /* places that a search with an early deadline may pass; beyond, it is one of many such */
    LOOK_MAX = 1024, /* searches of one account that are compared with a leader */
    BATCH_EVERY = 8  /* turns of which the batch line has one, whoever else waits */
};

int ks_queue_init(ks_queue *queue, size_t max) {
    memset(queue, 0, sizeof(*queue));
    queue->max = max;
    queue->ready_ns = UINT64_MAX;
    for (int i = 0; i < KS_LINES; i++) {
        ks_line *line = &queue->lines[i];
        line->accounts = calloc(KS_KEYS_MAX, sizeof(ks_account *));
        line->heap = calloc(KS_KEYS_MAX, sizeof(ks_account *));
        if (!line->accounts || !line->heap) return -1;
    }
    return 0;
}

void ks_queue_free(ks_queue *queue) {
    for (int i = 0; i < KS_LINES; i++) {
        ks_line *line = &queue->lines[i];
        for (size_t key = 0; line->accounts && key < KS_KEYS_MAX; key++) free(line->accounts[key]);
        free(line->accounts);
        free(line->heap);
    }
}

/* ---- The heap ---------------------------------------------------------------------------------------------------- */

static void place(ks_line *line, size_t at, ks_account *account) {
    line->heap[at] = account;
    account->place = at;
}

static void sift_up(ks_line *line, size_t at) {
    ks_account *account = line->heap[at];
    while (at && line->heap[(at - 1) / 2]->pass > account->pass) {
        place(line, at, line->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(line, at, account);
}

static void sift_down(ks_line *line, size_t at) {
    ks_account *account = line->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= line->active) break;
        if (child + 1 < line->active && line->heap[child + 1]->pass < line->heap[child]->pass) child++;
        if (line->heap[child]->pass >= account->pass) break;
        place(line, at, line->heap[child]);
        at = child;
    }
    place(line, at, account);
}

static void heap_add(ks_line *line, ks_account *account) {
    place(line, line->active++, account);
    sift_up(line, account->place);
}

static void heap_remove(ks_line *line, const ks_account *account) {
    const size_t at = account->place;
    ks_account *last = line->heap[--line->active];
    if (last == account) return;
    place(line, at, last);
    sift_up(line, at);
    sift_down(line, last->place);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static int line_of(const ks_search *search) {
    return search->priority == KS_BATCH;
}

static size_t number_of(const ks_search *search) {
    const ks_key *key = search->call->key;
    return key ? key->number % KS_KEYS_MAX : 0;
}

static double share_of(const ks_search *search) {
    const ks_key *key = search->call->key;
    const double share = key && key->share > 0 ? key->share : 1;
    return share < 1e-3 ? 1e-3 : share > 1e3 ? 1e3 : share;
}

static ks_account *account_of(ks_line *line, const ks_search *search) {
    ks_account **at = &line->accounts[number_of(search)];
    if (!*at) *at = calloc(1, sizeof(**at));
    return *at;
}

/* By deadline, behind those of the same. */
static void list_add(ks_account *account, ks_search *search) {
    ks_search *after = account->last;
    for (int i = 0; after && after->deadline_ns > search->deadline_ns && i < LOOK_BACK; i++) after = after->prev;
    if (after && after->deadline_ns > search->deadline_ns) after = account->last;
    search->prev = after;
    search->next = after ? after->next : account->first;
    *(search->next ? &search->next->prev : &account->last) = search;
    *(after ? &after->next : &account->first) = search;
}

static void list_remove(ks_account *account, ks_search *search) {
    *(search->next ? &search->next->prev : &account->last) = search->prev;
    *(search->prev ? &search->prev->next : &account->first) = search->next;
    search->next = search->prev = NULL;
}

static void count_in(ks_queue *queue, ks_line *line, ks_account *account, const ks_search *search) {
    account->queued++, line->queued++, queue->queued++;
    account->cost_ns += search->cost_ns, line->cost_ns += search->cost_ns;
    queue->queries += search->queries;
    if (search->ready_ns <= search->queued_ns)
        queue->hurried++;
    else if (search->ready_ns < queue->ready_ns)
        queue->ready_ns = search->ready_ns;
}

static void count_out(ks_queue *queue, ks_line *line, ks_account *account, const ks_search *search) {
    account->queued--, line->queued--, queue->queued--;
    account->cost_ns =
        account->queued ? account->cost_ns - search->cost_ns : 0; /* so that nothing is left by rounding */
    line->cost_ns = line->queued ? line->cost_ns - search->cost_ns : 0;
    queue->queries -= search->queries;
    if (search->ready_ns <= search->queued_ns)
        queue->hurried--;
    else if (search->ready_ns == queue->ready_ns)
        queue->stale = 1;
}

static void add(ks_queue *queue, ks_line *line, ks_account *account, ks_search *search) {
    const double share = share_of(search);
    if (!account->first) {
        account->share = share;
        line->shares += share;
        if (account->pass < line->pass) account->pass = line->pass;
        heap_add(line, account);
    }
    list_add(account, search);
    count_in(queue, line, account, search);
}

/* Take one out; who takes it for nothing (it is shed) is not charged. */
static void take(ks_queue *queue, ks_line *line, ks_account *account, ks_search *search, int charged) {
    if (account->cursor == search) account->cursor = search->next;
    list_remove(account, search);
    count_out(queue, line, account, search);
    if (charged) account->pass += search->cost_ns / account->share;
    if (account->first) {
        sift_down(line, account->place);
        return;
    }
    heap_remove(line, account);
    line->shares = line->queued ? line->shares - account->share : 0;
}

/* ---- Coming ------------------------------------------------------------------------------------------------------ */

/* Of a line, whose queue is longest for its share. */
static ks_account *longest(const ks_line *line) {
    ks_account *found = NULL;
    for (size_t i = 0; i < line->active; i++) {
        ks_account *account = line->heap[i];
        if (!found || (double)account->queued * found->share > (double)found->queued * account->share) found = account;
    }
    return found;
}

/* Who goes so that this one may stay: of those who can wait first, else of who has more than his share. NULL: none. */
static ks_search *make_room(ks_queue *queue, const ks_search *search, const ks_account *mine) {
    ks_line *line = &queue->lines[line_of(search)], *lesser = &queue->lines[KS_BATCH];
    ks_account *account = line != lesser && lesser->active ? longest(lesser) : longest(line);
    if (!account) return NULL;
    if (line == lesser || !lesser->active) {
        if (account == mine) return NULL;
        if ((double)account->queued * share_of(search) <= (double)(mine->queued + 1) * account->share) return NULL;
    } else {
        line = lesser;
    }
    ks_search *victim = account->last;
    take(queue, line, account, victim, 0);
    return victim;
}

int ks_queue_push(ks_queue *queue, ks_search *search, ks_search **shed) {
    ks_line *line = &queue->lines[line_of(search)];
    ks_account *account = account_of(line, search);
    *shed = NULL;
    if (!account) return -1;
    if (queue->queued >= queue->max) {
        *shed = make_room(queue, search, account);
        if (!*shed) return -1;
    }
    add(queue, line, account, search);
    return 0;
}

double ks_queue_wait(const ks_queue *queue, const ks_search *search) {
    const ks_line *line = &queue->lines[line_of(search)];
    const ks_account *account = line->accounts[number_of(search)];
    const double share = share_of(search), shares = line->shares + (account && account->first ? 0 : share);
    /* By its share, or sooner when the others have less than theirs to do. */
    const double fair = account && account->first ? account->cost_ns * shares / share : 0;
    double wait = fair < line->cost_ns ? fair : line->cost_ns;
    if (search->priority == KS_BATCH) wait += queue->lines[KS_INTERACTIVE].cost_ns;
    return wait;
}

/* ---- Going ------------------------------------------------------------------------------------------------------- */

/* Which line the next one is of. */
static int next_line(const ks_queue *queue) {
    if (!queue->lines[KS_BATCH].active) return KS_INTERACTIVE;
    return !queue->lines[KS_INTERACTIVE].active || queue->passed_over + 1 >= BATCH_EVERY ? KS_BATCH : KS_INTERACTIVE;
}

const ks_search *ks_queue_peek(const ks_queue *queue) {
    return queue->queued ? queue->lines[next_line(queue)].heap[0]->first : NULL;
}

ks_search *ks_queue_lead(ks_queue *queue) {
    if (!queue->queued) return NULL;
    const int next = next_line(queue);
    ks_line *line = &queue->lines[next];
    queue->passed_over = next == KS_BATCH || !queue->lines[KS_BATCH].active ? 0 : queue->passed_over + 1;
    ks_account *account = line->heap[0];
    ks_search *search = account->first;
    line->pass = account->pass;
    take(queue, line, account, search, 1);
    return search;
}

/* The next of an account that may go with the leader and has room; NULL: it has no more for this batch. */
static ks_search *next_companion(ks_account *account, const ks_search *leader, size_t queries_left) {
    while (account->cursor && account->looked < LOOK_MAX) {
        ks_search *search = account->cursor;
        account->cursor = search->next;
        account->looked++;
        if (search->mark == leader->mark && search->queries <= queries_left && ks_shape_same(search, leader))
            return search;
    }
    return NULL;
}

static void gather_line(ks_queue *queue, ks_line *line, ks_search **batch, size_t *count, size_t count_max,
                        size_t *queries_left) {
    ks_account *aside = NULL; /* those without another companion */
    while (line->active && *count < count_max && *queries_left) {
        ks_account *account = line->heap[0];
        if (account->gathered != queue->batches) {
            account->gathered = queue->batches;
            account->cursor = account->first;
            account->looked = 0;
        }
        ks_search *search = next_companion(account, batch[0], *queries_left);
        if (search) {
            *queries_left -= search->queries;
            take(queue, line, account, search, 1);
            batch[(*count)++] = search;
        } else {
            heap_remove(line, account);
            account->aside = aside;
            aside = account;
        }
    }
    for (; aside; aside = aside->aside) heap_add(line, aside);
}

void ks_queue_gather(ks_queue *queue, ks_search **batch, size_t *count, size_t count_max, size_t queries_max) {
    const ks_search *leader = batch[0];
    if (!leader->mark || leader->queries >= queries_max) return;
    size_t left = queries_max - leader->queries;
    queue->batches++;
    gather_line(queue, &queue->lines[line_of(leader)], batch, count, count_max, &left);
    gather_line(queue, &queue->lines[!line_of(leader)], batch, count, count_max, &left);
}

uint64_t ks_queue_ready(ks_queue *queue) {
    if (!queue->queued) {
        queue->ready_ns = UINT64_MAX;
        queue->stale = 0;
        return UINT64_MAX;
    }
    if (queue->hurried) return 0;
    if (queue->stale) {
        queue->ready_ns = UINT64_MAX;
        for (int i = 0; i < KS_LINES; i++)
            for (size_t at = 0; at < queue->lines[i].active; at++)
                for (const ks_search *each = queue->lines[i].heap[at]->first; each; each = each->next)
                    if (each->ready_ns < queue->ready_ns) queue->ready_ns = each->ready_ns;
        queue->stale = 0;
    }
    return queue->ready_ns;
}

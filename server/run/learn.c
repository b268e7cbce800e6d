/* SPDX-License-Identifier: Apache-2.0
 *
 * What an answer takes. */
#include "run/learn.h"

#include <string.h>

/* The weight of what came last: some ten batches are remembered. A guess, which neither follows every page fault nor
 * takes a second to see that a collection was merged. */
static const double LAST = 0.2;
/* What takes so many times as long as usual was held up by something else. */
static const double HELD_UP = 8;
/* How fast the best of a size is forgotten: a collection that grows is known after some hundred batches. A guess. */
static const double BEST = 0.01;
/* A larger batch is worth waiting for when it saves a seventh of what each costs. A guess. */
static const double FLAT = 0.85;
/* Of the first ones the quickest counts: what is not in memory yet is read but once. */
enum { FIRST = 4 };

void ks_learnt_init(ks_learnt *learnt) {
    memset(learnt, 0, sizeof(*learnt));
    pthread_mutex_init(&learnt->lock, NULL);
}

static int size_of(size_t queries) {
    int size = 0;
    while (size < KS_SIZES - 1 && ((size_t)1 << size) < queries) size++;
    return size;
}

static ks_learnt_kind *find(ks_learnt *learnt, unsigned kind) {
    ks_learnt_kind *at = &learnt->kinds[kind % KS_KINDS];
    return at->used && at->kind == kind ? at : NULL;
}

static double mean(double before, double now, double weight) {
    return before + (now - before) * weight;
}

static double least(double before, double now, unsigned told) {
    return !told || now < before ? now : before;
}

/* Of a query in a batch of that size: of the next smaller size that is known, else of the next larger one. */
static double each_of(const ks_learnt_kind *kind, int size) {
    for (int i = size; i >= 0; i--)
        if (kind->told[i]) return kind->each_ns[i];
    while (!kind->told[size]) size++;
    return kind->each_ns[size];
}

void ks_learnt_tell(ks_learnt *learnt, unsigned number, size_t queries, double ns, double wall_ns) {
    if (!queries || !(ns > 0)) return;
    double each = ns / (double)queries, wall = wall_ns / (double)queries;
    const int size = size_of(queries);
    pthread_mutex_lock(&learnt->lock);
    ks_learnt_kind *kind = &learnt->kinds[number % KS_KINDS];
    if (!kind->used || kind->kind != number) *kind = (ks_learnt_kind){.kind = number, .used = 1, .lately_ns = wall};
    const unsigned told = kind->told[size];
    if (told >= FIRST && each > HELD_UP * kind->each_ns[size]) each = HELD_UP * kind->each_ns[size];
    kind->each_ns[size] = told < FIRST ? least(kind->each_ns[size], each, told) : mean(kind->each_ns[size], each, LAST);
    if (!told || each < kind->best_ns[size]) kind->best_ns[size] = each;
    kind->best_ns[size] = mean(kind->best_ns[size], each, BEST);
    kind->told[size] = told + 1 ? told + 1 : told;
    if (wall > HELD_UP * kind->lately_ns) wall = HELD_UP * kind->lately_ns;
    kind->lately_ns = kind->batches++ < FIRST ? least(kind->lately_ns, wall, 1) : mean(kind->lately_ns, wall, LAST);
    for (int i = 0; i < KS_SIZES; i++) {
        if (!kind->told[i]) continue;
        const int costs_less = kind->each_ns[i] < kind->each_ns[size];
        if (i != size && (i < size) == costs_less) kind->each_ns[i] = kind->each_ns[size];
    }
    pthread_mutex_unlock(&learnt->lock);
}

double ks_learnt_expect(ks_learnt *learnt, unsigned number, size_t queries) {
    pthread_mutex_lock(&learnt->lock);
    const ks_learnt_kind *kind = find(learnt, number);
    const double ns = kind ? each_of(kind, size_of(queries)) * (double)queries : -1;
    pthread_mutex_unlock(&learnt->lock);
    return ns;
}

double ks_learnt_lately(ks_learnt *learnt, unsigned number) {
    pthread_mutex_lock(&learnt->lock);
    const ks_learnt_kind *kind = find(learnt, number);
    const double ns = kind ? kind->lately_ns : -1;
    pthread_mutex_unlock(&learnt->lock);
    return ns;
}

size_t ks_learnt_fit(ks_learnt *learnt, unsigned number, double ns, size_t max) {
    size_t fit = 1;
    pthread_mutex_lock(&learnt->lock);
    const ks_learnt_kind *kind = find(learnt, number);
    for (int size = 0; kind && size < KS_SIZES; size++) {
        const double each = each_of(kind, size), room = each > 0 ? ns / each : (double)max;
        const size_t most = size == KS_SIZES - 1 ? max : (size_t)1 << size;
        const size_t now = room < (double)most ? (size_t)room : most;
        if (now > fit) fit = now;
    }
    pthread_mutex_unlock(&learnt->lock);
    return fit < max ? fit : max ? max : 1;
}

int ks_learnt_flat(ks_learnt *learnt, unsigned number, size_t queries) {
    int small = size_of(queries), large = KS_SIZES - 1;
    pthread_mutex_lock(&learnt->lock);
    const ks_learnt_kind *kind = find(learnt, number);
    while (kind && small > 0 && kind->told[small] < FIRST) small--;
    while (kind && large > small && kind->told[large] < FIRST) large--;
    const int flat = kind && large > size_of(queries) && kind->told[small] >= FIRST &&
                     kind->best_ns[large] > FLAT * kind->best_ns[small];
    pthread_mutex_unlock(&learnt->lock);
    return flat;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/topk.h"

#include "base/rng.h"

static void swap(ki_hit *a, ki_hit *b) {
    const ki_hit t = *a;
    *a = *b;
    *b = t;
}

static void insertion_sort(ki_hit *hits, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const ki_hit hit = hits[i];
        size_t j = i;
        for (; j > 0 && ki_hit_before(&hit, &hits[j - 1]); j--) hits[j] = hits[j - 1];
        hits[j] = hit;
    }
}

/* Few of not very many. The first k stand in their order, and what comes before the last of them takes its place.
 * Nearly all branches are foreseen: of 100 hits the best 10 in a third of the time. */
enum { FEW = 16, FEW_OF = 1024 };

static void select_few(ki_hit *hits, size_t count, size_t k) {
    insertion_sort(hits, k);
    for (size_t i = k; i < count; i++) {
        if (!ki_hit_before(&hits[i], &hits[k - 1])) continue;
        const ki_hit hit = hits[i];
        hits[i] = hits[k - 1];
        size_t at = k - 1;
        for (; at > 0 && ki_hit_before(&hit, &hits[at - 1]); at--) hits[at] = hits[at - 1];
        hits[at] = hit;
    }
}

void ki_hits_select(ki_hit *hits, size_t count, size_t k) {
    if (k > 0 && k < count && k <= FEW && count <= FEW_OF) {
        select_few(hits, count, k);
        return;
    }
    ki_rng rng = {count};
    size_t low = 0, high = count; /* the k-th border lies in low..high */
    while (k > low && k < high && high - low > 1) {
        const ki_hit pivot = hits[low + ki_rng_below(&rng, high - low)];
        size_t less = low, more = high, i = low;
        while (i < more) { /* three ways, though labels are distinct: callers may hold equal hits */
            if (ki_hit_before(&hits[i], &pivot))
                swap(&hits[i++], &hits[less++]);
            else if (ki_hit_before(&pivot, &hits[i]))
                swap(&hits[i], &hits[--more]);
            else
                i++;
        }
        if (k <= less)
            high = less;
        else if (k >= more)
            low = more;
        else
            return;
    }
}

static void sift_down(ki_hit *hits, size_t root, size_t count) {
    const ki_hit hit = hits[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && ki_hit_before(&hits[child], &hits[child + 1])) child++;
        if (!ki_hit_before(&hit, &hits[child])) break;
        hits[root] = hits[child];
    }
    hits[root] = hit;
}

void ki_hits_sort(ki_hit *hits, size_t count) {
    if (count <= 32) {
        insertion_sort(hits, count);
        return;
    }
    for (size_t i = count / 2; i-- > 0;) sift_down(hits, i, count);
    for (size_t end = count - 1; end > 0; end--) {
        swap(&hits[0], &hits[end]);
        sift_down(hits, 0, end);
    }
}

void ki_collector_shrink(ki_collector *c) {
    if (c->count < c->k) return;
    ki_hits_select(c->hits, c->count, c->k);
    c->count = c->k;
    float worst = c->hits[0].distance;
    for (size_t i = 1; i < c->k; i++) worst = c->hits[i].distance > worst ? c->hits[i].distance : worst;
    c->worst = worst;
}

void ki_floor_push(ki_floor *f, float value) {
    float *heap = f->heap;
    if (f->count < f->k) { /* sift up */
        size_t i = f->count++;
        for (; i > 0 && heap[(i - 1) / 2] > value; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
        heap[i] = value;
        return;
    }
    if (!(value > heap[0])) return;
    size_t root = 0;
    for (size_t child; (child = 2 * root + 1) < f->count; root = child) {
        if (child + 1 < f->count && heap[child + 1] < heap[child]) child++;
        if (!(value > heap[child])) break;
        heap[root] = heap[child];
    }
    heap[root] = value;
}

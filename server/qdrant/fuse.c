/* SPDX-License-Identifier: Apache-2.0
 *
 * Making one ranking of several. */
#include "qdrant/fuse.h"

#include <math.h>
#include <stdlib.h>

double ks_qd_reciprocal(size_t place, double weight, double k) {
    if (!(weight > 0)) return 0;
    return 1 / (((double)place + 1) / weight + k - 1);
}

void ks_qd_normalise(ks_qd_ranked *list, size_t count) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) sum += list[i].score;
    const double mean = count ? sum / (double)count : 0;
    for (size_t i = 0; i < count; i++) squares += (list[i].score - mean) * (list[i].score - mean);
    const double deviation = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    const double low = mean - 3 * deviation, high = mean + 3 * deviation;
    for (size_t i = 0; i < count; i++) list[i].score = high > low ? (list[i].score - low) / (high - low) : 0.5;
}

static int earlier(const ks_qd_ranked *a, const ks_qd_ranked *b) {
    if (a->list != b->list) return a->list < b->list ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static int by_number(const void *one, const void *other) {
    const ks_qd_ranked *a = one, *b = other;
    if (a->number != b->number) return a->number < b->number ? -1 : 1;
    return earlier(a, b);
}

static int by_score(const void *one, const void *other) {
    const ks_qd_ranked *a = one, *b = other;
    if (a->score > b->score) return -1;
    return a->score < b->score ? 1 : earlier(a, b);
}

size_t ks_qd_fuse(ks_qd_ranked *places, size_t count) {
    size_t left = 0;
    if (count == 0) return 0;
    qsort(places, count, sizeof *places, by_number);
    for (size_t i = 0; i < count; i++) {
        if (left > 0 && places[left - 1].number == places[i].number)
            places[left - 1].score += places[i].score;
        else
            places[left++] = places[i];
    }
    qsort(places, left, sizeof *places, by_score);
    return left;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Which searches may go together, and which are alike. */
#include "run/shape.h"

#include <string.h>
#include <xxhash.h>

static const char *text_of(const char *text) {
    return text ? text : "";
}

static XXH64_hash_t mix(XXH64_hash_t hash, const void *bytes, size_t count) {
    return XXH3_64bits_withSeed(bytes, count, hash);
}

static XXH64_hash_t mix_text(XXH64_hash_t hash, const char *text) {
    return text ? mix(hash, text, strlen(text) + 1) : hash * 31 + 1;
}

static const kith_queries *queries_of(const ks_search *search) {
    return search->ask.leg_count == 1 && search->ask.legs ? search->ask.legs[0].queries : NULL;
}

static int goes_alone(const ks_search *search) {
    const kith_ask *ask = &search->ask;
    const kith_queries *queries = queries_of(search);
    return !queries || queries->dtype != KITH_F32 || !queries->count || !queries->dim || ask->profile || ask->user ||
           ask->min_version || ask->explain || ask->diversity != 0 || ask->leave_out_seen;
}

static unsigned mark_of(const ks_search *search) {
    const kith_ask *ask = &search->ask;
    struct {
        uint64_t k, dim, shop;
        double target;
        uint32_t plan, with, generation, zero;
    } same = {ask->k,
              queries_of(search)->dim,
              search->shop->number,
              ask->target_recall,
              (uint32_t)ask->plan,
              ask->with,
              ask->generation,
              0};
    XXH64_hash_t hash = mix(0, &same, sizeof(same));
    hash = mix_text(hash, ask->legs[0].vector);
    hash = mix_text(hash, ask->filter);
    hash = mix_text(hash, ask->segment);
    hash = mix_text(hash, ask->model);
    return (unsigned)hash | 1;
}

static unsigned magnitude(size_t number) {
    unsigned bits = 0;
    while (number) number >>= 1, bits++;
    return bits;
}

/* Filters differ in what they cost; sixteen sorts of them tell the usual ones apart, and are soon learnt. */
static unsigned kind_of(const ks_search *search) {
    const kith_ask *ask = &search->ask;
    const uint32_t sort[] = {search->shop->number,
                             magnitude(ask->k),
                             (uint32_t)(ask->target_recall * 64),
                             (uint32_t)ask->plan,
                             ask->with,
                             ask->generation,
                             ask->filter ? 1 + (uint32_t)(mix_text(0, ask->filter) % 16) : 0,
                             ask->segment != NULL,
                             (uint32_t)ask->leg_count,
                             ask->profile != NULL,
                             ask->diversity != 0,
                             (uint32_t)(ask->leg_count && ask->legs ? mix_text(1, text_of(ask->legs[0].vector)) : 0)};
    return (unsigned)mix(0, sort, sizeof(sort));
}

void ks_shape_set(ks_search *search) {
    const kith_ask *ask = &search->ask;
    const kith_queries *queries = ask->leg_count && ask->legs ? ask->legs[0].queries : NULL;
    search->queries = queries && queries->count ? queries->count : 1;
    search->kind = kind_of(search);
    search->mark = goes_alone(search) ? 0 : mark_of(search);
}

static int same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

int ks_shape_same(const ks_search *a, const ks_search *b) {
    const kith_ask *x = &a->ask, *y = &b->ask;
    return a->mark && a->mark == b->mark && a->shop == b->shop && x->k == y->k &&
           queries_of(a)->dim == queries_of(b)->dim && x->target_recall == y->target_recall && x->plan == y->plan &&
           x->with == y->with && x->generation == y->generation &&
           strcmp(text_of(x->legs[0].vector), text_of(y->legs[0].vector)) == 0 && same_text(x->filter, y->filter) &&
           same_text(x->segment, y->segment) && same_text(x->model, y->model);
}

/* As if each query read a byte of every element, at ten bytes a nanosecond, and an eighth of them where less than all
 * true neighbours will do; queries beside each other share half of it. Only the order of magnitude matters: whether the
 * loop may try. */
double ks_shape_guess(const ks_search *search) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    const kith_queries *queries = search->ask.leg_count && search->ask.legs ? search->ask.legs[0].queries : NULL;
    if (kith_collection_get_info(search->shop->collection, &info) != KITH_OK) return 0;
    const double dim = queries ? (double)queries->dim : 1024, share = search->ask.target_recall > 0 ? 0.125 : 1;
    const double legs = search->ask.leg_count > 1 ? (double)search->ask.leg_count : 1;
    return (double)info.items * dim * legs * 0.1 * share * (1 + 0.5 * (double)(search->queries - 1));
}

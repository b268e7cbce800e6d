/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/profile.h"

#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "log/follow.h"
#include "state/hot.h"
#include "state/made.h"
#include "write/commit.h"
#include "write/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double WEIGHT_MAX = 1e6, VIEW_WEIGHT = 0.25;
static const double THRESHOLD = 0.7; /* a guess: pictures and texts of one sort are more alike than that */
static const uint64_t AHEAD_MS = UINT64_C(24) * 60 * 60 * 1000; /* clocks differ; times in microseconds are refused */
enum { SEEN_DEFAULT = 1000 };

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static ki_bytes bytes_of(const char *name) {
    return (ki_bytes){name, strlen(name)};
}

kith_status ki_profile_check_name(const char *name, kith_error *error) {
    if (*name && ki_name_valid(name, strlen(name))) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "a profile's name is UTF-8 of 1 to %d bytes without control characters",
                   KI_NAME_MAX);
}

static kith_status check_fit(const kith_collection *collection, const char *name, const ki_profile *profile,
                             kith_error *error) {
    if (profile->vector < collection->made.vector_count) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the profile \"%s\" is of a vector that the collection has not",
                   collection->path, name);
}

kith_status ki_profile_suit(const ki_snapshot *snapshot, const ki_generation *generation, const char *name,
                            ki_profile *profile, kith_error *error) {
    const ki_generations *generations = snapshot->generations;
    const size_t slot = generation->slot[profile->vector];
    const ki_vector *vector = &generations->vector[slot];
    uint64_t skipped = 0;
    if (generations->tenant[slot] != profile->tenant)
        return ki_profile_again_in(snapshot, generation, profile, &skipped, error);
    if (vector->dim == profile->dim && vector->metric == profile->metric) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "the profile \"%s\" is damaged: its vector \"%s\" has another shape", name,
                   vector->name);
}

/* KITH_E_NOTFOUND comes without a text. */
static kith_status read_record(kith_collection *collection, const char *name, ki_profile *profile, uint64_t *serial,
                               kith_error *error) {
    ki_hot_record record;
    kith_status status = ki_hot_read(collection, name, &record, error);
    if (status == KITH_OK) {
        status = ki_profile_decode(record.body.data, record.body.bytes, name, profile, error);
        if (status == KITH_OK) status = check_fit(collection, name, profile, error);
        if (status == KITH_E_CORRUPT) ki_profile_free(profile);
        if (serial) *serial = record.serial;
    }
    ki_hot_record_free(&record);
    return status;
}

kith_status ki_profile_read(kith_collection *collection, const char *name, ki_profile *profile, uint64_t *serial,
                            kith_error *error) {
    *profile = (ki_profile){0};
    kith_status status = ki_profile_check_name(name, error);
    if (status == KITH_OK) status = read_record(collection, name, profile, serial, error);
    if (status != KITH_E_NOTFOUND) return status;
    return ki_fail(error, status, "%s: there is no profile \"%s\"", collection->path, name);
}

static void fill_report(const kith_collection *collection, const ki_profile *profile, kith_profile_report *report) {
    *report = (kith_profile_report){.struct_size = sizeof(*report),
                                    .vector = collection->made.vector[profile->vector].name,
                                    .dim = profile->dim,
                                    .interests = profile->interest_count,
                                    .interests_max = profile->interests_max,
                                    .seen = profile->seen_count,
                                    .seen_max = profile->seen_max,
                                    .events = profile->events,
                                    .time_ms = profile->time_ms,
                                    .half_life_ms = profile->half_life_ms,
                                    .threshold = profile->threshold};
    memcpy(report->weights, profile->weight, profile->interest_count * sizeof(double));
}

kith_status kith_collection_profile_get(kith_collection *collection, const char *name, kith_profile_report *report,
                                        float *vectors, size_t room, kith_error *error) {
    ki_profile profile;
    kith_profile_report today;
    if (!collection || !name || !report)
        return ki_fail(error, KITH_E_ARG, "kith_collection_profile_get: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_PROFILE_REPORT, report, error);
    if (status == KITH_OK) status = ki_profile_read(collection, name, &profile, NULL, error);
    if (status != KITH_OK) return status;
    const size_t needed = (size_t)profile.interest_count * profile.dim;
    if (vectors && room < needed) {
        status = ki_fail(error, KITH_E_ARG, "the profile \"%s\" has %u interests of %u elements, there is room for %zu",
                         name, profile.interest_count, profile.dim, room);
    } else {
        for (uint32_t i = 0; vectors && i < profile.interest_count; i++)
            ki_profile_query(&profile, i, vectors + (size_t)i * profile.dim);
        fill_report(collection, &profile, &today);
        ki_grown_write(KI_GROWN_PROFILE_REPORT, &today, report);
    }
    ki_profile_free(&profile);
    return status;
}

/* ---- Telling it of events ---------------------------------------------------------------------------------------- */

/* One call's work. */
struct telling {
    kith_collection *collection;
    const char *name;
    const kith_ids *ids;
    const kith_profile_event *events;
    kith_profile_options options;
    uint64_t now_ms;
    ki_snapshot *snapshot;
    const ki_generation *generation; /* the current one: whose vectors items have */
    ki_profile profile;
    float *vector; /* of an item */
    ki_bytes body; /* the profile as it will be */
};

static kith_status check_event(const struct telling *t, size_t number, kith_error *error) {
    const kith_profile_event *event = &t->events[number];
    char item[KI_ITEM_TEXT];
    ki_item_text(t->ids, number, item);
    if (event->kind < KITH_EVENT_LIKE || event->kind > KITH_EVENT_SEEN || event->reserved)
        return ki_fail(error, KITH_E_ARG, "%s: %d is no kind of event", item, (int)event->kind);
    if (!(event->weight >= 0 && event->weight <= WEIGHT_MAX))
        return ki_fail(error, KITH_E_ARG, "%s: the weight %g is not within 0 to %g", item, event->weight, WEIGHT_MAX);
    if (event->time_ms > t->now_ms + AHEAD_MS)
        return ki_fail(error, KITH_E_ARG,
                       "%s: the time %llu is more than a day ahead: it counts milliseconds since 1970", item,
                       (unsigned long long)event->time_ms);
    return KITH_OK;
}

static kith_status check_telling(const struct telling *t, kith_error *error) {
    const kith_profile_options *options = &t->options;
    kith_status status = ki_profile_check_name(t->name, error);
    if (status == KITH_OK) status = ki_ids_check(&t->collection->made, t->ids, error);
    if (status == KITH_OK && options->interests > KITH_INTERESTS_MAX)
        status = ki_fail(error, KITH_E_ARG, "%zu interests: a profile has at most %u", options->interests,
                         KITH_INTERESTS_MAX);
    if (status == KITH_OK && options->seen > KITH_SEEN_MAX)
        status =
            ki_fail(error, KITH_E_ARG, "%zu seen items: a profile remembers at most %u", options->seen, KITH_SEEN_MAX);
    if (status == KITH_OK && !(options->threshold >= 0 && options->threshold <= 1))
        status = ki_fail(error, KITH_E_ARG, "the threshold %g is not within 0 to 1", options->threshold);
    for (size_t i = 0; i < t->ids->count && status == KITH_OK; i++) status = check_event(t, i, error);
    return status;
}

/* A profile that is not there yet, without settings. */
static kith_status begin_profile(struct telling *t, size_t slot, kith_error *error) {
    const ki_generations *generations = t->snapshot->generations;
    const ki_vector *vector = &generations->vector[slot];
    if (vector->dtype == KITH_B1)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" is of bits: profiles are of numbers", vector->name);
    t->profile = (ki_profile){.vector = generations->name[slot],
                              .tenant = generations->tenant[slot],
                              .dim = (uint32_t)vector->dim,
                              .metric = vector->metric,
                              .interests_max = 1,
                              .seen_max = SEEN_DEFAULT,
                              .half_life_ms = UINT64_MAX,
                              .threshold = THRESHOLD};
    return KITH_OK;
}

static kith_status take_options(struct telling *t, kith_error *error) {
    const kith_profile_options *options = &t->options;
    ki_profile *profile = &t->profile;
    const ki_profile_settings settings = {
        .interests_max = options->interests ? (uint32_t)options->interests : profile->interests_max,
        .seen_max = options->seen ? (uint32_t)options->seen : profile->seen_max,
        .half_life_ms = options->half_life_ms ? options->half_life_ms : profile->half_life_ms,
        .threshold = options->threshold > 0 ? options->threshold : profile->threshold};
    return ki_profile_set(profile, &settings, error);
}

static kith_status load(struct telling *t, kith_error *error) {
    size_t slot = 0;
    kith_status status = read_record(t->collection, t->name, &t->profile, NULL, error);
    const int is_new = status == KITH_E_NOTFOUND;
    if (status != KITH_OK && !is_new) return status;
    status = is_new || t->options.vector
                 ? ki_generations_slot(t->snapshot->generations, t->generation, t->options.vector, &slot, error)
                 : KITH_OK;
    if (status == KITH_OK && is_new) status = begin_profile(t, slot, error);
    if (status == KITH_OK && !is_new) status = ki_profile_suit(t->snapshot, t->generation, t->name, &t->profile, error);
    if (status == KITH_OK && !is_new && t->options.vector && t->snapshot->generations->name[slot] != t->profile.vector)
        status = ki_fail(error, KITH_E_ARG, "the profile \"%s\" is of the vector \"%s\", not of \"%s\"", t->name,
                         t->collection->made.vector[t->profile.vector].name, t->options.vector);
    return status == KITH_OK ? take_options(t, error) : status;
}

/* The key of an item that lives, and its vector where the event needs one. */
static kith_status read_item(struct telling *t, size_t number, uint64_t *key, kith_error *error) {
    char item[KI_ITEM_TEXT];
    ki_place place;
    kith_status status = KITH_OK;
    if (t->collection->made.id_kind == KITH_ID_STRING)
        status = ki_catalog_find_text(t->collection->catalog, ki_ids_text(t->ids, number), key, error);
    else
        *key = t->ids->ids[number];
    if (status == KITH_OK && !ki_snapshot_find(t->snapshot, *key, &place)) status = KITH_E_NOTFOUND;
    if (status == KITH_E_NOTFOUND)
        return ki_fail(error, status, "%s: there is no such item", ki_item_text(t->ids, number, item));
    if (status != KITH_OK || t->events[number].kind == KITH_EVENT_SEEN) return status;
    status = ki_snapshot_vector(t->snapshot, &place, t->generation->slot[t->profile.vector], t->vector, error);
    if (status != KITH_E_NOTFOUND) return status;
    return ki_fail(error, KITH_E_DATA, "%s has no vector \"%s\", which the profile is of",
                   ki_item_text(t->ids, number, item), t->collection->made.vector[t->profile.vector].name);
}

static kith_status apply(struct telling *t, kith_error *error) {
    for (size_t i = 0; i < t->ids->count; i++) {
        const kith_profile_event *from = &t->events[i];
        ki_profile_event event = {.kind = from->kind,
                                  .weight = from->kind == KITH_EVENT_VIEW ? VIEW_WEIGHT : 1,
                                  .time_ms = from->time_ms ? from->time_ms : t->now_ms,
                                  .vector = t->vector};
        const kith_status status = read_item(t, i, &event.key, error);
        if (status != KITH_OK) return status;
        if (from->weight > 0) event.weight = from->weight;
        ki_profile_apply(&t->profile, &event);
    }
    return KITH_OK;
}

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct telling *t = context;
    return ki_catalog_put_record(collection->catalog, KI_RECORD_PROFILE, bytes_of(t->name), t->body, error);
}

static kith_status commit(struct telling *t, kith_error *error) {
    ki_hot *hot = t->collection->hot;
    void *data = NULL;
    kith_status status = ki_profile_encode(&t->profile, &data, &t->body.bytes, error);
    if (status != KITH_OK) return status;
    t->body.data = data;
    ki_hot_begin(hot, t->name);
    status = ki_commit_records(t->collection, put, t, error);
    ki_hot_end(hot, t->name, status == KITH_OK ? t->body : (ki_bytes){0});
    free(data);
    return status;
}

/* Under `writing`. */
static kith_status tell(struct telling *t, kith_error *error) {
    t->snapshot = ki_snapshot_pin(t->collection);
    t->generation = ki_generations_current(t->snapshot->generations);
    kith_status status = load(t, error);
    if (status == KITH_OK) {
        t->vector = ki_alloc_array(t->profile.dim, sizeof(float));
        status = t->vector ? apply(t, error) : ki_fail(error, KITH_E_NOMEM, "out of memory for a profile");
    }
    if (status == KITH_OK) status = commit(t, error);
    ki_profile_free(&t->profile);
    ki_snapshot_release(t->snapshot);
    free(t->vector);
    return status;
}

kith_status kith_collection_profile_event(kith_collection *collection, const char *profile, const kith_ids *items,
                                          const kith_profile_event *events, const kith_profile_options *options,
                                          kith_error *error) {
    struct telling t = {.collection = collection, .name = profile, .ids = items, .events = events};
    if (!collection || !profile || !items || !events)
        return ki_fail(error, KITH_E_ARG, "kith_collection_profile_event: an argument is NULL");
    t.options = (kith_profile_options)KITH_PROFILE_OPTIONS_INIT;
    t.now_ms = collection->now_ms();
    kith_status status = ki_grown_read(KI_GROWN_PROFILE_OPTIONS, options, &t.options, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status == KITH_OK) status = check_telling(&t, error);
    if (status == KITH_OK) status = ki_collection_expire(collection, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&collection->writing);
    status = tell(&t, error);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

/* ---- Forgetting -------------------------------------------------------------------------------------------------- */

static kith_status remove_record(kith_collection *collection, void *context, kith_error *error) {
    const char *name = context;
    return ki_catalog_remove_record(collection->catalog, KI_RECORD_PROFILE, bytes_of(name), error);
}

static kith_status forget(kith_collection *collection, const char *name, kith_error *error) {
    ki_hot_begin(collection->hot, name);
    const kith_status status = ki_commit_records(collection, remove_record, (void *)(uintptr_t)name, error);
    ki_hot_end(collection->hot, name, (ki_bytes){0});
    return status;
}

kith_status kith_collection_profile_delete(kith_collection *collection, const char *name, kith_error *error) {
    ki_found found = {0};
    kith_error own = {0};
    if (!collection || !name) return ki_fail(error, KITH_E_ARG, "kith_collection_profile_delete: an argument is NULL");
    kith_status status = ki_collection_takes_writes(collection, error);
    if (status == KITH_OK) status = ki_profile_check_name(name, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&collection->writing);
    /* One that is damaged can be forgotten too. */
    status = ki_catalog_get_record(collection->catalog, KI_RECORD_PROFILE, bytes_of(name), &found, &own);
    if (status == KITH_E_NOTFOUND)
        status = ki_fail(error, status, "%s: there is no profile \"%s\"", collection->path, name);
    else if (status == KITH_OK || status == KITH_E_CORRUPT)
        status = forget(collection, name, error);
    else
        (void)ki_fail(error, status, "%s", own.text);
    pthread_mutex_unlock(&collection->writing);
    ki_found_free(&found);
    return status;
}

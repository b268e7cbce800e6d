/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles: events, what one is like, forgetting, making anew. They are of the whole collection. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "native/inner.h"

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static int read_kind(ks_call *call, const char *word, size_t number, kith_event_kind *kind) {
    static const struct {
        const char *word;
        kith_event_kind kind;
    } kinds[] = {{"like", KITH_EVENT_LIKE},
                 {"dislike", KITH_EVENT_DISLIKE},
                 {"view", KITH_EVENT_VIEW},
                 {"seen", KITH_EVENT_SEEN}};
    for (size_t i = 0; word && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].word, word) != 0) continue;
        *kind = kinds[i].kind;
        return 0;
    }
    ks_call_fail(call, 400, "event %zu needs a \"kind\" of like, dislike, view or seen", number);
    return -1;
}

static int read_event(ks_call *call, const json_t *from, size_t number, kith_profile_event *event) {
    static const char *const known[] = {"item", "kind", "weight", "time_ms", NULL};
    const char *kind = NULL;
    if (!json_is_object(from)) {
        ks_call_fail(call, 400, "event %zu is no object with \"item\" and \"kind\"", number);
        return -1;
    }
    *event = (kith_profile_event){0};
    if (ks_members_only(call, from, known) != 0 || ks_member_text(call, from, "kind", &kind) < 0 ||
        ks_member_real(call, from, "weight", 0, 1e6, &event->weight) < 0 ||
        ks_member_uint(call, from, "time_ms", UINT64_MAX, &event->time_ms) < 0)
        return -1;
    return read_kind(call, kind, number, &event->kind);
}

/* The items of all events as one array, as ids are read. */
static int read_items(ks_call *call, const ks_shop *shop, const json_t *events, kith_ids *ids) {
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    ks_json_array(&json, NULL);
    for (size_t i = 0; i < json_array_size(events); i++)
        ks_json_value(&json, NULL, json_object_get(json_array_get(events, i), "item"));
    ks_json_array_end(&json);
    const char *copy = text.failed ? NULL : ks_call_copy(call, text.bytes, text.used);
    kith_error error = {0};
    const json_t *items = copy ? ks_parse(call, copy, text.used, &error) : NULL;
    ks_text_free(&text);
    if (!items) {
        ks_call_no_memory(call);
        return -1;
    }
    return ks_v1_ids(call, shop, items, "item", ids);
}

static int read_settings(ks_call *call, const json_t *body, kith_profile_options *options) {
    static const char *const known[] = {"vector", "interests", "seen", "half_life_ms", "threshold", NULL};
    const json_t *from = NULL;
    uint64_t interests = 0, seen = 0;
    const int there = ks_member_object(call, body, "options", &from);
    if (there <= 0) return there;
    if (ks_members_only(call, from, known) != 0 || ks_member_text(call, from, "vector", &options->vector) < 0 ||
        ks_member_uint(call, from, "interests", KITH_INTERESTS_MAX, &interests) < 0 ||
        ks_member_uint(call, from, "seen", KITH_SEEN_MAX, &seen) < 0 ||
        ks_member_uint(call, from, "half_life_ms", UINT64_MAX, &options->half_life_ms) < 0 ||
        ks_member_real(call, from, "threshold", 0, 1, &options->threshold) < 0)
        return -1;
    options->interests = (size_t)interests;
    options->seen = (size_t)seen;
    return 0;
}

static void add_events(ks_call *call, ks_shop *shop) {
    static const char *const known[] = {"events", "options", NULL};
    const size_t max = ks_app_of(call)->limits.points_max;
    const json_t *list = NULL;
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    kith_error error = {0};
    kith_ids items;
    const json_t *body = ks_body(call, "an object with \"events\"");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_array(call, body, "events", &list) < 0 ||
        read_settings(call, body, &options) != 0)
        return;
    const size_t count = json_array_size(list);
    if (count < 1 || count > max) {
        ks_call_fail(call, count ? 413 : 400, "\"events\" must be an array of 1..%zu events, and %zu are there", max,
                     count);
        return;
    }
    kith_profile_event *events = ks_call_alloc(call, count * sizeof *events);
    if (!events) {
        ks_call_no_memory(call);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (read_event(call, json_array_get(list, i), i + 1, &events[i]) != 0) return;
    if (read_items(call, shop, list, &items) != 0) return;
    const kith_status status =
        kith_collection_profile_event(shop->collection, call->parts[1], &items, events, &options, &error);
    if (status == KITH_OK)
        ks_text_format(&call->reply.body, "{\"events\":%zu}", count);
    else
        ks_call_fail_status(call, status, &error);
    ks_v1_written(call);
}

void ks_v1_profile_events(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, add_events);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void add_interests(ks_json *json, const kith_profile_report *report, const float *vectors) {
    ks_json_array(json, "interests");
    for (size_t i = 0; i < report->interests && i < KITH_INTERESTS_MAX; i++) {
        ks_json_object(json, NULL);
        ks_json_real(json, "weight", report->weights[i]);
        if (vectors) ks_json_floats(json, "vector", vectors + i * report->dim, report->dim);
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
}

static void write_profile(ks_call *call, const kith_profile_report *report, const float *vectors) {
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "profile", call->parts[1]);
    ks_json_text(&json, "vector", report->vector);
    ks_json_uint(&json, "dim", report->dim);
    add_interests(&json, report, vectors);
    ks_json_uint(&json, "interests_max", report->interests_max);
    ks_json_uint(&json, "seen", report->seen);
    ks_json_uint(&json, "seen_max", report->seen_max);
    ks_json_uint(&json, "events", report->events);
    ks_json_uint(&json, "time_ms", report->time_ms);
    if (report->half_life_ms == UINT64_MAX)
        ks_json_null(&json, "half_life_ms");
    else
        ks_json_uint(&json, "half_life_ms", report->half_life_ms);
    ks_json_real(&json, "threshold", report->threshold);
    ks_json_object_end(&json);
    ks_v1_written(call);
}

static void get_profile(ks_call *call, ks_shop *shop) {
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    kith_error error = {0};
    unsigned with = 0;
    float *vectors = NULL;
    const char *name = call->parts[1];
    if (ks_v1_with_argument(call, &with) < 0) return;
    kith_status status = kith_collection_profile_get(shop->collection, name, &report, NULL, 0, &error);
    if (status == KITH_OK && with & KITH_WITH_VECTORS) {
        const size_t room = KITH_INTERESTS_MAX * report.dim;
        vectors = ks_call_alloc(call, room * sizeof *vectors);
        if (!vectors) {
            ks_call_no_memory(call);
            return;
        }
        status = kith_collection_profile_get(shop->collection, name, &report, vectors, room, &error);
    }
    if (status == KITH_OK)
        write_profile(call, &report, vectors);
    else
        ks_call_fail_status(call, status, &error);
}

void ks_v1_profile_get(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE, get_profile);
}

/* ---- Forgetting, and making anew --------------------------------------------------------------------------------- */

static void delete_profile(ks_call *call, ks_shop *shop) {
    kith_error error = {0};
    const kith_status status = kith_collection_profile_delete(shop->collection, call->parts[1], &error);
    if (status == KITH_OK)
        ks_text_add_line(&call->reply.body, "{\"deleted\":true}");
    else
        ks_call_fail_status(call, status, &error);
}

void ks_v1_profile_delete(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE | KS_V1_CHANGES, delete_profile);
}

static kith_status rebuild(void *context, ks_shop *shop, kith_progress_fn progress, void *progress_context,
                           ks_text *made, kith_error *error) {
    kith_rebuild_report report = KITH_REBUILD_REPORT_INIT;
    const kith_status status =
        kith_collection_profile_rebuild(shop->collection, context, progress, progress_context, &report, error);
    if (status != KITH_OK) return status;
    ks_text_format(made, "{\"profiles\":%llu,\"events\":%llu,\"skipped\":%llu}", (unsigned long long)report.profiles,
                   (unsigned long long)report.events, (unsigned long long)report.skipped);
    return KITH_OK;
}

void ks_v1_profiles_rebuild(ks_call *call) {
    static const char *const known[] = {"profile", NULL};
    const char *name = NULL;
    char *copy = NULL;
    if (call->body_bytes) {
        const json_t *body = ks_body(call, "an object with a \"profile\", or empty");
        if (!body || ks_members_only(call, body, known) != 0 || ks_member_text(call, body, "profile", &name) < 0) {
            ks_call_done(call);
            return;
        }
    }
    if (name && !(copy = strdup(name))) {
        ks_call_no_memory(call);
        ks_call_done(call);
        return;
    }
    ks_v1_begin_job(call, "rebuild", rebuild, free, copy);
}

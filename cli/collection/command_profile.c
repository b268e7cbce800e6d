/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith profile`: tell a profile of events, show it, make it anew, forget it. */
#define _GNU_SOURCE
#include "collection/collection.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LISTS = 4 };

/* The options that hold ids, and what they mean. */
static const struct {
    enum option_id option;
    kith_event_kind kind;
} lists[LISTS] = {{OPTION_SHOWN, KITH_EVENT_SEEN},
                  {OPTION_VIEW, KITH_EVENT_VIEW},
                  {OPTION_LIKE, KITH_EVENT_LIKE},
                  {OPTION_DISLIKE, KITH_EVENT_DISLIKE}};

struct telling {
    const struct arguments *arguments;
    struct shop shop;
    const char *name;
    size_t count;
    char *memory; /* the lists, cut at their commas */
    const char **ids;
    kith_profile_event *events;
};

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static size_t count_words(const char *text) {
    size_t count = 1;
    while ((text = strchr(text, ','))) count++, text++;
    return count;
}

static void cut_list(struct telling *t, char **memory, const char *text, kith_event_kind kind) {
    char *word = strcpy(*memory, text);
    *memory += strlen(text) + 1;
    for (char *next; word; word = next) {
        next = strchr(word, ',');
        if (next) *next++ = 0;
        t->ids[t->count] = word;
        t->events[t->count++] = (kith_profile_event){.kind = kind};
    }
}

/* The lists as one: what was shown, what was looked at, likes, dislikes. */
static int gather(struct telling *t) {
    size_t bytes = 0, words = 0;
    for (int i = 0; i < LISTS; i++) {
        const char *text = option_text(t->arguments, lists[i].option, NULL);
        if (text) bytes += strlen(text) + 1, words += count_words(text);
    }
    t->memory = malloc(bytes + 1);
    t->ids = calloc(words + 1, sizeof(*t->ids));
    t->events = calloc(words + 1, sizeof(*t->events));
    if (!t->memory || !t->ids || !t->events) return fail(EXIT_OTHER, "out of memory");
    char *at = t->memory;
    for (int i = 0; i < LISTS; i++) {
        const char *text = option_text(t->arguments, lists[i].option, NULL);
        if (text) cut_list(t, &at, text, lists[i].kind);
    }
    return EXIT_OK;
}

static kith_profile_options options_of(const struct arguments *arguments) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    options.vector = option_text(arguments, OPTION_VECTOR, NULL);
    options.interests = (size_t)option_number(arguments, OPTION_INTERESTS, 0);
    options.half_life_ms = option_number(arguments, OPTION_HALF_LIFE, 0) / 1000000;
    options.threshold = option_real(arguments, OPTION_THRESHOLD, 0);
    return options;
}

/* Options that change a profile; without any it is only shown. */
static bool changes(const struct arguments *arguments) {
    bool given = option_given(arguments, OPTION_INTERESTS) || option_given(arguments, OPTION_HALF_LIFE) ||
                 option_given(arguments, OPTION_THRESHOLD) || option_given(arguments, OPTION_VECTOR);
    for (int i = 0; i < LISTS; i++) given = given || option_given(arguments, lists[i].option);
    return given;
}

static int tell(struct telling *t) {
    struct shop_ids ids = {0};
    kith_error error = {0};
    const kith_profile_options options = options_of(t->arguments);
    int failed = gather(t);
    if (!failed) failed = shop_ids_parse(&t->shop, t->ids, t->count, &ids);
    if (!failed) {
        const kith_status status =
            kith_collection_profile_event(t->shop.collection, t->name, &ids.ids, t->events, &options, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    shop_ids_free(&ids);
    return failed;
}

static int forget(struct telling *t) {
    kith_error error = {0};
    const kith_status status = kith_collection_profile_delete(t->shop.collection, t->name, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

/* ---- Anew -------------------------------------------------------------------------------------------------------- */

static void show_rebuilt(const struct telling *t, const kith_rebuild_report *report) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    struct json json = JSON_LINES(stdout);
    if (option_given(t->arguments, OPTION_JSON)) {
        emit_object(&json, NULL);
        emit_uint(&json, "profiles", report->profiles);
        emit_uint(&json, "events", report->events);
        emit_uint(&json, "skipped", report->skipped);
        emit_object_end(&json);
    } else if (!option_given(t->arguments, OPTION_QUIET)) {
        pair_line(stdout, "rebuilt",
                  "%s profile%s of %s events, %s of them left out: their items are gone or lack the vector",
                  human_count(a, report->profiles), report->profiles == 1 ? "" : "s", human_count(b, report->events),
                  human_count(c, report->skipped));
    }
}

/* One profile, or all. */
static int rebuild(struct telling *t) {
    kith_rebuild_report report = KITH_REBUILD_REPORT_INIT;
    struct progress progress;
    kith_error error = {0};
    progress_start(&progress, option_given(t->arguments, OPTION_QUIET));
    const kith_status status =
        kith_collection_profile_rebuild(t->shop.collection, t->name, progress_report, &progress, &report, &error);
    progress_end(&progress);
    if (status != KITH_OK) return fail_status(status, &error);
    show_rebuilt(t, &report);
    return EXIT_OK;
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static void show_json(const struct telling *t, const kith_profile_report *report, const float *vectors) {
    struct json json = JSON_LINES(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "profile", t->name);
    emit_text(&json, "vector", report->vector);
    emit_array(&json, "interests");
    for (size_t i = 0; i < report->interests; i++) {
        emit_object(&json, NULL);
        emit_real(&json, "weight", report->weights[i]);
        if (option_given(t->arguments, OPTION_WITH_VECTORS)) {
            emit_array(&json, "vector");
            for (size_t d = 0; d < report->dim; d++) emit_float(&json, NULL, vectors[i * report->dim + d]);
            emit_array_end(&json);
        }
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_uint(&json, "interests_max", report->interests_max);
    emit_uint(&json, "seen", report->seen);
    emit_uint(&json, "seen_max", report->seen_max);
    emit_uint(&json, "events", report->events);
    emit_uint(&json, "time_ms", report->time_ms);
    if (report->half_life_ms == UINT64_MAX) {
        emit_null(&json, "half_life_ms");
    } else {
        emit_uint(&json, "half_life_ms", report->half_life_ms);
    }
    emit_real(&json, "threshold", report->threshold);
    emit_object_end(&json);
}

static void show_text(const struct telling *t, const kith_profile_report *report) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], when[32] = "";
    const time_t seconds = (time_t)(report->time_ms / 1000);
    struct tm time;
    pair_line(stdout, "profile", "%s, of %s%s%zu dimensions", t->name, report->vector, *report->vector ? ", " : "",
              report->dim);
    pair_line(stdout, "interests", "%zu of at most %zu", report->interests, report->interests_max);
    for (size_t i = 0; i < report->interests; i++) pair_line(stdout, "", "weight %.4g", report->weights[i]);
    pair_line(stdout, "seen", "%s items, at most %s are remembered", human_count(a, report->seen),
              human_count(b, report->seen_max));
    if (report->time_ms && gmtime_r(&seconds, &time)) strftime(when, sizeof(when), ", the last %FT%TZ", &time);
    pair_line(stdout, "events", "%s%s", human_count(a, report->events), when);
    pair_line(stdout, "half-life", "%s",
              report->half_life_ms == UINT64_MAX ? "none" : human_duration(a, (double)report->half_life_ms * 1e-3));
}

static int show(struct telling *t) {
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    kith_error error = {0};
    kith_status status = kith_collection_profile_get(t->shop.collection, t->name, &report, NULL, 0, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    const size_t room = report.dim * KITH_INTERESTS_MAX;
    float *vectors = calloc(room, sizeof(*vectors));
    if (!vectors) return fail(EXIT_OTHER, "out of memory");
    status = kith_collection_profile_get(t->shop.collection, t->name, &report, vectors, room, &error);
    const int failed = status == KITH_OK ? EXIT_OK : fail_status(status, &error);
    if (!failed && option_given(t->arguments, OPTION_JSON)) {
        show_json(t, &report, vectors);
    } else if (!failed) {
        show_text(t, &report);
    }
    free(vectors);
    return failed;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int check(const struct arguments *arguments) {
    const bool forgets = option_given(arguments, OPTION_FORGET), rebuilds = option_given(arguments, OPTION_REBUILD);
    if ((forgets || rebuilds) && (changes(arguments) || (forgets && rebuilds)))
        return fail_usage(COMMAND_PROFILE, "--%s goes with no other option", forgets ? "forget" : "rebuild");
    if (arguments->operand_count < 2 && !rebuilds)
        return fail_usage(COMMAND_PROFILE, "profile needs the name of a profile behind the folder");
    return EXIT_OK;
}

/* What is asked for besides showing it. */
static int act(struct telling *t) {
    if (option_given(t->arguments, OPTION_FORGET)) return forget(t);
    if (option_given(t->arguments, OPTION_REBUILD)) return rebuild(t);
    return changes(t->arguments) ? tell(t) : EXIT_OK;
}

int command_profile(const struct arguments *arguments) {
    struct telling t = {.arguments = arguments, .name = arguments->operand_count > 1 ? arguments->operands[1] : NULL};
    const bool tells = changes(arguments),
               ends = option_given(arguments, OPTION_FORGET) || option_given(arguments, OPTION_REBUILD);
    int failed = check(arguments);
    if (!failed) failed = shop_open(arguments, !ends && !tells, &t.shop);
    if (!failed) failed = act(&t);
    if (!failed && !ends && !(tells && option_given(arguments, OPTION_QUIET))) failed = show(&t);
    shop_close(&t.shop);
    free(t.memory);
    free(t.ids);
    free(t.events);
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The options, once: name, place, range, default and meaning. The command line, the trace header and the checks all
 * walk this table. */
#include "traffic.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/status.h"

#define COUNT(name_, member, min_, max_, standard_, help_)                                                             \
    {                                                                                                                  \
        .name = name_, .offset = offsetof(struct traffic_options, member), .real = false, .min = min_, .max = max_,    \
        .standard = standard_, .help = help_                                                                           \
    }
#define REAL(name_, member, min_, max_, standard_, help_)                                                              \
    {                                                                                                                  \
        .name = name_, .offset = offsetof(struct traffic_options, member), .real = true, .min = min_, .max = max_,     \
        .standard = standard_, .help = help_                                                                           \
    }

const struct traffic_option traffic_option_table[] = {
    COUNT("seed", seed, 0, 9007199254740992.0, 1, "the same seed and options give the same bytes"),
    COUNT("users", users, 1, 2147483648.0, 100000, "users"),
    COUNT("items", items, 1, 1073741824.0, 100000, "items before the first event"),
    COUNT("dim", dim, 1, 4096, 64, "elements of a vector"),
    COUNT("topics", topics, 1, 65535, 64, "latent topics"),
    COUNT("segments", segments, 1, 65535, 16, "segments (tenants, regions); a user and an item have one each"),
    COUNT("k", k, 1, 10000, 10, "results that a query asks for"),
    COUNT("events", events, 0, 1e12, 0, "end after so many events; 0: when the days are over"),
    REAL("days", days, 1e-6, 3650, 2, "days of traffic"),
    REAL("rate", rate, 1e-6, 1e7, 10, "session events a second, on average over a day"),
    REAL("day-swing", day_swing, 0, 1, 0.6, "how far arrivals swing with the hour; 0: not at all"),
    REAL("user-zipf", user_zipf, 0, 8, 0.8, "Zipf exponent of the users' activity"),
    REAL("item-zipf", item_zipf, 0, 8, 0.9, "Zipf exponent of items within a topic and segment"),
    REAL("topic-zipf", topic_zipf, 0, 8, 0.5, "Zipf exponent of topics"),
    REAL("segment-zipf", segment_zipf, 0, 8, 1, "Zipf exponent of the segments' sizes"),
    COUNT("session-shape", session_shape, 0, 1, TRAFFIC_LOGNORMAL, "session lengths: 0 geometric, 1 lognormal"),
    REAL("session-length", session_length, 1, 100000, 12, "mean events of a session"),
    REAL("session-sigma", session_sigma, 0, 3, 1, "sigma of lognormal session lengths"),
    REAL("gap", gap, 0, 86400, 15, "median seconds between events of a session"),
    REAL("gap-sigma", gap_sigma, 0, 3, 1.2, "sigma of the lognormal gaps"),
    REAL("query-share", query_share, 0, 1, 0.4, "chance that a step of a session is a query"),
    REAL("user-query-share", user_query_share, 0, 1, 0.5, "share of queries that name the user instead of a vector"),
    REAL("like-share", like_share, 0, 1, 0.15, "chance that a view is followed by a like"),
    REAL("segment-filter", segment_filter, 0, 1, 0.2, "share of queries filtered by the user's segment"),
    REAL("topic-filter", topic_filter, 0, 1, 0.1, "share of queries filtered by topic"),
    REAL("explore", explore, 0, 1, 0.1, "chance that a session's topic is none of the user's own"),
    REAL("topic-switch", topic_switch, 0, 1, 0.15, "chance at a query that the session's topic changes"),
    REAL("taste-days", taste_days, 0, 3650, 14, "days after which a topic of a user is replaced; 0: never"),
    REAL("focus", focus, 0, 1, 0.6, "weight of the session's topic in a query, against the lasting taste"),
    REAL("context", context, 0, 10, 0.3, "weight of the item last seen in a query"),
    REAL("noise", noise, 0, 10, 0.3, "length of a query's noise, where a topic has 1"),
    REAL("spread", spread, 0, 10, 0.7, "length of an item's and a user's own part, where a topic has 1"),
    REAL("insert", insert_share, 0, 1000, 0.02, "items inserted by day, as a share of --items"),
    REAL("update", update_share, 0, 1000, 0.05, "items updated by day, as a share of --items"),
    REAL("delete", delete_share, 0, 1000, 0.01, "items deleted by day, as a share of --items"),
    REAL("trend", trend, 0, 1, 0.5, "share of new items that enter near the top of their list"),
    REAL("churn", churn, 0, 1, 0.05, "share of live items replaced each night"),
    REAL("churn-hour", churn_hour, 0, 23.999, 3, "hour of the nightly churn and of flips"),
    COUNT("flip-days", flip_days, 0, 3650, 1, "a new generation of vectors every so many nights; 0: never"),
    REAL("reembed", reembed, 0, 1, 0.2, "how far a generation lies from the first: 0 same, 1 unrelated"),
    {.name = NULL},
};

size_t traffic_option_count(void) {
    return sizeof(traffic_option_table) / sizeof(*traffic_option_table) - 1;
}

static void set(struct traffic_options *options, const struct traffic_option *option, double value) {
    char *at = (char *)options + option->offset;
    if (option->real) {
        ki_store_f64(at, value);
    } else {
        ki_store_u64(at, (uint64_t)value);
    }
}

double traffic_option_get(const struct traffic_options *options, const struct traffic_option *option) {
    const char *at = (const char *)options + option->offset;
    return option->real ? ki_load_f64(at) : (double)ki_load_u64(at);
}

void traffic_options_default(struct traffic_options *options) {
    memset(options, 0, sizeof(*options));
    for (const struct traffic_option *option = traffic_option_table; option->name; option++)
        set(options, option, option->standard);
}

/* Every allowed whole number is at most 2^53, so a double carries it. */
kith_status traffic_option_parse(struct traffic_options *options, const struct traffic_option *option, const char *text,
                                 kith_error *error) {
    char *end;
    const double value = strtod(text, &end);
    const char *kind = option->real ? "a number" : "a whole number";
    if (end == text || *end || !(value >= option->min && value <= option->max) ||
        (!option->real && value != floor(value)))
        return ki_fail(error, KITH_E_ARG, "--%s takes %s from %.16g to %.16g, not \"%.60s\"", option->name, kind,
                       option->min, option->max, text);
    set(options, option, value);
    return KITH_OK;
}

kith_status traffic_options_check(const struct traffic_options *options, kith_error *error) {
    for (const struct traffic_option *option = traffic_option_table; option->name; option++) {
        const double value = traffic_option_get(options, option);
        if (!(value >= option->min && value <= option->max))
            return ki_fail(error, KITH_E_ARG, "%s is %.16g, and must lie between %.16g and %.16g", option->name, value,
                           option->min, option->max);
    }
    if (options->topics * options->segments > TRAFFIC_LISTS_MAX)
        return ki_fail(error, KITH_E_ARG, "topics x segments is %llu, and must be at most %llu",
                       (unsigned long long)(options->topics * options->segments),
                       (unsigned long long)TRAFFIC_LISTS_MAX);
    return KITH_OK;
}

const char *traffic_kind_name(unsigned kind) {
    static const char *const names[TRAFFIC_KINDS] = {"?",      "query_vector", "query_user", "view", "like",
                                                     "insert", "update",       "delete",     "flip"};
    return kind < TRAFFIC_KINDS ? names[kind] : names[0];
}

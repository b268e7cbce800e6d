/* SPDX-License-Identifier: Apache-2.0
 *
 * Events as lines of JSON. Written digit by digit: a trace of a day has millions of them. */
#include "write.h"

#include <string.h>

#define LITERAL(to, text) (memcpy(to, text, sizeof(text) - 1), (to) + sizeof(text) - 1)

static char *put_text(char *to, const char *text) {
    const size_t bytes = strlen(text);
    memcpy(to, text, bytes);
    return to + bytes;
}

static char *put_number(char *to, uint64_t number, int digits_min) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number || count < digits_min);
    while (count) *to++ = digits[--count];
    return to;
}

static char *put_field(char *to, const char *name, uint32_t number) {
    if (number == TRAFFIC_NONE) return to;
    to = LITERAL(to, ",\"");
    to = put_text(to, name);
    to = LITERAL(to, "\":");
    return put_number(to, number, 1);
}

static char *put_query(char *to, const struct traffic_options *options, const struct traffic_event *event) {
    to = put_field(to, "k", (uint32_t)options->k);
    if (!event->flags) return to;
    to = LITERAL(to, ",\"filter\":{");
    char *begin = to;
    if (event->flags & TRAFFIC_FILTER_SEGMENT) to = put_number(LITERAL(to, "\"segment\":"), event->segment, 1);
    if (event->flags & TRAFFIC_FILTER_TOPIC) {
        if (to != begin) *to++ = ',';
        to = put_number(LITERAL(to, "\"topic\":"), event->topic, 1);
    }
    return LITERAL(to, "}");
}

size_t traffic_line(const struct traffic_options *options, const struct traffic_event *event, char *line) {
    char *to = LITERAL(line, "{\"time\":");
    to = put_number(to, event->time_us / 1000000, 1);
    *to++ = '.';
    to = put_number(to, event->time_us % 1000000, 6);
    to = LITERAL(to, ",\"kind\":\"");
    to = put_text(to, traffic_kind_name(event->kind));
    *to++ = '"';
    to = put_field(to, "user", event->user);
    to = put_field(to, "session", event->session);
    to = put_field(to, "item", event->item);
    to = put_field(to, event->kind == TRAFFIC_FLIP ? "generation" : "row", event->row);
    to = put_field(to, "segment", event->segment);
    if (event->kind != TRAFFIC_FLIP) to = put_field(to, "topic", event->topic);
    if (event->kind <= TRAFFIC_QUERY_USER) to = put_query(to, options, event);
    if (event->flags & TRAFFIC_NIGHTLY) to = LITERAL(to, ",\"nightly\":true");
    to = LITERAL(to, "}\n");
    return (size_t)(to - line);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/payload.h"

#include "base/checked.h"
#include "base/status.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

/* A run of bytes of one of the two texts. */
struct span {
    const char *at, *end;
};

/* A member of an object: its name in quotes, and its value. */
struct entry {
    struct span name, value;
};

struct merging {
    ki_text *out;
    char *name[2]; /* two names, decoded, to be compared */
    size_t room;
    kith_error *error;
};

/* ---- Walking over text that is JSON -------------------------------------------------------------------------------- */

static void skip_space(struct span *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static int take(struct span *s, char c) {
    skip_space(s);
    if (s->at == s->end || *s->at != c) return 0;
    s->at++;
    return 1;
}

/* Behind its opening quote, to behind its closing one. */
static int skip_string(struct span *s) {
    while (s->at < s->end && *s->at != '"') s->at += *s->at == '\\' && s->end - s->at > 1 ? 2 : 1;
    return take(s, '"');
}

/* Strings are stepped over, brackets are counted, and outside of brackets a value ends before what cannot be in it. */
static int skip_value(struct span *s, struct span *value) {
    size_t depth = 0;
    skip_space(s);
    value->at = s->at;
    while (s->at < s->end) {
        const char c = *s->at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
        s->at++;
        if (c == '"' && !skip_string(s)) return 0;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) break;
    }
    value->end = s->at;
    while (value->end > value->at && strchr(" \t\r\n", value->end[-1])) value->end--;
    return value->end > value->at && depth == 0;
}

static int open_object(struct span *s) {
    return take(s, '{');
}

/* The next member: 1; 0: the object has ended; -1: this is no JSON. */
static int next_entry(struct span *s, int first, struct entry *entry) {
    if (take(s, '}')) return 0;
    if (!first && !take(s, ',')) return -1;
    skip_space(s);
    entry->name.at = s->at;
    if (!take(s, '"') || !skip_string(s)) return -1;
    entry->name.end = s->at;
    return take(s, ':') && skip_value(s, &entry->value) ? 1 : -1;
}

static size_t length(struct span s) {
    return (size_t)(s.end - s.at);
}
static int is_object(struct span value) {
    return value.at < value.end && *value.at == '{';
}
static int is_null(struct span value) {
    return length(value) == 4 && memcmp(value.at, "null", 4) == 0;
}

/* ---- Names --------------------------------------------------------------------------------------------------------- */

/* The name without quotes and escapes, in m->name[which]; SIZE_MAX: it is not well formed. */
static size_t decode(struct merging *m, int which, struct span name) {
    ki_json json;
    char *text;
    size_t bytes;
    memcpy(m->name[which], name.at, length(name));
    m->name[which][length(name)] = 0;
    ki_json_begin(&json, m->name[which], length(name));
    if (!ki_json_string(&json, &text, &bytes)) return SIZE_MAX;
    memmove(m->name[which], text, bytes);
    return bytes;
}

static int same_name(struct merging *m, struct span a, struct span b) {
    if (length(a) == length(b) && memcmp(a.at, b.at, length(a)) == 0) return 1;
    if (!memchr(a.at, '\\', length(a)) && !memchr(b.at, '\\', length(b))) return 0;
    const size_t bytes = decode(m, 0, a);
    return bytes != SIZE_MAX && bytes == decode(m, 1, b) && memcmp(m->name[0], m->name[1], bytes) == 0;
}

/* The last member of that name, as readers of JSON take it; 0: there is none. */
static int find(struct merging *m, struct span object, struct span name, struct span *value) {
    struct entry entry;
    int found = 0;
    if (!open_object(&object)) return 0;
    for (int first = 1; next_entry(&object, first, &entry) == 1; first = 0)
        if (same_name(m, entry.name, name)) {
            *value = entry.value;
            found = 1;
        }
    return found;
}

/* ---- Merging ------------------------------------------------------------------------------------------------------- */

static kith_status put(struct merging *m, const char *text, size_t bytes) {
    void *data = m->out->data;
    if (bytes > KITH_PAYLOAD_MAX || m->out->bytes + bytes > KITH_PAYLOAD_MAX)
        return ki_fail(m->error, KITH_E_LIMIT, "the merged payload is longer than %u bytes", KITH_PAYLOAD_MAX);
    if (!ki_array_reserve(&data, &m->out->capacity, m->out->bytes + bytes, 1))
        return ki_fail(m->error, KITH_E_NOMEM, "out of memory");
    m->out->data = data;
    memcpy(m->out->data + m->out->bytes, text, bytes);
    m->out->bytes += bytes;
    return KITH_OK;
}

static kith_status put_name(struct merging *m, struct span name) {
    kith_status status = m->out->data[m->out->bytes - 1] == '{' ? KITH_OK : put(m, ",", 1);
    if (status == KITH_OK) status = put(m, name.at, length(name));
    return status == KITH_OK ? put(m, ":", 1) : status;
}

static kith_status no_object(struct merging *m) {
    return ki_fail(m->error, KITH_E_DATA, "the payload is no JSON object");
}

static kith_status merge(struct merging *m, struct span target, struct span patch, size_t depth);

/* A member of the patch, and what the target has in its place (at NULL: nothing). */
static kith_status put_patched(struct merging *m, struct span old, struct entry entry, size_t depth) {
    if (is_null(entry.value)) return KITH_OK;
    const kith_status status = put_name(m, entry.name);
    if (status != KITH_OK) return status;
    if (!is_object(entry.value)) return put(m, entry.value.at, length(entry.value));
    return merge(m, old, entry.value, depth + 1);
}

/* The target's members in their order, those that the patch names as it has them. */
static kith_status put_old(struct merging *m, struct span target, struct span patch, size_t depth) {
    struct entry entry, patched;
    struct span rest = target;
    int more;
    kith_status status = KITH_OK;
    if (!open_object(&rest)) return no_object(m);
    for (int first = 1; status == KITH_OK && (more = next_entry(&rest, first, &entry)) != 0; first = 0) {
        if (more < 0) return no_object(m);
        patched.name = entry.name;
        if (find(m, patch, entry.name, &patched.value))
            status = put_patched(m, entry.value, patched, depth);
        else if ((status = put_name(m, entry.name)) == KITH_OK)
            status = put(m, entry.value.at, length(entry.value));
    }
    return status;
}

/* The patch's members that the target does not have. */
static kith_status put_new(struct merging *m, struct span target, struct span patch, size_t depth) {
    static const struct span nothing = {NULL, NULL};
    struct span old, rest = patch;
    struct entry entry;
    int more;
    kith_status status = KITH_OK;
    if (!open_object(&rest)) return no_object(m);
    for (int first = 1; status == KITH_OK && (more = next_entry(&rest, first, &entry)) != 0; first = 0) {
        if (more < 0) return no_object(m);
        if (!is_object(target) || !find(m, target, entry.name, &old)) status = put_patched(m, nothing, entry, depth);
    }
    return status;
}

static kith_status merge(struct merging *m, struct span target, struct span patch, size_t depth) {
    if (depth > KI_MERGE_DEPTH)
        return ki_fail(m->error, KITH_E_LIMIT, "the payload is deeper than %d objects", KI_MERGE_DEPTH);
    kith_status status = put(m, "{", 1);
    if (status == KITH_OK && is_object(target)) status = put_old(m, target, patch, depth);
    if (status == KITH_OK) status = put_new(m, target, patch, depth);
    return status == KITH_OK ? put(m, "}", 1) : status;
}

kith_status ki_payload_merge(const char *target, size_t target_bytes, const char *patch, size_t patch_bytes,
                             ki_text *out, kith_error *error) {
    const size_t room = (target_bytes > patch_bytes ? target_bytes : patch_bytes) + 1;
    struct merging m = {.out = out, .room = room, .error = error};
    struct span old = {target, target ? target + target_bytes : NULL}, new = {patch, patch + patch_bytes};
    out->bytes = 0;
    m.name[0] = malloc(room);
    m.name[1] = malloc(room);
    kith_status status = m.name[0] && m.name[1] ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) {
        if (old.at) skip_space(&old);
        skip_space(&new);
        status = merge(&m, old, new, 0);
    }
    free(m.name[0]);
    free(m.name[1]);
    return status;
}

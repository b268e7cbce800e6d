/* SPDX-License-Identifier: Apache-2.0 */
#include "write/payload.h"

#include "base/checked.h"
#include "base/status.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* A run of bytes of one of the two texts. */
struct span {
    const char *at, *end;
};

/* A member of an object: its name in quotes, and its value. */
struct entry {
    struct span name, value;
    int used; /* of the patch: it took the place of one of the target's */
};

/* The members of one object of the patch, the last one of each name, and a hash table of their decoded names. */
struct members {
    struct entry *entry;
    size_t count, room;
    uint32_t *slot; /* number + 1; 0: free */
    size_t mask;
};

struct merging {
    ki_text *out;
    char *name[2]; /* two names, decoded, to be compared */
    kith_error *error;
};

/* ---- Walking over text that is JSON ------------------------------------------------------------------------------ */

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

/* ---- Names ------------------------------------------------------------------------------------------------------- */

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

static uint64_t hash_of(struct merging *m, struct span name) {
    if (!memchr(name.at, '\\', length(name))) return XXH3_64bits(name.at + 1, length(name) - 2);
    const size_t bytes = decode(m, 0, name);
    return bytes == SIZE_MAX ? 0 : XXH3_64bits(m->name[0], bytes);
}

/* The slot of a name: that of a member, or a free one. */
static uint32_t *slot_of(struct merging *m, const struct members *members, struct span name) {
    size_t at = hash_of(m, name) & members->mask;
    while (members->slot[at] && !same_name(m, members->entry[members->slot[at] - 1].name, name))
        at = (at + 1) & members->mask;
    return &members->slot[at];
}

static struct entry *find(struct merging *m, const struct members *members, struct span name) {
    const uint32_t number = *slot_of(m, members, name);
    return number ? &members->entry[number - 1] : NULL;
}

static void free_members(struct members *members) {
    free(members->entry);
    free(members->slot);
}

static kith_status no_object(struct merging *m) {
    return ki_fail(m->error, KITH_E_DATA, "the payload is no JSON object");
}

static kith_status no_memory(struct merging *m) {
    return ki_fail(m->error, KITH_E_NOMEM, "out of memory");
}

static kith_status list_members(struct merging *m, struct span object, struct members *members) {
    struct entry entry = {0};
    int more;
    if (!open_object(&object)) return no_object(m);
    for (int first = 1; (more = next_entry(&object, first, &entry)) != 0; first = 0) {
        void *entries = members->entry;
        if (more < 0) return no_object(m);
        if (!ki_array_reserve(&entries, &members->room, members->count + 1, sizeof(entry))) return no_memory(m);
        members->entry = entries;
        members->entry[members->count++] = entry;
    }
    return KITH_OK;
}

/* A name that is there twice means its last value, as readers of JSON take it. */
static kith_status gather(struct merging *m, struct span object, struct members *members) {
    const kith_status status = list_members(m, object, members);
    if (status != KITH_OK) return status;
    size_t slots = 8;
    while (slots < 2 * members->count) slots *= 2;
    members->mask = slots - 1;
    members->slot = ki_alloc_array_zeroed(slots, sizeof(*members->slot));
    if (!members->slot) return no_memory(m);
    size_t kept = 0;
    for (size_t i = 0; i < members->count; i++) {
        uint32_t *slot = slot_of(m, members, members->entry[i].name);
        if (*slot) {
            members->entry[*slot - 1].value = members->entry[i].value;
            continue;
        }
        members->entry[kept++] = members->entry[i];
        *slot = (uint32_t)kept;
    }
    members->count = kept;
    return KITH_OK;
}

/* ---- Merging ----------------------------------------------------------------------------------------------------- */

static kith_status put(struct merging *m, const char *text, size_t bytes) {
    void *data = m->out->data;
    if (bytes > KITH_PAYLOAD_MAX || m->out->bytes + bytes > KITH_PAYLOAD_MAX)
        return ki_fail(m->error, KITH_E_LIMIT, "the merged payload is longer than %u bytes", KITH_PAYLOAD_MAX);
    if (!ki_array_reserve(&data, &m->out->capacity, m->out->bytes + bytes, 1)) return no_memory(m);
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

static kith_status merge(struct merging *m, struct span target, struct span patch, size_t depth);

/* A member of the patch, and what the target has in its place (at NULL: nothing). name: as the target has it. */
static kith_status put_patched(struct merging *m, struct span old, struct span name, const struct entry *entry,
                               size_t depth) {
    if (is_null(entry->value)) return KITH_OK;
    const kith_status status = put_name(m, name);
    if (status != KITH_OK) return status;
    if (!is_object(entry->value)) return put(m, entry->value.at, length(entry->value));
    return merge(m, old, entry->value, depth + 1);
}

/* The target's members in their order, those that the patch names as it has them. */
static kith_status put_old(struct merging *m, struct span target, struct members *patch, size_t depth) {
    struct entry entry;
    int more;
    kith_status status = KITH_OK;
    if (!open_object(&target)) return no_object(m);
    for (int first = 1; status == KITH_OK && (more = next_entry(&target, first, &entry)) != 0; first = 0) {
        if (more < 0) return no_object(m);
        struct entry *patched = find(m, patch, entry.name);
        if (!patched) {
            status = put_name(m, entry.name);
            if (status == KITH_OK) status = put(m, entry.value.at, length(entry.value));
        } else if (!patched->used) { /* a name that is there twice gets one value */
            patched->used = 1;
            status = put_patched(m, entry.value, entry.name, patched, depth);
        }
    }
    return status;
}

static kith_status put_all(struct merging *m, struct span target, struct members *patch, size_t depth) {
    static const struct span nothing = {NULL, NULL};
    kith_status status = put(m, "{", 1);
    if (status == KITH_OK && is_object(target)) status = put_old(m, target, patch, depth);
    for (size_t i = 0; i < patch->count && status == KITH_OK; i++)
        if (!patch->entry[i].used) status = put_patched(m, nothing, patch->entry[i].name, &patch->entry[i], depth);
    return status == KITH_OK ? put(m, "}", 1) : status;
}

static kith_status merge(struct merging *m, struct span target, struct span patch, size_t depth) {
    struct members members = {0};
    if (depth > KI_MERGE_DEPTH)
        return ki_fail(m->error, KITH_E_LIMIT, "the payload is deeper than %d objects", KI_MERGE_DEPTH);
    kith_status status = gather(m, patch, &members);
    if (status == KITH_OK) status = put_all(m, target, &members, depth);
    free_members(&members);
    return status;
}

kith_status ki_payload_merge(const char *target, size_t target_bytes, const char *patch, size_t patch_bytes,
                             ki_text *out, kith_error *error) {
    const size_t room = (target_bytes > patch_bytes ? target_bytes : patch_bytes) + 1;
    struct merging m = {.out = out, .error = error};
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FORMAT = 1, HEAD_BYTES = 32, PUT_BYTES = 40, REMOVE_BYTES = 16, HASH_BYTES = 8 };

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

void ki_log_free(ki_log_body *body) {
    free(body->data);
    body->data = NULL;
    body->bytes = body->capacity = 0;
}

static kith_status reserve(ki_log_body *body, uint64_t more, kith_error *error) {
    void *data = body->data;
    const uint64_t needed = body->bytes + more + HASH_BYTES;
    if (needed > KI_LOG_BYTES_MAX)
        return ki_fail(error, KITH_E_LIMIT, "one write is of at most %u MiB: write fewer items at once",
                       (unsigned)(KITH_WRITE_BYTES_MAX >> 20));
    if (!ki_array_reserve(&data, &body->capacity, needed, 1))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a write of %llu bytes", (unsigned long long)needed);
    body->data = data;
    return KITH_OK;
}

kith_status ki_log_begin(ki_log_body *body, uint64_t version, kith_error *error) {
    body->bytes = 0;
    body->operations = 0;
    const kith_status status = reserve(body, HEAD_BYTES, error);
    if (status != KITH_OK) return status;
    memset(body->data, 0, HEAD_BYTES);
    ki_store_u32(body->data, FORMAT);
    ki_store_u64(body->data + 8, version);
    ki_store_u32(body->data + 24, (uint32_t)body->generations->slots);
    body->bytes = HEAD_BYTES;
    return KITH_OK;
}

/* Copy, and pad with zeros to a multiple of 8 bytes. */
static unsigned char *put(unsigned char *to, const void *from, size_t bytes) {
    if (bytes) memcpy(to, from, bytes);
    return to + bytes;
}

static unsigned char *pad(const unsigned char *begin, unsigned char *to) {
    while ((to - begin) % 8) *to++ = 0;
    return to;
}

static void add_put(ki_log_body *body, const ki_log_operation *operation, uint64_t present) {
    unsigned char *begin = body->data + body->bytes, *to = begin + PUT_BYTES;
    memset(begin, 0, PUT_BYTES);
    ki_store_u32(begin, KI_LOG_PUT);
    ki_store_u32(begin + 4, (uint32_t)operation->text.bytes);
    ki_store_u64(begin + 8, operation->key);
    ki_store_u64(begin + 16, operation->expires_ms);
    ki_store_u64(begin + 24, present);
    ki_store_u32(begin + 32, (uint32_t)operation->payload.bytes);
    to = put(to, operation->text.data, operation->text.bytes);
    to = pad(begin, put(to, operation->payload.data, operation->payload.bytes));
    for (size_t v = 0; v < body->generations->slots; v++)
        if (operation->vector[v])
            to = pad(begin, put(to, operation->vector[v], body->generations->vector[v].row_bytes));
    body->bytes += (size_t)(to - begin);
}

kith_status ki_log_add(ki_log_body *body, const ki_log_operation *operation, kith_error *error) {
    uint64_t bytes = REMOVE_BYTES, present = 0;
    if (operation->kind == KI_LOG_PUT) {
        bytes = PUT_BYTES + ki_round_up(operation->text.bytes + operation->payload.bytes, 8);
        for (size_t v = 0; v < body->generations->slots; v++) {
            if (!operation->vector[v]) continue;
            present |= UINT64_C(1) << v;
            bytes += ki_round_up(body->generations->vector[v].row_bytes, 8);
        }
    }
    const kith_status status = reserve(body, bytes, error);
    if (status != KITH_OK) return status;
    if (operation->kind == KI_LOG_PUT) {
        add_put(body, operation, present);
    } else {
        unsigned char *to = body->data + body->bytes;
        ki_store_u32(to, KI_LOG_REMOVE);
        ki_store_u32(to + 4, 0);
        ki_store_u64(to + 8, operation->key);
        body->bytes += REMOVE_BYTES;
    }
    body->operations++;
    return KITH_OK;
}

kith_status ki_log_end(ki_log_body *body, uint64_t next_key, kith_error *error) {
    const kith_status status = reserve(body, 0, error);
    if (status != KITH_OK) return status;
    ki_store_u32(body->data + 4, body->operations);
    ki_store_u64(body->data + 16, next_key);
    ki_store_u64(body->data + body->bytes, XXH3_64bits(body->data, body->bytes));
    body->bytes += HASH_BYTES;
    return KITH_OK;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

struct reading {
    const ki_generations *generations;
    const char *path;
    uint64_t sequence;
    const unsigned char *begin, *at, *end; /* end: of the operations */
    size_t slots;
    kith_error *error;
};

static kith_status damaged(const struct reading *r, const char *what) {
    return ki_fail(r->error, KITH_E_CORRUPT, "%s: the catalog's log of version %llu is damaged at byte %llu: %s",
                   r->path, (unsigned long long)r->sequence, (unsigned long long)(r->at - r->begin), what);
}

/* Step over `bytes` and what pads them. NULL: there are not so many. */
static const unsigned char *take(struct reading *r, uint64_t bytes) {
    const unsigned char *at = r->at;
    const uint64_t padded = ki_round_up(bytes, 8);
    if (padded > (uint64_t)(r->end - at)) return NULL;
    r->at += padded;
    return at;
}

static kith_status read_head(struct reading *r, ki_bytes body, ki_log_head *head) {
    r->begin = r->at = body.data;
    if (body.bytes >= 4 && ki_load_u32(r->begin) > FORMAT)
        return ki_fail(r->error, KITH_E_VERSION,
                       "%s: the catalog's log of version %llu is of format %u: kith %s knows %d", r->path,
                       (unsigned long long)r->sequence, (unsigned)ki_load_u32(r->begin), kith_version(), FORMAT);
    if (body.bytes < HEAD_BYTES + HASH_BYTES || body.bytes % 8 || ki_load_u32(r->begin) != FORMAT)
        return damaged(r, "this is no log");
    r->end = r->begin + body.bytes - HASH_BYTES;
    if (XXH3_64bits(r->begin, body.bytes - HASH_BYTES) != ki_load_u64(r->end))
        return damaged(r, "its checksum differs");
    *head = (ki_log_head){.version = ki_load_u64(r->begin + 8),
                          .next_key = ki_load_u64(r->begin + 16),
                          .operations = ki_load_u32(r->begin + 4)};
    if (head->version != r->sequence) return damaged(r, "it is of another version");
    r->slots = ki_load_u32(r->begin + 24);
    if (r->slots > r->generations->slots) return damaged(r, "it has other vectors");
    if (head->operations > KITH_ITEMS_MAX) return damaged(r, "it has too many operations");
    r->at += HEAD_BYTES;
    return KITH_OK;
}

/* text and payload, which follow each other without padding. */
static kith_status read_texts(struct reading *r, const unsigned char *fixed, ki_log_operation *operation) {
    const uint32_t text_bytes = ki_load_u32(fixed + 4), payload_bytes = ki_load_u32(fixed + 32);
    const int strings = r->generations->made->id_kind == KITH_ID_STRING;
    if (text_bytes > KITH_STRING_MAX || (text_bytes != 0) != strings) return damaged(r, "an id of a wrong length");
    if (payload_bytes > KITH_PAYLOAD_MAX) return damaged(r, "a payload that is too long");
    const unsigned char *texts = take(r, (uint64_t)text_bytes + payload_bytes);
    if (!texts) return damaged(r, "it is cut off");
    operation->text = (ki_bytes){texts, text_bytes};
    operation->payload = (ki_bytes){texts + text_bytes, payload_bytes};
    return strings && !ki_utf8_valid((const char *)texts, text_bytes) ? damaged(r, "an id that is no UTF-8") : KITH_OK;
}

static kith_status read_put(struct reading *r, ki_log_operation *operation) {
    const unsigned char *fixed = take(r, PUT_BYTES);
    if (!fixed) return damaged(r, "it is cut off");
    const size_t count = r->slots;
    const uint64_t present = ki_load_u64(fixed + 24);
    if (count < 64 && present >> count) return damaged(r, "a vector that is not known");
    operation->key = ki_load_u64(fixed + 8);
    operation->expires_ms = ki_load_u64(fixed + 16);
    const kith_status status = read_texts(r, fixed, operation);
    for (size_t v = 0; v < count && status == KITH_OK; v++) {
        operation->vector[v] = NULL;
        if (!(present >> v & 1)) continue;
        const size_t bytes = r->generations->vector[v].row_bytes;
        if (!bytes) return damaged(r, "a vector that is not known");
        operation->vector[v] = take(r, bytes);
        if (!operation->vector[v]) return damaged(r, "it is cut off");
    }
    return status;
}

static kith_status read_operation(struct reading *r, ki_log_operation *operation) {
    if (r->end - r->at < REMOVE_BYTES) return damaged(r, "it is cut off");
    operation->kind = (int)ki_load_u32(r->at);
    kith_status status = KITH_OK;
    if (operation->kind == KI_LOG_PUT)
        status = read_put(r, operation);
    else if (operation->kind == KI_LOG_REMOVE)
        operation->key = ki_load_u64(take(r, REMOVE_BYTES) + 8);
    else
        return damaged(r, "an operation that is not known");
    return status == KITH_OK && operation->key == KITH_ID_NONE ? damaged(r, "an id that cannot be") : status;
}

kith_status ki_log_read(const ki_generations *generations, const char *path, uint64_t sequence, ki_bytes body,
                        ki_log_head *head, ki_log_fn fn, void *context, kith_error *error) {
    struct reading r = {.generations = generations, .path = path, .sequence = sequence, .error = error};
    ki_log_head read;
    kith_status status = read_head(&r, body, &read);
    if (status != KITH_OK) return status;
    *head = read;
    for (uint32_t i = 0; i < read.operations && status == KITH_OK; i++) {
        ki_log_operation operation = {0};
        status = read_operation(&r, &operation);
        if (status == KITH_OK) status = fn(context, &read, &operation, error);
    }
    return status == KITH_OK && r.at != r.end ? damaged(&r, "more follows than it says") : status;
}

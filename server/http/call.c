/* SPDX-License-Identifier: Apache-2.0
 *
 * A call's memory, what its request said, its errors, and its end. */
#define _GNU_SOURCE
#include "http/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "http/wire.h"

uint64_t ks_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- What was sent */

const char *ks_call_header(const ks_call *call, const char *name) {
    for (size_t i = 0; i < call->wire->header_count; i++)
        if (ks_is_called(&call->wire->headers[i], name)) return call->wire->headers[i].value;
    return NULL;
}

const char *ks_call_argument(const ks_call *call, const char *name) {
    for (size_t i = 0; i < call->wire->argument_count; i++)
        if (strcmp(call->wire->arguments[i].name, name) == 0) return call->wire->arguments[i].value;
    return NULL;
}

/* Whether a media type, up to its parameters, is this one. */
static int is_type(const char *text, const char *type) {
    const size_t length = strlen(type);
    text += strspn(text, " \t");
    return strncasecmp(text, type, length) == 0 && strchr(" \t;,", text[length]) != NULL;
}

int ks_call_is_type(const ks_call *call, const char *type) {
    const char *header = ks_call_header(call, "Content-Type");
    return header && is_type(header, type);
}

int ks_call_accepts(const ks_call *call, const char *type) {
    const char *header = ks_call_header(call, "Accept");
    while (header) {
        if (is_type(header, type)) return 1;
        header = strchr(header, ',');
        if (header) header++;
    }
    return 0;
}

int ks_call_gone(const ks_call *call) {
    const struct ks_wire *wire = call->wire;
    return atomic_load_explicit(&wire->gone, memory_order_relaxed) ||
           atomic_load_explicit(&wire->loop->http->stopping, memory_order_relaxed);
}

/* ---- Memory */

void *ks_call_alloc(ks_call *call, size_t bytes) {
    struct ks_wire *wire = call->wire;
    if (bytes > SIZE_MAX / 2) return NULL;
    const size_t size = (bytes + 15) & ~(size_t)15;
    if (size > (size_t)(wire->end - wire->at)) {
        /* What is large has a piece of its own, so that the rest of the one before it is not lost. */
        const size_t head = (sizeof(ks_chunk) + 15) & ~(size_t)15;
        const int alone = size > KS_WIRE_CHUNK_BYTES / 4;
        ks_chunk *chunk = malloc(head + (alone ? size : KS_WIRE_CHUNK_BYTES));
        if (!chunk) return NULL;
        chunk->next = wire->chunks;
        wire->chunks = chunk;
        char *start = (char *)chunk + head;
        if (alone) return memset(start, 0, size);
        wire->at = start;
        wire->end = start + KS_WIRE_CHUNK_BYTES;
    }
    char *taken = wire->at;
    wire->at += size;
    return memset(taken, 0, size);
}

char *ks_call_copy(ks_call *call, const char *bytes, size_t count) {
    char *copy = count < SIZE_MAX / 2 ? ks_call_alloc(call, count + 1) : NULL;
    if (copy && count) memcpy(copy, bytes, count);
    return copy;
}

int ks_call_defer(ks_call *call, void (*forget)(void *context), void *context) {
    ks_forget *made = ks_call_alloc(call, sizeof(*made));
    if (!made) {
        forget(context);
        return -1;
    }
    *made = (ks_forget){call->wire->forgets, forget, context};
    call->wire->forgets = made;
    return 0;
}

/* ---- Errors */

static void reset_reply(ks_call *call) {
    ks_reply *reply = &call->reply;
    if (reply->free_stream) reply->free_stream(reply->stream_context);
    ks_text body = reply->body;
    ks_text_clear(&body);
    *reply = (ks_reply){.body = body, .allow = reply->allow, .retry_after_s = reply->retry_after_s};
    call->wire->no_memory = NULL;
}

/* Of paths that belong to no family. */
static void fail_plain(ks_call *call, int status, const char *sentence) {
    call->reply.status = status;
    call->reply.type = "text/plain; charset=utf-8";
    ks_text_add_line(&call->reply.body, sentence);
    ks_text_add_line(&call->reply.body, "\n");
}

static void fail_with(ks_call *call, int status, kith_status refused, const char *format, va_list values)
    __attribute__((format(printf, 4, 0)));

static void fail_with(ks_call *call, int status, kith_status refused, const char *format, va_list values) {
    char sentence[1024];
    vsnprintf(sentence, sizeof(sentence), format, values);
    /* A text that was cut must not end in half a character. */
    size_t length = strlen(sentence);
    while (length && !ks_is_text(sentence, length) && length + 4 > sizeof(sentence) - 1) sentence[--length] = 0;
    reset_reply(call);
    call->refused = refused;
    if (status == 503 && !call->reply.retry_after_s) call->reply.retry_after_s = 1;
    (call->fail ? call->fail : fail_plain)(call, status, sentence);
    call->reply.status = status;
}

void ks_call_fail(ks_call *call, int status, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fail_with(call, status, KITH_OK, format, values);
    va_end(values);
}

int ks_http_status(kith_status status) {
    switch (status) {
    case KITH_OK:
        return 200;
    case KITH_E_ARG:
    case KITH_E_DATA:
    case KITH_E_FORMAT:
    case KITH_E_UNSUPPORTED:
        return 400;
    case KITH_E_NOTFOUND:
        return 404;
    case KITH_E_BUSY:
        return 409;
    case KITH_E_LIMIT:
        return 413;
    case KITH_E_DEADLINE:
        return 504;
    case KITH_E_CANCELLED:
        return 499;
    case KITH_E_NOMEM:
        return 503;
    case KITH_E_NOSPACE:
        return 507;
    default:
        return 500;
    }
}

static void fail_status(ks_call *call, kith_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail_status(ks_call *call, kith_status status, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fail_with(call, ks_http_status(status), status, format, values);
    va_end(values);
}

void ks_call_fail_status(ks_call *call, kith_status status, const kith_error *error) {
    fail_status(call, status, "%s", error && error->text[0] ? error->text : kith_status_text(status));
}

void ks_call_no_memory(ks_call *call) {
    reset_reply(call);
    ks_text_free(&call->reply.body);
    call->reply.status = 503;
    call->reply.type = "text/plain; charset=utf-8";
    call->reply.retry_after_s = 1;
    call->wire->no_memory = "The server is out of memory for this call; try again later.\n";
}

/* ---- The end */

static void put_into_inbox(struct ks_wire *wire) {
    ks_loop *loop = wire->loop;
    pthread_mutex_lock(&loop->lock);
    wire->next = loop->inbox;
    loop->inbox = wire;
    pthread_mutex_unlock(&loop->lock);
    ks_loop_wake(loop);
}

void ks_call_done(ks_call *call) {
    struct ks_wire *wire = call->wire;
    ks_loop *loop = wire->loop;
    if (pthread_equal(loop->self, pthread_self())) {
        if (loop->handling == wire) {
            wire->stage = KS_STAGE_ENDED;
        } else {
            wire->next = loop->ended;
            loop->ended = wire;
        }
        return;
    }
    put_into_inbox(wire);
}

void ks_call_more(ks_call *call) {
    put_into_inbox(call->wire);
}

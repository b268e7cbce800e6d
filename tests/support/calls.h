/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls without HTTP: what http/call.h promises, for tests of what works on calls. One source of a program includes it;
 * the linker takes these functions then, and not the transport's. */
#ifndef KITH_TESTS_CALLS_H
#define KITH_TESTS_CALLS_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../server/http/call.h"

typedef struct calls_kept {
    struct calls_kept *next;
    void (*forget)(void *context);
    void *context;
    _Alignas(16) unsigned char bytes[];
} calls_kept;

struct ks_wire {
    calls_kept *kept;
    const char *const *headers;   /* name, value, ..., NULL */
    const char *const *arguments; /* likewise */
    int status, done;             /* of the failure, 0: none */
    char sentence[1024];
};

static void calls_say(ks_call *call, int status, const char *sentence) {
    call->wire->status = status;
    snprintf(call->wire->sentence, sizeof call->wire->sentence, "%s", sentence);
}

static inline void calls_begin(ks_call *call, struct ks_wire *wire, const char *body, size_t bytes) {
    *wire = (struct ks_wire){0};
    *call = (ks_call){.method = KS_POST, .body = body, .body_bytes = bytes, .fail = calls_say, .wire = wire};
}

static inline void calls_end(ks_call *call) {
    while (call->wire->kept) {
        calls_kept *kept = call->wire->kept;
        call->wire->kept = kept->next;
        if (kept->forget) kept->forget(kept->context);
        free(kept);
    }
    ks_text_free(&call->reply.body);
}

static calls_kept *calls_keep(ks_call *call, size_t bytes) {
    calls_kept *kept = calloc(1, sizeof *kept + bytes);
    if (!kept) return NULL;
    kept->next = call->wire->kept;
    call->wire->kept = kept;
    return kept;
}

void *ks_call_alloc(ks_call *call, size_t bytes) {
    calls_kept *kept = calls_keep(call, bytes);
    return kept ? kept->bytes : NULL;
}

char *ks_call_copy(ks_call *call, const char *bytes, size_t count) {
    char *copy = ks_call_alloc(call, count + 1);
    if (copy && count) memcpy(copy, bytes, count);
    return copy;
}

int ks_call_defer(ks_call *call, void (*forget)(void *context), void *context) {
    calls_kept *kept = calls_keep(call, 0);
    if (!kept) {
        forget(context);
        return -1;
    }
    kept->forget = forget;
    kept->context = context;
    return 0;
}

static const char *calls_find(const char *const *pairs, const char *name) {
    for (; pairs && *pairs; pairs += 2)
        if (strcasecmp(pairs[0], name) == 0) return pairs[1];
    return NULL;
}

const char *ks_call_header(const ks_call *call, const char *name) {
    return calls_find(call->wire->headers, name);
}

const char *ks_call_argument(const ks_call *call, const char *name) {
    return calls_find(call->wire->arguments, name);
}

int ks_call_is_type(const ks_call *call, const char *type) {
    const char *given = ks_call_header(call, "content-type");
    return given && strncasecmp(given, type, strlen(type)) == 0;
}

int ks_call_accepts(const ks_call *call, const char *type) {
    const char *given = ks_call_header(call, "accept");
    return given && strstr(given, type) != NULL;
}

void ks_call_fail(ks_call *call, int status, const char *format, ...) {
    char sentence[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(sentence, sizeof sentence, format, values);
    va_end(values);
    (call->fail)(call, status, sentence);
}

int ks_http_status(kith_status status) {
    return status == KITH_OK ? 200 : status == KITH_E_NOTFOUND ? 404 : 400;
}

void ks_call_fail_status(ks_call *call, kith_status status, const kith_error *error) {
    (call->fail)(call, ks_http_status(status), error->text);
}

void ks_call_no_memory(ks_call *call) {
    (call->fail)(call, 503, "there is no memory for this");
}

int ks_call_gone(const ks_call *call) {
    (void)call;
    return 0;
}

void ks_call_done(ks_call *call) {
    call->wire->done++;
}

uint64_t ks_now_ns(void) {
    return 1;
}

#endif

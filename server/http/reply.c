/* SPDX-License-Identifier: Apache-2.0
 *
 * The reply of a call, handed to libmicrohttpd: bodies are not copied. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/wire.h"

/* Whether If-None-Match names the entity: weakly, as a GET compares. */
static int is_known(const ks_call *call) {
    const char *etag = call->reply.etag, *header = etag ? ks_call_header(call, "If-None-Match") : NULL;
    if (!header || call->method != KS_GET || (call->reply.status && call->reply.status != 200)) return 0;
    if (strcmp(header, "*") == 0) return 1;
    if (strncmp(etag, "W/", 2) == 0) etag += 2;
    const size_t length = strlen(etag);
    for (const char *at = strstr(header, etag); at; at = strstr(at + 1, etag)) {
        const int begins = at == header || strchr(" ,/\t", at[-1]) != NULL;
        if (begins && strchr(" ,\t", at[length])) return 1; /* or the end of the header */
    }
    return 0;
}

static ssize_t read_stream(void *context, uint64_t place, char *to, size_t room) {
    struct ks_wire *wire = context;
    (void)place;
    const ptrdiff_t count = wire->call.reply.stream(wire->call.reply.stream_context, to, room);
    if (count == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    if (count == KS_STREAM_LATER) {
        MHD_suspend_connection(wire->mhd);
        wire->suspended = 1;
        wire->loop->out++;
        return 0;
    }
    if (count < 0 || (size_t)count > room) return MHD_CONTENT_READER_END_WITH_ERROR;
    wire->sent_bytes += (uint64_t)count;
    return (ssize_t)count;
}

static struct MHD_Response *make(struct ks_wire *wire) {
    enum { STREAM_BLOCK_BYTES = 32768 };
    ks_reply *reply = &wire->call.reply;
    if (wire->no_memory) {
        wire->sent_bytes = strlen(wire->no_memory);
        return MHD_create_response_from_buffer(strlen(wire->no_memory), (void *)(uintptr_t)wire->no_memory,
                                               MHD_RESPMEM_PERSISTENT);
    }
    if (reply->status == 304 || reply->status == 204)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (reply->stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, wire, NULL);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->body.used, reply->body.bytes, MHD_RESPMEM_MUST_FREE);
    if (!response) return NULL;
    wire->sent_bytes = wire->head ? 0 : reply->body.used;
    reply->body = (ks_text){0}; /* it is the response's now */
    return response;
}

/* What a client said to recognise its call by goes back, unless it is long. */
static void echo(struct MHD_Response *response, const ks_call *call, const char *name) {
    enum { ECHO_MAX = 128 };
    const char *value = ks_call_header(call, name);
    if (value && strlen(value) <= ECHO_MAX) MHD_add_response_header(response, name, value);
}

static void say(struct MHD_Response *response, const char *name, const char *value) {
    if (value) MHD_add_response_header(response, name, value);
}

static void add_headers(struct ks_wire *wire, struct MHD_Response *response, int has_body) {
    const ks_reply *reply = &wire->call.reply;
    char seconds[16];
    say(response, "Server", "kith");
    say(response, "X-Content-Type-Options", "nosniff"); /* payloads of strangers are no pages, whatever is in them */
    if (has_body) say(response, "Content-Type", reply->type ? reply->type : "application/json");
    say(response, "ETag", reply->etag);
    say(response, "Cache-Control", reply->cache_control);
    say(response, "Location", reply->location);
    say(response, "Allow", reply->allow);
    if (reply->status == 401) say(response, "WWW-Authenticate", "Bearer");
    if (reply->retry_after_s) {
        snprintf(seconds, sizeof(seconds), "%u", reply->retry_after_s);
        say(response, "Retry-After", seconds);
    }
    echo(response, &wire->call, "X-Request-Id");
    echo(response, &wire->call, "traceparent");
    if (atomic_load_explicit(&wire->loop->http->draining, memory_order_relaxed)) say(response, "Connection", "close");
}

/* Clients that ask for much and do not read must not fill the memory: a long reply is given up where those of others
 * take the room. Short ones, as those of writes, are always sent. */
static void find_room(struct ks_wire *wire) {
    enum { SHORT_BYTES = 65536 };
    ks_http *http = wire->loop->http;
    const size_t room = wire->call.reply.body.room;
    if (wire->reply_room) return; /* it is tried again */
    const size_t others = atomic_fetch_add(&http->reply_bytes, room);
    wire->reply_room = room;
    if (room <= SHORT_BYTES || others + room <= http->options.replies_max) return;
    atomic_fetch_add(&http->refused, 1);
    ks_call_fail(&wire->call, 503,
                 "There is no room for the reply: those that other clients have not read take it; try again later.");
    ks_text *body = &wire->call.reply.body;
    char *bytes = realloc(body->bytes, body->used + 1);
    if (bytes) *body = (ks_text){.bytes = bytes, .used = body->used, .room = body->used + 1, .failed = body->failed};
    atomic_fetch_sub(&http->reply_bytes, room - body->room);
    wire->reply_room = body->room;
}

int ks_reply_queue(struct ks_wire *wire) {
    ks_call *call = &wire->call;
    find_room(wire);
    if (call->reply.body.failed) {
        ks_call_no_memory(call);
        call->reply.status = 500; /* the call itself was carried out */
    }
    if (!call->reply.status) call->reply.status = 200;
    if (is_known(call)) call->reply.status = 304;
    const int has_body = wire->no_memory || call->reply.stream || call->reply.body.used;
    struct MHD_Response *response = make(wire);
    if (!response) return 0;
    add_headers(wire, response, has_body && call->reply.status != 304 && call->reply.status != 204);
    const enum MHD_Result queued = MHD_queue_response(wire->mhd, (unsigned)call->reply.status, response);
    MHD_destroy_response(response);
    if (queued == MHD_YES) wire->stage = KS_STAGE_ANSWERED;
    return queued == MHD_YES;
}

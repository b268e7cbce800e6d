/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a request: its first line, its headers, its body, its handler, its end.
 *
 * What is refused before its body has come is answered when the body has been thrown away, so that the client reads the
 * answer and the connection goes on; but at once, and with the connection's end, when the client waits for a "100
 * Continue" or the body is long. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/wire.h"

/* ---- Wires */

static struct ks_wire *take_wire(ks_loop *loop) {
    struct ks_wire *wire = loop->spare;
    if (wire) {
        loop->spare = wire->next;
        loop->spare_count--;
    } else if (!(wire = malloc(sizeof(*wire)))) {
        return NULL;
    }
    memset(wire, 0, offsetof(struct ks_wire, first));
    wire->loop = loop;
    wire->at = wire->first;
    wire->end = wire->first + sizeof(wire->first);
    wire->call.wire = wire;
    wire->call.loop = loop->number;
    wire->call.app = loop->http->options.app;
    return wire;
}

static void give_wire(struct ks_wire *wire) {
    enum { SPARE_MAX = 256 };
    ks_loop *loop = wire->loop;
    ks_reply *reply = &wire->call.reply;
    /* A stream reads what the call has borrowed. */
    if (reply->free_stream) reply->free_stream(reply->stream_context);
    for (ks_forget *forget = wire->forgets; forget; forget = forget->next) forget->forget(forget->context);
    ks_text_free(&reply->body);
    free(wire->body);
    atomic_fetch_sub(&loop->http->body_bytes, wire->body_room);
    atomic_fetch_sub(&loop->http->reply_bytes, wire->reply_room);
    while (wire->chunks) {
        ks_chunk *next = wire->chunks->next;
        free(wire->chunks);
        wire->chunks = next;
    }
    if (loop->spare_count >= SPARE_MAX) {
        free(wire);
        return;
    }
    wire->next = loop->spare;
    loop->spare = wire;
    loop->spare_count++;
}

void ks_wires_free(ks_loop *loop) {
    while (loop->spare) {
        struct ks_wire *next = loop->spare->next;
        free(loop->spare);
        loop->spare = next;
    }
    loop->spare_count = 0;
}

/* ---- The head */

void *ks_request_line(void *context, const char *uri, struct MHD_Connection *mhd) {
    ks_loop *loop = context;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    ks_connection *connection = info ? info->socket_context : NULL;
    struct ks_wire *wire = connection ? take_wire(loop) : NULL;
    if (!wire) return NULL;
    wire->connection = connection;
    wire->mhd = mhd;
    connection->wire = wire;
    connection->counted_bytes = 0;
    if (!connection->coming) ks_connection_coming(connection, loop, ks_now_ns());
    /* A proxy's form: what follows the host is the path. */
    if (strncasecmp(uri, "http://", 7) == 0 || strncasecmp(uri, "https://", 8) == 0) {
        uri = strchr(uri, ':') + 3;
        uri += strcspn(uri, "/?");
    }
    wire->call.path = ks_call_copy(&wire->call, uri, strlen(uri));
    return wire;
}

/* Whether it is what a header may be called. Others might take "Content-Length " for what it is not to us. */
static int is_header_name(const char *name) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *at = name;
    for (; *at; at++) {
        const int letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!letter && !(*at >= '0' && *at <= '9') && !strchr(others, *at)) return 0;
    }
    return at != name;
}

/* A header is kept: what it says outlives the connection. */
static enum MHD_Result keep_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct ks_wire *wire = context;
    (void)kind;
    ks_argument *header = &wire->headers[wire->header_count];
    if (!value) value = "";
    header->name = ks_call_copy(&wire->call, name, strlen(name));
    header->value = ks_call_copy(&wire->call, value, strlen(value));
    if (!header->name || !header->value) {
        ks_call_no_memory(&wire->call);
        return MHD_NO;
    }
    wire->header_count++;
    if (!is_header_name(name)) {
        ks_call_fail(&wire->call, 400, "A header of the request has a name that is none: it has a space or the like.");
        return MHD_NO;
    }
    if (!ks_is_text(value, strlen(value))) {
        ks_call_fail(&wire->call, 400, "A header of the request has control characters or bytes that are no UTF-8.");
        return MHD_NO;
    }
    return MHD_YES;
}

static int read_headers(struct ks_wire *wire) {
    const int count = MHD_get_connection_values(wire->mhd, MHD_HEADER_KIND, NULL, NULL);
    if (count < 0 || count > KS_HEADERS_MAX) {
        ks_call_fail(&wire->call, 431, "The request has more than %d headers.", KS_HEADERS_MAX);
        return 0;
    }
    wire->headers = ks_call_alloc(&wire->call, (size_t)count * sizeof(*wire->headers));
    if (!wire->headers) {
        ks_call_no_memory(&wire->call);
        return 0;
    }
    MHD_get_connection_values(wire->mhd, MHD_HEADER_KIND, keep_header, wire);
    return wire->call.reply.status == 0 && (int)wire->header_count == count;
}

static ks_method method_of(const char *name, int *head, int *known) {
    static const struct {
        const char *name;
        ks_method method;
    } methods[] = {{"GET", KS_GET},         {"HEAD", KS_GET},    {"POST", KS_POST},
                   {"PUT", KS_PUT},         {"PATCH", KS_PATCH}, {"DELETE", KS_DELETE},
                   {"OPTIONS", KS_OPTIONS}, {"TRACE", 0},        {"CONNECT", 0}};
    *head = strcmp(name, "HEAD") == 0;
    *known = 1;
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (strcmp(name, methods[i].name) == 0) return methods[i].method;
    *known = 0;
    return 0;
}

/* As much of a path as a sentence shows: whole characters. */
static int shown(const char *path) {
    size_t count = strnlen(path, 200);
    while (count && !ks_is_text(path, count)) count--;
    return (int)count;
}

/* Split off what follows the "?" and find the route. */
static int find_route(struct ks_wire *wire, const char *method) {
    ks_call *call = &wire->call;
    int known = 0;
    call->method = method_of(method, &wire->head, &known);
    char *query = strchr(call->path, '?');
    if (query) *query++ = 0;
    call->query = query;
    if (!call->path[0]) call->path = "/";
    const int found = ks_router_find(wire->loop->http->options.router, call);
    if (!known) {
        ks_call_fail(call, 501, "The method of the request is none that this server knows.");
    } else if (found == 400) {
        ks_call_fail(call, 400,
                     "The path is refused: it must begin with \"/\", its escapes must be %%XX and give UTF-8 without "
                     "control characters, and no part of it may be \".\" or \"..\".");
    } else if (found == 404) {
        ks_call_fail(call, 404, "There is nothing at %.*s.", shown(call->path), call->path);
    } else if (found == 405) {
        ks_call_fail(call, 405, "%s is not what can be done at %.*s, but %s.", method, shown(call->path), call->path,
                     call->reply.allow);
    } else if (found != 200) {
        ks_call_no_memory(call);
    } else {
        const int read = query ? ks_arguments_read(wire, query) : 200;
        if (read == 200) return 1;
        if (read == 400) {
            ks_call_fail(call, 400,
                         "What follows the \"?\" is refused: at most %d arguments, whose escapes must be %%XX and give "
                         "UTF-8 without control characters.",
                         KS_ARGUMENTS_MAX);
        } else {
            ks_call_no_memory(call);
        }
    }
    return 0;
}

/* How long the body is said to be, in wire->announced. What two parties could read differently is refused: it is how
 * requests are smuggled past a proxy. */
static int read_framing(struct ks_wire *wire) {
    const char *length = NULL, *coding = NULL;
    size_t lengths = 0, codings = 0, hosts = 0;
    wire->announced = UINT64_MAX;
    for (size_t i = 0; i < wire->header_count; i++) {
        const ks_argument *header = &wire->headers[i];
        if (ks_is_called(header, "Content-Length")) length = header->value, lengths++;
        if (ks_is_called(header, "Transfer-Encoding")) coding = header->value, codings++;
        if (ks_is_called(header, "Host")) hosts++;
    }
    if (hosts > 1 || lengths + codings > 1 || (coding && strcasecmp(coding, "chunked") != 0)) return 0;
    if (length && (!length[0] || strlen(length) > 19 || strspn(length, "0123456789") != strlen(length))) return 0;
    if (!coding) wire->announced = length ? strtoull(length, NULL, 10) : 0;
    return 1;
}

static int check_framing(struct ks_wire *wire, int clear) {
    ks_call *call = &wire->call;
    const ks_http_options *options = &wire->loop->http->options;
    if (!clear) {
        ks_call_fail(call, 400,
                     "The length of the body, or the host, is not clear: one Host, and one Content-Length of digits or "
                     "\"Transfer-Encoding: chunked\".");
        return 0;
    }
    if (wire->announced == UINT64_MAX) return 1;
    if (wire->announced > options->body_max) {
        ks_call_fail(call, 413, "The body has %llu bytes; at most %zu are taken.", (unsigned long long)wire->announced,
                     options->body_max);
        return 0;
    }
    if (wire->announced + atomic_load(&wire->loop->http->body_bytes) > options->bodies_max) {
        atomic_fetch_add(&wire->loop->http->refused, 1);
        ks_call_fail(call, 503,
                     "There is no room for the body now: the bodies of other calls take it; try again later.");
        return 0;
    }
    return 1;
}

static int authenticate(struct ks_wire *wire) {
    int (*ask)(ks_call * call) = wire->loop->http->options.authenticate;
    return !ask || ask(&wire->call) == 0;
}

static enum MHD_Result begin(struct ks_wire *wire, const char *method) {
    atomic_fetch_add_explicit(&wire->loop->http->requests, 1, memory_order_relaxed);
    wire->call.arrived_ns = ks_now_ns();
    if (!wire->call.path) {
        wire->call.path = "/";
        ks_call_no_memory(&wire->call);
        wire->stage = KS_STAGE_SWALLOW;
        return MHD_YES;
    }
    const int headers = read_headers(wire), clear = headers && read_framing(wire);
    const int may = headers && find_route(wire, method) && authenticate(wire);
    if (may && check_framing(wire, clear)) {
        wire->stage = KS_STAGE_BODY;
        return MHD_YES;
    }
    wire->stage = KS_STAGE_SWALLOW;
    const int waits = headers && ks_call_header(&wire->call, "Expect") != NULL;
    if (clear && !may && wire->announced <= KS_SWALLOW_BYTES && !waits) return MHD_YES;
    return ks_reply_queue(wire) ? MHD_YES : MHD_NO;
}

/* ---- The body */

static enum MHD_Result break_off(struct ks_wire *wire, int status) {
    wire->call.reply.status = status;
    if (status == 503) atomic_fetch_add(&wire->loop->http->refused, 1);
    if (wire->connection && !wire->loop->http->tls) ks_say_raw(wire->connection->fd, status);
    return MHD_NO;
}

static int grow_body(struct ks_wire *wire, size_t need) {
    enum { FIRST_ROOM = 65536 };
    ks_http *http = wire->loop->http;
    size_t room = wire->body_room ? wire->body_room * 2 : FIRST_ROOM;
    while (room < need) room *= 2;
    if (wire->announced != UINT64_MAX && room > wire->announced + 1) room = (size_t)wire->announced + 1;
    const size_t more = room - wire->body_room;
    if (atomic_fetch_add(&http->body_bytes, more) + more > http->options.bodies_max) {
        atomic_fetch_sub(&http->body_bytes, more);
        return 0;
    }
    char *body = realloc(wire->body, room);
    if (!body) {
        atomic_fetch_sub(&http->body_bytes, more);
        return 0;
    }
    wire->body = body;
    wire->body_room = room;
    return 1;
}

static enum MHD_Result take_body(struct ks_wire *wire, const char *data, size_t bytes) {
    ks_call *call = &wire->call;
    const size_t max = wire->loop->http->options.body_max;
    if (bytes > max - call->body_bytes) return break_off(wire, 413);
    if (call->body_bytes + bytes >= wire->body_room && !grow_body(wire, call->body_bytes + bytes + 1))
        return break_off(wire, 503);
    memcpy(wire->body + call->body_bytes, data, bytes);
    call->body_bytes += bytes;
    wire->body[call->body_bytes] = 0;
    return MHD_YES;
}

/* ---- The handler */

/* A front says in Kith-Timeout-Ms how long it will still wait: what it will not wait for need not be done. */
static uint64_t patience_ms(const ks_call *call, uint64_t most_ms) {
    const char *text = ks_call_header(call, "Kith-Timeout-Ms");
    uint64_t patience = 0;
    if (!text || !*text || strlen(text) > 9) return most_ms;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return most_ms;
        patience = 10 * patience + (unsigned)(*text - '0');
    }
    return patience < most_ms ? patience : most_ms;
}

static enum MHD_Result hand_over(struct ks_wire *wire) {
    ks_call *call = &wire->call;
    ks_loop *loop = wire->loop;
    ks_connection_came(wire->connection, loop);
    call->body = wire->body ? wire->body : "";
    call->arrived_ns = ks_now_ns();
    call->deadline_ns = call->arrived_ns + patience_ms(call, loop->http->options.answer_ms) * 1000000;
    call->alone = loop->quiet && !loop->handed;
    wire->stage = KS_STAGE_OUT;
    loop->out++;
    loop->handed++;
    loop->handling = wire;
    call->route->handle(call);
    loop->handling = NULL;
    if (wire->stage != KS_STAGE_ENDED) return MHD_YES;
    loop->out--;
    return ks_reply_queue(wire) ? MHD_YES : MHD_NO;
}

enum MHD_Result ks_request(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                           const char *version, const char *data, size_t *bytes, void **wire_context) {
    struct ks_wire *wire = *wire_context;
    (void)context, (void)url, (void)version;
    if (!wire) return MHD_NO;
    const size_t count = *bytes;
    switch (wire->stage) {
    case KS_STAGE_HEAD:
        return begin(wire, method);
    case KS_STAGE_BODY:
        if (!count) return hand_over(wire);
        *bytes = 0;
        return take_body(wire, data, count);
    case KS_STAGE_SWALLOW:
        if (!count) {
            ks_connection_came(wire->connection, wire->loop);
            return ks_reply_queue(wire) ? MHD_YES : MHD_NO;
        }
        *bytes = 0;
        wire->swallowed += count;
        return wire->swallowed <= KS_SWALLOW_BYTES ? MHD_YES : break_off(wire, wire->call.reply.status);
    case KS_STAGE_OUT:
        /* The turn has come and gone. */
        MHD_suspend_connection(mhd);
        wire->suspended = 1;
        return MHD_YES;
    case KS_STAGE_ENDED:
        return ks_reply_queue(wire) ? MHD_YES : MHD_NO;
    default:
        *bytes = 0;
        return MHD_YES;
    }
}

/* ---- The end */

static void finish(struct ks_wire *wire) {
    const ks_http_options *options = &wire->loop->http->options;
    if (wire->stage != KS_STAGE_ANSWERED && (!wire->call.reply.status || wire->stage == KS_STAGE_ENDED))
        wire->call.reply.status = 499;
    if (options->observe && wire->stage != KS_STAGE_HEAD)
        options->observe(&wire->call, ks_now_ns() - wire->call.arrived_ns, wire->sent_bytes);
    give_wire(wire);
}

void ks_request_over(void *context, struct MHD_Connection *mhd, void **wire_context,
                     enum MHD_RequestTerminationCode code) {
    struct ks_wire *wire = *wire_context;
    (void)context, (void)mhd, (void)code;
    *wire_context = NULL;
    if (!wire) return;
    ks_connection_came(wire->connection, wire->loop);
    wire->connection->wire = NULL;
    wire->connection->finished_ns = ks_now_ns();
    ks_connection_read_end(wire->connection);
    wire->connection = NULL;
    wire->mhd = NULL;
    atomic_store_explicit(&wire->gone, 1, memory_order_relaxed);
    /* A call that is out, or has ended and waits to be taken, is finished by ks_take_ended(). */
    if (wire->stage != KS_STAGE_OUT) finish(wire);
}

/* What was made is sent by the next run. */
static void go_on(struct ks_wire *wire) {
    struct MHD_Connection *mhd = wire->mhd;
    wire->suspended = 0;
    MHD_resume_connection(mhd);
}

static void take_one(struct ks_wire *wire) {
    wire->loop->out--;
    if (wire->stage == KS_STAGE_ANSWERED) {
        go_on(wire);
        return;
    }
    wire->stage = KS_STAGE_ENDED;
    if (!wire->mhd) {
        finish(wire);
    } else if (wire->suspended) {
        /* What cannot be queued is tried again, and then closed, by ks_request(). */
        ks_reply_queue(wire);
        go_on(wire);
    }
}

int ks_take_ended(ks_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    struct ks_wire *lists[2] = {loop->inbox, loop->ended};
    loop->inbox = NULL;
    pthread_mutex_unlock(&loop->lock);
    loop->ended = NULL;
    const int some = lists[0] || lists[1];
    for (int i = 0; i < 2; i++)
        while (lists[i]) {
            struct ks_wire *wire = lists[i];
            lists[i] = wire->next;
            take_one(wire);
        }
    return some;
}

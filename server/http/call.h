/* SPDX-License-Identifier: Apache-2.0
 *
 * A call: one request, and the reply to it.
 *
 * 1. A handler is called on the thread of the loop that the connection belongs to, once the whole body is there. It
 * must
 *    not block. It, or whoever it hands the call to, ends it by ks_call_done(), exactly once, from any thread; until
 *    then everything of the call lives, and nobody else writes it.
 * 2. What a handler parses and makes lies in the call's memory (ks_call_alloc), which goes with it.
 * 3. A reply is status, type, headers and body; or a body that is written piece by piece while it is sent (stream). */
#ifndef KITH_SERVER_HTTP_CALL_H
#define KITH_SERVER_HTTP_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "http/text.h"
#include "kith.h"

typedef enum ks_method {
    KS_GET = 1, /* HEAD too: the body is left out when it is sent */
    KS_POST,
    KS_PUT,
    KS_PATCH,
    KS_DELETE,
    KS_OPTIONS
} ks_method;

typedef struct ks_call ks_call;
typedef struct ks_key ks_key; /* keys/keys.h */

/* How a family of routes says that something went wrong: writes call->reply. */
typedef void ks_fail_fn(ks_call *call, int status, const char *sentence);

typedef struct ks_reply {
    int status;       /* 200 when nothing is said */
    const char *type; /* of the body; static. NULL: application/json */
    ks_text body;
    const char *etag, *cache_control, *location, *allow; /* headers; NULL: none */
    unsigned retry_after_s;                              /* 0: not said */
    /* Piece by piece: write up to `room` bytes to `to`, return how many, 0 at the end, -1 to break the connection off,
     * or KS_STREAM_LATER when somebody makes the next piece, who says ks_call_more() once. Called by the loop's thread,
     * and not before that is said. free_stream is called at the end, however it comes. */
    ptrdiff_t (*stream)(void *context, char *to, size_t room);
    void (*free_stream)(void *context);
    void *stream_context;
} ks_reply;

enum { KS_PARTS_MAX = 6, KS_STREAM_LATER = -2 };

struct ks_call {
    /* The request. All texts end in a zero and are UTF-8 without control characters; parts of the path are decoded, and
     * none of them is "." or "..", nor is a piece of one between slashes (an id that is a URL has some). */
    ks_method method;
    const char *path;                /* as it was sent, without what follows a "?" */
    const char *query;               /* what followed it, as it was sent; NULL: nothing did */
    const char *parts[KS_PARTS_MAX]; /* what stood at the {} of the route's pattern */
    const char *body;                /* followed by a zero that does not count */
    size_t body_bytes;
    uint64_t arrived_ns,
        deadline_ns;   /* of a clock that only goes forward; the deadline is arrival + the limit of time */
    unsigned loop;     /* number of the loop, 0 and up */
    int alone;         /* nothing else has come with it: an answer at once keeps nobody waiting */
    const ks_key *key; /* who asks; never NULL in a handler */
    const struct ks_route *route;
    void *app; /* of ks_http_options */
    ks_fail_fn *fail;
    /* The reply. */
    ks_reply reply;
    kith_status refused; /* what the library said when it failed by that; for the family's fail */
    /* For the log and the metrics, if a handler knows them; static, or in the call's memory. */
    const char *collection;
    uint64_t searched_ns, waited_ns;
    size_t queries;
    struct ks_wire *wire; /* http's own */
};

/* NULL when it is not there. Names of headers in any case. */
const char *ks_call_header(const ks_call *call, const char *name);
const char *ks_call_argument(const ks_call *call, const char *name); /* of what follows the "?", decoded */
int ks_call_is_type(const ks_call *call, const char *type);          /* of the body, without its parameters */
int ks_call_accepts(const ks_call *call, const char *type);          /* is named in Accept */

/* Zeroed memory, aligned for anything, that goes with the call; NULL without memory (ks_call_no_memory() then). Only by
 * whoever has the call. */
void *ks_call_alloc(ks_call *call, size_t bytes);
char *ks_call_copy(ks_call *call, const char *bytes, size_t count); /* ended by a zero */
/* To be called, last one first, when the call is over. 0, or -1 without memory: then it has been called. */
int ks_call_defer(ks_call *call, void (*forget)(void *context), void *context);

/* Write an error as the route's family does, instead of what was written so far. They do not end the call. */
void ks_call_fail(ks_call *call, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void ks_call_fail_status(ks_call *call, kith_status status, const kith_error *error);
void ks_call_no_memory(ks_call *call);
/* ARG, DATA, FORMAT, UNSUPPORTED 400; NOTFOUND 404; BUSY 409; LIMIT 413; DEADLINE 504; CANCELLED 499; NOMEM 503;
 * NOSPACE 507; others 500. */
int ks_http_status(kith_status status);

/* The client has gone, so far as is known: what is being done for it may stop. Any thread. */
int ks_call_gone(const ks_call *call);
/* The reply is written: send it. Any thread; nothing of the call may be touched afterwards. */
void ks_call_done(ks_call *call);
/* The next piece of the stream is there. Any thread but the loop's, once for each KS_STREAM_LATER, which it may
 * overtake; nothing of the call may be touched afterwards. */
void ks_call_more(ks_call *call);

uint64_t ks_now_ns(void);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What http's files share and nobody else sees: the server, its loops, their connections and the wires, each of which
 * is one request on its way.
 *
 * I1. Everything of a loop is its thread's alone, but for the inbox, which has a lock, and the atomics.
 * I2. A wire is taken when the first line of a request has been read, and given back when the request is over and its
 *     call has ended. A client that goes takes its connection with it at once, not the wire of a call that is out:
 *     what a call may be asked for has been copied from libmicrohttpd.
 * I3. A call is out from the moment its handler is called until the loop has taken notice of its end. Its connection is
 *     suspended only when it is still out after a turn: suspending costs three system calls.
 * I4. One whose stream waits for its next piece is out again, and always suspended: libmicrohttpd closes no such
 *     connection, so that the call lives until the piece is there. */
#ifndef KITH_SERVER_HTTP_WIRE_H
#define KITH_SERVER_HTTP_WIRE_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>

#include "http/http.h"

enum {
    KS_WIRE_FIRST_BYTES = 3072, /* of a call's memory that lie in the wire: most calls need no more */
    KS_WIRE_CHUNK_BYTES = 8192,
    KS_ARGUMENTS_MAX = 64,
    KS_HEADERS_MAX = 100,
    KS_SEGMENTS_MAX = 16,      /* parts of a path */
    KS_SWALLOW_BYTES = 1 << 20 /* of a refused body that are read, so that the connection can go on */
};

typedef struct ks_loop ks_loop;
typedef struct ks_connection ks_connection;
typedef struct ks_tls ks_tls;

/* More memory of a call. */
typedef struct ks_chunk {
    struct ks_chunk *next;
} ks_chunk;

typedef struct ks_forget {
    struct ks_forget *next;
    void (*forget)(void *context);
    void *context;
} ks_forget;

typedef struct ks_argument {
    const char *name, *value;
} ks_argument;

typedef enum ks_stage {
    KS_STAGE_HEAD,     /* the first line was read */
    KS_STAGE_BODY,     /* the body comes, and is kept */
    KS_STAGE_SWALLOW,  /* the body comes, and is thrown away: the reply is written already */
    KS_STAGE_OUT,      /* the call is with its handler, or whom that gave it to */
    KS_STAGE_ENDED,    /* the reply is written */
    KS_STAGE_ANSWERED, /* libmicrohttpd has the reply */
} ks_stage;

struct ks_wire {
    ks_call call;
    ks_loop *loop;
    ks_connection *connection; /* NULL: it is gone */
    struct MHD_Connection *mhd;
    ks_stage stage;
    int suspended;
    atomic_int gone;    /* the client closed its side, or the connection broke */
    int head;           /* HEAD: no body */
    size_t body_room;   /* bytes of call.body, counted in http->body_bytes */
    size_t reply_room;  /* bytes of the reply, counted in http->reply_bytes */
    char *body;         /* the same, to be written */
    uint64_t announced; /* Content-Length; UINT64_MAX: chunked; 0 without a body */
    size_t swallowed;
    uint64_t sent_bytes;
    ks_argument *arguments;
    size_t argument_count;
    ks_argument *headers;
    size_t header_count;
    const char *no_memory; /* a sentence to be sent when there is no memory for another */
    struct ks_wire *next;  /* in the inbox, among the ended or among the free */
    ks_forget *forgets;
    ks_chunk *chunks;
    char *at, *end; /* free memory */
    _Alignas(16) char first[KS_WIRE_FIRST_BYTES];
};

struct ks_connection {
    ks_connection *next, *prev;               /* of the loop's */
    ks_connection *coming_next, *coming_prev; /* of those whose request has begun to come, oldest first */
    struct MHD_Connection *mhd;
    int fd;
    int coming;
    int half;                 /* the client sends no more; whether it reads is not known */
    ks_connection *half_next; /* of those to be told of after this run */
    uint64_t counted_bytes;   /* of the body, that were there when it was given time anew */
    uint64_t since_ns;        /* its bytes began to come */
    uint64_t finished_ns;     /* its last request was over; 0: none was */
    struct ks_wire *wire;     /* the request that it is at, or NULL */
};

/* A connection that the first loop has accepted. */
typedef struct ks_arrival {
    struct ks_arrival *next;
    int fd;
    socklen_t size;
    struct sockaddr_storage address;
} ks_arrival;

struct ks_loop {
    ks_http *http;
    unsigned number;
    pthread_t thread; /* to be joined */
    pthread_t self;   /* the same, for the thread itself and those that it gave calls to */
    int started;
    struct MHD_Daemon *daemon;
    int epoll, event; /* ours; libmicrohttpd's epoll is one of those that it watches */
    ks_connection *connections, *coming_first, *coming_last, *half_first;
    struct ks_wire *ended; /* ended by the loop's own thread */
    struct ks_wire *spare;
    size_t spare_count;
    size_t out;               /* calls that are out */
    size_t handed;            /* calls that were given to handlers since the last turn */
    int quiet;                /* no more than one connection has sent something: ks_call.alone */
    struct ks_wire *handling; /* its handler is being called */
    int deaf;                 /* the first loop, draining: nothing listens any more */
    uint64_t listen_again_ns; /* accepting rests until then; 0: it does not */
    atomic_size_t count;      /* connections, those on their way included */
    atomic_int woken;
    pthread_mutex_t lock; /* of the inbox */
    struct ks_wire *inbox;
    ks_arrival *arrivals;
};

struct ks_http {
    ks_http_options options;
    ks_loop *loops;
    unsigned loop_count;
    int listener;
    int own_listener;
    uint16_t port;
    ks_tls *tls;
    atomic_int draining; /* no more connections; those without a request are closed */
    atomic_int stopping; /* whoever still works for a call may stop */
    atomic_size_t body_bytes, reply_bytes;
    atomic_ullong requests, refused;
};

/* Names of headers, in any case: a dozen are looked for among some ten, and most differ in the first letter. */
static inline int ks_is_called(const ks_argument *header, const char *name) {
    return ((header->name[0] ^ name[0]) & 0x5f) == 0 && strcasecmp(header->name, name) == 0;
}

/* path.c */
/* Decode `count` bytes of a path or query in place at `to` (room for count + 1): how many, or -1: a bad escape, a
 * control character or bytes that are no UTF-8. plus: a "+" is a space. */
ptrdiff_t ks_decode(const char *from, size_t count, int plus, char *to);
int ks_is_text(const char *bytes, size_t count); /* UTF-8 without control characters */
/* Split call->path at its slashes into decoded parts, in the call's memory. 200; 400; 404: more than there can be; 503
 * without memory. */
int ks_split(ks_call *call, const char *segments[KS_SEGMENTS_MAX], size_t *count);
int ks_arguments_read(struct ks_wire *wire, const char *query); /* 200, 400 or 503 */

/* socket.c */
kith_status ks_listen(ks_http *http, kith_error *error);
int ks_deal(ks_http *http);          /* accept what waits and deal it out; 0: no more descriptors, rest a while */
void ks_say_raw(int fd, int status); /* a reply without libmicrohttpd, so far as it can be sent at once */

/* loop.c */
kith_status ks_loop_open(ks_loop *loop, kith_error *error);
void *ks_loop_run(void *loop);
void ks_loop_close(ks_loop *loop);
void ks_loop_wake(ks_loop *loop);
void ks_connection_came(ks_connection *connection, ks_loop *loop); /* its request has come whole */
void ks_connection_coming(ks_connection *connection, ks_loop *loop, uint64_t now_ns);
/* The client sends no more: the kernel tells libmicrohttpd once more, which forgets the end that came together with
 * bytes. What has come is read all the same. Nothing where it may still send. */
void ks_connection_read_end(ks_connection *connection);
void ks_connection_notice(void *http, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code);

/* request.c */
void *ks_request_line(void *loop, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result ks_request(void *loop, struct MHD_Connection *mhd, const char *url, const char *method,
                           const char *version, const char *data, size_t *bytes, void **context);
void ks_request_over(void *loop, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code);
int ks_take_ended(ks_loop *loop); /* hand the replies of ended calls to libmicrohttpd; whether there were any */
void ks_wires_free(ks_loop *loop);

/* reply.c */
int ks_reply_queue(struct ks_wire *wire); /* 1, or 0: the connection cannot go on */

/* tls.c */
kith_status ks_tls_open(const ks_http_options *options, ks_tls **tls, kith_error *error);
/* Read the files again, for connections that come from now on. By one thread at a time. */
kith_status ks_tls_renew(ks_tls *tls, const ks_http_options *options, kith_error *error);
void ks_tls_dress(ks_tls *tls, struct MHD_Connection *mhd); /* a new connection, before its handshake */
void ks_tls_close(ks_tls *tls);
size_t ks_tls_options(ks_tls *tls, struct MHD_OptionItem *items, size_t room);

#endif

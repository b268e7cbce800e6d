/* SPDX-License-Identifier: Apache-2.0
 *
 * A loader of HTTP servers: requests from a file over connections that are kept alive, one at a time on each, by one
 * thread.
 *
 * With a rate it is an open loop: request number i is due at i / rate, whatever the server does, and what its answer
 * took is counted from then; one that finds no connection free waits, and that counts too. So a server that stops for a
 * second has slow answers for all that was due in it, as its users would say. Without a rate it is a closed loop: each
 * connection asks again when it has its answer.
 *
 * The file: u32 count, then for each request u32 bytes and its bytes, little-endian. They are sent round robin. Prints
 * one JSON object. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, HEAD_MAX = 4096, STEPS = 64, OCTAVES = 44, GRACE_S = 10 };

#define SECOND UINT64_C(1000000000)

/* ---- Times: a histogram whose steps grow, 64 an octave, so that a quantile is right to 1.6 % --------------------- */

struct times {
    uint64_t count[OCTAVES * STEPS], all, largest;
    double sum;
};

static void times_add(struct times *times, uint64_t ns) {
    unsigned octave = 0;
    while ((ns >> octave) >= 2 * STEPS && octave < OCTAVES - 2) octave++;
    size_t at = octave ? (size_t)(octave + 1) * STEPS + ((ns >> octave) - STEPS) : (size_t)ns;
    if (at >= OCTAVES * STEPS) at = OCTAVES * STEPS - 1;
    times->count[at]++;
    times->all++;
    times->sum += (double)ns;
    if (ns > times->largest) times->largest = ns;
}

static double times_quantile(const struct times *times, double share) {
    const double wanted = share * (double)times->all;
    uint64_t seen = 0;
    for (size_t at = 0; at < OCTAVES * STEPS; at++) {
        seen += times->count[at];
        if (!times->count[at] || (double)seen < wanted) continue;
        if (at < 2 * STEPS) return (double)at;
        const unsigned octave = (unsigned)(at / STEPS) - 1;
        const double ns = ((double)(at % STEPS + STEPS) + 0.5) * (double)(UINT64_C(1) << octave);
        return ns < (double)times->largest ? ns : (double)times->largest;
    }
    return (double)times->largest;
}

static void times_print(const char *name, const struct times *times) {
    printf("\"%s\": {\"count\": %llu, \"mean_us\": %.3f, \"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, "
           "\"p999_us\": %.3f, \"max_us\": %.3f}",
           name, (unsigned long long)times->all, times->all ? times->sum / (double)times->all / 1e3 : 0.0,
           times_quantile(times, 0.5) / 1e3, times_quantile(times, 0.9) / 1e3, times_quantile(times, 0.99) / 1e3,
           times_quantile(times, 0.999) / 1e3, (double)times->largest / 1e3);
}

/* ---- What is to be done ------------------------------------------------------------------------------------------ */

struct request {
    const char *bytes;
    size_t count;
};

struct plan {
    struct sockaddr_in address;
    unsigned connections, idle;
    double rate; /* 0: a closed loop */
    double warm_s, seconds;
    struct request *requests;
    size_t request_count;
};

struct connection {
    int fd, busy;
    const struct request *request;
    size_t sent;
    uint64_t due_ns, began_ns; /* when it was to be sent, and when it was */
    char head[HEAD_MAX + 1];
    size_t head_used;
    int in_body, status, retry_after;
    uint64_t body_left;
    struct connection *next; /* of those that are free */
};

struct load {
    struct plan plan;
    int epoll;
    struct connection *connections, *free;
    uint64_t begin_ns, record_ns, end_ns;
    uint64_t started, ended; /* requests of all times */
    size_t next_request;
    /* Of those that were due while it was recorded. */
    uint64_t due, ok, refused, late, others, broken, without_retry, bytes;
    int other_status;
    struct times answered, refusals; /* from when it was due; from when it was sent */
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void fatal(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t read_u32(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static unsigned char *read_file(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) fatal(path);
    const long bytes = ftell(file);
    unsigned char *text = bytes >= 4 ? malloc((size_t)bytes) : NULL;
    if (!text) fatal(path);
    rewind(file);
    if (fread(text, 1, (size_t)bytes, file) != (size_t)bytes) fatal(path);
    fclose(file);
    *count = (size_t)bytes;
    return text;
}

static void read_requests(struct plan *plan, const char *path) {
    size_t bytes = 0, at = 4;
    const unsigned char *text = read_file(path, &bytes);
    plan->request_count = read_u32(text);
    if (!plan->request_count || plan->request_count > bytes / 4) {
        errno = EINVAL;
        fatal(path);
    }
    plan->requests = calloc(plan->request_count, sizeof(*plan->requests));
    if (!plan->requests) fatal("memory");
    for (size_t i = 0; i < plan->request_count; i++) {
        const size_t count = bytes - at >= 4 ? read_u32(text + at) : 0;
        if (!count || count > bytes - at - 4) {
            errno = EINVAL;
            fatal(path);
        }
        plan->requests[i] = (struct request){(const char *)text + at + 4, count};
        at += 4 + count;
    }
}

/* ---- Connections ------------------------------------------------------------------------------------------------- */

static int dial(const struct plan *plan) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) fatal("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&plan->address, sizeof(plan->address)) != 0) fatal("connect");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fatal("fcntl");
    return fd;
}

static void open_connection(struct load *load, struct connection *connection) {
    connection->fd = dial(&load->plan);
    connection->busy = 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) fatal("epoll");
    connection->next = load->free;
    load->free = connection;
}

static void count_answer(struct load *load, const struct connection *connection, int status) {
    const uint64_t now = now_ns();
    if (connection->due_ns < load->record_ns) return;
    if (status == 200) {
        load->ok++;
        times_add(&load->answered, now - connection->due_ns);
    } else if (status == 503) {
        load->refused++;
        load->without_retry += !connection->retry_after;
        times_add(&load->refusals, now - connection->began_ns);
    } else if (status == 504) {
        load->late++;
    } else if (status) {
        load->others++;
        load->other_status = status;
    } else {
        load->broken++;
    }
}

static void end_request(struct load *load, struct connection *connection, int status) {
    count_answer(load, connection, status);
    load->ended++;
    connection->busy = 0;
    connection->next = load->free;
    load->free = connection;
}

/* A connection that the server closed: what was asked on it has no answer; a free one is made anew. */
static void broken(struct load *load, struct connection *connection) {
    close(connection->fd);
    if (connection->busy) {
        count_answer(load, connection, 0);
        load->ended++;
    } else {
        struct connection **at = &load->free;
        while (*at != connection) at = &(*at)->next;
        *at = connection->next;
    }
    open_connection(load, connection);
}

static int send_more(struct connection *connection) {
    while (connection->sent < connection->request->count) {
        const ssize_t sent = send(connection->fd, connection->request->bytes + connection->sent,
                                  connection->request->count - connection->sent, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        connection->sent += (size_t)sent;
    }
    return 0;
}

static void start(struct load *load, uint64_t due_ns) {
    struct connection *connection = load->free;
    load->free = connection->next;
    connection->request = &load->plan.requests[load->next_request++ % load->plan.request_count];
    connection->sent = connection->head_used = 0;
    connection->in_body = connection->retry_after = 0;
    connection->due_ns = due_ns;
    connection->began_ns = now_ns();
    connection->busy = 1;
    load->started++;
    load->due += due_ns >= load->record_ns;
    if (send_more(connection) != 0) broken(load, connection);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static const char *find_header(const char *head, const char *name) {
    const size_t bytes = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, bytes) == 0 && line[bytes] == ':') return line + bytes + 1;
    }
    return NULL;
}

/* The head is there: how long the body is. -1: it is none that we know. */
static int read_head(struct connection *connection) {
    if (sscanf(connection->head, "HTTP/1.1 %d", &connection->status) != 1) return -1;
    const char *length = find_header(connection->head, "Content-Length");
    if (!length) return -1;
    connection->body_left = strtoull(length, NULL, 10);
    connection->retry_after = find_header(connection->head, "Retry-After") != NULL;
    connection->in_body = 1;
    return 0;
}

/* Take bytes that came; -1: they are no answer. */
static int take(struct load *load, struct connection *connection, const char *bytes, size_t count) {
    load->bytes += count;
    if (!connection->busy) return count ? -1 : 0;
    if (!connection->in_body) {
        const size_t room = HEAD_MAX - connection->head_used, before = connection->head_used;
        const size_t copied = count < room ? count : room;
        memcpy(connection->head + before, bytes, copied);
        connection->head_used += copied;
        connection->head[connection->head_used] = 0;
        char *end = strstr(connection->head, "\r\n\r\n");
        if (!end) return room > copied ? 0 : -1;
        end[2] = 0;
        const size_t of_head = (size_t)(end - connection->head) + 4 - before;
        if (read_head(connection) != 0) return -1;
        bytes += of_head;
        count -= of_head;
    }
    if (count > connection->body_left) return -1;
    connection->body_left -= count;
    if (!connection->body_left) end_request(load, connection, connection->status);
    return 0;
}

static void look(struct load *load, struct connection *connection, uint32_t events) {
    static char bytes[65536];
    int failed = (events & EPOLLOUT) && connection->busy && send_more(connection) != 0;
    while (!failed && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        const ssize_t count = recv(connection->fd, bytes, sizeof(bytes), 0);
        if (count < 0 && errno == EAGAIN) return;
        failed = count <= 0 || take(load, connection, bytes, (size_t)count) != 0;
        if (!failed && (size_t)count < sizeof(bytes) && !(events & EPOLLRDHUP)) return;
    }
    if (failed) broken(load, connection);
}

/* ---- The load ---------------------------------------------------------------------------------------------------- */

/* Start what is due; returns how many milliseconds nothing will be, -1: for ever. */
static int start_due(struct load *load) {
    const uint64_t now = now_ns();
    if (load->plan.rate <= 0) {
        while (load->free && now < load->end_ns) start(load, now_ns());
        return now < load->end_ns ? (int)((load->end_ns - now) / 1000000 + 1) : 100;
    }
    const double interval = 1e9 / load->plan.rate;
    for (;;) {
        const uint64_t due = load->begin_ns + (uint64_t)((double)load->started * interval);
        if (due >= load->end_ns) return 100;
        if (due > now_ns()) return due - now > 1500000 ? (int)((due - now) / 1000000) : 0; /* the last bit is spun */
        if (!load->free) return 1;
        start(load, due);
    }
}

static void run(struct load *load) {
    static struct epoll_event events[EVENTS];
    const uint64_t grace = load->end_ns + GRACE_S * SECOND;
    for (;;) {
        const int wait = start_due(load);
        const uint64_t now = now_ns();
        if (now >= grace || (now >= load->end_ns && load->ended == load->started)) break;
        const int count = epoll_wait(load->epoll, events, EVENTS, wait);
        for (int i = 0; i < count; i++) look(load, events[i].data.ptr, events[i].events);
    }
}

/* What was due and never sent, since no connection was free until the end: those are lost too. */
static uint64_t never_sent(const struct load *load) {
    if (load->plan.rate <= 0) return 0;
    const uint64_t all = (uint64_t)((double)(load->end_ns - load->begin_ns) * load->plan.rate / 1e9);
    return all > load->started ? all - load->started : 0;
}

static unsigned count_closed(const int *idle, unsigned count) {
    unsigned closed = 0;
    char byte;
    for (unsigned i = 0; i < count; i++) {
        const ssize_t got = recv(idle[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        closed += got == 0 || (got < 0 && errno != EAGAIN);
    }
    return closed;
}

static void print(const struct load *load, unsigned idle_closed) {
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {{"connections", load->plan.connections},
                  {"idle", load->plan.idle},
                  {"idle_closed", idle_closed},
                  {"all", load->ended},
                  {"due", load->due},
                  {"ok", load->ok},
                  {"refused", load->refused},
                  {"refused_without_retry_after", load->without_retry},
                  {"late", load->late},
                  {"others", load->others},
                  {"other_status", (uint64_t)load->other_status},
                  {"broken", load->broken},
                  {"lost", load->started - load->ended},
                  {"never_sent", never_sent(load)}};
    printf("{");
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        printf("\"%s\": %llu, ", counts[i].name, (unsigned long long)counts[i].count);
    printf("\"offered\": %.1f, \"seconds\": %.3f, \"ok_per_s\": %.1f, ", load->plan.rate, load->plan.seconds,
           (double)load->ok / load->plan.seconds);
    times_print("answered", &load->answered);
    printf(", ");
    times_print("refusals", &load->refusals);
    printf("}\n");
}

static void allow_files(unsigned count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < count + 64) {
        errno = EMFILE;
        fatal("connections");
    }
}

static int usage(void) {
    fprintf(stderr, "load --port P --requests FILE [--address A] [--connections N] [--idle N] [--rate R] [--warm S] "
                    "[--seconds S]\n");
    return 2;
}

static int parse(int count, char **words, struct plan *plan, const char **requests) {
    *plan = (struct plan){.connections = 1, .warm_s = 1, .seconds = 5};
    plan->address.sin_family = AF_INET;
    plan->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        if (strcmp(name, "--port") == 0)
            plan->address.sin_port = htons((uint16_t)atoi(value));
        else if (strcmp(name, "--address") == 0)
            inet_pton(AF_INET, value, &plan->address.sin_addr);
        else if (strcmp(name, "--requests") == 0)
            *requests = value;
        else if (strcmp(name, "--connections") == 0)
            plan->connections = (unsigned)atoi(value);
        else if (strcmp(name, "--idle") == 0)
            plan->idle = (unsigned)atoi(value);
        else if (strcmp(name, "--rate") == 0)
            plan->rate = atof(value);
        else if (strcmp(name, "--warm") == 0)
            plan->warm_s = atof(value);
        else if (strcmp(name, "--seconds") == 0)
            plan->seconds = atof(value);
        else
            return 0;
    }
    return count % 2 == 1 && plan->address.sin_port && *requests && plan->connections && plan->seconds > 0;
}

int main(int count, char **words) {
    static struct load load;
    const char *requests = NULL;
    if (!parse(count, words, &load.plan, &requests)) return usage();
    read_requests(&load.plan, requests);
    allow_files(load.plan.connections + load.plan.idle);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = calloc(load.plan.connections, sizeof(*load.connections));
    int *idle = calloc(load.plan.idle + 1, sizeof(*idle));
    if (load.epoll < 0 || !load.connections || !idle) fatal("memory");
    for (unsigned i = 0; i < load.plan.idle; i++) idle[i] = dial(&load.plan);
    for (unsigned i = 0; i < load.plan.connections; i++) open_connection(&load, &load.connections[i]);
    load.begin_ns = now_ns();
    load.record_ns = load.begin_ns + (uint64_t)(load.plan.warm_s * 1e9);
    load.end_ns = load.record_ns + (uint64_t)(load.plan.seconds * 1e9);
    run(&load);
    print(&load, count_closed(idle, load.plan.idle));
    return 0;
}

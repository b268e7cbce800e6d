/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that writes to a collection is killed, and the collection is opened again: all that it acknowledged is
 * there, what it was at is there as a whole or not at all, searches find what they must, no file is left over, and the
 * whole verifies. Heads are tiny, so that segments are sealed and merged, and tenants' rows moved to segments of their
 * own, all the time.
 *
 *   - SIGKILL at random microseconds, many rounds on the same collection
 *   - what a crash of the machine could take, by the order of system calls: files of a segment, and their names, are
 *     synced before the catalog's log that names them is; and what they replace goes only after it
 *   - SIGKILL at the N-th system call that changes a file, for every N of a short workload (by strace, where that is
 *     installed and may trace)
 *
 * What operation i writes is known from i alone. The child says through a pipe which ones were acknowledged, and what
 * versions they made.
 *
 * KITH_STRESS=n: n times as many rounds. Started with arguments, this program is the child. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/collection.h"
#include "state/tenants.h"
#include "support/data.h"
#include "support/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_MAX = 12, IDS = 300, SHORT_WORK = 14 };

static const kith_vector_spec specs[] = {{"", 16, KITH_F32, KITH_L2SQ}, {"tags", 32, KITH_B1, KITH_JACCARD}};
static kith_error error;
static const char *program;

/* ---- Operations -------------------------------------------------------------------------------------------------- */

struct operation {
    int deletes, compacts;
    kith_items items;
    uint64_t id[BATCH_MAX], end[BATCH_MAX], payload_end[BATCH_MAX];
    char text[BATCH_MAX * 16], *payloads;
    float rows[BATCH_MAX][16];
    unsigned char bits[BATCH_MAX][4];
    uint8_t present[BATCH_MAX];
    kith_item_vectors vectors[2];
};

static void add_payload(struct operation *o, size_t i, ki_rng *rng) {
    char *text = condition_payload(rng);
    const uint64_t begin = i ? o->payload_end[i - 1] : 0;
    o->payload_end[i] = begin + strlen(text);
    o->payloads = realloc(o->payloads, o->payload_end[i] + 1);
    memcpy(o->payloads + begin, text, o->payload_end[i] - begin + 1);
    free(text);
}

/* What operation `number` does. */
static struct operation *operation_make(uint64_t number, kith_id_kind kind) {
    struct operation *o = calloc(1, sizeof(*o));
    ki_rng rng = {number * 7919 + 3};
    const size_t count = 1 + ki_rng_below(&rng, BATCH_MAX);
    uint64_t bytes = 0;
    o->compacts = number % 37 == 36;
    o->deletes = ki_rng_below(&rng, 5) == 0;
    o->items = (kith_items)KITH_ITEMS_INIT;
    for (size_t i = 0; i < count; i++) {
        o->id[i] = (ki_rng_below(&rng, IDS / BATCH_MAX) * BATCH_MAX) + i; /* distinct */
        bytes += (uint64_t)snprintf(o->text + bytes, sizeof(o->text) - bytes, "n%llu", (unsigned long long)o->id[i]);
        o->end[i] = bytes;
        for (size_t j = 0; j < 16; j++) o->rows[i][j] = (float)ki_rng_normal(&rng);
        for (size_t j = 0; j < 4; j++) o->bits[i][j] = (unsigned char)ki_rng_next(&rng);
        o->present[i] = ki_rng_below(&rng, 4) != 0;
        add_payload(o, i, &rng);
    }
    o->items.ids.count = count;
    if (kind == KITH_ID_U64) {
        o->items.ids.ids = o->id;
    } else {
        o->items.ids.id_bytes = o->text;
        o->items.ids.id_ends = o->end;
    }
    o->vectors[0] = (kith_item_vectors){.name = "", .data = o->rows, .dtype = KITH_F32, .dim = 16};
    o->vectors[1] =
        (kith_item_vectors){.name = "tags", .data = o->bits, .dtype = KITH_B1, .dim = 32, .present = o->present};
    o->items.vectors = o->vectors;
    o->items.vector_count = 2;
    o->items.payload_bytes = o->payloads;
    o->items.payload_ends = o->payload_end;
    return o;
}

static void operation_free(struct operation *o) {
    free(o->payloads);
    free(o);
}

static kith_status operation_do(const struct operation *o, kith_collection *collection, uint64_t *version) {
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    kith_status status = KITH_OK;
    if (o->compacts) status = kith_collection_compact(collection, NULL, NULL, &error);
    if (status == KITH_OK && o->deletes)
        status = kith_collection_delete(collection, &o->items.ids, NULL, &report, &error);
    else if (status == KITH_OK)
        status = kith_collection_write(collection, &o->items, KITH_UPSERT, &report, &error);
    *version = report.version;
    return status;
}

static void operation_expect(uint64_t number, model *m, uint64_t version) {
    struct operation *o = operation_make(number, m->id_kind);
    kith_write_report report;
    if (o->deletes)
        model_delete(m, &o->items.ids, NULL, version, &report);
    else
        assert_int_equal(model_write(m, &o->items, KITH_UPSERT, version, &report), KITH_OK);
    operation_free(o);
}

/* ---- The child --------------------------------------------------------------------------------------------------- */

struct acknowledged {
    uint64_t number, version;
};

/* How the child opens the collection. */
enum { BACKGROUND = 1, RELAXED = 2 };

/* Arguments: folder, kind of ids, first operation, how many, how it is opened. Says on descriptor 3 what is done. */
static int child(char **arguments) {
    const kith_id_kind kind = atoi(arguments[1]) == KITH_ID_STRING ? KITH_ID_STRING : KITH_ID_U64;
    const uint64_t first = strtoull(arguments[2], NULL, 10), count = strtoull(arguments[3], NULL, 10);
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *collection = NULL;
    options.head_bytes = 3000;
    options.threads = 1;
    const int how = atoi(arguments[4]);
    options.no_background = !(how & BACKGROUND);
    options.durability = how & RELAXED ? KITH_DURABILITY_RELAXED : KITH_DURABILITY_FULL;
    if (kith_collection_open(arguments[0], &options, &collection, &error) != KITH_OK) {
        fprintf(stderr, "child: %s\n", error.text);
        return 2;
    }
    collection->own_from = 4; /* so few items make a tenant large */
    for (uint64_t i = first; i < first + count; i++) {
        if (i % 4 == 0) (void)ki_tenants_note(collection->tenants, i % 8 ? "red" : "blue", 100);
        struct operation *o = operation_make(i, kind);
        struct acknowledged done = {i, 0};
        const kith_status status = operation_do(o, collection, &done.version);
        operation_free(o);
        if (status != KITH_OK) {
            fprintf(stderr, "child: operation %llu: %s\n", (unsigned long long)i, error.text);
            return 3;
        }
        if (write(3, &done, sizeof(done)) != sizeof(done)) return 4;
    }
    kith_collection_close(collection);
    return 0;
}

struct running {
    pid_t pid;
    int pipe;
};

/* inject: what strace is told, or NULL to start the child as it is. */
static struct running start(const char *path, kith_id_kind kind, uint64_t first, uint64_t count, int how,
                            const char *inject) {
    struct running running;
    int ends[2];
    char id_kind[8], from[24], many[24], opened[8];
    snprintf(id_kind, sizeof(id_kind), "%d", (int)kind);
    snprintf(from, sizeof(from), "%llu", (unsigned long long)first);
    snprintf(many, sizeof(many), "%llu", (unsigned long long)count);
    snprintf(opened, sizeof(opened), "%d", how);
    assert_int_equal(pipe(ends), 0);
    running.pid = fork();
    assert_true(running.pid >= 0);
    if (running.pid == 0) {
        if (dup2(ends[1], 3) != 3) _exit(9);
        for (int i = 4; i < 64; i++) close(i);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* leaks cannot be looked for under strace */
        if (inject)
            execlp("strace", "strace", "-f", "-qq", "-o", "/dev/null", "-e", inject, program, path, id_kind, from, many,
                   opened, (char *)NULL);
        else
            execl(program, program, path, id_kind, from, many, opened, (char *)NULL);
        _exit(9);
    }
    close(ends[1]);
    running.pipe = ends[0];
    return running;
}

/* Wait for its end and take what it acknowledged into the model. */
static int finish(struct running *running, model *m, uint64_t *next, uint64_t *acknowledged) {
    struct acknowledged done;
    int status = 0;
    ssize_t got;
    while ((got = read(running->pipe, &done, sizeof(done))) != 0) {
        if (got < 0 && errno == EINTR) continue;
        assert_int_equal(got, sizeof(done)); /* so few bytes go through a pipe whole */
        assert_int_equal(done.number, *next);
        operation_expect(done.number, m, done.version);
        ++*next;
        ++*acknowledged;
    }
    close(running->pipe);
    assert_int_equal(waitpid(running->pid, &status, 0), running->pid);
    return status;
}

/* ---- Afterwards -------------------------------------------------------------------------------------------------- */

static size_t folders_in(const char *path) {
    char name[600];
    size_t count = 0;
    snprintf(name, sizeof(name), "%s/segments", path);
    DIR *folder = opendir(name);
    if (!folder) return 0;
    for (const struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.' || entry->d_name[1];
    closedir(folder);
    return count - 1; /* ".." */
}

/* Open what the killed child left. The model has what was acknowledged, and takes one operation more where that is
 * there too. */
static void check_left(const char *path, model *m, uint64_t *next, ki_rng *rng, const char *when) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_collection *collection = NULL;
    kith_result *result = NULL;
    char why[MODEL_WHY_BYTES] = "", other[MODEL_WHY_BYTES] = "";
    options.no_background = 1;
    options.threads = 1;
    if (kith_collection_open(path, &options, &collection, &error) != KITH_OK) fail_msg("%s: %s", when, error.text);
    assert_int_equal(kith_result_create(&result, &error), KITH_OK);
    assert_int_equal(kith_collection_get_info(collection, &info), KITH_OK);
    model one_more, as_is;
    model_copy(&as_is, m);
    model_copy(&one_more, m);
    operation_expect(*next, &one_more, info.version);
    const int more = info.version > m->version;
    model *expected = more ? &one_more : &as_is;
    if (!model_learn(expected, collection, result, why) || !model_same(expected, collection, result, rng, other))
        fail_msg("%s, %llu operations acknowledged, the next one %s: %s%s", when, (unsigned long long)*next,
                 more ? "is there" : "is not", why, other);
    if (folders_in(path) != info.segments)
        fail_msg("%s: %zu folders for %zu segments", when, folders_in(path), info.segments);
    model_free(m);
    *m = *expected;
    model_free(more ? &as_is : &one_more);
    *next += (uint64_t)more;
    kith_result_destroy(result);
    kith_collection_close(collection);
    if (kith_collection_verify(path, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s: %s", when, error.text);
}

static const char *make(const char *name, kith_id_kind kind, model *m) {
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    const char *path = data_path(name);
    made.id_kind = kind;
    made.vectors = specs;
    made.vector_count = 2;
    made.fields = condition_fields;
    made.field_count = 3;
    made.segment_field = "color";
    model_make(m, &made);
    if (kith_collection_create(path, &made, &error) != KITH_OK) fail_msg("%s", error.text);
    return path;
}

static uint64_t stress(uint64_t count) {
    const char *times = getenv("KITH_STRESS");
    return times && atoi(times) > 0 ? count * (uint64_t)atoi(times) : count;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void kill_at_random(const char *name, kith_id_kind kind, uint64_t rounds) {
    ki_rng rng = {kind};
    model m;
    uint64_t next = 0, acknowledged = 0, kills = 0;
    const char *path = strdup(make(name, kind, &m));
    for (uint64_t round = 0; round < rounds; round++) {
        char when[64];
        struct running running = start(path, kind, next, 1000000, BACKGROUND | (round % 2 ? RELAXED : 0), NULL);
        /* Opening is interrupted, too; otherwise it begins when something was acknowledged. */
        if (round % 4) poll(&(struct pollfd){.fd = running.pipe, .events = POLLIN}, 1, 20000);
        const uint64_t us = ki_rng_below(&rng, ki_rng_below(&rng, 3) ? 120000 : 15000);
        nanosleep(&(struct timespec){0, (long)us * 1000}, NULL);
        assert_int_equal(kill(running.pid, SIGKILL), 0);
        const int status = finish(&running, &m, &next, &acknowledged);
        if (!WIFSIGNALED(status)) fail_msg("the child ended by itself: %d", WEXITSTATUS(status));
        kills++;
        snprintf(when, sizeof(when), "round %llu", (unsigned long long)round);
        check_left(path, &m, &next, &rng, when);
    }
    print_message("SIGKILL at random: %llu kills, %llu acknowledged writes, 0 lost\n", (unsigned long long)kills,
                  (unsigned long long)acknowledged);
    assert_true(acknowledged > 0);
    model_free(&m);
    free((char *)(uintptr_t)path);
}

static void test_kill_at_random(void **state) {
    (void)state;
    kill_at_random("numbers", KITH_ID_U64, stress(25));
    kill_at_random("strings", KITH_ID_STRING, stress(25));
}

/* While one writes, a second writer is told so, and gets in as soon as the first was killed. */
static void test_second_writer(void **state) {
    model m;
    kith_collection *collection = NULL;
    uint64_t next = 0, acknowledged = 0;
    struct acknowledged first;
    ki_rng rng = {1};
    (void)state;
    const char *path = strdup(make("locked", KITH_ID_U64, &m));
    struct running running = start(path, KITH_ID_U64, 0, 1000000, BACKGROUND, NULL);
    assert_int_equal(read(running.pipe, &first, sizeof(first)), sizeof(first));
    operation_expect(0, &m, first.version);
    next = 1;
    assert_int_equal(kith_collection_open(path, NULL, &collection, &error), KITH_E_BUSY);
    assert_non_null(strstr(error.text, "locked"));
    assert_int_equal(kill(running.pid, SIGKILL), 0);
    finish(&running, &m, &next, &acknowledged);
    check_left(path, &m, &next, &rng, "locked");
    model_free(&m);
    free((char *)(uintptr_t)path);
}

#define CALLS                                                                                                          \
    "?write,?pwrite64,?writev,?pwritev,?fsync,?fdatasync,?ftruncate,?fallocate,?rename,?renameat,?renameat2,?unlink,"  \
    "?unlinkat,?rmdir,?mkdir,?mkdirat,?link,?linkat,?copy_file_range,?sendfile,?msync"

static int can_trace(void) {
    return system("strace -f -qq -o /dev/null -e inject=write:signal=KILL:when=10000 true 2>/dev/null") == 0;
}

/* Each time the short workload is begun on a new collection, and killed one system call later. */
static void test_kill_at_every_call(void **state) {
    ki_rng rng = {1};
    uint64_t kills = 0, acknowledged = 0, step = 1, tried = 0;
    (void)state;
    if (!can_trace()) {
        print_message("strace is not installed, or may not trace here\n");
        skip();
    }
    if (!getenv("KITH_STRESS")) step = 5; /* other ones each day */
    for (uint64_t at = 1 + (uint64_t)(time(NULL) / 86400) % step, ended = 0; !ended; at += step) {
        model m;
        uint64_t next = 30; /* operation 36 compacts */
        char inject[600], name[40], command[700];
        const kith_id_kind kind = at % 2 ? KITH_ID_U64 : KITH_ID_STRING;
        snprintf(name, sizeof(name), "call-%llu", (unsigned long long)at);
        snprintf(inject, sizeof(inject), "inject=%s:signal=KILL:when=%llu", CALLS, (unsigned long long)at);
        const char *path = strdup(make(name, kind, &m));
        struct running running = start(path, kind, next, SHORT_WORK, 0, inject);
        const int status = finish(&running, &m, &next, &acknowledged);
        ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) > 0 && WEXITSTATUS(status) < 128)
            fail_msg("call %llu: the child ended with %d", (unsigned long long)at, WEXITSTATUS(status));
        if (ended) assert_int_equal(next, 30 + SHORT_WORK);
        kills += !ended;
        tried++;
        check_left(path, &m, &next, &rng, name);
        model_free(&m);
        snprintf(command, sizeof(command), "rm -rf '%s'", path);
        assert_int_equal(system(command), 0);
        free((char *)(uintptr_t)path);
    }
    assert_true(kills > 10);
    print_message("SIGKILL at each %llu. system call: %llu kills, %llu acknowledged writes, 0 lost\n",
                  (unsigned long long)step, (unsigned long long)kills, (unsigned long long)acknowledged);
}

/* ---- The order of system calls ----------------------------------------------------------------------------------- */

/* What strace -y wrote down: a call's name, and what stands between the first < and > (its file), or its last name in
 * quotes. */
struct call {
    char name[24], file[500], last[500];
};

static int parse_call(const char *line, struct call *call) {
    const char *at = line + strspn(line, "0123456789 "), *open = strchr(at, '('), *angle = strchr(at, '<');
    *call = (struct call){0};
    if (!open || (size_t)(open - at) >= sizeof(call->name)) return 0;
    memcpy(call->name, at, (size_t)(open - at));
    if (angle) snprintf(call->file, sizeof(call->file), "%.*s", (int)strcspn(angle + 1, ">"), angle + 1);
    const char *end = strrchr(line, '"');
    if (end) {
        const char *begin = end;
        while (begin > line && begin[-1] != '"') begin--;
        snprintf(call->last, sizeof(call->last), "%.*s", (int)(end - begin), begin);
    }
    return 1;
}

/* Names that are waiting for a sync. */
struct waiting {
    size_t count;
    char name[64][500];
};

static void wait_for(struct waiting *w, const char *name) {
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->name[i], name) == 0) return;
    assert_true(w->count < 64);
    snprintf(w->name[w->count++], sizeof(w->name[0]), "%s", name);
}

static void synced(struct waiting *w, const char *name) {
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->name[i], name) == 0) memmove(w->name[i], w->name[--w->count], sizeof(w->name[0]));
}

static const char *folder_of(const char *name) {
    static char folder[500];
    snprintf(folder, sizeof(folder), "%s", name);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    return folder;
}

static int is_segment(const char *name) {
    return strstr(name, "/segments/") != NULL;
}

/* Hold each line against the rules; returns how many renames and removals in segments there were. in_turn: the log is
 * only synced by commits, so that a segment's files must have been before; relaxed ones are also synced beside builds. */
static size_t check_order(FILE *trace, int in_turn) {
    static struct waiting files, folders;
    static struct call call;
    char line[4096];
    size_t seen = 0;
    int log_waits = 0;
    files.count = folders.count = 0;
    while (fgets(line, sizeof(line), trace)) {
        if (!parse_call(line, &call) || strstr(line, " = -1 ")) continue;
        const int of_log = strstr(call.file, "catalog.sqlite-wal") != NULL;
        if (strstr(call.name, "write")) {
            if (of_log) log_waits = 1;
            if (is_segment(call.file)) wait_for(&files, call.file);
        } else if (strstr(call.name, "sync")) {
            if (of_log && in_turn && (files.count || folders.count))
                fail_msg("the catalog's log is synced before %s is", files.count ? files.name[0] : folders.name[0]);
            if (of_log) log_waits = 0;
            synced(&files, call.file);
            synced(&folders, call.file);
        } else if (strncmp(call.name, "rename", 6) == 0 && is_segment(call.last)) {
            if (files.count) fail_msg("%s gets its name before %s is synced", call.last, files.name[0]);
            wait_for(&folders, folder_of(call.last));
            seen++;
        } else if (strncmp(call.name, "mkdir", 5) == 0 && is_segment(call.last)) {
            wait_for(&folders, folder_of(call.last));
        } else if (strncmp(call.name, "unlink", 6) == 0 && strstr(line, ".kith\"")) {
            if (log_waits) fail_msg("a segment's file goes before the log is synced that says so: %s", line);
            seen++;
        }
    }
    return seen;
}

/* Full durability, and relaxed: there the log must be synced for it. */
static void test_order_of_syncs(void **state) {
    (void)state;
    if (!can_trace()) {
        print_message("strace is not installed, or may not trace here\n");
        skip();
    }
    for (int how = 0; how <= RELAXED; how += RELAXED) {
        model m;
        char command[9000], name[20];
        const char *out = data_path("trace");
        snprintf(name, sizeof(name), "order-%d", how);
        const char *path = strdup(make(name, KITH_ID_U64, &m));
        snprintf(command, sizeof(command),
                 "ASAN_OPTIONS=detect_leaks=0 strace -f -y -qq -o '%s' -e trace=" CALLS
                 " '%s' '%s' %d 20 60 %d 3>/dev/null",
                 out, program, path, (int)KITH_ID_U64, how);
        assert_int_equal(system(command), 0);
        FILE *trace = fopen(out, "r");
        assert_non_null(trace);
        assert_true(check_order(trace, !(how & RELAXED)) > 20);
        fclose(trace);
        model_free(&m);
        free((char *)(uintptr_t)path);
    }
}

int main(int count, char **arguments) {
    static char self[4096];
    if (count == 6) return child(arguments + 1);
    const ssize_t bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);
    program = bytes > 0 ? self : arguments[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_at_random),
        cmocka_unit_test(test_second_writer),
        cmocka_unit_test(test_order_of_syncs),
        cmocka_unit_test(test_kill_at_every_call),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}

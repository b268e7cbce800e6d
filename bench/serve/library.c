/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library takes by itself: the queries that the server is asked, one at a time, by kith_collection_search() in
 * this process. Prints one JSON object.
 *
 *     library FOLDER QUERIES.f32 COUNT K TARGET SECONDS [BATCH]
 *
 * QUERIES.f32: COUNT rows of floats, one behind the other. */
#define _GNU_SOURCE
#include <kith.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct question {
    kith_collection *collection;
    kith_result *result;
    kith_queries queries;
    kith_leg leg;
    kith_ask ask;
    const char *rows;
    size_t count, row_bytes, batch;
};

static int ask_one(struct question *question, size_t turn, kith_error *error) {
    const size_t places = question->count / question->batch;
    question->queries.data = question->rows + turn % places * question->batch * question->row_bytes;
    return kith_collection_search(question->collection, &question->ask, question->result, error) == KITH_OK ? 0 : -1;
}

/* As many as there is time for, at most `room`; what each took. */
static size_t measure(struct question *question, double seconds, double *took, size_t room, kith_error *error) {
    size_t turn = 0;
    const double begin = seconds_of(CLOCK_MONOTONIC);
    double before = begin;
    while (turn < room && before - begin < seconds) {
        if (ask_one(question, turn, error) != 0) return 0;
        const double now = seconds_of(CLOCK_MONOTONIC);
        took[turn++] = now - before;
        before = now;
    }
    return turn;
}

/* Until the graph is copied as far as it will be: the server has a copy, too. */
static void wait_for_copies(kith_collection *collection) {
    const struct timespec while_ns = {0, 100000000};
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    uint64_t before;
    do {
        before = info.resident_bytes;
        nanosleep(&while_ns, NULL);
        if (kith_collection_get_info(collection, &info) != KITH_OK) return;
    } while (info.resident_bytes != before);
}

static char *read_rows(const char *path, size_t bytes) {
    FILE *file = fopen(path, "rb");
    char *rows = malloc(bytes);
    if (!file || !rows || fread(rows, 1, bytes, file) != bytes) {
        fprintf(stderr, "library: cannot read %zu bytes of %s\n", bytes, path);
        exit(1);
    }
    fclose(file);
    return rows;
}

int main(int count, char **words) {
    enum { ROOM = 4 << 20 };
    if (count < 7) {
        fprintf(stderr, "library FOLDER QUERIES.f32 COUNT K TARGET SECONDS [BATCH]\n");
        return 2;
    }
    struct question question = {.queries = KITH_QUERIES_INIT, .ask = KITH_ASK_INIT};
    kith_error error = {0};
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_vector_spec spec;
    options.read_only = 1;
    options.threads = 1;
    options.resident_bytes = UINT64_C(1) << 30; /* as `kith serve` has it */
    if (kith_collection_open(words[1], &options, &question.collection, &error) != KITH_OK ||
        kith_collection_vector(question.collection, 0, &spec) != KITH_OK ||
        kith_result_create(&question.result, &error) != KITH_OK) {
        fprintf(stderr, "library: %s\n", error.text);
        return 1;
    }
    wait_for_copies(question.collection);
    question.count = strtoull(words[3], NULL, 10);
    question.batch = count > 7 ? strtoull(words[7], NULL, 10) : 1;
    question.row_bytes = spec.dim * sizeof(float);
    if (!question.batch || question.count < question.batch || question.count > SIZE_MAX / question.row_bytes) return 2;
    question.rows = read_rows(words[2], question.count * question.row_bytes);
    question.queries.dtype = KITH_F32;
    question.queries.count = question.batch;
    question.queries.dim = spec.dim;
    question.leg = (kith_leg){.queries = &question.queries};
    question.ask.legs = &question.leg;
    question.ask.leg_count = 1;
    question.ask.k = strtoull(words[4], NULL, 10);
    question.ask.target_recall = atof(words[5]);
    double *took = malloc(ROOM * sizeof(*took));
    if (!took || !measure(&question, 0.3, took, ROOM, &error)) {
        fprintf(stderr, "library: %s\n", error.text);
        return 1;
    }
    const double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), wall = seconds_of(CLOCK_MONOTONIC);
    const size_t turns = measure(&question, atof(words[6]), took, ROOM, &error);
    const double cpu_s = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu, wall_s = seconds_of(CLOCK_MONOTONIC) - wall;
    qsort(took, turns, sizeof(*took), by_size);
    printf("{\"searches\": %zu, \"batch\": %zu, \"queries_per_s\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, "
           "\"cpu_us\": %.3f}\n",
           turns, question.batch, (double)(turns * question.batch) / wall_s, took[turns / 2] * 1e6,
           took[turns * 99 / 100] * 1e6, cpu_s * 1e6 / (double)(turns * question.batch));
    kith_result_destroy(question.result);
    kith_collection_close(question.collection);
    free(took);
    return 0;
}

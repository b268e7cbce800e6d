/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed against recall of approximate plans on one thread: every setting of every plan, in calls of 1, 4, 16 and 64
 * queries, over one index or several. Recall is held against exact searches of the same index, by distance, so that
 * ties are no misses; a row given twice counts once. Rounds take turns, setting by setting, and the least time of each
 * counts: by the clock of the thread, so that others on the machine disturb less, or by that on the wall. Percentiles
 * are of single queries and of the wall; "rare" is the p99 of what each query took in its best round, which leaves out
 * what the system does between them.
 *
 * Usage: plan_sweep [--json FILE] [--index FILE.kith ...] [--queries FILE.npy] [--count QUERIES] [-k N]
 *                   [--rounds N] [--batches N,N,...] [--clock cpu|wall] [--hot yes] [--share S [--place yes]]
 *                   [--data FILE [--metric WORD] [--type WORD] [--threads N] [--keep FILE.kith]
 *                    [--degree N] [--bits N] [--lean yes] [--code WORD]]
 *                   [--rows N] [--dim N] [PLAN[:N,N,...] ...]
 *
 * A setting is a number: the effort of graph, hnsw and lsh, nprobe of ivf, rerank of pq, and of auto the target of
 * recall in thousandths. Plans that an index has not are left out. Without an index one is built, of --data or of
 * vectors made up. --share lets a filter leave that share of the rows, at random or (--place) those near one of them.
 *
 *     plan_sweep --index base.kith --queries asked.npy graph:25,50,100,200 ivf:8,16,32,64 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CLOCK_THREAD_CPUTIME_ID, mkstemp, nanosleep */
#endif
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kith.h"

enum { INDEXES = 8, BATCHES = 8, VALUES = 24, SETTINGS = INDEXES * 64, PLANS = KITH_PLAN_PQ + 1, TARGETS = 4 };
static const double targets[TARGETS] = {0.80, 0.90, 0.95, 0.99};
static const char *const types[] = {"auto", "flat", "ivf", "graph", "hnsw", "lsh", "pq"}; /* kith_index_type */

typedef struct sweep {
    kith_plan plan;
    size_t value[VALUES], count;
} sweep;

/* From fast to thorough, of every plan that is asked for without numbers. */
static const sweep usual[] = {
    {KITH_PLAN_AUTO, {800, 900, 950, 990}, 4},
    {KITH_PLAN_IVF, {1, 2, 4, 8, 16, 32, 64, 128}, 8},
    {KITH_PLAN_GRAPH, {10, 25, 50, 75, 100, 150, 200, 300, 450, 700}, 10},
    {KITH_PLAN_HNSW, {10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400}, 11},
    {KITH_PLAN_LSH, {1, 2, 4, 8, 16, 32, 64, 128}, 8},
    {KITH_PLAN_PQ, {10, 20, 50, 100, 200, 500, 1000}, 7},
};
enum { USUAL = sizeof(usual) / sizeof(usual[0]) };

typedef struct settings {
    const char *json, *queries, *data, *keep, *code, *index[INDEXES];
    size_t indexes, count, k, rounds, rows, dim, threads, degree, bits, batch[BATCHES], batches;
    kith_metric metric;
    kith_index_type type;
    bool wall, hot, place, lean;
    double share;
    sweep sweeps[PLANS];
    size_t plans;
} settings;

typedef struct subject { /* an index that is measured */
    const char *name;
    kith_index *index;
    kith_scratch *scratch;
    kith_filter *filter;
    kith_index_info info;
    float *kth; /* distance of each query's last true neighbour */
    size_t wanted;
} subject;

typedef struct setting {
    const subject *of;
    kith_plan plan;
    size_t value;
    double recall[BATCHES], ns[BATCHES]; /* of a query */
    double p50, p99, rare;               /* microseconds */
    double visited, scanned, reranked;   /* by a query */
    float *least;                        /* microseconds of each query alone, at its best */
} setting;

typedef struct bench {
    settings settings;
    subject subjects[INDEXES];
    setting all[SETTINGS];
    size_t count; /* of all */
    unsigned char *queries;
    size_t query_bytes, asked;
    kith_dtype dtype;
    uint64_t *ids;
    float *distances, *took; /* took: microseconds of each query of one round */
    kith_error error;
} bench;

static bool told(const bench *b, kith_status status) {
    if (status != KITH_OK) fprintf(stderr, "%s\n", b->error.text);
    return status == KITH_OK;
}

static bool no_memory(const char *what) {
    fprintf(stderr, "There is no memory for %s.\n", what);
    return false;
}

/* ---- Vectors ----------------------------------------------------------------------------------------------------- */

static double unit(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static float normal(uint64_t *state) {
    const double radius = sqrt(-2 * log(1 - unit(state)));
    return (float)(radius * cos(6.283185307179586 * unit(state)));
}

/* Rows on a plane of few dimensions, bent by a sine: near each other as embeddings are, unlike noise in all of them. */
static void make_rows(float *rows, size_t count, size_t dim, uint64_t seed) {
    enum { PLANE = 12 };
    uint64_t shape = 1, state = seed;
    float *map = calloc(dim, PLANE * sizeof(*map)), place[PLANE];
    for (size_t i = 0; map && i < dim * PLANE; i++) map[i] = normal(&shape) / 4;
    for (size_t i = 0; map && i < count; i++) {
        for (int j = 0; j < PLANE; j++) place[j] = normal(&state);
        for (size_t d = 0; d < dim; d++) {
            float sum = (float)d;
            for (int j = 0; j < PLANE; j++) sum += map[d * PLANE + (size_t)j] * place[j];
            rows[i * dim + d] = sinf(sum) + 0.05f * normal(&state);
        }
    }
    free(map);
}

static bool keep_queries(bench *b, kith_dtype dtype, size_t dim, size_t count) {
    b->dtype = dtype, b->query_bytes = kith_row_bytes(dtype, dim), b->asked = count;
    b->settings.dim = dim;
    b->queries = calloc(count, b->query_bytes);
    return b->queries || no_memory("the queries");
}

static bool read_queries(bench *b, const char *path) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader *reader = NULL;
    options.max_rows = b->settings.count;
    if (!told(b, kith_reader_open(path, &options, &reader, &b->error))) return false;
    kith_reader_get_info(reader, &info);
    bool good = info.rows > 0 && keep_queries(b, info.dtype, info.dim, info.rows);
    for (size_t at = 0; good && at < b->asked;) {
        kith_rows rows;
        good = told(b, kith_reader_next(reader, b->asked - at, &rows, &b->error));
        if (good) memcpy(b->queries + at * b->query_bytes, rows.data, rows.count * b->query_bytes);
        if (good) at += rows.count;
    }
    kith_reader_close(reader);
    return good;
}

/* ---- Indexes ----------------------------------------------------------------------------------------------------- */

static bool build_from(bench *b, kith_reader *reader, const char *path) {
    const settings *s = &b->settings;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    options.metric = s->metric;
    options.index = s->type;
    options.code = s->code;
    options.threads = (unsigned)s->threads;
    options.graph_degree = (unsigned)s->degree, options.graph_bits = (unsigned)s->bits;
    options.graph_lean = s->lean;
    if (!told(b, kith_build(reader, path, &options, &report, &b->error))) return false;
    printf("built in %.2f s (read %.2f, train %.2f, code %.2f, write %.2f, verify %.2f): %.1f MiB of %.1f\n",
           (double)report.total_ns / 1e9, (double)report.read_ns / 1e9, (double)report.train_ns / 1e9,
           (double)report.code_ns / 1e9, (double)report.write_ns / 1e9, (double)report.verify_ns / 1e9,
           (double)report.file_bytes / 0x1p20, (double)report.input_bytes / 0x1p20);
    return true;
}

static bool build_index(bench *b, const char *path) {
    const settings *s = &b->settings;
    kith_reader *reader = NULL;
    float *rows = NULL;
    bool good = true;
    if (s->data) {
        good = told(b, kith_reader_open(s->data, NULL, &reader, &b->error));
    } else {
        rows = calloc(s->rows, s->dim * sizeof(*rows));
        good = rows || no_memory("the vectors");
        if (good) make_rows(rows, s->rows, s->dim, 2);
        good = good && told(b, kith_reader_from_memory(rows, KITH_F32, s->rows, s->dim, 0, NULL, &reader, &b->error));
    }
    good = good && build_from(b, reader, path);
    kith_reader_close(reader);
    free(rows);
    return good;
}

/* Until what is copied in the background has been, which is when nothing was added for a while. */
static void wait_for_copy(subject *s) {
    const struct timespec moment = {.tv_nsec = 250000000};
    uint64_t before = UINT64_MAX;
    while (before != s->info.hot_bytes) {
        before = s->info.hot_bytes;
        nanosleep(&moment, NULL);
        kith_index_get_info(s->index, &s->info);
    }
}

static bool open_subject(bench *b, subject *s, const char *path) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    s->info = (kith_index_info)KITH_INDEX_INFO_INIT;
    s->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    options.copy_hot = b->settings.hot;
    if (!told(b, kith_index_open(path, &options, &s->index, &b->error))) return false;
    kith_index_get_info(s->index, &s->info);
    if (b->settings.hot) wait_for_copy(s);
    if (s->info.dim != b->settings.dim)
        return fprintf(stderr, "%s: vectors have %zu dimensions, queries %zu.\n", path, s->info.dim, b->settings.dim),
               false;
    if (!s->info.has_originals) return fprintf(stderr, "%s: recall cannot be known without originals.\n", path), false;
    return told(b, kith_scratch_create(s->index, NULL, &s->scratch, &b->error));
}

static bool open_all(bench *b) {
    settings *s = &b->settings;
    char path[4096] = "";
    bool good = true;
    if (!s->indexes) {
        const char *folder = getenv("TMPDIR");
        snprintf(path, sizeof(path), "%s/kith-sweep-XXXXXX", folder && folder[0] ? folder : "/tmp");
        const int file = s->keep ? -1 : mkstemp(path);
        if (!s->keep && file < 0) return fprintf(stderr, "%s cannot be made.\n", path), false;
        if (file >= 0) close(file);
        s->index[s->indexes++] = s->keep ? s->keep : path;
        good = build_index(b, s->index[0]);
    }
    for (size_t i = 0; good && i < s->indexes; i++) good = open_subject(b, &b->subjects[i], s->index[i]);
    if (path[0] && !s->keep) unlink(path), b->subjects[0].name = "built"; /* the map stays */
    return good;
}

/* ---- Searches ---------------------------------------------------------------------------------------------------- */

static kith_status search(bench *b, const subject *s, size_t first, size_t count, const kith_search_options *options) {
    const size_t k = b->settings.k;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = b->queries + first * b->query_bytes;
    queries.dtype = b->dtype;
    queries.dim = b->settings.dim;
    queries.count = count;
    return kith_search(s->index, &queries, k, options, s->scratch, b->ids + first * k, b->distances + first * k,
                       &b->error);
}

/* As many rows as the filter leaves: those that a coin chooses, or those that the first query finds. */
static bool make_filter(bench *b, subject *s) {
    const uint64_t rows = s->info.rows;
    size_t count = 0, wanted = (size_t)(b->settings.share * (double)rows);
    uint64_t state = 3, *ids = calloc(rows, sizeof(*ids));
    float *distances = calloc(KITH_K_MAX, sizeof(*distances));
    kith_queries one = KITH_QUERIES_INIT;
    one.data = b->queries, one.dtype = b->dtype, one.dim = b->settings.dim, one.count = 1;
    bool good = (ids && distances) || no_memory("the ids");
    if (good && b->settings.place) {
        count = wanted < KITH_K_MAX ? wanted + !wanted : KITH_K_MAX;
        good = told(b, kith_search(s->index, &one, count, NULL, s->scratch, ids, distances, &b->error));
    } else if (good) {
        good = told(b, kith_index_ids(s->index, 0, rows, ids, &b->error));
        for (size_t i = 0; i < rows; i++)
            if (unit(&state) < b->settings.share) ids[count++] = ids[i];
    }
    good = good && told(b, kith_filter_create(s->index, ids, count, NULL, &s->filter, &b->error));
    if (good) printf("%s: the filter leaves %zu of %zu rows\n", s->name, count, (size_t)rows);
    free(distances);
    free(ids);
    return good;
}

static bool find_truth(bench *b, subject *s) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    const size_t k = b->settings.k;
    if (b->settings.share < 1 && !make_filter(b, s)) return false;
    options.filter = s->filter;
    const uint64_t rows = s->filter ? kith_filter_count(s->filter) : s->info.rows;
    s->wanted = rows < k ? (size_t)rows : k;
    s->kth = calloc(b->asked, sizeof(*s->kth));
    if (!s->kth) return no_memory("true neighbours");
    if (!s->wanted) return fprintf(stderr, "The filter leaves no rows.\n"), false;
    if (!told(b, search(b, s, 0, b->asked, &options))) return false;
    for (size_t i = 0; i < b->asked; i++) s->kth[i] = b->distances[i * k + s->wanted - 1];
    return true;
}

/* Of what the last searches found of all queries. */
static double recall_of(const bench *b, const subject *s) {
    const size_t k = b->settings.k;
    uint64_t found = 0;
    for (size_t i = 0; i < b->asked; i++)
        for (size_t j = 0; j < s->wanted; j++) {
            bool twice = false;
            for (size_t other = 0; other < j; other++) twice |= b->ids[i * k + other] == b->ids[i * k + j];
            found += !twice && b->distances[i * k + j] <= s->kth[i];
        }
    return (double)found / (double)(b->asked * s->wanted);
}

static kith_search_options options_of(const setting *s) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = s->plan;
    options.filter = s->of->filter;
    if (s->plan == KITH_PLAN_AUTO)
        options.target_recall = (double)s->value / 1000;
    else if (s->plan == KITH_PLAN_IVF)
        options.nprobe = s->value;
    else if (s->plan == KITH_PLAN_PQ)
        options.rerank = s->value;
    else
        options.effort = s->value;
    return options;
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static double now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *x, const void *y) {
    const float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

static double percentile(float *values, size_t count, double share) { /* sorts them */
    qsort(values, count, sizeof(*values), by_size);
    return (double)values[(size_t)(share * (double)(count - 1))];
}

static bool time_calls(bench *b, setting *s, size_t number) {
    const size_t batch = b->settings.batch[number];
    const kith_search_options options = options_of(s);
    const clockid_t clock = b->settings.wall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    const double start = now_ns(clock);
    double moment = now_ns(CLOCK_MONOTONIC);
    for (size_t first = 0; first < b->asked; first += batch) {
        const size_t count = b->asked - first < batch ? b->asked - first : batch;
        if (!told(b, search(b, s->of, first, count, &options))) return false;
        const double then = moment;
        moment = now_ns(CLOCK_MONOTONIC);
        if (batch == 1) b->took[first] = (float)((moment - then) / 1e3);
    }
    const double each = (now_ns(clock) - start) / (double)b->asked;
    for (size_t i = 0; batch == 1 && i < b->asked; i++) s->least[i] = fminf(s->least[i], b->took[i]);
    if (each >= s->ns[number]) return true;
    s->ns[number] = each;
    if (batch != 1) return true;
    s->p50 = percentile(b->took, b->asked, 0.5);
    s->p99 = percentile(b->took, b->asked, 0.99);
    return true;
}

/* Recall of each kind of call, and what a search looked at; the first round warms up on the way. */
static bool look(bench *b, setting *s) {
    kith_search_options options = options_of(s);
    for (size_t i = 0; i < b->settings.batches; i++) {
        s->ns[i] = INFINITY;
        if (!time_calls(b, s, i)) return false;
        s->recall[i] = recall_of(b, s->of);
        s->ns[i] = INFINITY;
    }
    for (size_t i = 0; i < b->asked; i++) {
        kith_explain explain = KITH_EXPLAIN_INIT;
        options.explain = &explain;
        if (!told(b, search(b, s->of, i, 1, &options))) return false;
        s->visited += (double)explain.visited / (double)b->asked;
        s->scanned += (double)explain.scanned_rows / (double)b->asked;
        s->reranked += (double)explain.reranked / (double)b->asked;
    }
    return true;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* The settings of a plan over an index, where the index has the plan. */
static bool add(bench *b, const subject *of, const sweep *asked) {
    const setting first = {.of = of, .plan = asked->plan, .value = asked->value[0]};
    const kith_search_options options = options_of(&first);
    const kith_status status = search(b, of, 0, 1, &options);
    if (status == KITH_E_UNSUPPORTED || status == KITH_E_ARG) /* of another library, or with another k */
        return fprintf(stderr, "%s: left out: %s\n", of->name, b->error.text), true;
    if (!told(b, status)) return false;
    for (size_t i = 0; i < asked->count && b->count < SETTINGS; i++) {
        setting *s = &b->all[b->count++];
        *s = first;
        s->value = asked->value[i];
        s->least = calloc(b->asked, sizeof(*s->least));
        if (!s->least) return no_memory("times");
        for (size_t q = 0; q < b->asked; q++) s->least[q] = INFINITY;
    }
    return true;
}

static bool measure(bench *b) {
    const settings *s = &b->settings;
    for (size_t i = 0; i < s->indexes; i++) {
        if (!find_truth(b, &b->subjects[i])) return false;
        for (size_t p = 0; p < s->plans; p++)
            if (!add(b, &b->subjects[i], &s->sweeps[p])) return false;
    }
    for (size_t i = 0; i < b->count; i++)
        if (!look(b, &b->all[i])) return false;
    for (size_t round = 0; round < s->rounds; round++)
        for (size_t i = 0; i < b->count; i++)
            for (size_t batch = 0; batch < s->batches; batch++)
                if (!time_calls(b, &b->all[i], batch)) return false;
    for (size_t i = 0; i < b->count; i++) b->all[i].rare = percentile(b->all[i].least, b->asked, 0.99);
    return true;
}

/* Queries a second of one plan at a recall: between the settings on both sides of it, the logarithm of speed taken as
 * linear in recall; 0 beyond them. */
static double speed_at(const bench *b, size_t first, size_t end, size_t batch, double recall) {
    const setting *low = NULL, *high = NULL;
    for (size_t i = first; i < end; i++) {
        const setting *s = &b->all[i];
        if (s->recall[batch] >= recall && (!high || s->ns[batch] < high->ns[batch])) high = s;
        if (s->recall[batch] < recall && (!low || s->recall[batch] > low->recall[batch])) low = s;
    }
    if (!high) return 0;
    if (!low || low->ns[batch] >= high->ns[batch]) return 1e9 / high->ns[batch];
    const double part = (recall - low->recall[batch]) / (high->recall[batch] - low->recall[batch]);
    return 1e9 / exp(log(low->ns[batch]) + part * log(high->ns[batch] / low->ns[batch]));
}

static void print_heads(const bench *b, const char *first) {
    printf("\n%-20s %-5s %6s", "index", "plan", first);
    for (size_t i = 0; i < b->settings.batches; i++) printf("  calls of %4zu", b->settings.batch[i]);
}

static void print_settings(const bench *b) {
    printf("\n%zu queries, k %zu, %s, best of %zu rounds: recall, and queries a second", b->asked, b->settings.k,
           b->settings.wall ? "wall" : "processor time", b->settings.rounds);
    print_heads(b, "value");
    printf("  us: p50     p99    rare   visited   scanned  reranked\n");
    for (size_t i = 0; i < b->count; i++) {
        const setting *s = &b->all[i];
        printf("%-20.20s %-5s %6zu", s->of->name, kith_plan_name(s->plan), s->value);
        for (size_t j = 0; j < b->settings.batches; j++) printf("  %.4f %6.0f", s->recall[j], 1e9 / s->ns[j]);
        printf(" %8.1f %7.1f %7.1f %9.1f %9.1f %9.1f\n", s->p50, s->p99, s->rare, s->visited, s->scanned, s->reranked);
    }
}

static void print_frontier(const bench *b) {
    print_heads(b, "recall");
    printf("\n");
    for (size_t first = 0, end = 0; first < b->count; first = end) {
        const setting *s = &b->all[first];
        while (end < b->count && b->all[end].of == s->of && b->all[end].plan == s->plan) end++;
        for (int t = 0; t < TARGETS; t++) {
            printf("%-20.20s %-5s %6.2f", s->of->name, kith_plan_name(s->plan), targets[t]);
            for (size_t j = 0; j < b->settings.batches; j++) {
                const double speed = speed_at(b, first, end, j, targets[t]);
                if (speed > 0)
                    printf("  %13.0f", speed);
                else
                    printf("  %13s", "-");
            }
            printf("\n");
        }
    }
}

static bool write_json(const bench *b) {
    FILE *json = fopen(b->settings.json, "w");
    if (!json) return fprintf(stderr, "%s cannot be written.\n", b->settings.json), false;
    fprintf(json, "{\"queries\": %zu, \"k\": %zu, \"rows\": [", b->asked, b->settings.k);
    for (size_t i = 0; i < b->count; i++)
        for (size_t j = 0; j < b->settings.batches; j++) {
            const setting *s = &b->all[i];
            fprintf(json, "%s\n {\"index\": \"%s\", \"plan\": \"%s\", \"value\": %zu, \"batch\": %zu, ",
                    i + j ? "," : "", s->of->name, kith_plan_name(s->plan), s->value, b->settings.batch[j]);
            fprintf(json, "\"recall\": %.5f, \"qps\": %.1f", s->recall[j], 1e9 / s->ns[j]);
            if (b->settings.batch[j] == 1)
                fprintf(json, ", \"p50_us\": %.2f, \"p99_us\": %.2f, \"rare_us\": %.2f, \"visited\": %.1f", s->p50,
                        s->p99, s->rare, s->visited);
            fprintf(json, "}");
        }
    fprintf(json, "\n]}\n");
    if (fclose(json)) return fprintf(stderr, "%s could not be written whole.\n", b->settings.json), false;
    return true;
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

static bool number(const char *text, uint64_t most, size_t *value) {
    char *end = NULL;
    const unsigned long long n = strtoull(text, &end, 10);
    *value = (size_t)n;
    return *text >= '0' && *text <= '9' && *end == 0 && n >= 1 && n <= most;
}

/* "1,4,16" as at most `most` numbers. */
static bool numbers(const char *text, size_t most, size_t *values, size_t *count) {
    char *end = NULL;
    for (*count = 0; *count < most; text = end + 1) {
        values[(*count)++] = (size_t)strtoull(text, &end, 10);
        if (end == text || !values[*count - 1]) return false;
        if (*end != ',') return *end == 0;
    }
    return false;
}

static bool parse_plan(const char *text, settings *s) {
    char word[16] = "";
    const char *colon = strchr(text, ':');
    const size_t length = colon ? (size_t)(colon - text) : strlen(text);
    sweep *to = &s->sweeps[s->plans];
    if (length >= sizeof(word) || s->plans == PLANS) return false;
    memcpy(word, text, length);
    if (!kith_plan_parse(word, &to->plan)) return false;
    for (int i = 0; i < USUAL; i++)
        if (usual[i].plan == to->plan) s->plans++, *to = usual[i];
    if (!to->count) return false; /* an exact plan has no settings */
    return !colon || numbers(colon + 1, VALUES, to->value, &to->count);
}

static bool parse_word(const char *name, const char *value, settings *s) {
    const bool yes = strcmp(value, "yes") == 0;
    const char **text = !strcmp(name, "--json")      ? &s->json
                        : !strcmp(name, "--queries") ? &s->queries
                        : !strcmp(name, "--data")    ? &s->data
                        : !strcmp(name, "--keep")    ? &s->keep
                        : !strcmp(name, "--code")    ? &s->code
                        : !strcmp(name, "--index")   ? &s->index[s->indexes]
                                                     : NULL;
    if (text == &s->index[s->indexes] && ++s->indexes == INDEXES) return false;
    if (text) return *text = value, true;
    bool *flag = !strcmp(name, "--hot")     ? &s->hot
                 : !strcmp(name, "--place") ? &s->place
                 : !strcmp(name, "--lean")  ? &s->lean
                                            : NULL;
    if (flag) return *flag = yes, yes || !strcmp(value, "no");
    if (!strcmp(name, "--clock")) return s->wall = !strcmp(value, "wall"), s->wall || !strcmp(value, "cpu");
    if (!strcmp(name, "--metric")) return (s->metric = kith_metric_parse(value)) != KITH_METRIC_NONE;
    if (!strcmp(name, "--share")) return s->share = strtod(value, NULL), s->share > 0 && s->share <= 1;
    if (!strcmp(name, "--batches")) return numbers(value, BATCHES, s->batch, &s->batches);
    for (int i = 0; !strcmp(name, "--type") && i < (int)(sizeof(types) / sizeof(types[0])); i++)
        if (!strcmp(value, types[i])) return s->type = (kith_index_type)i, true;
    size_t *size = !strcmp(name, "--count")     ? &s->count
                   : !strcmp(name, "-k")        ? &s->k
                   : !strcmp(name, "--rounds")  ? &s->rounds
                   : !strcmp(name, "--rows")    ? &s->rows
                   : !strcmp(name, "--dim")     ? &s->dim
                   : !strcmp(name, "--threads") ? &s->threads
                   : !strcmp(name, "--degree")  ? &s->degree
                   : !strcmp(name, "--bits")    ? &s->bits
                                                : NULL;
    return size && number(value, size == &s->k ? KITH_K_MAX : KITH_QUERIES_MAX, size);
}

static bool parse(int argc, char **argv, settings *s) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (!parse_plan(argv[i], s)) return false;
        } else if (i + 1 == argc || !parse_word(argv[i], argv[i + 1], s)) {
            return false;
        } else {
            i++;
        }
    }
    for (int i = 0; !s->plans && i < USUAL; i++) s->sweeps[i] = usual[i];
    if (!s->plans) s->plans = USUAL;
    return s->queries || !(s->indexes || s->data);
}

static bool make_memory(bench *b) {
    const size_t results = b->asked * b->settings.k;
    b->ids = calloc(results, sizeof(*b->ids));
    b->distances = calloc(results, sizeof(*b->distances));
    b->took = calloc(b->asked, sizeof(*b->took));
    return (b->ids && b->distances && b->took) || no_memory("the results");
}

static bool find_queries(bench *b) {
    const settings *s = &b->settings;
    if (s->queries) return read_queries(b, s->queries);
    if (!keep_queries(b, KITH_F32, s->dim, s->count)) return false;
    make_rows((float *)(void *)b->queries, s->count, s->dim, 4);
    return true;
}

int main(int argc, char **argv) {
    static bench b;
    b.settings = (settings){.count = 2000, .k = 10, .rounds = 5, .rows = 20000, .dim = 64, .share = 1, .batches = 4};
    memcpy(b.settings.batch, (const size_t[]){1, 4, 16, 64}, 4 * sizeof(size_t));
    if (!parse(argc, argv, &b.settings)) {
        fprintf(stderr,
                "usage: %s [--json FILE] [--index FILE.kith ...] [--queries FILE.npy] [PLAN[:N,N,...] ...]\n"
                "       and more, which the head of bench/plan_sweep.c tells\n",
                argv[0]);
        return EXIT_FAILURE;
    }
    bool good = find_queries(&b) && make_memory(&b) && open_all(&b) && measure(&b);
    if (good) {
        print_settings(&b);
        print_frontier(&b);
    }
    if (good && b.settings.json) good = write_json(&b);
    for (size_t i = 0; i < b.count; i++) free(b.all[i].least);
    for (size_t i = 0; i < INDEXES; i++) {
        kith_scratch_destroy(b.subjects[i].scratch);
        kith_filter_destroy(b.subjects[i].filter);
        kith_index_close(b.subjects[i].index);
        free(b.subjects[i].kth);
    }
    free(b.took);
    free(b.distances);
    free(b.ids);
    free(b.queries);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

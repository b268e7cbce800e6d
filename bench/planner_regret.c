/* SPDX-License-Identifier: Apache-2.0
 *
 * How good the planner's choices are: for a grid of k, batch sizes, targets of recall and filters, the processor time
 * of a query as the planner would have it answered, over that of the best plan in hindsight. That is the cheapest among
 * the exact plans (but for the reference, plain), plan ivf over a grid of nprobe, rerank and codes, and a graph, if
 * there is one, over efforts, whose recall on these very queries reaches the target; the planner's own choice is one of
 * them where it does. The planner sees the calibration only, and may fall short of a target by SHORT before it counts
 * as missed.
 *
 * Recall does not depend on the batch and is measured once, on all cores. Times are of one thread, not of the clock on
 * the wall, the least of some rounds that take turns; what is NEAR times as slow as the best after one round is left
 * out of the others. Of one code and rerank only the smallest nprobe that reaches a target is timed: more lists cost
 * more.
 *
 * Usage: planner_regret [--json FILE] [--rows N] [--dim N] [--seed N] [--count QUERIES] [--metric WORD]
 *                       [--index FILE.kith] [--data FILE] [--queries FILE]
 * Filters let rows through at random or, with @, by their places: those around a few rows. Most queries lie elsewhere.
 * Without files, vectors are made up, around centres. With --data and no --queries the last rows of the data are held
 * out. An index must be calibrated. A filter is used for USED queries before its choices are judged. Takes about two
 * minutes as it stands. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CLOCK_THREAD_CPUTIME_ID, mkstemp */
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

enum { KS = 3, BATCHES = 3, TARGETS = 4, FILTERS = 9, RERANKS = 3, ROUNDS = 2, PLANS_MAX = 192, TIMED_QUERIES = 96 };
enum { USED = 8192 }; /* queries that a filter has served before its choices are judged */
enum { QUESTIONS = KS * BATCHES * TARGETS * FILTERS };
static const size_t ks[KS] = {1, 10, 100}, batch_sizes[BATCHES] = {1, 16, 0}; /* 0: all, at most BATCH_MOST */
enum { BATCH_MOST = 256 };
static const double targets[TARGETS] = {0.8, 0.9, 0.95, 0.99};
static const double shares[FILTERS] = {1, 0.5, 0.1, 0.01, 0.001, 0.5, 0.1, 0.01, 0.001};
static const bool by_place[FILTERS] = {false, false, false, false, false, true, true, true, true};
static const char *const filter_names[FILTERS] = {"none", "50 %", "10 %", "1 %",  "0.1 %",
                                                  "50 @", "10 @", "1 @",  "0.1 @"};
static const double SHORT = 0.01, NEAR = 1.4;

typedef struct settings {
    const char *index, *data, *queries, *json;
    kith_metric metric;
    size_t rows, dim, count;
    uint64_t seed;
} settings;

/* A plan with its parameters. */
typedef struct plan {
    kith_plan plan;
    kith_scan_code code;
    size_t nprobe, rerank, effort;
    double recall, ns;
} plan;

typedef struct question {
    size_t k, batch, allowed;
    double target;
    const char *filter;
    plan chosen, best;
    double regret;
    bool missed;
} question;

typedef struct bench {
    settings settings;
    kith_index *index;
    kith_index_info info;
    kith_pool *pool;
    kith_scratch *wide, *narrow; /* of all cores, and of this thread */
    float *queries;              /* count x dim */
    size_t count, dim;
    uint64_t *ids;    /* count x the largest k */
    float *distances; /* likewise */
    /* Of the k and the filter at work: */
    size_t k;
    const kith_filter *filter;
    float *kth;    /* distance of each query's last true neighbour */
    size_t wanted; /* true neighbours of each query */
    plan plans[PLANS_MAX];
    size_t plan_count;
    question questions[QUESTIONS];
    size_t asked;
    FILE *json; /* NULL or where to */
    kith_error error;
} bench;

static bool told(const bench *b, kith_status status) {
    if (status != KITH_OK) fprintf(stderr, "%s\n", b->error.text);
    return status == KITH_OK;
}

/* ---- Made-up vectors --------------------------------------------------------------------------------------------- */

typedef struct world {
    uint64_t state;
    size_t dim, centres;
    float *centre;
} world;

static double unit(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state) {
    const double radius = sqrt(-2 * log(1 - unit(state)));
    return radius * cos(6.283185307179586 * unit(state));
}

/* Centres of unequal weight; later dimensions vary less, as they do after a rotation to principal directions. */
static void make_rows(world *w, float *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double u = unit(&w->state);
        const float *centre = w->centre + (size_t)(u * u * (double)w->centres) * w->dim;
        for (size_t j = 0; j < w->dim; j++)
            rows[i * w->dim + j] = (float)((centre[j] + 0.8 * normal(&w->state)) / sqrt(1 + 0.1 * (double)j));
    }
}

static bool build_from(bench *b, kith_reader *reader, const char *path) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = b->settings.metric;
    options.pool = b->pool;
    options.seed = b->settings.seed;
    return told(b, kith_build(reader, path, &options, NULL, &b->error));
}

static bool build_made_up(bench *b, const char *path) {
    const size_t rows = b->settings.rows, dim = b->settings.dim, count = b->settings.count;
    world w = {.state = b->settings.seed, .dim = dim, .centres = 200};
    float *data = calloc(rows, dim * sizeof(*data));
    kith_reader *reader = NULL;
    bool good = false;
    w.centre = calloc(w.centres, dim * sizeof(*w.centre));
    b->queries = calloc(count, dim * sizeof(*b->queries));
    if (data && w.centre && b->queries) {
        for (size_t i = 0; i < w.centres * dim; i++) w.centre[i] = (float)normal(&w.state);
        make_rows(&w, data, rows);
        make_rows(&w, b->queries, count);
        b->count = count;
        good = told(b, kith_reader_from_memory(data, KITH_F32, rows, dim, 0, NULL, &reader, &b->error)) &&
               build_from(b, reader, path);
    } else {
        fprintf(stderr, "There is no memory for %zu vectors.\n", rows);
    }
    kith_reader_close(reader);
    free(w.centre);
    free(data);
    return good;
}

/* ---- Vectors from files ------------------------------------------------------------------------------------------ */

/* At most settings.count rows of `path` from `first` on, which must be floats or bytes. */
static bool read_queries(bench *b, const char *path, uint64_t first) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader *reader = NULL;
    kith_rows rows;
    options.first_row = first;
    options.max_rows = b->settings.count;
    if (!told(b, kith_reader_open(path, &options, &reader, &b->error))) return false;
    kith_reader_get_info(reader, &info);
    b->dim = info.dim;
    b->queries = calloc(info.rows + 1, info.dim * sizeof(*b->queries));
    bool good = b->queries && (info.dtype == KITH_F32 || info.dtype == KITH_U8 || info.dtype == KITH_I8);
    if (!good) fprintf(stderr, "%s: queries are floats or bytes, and fit the memory.\n", path);
    while (good && b->count < info.rows) {
        good = told(b, kith_reader_next(reader, 1, &rows, &b->error)) && rows.count == 1;
        float *to = b->queries + b->count++ * info.dim;
        for (size_t j = 0; good && j < info.dim; j++)
            to[j] = info.dtype == KITH_F32  ? ((const float *)rows.data)[j]
                    : info.dtype == KITH_U8 ? (float)((const uint8_t *)rows.data)[j]
                                            : (float)((const int8_t *)rows.data)[j];
    }
    kith_reader_close(reader);
    return good;
}

/* An index of the file's rows; of all but the last without other queries. */
static bool build_from_file(bench *b, const char *path) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader *reader = NULL;
    const char *data = b->settings.data;
    if (!told(b, kith_reader_open(data, NULL, &reader, &b->error))) return false;
    kith_reader_get_info(reader, &info);
    if (!b->settings.queries) {
        kith_reader_close(reader);
        reader = NULL;
        if (info.rows <= b->settings.count) {
            fprintf(stderr, "%s: %zu rows cannot be held out.\n", data, b->settings.count);
            return false;
        }
        options.max_rows = info.rows - b->settings.count;
        if (!read_queries(b, data, options.max_rows)) return false;
        if (!told(b, kith_reader_open(data, &options, &reader, &b->error))) return false;
    }
    const bool good = build_from(b, reader, path);
    kith_reader_close(reader);
    return good;
}

/* ---- The index --------------------------------------------------------------------------------------------------- */

static bool open_index(bench *b) {
    const char *folder = getenv("TMPDIR"), *path = b->settings.index;
    char temporary[4096] = "";
    bool good = true;
    if (!path) {
        snprintf(temporary, sizeof(temporary), "%s/kith-regret-XXXXXX", folder && folder[0] ? folder : "/tmp");
        const int file = mkstemp(temporary);
        if (file < 0) return fprintf(stderr, "%s cannot be made.\n", temporary), false;
        close(file);
        path = temporary;
        good = b->settings.data ? build_from_file(b, path) : build_made_up(b, path);
    }
    if (good && b->settings.queries) good = read_queries(b, b->settings.queries, 0);
    good = good && told(b, kith_index_open(path, NULL, &b->index, &b->error));
    if (temporary[0]) unlink(temporary); /* the map stays */
    if (!good) return false;
    kith_index_get_info(b->index, &b->info);
    if (!b->settings.queries && !b->settings.data) b->dim = b->info.dim;
    if (b->dim != b->info.dim || b->count < 100)
        return fprintf(stderr, "%zu queries of %zu dimensions: 100 of %zu are needed.\n", b->count, b->dim,
                       b->info.dim),
               false;
    if (kith_index_tuned(b->index, NULL) == 0)
        return fprintf(stderr, "%s has no calibration, which needs lists and originals: see kith tune.\n", path), false;
    return true;
}

/* ---- Searches ---------------------------------------------------------------------------------------------------- */

static kith_status search(bench *b, kith_scratch *scratch, size_t first, size_t count,
                          const kith_search_options *options) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = b->queries + first * b->dim;
    queries.dtype = KITH_F32;
    queries.dim = b->dim;
    queries.count = count;
    return kith_search(b->index, &queries, b->k, options, scratch, b->ids + first * b->k, b->distances + first * b->k,
                       &b->error);
}

static kith_status search_batches(bench *b, kith_scratch *scratch, size_t count, size_t batch,
                                  const kith_search_options *options) {
    kith_status status = KITH_OK;
    for (size_t first = 0; first < count && status == KITH_OK; first += batch)
        status = search(b, scratch, first, count - first < batch ? count - first : batch, options);
    return status;
}

static kith_search_options options_of(const bench *b, const plan *p) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = p->plan;
    options.code = p->code;
    options.nprobe = p->nprobe;
    options.rerank = p->rerank;
    options.effort = p->effort;
    options.filter = b->filter;
    return options;
}

/* Of what the last search found of the first `count` queries: ties with the last true neighbour count. */
static double recall_of(const bench *b, size_t count) {
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < b->wanted; j++) found += b->distances[i * b->k + j] <= b->kth[i];
    return (double)found / (double)(count * b->wanted);
}

static bool find_truth(bench *b) {
    const plan any = {.plan = KITH_PLAN_AUTO};
    const kith_search_options options = options_of(b, &any);
    const uint64_t allowed = b->filter ? kith_filter_count(b->filter) : b->info.rows;
    b->wanted = allowed < b->k ? (size_t)allowed : b->k;
    if (!told(b, search(b, b->wide, 0, b->count, &options))) return false;
    for (size_t i = 0; i < b->count; i++) b->kth[i] = b->distances[i * b->k + b->wanted - 1];
    return true;
}

/* Processor time of a query, the least of what p->ns has and of a pass over the first queries. */
static bool time_plan(bench *b, const kith_search_options *options, size_t batch, double *ns) {
    struct timespec start, end;
    const size_t count = batch >= b->count ? b->count : batch < TIMED_QUERIES ? TIMED_QUERIES : batch;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    if (!told(b, search_batches(b, b->narrow, count, batch, options))) return false;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    const double took = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
    if (*ns <= 0 || took / (double)count < *ns) *ns = took / (double)count;
    return true;
}

/* ---- The alternatives -------------------------------------------------------------------------------------------- */

static void add(bench *b, const plan *p) {
    if (b->plan_count < PLANS_MAX) b->plans[b->plan_count++] = *p;
}

/* Those that this index and filter have. */
static bool add_exact(bench *b) {
    static const kith_plan exact[3] = {KITH_PLAN_SCAN, KITH_PLAN_LEVELS, KITH_PLAN_GATHER};
    for (int i = 0; i < 3; i++) {
        const plan p = {.plan = exact[i], .recall = 1};
        const kith_search_options options = options_of(b, &p);
        if (exact[i] == KITH_PLAN_GATHER && !b->filter) continue;
        const kith_status status = search(b, b->narrow, 0, 1, &options);
        if (status == KITH_OK) add(b, &p);
        if (status != KITH_OK && status != KITH_E_UNSUPPORTED) return told(b, status);
    }
    return true;
}

/* 1, 2, 3, 4, 6, 8, 12, 16, 24, ... */
static size_t next_probe(size_t nprobe) {
    if (nprobe < 4) return nprobe + 1;
    return nprobe & (nprobe - 1) ? nprobe / 3 * 4 : nprobe / 2 * 3;
}

/* Measure a plan, and keep it if it is the first to reach some target. */
static bool try_plan(bench *b, plan *p, double *reached) {
    const kith_search_options options = options_of(b, p);
    if (!told(b, search(b, b->wide, 0, b->count, &options))) return false;
    p->recall = recall_of(b, b->count);
    bool first = false;
    for (int t = 0; t < TARGETS; t++) first = first || (p->recall >= targets[t] && *reached < targets[t]);
    if (first) add(b, p);
    if (p->recall > *reached) *reached = p->recall;
    return true;
}

/* Ascending in nprobe, for the targets that this code and rerank reach: the first that reaches each. */
static bool add_ivf(bench *b, kith_scan_code code, size_t rerank) {
    double reached = 0;
    for (size_t nprobe = 1; nprobe <= b->info.lists && reached < targets[TARGETS - 1]; nprobe = next_probe(nprobe)) {
        plan p = {.plan = KITH_PLAN_IVF, .code = code, .nprobe = nprobe, .rerank = rerank};
        if (!try_plan(b, &p, &reached)) return false;
    }
    return true;
}

/* The first effort that reaches each target. */
static bool add_graph(bench *b) {
    double reached = 0;
    for (size_t effort = 5; effort <= 5000 && reached < targets[TARGETS - 1]; effort += 1 + effort / 5) {
        plan p = {.plan = KITH_PLAN_GRAPH, .effort = effort};
        if (!try_plan(b, &p, &reached)) return false;
    }
    return true;
}

static bool add_all(bench *b) {
    static const size_t times[RERANKS] = {1, 2, 4};
    b->plan_count = 0;
    bool good = add_exact(b) && (!b->info.graph_degree || add_graph(b));
    for (int i = 0; good && b->info.lists > 1 && i < RERANKS; i++) {
        good = add_ivf(b, KITH_SCAN_INT8, times[i] * b->k);
        if (good && b->info.first_level_dim) good = add_ivf(b, KITH_SCAN_FIRST, 2 * times[i] * b->k);
        if (good && b->info.second_code[0]) good = add_ivf(b, KITH_SCAN_SECOND, times[i] * b->k);
    }
    if (good && b->info.lists > 1 && b->filter) good = add_ivf(b, KITH_SCAN_ROWS, b->k);
    return good;
}

/* ---- The planner ------------------------------------------------------------------------------------------------- */

/* What it chooses, and what that recalls of all queries. */
static bool ask(bench *b, size_t batch, double target, plan *chosen) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_explain explain = KITH_EXPLAIN_INIT;
    options.filter = b->filter;
    options.target_recall = target;
    options.explain = &explain;
    if (!told(b, search(b, b->wide, 0, batch, &options))) return false;
    options.explain = NULL;
    if (!told(b, search_batches(b, b->wide, b->count, batch, &options))) return false;
    *chosen =
        (plan){explain.plan, explain.code, explain.nprobe, explain.rerank, explain.effort, recall_of(b, b->count), 0};
    return true;
}

/* Whether p might turn out the cheapest for a target that it reaches. */
static bool in_the_running(const bench *b, const plan *p) {
    for (int t = 0; t < TARGETS && p->recall >= targets[t]; t++) {
        double best = p->ns;
        for (size_t i = 0; i < b->plan_count; i++)
            if (b->plans[i].recall >= targets[t] && b->plans[i].ns < best) best = b->plans[i].ns;
        if (p->ns <= NEAR * best) return true;
    }
    return false;
}

static bool time_all(bench *b, size_t batch, question *asked) {
    kith_search_options planned = KITH_SEARCH_OPTIONS_INIT;
    planned.filter = b->filter;
    for (size_t i = 0; i < b->plan_count; i++) b->plans[i].ns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int t = 0; t < TARGETS; t++) {
            planned.target_recall = targets[t];
            if (!time_plan(b, &planned, batch, &asked[t].chosen.ns)) return false;
        }
        for (size_t i = 0; i < b->plan_count; i++) {
            const kith_search_options options = options_of(b, &b->plans[i]);
            if (round && !in_the_running(b, &b->plans[i])) continue;
            if (!time_plan(b, &options, batch, &b->plans[i].ns)) return false;
        }
    }
    return true;
}

static void judge(const bench *b, question *q) {
    q->missed = q->chosen.recall < q->target - SHORT;
    q->best = (plan){0};
    if (q->chosen.recall >= q->target) q->best = q->chosen;
    for (size_t i = 0; i < b->plan_count; i++)
        if (b->plans[i].recall >= q->target && (q->best.ns <= 0 || b->plans[i].ns < q->best.ns)) q->best = b->plans[i];
    q->regret = q->chosen.ns / q->best.ns;
}

static bool bench_batch(bench *b, size_t batch, const char *filter) {
    question *asked = &b->questions[b->asked];
    for (int t = 0; t < TARGETS; t++) {
        asked[t] = (question){.k = b->k, .batch = batch, .allowed = b->info.rows, .target = targets[t]};
        asked[t].filter = filter;
        if (b->filter) asked[t].allowed = kith_filter_count(b->filter);
        if (!ask(b, batch, targets[t], &asked[t].chosen)) return false;
    }
    if (!time_all(b, batch, asked)) return false;
    printf("%4zu %6s %6zu", b->k, filter, batch);
    for (int t = 0; t < TARGETS; t++) {
        judge(b, &asked[t]);
        printf(" | %7.1f %6.2f %7.4f%c", asked[t].chosen.ns / 1e3, asked[t].regret, asked[t].chosen.recall,
               asked[t].missed ? '!' : ' ');
    }
    printf("\n");
    fflush(stdout);
    b->asked += TARGETS;
    return true;
}

/* ---- The grid ---------------------------------------------------------------------------------------------------- */

/* Rows at random: of `ids`, which hold all. */
static size_t pick_rows(const bench *b, double share, uint64_t *ids) {
    uint64_t state = b->settings.seed + 1;
    size_t count = 0;
    for (size_t i = 0; i < b->info.rows; i++)
        if (unit(&state) < share) ids[count++] = ids[i];
    return count;
}

/* The nearest of the first few queries, about as many as the share asks for; false: told why. */
static bool pick_places(bench *b, double share, uint64_t *ids, size_t *count) {
    enum { PLACES = 8 };
    const size_t k = (size_t)(share * (double)b->info.rows) / PLACES + 1, each = k < KITH_K_MAX ? k : KITH_K_MAX;
    float *distances = calloc(PLACES * each, sizeof(*distances));
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = b->queries;
    queries.dtype = KITH_F32;
    queries.dim = b->dim;
    queries.count = PLACES;
    *count = PLACES * each;
    if (!distances) return fprintf(stderr, "There is no memory for %zu distances.\n", *count), false;
    const bool good = told(b, kith_search(b->index, &queries, each, NULL, b->wide, ids, distances, &b->error));
    free(distances);
    return good;
}

static bool make_filter(bench *b, double share, bool place, kith_filter **filter) {
    uint64_t *ids = calloc(b->info.rows + 16, sizeof(*ids)); /* places round up */
    size_t count = 0;
    *filter = NULL;
    if (!ids) return fprintf(stderr, "There is no memory for the ids.\n"), false;
    bool good = told(b, kith_index_ids(b->index, 0, b->info.rows, ids, &b->error));
    if (good && place)
        good = pick_places(b, share, ids, &count);
    else if (good)
        count = pick_rows(b, share, ids);
    if (good && share < 1) good = told(b, kith_filter_create(b->index, ids, count, NULL, filter, &b->error));
    free(ids);
    if (good && *filter && kith_filter_count(*filter) == 0)
        return fprintf(stderr, "There are too few vectors for a filter of %g %%.\n", 100 * share), false;
    return good;
}

/* A filter that is used again and again is studied by the library. */
static bool use_filter(bench *b) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.filter = b->filter;
    for (size_t used = 0, turn = 0; used < USED && b->filter; used += b->count, turn++) {
        options.target_recall = targets[turn % TARGETS];
        if (!told(b, search_batches(b, b->narrow, b->count, batch_sizes[turn % 2], &options))) return false;
    }
    return true;
}

static bool bench_filter(bench *b, int f) {
    kith_filter *filter = NULL;
    bool good = make_filter(b, shares[f], by_place[f], &filter);
    b->filter = filter;
    for (int k = 0; good && k < KS; k++) {
        b->k = ks[k];
        good = find_truth(b) && add_all(b) && use_filter(b);
        for (int i = 0; good && i < BATCHES; i++) {
            const size_t most = b->count < BATCH_MOST ? b->count : BATCH_MOST;
            good = bench_batch(b, batch_sizes[i] ? batch_sizes[i] : most, filter_names[f]);
        }
    }
    kith_filter_destroy(filter);
    b->filter = NULL;
    return good;
}

static void print_heads(const bench *b) {
    printf(
        "%llu vectors of %zu dimensions, %zu lists, %zu queries; of each target: microseconds of a query as planned,\n"
        "times those of the best plan in hindsight, and recall (!: more than %.2f short)\n\n%4s %6s %6s",
        (unsigned long long)b->info.rows, b->dim, b->info.lists, b->count, SHORT, "k", "filter", "batch");
    for (int t = 0; t < TARGETS; t++) printf(" | %.2f:   us regret  recall ", targets[t]);
    printf("\n");
}

/* ---- The summary ------------------------------------------------------------------------------------------------- */

static int by_regret(const void *x, const void *y) {
    const double a = ((const question *)x)->regret, b = ((const question *)y)->regret;
    return (a > b) - (a < b);
}

static void print_plan(FILE *to, const plan *p) {
    fprintf(to, "%s", kith_plan_name(p->plan));
    if (p->plan == KITH_PLAN_GRAPH) fprintf(to, " effort %zu", p->effort);
    if (p->plan == KITH_PLAN_IVF)
        fprintf(to, " %s nprobe %zu rerank %zu", kith_scan_code_name(p->code), p->nprobe, p->rerank);
}

static void write_plan(FILE *json, const char *name, const plan *p) {
    fprintf(json, ", \"%s\": {\"plan\": \"", name);
    print_plan(json, p);
    fprintf(json, "\", \"us\": %.3f, \"recall\": %.5f}", p->ns / 1e3, p->recall);
}

/* Rows, which are drawn: how near to the best the planner comes, over the targets. */
static void write_json(const bench *b, FILE *json) {
    fprintf(json, "{\n  \"vectors\": %llu, \"dim\": %zu, \"lists\": %zu, \"queries\": %zu,\n  \"rows\": [",
            (unsigned long long)b->info.rows, b->dim, b->info.lists, b->count);
    for (size_t i = 0; i < b->asked; i += TARGETS) {
        const question *q = &b->questions[i];
        double logs = 0;
        for (int t = 0; t < TARGETS; t++) logs += log(q[t].regret);
        fprintf(json, "%s\n    {\"k\": %zu, \"filter\": \"%s\", \"batch\": %zu, \"share_of_best\": %.4f}", i ? "," : "",
                q->k, q->filter, q->batch, exp(-logs / TARGETS));
    }
    fprintf(json, "\n  ],\n  \"questions\": [");
    for (size_t i = 0; i < b->asked; i++) {
        const question *q = &b->questions[i];
        fprintf(json, "%s\n    {\"k\": %zu, \"filter\": \"%s\", \"allowed\": %zu, \"batch\": %zu, \"target\": %.2f",
                i ? "," : "", q->k, q->filter, q->allowed, q->batch, q->target);
        write_plan(json, "chosen", &q->chosen);
        write_plan(json, "best", &q->best);
        fprintf(json, ", \"regret\": %.4f, \"missed\": %s}", q->regret, q->missed ? "true" : "false");
    }
    fprintf(json, "\n  ],\n");
}

/* Prints a line and writes a member of the summary for the questions of one filter, or of all (NULL). The questions are
 * in order of regret. */
static void sum_up(const bench *b, const char *filter, FILE *json) {
    size_t count = 0, missed = 0;
    double regret[QUESTIONS];
    const question *worst = NULL;
    for (size_t i = 0; i < b->asked; i++) {
        const question *q = &b->questions[i];
        if (filter && strcmp(filter, q->filter) != 0) continue;
        regret[count++] = q->regret;
        missed += q->missed;
        worst = q;
    }
    if (!worst) return;
    const double median = regret[count / 2], most = regret[count * 9 / 10];
    printf("%-6s %6.2f %6.2f %6.2f %4zu of %-3zu  ", filter ? filter : "all", median, most, worst->regret, missed,
           count);
    printf("k %zu, batch %zu, target %.2f: ", worst->k, worst->batch, worst->target);
    print_plan(stdout, &worst->chosen);
    printf(", best ");
    print_plan(stdout, &worst->best);
    printf("\n");
    if (!json) return;
    fprintf(json, "%s\n    {\"filter\": \"%s\", \"median\": %.4f, ", filter == filter_names[0] ? "" : ",",
            filter ? filter : "all", median);
    fprintf(json, "\"p90\": %.4f, \"worst\": %.4f, \"missed\": %zu, \"questions\": %zu}", most, worst->regret, missed,
            count);
}

/* Sorts the questions. */
static void summarise(bench *b, FILE *json) {
    qsort(b->questions, b->asked, sizeof(b->questions[0]), by_regret);
    printf("\nRegret\nfilter median    p90  worst  targets missed  the worst\n");
    if (json) fprintf(json, "  \"summary\": [");
    for (int f = 0; f < FILTERS; f++) sum_up(b, filter_names[f], json);
    sum_up(b, NULL, json);
    if (json) fprintf(json, "\n  ]\n}\n");
}

static bool bench_all(bench *b) {
    bool good = true;
    print_heads(b);
    for (int f = 0; good && f < FILTERS; f++) good = bench_filter(b, f);
    if (good && b->json) write_json(b, b->json);
    if (good) summarise(b, b->json);
    return good;
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

static bool number(const char *text, uint64_t *value) {
    char *end = NULL;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0;
}

static bool parse(int argc, char **argv, settings *s) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        const char **text = !strcmp(name, "--json")      ? &s->json
                            : !strcmp(name, "--index")   ? &s->index
                            : !strcmp(name, "--data")    ? &s->data
                            : !strcmp(name, "--queries") ? &s->queries
                                                         : NULL;
        size_t *size = !strcmp(name, "--rows")    ? &s->rows
                       : !strcmp(name, "--dim")   ? &s->dim
                       : !strcmp(name, "--count") ? &s->count
                                                  : NULL;
        uint64_t n = 0;
        if (text)
            *text = value;
        else if (size && number(value, &n) && n >= 1 && n <= KITH_QUERIES_MAX)
            *size = (size_t)n;
        else if (!strcmp(name, "--seed") && number(value, &n))
            s->seed = n;
        else if (!strcmp(name, "--metric") && (s->metric = kith_metric_parse(value)) != KITH_METRIC_NONE)
            continue;
        else
            return false;
    }
    return argc % 2 == 1 && (!s->index || (s->queries && !s->data)) && (s->data || s->index || !s->queries);
}

static bool make_memory(bench *b) {
    const size_t results = b->count * ks[KS - 1];
    b->ids = calloc(results, sizeof(*b->ids));
    b->distances = calloc(results, sizeof(*b->distances));
    b->kth = calloc(b->count, sizeof(*b->kth));
    if (!b->ids || !b->distances || !b->kth)
        return fprintf(stderr, "There is no memory for %zu results.\n", results), false;
    return told(b, kith_scratch_create(b->index, b->pool, &b->wide, &b->error)) &&
           told(b, kith_scratch_create(b->index, NULL, &b->narrow, &b->error));
}

int main(int argc, char **argv) {
    bench b = {.settings = {.rows = 50000, .dim = 64, .count = 400, .seed = 1}, .info = KITH_INDEX_INFO_INIT};
    if (!parse(argc, argv, &b.settings)) {
        fprintf(stderr,
                "usage: %s [--json FILE] [--rows N] [--dim N] [--seed N] [--count QUERIES] [--metric WORD]\n"
                "       [--data FILE [--queries FILE] | --index FILE.kith --queries FILE]\n",
                argv[0]);
        return EXIT_FAILURE;
    }
    if (b.settings.json && !(b.json = fopen(b.settings.json, "w"))) {
        fprintf(stderr, "%s cannot be written.\n", b.settings.json);
        return EXIT_FAILURE;
    }
    bool good = told(&b, kith_pool_create(0, &b.pool, &b.error)) && open_index(&b) && make_memory(&b) && bench_all(&b);
    if (b.json && fclose(b.json)) {
        fprintf(stderr, "The file %s could not be written whole.\n", b.settings.json);
        good = false;
    }
    kith_scratch_destroy(b.narrow);
    kith_scratch_destroy(b.wide);
    kith_index_close(b.index);
    kith_pool_destroy(b.pool);
    free(b.kth);
    free(b.distances);
    free(b.ids);
    free(b.queries);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Recall and cost of settings: which are worth it, the measurements, and which are kept.
 *
 * A true neighbour is missed because its list is not probed, or because its estimate is not among the best. The first
 * is known for every number of lists from tune_lists.c. The second, the loss, hardly depends on the number of lists: it
 * is measured by searching at a few of them, for each number of candidates (rerank) until more of them gain nothing,
 * and interpolated between. Cost likewise. Settings on the frontier of some batch size are kept. */
#include "engine/tune.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 6, PROBES_MAX = 72, ANCHORS = 4, CODES = 3, COST_POINTS = 4 };
enum { SETTINGS_MAX = CODES * CLASSES * PROBES_MAX };

/* More candidates that gain less recall than this are not looked at. */
static const double GAIN = 0.0005;
/* Recall that is too little, and that is enough, for any target. */
static const double TOO_LITTLE = 0.4, ENOUGH = 0.9995;

/* Recall lost beside that of unprobed lists, measured with `count` queries. */
struct loss {
    double mean, variance; /* variance: of that mean */
};

struct probe {
    kith_scan_code code;
    int klass; /* of candidates: settings of one class differ by lists alone */
    size_t nprobe, rerank;
    double recall, error, lost;
    double cost_ns[KI_TUNE_BATCHES];
};

/* The settings of one k. */
struct table {
    size_t k, count, lists; /* lists: in nprobe and reach */
    size_t nprobe[PROBES_MAX];
    double reach[PROBES_MAX], variance[PROBES_MAX]; /* share of true neighbours in so many lists; of that mean */
    size_t anchors, anchor[ANCHORS];                /* places in nprobe */
    struct probe probe[SETTINGS_MAX];
};

static kith_search_options options_for(kith_scan_code code, size_t nprobe, size_t rerank) {
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.plan = KITH_PLAN_IVF;
    options.nprobe = nprobe;
    options.rerank = rerank;
    options.code = code;
    return options;
}

/* ---- Numbers of lists -------------------------------------------------------------------------------------------- */

/* 1 to 8, 10, 12, 14, 16, 20, ... (four an octave) and half of the lists; 0 after that. */
static size_t next_nprobe(size_t nprobe, size_t lists) {
    const size_t most = lists / 2 ? lists / 2 : 1;
    size_t step = 1;
    if (nprobe >= most) return 0;
    while (8 * step <= nprobe) step *= 2;
    return ki_min_size(nprobe + step, most);
}

/* The share of a query's k true neighbours that lie in its nprobe nearest lists. */
static double share_reached(const ki_tuning *t, size_t query, size_t k, size_t nprobe) {
    const uint32_t *rank = t->rank + query * t->k[t->ks - 1];
    size_t reached = 0;
    for (size_t i = 0; i < k; i++) reached += rank[i] < nprobe;
    return (double)reached / (double)k;
}

/* Mean and the variance of that mean. It has a floor: no sample proves a recall of 1. */
static void reach_of(const ki_tuning *t, size_t k, size_t nprobe, double *mean, double *variance) {
    const double n = (double)t->count;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < t->count; i++) {
        const double share = share_reached(t, i, k, nprobe);
        sum += share;
        squares += share * share;
    }
    *mean = sum / n;
    const double spread = squares / n - *mean * *mean;
    *variance = ((spread > 0 ? spread : 0) + 1 / (n * (double)k)) / n;
}

/* Those worth it, and where losses are measured: where so many of the true neighbours are reached. */
static void choose_lists(const ki_tuning *t, struct table *table) {
    static const double at[ANCHORS] = {0.7, 0.9, 0.97, 1};
    const ki_flat *flat = &t->index->flat;
    double reach, variance;
    table->lists = table->anchors = 0;
    for (size_t n = 1; n && table->lists < PROBES_MAX; n = next_nprobe(n, flat->lists.count)) {
        /* Queries that find fewer than k in their lists are searched exactly: that is no setting to choose. */
        if ((double)n * (double)flat->rows / (double)flat->lists.count < 2 * (double)table->k) continue;
        reach_of(t, table->k, n, &reach, &variance);
        if (reach < TOO_LITTLE) continue;
        table->nprobe[table->lists] = n;
        table->reach[table->lists] = reach;
        table->variance[table->lists++] = variance;
        if (reach >= ENOUGH) break;
    }
    for (size_t i = 0; i < table->lists; i++) {
        const int last = i + 1 == table->lists;
        if (table->anchors < ANCHORS && (last || table->reach[i] >= at[table->anchors]))
            table->anchor[table->anchors++] = i;
    }
    if (table->anchors) table->anchor[table->anchors - 1] = table->lists - 1;
}

/* ---- Losses ------------------------------------------------------------------------------------------------------ */

/* The share of the true k neighbours that a query's `found` results hold (T1, T2). */
static double share_found(const ki_tuning *t, size_t query, size_t k, size_t found) {
    const size_t most = t->k[t->ks - 1];
    const float farthest = t->truth[query * most + k - 1];
    const uint64_t *ids = t->ids + query * found;
    const float *distances = t->distances + query * found;
    size_t right = 0, looked = 0;
    for (size_t i = 0; i < found && looked < k; i++) {
        if (t->self && ids[i] == t->self[query]) continue;
        looked++;
        right += ids[i] != KITH_ID_NONE && distances[i] <= farthest;
    }
    return (double)right / (double)k;
}

/* Loss with the first `count` queries; *cpu_ns: of one query. */
static kith_status measure_loss(const ki_tuning *t, size_t k, kith_scan_code code, size_t nprobe, size_t rerank,
                                size_t count, struct loss *loss, double *cpu_ns, kith_error *error) {
    const size_t self = t->self != NULL, found = k + self;
    const kith_search_options options = options_for(code, nprobe, rerank + self);
    const uint64_t start = ki_process_ns();
    const kith_status status = ki_tune_search(t, t->wide, 0, count, found, &options, error);
    if (status != KITH_OK) return status;
    *cpu_ns = (double)(ki_process_ns() - start) / (double)count;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        const double lost = share_reached(t, i, k, nprobe) - share_found(t, i, k, found);
        sum += lost;
        squares += lost * lost;
    }
    const double n = (double)count, spread = squares / n - sum / n * (sum / n);
    *loss = (struct loss){sum / n, (spread > 0 ? spread : 0) / n};
    return KITH_OK;
}

/* Candidates of a class: 0 when there is no such class. */
static size_t class_rerank(kith_scan_code code, int klass, size_t k) {
    static const double int8_factor[CLASSES] = {1, 1.5, 2, 4, 0, 0};
    static const double second_factor[CLASSES] = {1.5, 3, 6, 12, 24, 48};
    if (code == KITH_SCAN_LEVELS) return klass == 0 ? k : 0;
    const double factor = code == KITH_SCAN_SECOND ? second_factor[klass] : int8_factor[klass];
    const size_t rerank = (size_t)ceil(factor * (double)k);
    if (klass && rerank == class_rerank(code, klass - 1, k)) return 0;
    return ki_min_size(rerank, 4 * KITH_K_MAX - 1);
}

/* What is measured of one code for one k. */
struct walk {
    const ki_tuning *t;
    const struct table *table;
    kith_scan_code code;
    double setting_ns;  /* time that one measurement may take */
    double expected_ns; /* of one query at the next one */
    int classes;        /* those up to here gain something somewhere */
    struct loss loss[ANCHORS][CLASSES];
};

/* Queries that fit one measurement's time. */
static size_t affordable(const struct walk *w) {
    const size_t all = w->t->count;
    const double each = w->expected_ns / w->t->threads;
    if (!(each * (double)all > w->setting_ns)) return all;
    const double fit = w->setting_ns / each;
    return fit < KI_TUNE_QUERIES_LEAST ? ki_min_size(all, KI_TUNE_QUERIES_LEAST) : (size_t)fit;
}

/* All classes at one number of lists, until one gains nothing: those after it lose no less than that. */
static kith_status measure_classes(struct walk *w, size_t anchor, kith_error *error) {
    const size_t nprobe = w->table->nprobe[w->table->anchor[anchor]];
    struct loss last = {1, 0};
    int gaining = 1;
    for (int c = 0; c < CLASSES; c++) {
        const size_t rerank = class_rerank(w->code, c, w->table->k);
        w->loss[anchor][c] = last;
        if (!rerank || !gaining) continue;
        struct loss *loss = &w->loss[anchor][c];
        const kith_status status =
            measure_loss(w->t, w->table->k, w->code, nprobe, rerank, affordable(w), loss, &w->expected_ns, error);
        if (status != KITH_OK) return status;
        gaining = loss->mean < last.mean - GAIN;
        if (gaining && c >= w->classes) w->classes = c + 1;
        last = *loss;
    }
    return KITH_OK;
}

/* The loss of a class at a number of lists, from the anchors around it. */
static struct loss loss_at(const struct walk *w, int klass, size_t place) {
    const struct table *table = w->table;
    size_t after = 0;
    while (after + 1 < table->anchors && table->anchor[after] < place) after++;
    const struct loss high = w->loss[after][klass];
    if (after == 0 || table->anchor[after] <= place) return high;
    const struct loss low = w->loss[after - 1][klass];
    const double a = log2((double)table->nprobe[table->anchor[after - 1]]);
    const double b = log2((double)table->nprobe[table->anchor[after]]);
    const double part = (log2((double)table->nprobe[place]) - a) / (b - a);
    return (struct loss){low.mean + (high.mean - low.mean) * part,
                         low.variance > high.variance ? low.variance : high.variance};
}

static double within(double low, double value, double high) {
    return value < low ? low : value > high ? high : value;
}

static void add_settings(const struct walk *w, struct table *table) {
    for (int c = 0; c < w->classes; c++) {
        const size_t rerank = class_rerank(w->code, c, table->k);
        for (size_t i = 0; i < table->lists && rerank; i++) {
            const struct loss loss = loss_at(w, c, i);
            table->probe[table->count++] =
                (struct probe){.code = w->code,
                               .klass = c,
                               .nprobe = table->nprobe[i],
                               .rerank = rerank,
                               .recall = within(0, table->reach[i] - loss.mean, 1),
                               .lost = within(0, loss.mean, 1),
                               .error = within(0, sqrt(table->variance[i] + loss.variance), 1)};
        }
    }
}

/* Settings of one code. The scan with bounds loses nothing but what unprobed lists hold: one measurement shows its
 * time. */
static kith_status measure_code(ki_tuning *t, struct table *table, kith_scan_code code, uint64_t budget_ns,
                                kith_error *error) {
    enum { MEASUREMENTS = ANCHORS * 2 };
    struct walk w = {.t = t, .table = table, .code = code, .setting_ns = (double)budget_ns / MEASUREMENTS};
    for (size_t a = 0; a < table->anchors; a++) {
        const kith_status status = measure_classes(&w, a, error);
        if (status != KITH_OK) return status;
    }
    add_settings(&w, table);
    return KITH_OK;
}

/* ---- Cost -------------------------------------------------------------------------------------------------------- */

/* Nanoseconds of one query in calls of `batch`: the best of three stretches, each of at least one call. */
static kith_status measure_cost(const ki_tuning *t, size_t k, size_t batch, double slice_ns,
                                const kith_search_options *options, double *best_ns, kith_error *error) {
    enum { STRETCHES = 3 };
    const size_t self = t->self != NULL; /* else stored queries would find themselves, and at once */
    kith_search_options given = *options;
    size_t first = 0;
    double spent = 0;
    if (given.rerank) given.rerank += self;
    *best_ns = INFINITY;
    for (int s = 0; s < STRETCHES && (s == 0 || spent < slice_ns); s++) {
        double stretch = 0;
        size_t queries = 0;
        while (queries == 0 || stretch < slice_ns / STRETCHES) {
            if (first + batch > t->count) first = 0;
            const uint64_t start = ki_thread_ns();
            const kith_status status = ki_tune_search(t, t->narrow, first, batch, k + self, &given, error);
            if (status != KITH_OK) return status;
            stretch += (double)(ki_thread_ns() - start) + 1;
            queries += batch;
            first += batch;
        }
        spent += stretch;
        if (stretch / (double)queries < *best_ns) *best_ns = stretch / (double)queries;
    }
    return KITH_OK;
}

/* A batch that one slice can afford, or as near to it: fewer queries cost more each, so that the cost is overstated. */
static size_t affordable_batch(const ki_tuning *t, size_t batch, double query_ns, double slice_ns) {
    const double fit = slice_ns / (query_ns > 1 ? query_ns : 1);
    const size_t most = ki_min_size(batch, t->count);
    return fit >= (double)most ? most : fit < 1 ? 1 : (size_t)fit;
}

/* The next setting of the same code and class, in ascending order of lists; count at the end. */
static size_t next_in_class(const struct table *table, size_t at) {
    size_t i = at + 1;
    while (i < table->count &&
           (table->probe[i].code != table->probe[at].code || table->probe[i].klass != table->probe[at].klass))
        i++;
    return i;
}

static size_t members(const struct table *table, size_t first, size_t member[PROBES_MAX]) {
    size_t count = 0;
    for (size_t i = first; i < table->count && count < PROBES_MAX; i = next_in_class(table, i)) member[count++] = i;
    return count;
}

/* T3: costs of members between a and b. */
static void interpolate(struct table *table, const size_t *member, size_t a, size_t b, size_t batch) {
    const struct probe *low = &table->probe[member[a]], *high = &table->probe[member[b]];
    const double slope = (high->cost_ns[batch] - low->cost_ns[batch]) / (double)(high->nprobe - low->nprobe);
    for (size_t i = a + 1; i < b; i++) {
        struct probe *p = &table->probe[member[i]];
        p->cost_ns[batch] = low->cost_ns[batch] + slope * (double)(p->nprobe - low->nprobe);
    }
}

/* Costs of one class of one code: at a few numbers of lists, rising. */
static kith_status cost_class(const ki_tuning *t, struct table *table, size_t first, size_t batch, double slice_ns,
                              kith_error *error) {
    size_t member[PROBES_MAX], before = 0;
    const size_t count = members(table, first, member);
    const size_t points = ki_min_size(count, COST_POINTS);
    double expected_ns = t->exact_ns;
    for (size_t i = 0; i < points; i++) {
        const size_t at = points == 1 ? 0 : i * (count - 1) / (points - 1);
        struct probe *p = &table->probe[member[at]];
        const kith_search_options options = options_for(p->code, p->nprobe, p->rerank);
        const size_t taken = affordable_batch(t, t->batch[batch], expected_ns, slice_ns);
        const kith_status status = measure_cost(t, table->k, taken, slice_ns, &options, &p->cost_ns[batch], error);
        if (status != KITH_OK) return status;
        expected_ns = 2 * p->cost_ns[batch];
        if (i == 0) continue;
        const double least = table->probe[member[before]].cost_ns[batch];
        if (p->cost_ns[batch] < least) p->cost_ns[batch] = least;
        interpolate(table, member, before, at, batch);
        before = at;
    }
    return KITH_OK;
}

/* Whether no setting of the same code and class comes before. */
static int first_of_class(const struct table *table, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (table->probe[i].code == table->probe[at].code && table->probe[i].klass == table->probe[at].klass) return 0;
    return 1;
}

static kith_status cost_table(const ki_tuning *t, struct table *table, uint64_t budget_ns, kith_error *error) {
    size_t classes = 0;
    for (size_t i = 0; i < table->count; i++) classes += (size_t)first_of_class(table, i);
    const double slice_ns = (double)budget_ns / (double)(classes * COST_POINTS * t->batches + 1);
    for (size_t i = 0; i < table->count; i++)
        for (size_t b = 0; b < t->batches && first_of_class(table, i); b++) {
            const kith_status status = cost_class(t, table, i, b, slice_ns, error);
            if (status != KITH_OK) return status;
        }
    return KITH_OK;
}

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

static kith_status keep(ki_tuning *t, kith_tuned setting, kith_error *error) {
    void *settings = t->out.settings;
    if (t->out.count >= KI_CALIBRATION_SETTINGS_MAX) return KITH_OK;
    const int room = ki_array_reserve(&settings, &t->capacity, t->out.count + 1, sizeof(kith_tuned));
    t->out.settings = settings;
    if (!room) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    t->out.settings[t->out.count++] = setting;
    return KITH_OK;
}

/* Whether no other setting is as good at this batch size; of equal ones the first stays. */
static int on_frontier(const struct table *table, size_t at, size_t batch) {
    const struct probe *p = &table->probe[at];
    for (size_t i = 0; i < table->count; i++) {
        const struct probe *o = &table->probe[i];
        if (i == at || o->recall < p->recall || o->cost_ns[batch] > p->cost_ns[batch]) continue;
        if (o->recall > p->recall || o->cost_ns[batch] < p->cost_ns[batch] || i < at) return 0;
    }
    return 1;
}

static kith_status keep_frontier(ki_tuning *t, const struct table *table, kith_error *error) {
    for (size_t i = 0; i < table->count; i++) {
        const struct probe *p = &table->probe[i];
        int kept = 0;
        for (size_t b = 0; b < t->batches; b++) kept |= on_frontier(table, i, b);
        for (size_t b = 0; b < t->batches && kept; b++) {
            const kith_status status = keep(t,
                                            (kith_tuned){.plan = KITH_PLAN_IVF,
                                                         .code = p->code,
                                                         .k = table->k,
                                                         .batch = t->batch[b],
                                                         .nprobe = p->nprobe,
                                                         .rerank = p->rerank,
                                                         .recall = p->recall,
                                                         .recall_error = p->error,
                                                         .lost = p->lost,
                                                         .query_ns = p->cost_ns[b]},
                                            error);
            if (status != KITH_OK) return status;
        }
    }
    return KITH_OK;
}

/* What the exact plan costs: the planner's other choice. */
static kith_status keep_exact(ki_tuning *t, size_t k, uint64_t budget_ns, kith_error *error) {
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.explain = &explain;
    const double slice_ns = (double)budget_ns / (double)t->batches;
    for (size_t b = 0; b < t->batches; b++) {
        double cost;
        const size_t taken = affordable_batch(t, t->batch[b], t->exact_ns, slice_ns);
        kith_status status = measure_cost(t, k, taken, slice_ns, &options, &cost, error);
        if (status == KITH_OK)
            status =
                keep(t, (kith_tuned){.plan = explain.plan, .k = k, .batch = t->batch[b], .recall = 1, .query_ns = cost},
                     error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* A third of the budget goes to losses, a fourth to cost, the rest was spent on exact answers. */
static kith_status measure_k(ki_tuning *t, struct table *table, size_t which, kith_error *error) {
    const uint64_t each = t->budget_ns / t->ks;
    const kith_scan_code codes[CODES] = {KITH_SCAN_INT8, KITH_SCAN_SECOND, KITH_SCAN_LEVELS};
    const int has[CODES] = {1, t->index->flat.second.spec.kind != KI_SECOND_NONE, t->index->flat.level1.blocks != 0};
    const uint64_t shares = (uint64_t)(has[0] + has[1] + has[2]);
    kith_status status = KITH_OK;
    table->k = t->k[which];
    table->count = 0;
    choose_lists(t, table);
    for (int c = 0; c < CODES && status == KITH_OK; c++) {
        if (has[c]) status = measure_code(t, table, codes[c], each / 3 / shares, error);
        if (status == KITH_OK)
            status = ki_tune_tell(t, "measuring", "settings", which * (CODES + 1) + (size_t)c + 1, t->ks * (CODES + 1),
                                  error);
    }
    if (status != KITH_OK) return status;
    status = keep_exact(t, table->k, each / 20, error);
    if (status == KITH_OK) status = cost_table(t, table, each / 4, error);
    if (status == KITH_OK) status = keep_frontier(t, table, error);
    return status == KITH_OK
               ? ki_tune_tell(t, "measuring", "settings", (which + 1) * (CODES + 1), t->ks * (CODES + 1), error)
               : status;
}

kith_status ki_tune_measure(ki_tuning *t, kith_error *error) {
    struct table *table = ki_alloc_array(1, sizeof(*table));
    if (!table) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    kith_status status = KITH_OK;
    for (size_t i = 0; i < t->ks && status == KITH_OK; i++) status = measure_k(t, table, i, error);
    free(table);
    if (status == KITH_OK) qsort(t->out.settings, t->out.count, sizeof(kith_tuned), ki_tuned_compare);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Recall and cost of settings: which are worth it, the measurements, and which are kept.
 *
 * A true neighbour is missed because its list is not probed, or because its estimate is not among the best. The first
 * is known for every number of lists from lists.c. The second, the loss, hardly depends on the number of lists: it
 * is measured by searching at a few of them, for each number of candidates (rerank) until more of them gain nothing,
 * and interpolated between. What settings cost is cost.c's. Settings on the frontier of some batch size are kept. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 6, STEPS_MAX = 72, ANCHORS = 4, CODES = 3 };
enum { SETTINGS_MAX = CODES * CLASSES * STEPS_MAX };

/* More candidates that gain less recall than this are not looked at. */
static const double GAIN = 0.0005;
/* Recall that is too little, and that is enough, for any target. */
static const double TOO_LITTLE = 0.4, ENOUGH = 0.9995;

/* Recall lost beside that of unprobed lists, measured with `count` queries. */
struct loss {
    double mean, variance; /* variance: of that mean */
};

struct setting {
    kith_scan_code code;
    int klass; /* of candidates: settings of one class differ by lists alone */
    size_t nprobe, rerank;
    double recall, error, lost;
    double cost_ns[KI_TUNE_BATCHES];
};

/* The settings of one k. */
struct table {
    size_t k, count;
    /* Of the code at work: */
    const uint32_t *rank; /* ki_tuning.rank or nearer_rank */
    size_t lists;         /* in nprobe and reach */
    size_t nprobe[STEPS_MAX];
    double reach[STEPS_MAX], variance[STEPS_MAX]; /* share of true neighbours in so many lists; of that mean */
    size_t anchors, anchor[ANCHORS];              /* places in nprobe */
    struct setting setting[SETTINGS_MAX];
};

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
static double share_reached(const ki_tuning *t, const struct table *table, size_t query, size_t nprobe) {
    const uint32_t *rank = table->rank + query * t->k[t->ks - 1];
    size_t reached = 0;
    for (size_t i = 0; i < table->k; i++) reached += rank[i] < nprobe;
    return (double)reached / (double)table->k;
}

/* Its floor: no sample proves a recall of 1, or a loss of 0. */
double ki_tune_variance(double squares, double mean, double n, double k) {
    const double spread = squares / n - mean * mean;
    return ((spread > 0 ? spread : 0) + 1 / (n * k)) / n;
}

/* Mean and the variance of that mean. */
static void reach_of(const ki_tuning *t, const struct table *table, size_t nprobe, double *mean, double *variance) {
    const double n = (double)t->count, k = (double)table->k;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < t->count; i++) {
        const double share = share_reached(t, table, i, nprobe);
        sum += share;
        squares += share * share;
    }
    *mean = sum / n;
    *variance = ki_tune_variance(squares, *mean, n, k);
}

/* Those worth it, and where losses are measured: where so many of the true neighbours are reached. */
static void choose_lists(const ki_tuning *t, struct table *table) {
    static const double at[ANCHORS] = {0.7, 0.9, 0.97, 1};
    const ki_view *view = &t->index->view;
    double reach, variance;
    table->lists = table->anchors = 0;
    for (size_t n = 1; n && table->lists < STEPS_MAX; n = next_nprobe(n, view->lists.count)) {
        /* Queries that find fewer than k in their lists are searched exactly: that is no setting to choose. */
        if ((double)n * (double)view->rows / (double)view->lists.count < 2 * (double)table->k) continue;
        reach_of(t, table, n, &reach, &variance);
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

double ki_tune_found(const ki_tuning *t, size_t query, size_t k) {
    const size_t at = query * k;
    const float farthest = t->truth[query * t->k[t->ks - 1] + k - 1];
    size_t right = 0;
    for (size_t i = 0; i < k; i++) right += t->ids[at + i] != KITH_ID_NONE && t->distances[at + i] <= farthest;
    return (double)right / (double)k;
}

/* Loss with the first `count` queries; *cpu_ns: of one query. */
static kith_status measure_loss(ki_tuning *t, const struct table *table, kith_scan_code code, size_t nprobe,
                                size_t rerank, size_t count, struct loss *loss, double *cpu_ns, kith_error *error) {
    const size_t k = table->k;
    const kith_search_options options = ki_tune_options(code, nprobe, rerank);
    const uint64_t start = ki_process_ns();
    const kith_status status = ki_tune_search_held(t, count, k, &options, error);
    if (status != KITH_OK) return status;
    *cpu_ns = (double)(ki_process_ns() - start) / (double)count;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        const double lost = share_reached(t, table, i, nprobe) - ki_tune_found(t, i, k);
        sum += lost;
        squares += lost * lost;
    }
    const double n = (double)count;
    *loss = (struct loss){sum / n, ki_tune_variance(squares, sum / n, n, (double)k)};
    return KITH_OK;
}

/* Candidates of a class: 0 when there is no such class. */
static size_t class_rerank(kith_scan_code code, int klass, size_t k) {
    static const double int8_factor[CLASSES] = {1, 1.5, 2, 4, 0, 0};
    static const double second_factor[CLASSES] = {1.5, 3, 6, 12, 24, 48};
    static const double first_factor[CLASSES] = {1.5, 2, 3, 4.5, 7, 12};
    const double factor = code == KITH_SCAN_SECOND  ? second_factor[klass]
                          : code == KITH_SCAN_FIRST ? first_factor[klass]
                                                    : int8_factor[klass];
    const size_t rerank = (size_t)ceil(factor * (double)k);
    if (klass && rerank == class_rerank(code, klass - 1, k)) return 0;
    return ki_min_size(rerank, 4 * KITH_K_MAX - 1);
}

/* What is measured of one code for one k. */
struct walk {
    ki_tuning *t;
    const struct table *table;
    kith_scan_code code;
    double setting_ns;  /* time that one measurement may take */
    double expected_ns; /* of one query at the next one */
    int classes;        /* those up to here gain something somewhere */
    struct loss loss[ANCHORS][CLASSES];
};

size_t ki_tune_affordable(const ki_tuning *t, double query_ns, double budget_ns) {
    const double each = query_ns / t->threads;
    if (!(each * (double)t->count > budget_ns)) return t->count;
    const double fit = budget_ns / each;
    return fit < KI_TUNE_QUERIES_LEAST ? ki_min_size(t->count, KI_TUNE_QUERIES_LEAST) : (size_t)fit;
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
        const size_t count = ki_tune_affordable(w->t, w->expected_ns, w->setting_ns);
        const kith_status status =
            measure_loss(w->t, w->table, w->code, nprobe, rerank, count, loss, &w->expected_ns, error);
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
            table->setting[table->count++] =
                (struct setting){.code = w->code,
                                 .klass = c,
                                 .nprobe = table->nprobe[i],
                                 .rerank = rerank,
                                 .recall = within(0, table->reach[i] - loss.mean, 1),
                                 .lost = within(0, loss.mean, 1),
                                 .error = within(0, sqrt(table->variance[i] + loss.variance), 1)};
        }
    }
}

/* Settings of one code. */
static kith_status measure_code(ki_tuning *t, struct table *table, kith_scan_code code, uint64_t budget_ns,
                                kith_error *error) {
    enum { MEASUREMENTS = ANCHORS * 2 };
    struct walk w = {.t = t, .table = table, .code = code, .setting_ns = (double)budget_ns / MEASUREMENTS};
    table->rank = code == ki_second_lists_code(&t->index->view) ? t->nearer_rank : t->rank;
    choose_lists(t, table);
    for (size_t a = 0; a < table->anchors; a++) {
        const kith_status status = measure_classes(&w, a, error);
        if (status != KITH_OK) return status;
    }
    add_settings(&w, table);
    return KITH_OK;
}

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

kith_status ki_tune_keep(ki_tuning *t, kith_tuned setting, kith_error *error) {
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
    const struct setting *p = &table->setting[at];
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *o = &table->setting[i];
        if (i == at || o->recall < p->recall || o->cost_ns[batch] > p->cost_ns[batch]) continue;
        if (o->recall > p->recall || o->cost_ns[batch] < p->cost_ns[batch] || i < at) return 0;
    }
    return 1;
}

static kith_status keep_frontier(ki_tuning *t, const struct table *table, kith_error *error) {
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *p = &table->setting[i];
        int kept = 0;
        for (size_t b = 0; b < t->batches; b++) kept |= on_frontier(table, i, b);
        for (size_t b = 0; b < t->batches && kept; b++) {
            const kith_status status = ki_tune_keep(t,
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
        kith_status status = ki_tune_time(t, k, t->batch[b], slice_ns, t->exact_ns, &options, &cost, error);
        if (status == KITH_OK)
            status = ki_tune_keep(
                t, (kith_tuned){.plan = explain.plan, .k = k, .batch = t->batch[b], .recall = 1, .query_ns = cost},
                error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static const kith_scan_code codes[CODES] = {KITH_SCAN_INT8, KITH_SCAN_SECOND, KITH_SCAN_FIRST};

static int has_code(const ki_view *view, kith_scan_code code) {
    if (view->lists.count == 1) return 0;
    if (code == KITH_SCAN_SECOND) return view->second.spec.kind != KI_SECOND_NONE;
    return code == KITH_SCAN_INT8 || view->level1.blocks != 0;
}

static size_t count_codes(const ki_tuning *t) {
    size_t count = 0;
    for (int c = 0; c < CODES; c++) count += (size_t)has_code(&t->index->view, codes[c]);
    return count;
}

static kith_status measure_costs(ki_tuning *t, ki_tune_cost costs[CODES][KI_TUNE_BATCHES], uint64_t budget_ns,
                                 kith_error *error) {
    const double each_ns = (double)budget_ns / (double)(count_codes(t) * (t->batches + 2));
    for (int c = 0; c < CODES; c++)
        for (size_t b = 0; b < t->batches && has_code(&t->index->view, codes[c]); b++) {
            const double share_ns = b + 1 == t->batches ? 3 * each_ns : each_ns; /* or its batches would be cut short */
            const kith_status status = ki_tune_cost_measure(t, codes[c], t->batch[b], share_ns, &costs[c][b], error);
            if (status != KITH_OK) return status;
        }
    return KITH_OK;
}

static void set_costs(const ki_tuning *t, struct table *table, ki_tune_cost costs[CODES][KI_TUNE_BATCHES]) {
    for (size_t i = 0; i < table->count; i++) {
        struct setting *p = &table->setting[i];
        for (int c = 0; c < CODES; c++)
            for (size_t b = 0; b < t->batches && p->code == codes[c]; b++)
                p->cost_ns[b] = ki_tune_cost_at(&costs[c][b], p->nprobe, p->rerank);
    }
}

/* The settings of one k, and the exact plan. */
static kith_status measure_k(ki_tuning *t, struct table *table, size_t which,
                             ki_tune_cost costs[CODES][KI_TUNE_BATCHES], kith_error *error) {
    const uint64_t each_ns = t->budget_ns / t->ks / 4, steps = t->ks * (CODES + 1);
    kith_status status = KITH_OK;
    table->k = t->k[which];
    table->count = 0;
    for (size_t c = 0; c < CODES && status == KITH_OK; c++) {
        if (has_code(&t->index->view, codes[c]) && !t->blind)
            status = measure_code(t, table, codes[c], each_ns / count_codes(t), error);
        if (status == KITH_OK)
            status = ki_tune_tell(t, "measuring", "settings", which * (CODES + 1) + c + 1, steps, error);
    }
    if (status == KITH_OK) status = keep_exact(t, table->k, t->budget_ns / t->ks / 10, error);
    if (status != KITH_OK) return status;
    set_costs(t, table, costs);
    status = keep_frontier(t, table, error);
    if (status == KITH_OK && !t->blind) status = ki_tune_efforts(t, which, t->budget_ns / t->ks / 2, error);
    return status == KITH_OK ? ki_tune_tell(t, "measuring", "settings", (which + 1) * (CODES + 1), steps, error)
                             : status;
}

/* A fourth of the budget goes to losses, a third to costs, a tenth to the exact plan's; the rest went to exact
 * answers. Plans with an effort get half as much again, or, where there are no lists, what those would have. */
kith_status ki_tune_measure(ki_tuning *t, kith_error *error) {
    ki_tune_cost costs[CODES][KI_TUNE_BATCHES];
    struct table *table = ki_alloc_array(1, sizeof(*table));
    if (!table) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    kith_status status = t->blind || !count_codes(t) ? KITH_OK : measure_costs(t, costs, t->budget_ns / 3, error);
    for (size_t i = 0; i < t->ks && status == KITH_OK; i++) status = measure_k(t, table, i, costs, error);
    free(table);
    if (status == KITH_OK) qsort(t->out.settings, t->out.count, sizeof(kith_tuned), ki_tuned_compare);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "search/study.h"

#include "base/checked.h"
#include "base/clock.h"
#include "kernel/distance.h"
#include "search/search.h"
#include "search/settings.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

/* SAMPLES: queries; where some seem thin, at least MANY, or what is found by leaving those to lists is chance. STEPS:
 * settings of a plan, whose lists or effort double; between two of them BETWEEN are told from both. BATCHES: sizes that
 * are timed, the last of them all samples. REFINE: times what searches had taken, when a filter is studied again. KEPT:
 * queries of one call; KEPT_BYTES: of all, about. */
enum {
    SAMPLES_LEAST = 64,
    SAMPLES_MANY = 128,
    SAMPLES_MOST = 256,
    STEPS = 8,
    BETWEEN = 3,
    BATCHES = 3,
    RIVALS_MAX = 6,
    REFINE = 4
};
enum { SETTINGS_MAX = (1 + RIVALS_MAX * STEPS * (1 + BETWEEN)) * BATCHES, KEPT = 64, KEPT_BYTES = 256 << 10 };

/* What searches pay for a study, and what it may cost at most; what a sample costs beside answers; times what was
 * thought, when it ends. The share of queries that may be thin from which on a filter follows places. Recall that is
 * enough, and recall from which on lists are lessened to begin with. Guesses, all but the last two. */
static const double PART = 0.25, DEAREST_NS = 2e9, BEGINNING_NS = 3e5, ENOUGH = 0.991, HIGH = 0.82, THIN = 0.03,
                    TOO_LONG = 4;
/* What a setting costs of the one before, at least, whose lists or effort are half of its. By how much a plan must cost
 * less than another, of the same recall and in each batch, for the other to be left alone: codes of lists differ by
 * more than that, and in the same direction at every recall. */
static const double GROWTH = 1.5, BEATEN = 1.25;

/* Plans that this knows how to measure. */
static const unsigned PLANS = KI_PLAN_BIT(KITH_PLAN_IVF) | KI_PLAN_BIT(KITH_PLAN_GRAPH) | KI_PLAN_BIT(KITH_PLAN_HNSW);

struct point {
    size_t nprobe, rerank;
    double recall, error, query_ns[BATCHES];
};

struct study {
    const ki_job *job;
    const ki_question *question;  /* without a study */
    size_t count, k, wanted;      /* wanted: true neighbours of a query */
    size_t batch[BATCHES], timed; /* timed: where the next stretch of few queries begins */
    uint64_t end_ns;              /* of processor time: no more settings are measured */
    float *kth;
    kith_search_options options;
    ki_search_case search;
    double exact_ns[BATCHES];
    int unguarded; /* what is measured at the moment */
    int over;      /* the time was up before all was measured */
    struct table {
        kith_tuned *settings;
        size_t count;
    } table[2]; /* guarded, and not */
};

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static int take_room(ki_filter_notes *notes, size_t dim) {
    const size_t fit = KEPT_BYTES / (dim * sizeof(float));
    if (notes->asked) return 1;
    notes->asked_room = fit < SAMPLES_MANY ? SAMPLES_MANY : ki_min_size(fit, SAMPLES_MOST);
    notes->asked = ki_alloc_array(notes->asked_room, dim * sizeof(float));
    if (!notes->asked) return 0;
    atomic_fetch_add_explicit(&notes->bytes, notes->asked_room * dim * sizeof(float), memory_order_relaxed);
    return 1;
}

/* S3. What the search is going to refuse is left out. */
static void keep_queries(const ki_job *job) {
    ki_filter_notes *notes = job->filter->notes;
    const ki_view *view = &job->index->view;
    const size_t all = job->queries->count;
    if (!take_room(notes, view->dim)) return;
    const size_t count = ki_min_size(all, ki_min_size(KEPT, notes->asked_room));
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = (const uint8_t *)job->queries->data + (i * all / count) * job->stride;
        float *to = notes->asked + notes->asked_count % notes->asked_room * view->dim;
        double norm2;
        ki_distance()->to_f32[job->queries->dtype](from, view->dim, to);
        notes->asked_count += ki_row_check(view->metric, KITH_F32, to, view->dim, &norm2) == KI_ROW_FINE;
    }
}

/* ---- Searches ---------------------------------------------------------------------------------------------------- */

static kith_status search(struct study *s, const ki_answer *answer, size_t first, size_t count) {
    ki_search_case *c = &s->search;
    c->queries.data = s->job->filter->notes->asked + first * c->queries.dim;
    c->queries.count = count;
    return ki_search_as(c, answer, NULL);
}

/* Processor time of a query in each batch: of few queries one by one and in small batches, each time others, and of
 * all, which are searched last. */
static kith_status time_batches(struct study *s, const ki_answer *answer, double query_ns[BATCHES]) {
    enum { ALONE = 8 };
    for (int b = 0; b < BATCHES; b++) {
        const size_t batch = s->batch[b], count = b == 0 ? ALONE : batch;
        size_t first = b < BATCHES - 1 ? s->timed : 0;
        if (first + count > s->count) first = 0;
        s->timed = first + count;
        const uint64_t start = ki_thread_ns();
        for (size_t done = 0; done < count; done += batch) {
            const kith_status status = search(s, answer, first + done, batch);
            if (status != KITH_OK) return status;
        }
        query_ns[b] = (double)(ki_thread_ns() - start + 1) / (double)count;
    }
    return KITH_OK;
}

static kith_status find_truth(struct study *s) {
    kith_status status = time_batches(s, NULL, s->exact_ns);
    s->wanted = (size_t)ki_min_u64(s->k, s->job->allowed);
    for (size_t i = 0; i < s->count; i++) s->kth[i] = s->search.distances[i * s->k + s->wanted - 1];
    return status;
}

static void learn_recall(const struct study *s, struct point *point) {
    const double n = (double)s->count;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t found = 0;
        for (size_t j = 0; j < s->wanted; j++) found += s->search.distances[i * s->k + j] <= s->kth[i];
        const double share = (double)found / (double)s->wanted;
        sum += share;
        squares += share * share;
    }
    point->recall = sum / n;
    /* What none of so many missed, one of so many may: a true neighbour, or, where thin queries are left to lists, all
     * that such a query has. */
    const double least = 1 / (n * (double)(s->unguarded ? 1 : s->wanted));
    point->error = sqrt((fmax(0, squares / n - point->recall * point->recall) + least) / n);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static void keep(struct study *s, const ki_choice *choice, const struct point *p) {
    struct table *to = &s->table[s->unguarded];
    for (int b = 0; b < BATCHES && to->count < SETTINGS_MAX; b++)
        to->settings[to->count++] = (kith_tuned){.plan = choice->plan,
                                                 .code = choice->code,
                                                 .k = s->k,
                                                 .batch = s->batch[b],
                                                 .nprobe = p->nprobe,
                                                 .rerank = p->rerank,
                                                 .recall = p->recall,
                                                 .recall_error = fmin(1, p->error),
                                                 .query_ns = p->query_ns[b]};
}

/* What a setting misses; where few queries missed nothing, as much as they may have passed by. */
static double missed(const struct point *p) {
    return fmax(1 - p->recall, p->error);
}

/* Between two settings what is missed falls as a power of lists or effort, and costs are in proportion. */
static void keep_between(struct study *s, const ki_choice *choice, const struct point *a, const struct point *b) {
    size_t last = a->nprobe;
    for (int i = 1; i <= BETWEEN; i++) {
        const double part = (double)i / (BETWEEN + 1);
        struct point p = *b;
        p.nprobe = (size_t)((double)a->nprobe * pow((double)b->nprobe / (double)a->nprobe, part));
        if (p.nprobe <= last || p.nprobe >= b->nprobe) continue;
        last = p.nprobe;
        const double along = log((double)p.nprobe / (double)a->nprobe) / log((double)b->nprobe / (double)a->nprobe);
        const double done = (double)(p.nprobe - a->nprobe) / (double)(b->nprobe - a->nprobe);
        p.recall = fmin(b->recall, 1 - missed(a) * pow(missed(b) / missed(a), along));
        for (int n = 0; n < BATCHES; n++) p.query_ns[n] = a->query_ns[n] + (b->query_ns[n] - a->query_ns[n]) * done;
        keep(s, choice, &p);
    }
}

static kith_status measure(struct study *s, const ki_choice *rival, size_t nprobe, struct point *p) {
    ki_question question = *s->question;
    ki_choice choice = *rival;
    ki_answer answer;
    choice.nprobe = nprobe;
    choice.fewer = 0;
    question.unguarded = s->unguarded;
    ki_plan_as(&question, &choice, &answer);
    *p = (struct point){.nprobe = nprobe, .rerank = choice.rerank};
    const kith_status status = time_batches(s, &answer, p->query_ns);
    if (status == KITH_OK) learn_recall(s, p);
    return status;
}

/* Whether the next setting will cost more than exact answers do, in each batch. */
static int is_dear(const struct study *s, const struct point *p) {
    int dear = 1;
    for (int b = 0; b < BATCHES; b++) dear = dear && GROWTH * p->query_ns[b] > s->exact_ns[b];
    return dear;
}

/* Whether it can be counted on for any target that is usual, or there is nothing left to find. */
static int is_enough(const struct point *p) {
    return p->recall - 1.5 * p->error >= ENOUGH || p->recall >= 1;
}

/* Whether something that was measured before finds as much and costs so much less, in each batch. */
static int is_beaten(const struct study *s, const struct point *p) {
    int beaten[BATCHES] = {0};
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < s->table[t].count; i++) {
            const kith_tuned *other = &s->table[t].settings[i];
            const size_t b = i % BATCHES;
            beaten[b] |= other->recall >= p->recall && BEATEN * other->query_ns < p->query_ns[b];
        }
    return beaten[0] && beaten[1] && beaten[2];
}

/* Lists or effort double until recall is enough or exact answers cost less. Settings that find no more than others of
 * less are dropped. */
static kith_status climb(struct study *s, const ki_choice *rival) {
    const int lists = rival->plan == KITH_PLAN_IVF;
    const size_t most = lists ? s->question->lists : KI_CALIBRATION_EFFORT_MAX;
    struct point last = {0}, p;
    size_t nprobe = lists && rival->nprobe > 1 ? rival->nprobe / 2 : rival->nprobe;
    for (int step = 0; step < STEPS; step++) {
        const kith_status status = measure(s, rival, nprobe, &p);
        if (status != KITH_OK) return status;
        if (step == 0 && p.recall > HIGH && lists && nprobe > 1) {
            nprobe = (nprobe + 3) / 4;
            continue;
        }
        if (!last.nprobe || p.recall > last.recall) {
            if (last.nprobe) keep_between(s, rival, &last, &p);
            keep(s, rival, &p);
            last = p;
        }
        if (is_enough(&p) || is_dear(s, &p) || is_beaten(s, &p) || nprobe == most) break;
        s->over = ki_thread_ns() > s->end_ns;
        if (s->over) break;
        nprobe = ki_min_size(2 * nprobe, most);
    }
    return KITH_OK;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

/* Walks before lists: where they win, lists are soon seen to lose. Then those that are thought to cost least. */
static int compare_rivals(const void *a, const void *b) {
    const ki_choice *x = a, *y = b;
    if (x->plan != y->plan) return (x->plan < y->plan) - (x->plan > y->plan);
    if (x->query_ns < y->query_ns || x->query_ns > y->query_ns) return x->query_ns > y->query_ns ? 1 : -1;
    return (x->code > y->code) - (x->code < y->code);
}

/* Whether queries may seem thin. Then lists are measured without searching such exactly, too: that saves most where it
 * wins, and shows at once that others lose. */
static int follows_places(const ki_question *question) {
    return ki_thin_share(question) > THIN;
}

/* The choices that compete when a target is asked for, one a plan and code. */
static size_t find_rivals(const ki_question *question, double target, ki_choice rivals[RIVALS_MAX], size_t count) {
    ki_question asked = *question;
    ki_answer answer;
    asked.target = target;
    ki_plan(&asked, &answer);
    for (size_t i = 0; i < answer.considered_count; i++) {
        const ki_choice *c = &answer.considered[i];
        size_t at = 0;
        if (c->plan < KITH_PLAN_IVF) continue;
        while (at < count && (rivals[at].plan != c->plan || rivals[at].code != c->code)) at++;
        if (at == RIVALS_MAX) continue;
        if (at < count) {
            rivals[at].rerank = c->rerank > rivals[at].rerank ? c->rerank : rivals[at].rerank;
            continue;
        }
        rivals[count++] = *c;
    }
    return count;
}

static int take_memory(struct study *s) {
    ki_search_case *c = &s->search;
    s->kth = ki_alloc_array(s->count, sizeof(float));
    for (int t = 0; t < 2; t++) s->table[t].settings = ki_alloc_array(SETTINGS_MAX, sizeof(kith_tuned));
    c->ids = ki_alloc_array(s->count, s->k * sizeof(uint64_t));
    c->distances = ki_alloc_array(s->count, s->k * sizeof(float));
    return s->kth && s->table[0].settings && s->table[1].settings && c->ids && c->distances &&
           kith_scratch_create(s->job->index, NULL, &c->scratch, NULL) == KITH_OK;
}

static void give_memory(struct study *s) {
    kith_scratch_destroy(s->search.scratch);
    free(s->kth);
    free(s->table[0].settings);
    free(s->table[1].settings);
    free(s->search.ids);
    free(s->search.distances);
}

static kith_status run(struct study *s) {
    static const double targets[] = {0.8, 0.9, 0.95, 0.99};
    ki_choice rivals[RIVALS_MAX];
    size_t count = 0;
    if (!take_memory(s)) return KITH_E_NOMEM;
    for (int i = 0; i < 4; i++) count = find_rivals(s->question, targets[i], rivals, count);
    qsort(rivals, count, sizeof(*rivals), compare_rivals);
    kith_status status = find_truth(s);
    const struct point exact = {.recall = 1, .query_ns = {s->exact_ns[0], s->exact_ns[1], s->exact_ns[2]}};
    for (s->unguarded = 0; s->unguarded < 2; s->unguarded++) keep(s, &(ki_choice){.plan = KITH_PLAN_SCAN}, &exact);
    s->unguarded = follows_places(s->question);
    for (size_t i = 0; i < count && status == KITH_OK && s->unguarded && !s->over; i++)
        if (rivals[i].plan == KITH_PLAN_IVF) status = climb(s, &rivals[i]);
    s->unguarded = 0;
    for (size_t i = 0; i < count && status == KITH_OK && !s->over; i++) status = climb(s, &rivals[i]);
    return status;
}

/* Hand a table over. */
static ki_calibration calibration_of(const struct study *s, struct table *table) {
    ki_calibration made = *s->question->calibration;
    qsort(table->settings, table->count, sizeof(*table->settings), ki_tuned_compare);
    made.settings = table->settings;
    made.count = table->count;
    table->settings = NULL;
    return made;
}

static int publish(struct study *s) {
    const struct table *first = &s->table[0];
    ki_filter_notes *notes = s->job->filter->notes;
    ki_filter_study *study = ki_alloc_array_zeroed(1, sizeof(*study));
    if (!study) return 0;
    *study = (ki_filter_study){.k = s->k, .samples = s->count, .spent_ns = atomic_load(&notes->spent_ns)};
    study->name = XXH3_64bits(first->settings, first->count * sizeof(*first->settings));
    study->calibration = calibration_of(s, &s->table[0]);
    study->unguarded = calibration_of(s, &s->table[1]);
    ki_filter_notes_add(notes, study);
    return 1;
}

static void want(const ki_job *job, double target) {
    ki_filter_notes *notes = job->filter->notes;
    if (atomic_load(&notes->due) != KI_STUDY_NONE) return;
    notes->due_k = job->k;
    notes->due_target = target;
    atomic_store(&notes->due, KI_STUDY_WANTED);
}

static int make(const ki_job *job, const kith_search_options *options, const ki_question *question, size_t samples,
                double budget_ns) {
    const uint64_t start = ki_thread_ns();
    struct study s = {.job = job, .question = question, .k = job->k, .count = samples};
    s.end_ns = start + (uint64_t)(options->timeout_ns ? budget_ns : fmin(TOO_LONG * budget_ns, DEAREST_NS));
    s.batch[0] = 1;
    s.batch[1] = 16;
    s.batch[2] = samples;
    s.options = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    s.options.filter = job->filter;
    s.options.cancelled = options->cancelled;
    s.options.cancelled_context = options->cancelled_context;
    s.search = (ki_search_case){.index = job->index, .k = job->k, .options = &s.options};
    s.search.queries = (kith_queries)KITH_QUERIES_INIT;
    s.search.queries.dtype = KITH_F32;
    s.search.queries.dim = job->index->view.dim;
    /* Behind searches there is another time for what did not come to an end; before one, something is better than
     * nothing (decision 88). */
    const int behind = atomic_load(&job->filter->notes->due) == KI_STUDY_WAITS;
    const int made = run(&s) == KITH_OK && !(s.over && behind) && publish(&s);
    give_memory(&s);
    atomic_fetch_add(&job->filter->notes->studied_ns, ki_thread_ns() - start);
    return made;
}

/* ---- When -------------------------------------------------------------------------------------------------------- */

/* Processor time that a study may take by now. */
static double budget_of(const ki_job *job, const kith_search_options *options, const ki_answer *answer) {
    ki_filter_notes *notes = job->filter->notes;
    const double spent_ns = (double)atomic_load_explicit(&notes->spent_ns, memory_order_relaxed);
    const double studied_ns = (double)atomic_load_explicit(&notes->studied_ns, memory_order_relaxed);
    const double budget_ns = PART * (spent_ns + answer->chosen.query_ns * (double)job->queries->count) - studied_ns;
    return fmin(options->timeout_ns ? (double)options->timeout_ns / 4 : DEAREST_NS, fmin(budget_ns, DEAREST_NS));
}

static double exact_ns_of(const ki_answer *answer) {
    double exact_ns = answer->chosen.query_ns;
    for (size_t i = 0; i < answer->considered_count; i++)
        if (answer->considered[i].plan < KITH_PLAN_IVF) exact_ns = answer->considered[i].query_ns;
    return exact_ns;
}

/* What a sample costs in a study, about: some exact answers, which in batches cost less. */
static double sample_ns(const ki_answer *answer, size_t queries) {
    return (queries < KI_GATHER_BATCH ? 1.5 : 6) * exact_ns_of(answer) + BEGINNING_NS;
}

/* Whether this is a search that a study might serve: there are plans that might cost less than the exact one. */
static int is_subject(const ki_job *job, const ki_question *question, const ki_answer *answer) {
    static const double WALK_NS = 15000;
    const kith_filter *filter = job->filter;
    if (!filter || !filter->notes || !filter->allowed || !(answer->chosen.query_ns > 0)) return 0;
    if (question->must || question->code || !(question->target > 0 && question->target < 1)) return 0;
    if (!question->plans || question->plans & ~PLANS || !(question->row_bytes > 0)) return 0;
    if (!job->index->calibration.count || job->index->view.dtype == KITH_B1) return 0;
    return job->allowed < question->rows && exact_ns_of(answer) > fmin(WALK_NS, ki_begin_ns(question->lists, SIZE_MAX));
}

int ki_study_make(const ki_job *job, const kith_search_options *options, const ki_question *question,
                  const ki_answer *answer) {
    if (!is_subject(job, question, answer)) return 0;
    ki_filter_notes *notes = job->filter->notes;
    const ki_filter_study *before = ki_filter_notes_find(notes, job->k);
    const double budget_ns = budget_of(job, options, answer);
    const double fit = fmin(budget_ns / sample_ns(answer, question->count), SAMPLES_MOST);
    const size_t least = follows_places(question) ? SAMPLES_MANY : SAMPLES_LEAST;
    if (fit < (double)least / 2) return 0;
    if (atomic_flag_test_and_set(&notes->busy)) return 0;
    keep_queries(job);
    const size_t samples = ki_min_size((size_t)fit, ki_min_size(notes->asked_count, notes->asked_room));
    int made = 0;
    const uint64_t spent_ns = atomic_load_explicit(&notes->spent_ns, memory_order_relaxed);
    const int worth = samples >= least && (!before || spent_ns / REFINE >= before->spent_ns);
    if (worth && job->filter->later)
        want(job, question->target);
    else if (worth)
        made = make(job, options, question, samples, budget_ns);
    atomic_flag_clear(&notes->busy);
    return made;
}

const ki_answer *ki_study_answer(const ki_job *job, const ki_question *question, ki_ask_fn *ask) {
    ki_filter_notes *notes = job->filter ? job->filter->notes : NULL;
    const int fits = notes && !question->must && !question->code;
    const ki_filter_study *study = fits ? ki_filter_notes_find(notes, question->k) : NULL;
    if (!study) return ask(job->scratch, question);
    ki_question studied; /* padding is compared */
    memcpy(&studied, question, sizeof(studied));
    studied.calibration = &study->calibration;
    studied.studied = 1;
    studied.study = study->name;
    const ki_answer *guarded = ask(job->scratch, &studied);
    if (!study->unguarded.count) return guarded;
    studied.calibration = &study->unguarded;
    studied.unguarded = 1;
    const ki_answer *unguarded = ask(job->scratch, &studied);
    const ki_choice *choice = &unguarded->chosen;
    return choice->plan == KITH_PLAN_IVF && choice->query_ns < guarded->chosen.query_ns ? unguarded : guarded;
}

void ki_study_count(const ki_job *job, uint64_t ns) {
    if (job->filter && job->filter->notes && job->answer.chosen.query_ns > 0)
        atomic_fetch_add_explicit(&job->filter->notes->spent_ns, ns, memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Finishing: the best candidates of a query, whichever worker found them, are scored by the defining kernel. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/clock.h"

/* The rerank best by (score, position); how many. */
static size_t gather(const ki_ivf *ivf, ki_ivf_worker *w, size_t query, ki_hit *picked) {
    const size_t at = query * ivf->capacity;
    float least = atomic_load_explicit(&ivf->tau[query], memory_order_relaxed);
    size_t count = 0;
    if (ivf->workers == 1 && w->candidates[query] > ivf->rerank)
        least = ivf->pick->nth(w->score + at, w->candidates[query], ivf->rerank, w->work);
    for (unsigned i = 0; i < ivf->workers; i++) {
        const ki_ivf_worker *from = &ivf->worker[i];
        for (size_t c = 0; c < from->candidates[query]; c++) {
            const uint32_t position = from->position[at + c];
            picked[count] = (ki_hit){-from->score[at + c], position, position};
            count += from->score[at + c] >= least;
        }
    }
    if (count > ivf->rerank) {
        ki_hits_select(picked, count, ivf->rerank);
        count = ivf->rerank;
    }
    return count;
}

enum {
    AHEAD = 8 /* vectors: text embeddings (384 f32): 100 ns each with 4 to 32, 230 ns with all of a query at once */
};

/* Ask for the vector of a place among the candidates of this query and, after them, of the next one. */
static void fetch(const ki_ivf *ivf, const ki_ivf_worker *w, size_t count, size_t place) {
    const int here = place < count;
    if (!here && (w->ahead_query == SIZE_MAX || place - count >= w->ahead_count)) return;
    const uint32_t position = here ? w->picked[place].position : w->ahead[place - count].position;
    ki_query_prefetch(ivf->view, position);
    __builtin_prefetch(ivf->view->labels + position);
}

/* The first AHEAD vectors have been asked for. */
static void score_exactly(const ki_ivf *ivf, ki_ivf_worker *w, size_t query, size_t count) {
    const ki_view *view = ivf->view;
    const float *q = ki_ivf_query(ivf, query), norm2 = ivf->norm2[query];
    for (size_t i = 0; i < count; i += 4) {
        uint32_t position[4];
        float distance[4];
        for (size_t j = 0; j < 4; j++) position[j] = w->picked[ki_min_size(i + j, count - 1)].position;
        for (size_t j = i; j < ki_min_size(i + 4, count); j++) fetch(ivf, w, count, j + AHEAD);
        ki_query_distances4(view, q, norm2, position, distance);
        for (size_t j = 0; j < 4 && i + j < count; j++) w->picked[i + j].distance = distance[j];
    }
}

/* Leave hits out whose distance is no number, which a damaged file's vectors may give; how many stay. */
static size_t keep_numbers(ki_hit *hits, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        hits[kept] = hits[i];
        kept += hits[i].distance == hits[i].distance;
    }
    return kept;
}

const ki_hit *ki_ivf_finish(ki_ivf *ivf, unsigned worker, size_t query, size_t next, size_t *count, ki_counts *counts) {
    ki_ivf_worker *w = &ivf->worker[worker];
    const ki_view *view = ivf->view;
    const uint64_t start = ki_now_ns();
    size_t found = w->ahead_count;
    if (w->ahead_query == query) {
        ki_hit *const ahead = w->ahead;
        w->ahead = w->picked;
        w->picked = ahead;
    } else {
        found = gather(ivf, w, query, w->picked);
        w->ahead_query = SIZE_MAX;
        for (size_t i = 0; i < AHEAD && view->originals; i++) fetch(ivf, w, found, i);
    }
    w->ahead_query = next;
    if (next != SIZE_MAX) w->ahead_count = gather(ivf, w, next, w->ahead);
    /* A short query asked for too few of this one's. */
    for (size_t i = found; i < AHEAD && view->originals; i++) fetch(ivf, w, found, i);
    counts->candidates += found;
    if (view->originals) {
        score_exactly(ivf, w, query, found);
        counts->reranked += found;
    } else {
        for (size_t i = 0; i < found; i++)
            w->picked[i].distance = ki_distance_of_score(view->metric, ivf->code[query].base - w->picked[i].distance);
    }
    const size_t kept = keep_numbers(w->picked, found), k = ki_min_size(kept, ivf->search->k);
    for (size_t i = 0; i < kept; i++) w->picked[i].label = view->labels[w->picked[i].position];
    ki_hits_select(w->picked, kept, k);
    ki_hits_sort(w->picked, k);
    counts->stage_ns[KITH_STAGE_RERANK] += ki_now_ns() - start;
    *count = k;
    return w->picked;
}

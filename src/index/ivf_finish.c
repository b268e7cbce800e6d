/* SPDX-License-Identifier: Apache-2.0
 *
 * Finishing: the best candidates of a query, whichever worker found them, are scored by the defining kernel. */
#include "index/ivf_state.h"

#include "base/checked.h"
#include "base/clock.h"

/* The rerank best by (score, position), into w->picked; how many. */
static size_t gather(const ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const float least = atomic_load_explicit(&ivf->tau[query], memory_order_relaxed);
    size_t count = 0;
    for (unsigned i = 0; i < ivf->workers; i++) {
        const ki_candidate *candidate = ivf->worker[i].candidate + query * ivf->capacity;
        for (size_t c = 0; c < ivf->worker[i].candidates[query]; c++)
            if (candidate[c].score >= least)
                w->picked[count++] = (ki_hit){-candidate[c].score, candidate[c].position, candidate[c].position};
    }
    if (count <= ivf->rerank) return count;
    ki_hits_select(w->picked, count, ivf->rerank);
    return ivf->rerank;
}

static void score_exactly(const ki_ivf *ivf, ki_ivf_worker *w, size_t query, size_t count) {
    const ki_flat *flat = ivf->flat;
    const float *q = ki_ivf_query(ivf, query), inverse = ivf->inverse[query];
    for (size_t i = 0; i < count; i++) ki_query_prefetch(flat, w->picked[i].position);
    for (size_t i = 0; i < count; i += 4) {
        uint32_t position[4];
        float distance[4];
        for (size_t j = 0; j < 4; j++) position[j] = w->picked[ki_min_size(i + j, count - 1)].position;
        ki_query_distances4(flat, q, inverse, position, distance);
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

const ki_hit *ki_ivf_finish(ki_ivf *ivf, unsigned worker, size_t query, size_t *count, ki_flat_counts *counts) {
    ki_ivf_worker *w = &ivf->worker[worker];
    const ki_flat *flat = ivf->flat;
    const uint64_t start = ki_now_ns();
    const size_t found = gather(ivf, w, query);
    counts->candidates += found;
    if (flat->originals) {
        score_exactly(ivf, w, query, found);
        counts->reranked += found;
    } else {
        for (size_t i = 0; i < found; i++)
            w->picked[i].distance = ki_distance_of_score(flat->metric, ivf->code[query].base - w->picked[i].distance);
    }
    const size_t kept = keep_numbers(w->picked, found), k = ki_min_size(kept, ivf->search->k);
    for (size_t i = 0; i < kept; i++) w->picked[i].label = flat->labels[w->picked[i].position];
    ki_hits_select(w->picked, kept, k);
    ki_hits_sort(w->picked, k);
    counts->stage_ns[KITH_STAGE_RERANK] += ki_now_ns() - start;
    *count = k;
    return w->picked;
}

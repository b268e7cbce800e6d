/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory and grouping of the ivf plan. */
#include "index/ivf_state.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

ki_ivf *ki_ivf_create(unsigned workers) {
    ki_ivf *ivf = ki_alloc_array_zeroed(1, sizeof(*ivf));
    if (!ivf) return NULL;
    ivf->workers = workers;
    ivf->worker = ki_alloc_array_zeroed(workers, sizeof(*ivf->worker));
    if (ivf->worker) return ivf;
    free(ivf);
    return NULL;
}

void ki_ivf_destroy(ki_ivf *ivf) {
    if (!ivf) return;
    for (unsigned i = 0; i < ivf->workers; i++) {
        ki_ivf_worker *w = &ivf->worker[i];
        ki_buffer *const all[] = {&w->query_buffer, &w->hit_buffer,    &w->coarse_buffer,
                                  &w->pick_buffer,  &w->packed_buffer, &w->second_buffer};
        for (size_t b = 0; b < sizeof(all) / sizeof(*all); b++) free(all[b]->data);
    }
    free(ivf->worker);
    free(ivf->query_buffer.data);
    free(ivf->code_buffer.data);
    free(ivf->second_buffer.data);
    free(ivf->probe_buffer.data);
    free(ivf->pair_buffer.data);
    free(ivf);
}

/* Room for candidates of a query: twice what a threshold from lane maxima lets through on average. */
static size_t capacity_for(size_t rerank) {
    return 64 + 2 * rerank;
}

/* Lane maxima pay up to two dozen candidates: beyond that their selection costs more than it saves. A third more lanes
 * than candidates are enough: the threshold's rank is then about twice the wanted one. */
static size_t groups_for(size_t rerank) {
    enum { ONE = 12, TWO = 24 };
    return rerank <= ONE ? 1 : rerank <= TWO ? 2 : 0;
}

/* Most probes of a query. */
static size_t probes_of(const ki_ivf_search *search) {
    const size_t most = search->careful.nprobe > search->nprobe ? search->careful.nprobe : search->nprobe;
    return ki_min_size(most, search->flat->lists.count);
}

size_t ki_ivf_round(const ki_ivf *ivf, const ki_ivf_search *search) {
    enum { BYTES = 64 << 20 };
    const ki_flat *flat = search->flat;
    const size_t shared = 4 * flat->full.quads + sizeof(ki_query_code) + 16 +
                          probes_of(search) * (sizeof(ki_probe) + sizeof(ki_pair)) +
                          (search->second ? flat->second.query_bytes : 0);
    const size_t own = groups_for(search->rerank) * KI_BLOCK * sizeof(float) +
                       capacity_for(search->rerank) * sizeof(ki_candidate) + sizeof(uint32_t);
    const size_t fit = BYTES / (shared + own * ivf->workers);
    return fit < 1 ? 1 : fit > KI_IVF_ROUND_MAX ? KI_IVF_ROUND_MAX : fit;
}

static int take_worker(const ki_ivf *ivf, ki_ivf_worker *w) {
    const size_t n = ivf->count, lanes = ivf->groups * KI_BLOCK;
    const size_t coarse = ivf->flat->lists.coarse.blocks * KI_BLOCK, width = ivf->tile->width;
    const size_t gathered = ivf->capacity * ivf->workers;
    /* Choosing many lists selects among maxima as many as centroids, in a copy of them. */
    const size_t room = (2 * coarse > gathered ? 2 * coarse : gathered) + lanes;
    float *own = ki_buffer_take(&w->query_buffer, n + KI_BLOCK,
                                (lanes + 1) * sizeof(float) + ivf->capacity * sizeof(ki_candidate));
    float *hits = ki_buffer_take(&w->hit_buffer, KI_IVF_HITS, sizeof(ki_tile_hit) + KI_BLOCK * sizeof(float));
    w->coarse = ki_buffer_take(&w->coarse_buffer, coarse * width + 3 * ivf->flat->dim, sizeof(float));
    ki_hit *picked = ki_buffer_take(&w->pick_buffer, room, sizeof(ki_hit) + sizeof(uint32_t) + sizeof(float));
    const size_t packed = ivf->tile->packed_bytes(ivf->flat->full.quads, (unsigned)width);
    w->packed = ki_buffer_take(&w->packed_buffer, packed, 1);
    w->second_work = ki_buffer_take(&w->second_buffer, ivf->search->second ? ivf->flat->second.work_bytes + 64 : 64, 1);
    if (!own || !hits || !w->coarse || !picked || !w->packed || !w->second_work) return 0;
    w->maxima = own;
    w->candidates = (uint32_t *)(void *)(own + n * lanes + KI_BLOCK);
    w->candidate = (ki_candidate *)(void *)(w->candidates + n);
    w->scores = (float(*)[KI_BLOCK])(void *)hits;
    w->hits = (ki_tile_hit *)(void *)(hits + KI_IVF_HITS * KI_BLOCK);
    w->rows = w->coarse + coarse * width;
    w->spare = w->rows + ivf->flat->dim;
    w->picked = picked;
    w->index = (uint32_t *)(void *)(picked + room);
    w->work = (float *)(void *)(w->index + room);
    w->second_work = (void *)ki_round_up((uintptr_t)w->second_work, 64);
    for (size_t i = 0; i < n * lanes + KI_BLOCK; i++) w->maxima[i] = -INFINITY;
    memset(w->candidates, 0, n * sizeof(*w->candidates));
    return 1;
}

kith_status ki_ivf_begin(ki_ivf *ivf, const ki_ivf_search *search, const float *queries, size_t stride, size_t count) {
    const ki_flat *flat = search->flat;
    ivf->search = search;
    ivf->flat = flat;
    ivf->tile = ki_tile();
    ivf->pick = ki_pick();
    ivf->queries = queries;
    ivf->stride = stride;
    ivf->count = count;
    ivf->nprobe = ki_min_size(search->nprobe, flat->lists.count);
    ivf->probe_stride = probes_of(search);
    ivf->rerank = search->rerank;
    ivf->groups = groups_for(ivf->rerank);
    ivf->capacity = capacity_for(ivf->rerank);
    char *per_query = ki_buffer_take(&ivf->query_buffer, count, sizeof(ki_query_code) + 4 * sizeof(float));
    ivf->bytes = ki_buffer_take(&ivf->code_buffer, count, 4 * flat->full.quads);
    uint8_t *second =
        ki_buffer_take(&ivf->second_buffer, count * (search->second ? flat->second.query_bytes : 0) + 64, 1);
    ivf->probe = ki_buffer_take(&ivf->probe_buffer, (uint64_t)count * ivf->probe_stride, sizeof(ki_probe));
    uint32_t *pairs = ki_buffer_take(
        &ivf->pair_buffer, 1, (flat->lists.count + 2) * sizeof(uint32_t) + count * ivf->probe_stride * sizeof(ki_pair));
    if (!per_query || !ivf->bytes || !second || !ivf->probe || !pairs) return KITH_E_NOMEM;
    ivf->code = (ki_query_code *)(void *)per_query;
    ivf->inverse = (float *)(void *)(ivf->code + count);
    ivf->statistic = ivf->inverse + count;
    ivf->probes = (uint32_t *)(void *)(ivf->statistic + count);
    ivf->tau = (_Atomic float *)(void *)(ivf->probes + count);
    ivf->second = (uint8_t *)ki_round_up((uintptr_t)second, 64);
    ivf->pair = (ki_pair *)(void *)pairs;
    ivf->pair_first = pairs + 2 * count * ivf->probe_stride;
    for (size_t i = 0; i < count; i++) atomic_init(&ivf->tau[i], -INFINITY);
    for (unsigned i = 0; i < ivf->workers; i++)
        if (!take_worker(ivf, &ivf->worker[i])) return KITH_E_NOMEM;
    return KITH_OK;
}

void ki_ivf_group(ki_ivf *ivf) {
    const size_t lists = ivf->flat->lists.count;
    uint32_t *first = ivf->pair_first; /* the counts are two places on, so that filling leaves the starts behind */
    memset(first, 0, (lists + 2) * sizeof(*first));
    for (size_t query = 0; query < ivf->count; query++)
        for (size_t i = 0; i < ivf->probes[query]; i++) first[ivf->probe[query * ivf->probe_stride + i].list + 2]++;
    for (size_t l = 0; l < lists; l++) first[l + 2] += first[l + 1];
    for (size_t query = 0; query < ivf->count; query++)
        for (size_t i = 0; i < ivf->probes[query]; i++) {
            const ki_probe *probe = &ivf->probe[query * ivf->probe_stride + i];
            ivf->pair[first[probe->list + 1]++] = (ki_pair){(uint32_t)query, probe->base};
        }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory and grouping of the ivf plan. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/counting_sort.h"
#include "quant/int8.h"

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
        ki_area *const all[] = {&w->query_buffer,  &w->hit_buffer,    &w->coarse_buffer, &w->pick_buffer,
                                &w->packed_buffer, &w->second_buffer, &w->visit_buffer};
        for (size_t b = 0; b < sizeof(all) / sizeof(*all); b++) free(all[b]->data);
    }
    free(ivf->worker);
    ki_ivf_device_destroy(ivf->device);
    free(ivf->query_buffer.data);
    free(ivf->code_buffer.data);
    free(ivf->first_buffer.data);
    free(ivf->second_buffer.data);
    free(ivf->probed_buffer.data);
    free(ivf->basis.memory);
    free(ivf->supers.memory);
    free(ivf->probe_buffer.data);
    free(ivf->pair_buffer.data);
    free(ivf);
}

/* Room for candidates of a query. The more room, the fewer selections, but the longer a threshold stays behind. */
static size_t capacity_for(size_t rerank) {
    enum { LEAST = 64, SLACK = 2 * KI_BLOCK }; /* SLACK: what ki_pick_kernels.collect overwrites, and a block's worth */
    return (size_t)ki_round_up(rerank + (rerank > LEAST ? rerank : LEAST) + SLACK, KI_BLOCK);
}

/* Most probes of a query. */
static size_t probes_of(const ki_ivf_search *search) {
    const size_t most = search->careful.nprobe > search->nprobe ? search->careful.nprobe : search->nprobe;
    return ki_min_size(most, search->view->lists.count);
}

static const ki_second_lists *second_lists_of(const ki_ivf_search *search) {
    const kith_scan_code theirs = ki_second_lists_code(search->view);
    if (search->first_lists_only || theirs == KITH_SCAN_AUTO) return NULL;
    return search->code == theirs || search->code == KITH_SCAN_ROWS ? &search->view->second_lists : NULL;
}

static size_t probed_words(const ki_ivf_search *search) {
    return second_lists_of(search) ? (search->view->lists.count + 63) / 64 : 0;
}

/* What is scanned, but for the second code. */
static const ki_level *level_of(const ki_ivf_search *search) {
    return search->code == KITH_SCAN_FIRST ? &search->view->level1 : &search->view->full;
}

/* A round reads the codes of most lists, from memory if they are large: the more there are of them, the more queries
 * are to share them. Ten million vectors of 96 dimensions: 58,000 queries a second with 8 MiB, 82,000 with 32, 94,000
 * with 128; a hundred thousand vectors: the same from 8 on. */
static size_t round_bytes(const ki_ivf_search *search) {
    enum { LEAST = 32 << 20, MOST = 128 << 20, PART = 8 };
    const ki_level *level = level_of(search);
    const uint64_t part = (uint64_t)level->blocks * level->quads * KI_QUAD_BYTES / PART;
    return part < LEAST ? LEAST : part > MOST ? MOST : (size_t)part;
}

size_t ki_ivf_round(const ki_ivf *ivf, const ki_ivf_search *search) {
    const ki_view *view = search->view;
    const size_t shared = 4 * (view->full.quads + view->level1.quads) + sizeof(ki_query_code) + 32 +
                          probes_of(search) * (sizeof(ki_probe) + sizeof(ki_pair)) +
                          probed_words(search) * sizeof(uint64_t) +
                          (search->code == KITH_SCAN_SECOND ? view->second.query_bytes : 0);
    const size_t own = capacity_for(search->rerank) * (sizeof(float) + sizeof(uint32_t)) + sizeof(uint32_t);
    const size_t fit =
        (search->round_bytes ? search->round_bytes : round_bytes(search)) / (shared + own * ivf->workers);
    return fit < 1 ? 1 : fit > UINT32_MAX ? UINT32_MAX : fit;
}

/* What choosing works in: scores of a panel of queries with a whole level, and the rows and visits of a step. */
static int take_chooser(const ki_ivf *ivf, ki_ivf_worker *w) {
    const size_t dim = ivf->view->dim, basis = ivf->basis.level.blocks, visits = ivf->step * ivf->visits;
    const size_t coarse = ivf->visits ? ivf->supers.level.blocks : ivf->view->lists.coarse.blocks;
    const size_t panel = (coarse > basis ? coarse : basis) * ivf->tile->width, rows = ivf->row_blocks * ivf->step;
    const size_t supers = ivf->visits ? ivf->view->lists.supers : 0;
    w->coarse = ki_area_take(&w->coarse_buffer, (panel + rows) * KI_BLOCK + 3 * dim, sizeof(float));
    ki_visit *own = ki_area_take(&w->visit_buffer, 1,
                                 2 * visits * sizeof(ki_visit) + (2 * ivf->step + supers + 2) * sizeof(uint32_t));
    if (!w->coarse || !own) return 0;
    w->row = w->coarse + panel * KI_BLOCK;
    w->rows = w->row + rows * KI_BLOCK;
    w->spare = w->rows + dim;
    w->visit = own;
    w->visitor = own + visits;
    w->visits = (uint32_t *)(void *)(own + 2 * visits);
    w->row_length = w->visits + ivf->step;
    w->visitor_first = w->row_length + ivf->step;
    return 1;
}

static int take_worker(const ki_ivf *ivf, ki_ivf_worker *w) {
    const size_t n = ivf->count, width = ivf->tile->width;
    const size_t level = ivf->visits ? ivf->supers.level.blocks : ivf->view->lists.coarse.blocks;
    const size_t coarse = (level > ivf->row_blocks ? level : ivf->row_blocks) * KI_BLOCK;
    const size_t gathered = ivf->capacity * ivf->workers;
    /* Choosing many lists selects among maxima as many as centroids, in a copy of them, and then among those picked. */
    const size_t room = (2 * coarse > gathered ? 2 * coarse : gathered) + 2 * KI_BLOCK;
    float *own = ki_area_take(&w->query_buffer, n, sizeof(uint32_t) * (2 * ivf->capacity + 1));
    float *hits = ki_area_take(&w->hit_buffer, KI_IVF_HITS, sizeof(ki_tile_hit) + KI_BLOCK * sizeof(float));
    ki_hit *picked = ki_area_take(&w->pick_buffer, room, 2 * sizeof(ki_hit) + sizeof(uint32_t) + sizeof(float));
    const size_t packed = ivf->tile->packed_bytes(ivf->view->full.quads, (unsigned)width);
    const size_t packed_first = ivf->tile->packed_bytes(ivf->view->level1.quads, (unsigned)width);
    w->packed = ki_area_take(&w->packed_buffer, packed > packed_first ? packed : packed_first, 1);
    const int second = ivf->search->code == KITH_SCAN_SECOND;
    w->second_work = ki_area_take(&w->second_buffer, second ? ivf->view->second.work_bytes + 64 : 64, 1);
    if (!own || !hits || !picked || !w->packed || !w->second_work || !take_chooser(ivf, w)) return 0;
    w->score = own;
    w->position = (uint32_t *)(void *)(own + n * ivf->capacity);
    w->candidates = w->position + n * ivf->capacity;
    w->scores = (float(*)[KI_BLOCK])(void *)hits;
    w->hits = (ki_tile_hit *)(void *)(hits + KI_IVF_HITS * KI_BLOCK);
    w->picked = picked;
    w->ahead = picked + room;
    w->ahead_query = SIZE_MAX;
    w->index = (uint32_t *)(void *)(picked + 2 * room);
    w->work = (float *)(void *)(w->index + room);
    w->second_work = (void *)ki_round_up((uintptr_t)w->second_work, 64);
    memset(w->candidates, 0, n * sizeof(*w->candidates));
    return 1;
}

/* Memory of the queries' codes for what is scanned. */
static int take_scan_codes(ki_ivf *ivf) {
    const size_t bytes = ivf->search->code == KITH_SCAN_FIRST ? 4 * ivf->view->level1.quads : 0;
    uint8_t *first = ki_area_take(&ivf->first_buffer, ivf->count, sizeof(float) + sizeof(int32_t) + bytes);
    if (!first) return 0;
    ivf->scan_scale = (float *)(void *)first;
    ivf->scan_start = (int32_t *)(void *)(ivf->scan_scale + ivf->count);
    ivf->scan_bytes = bytes ? (int8_t *)(ivf->scan_start + ivf->count) : ivf->bytes;
    return 1;
}

enum {
    BY_SUPERS_LEAST = 3000, /* lists: fewer are scored sooner than supers are chosen and visited */
    VISIT_PART = 8,         /* one super in so many is visited */
    VISITS_LEAST = 16,
    STEP = 144, /* queries that choose together, of which those that visit a super fill a panel */
    ONE_LEVEL_STEP = 48
};

/* Lists are chosen by supers where scoring all centroids would take about as long as scanning what is chosen: the
 * more lists a query probes, the less there is to gain, and the more of them would be missed. */
static int by_supers(const ki_ivf *ivf) {
    const ki_lists *lists = &ivf->view->lists;
    const uint64_t scanned = ivf->nprobe * (ivf->view->rows / lists->count) * (ivf->second_lists ? 2 : 1);
    return lists->supers && lists->count >= BY_SUPERS_LEAST && scanned <= 2 * lists->count &&
           2 * VISIT_PART * ivf->probe_stride <= lists->count;
}

static int take_supers(ki_ivf *ivf) {
    const size_t supers = ivf->view->lists.supers, part = (supers + VISIT_PART - 1) / VISIT_PART;
    const size_t visits = ki_min_size(part < VISITS_LEAST ? VISITS_LEAST : part, supers);
    const int two = by_supers(ivf);
    if (two && !ki_ivf_make_supers(ivf->view, visits, &ivf->supers)) return 0;
    ivf->visits = two ? visits : 0;
    ivf->row_blocks = two ? ivf->supers.row_blocks : 0;
    ivf->step = ki_min_size(two ? STEP : ONE_LEVEL_STEP, (ivf->count + ivf->workers - 1) / ivf->workers);
    return 1;
}

static int take_probed(ki_ivf *ivf) {
    ivf->second_lists = second_lists_of(ivf->search);
    ivf->words = probed_words(ivf->search);
    if (!ivf->second_lists) return 1;
    ivf->probed = ki_area_take(&ivf->probed_buffer, (uint64_t)ivf->count * ivf->words, sizeof(uint64_t));
    if (ivf->probed) memset(ivf->probed, 0, ivf->count * ivf->words * sizeof(uint64_t));
    return ivf->probed != NULL;
}

/* So long that a strip's codes stay in the L2 cache while panels of queries meet them. */
static size_t strip_blocks(const ki_view *view) {
    enum { STRIP_BYTES = 192 << 10 };
    if (view->lists.count > 1) return 0;
    return STRIP_BYTES / (view->second.block_bytes + KI_FACTORS * sizeof(float)) + 1;
}

kith_status ki_ivf_begin(ki_ivf *ivf, const ki_ivf_search *search, const float *queries, size_t stride, size_t count) {
    const ki_view *view = search->view;
    const int second_code = search->code == KITH_SCAN_SECOND;
    ivf->search = search;
    ivf->scanned = 0;
    ivf->view = view;
    ivf->level = level_of(search);
    ivf->strip_blocks = strip_blocks(view);
    ivf->coarse_first = search->code == KITH_SCAN_FIRST && view->lists.coarse_first.blocks != 0;
    ivf->tile = ki_tile();
    ivf->pick = ki_pick();
    ivf->queries = queries;
    ivf->stride = stride;
    ivf->count = count;
    ivf->nprobe = ki_min_size(search->nprobe, view->lists.count);
    ivf->probe_stride = probes_of(search);
    ivf->rerank = search->rerank;
    ivf->capacity = capacity_for(ivf->rerank);
    if (search->code == KITH_SCAN_FIRST && !ki_ivf_make_basis(view, &ivf->basis)) return KITH_E_NOMEM;
    char *per_query = ki_area_take(&ivf->query_buffer, count, sizeof(ki_query_code) + 6 * sizeof(float));
    ivf->bytes = ki_area_take(&ivf->code_buffer, count, 4 * view->full.quads);
    uint8_t *second = ki_area_take(&ivf->second_buffer, count * (second_code ? view->second.query_bytes : 0) + 64, 1);
    ivf->probe = ki_area_take(&ivf->probe_buffer, (uint64_t)count * ivf->probe_stride, sizeof(ki_probe));
    uint32_t *pairs = ki_area_take(
        &ivf->pair_buffer, 1, (view->lists.count + 2) * sizeof(uint32_t) + count * ivf->probe_stride * sizeof(ki_pair));
    if (!per_query || !ivf->bytes || !second || !ivf->probe || !pairs) return KITH_E_NOMEM;
    if (!take_scan_codes(ivf) || !take_probed(ivf) || !take_supers(ivf)) return KITH_E_NOMEM;
    ivf->code = (ki_query_code *)(void *)per_query;
    ivf->inverse = (float *)(void *)(ivf->code + count);
    ivf->norm2 = ivf->inverse + count;
    ivf->statistic = ivf->norm2 + count;
    ivf->probes = (uint32_t *)(void *)(ivf->statistic + count);
    ivf->thin = ivf->probes + count;
    ivf->tau = (_Atomic float *)(void *)(ivf->thin + count);
    ivf->second = (uint8_t *)ki_round_up((uintptr_t)second, 64);
    ivf->pair = (ki_pair *)(void *)pairs;
    ivf->pair_first = pairs + 2 * count * ivf->probe_stride;
    for (size_t i = 0; i < count; i++) atomic_init(&ivf->tau[i], -INFINITY);
    for (unsigned i = 0; i < ivf->workers; i++)
        if (!take_worker(ivf, &ivf->worker[i])) return KITH_E_NOMEM;
    return KITH_OK;
}

size_t ki_ivf_lists(const ki_ivf *ivf) {
    if (!ivf->strip_blocks) return ivf->view->lists.count;
    return (ivf->view->blocks + ivf->strip_blocks - 1) / ivf->strip_blocks;
}

size_t ki_ivf_step(const ki_ivf *ivf) {
    return ivf->step;
}

void ki_ivf_group(ki_ivf *ivf) {
    const size_t lists = ivf->view->lists.count;
    uint32_t *first = ivf->pair_first;
    ki_sort_begin(first, lists);
    for (size_t query = 0; query < ivf->count; query++)
        for (size_t i = 0; i < ivf->probes[query]; i++)
            ki_sort_count(first, ivf->probe[query * ivf->probe_stride + i].list);
    ki_sort_starts(first, lists);
    for (size_t query = 0; query < ivf->count; query++)
        for (size_t i = 0; i < ivf->probes[query]; i++) {
            const ki_probe *probe = &ivf->probe[query * ivf->probe_stride + i];
            ivf->pair[ki_sort_place(first, probe->list)] = (ki_pair){(uint32_t)query, probe->base};
        }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of graphs and searchers, and the graces after which a number may be used again: two counters of readers, as
 * sleepable read-copy-update has them [McKenney 2006]. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "hnsw/state.h"

#include <math.h>
#include <sched.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 18, BLOCKS_SHIFT = 8 };

/* ---- Chunks ------------------------------------------------------------------------------------------------------ */

static int chunks_create(ki_hnsw_chunks *chunks, uint64_t count, size_t each_bytes, int one_piece, unsigned shift) {
    chunks->each_bytes = each_bytes;
    chunks->shift = one_piece ? 32 : shift;
    chunks->chunk_count = one_piece ? (size_t)count : (size_t)1 << shift;
    chunks->chunks = one_piece ? 1 : (size_t)(count >> shift) + 1;
    chunks->chunk = ki_alloc_array(chunks->chunks, sizeof(*chunks->chunk));
    for (size_t i = 0; chunks->chunk && i < chunks->chunks; i++) atomic_init(&chunks->chunk[i], NULL);
    return chunks->chunk != NULL;
}

static void chunks_destroy(ki_hnsw_chunks *chunks) {
    for (size_t i = 0; chunks->chunk && i < chunks->chunks; i++) free(atomic_load(&chunks->chunk[i]));
    free(chunks->chunk);
}

static int chunks_reserve(ki_hnsw *h, ki_hnsw_chunks *chunks, uint64_t i) {
    _Atomic(uint8_t *) *chunk = &chunks->chunk[i >> chunks->shift];
    if (atomic_load_explicit(chunk, memory_order_acquire)) return 1;
    pthread_mutex_lock(&h->allocating);
    uint8_t *made = atomic_load(chunk);
    if (!made) {
        made = ki_alloc_array_zeroed(chunks->chunk_count, chunks->each_bytes);
        if (made) atomic_fetch_add(&h->bytes, (uint64_t)chunks->chunk_count * chunks->each_bytes);
        atomic_store_explicit(chunk, made, memory_order_release);
    }
    pthread_mutex_unlock(&h->allocating);
    return made != NULL;
}

int ki_hnsw_reserve_row(ki_hnsw *h, uint32_t number) {
    return chunks_reserve(h, &h->net.rows, number) && chunks_reserve(h, &h->sides, number);
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

uint32_t ki_hnsw_level(const ki_hnsw_options *options, uint32_t number) {
    ki_rng rng = {options->seed + UINT64_C(0x9E3779B97F4A7C15) * ((uint64_t)number + 1)};
    const double level = -log(1 - ki_rng_unit(&rng)) / log((double)options->m);
    return level < KI_HNSW_LEVEL_MAX ? (uint32_t)level : KI_HNSW_LEVEL_MAX;
}

/* What levels need of blocks, all together. */
static uint64_t count_blocks(const ki_hnsw_options *options) {
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < options->capacity; i++) blocks += ki_hnsw_level(options, i);
    return blocks;
}

/* The blocks of a run lie in one chunk. */
static int new_blocks(ki_hnsw *h, uint32_t level, uint32_t *first) {
    const uint64_t each = h->net.blocks.chunk_count, in_chunk = h->blocks_used % each;
    uint64_t at = h->blocks_used;
    if (in_chunk + level > each) at += each - in_chunk;
    if (at + level > (uint64_t)h->net.blocks.chunks * each) return 0;
    _Atomic(uint8_t *) *chunk = &h->net.blocks.chunk[at >> h->net.blocks.shift];
    if (!atomic_load(chunk)) {
        uint8_t *made = ki_alloc_array_zeroed(each, h->net.blocks.each_bytes);
        if (!made) return 0;
        atomic_fetch_add(&h->bytes, each * h->net.blocks.each_bytes);
        atomic_store_explicit(chunk, made, memory_order_release);
    }
    *first = (uint32_t)at;
    h->blocks_used = (uint32_t)(at + level);
    return 1;
}

int ki_hnsw_take_blocks(ki_hnsw *h, uint32_t level, uint32_t *first) {
    int taken = 1;
    pthread_mutex_lock(&h->allocating);
    if (h->free_run[level] != KI_HNSW_NONE) {
        *first = h->free_run[level];
        h->free_run[level] = ki_hnsw_load(ki_hnsw_at(&h->net.blocks, *first) + sizeof(uint32_t));
    } else {
        taken = new_blocks(h, level, first);
    }
    pthread_mutex_unlock(&h->allocating);
    return taken;
}

void ki_hnsw_give_blocks(ki_hnsw *h, uint32_t level, uint32_t first) {
    pthread_mutex_lock(&h->allocating);
    for (uint32_t i = 0; i < level; i++) ki_hnsw_store(ki_hnsw_at(&h->net.blocks, first + i), 0);
    ki_hnsw_store(ki_hnsw_at(&h->net.blocks, first) + sizeof(uint32_t), h->free_run[level]);
    h->free_run[level] = first;
    pthread_mutex_unlock(&h->allocating);
}

/* ---- Graphs ------------------------------------------------------------------------------------------------------ */

static kith_status check_options(const ki_hnsw_options *o, kith_error *error) {
    if (o->m < 2 || o->m > KI_HNSW_M_MAX)
        return ki_fail(error, KITH_E_ARG, "hnsw: M is %u, 2 to %d are possible", o->m, (int)KI_HNSW_M_MAX);
    if (o->ef < 1 || o->ef > KI_HNSW_EF_MAX)
        return ki_fail(error, KITH_E_ARG, "hnsw: ef_construction is %u, 1 to %d are possible", o->ef,
                       (int)KI_HNSW_EF_MAX);
    if (o->capacity > KI_HNSW_ROWS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "hnsw: %u vectors, a graph holds at most %u", o->capacity,
                       KI_HNSW_ROWS_MAX);
    return KITH_OK;
}

static void init_locks(ki_hnsw *h) {
    pthread_rwlock_init(&h->changing, NULL);
    for (int i = 0; i < KI_HNSW_LOCKS; i++) pthread_mutex_init(&h->lock[i], NULL);
    pthread_mutex_init(&h->allocating, NULL);
    pthread_mutex_init(&h->raising, NULL);
    pthread_mutex_init(&h->twinning, NULL);
    pthread_mutex_init(&h->waiting, NULL);
}

static void destroy_locks(ki_hnsw *h) {
    pthread_rwlock_destroy(&h->changing);
    for (int i = 0; i < KI_HNSW_LOCKS; i++) pthread_mutex_destroy(&h->lock[i]);
    pthread_mutex_destroy(&h->allocating);
    pthread_mutex_destroy(&h->raising);
    pthread_mutex_destroy(&h->twinning);
    pthread_mutex_destroy(&h->waiting);
}

static int create_memory(ki_hnsw *h) {
    const ki_hnsw_options *o = &h->options;
    const size_t row_bytes = ki_hnsw_row_bytes(o->m, h->net.code_bytes), block_bytes = ki_hnsw_block_bytes(o->m);
    const uint64_t blocks = o->one_piece ? count_blocks(o) + 1 : (uint64_t)o->capacity + 1;
    unsigned shift = 4;
    while ((row_bytes << shift) < CHUNK_BYTES) shift++;
    return chunks_create(&h->net.rows, (uint64_t)o->capacity + 1, row_bytes, o->one_piece, shift) &&
           chunks_create(&h->sides, (uint64_t)o->capacity + 1, sizeof(ki_hnsw_side), o->one_piece, shift) &&
           chunks_create(&h->net.blocks, blocks, block_bytes, o->one_piece, BLOCKS_SHIFT);
}

static int copy_centre(ki_hnsw *h) {
    float *centre = ki_alloc_array(h->options.dim, sizeof(*centre));
    if (centre) memcpy(centre, h->options.centre, h->options.dim * sizeof(*centre));
    h->net.centre = h->options.centre = centre;
    return centre != NULL;
}

kith_status ki_hnsw_create(const ki_hnsw_options *options, ki_hnsw **graph, kith_error *error) {
    const kith_status status = check_options(options, error);
    if (status != KITH_OK) return status;
    ki_hnsw *h = ki_alloc_array_zeroed(1, sizeof(*h));
    if (!h) return ki_fail(error, KITH_E_NOMEM, "out of memory for an HNSW of %u vectors", options->capacity);
    init_locks(h);
    h->options = *options;
    if (h->options.ef < options->m) h->options.ef = options->m;
    const int centred = options->centre && options->dtype != KITH_B1 && options->metric != KITH_IP;
    h->net = (ki_hnsw_net){.metric = options->metric,
                           .dtype = options->dtype,
                           .dim = options->dim,
                           .code_bytes = ki_hnsw_code_bytes(options->dtype, options->dim),
                           .m = options->m,
                           .blocks_limit = UINT64_MAX};
    h->net.ids_at = KI_HNSW_HEAD_BYTES + h->net.code_bytes;
    for (int i = 0; i <= KI_HNSW_LEVEL_MAX; i++) h->free_run[i] = KI_HNSW_NONE;
    atomic_init(&h->entry, UINT64_MAX);
    if (!centred) h->options.centre = NULL;
    if ((centred && !copy_centre(h)) || !create_memory(h)) {
        ki_hnsw_destroy(h);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for an HNSW of %u vectors", options->capacity);
    }
    *graph = h;
    return KITH_OK;
}

void ki_hnsw_destroy(ki_hnsw *h) {
    if (!h) return;
    chunks_destroy(&h->net.rows);
    chunks_destroy(&h->net.blocks);
    chunks_destroy(&h->sides);
    free((void *)(uintptr_t)h->net.centre);
    destroy_locks(h);
    free(h);
}

uint32_t ki_hnsw_count(const ki_hnsw *h) {
    return atomic_load(&h->count);
}

uint64_t ki_hnsw_memory_bytes(const ki_hnsw *h) {
    return sizeof(*h) + atomic_load(&h->bytes);
}

void ki_hnsw_net_of_view(const ki_view *view, _Atomic(uint8_t *) memory[2], ki_hnsw_net *net) {
    const ki_hnsw_view *hnsw = &view->hnsw;
    atomic_init(&memory[0], (uint8_t *)(uintptr_t)hnsw->rows);
    atomic_init(&memory[1], (uint8_t *)(uintptr_t)hnsw->upper);
    *net = (ki_hnsw_net){.metric = view->metric,
                         .dtype = view->dtype,
                         .dim = view->dim,
                         .code_bytes = ki_hnsw_code_bytes(view->dtype, view->dim),
                         .m = hnsw->m,
                         .blocks_limit = hnsw->blocks,
                         .centre = hnsw->centre};
    net->ids_at = KI_HNSW_HEAD_BYTES + net->code_bytes;
    net->rows = (ki_hnsw_chunks){&memory[0], 1, ki_hnsw_row_bytes(hnsw->m, net->code_bytes), (size_t)view->rows, 32};
    net->blocks = (ki_hnsw_chunks){&memory[1], 1, ki_hnsw_block_bytes(hnsw->m), (size_t)hnsw->blocks, 32};
}

/* ---- Graces (W2) ------------------------------------------------------------------------------------------------- */

unsigned ki_hnsw_enter(ki_hnsw *h) {
    const unsigned phase = atomic_load(&h->phase) & 1;
    atomic_fetch_add(&h->readers[phase], 1);
    return phase;
}

void ki_hnsw_leave(ki_hnsw *h, unsigned phase) {
    atomic_fetch_sub(&h->readers[phase], 1);
}

/* Twice, since a reader may have read the phase and not yet counted itself. */
void ki_hnsw_wait(ki_hnsw *h, uint32_t ticket) {
    pthread_mutex_lock(&h->waiting);
    if (atomic_load(&h->ended) <= ticket) {
        const uint32_t number = atomic_fetch_add(&h->begun, 1) + 1;
        for (int turn = 0; turn < 2; turn++) {
            const unsigned old = atomic_fetch_add(&h->phase, 1) & 1;
            while (atomic_load(&h->readers[old])) sched_yield();
        }
        atomic_store(&h->ended, number);
    }
    pthread_mutex_unlock(&h->waiting);
}

/* ---- Searchers --------------------------------------------------------------------------------------------------- */

ki_hnsw_searcher *ki_hnsw_searcher_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_hnsw_searcher));
}

void ki_hnsw_searcher_destroy(ki_hnsw_searcher *s) {
    if (!s) return;
    free(s->seen_area.data);
    free(s->pool_area.data);
    free(s->heap_area.data);
    free(s->floats.data);
    free(s->z_area.data);
    free(s->wide_area.data);
    free(s->ids_area.data);
    free(s->distances_area.data);
    free(s->list_area.data);
    free(s);
}

static int ready_marks(ki_hnsw_searcher *s, uint32_t limit) {
    if (s->seen_count < limit) {
        s->seen = ki_area_grow(&s->seen_area, limit, 1);
        if (!s->seen) { /* the area keeps what it had */
            s->seen = s->seen_area.data;
            return 0;
        }
        memset(s->seen + s->seen_count, 0, s->seen_area.bytes - s->seen_count);
        s->seen_count = s->seen_area.bytes;
    }
    s->limit = limit;
    return 1;
}

int ki_hnsw_ready(ki_hnsw_searcher *s, const ki_hnsw_net *net, uint32_t limit, size_t ef) {
    const size_t most = ef + 4 * (size_t)net->m + 8;
    if (!ready_marks(s, limit)) return 0;
    s->pool.entry = ki_area_grow(&s->pool_area, most, sizeof(uint64_t));
    s->list = ki_area_grow(&s->list_area, 2 * most, sizeof(uint64_t));
    s->spare = s->list ? s->list + most : NULL;
    s->ids = ki_area_grow(&s->ids_area, most, sizeof(uint32_t));
    s->distances = ki_area_grow(&s->distances_area, most, sizeof(float));
    s->z = ki_area_grow(&s->z_area, net->code_bytes, sizeof(int16_t));
    s->wide = ki_area_grow(&s->wide_area, net->code_bytes, sizeof(int16_t));
    return s->pool.entry && s->list && s->ids && s->distances && s->z && s->wide &&
           ki_area_grow(&s->floats, net->dim, sizeof(float));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The model, preparing and scoring; coding is in rabitq_encode.c. */
#include "quant/rabitq.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"
#include "kernel/unpack.h"
#include "quant/int8.h"
#include "quant/rabitq_inner.h"
#include "quant/rotate.h"
#include "quant/second_model.h"

#include <math.h>
#include <string.h>

enum {
    SAMPLE = 1024,            /* rows whose coding error is measured */
    PREPARED_HEAD = 64,       /* bytes before a prepared query's code */
    SMALL_PADDED = 32,        /* dimensions up to which padding may more than double them */
    SCRATCH_BYTES = 64 * 1024 /* of unpacked codes: part of L2. A guess */
};

size_t ki_rabitq_padded(size_t dim, unsigned bits) {
    const size_t period = bits <= KI_UNPACK_BITS_MAX ? ki_unpack_period(bits) : 2;
    return ki_round_up(dim, 4 * period);
}

kith_status ki_rabitq_check(const ki_second_spec *spec, size_t dim, kith_error *error) {
    if (spec->bits < 1 || spec->bits > KI_RABITQ_BITS_MAX)
        return ki_fail(error, KITH_E_ARG, "rabitq takes 1 to %d bits a dimension, not %u", KI_RABITQ_BITS_MAX,
                       spec->bits);
    if (dim < 1 || dim > KITH_DIM_MAX)
        return ki_fail(error, KITH_E_ARG, "rabitq takes 1 to %u dimensions, not %zu", KITH_DIM_MAX, dim);
    return KITH_OK;
}

size_t ki_rabitq_sample(const ki_second_spec *spec) {
    (void)spec;
    return SAMPLE;
}

/* ---- The model --------------------------------------------------------------------------------------------------- */

static size_t model_bytes_of(size_t dim, unsigned bits) {
    return KI_SECOND_HEADER + ki_round_up(ki_rotate_bytes(ki_rabitq_padded(dim, bits)), 64);
}

kith_status ki_rabitq_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                            kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                            size_t *model_bytes) {
    (void)pool, (void)progress, (void)progress_context; /* there is nothing to learn */
    const size_t bytes = model_bytes_of(dim, spec->bits);
    ki_second second = {.spec = *spec, .dim = dim, .model_bytes = bytes};
    uint8_t *made = ki_alloc_array_zeroed(bytes, 1);
    float *work = ki_alloc_array(ki_rabitq_padded(dim, spec->bits), sizeof(float));
    if (!made || !work) {
        free(made);
        free(work);
        return KITH_E_NOMEM;
    }
    ki_rotate_make(ki_rabitq_padded(dim, spec->bits), seed, made + KI_SECOND_HEADER);
    second.model = made;
    const float error = ki_rabitq_mean_error(&second, residuals, ki_min_size(count, SAMPLE), work);
    ki_second_header_write(made, spec, dim, bytes);
    ki_store_f32(made + KI_SECOND_OWN, error);
    free(work);
    *model = made;
    *model_bytes = bytes;
    return KITH_OK;
}

/* Bytes of a packed panel. */
static size_t panel_bytes(const ki_tile_kernels *table, size_t quads) {
    return ki_round_up(table->packed_bytes(quads, table->width), 64);
}

/* Blocks that are unpacked at a time. */
static size_t run_blocks(size_t quads) {
    const size_t run = SCRATCH_BYTES / (quads * KI_QUAD_BYTES) / 4 * 4; /* kernels take up to four at a time */
    return run ? run : 4;
}

int ki_rabitq_view(ki_second *second) {
    const ki_second_spec *spec = &second->spec;
    const uint8_t *model = second->model;
    if (ki_rabitq_check(spec, second->dim, NULL) != KITH_OK || spec->m || spec->rotated) return 0;
    if (second->model_bytes != model_bytes_of(second->dim, spec->bits)) return 0;
    const float error = ki_load_f32(model + KI_SECOND_OWN);
    if (!(error >= 0 && error <= 1)) return 0;
    for (size_t i = KI_SECOND_OWN + sizeof(float); i < KI_SECOND_HEADER; i++)
        if (model[i]) return 0;
    const ki_tile_kernels *table = ki_tile();
    const size_t padded = ki_rabitq_padded(second->dim, spec->bits), quads = padded / 4;
    second->width = KI_PANEL_MAX / table->width * table->width;
    second->block_bytes = quads * 8 * spec->bits;
    second->query_bytes = PREPARED_HEAD + ki_round_up(padded, 64);
    second->work_bytes = second->width / table->width * panel_bytes(table, quads);
    if (spec->bits <= KI_UNPACK_BITS_MAX)
        second->work_bytes += run_blocks(quads) * quads * KI_QUAD_BYTES + KI_TILE_OVERREAD;
    return 1;
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static float largest_of(const float *x, size_t n) {
    float largest = 0;
    for (size_t j = 0; j < n; j++) largest = fabsf(x[j]) > largest ? fabsf(x[j]) : largest;
    return largest;
}

void ki_rabitq_prepare(const ki_second *second, const float *query, float *work, void *prepared) {
    const size_t padded = ki_rabitq_padded(second->dim, second->spec.bits);
    float small[SMALL_PADDED], *rotated = padded <= SMALL_PADDED ? small : work; /* work has room for 2 dim */
    int8_t *code = (int8_t *)prepared + PREPARED_HEAD;
    ki_int8_facts facts;
    memset(prepared, 0, second->query_bytes);
    ki_rabitq_rotate(second, query, rotated);
    ki_int8_encode(rotated, padded, largest_of(rotated, padded), 0, code, &facts);
    ki_store_f32(prepared, facts.scale);
    ki_store_u32((uint8_t *)prepared + 4, (uint32_t)(-KI_CODE_OFFSET * facts.sum));
}

/* ---- Scoring ----------------------------------------------------------------------------------------------------- */

static void make_panel(const ki_tile_kernels *table, size_t quads, const void *const *prepared, const float *need,
                       unsigned count, void *packed, ki_panel *panel) {
    const int8_t *rows[KI_PANEL_MAX];
    *panel = (ki_panel){.packed = packed, .count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        rows[i] = (const int8_t *)prepared[i] + PREPARED_HEAD;
        panel->need[i] = need[i];
        panel->scale[i] = ki_load_f32(prepared[i]);
        panel->start[i] = (int32_t)ki_load_u32((const uint8_t *)prepared[i] + 4);
    }
    table->pack(rows, count, quads, packed);
}

/* All panels over a run of blocks. There is room for all hits there can be. */
static size_t score_run(const ki_tile_kernels *table, const ki_level *run, size_t base, const ki_panel *panels,
                        unsigned count, ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t used) {
    for (unsigned p = 0; p < count; p++) {
        size_t h = used;
        table->score(run, &panels[p], 0, run->blocks, hits, scores, capacity, &used);
        for (; h < used; h++) {
            hits[h].block += (uint32_t)base;
            hits[h].query = (uint16_t)(hits[h].query + p * table->width);
        }
    }
    return used;
}

size_t ki_rabitq_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                       const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    const ki_tile_kernels *table = ki_tile();
    const unsigned bits = second->spec.bits;
    const size_t quads = ki_rabitq_padded(second->dim, bits) / 4, each = panel_bytes(table, quads);
    ki_panel panels[KI_PANEL_MAX];
    unsigned made = 0;
    for (unsigned done = 0; done < count; done += table->width, made++) {
        const unsigned taken = count - done < table->width ? count - done : table->width;
        make_panel(table, quads, prepared + done, need + done, taken, (uint8_t *)work + made * each, &panels[made]);
    }
    uint8_t *scratch = (uint8_t *)work + made * each;
    size_t block = first;
    while (block < end && *used + KI_RABITQ_ROOM + count <= capacity) {
        const size_t room = (capacity - *used - KI_RABITQ_ROOM) / count;
        const size_t blocks = ki_min_size(end - block, ki_min_size(room, run_blocks(quads)));
        ki_level run = {codes + block * second->block_bytes, factors + block * KI_FACTORS, quads, blocks};
        if (bits <= KI_UNPACK_BITS_MAX) {
            ki_unpacker()(run.codes, blocks, quads, bits, scratch);
            run.codes = scratch;
        }
        *used = score_run(table, &run, block, panels, made, hits, scores, capacity, *used);
        block += blocks;
    }
    return block;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "view/on_device.h"

#include "base/checked.h"
#include "base/status.h"
#include "device/plugin.h"
#include "quant/int8.h"

#include <stdio.h>
#include <string.h>

enum {
    SAMPLE_SHARE = 64,  /* one block of so many */
    SAMPLE_LEAST = 512, /* blocks: 8 vectors for each of the most neighbours */
    PARTS_MAX = 4096
};

void ki_on_device_release(ki_on_device *on) {
    if (!on || atomic_fetch_sub(&on->holders, 1) > 1) return;
    for (size_t i = 0; i < on->parts; i++) on->backend->drop(on->part[i].memory);
    if (on->sample) on->backend->drop(on->sample);
    for (size_t i = 0; i < on->devices; i++) on->backend->close(on->device[i]);
    free(on->part);
    free(on->words);
    free(on->valid);
    free(on);
}

/* ---- What a device is to hold ------------------------------------------------------------------------------------ */

static size_t block_bytes(const ki_view *view, const ki_device_model *model) {
    return model->quads * KI_QUAD_BYTES + (view->dtype == KITH_B1 ? 0 : KI_FACTORS * sizeof(float));
}

/* Rows of bits as words of blocks, zeros where a row or the last block ends. */
static int lay_words(const ki_view *view, size_t quads, size_t blocks, ki_on_device *on) {
    on->words = ki_alloc_array_zeroed(blocks, quads * KI_QUAD_BYTES);
    for (uint64_t row = 0; on->words && row < view->rows; row++) {
        uint8_t *to = on->words + row / KI_BLOCK * quads * KI_QUAD_BYTES + row % KI_BLOCK * 4;
        const uint8_t *from = view->originals + row * view->row_bytes;
        for (size_t byte = 0; byte < view->row_bytes; byte++) to[byte / 4 * KI_QUAD_BYTES + byte % 4] = from[byte];
    }
    return on->words != NULL;
}

static int take_blocks(const ki_view *view, const ki_device_model *model, ki_on_device *on) {
    const size_t blocks = (size_t)(view->blocks ? view->blocks : (view->rows + KI_BLOCK - 1) / KI_BLOCK);
    on->quads = model->quads;
    on->valid = ki_alloc_array(blocks, sizeof(*on->valid));
    if (!on->valid) return 0;
    ki_on_device_masks(view, NULL, blocks, on->valid);
    if (view->dtype == KITH_B1 && !lay_words(view, model->quads, blocks, on)) return 0;
    on->blocks = (ki_device_blocks){.count = blocks,
                                    .codes = on->words ? on->words : view->full.codes,
                                    .factors = view->full.factors,
                                    .list = model->lists ? view->lists.of_block : NULL,
                                    .valid = on->valid};
    return 1;
}

ki_device_blocks ki_on_device_blocks(const ki_on_device *on, size_t first, size_t end) {
    const ki_device_blocks *all = &on->blocks;
    return (ki_device_blocks){end - first, all->codes + first * on->quads * KI_QUAD_BYTES,
                              all->factors ? all->factors + first * KI_FACTORS : NULL,
                              all->list ? all->list + first : NULL, all->valid + first};
}

void ki_on_device_masks(const ki_view *view, const uint64_t *allowed, size_t blocks, uint16_t *masks) {
    uint32_t row;
    for (size_t block = 0; block < blocks; block++)
        masks[block] = (uint16_t)ki_view_valid_mask(view, allowed, block, &row);
}

/* apart: memory for the lists. */
static ki_device_model model_of(const ki_view *view, float *apart) {
    const float g = ki_rounding(view->dim);
    const int l2 = view->metric == KITH_L2SQ;
    ki_device_model model = {.metric = view->metric, .dim = view->dim, .quads = view->full.quads};
    if (view->dtype == KITH_B1) model.quads = (view->row_bytes + 3) / 4;
    if (l2 && view->originals) model.slack = 2 * g;
    if (!view->residual) return model;
    model.lists = view->lists.count;
    model.centroids = view->lists.centroids;
    model.apart = apart;
    for (size_t l = 0; l < model.lists; l++)
        apart[l] = view->lists.coarse.factors[l / KI_BLOCK * KI_FACTORS + KI_FACTOR_NORM + l % KI_BLOCK];
    if (l2) { /* base is -|q-c|^2/2: ki_query_list_terms() */
        model.apart_factor = 2 * g;
        model.far_factor = 4 * g;
    }
    return model;
}

/* ---- Parts ------------------------------------------------------------------------------------------------------- */

static kith_status keep_part(ki_on_device *on, ki_device_part part, kith_error *error) {
    if (on->parts == PARTS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "a device would hold more than %d parts", PARTS_MAX);
    const ki_device_blocks blocks = ki_on_device_blocks(on, part.first, part.end);
    const kith_status status = on->backend->keep(on->device[part.device], &blocks, part.piece > 0, &part.memory, error);
    if (status == KITH_OK) on->part[on->parts++] = part;
    return status;
}

/* Blocks first..end on one device: in pieces that it takes, as far as `room` goes, and what is left is streamed. */
static kith_status share_out(ki_on_device *on, size_t device, size_t first, size_t end, size_t bytes, uint64_t room,
                             uint64_t piece_bytes, kith_error *error) {
    const int all = (uint64_t)(end - first) * bytes <= room / 4 * 3;
    const size_t piece = ki_min_size((size_t)(piece_bytes / bytes), end - first);
    const size_t resident = all ? end : first + ki_min_size((size_t)(room / 2 / bytes), end - first);
    kith_status status = KITH_OK;
    if (first == end) return KITH_OK;
    if (!piece) return ki_fail(error, KITH_E_NOMEM, "a device has no room for 16 vectors");
    for (; first < resident && status == KITH_OK; first += ki_min_size(piece, resident - first))
        status = keep_part(on, (ki_device_part){device, NULL, first, first + ki_min_size(piece, resident - first), 0},
                           error);
    if (status != KITH_OK || first == end) return status;
    const size_t streamed = ki_min_size(piece, (size_t)(room / 8 / bytes));
    return keep_part(on, (ki_device_part){device, NULL, first, end, streamed ? streamed : 1}, error);
}

static kith_status keep_sample(ki_on_device *on, const ki_device_model *model, kith_error *error) {
    const ki_device_blocks *all = &on->blocks;
    const size_t codes = model->quads * KI_QUAD_BYTES;
    size_t step = all->count / SAMPLE_LEAST;
    if (step > SAMPLE_SHARE) step = SAMPLE_SHARE;
    if (step < 1) step = 1;
    const size_t n = (all->count + step - 1) / step;
    uint8_t *memory = ki_alloc_array(n, codes + KI_FACTORS * sizeof(float) + sizeof(uint32_t) + sizeof(uint16_t));
    if (!memory) return ki_fail(error, KITH_E_NOMEM, "out of memory for a sample of the vectors");
    float *factors = (float *)(void *)(memory + n * codes);
    uint32_t *list = (uint32_t *)(void *)(factors + n * KI_FACTORS);
    uint16_t *valid = (uint16_t *)(void *)(list + n);
    for (size_t i = 0; i < n; i++) {
        const size_t block = i * step;
        memcpy(memory + i * codes, all->codes + block * codes, codes);
        if (all->factors)
            memcpy(factors + i * KI_FACTORS, all->factors + block * KI_FACTORS, KI_FACTORS * sizeof(float));
        if (all->list) list[i] = all->list[block];
        valid[i] = all->valid[block];
    }
    const ki_device_blocks blocks = {n, memory, all->factors ? factors : NULL, all->list ? list : NULL, valid};
    const kith_status status = on->backend->keep(on->device[0], &blocks, 0, &on->sample, error);
    free(memory);
    on->sample_blocks = n;
    on->sample_step = step;
    return status;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

struct found {
    size_t count, which[KI_DEVICES_MAX];
    ki_device_facts facts[KI_DEVICES_MAX];
};

/* All devices that can be used; of them only GPUs would be wanted where there is one, but what else is there has a driver
 * that somebody installed. */
static kith_status find_devices(const ki_device_backend *backend, struct found *found, kith_error *error) {
    ki_device_facts facts;
    kith_error first = {0};
    kith_status status = KITH_OK;
    for (size_t which = 0; found->count < KI_DEVICES_MAX; which++) {
        status = backend->describe(which, &facts, error);
        if (status != KITH_OK) break;
        if (facts.obstacle[0]) {
            if (first.status == KITH_OK)
                ki_fail(&first, KITH_E_UNSUPPORTED, "%s cannot be used: %s", facts.name, facts.obstacle);
            continue;
        }
        found->facts[found->count] = facts;
        found->which[found->count++] = which;
    }
    if (found->count) return KITH_OK;
    if (first.status != KITH_OK) return ki_fail(error, first.status, "%s", first.text);
    if (error && status == KITH_E_NOTFOUND) error->status = KITH_E_UNSUPPORTED;
    return status == KITH_E_NOTFOUND ? KITH_E_UNSUPPORTED : status;
}

static kith_status open_devices(ki_on_device *on, const ki_view *view, const ki_device_model *model,
                                const ki_device_wish *wish, const struct found *found, kith_error *error) {
    const size_t bytes = block_bytes(view, model), blocks = on->blocks.count;
    const size_t devices = found->count;
    kith_status status = KITH_OK;
    for (size_t d = 0; d < devices && status == KITH_OK; d++) {
        status = on->backend->open(found->which[d], model, &on->device[d], error);
        if (status != KITH_OK) break;
        on->devices++;
        if (d == 0) status = keep_sample(on, model, error);
        uint64_t room = found->facts[d].memory_bytes / 5 * 4, piece = found->facts[d].piece_bytes;
        if (wish->memory_bytes && wish->memory_bytes < room) room = wish->memory_bytes;
        if (room < piece) piece = room;
        if (status == KITH_OK)
            status = share_out(on, d, blocks * d / devices, blocks * (d + 1) / devices, bytes, room, piece, error);
    }
    if (devices == 1)
        snprintf(on->name, sizeof(on->name), "%s", found->facts[0].name);
    else
        snprintf(on->name, sizeof(on->name), "%s and %u more", found->facts[0].name, (unsigned)(devices - 1));
    return status;
}

kith_status ki_on_device_open(const ki_view *view, const ki_device_wish *wish, ki_on_device **out, kith_error *error) {
    const ki_device_backend *backend;
    struct found found = {0};
    kith_status status = ki_device_opencl(&backend, error);
    if (status == KITH_OK) status = find_devices(backend, &found, error);
    if (status != KITH_OK) return status;
    if (view->rows == 0 || (view->dtype == KITH_B1 ? !view->originals : !view->full.blocks))
        return ki_fail(error, KITH_E_UNSUPPORTED, "the index has nothing that a device could search");
    ki_on_device *on = ki_alloc_array_zeroed(1, sizeof(*on));
    float *apart = ki_alloc_array(view->lists.count, sizeof(*apart));
    if (on) {
        on->backend = backend;
        on->demanded = wish->demanded;
        atomic_init(&on->holders, 1);
        on->part = ki_alloc_array(PARTS_MAX, sizeof(*on->part));
    }
    const ki_device_model model = apart ? model_of(view, apart) : (ki_device_model){0};
    if (!on || !apart || !on->part || !take_blocks(view, &model, on))
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for searches on a device");
    if (status == KITH_OK) status = open_devices(on, view, &model, wish, &found, error);
    free(apart);
    if (status == KITH_OK)
        *out = on;
    else
        ki_on_device_release(on);
    return status;
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

kith_status ki_device_lines_open(ki_device_lines *lines, ki_on_device *on, kith_error *error) {
    kith_status status = KITH_OK;
    if (!lines->on) atomic_fetch_add(&on->holders, 1);
    lines->on = on;
    for (size_t i = 0; i < on->devices && status == KITH_OK; i++)
        if (!lines->stream[i]) status = on->backend->stream(on->device[i], &lines->stream[i], error);
    return status;
}

kith_status ki_device_lines_begin(ki_device_lines *lines, const ki_device_queries *queries, size_t room,
                                  kith_error *error) {
    enum { LEAST = 512, MOST = 1 << 16 };
    kith_status status = KITH_OK;
    room = room < LEAST ? LEAST : ki_min_size(room, MOST);
    for (size_t i = 0; i < lines->on->devices && status == KITH_OK; i++)
        status = lines->on->backend->begin(lines->stream[i], queries, (uint32_t)room, error);
    return status;
}

void ki_device_lines_stop(ki_device_lines *lines) {
    for (size_t i = 0; lines->on && i < lines->on->devices; i++)
        if (lines->stream[i]) lines->on->backend->end(lines->stream[i]);
    memset(lines->stream, 0, sizeof(lines->stream));
    memset(lines->work, 0, sizeof(lines->work));
}

void ki_device_lines_free(ki_device_lines *lines) {
    ki_device_lines_stop(lines);
    ki_on_device_release(lines->on);
    lines->on = NULL;
}

void ki_device_lines_times(const ki_device_lines *lines, uint64_t ns[3]) {
    for (size_t i = 0; lines->on && i < lines->on->devices; i++) {
        ki_device_times times = {0};
        if (!lines->stream[i]) continue;
        lines->on->backend->times(lines->stream[i], &times);
        ns[0] += times.upload_ns;
        ns[1] += times.compute_ns;
        ns[2] += times.download_ns;
    }
}

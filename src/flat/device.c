/* SPDX-License-Identifier: Apache-2.0
 *
 * The scan on devices: they multiply and compare, the processor decides.
 *
 * A sample of the vectors gives each query a threshold: the k-th largest of the greatest lower bounds of disjoint sets
 * of vectors, which k vectors reach. Then each device meets its blocks in works, two of which are under way on it at a
 * time: what one found is bounded and scored by the same code as in scan.c, and raises the thresholds of the next. The
 * first works take few blocks from everywhere, so that most are met with thresholds of vectors from near them.
 *
 * G1. What a device reports of a pair is its integer product. A pair is reported where estimate + error, evaluated as in
 *     ki_desk_bound() (device/backend.h W1), reaches a threshold that was the query's before or still is. So every
 *     vector that ki_desk_bound() would keep is handed to it, once (N1 in scan.c), and results are those of a scan.
 * G2. A query that reached more vectors in a work than there is room for meets the work's blocks again on the processor,
 *     and what the device had room for is left.
 * G3. All thresholds are proven, so that nothing has to be taken back. */
#include "flat/desk.h"

#include "base/checked.h"
#include "view/on_device.h"

#include <math.h>
#include <string.h>

struct ki_device_desk {
    ki_device_lines lines;
    const uint16_t *allowed; /* of all blocks, and of the sample's; NULL: no filter */
    const uint16_t *sample_allowed;
    float *tau; /* what the sample proved of bits; else the desk's */
    ki_area query_area, code_area, allowed_area, maxima_area, tau_area, threshold_area;
};

void ki_device_desk_destroy(struct ki_device_desk *d) {
    if (!d) return;
    ki_device_lines_free(&d->lines);
    free(d->query_area.data);
    free(d->code_area.data);
    free(d->allowed_area.data);
    free(d->maxima_area.data);
    free(d->tau_area.data);
    free(d->threshold_area.data);
    free(d);
}

/* Tell how the device failed. */
static kith_status fail(ki_desk *desk, kith_status status, const kith_error *error) {
    ki_device_fault_tell(desk->search->fault, error);
    return status;
}

static kith_status open_lines(ki_desk *desk) {
    kith_error error = {0};
    if (!desk->device) desk->device = ki_alloc_array_zeroed(1, sizeof(*desk->device));
    if (!desk->device) return KITH_E_NOMEM;
    const kith_status status = ki_device_lines_open(&desk->device->lines, desk->view->device, &error);
    return status == KITH_OK ? KITH_OK : fail(desk, status, &error);
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

/* Rows of bits as words, with zeros behind them as where they are stored. */
static const int8_t *bits_as_words(ki_desk *desk, size_t bytes) {
    const size_t row_bytes = desk->view->row_bytes;
    int8_t *words = ki_area_take(&desk->device->code_area, desk->count, bytes);
    for (size_t i = 0; words && i < desk->count; i++) {
        memset(words + i * bytes, 0, bytes);
        memcpy(words + i * bytes, (const uint8_t *)desk->queries + i * row_bytes, row_bytes);
    }
    return words;
}

/* As the terms of ki_desk_bound() are; with lists the base is found by the device. */
static void tell_query(const ki_desk *desk, size_t i, ki_device_query *query) {
    const ki_query_code *code = &desk->code[0][i];
    const int far = desk->view->residual && desk->view->metric == KITH_L2SQ; /* c is then the list's */
    *query = (ki_device_query){.scale = code->scale, .base = code->base, .start = code->start};
    if (!desk->view->originals) return; /* estimates are the answers */
    query->a = code->a;
    query->b = code->b;
    query->c = far ? 0 : code->c;
}

static kith_status begin(ki_desk *desk) {
    struct ki_device_desk *d = desk->device;
    const int bits = desk->view->dtype == KITH_B1;
    const size_t n = desk->count, quads = d->lines.on->quads;
    ki_device_query *query = ki_area_take(&d->query_area, n, sizeof(*query));
    ki_device_queries queries = {.count = n, .query = query};
    kith_error error = {0};
    if (!query) return KITH_E_NOMEM;
    memset(query, 0, n * sizeof(*query));
    for (size_t i = 0; i < n && !bits; i++) tell_query(desk, i, &query[i]);
    queries.codes = bits ? bits_as_words(desk, 4 * quads) : desk->bytes[0];
    if (!queries.codes) return KITH_E_NOMEM;
    if (desk->view->residual) queries.rows = desk->view->metric == KITH_L2SQ ? desk->queries : desk->rows;
    const kith_status status = ki_device_lines_begin(&d->lines, &queries, 4 * desk->search->k, &error);
    return status == KITH_OK ? KITH_OK : fail(desk, status, &error);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

static int take_allowed(ki_desk *desk) {
    struct ki_device_desk *d = desk->device;
    const size_t blocks = d->lines.on->blocks.count, sample = d->lines.on->sample_blocks;
    d->allowed = d->sample_allowed = NULL;
    if (!desk->search->allowed) return 1;
    uint16_t *masks = ki_area_take(&d->allowed_area, blocks + sample, sizeof(*masks));
    if (!masks) return 0;
    ki_on_device_masks(desk->view, desk->search->allowed, blocks, masks);
    for (size_t i = 0; i < sample; i++) masks[blocks + i] = masks[i * d->lines.on->sample_step];
    d->allowed = masks;
    d->sample_allowed = masks + blocks;
    return 1;
}

/* ---- Thresholds -------------------------------------------------------------------------------------------------- */

/* Sets of the sample, so many that the k-th largest maximum is near the k-th largest of all; 0: there are too few. */
static size_t sample_groups(const ki_desk *desk, const ki_on_device *on) {
    const size_t vectors = on->sample_blocks * KI_BLOCK, k = desk->search->k;
    size_t groups = 64;
    while (groups < 4 * k) groups *= 2;
    if (groups > vectors) groups = vectors;
    return k && groups >= k ? groups : 0;
}

/* The k-th largest, by a heap that is empty afterwards. */
static float kth_largest(ki_floor *floor, const float *values, size_t count) {
    floor->count = 0;
    for (size_t i = 0; i < count; i++)
        if (floor->count < floor->k || values[i] > floor->heap[0]) ki_floor_push(floor, values[i]);
    const float value = ki_floor_value(floor);
    floor->count = 0;
    return value;
}

static kith_status find_thresholds(ki_desk *desk) {
    struct ki_device_desk *d = desk->device;
    const ki_on_device *on = d->lines.on;
    const size_t n = desk->count, k = desk->search->k, groups = sample_groups(desk, on);
    const int bits = desk->view->dtype == KITH_B1;
    kith_error error = {0};
    d->tau = bits ? ki_area_take(&d->tau_area, n, sizeof(float)) : desk->tau;
    if (!d->tau) return KITH_E_NOMEM;
    for (size_t i = 0; i < n && bits; i++) d->tau[i] = k ? -INFINITY : -desk->search->radius;
    if (!groups) return KITH_OK;
    float *maxima = ki_area_take(&d->maxima_area, (uint64_t)n * groups + k, sizeof(float));
    if (!maxima) return KITH_E_NOMEM;
    const kith_status status =
        on->backend->sample(d->lines.stream[0], on->sample, (ki_device_range){0, on->sample_blocks, 1},
                            d->sample_allowed, groups, maxima, &error);
    if (status != KITH_OK) return fail(desk, status, &error);
    ki_floor floor = {.heap = maxima + n * groups, .k = k};
    for (size_t i = 0; i < n; i++) {
        const float tau = kth_largest(&floor, maxima + i * groups, groups);
        if (tau > d->tau[i]) d->tau[i] = tau;
    }
    return KITH_OK;
}

/* What the sample proved, and the results since. */
static float threshold_of(ki_desk *desk, size_t query) {
    if (desk->view->dtype != KITH_B1) return desk->tau[query];
    const float worst = -desk->collector[query].worst;
    return worst > desk->device->tau[query] ? worst : desk->device->tau[query];
}

/* ---- Works ------------------------------------------------------------------------------------------------------- */

/* A query's blocks of a work, on the processor (G2). */
static kith_status scan_again(ki_desk *desk, const ki_device_work *w, const uint32_t *reached, uint32_t room) {
    const int bits = desk->view->dtype == KITH_B1;
    const size_t stride = w->step == 1 && !bits ? desk->group_blocks : 1;
    size_t again = 0;
    for (size_t i = 0; i < desk->count; i++)
        if (reached[i] > room) {
            if (!bits) desk->slot[again] = (uint32_t)i;
            again++;
        }
    if (!again) return KITH_OK;
    if (!bits) ki_desk_pack(desk, again);
    for (size_t block = w->first; block < w->end; block += w->step * stride) {
        kith_status status = KITH_OK;
        uint32_t row;
        if (!bits) status = ki_desk_scan_blocks(desk, block, ki_min_size(w->end, block + stride));
        if (status != KITH_OK) return status;
        const unsigned mask = bits ? ki_view_valid_mask(desk->view, desk->search->allowed, block, &row) : 0;
        for (size_t i = 0; i < desk->count && mask; i++)
            if (reached[i] > room && !ki_desk_score_bits(desk, i, block, mask)) return KITH_E_NOMEM;
    }
    return KITH_OK;
}

/* Vectors that a device found. */
static int take_hits(ki_desk *desk, const ki_device_work *w, const ki_device_found *found) {
    const int bits = desk->view->dtype == KITH_B1;
    int32_t dot[KI_BLOCK] = {0};
    for (size_t i = 0; i < found->count; i++) {
        const ki_device_hit *hit = &found->hits[i];
        const size_t place = hit->place % KI_BLOCK, block = w->part->first + hit->place / KI_BLOCK;
        if (hit->query >= desk->count || block >= w->end) continue; /* but of a broken device */
        if (found->reached[hit->query] > found->room) continue;
        dot[place] = hit->dot;
        const int fine = bits ? ki_desk_score_bits(desk, hit->query, block, 1u << place)
                              : ki_desk_bound(desk, hit->query, block, 1u << place, dot);
        if (!fine) return 0;
    }
    return 1;
}

static void count_work(ki_desk *desk, const ki_device_work *w) {
    const uint64_t pairs = (w->end - w->first + w->step - 1) / w->step * desk->count;
    const size_t row = desk->view->dtype == KITH_B1 ? desk->view->row_bytes * KI_BLOCK
                                                    : desk->view->full.quads * KI_QUAD_BYTES + KI_FACTORS * 4;
    desk->counts->scanned_bytes += pairs * row;
    desk->counts->scanned_rows += pairs * KI_BLOCK;
}

/* Take what a slot's work found, if it has one. */
static kith_status end_work(ki_desk *desk, size_t device, unsigned slot) {
    struct ki_device_desk *d = desk->device;
    ki_device_work *w = &d->lines.work[device][slot];
    ki_device_found found;
    kith_error error = {0};
    if (!w->part) return KITH_OK;
    kith_status status = d->lines.on->backend->wait(d->lines.stream[device], slot, &found, &error);
    if (status != KITH_OK) return fail(desk, status, &error);
    if (!take_hits(desk, w, &found)) return KITH_E_NOMEM;
    status = scan_again(desk, w, found.reached, found.room);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < desk->count && desk->view->dtype == KITH_B1 && desk->search->k; i++)
        if (desk->collector[i].count >= desk->search->k) ki_collector_shrink(&desk->collector[i]);
    count_work(desk, w);
    w->part = NULL;
    return ki_limits_reached(&desk->search->limits, desk->worker);
}

static kith_status begin_work(ki_desk *desk, ki_device_work w) {
    struct ki_device_desk *d = desk->device;
    const size_t device = w.part->device;
    const unsigned slot = ki_device_lines_slot(&d->lines, device);
    const ki_device_range range = {w.first - w.part->first, w.end - w.part->first, w.step};
    kith_error error = {0};
    if (w.first >= w.end) return KITH_OK;
    kith_status status = end_work(desk, device, slot);
    if (status != KITH_OK) return status;
    float *thresholds = ki_area_take(&d->threshold_area, desk->count, sizeof(float));
    if (!thresholds) return KITH_E_NOMEM;
    for (size_t i = 0; i < desk->count; i++) thresholds[i] = threshold_of(desk, i);
    const ki_device_blocks blocks = ki_on_device_blocks(d->lines.on, w.part->first, w.part->end);
    status = d->lines.on->backend->scan(d->lines.stream[device], slot, w.part->memory, &blocks, range,
                                        d->allowed ? d->allowed + w.first : NULL, thresholds, &error);
    if (status != KITH_OK) return fail(desk, status, &error);
    d->lines.work[device][slot] = w;
    d->lines.begun[device]++;
    return KITH_OK;
}

/* Few blocks are not worth several works, and a range has its threshold. */
static int has_passes(const ki_desk *desk, const ki_device_part *part) {
    enum { LEAST = 1024 };
    return desk->search->k && part->end - part->first >= LEAST;
}

static kith_status scan_held(ki_desk *desk, size_t pass) {
    const ki_on_device *on = desk->device->lines.on;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < on->parts && status == KITH_OK; i++) {
        const ki_device_part *part = &on->part[i];
        if (part->piece) continue;
        if (has_passes(desk, part))
            status = begin_work(desk, (ki_device_work){part, part->first + ki_device_passes[pass].offset, part->end,
                                                       ki_device_passes[pass].step});
        else if (pass == 0)
            status = begin_work(desk, (ki_device_work){part, part->first, part->end, 1});
    }
    return status;
}

/* The next piece of every streamed part; *more: there was one. */
static kith_status scan_streamed(ki_desk *desk, size_t number, int *more) {
    const ki_on_device *on = desk->device->lines.on;
    kith_status status = KITH_OK;
    *more = 0;
    for (size_t i = 0; i < on->parts && status == KITH_OK; i++) {
        const ki_device_part *part = &on->part[i];
        const size_t first = part->first + number * part->piece;
        if (!part->piece || first >= part->end) continue;
        *more = 1;
        status = begin_work(desk, (ki_device_work){part, first, ki_min_size(part->end, first + part->piece), 1});
    }
    return status;
}

static kith_status scan_all(ki_desk *desk) {
    struct ki_device_desk *d = desk->device;
    kith_status status = KITH_OK;
    int more = 1;
    for (size_t pass = 0; pass < KI_DEVICE_PASSES && status == KITH_OK; pass++) status = scan_held(desk, pass);
    for (size_t number = 0; more && status == KITH_OK; number++) status = scan_streamed(desk, number, &more);
    for (size_t i = 0; i < d->lines.on->devices; i++)
        for (unsigned slot = 0; slot < KI_DEVICE_SLOTS && status == KITH_OK; slot++)
            status = end_work(desk, i, (unsigned)((d->lines.begun[i] + slot) % KI_DEVICE_SLOTS));
    return status;
}

kith_status ki_flat_device(ki_desk *desk) {
    kith_status status = open_lines(desk);
    if (status == KITH_OK && !take_allowed(desk)) status = KITH_E_NOMEM;
    if (status == KITH_OK) status = begin(desk);
    if (status == KITH_OK) status = find_thresholds(desk);
    for (size_t i = 0; i < desk->count && desk->shared && ki_desk_scans(desk); i++) ki_desk_raise(desk, i);
    if (status == KITH_OK) status = scan_all(desk);
    for (size_t i = 0; i < desk->count && status == KITH_OK && ki_desk_scans(desk); i++)
        if (!ki_desk_flush(desk, i)) status = KITH_E_NOMEM;
    if (desk->device) ki_device_lines_times(&desk->device->lines, desk->counts->device_ns);
    /* What was begun and not waited for would be taken for the next search's. */
    if (status != KITH_OK && desk->device) ki_device_lines_stop(&desk->device->lines);
    return status;
}

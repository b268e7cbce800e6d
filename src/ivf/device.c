/* SPDX-License-Identifier: Apache-2.0
 *
 * Scanning lists on devices: they find what reaches a query's threshold in the lists that it probes, and the candidates
 * are kept as scan.c keeps them.
 *
 * A device evaluates score.c's estimates to the bit (device/backend.h W4), and hands over every vector that reaches a
 * threshold that was the query's then. So candidates are those that V1 speaks of, and results those of the processor.
 * The first pass takes a sixteenth of each list without a threshold, which is what gives the others theirs. Where a
 * query finds more in one pass than there is room for, the processor scans the whole round again. Second lists are its
 * business in any case: they are few codes beside the lists, and who meets whom there is decided by bits of each
 * query. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/clock.h"
#include "view/on_device.h"

#include <math.h>
#include <string.h>

enum { SLICE = 1024 }; /* queries that a device has at a time: what they find takes memory there */

struct ki_ivf_device {
    ki_device_lines lines;
    const uint16_t *allowed; /* of all blocks; NULL: no filter */
    size_t first, count;     /* the slice's queries */
    ki_device_run *run;
    size_t *part_end; /* runs of parts 0..i */
    ki_area query_area, run_area, part_area, allowed_area, threshold_area;
    int overflowed;
};

int ki_ivf_fits_device(const ki_ivf_search *search) {
    const ki_on_device *on = search->view->device;
    if (!on || atomic_load(&on->failed) || search->code != KITH_SCAN_INT8 || search->view->lists.count < 2) return 0;
    for (size_t i = 0; i < on->parts; i++)
        if (on->part[i].piece) return 0;
    return 1;
}

void ki_ivf_device_destroy(struct ki_ivf_device *d) {
    if (!d) return;
    ki_device_lines_free(&d->lines);
    free(d->query_area.data);
    free(d->run_area.data);
    free(d->part_area.data);
    free(d->allowed_area.data);
    free(d->threshold_area.data);
    free(d);
}

static kith_status fail(const ki_ivf *ivf, kith_status status, const kith_error *error) {
    ki_device_fault_tell(ivf->search->fault, error);
    return status;
}

static kith_status open_lines(ki_ivf *ivf) {
    kith_error error = {0};
    if (!ivf->device) ivf->device = ki_alloc_array_zeroed(1, sizeof(*ivf->device));
    if (!ivf->device) return KITH_E_NOMEM;
    const kith_status status = ki_device_lines_open(&ivf->device->lines, ivf->view->device, &error);
    return status == KITH_OK ? KITH_OK : fail(ivf, status, &error);
}

static int take_allowed(ki_ivf *ivf) {
    struct ki_ivf_device *d = ivf->device;
    const size_t blocks = d->lines.on->blocks.count;
    d->allowed = NULL;
    if (!ivf->search->allowed) return 1;
    uint16_t *masks = ki_area_take(&d->allowed_area, blocks, sizeof(*masks));
    if (masks) ki_on_device_masks(ivf->view, ivf->search->allowed, blocks, masks);
    d->allowed = masks;
    return masks != NULL;
}

/* ---- A slice ----------------------------------------------------------------------------------------------------- */

static kith_status begin_slice(ki_ivf *ivf) {
    struct ki_ivf_device *d = ivf->device;
    ki_device_query *query = ki_area_take(&d->query_area, d->count, sizeof(*query));
    kith_error error = {0};
    if (!query) return KITH_E_NOMEM;
    memset(query, 0, d->count * sizeof(*query));
    for (size_t i = 0; i < d->count; i++) {
        query[i].scale = ivf->scan_scale[d->first + i];
        query[i].start = ivf->scan_start[d->first + i];
    }
    const ki_device_queries queries = {d->count, query, ivf->scan_bytes + d->first * 4 * ivf->level->quads, NULL};
    const kith_status status = ki_device_lines_begin(&d->lines, &queries, 2 * ivf->capacity, &error);
    return status == KITH_OK ? KITH_OK : fail(ivf, status, &error);
}

/* Pairs of a list and the slice's queries, as runs of the blocks of it that a part has. */
static size_t add_runs(const ki_ivf *ivf, const ki_device_part *part, size_t list, ki_device_run *run) {
    const struct ki_ivf_device *d = ivf->device;
    const ki_lists *lists = &ivf->view->lists;
    const size_t first = lists->first_block[list] > part->first ? lists->first_block[list] : part->first;
    const size_t end = ki_min_size(lists->first_block[list + 1], part->end);
    size_t count = 0;
    for (size_t i = ki_ivf_first_pair(ivf, list); i < ki_ivf_end_pair(ivf, list) && first < end; i++) {
        const ki_pair *pair = &ivf->pair[i];
        if (pair->query < d->first || pair->query >= d->first + d->count) continue;
        run[count++] = (ki_device_run){pair->query - (uint32_t)d->first, (uint32_t)(first - part->first),
                                       (uint32_t)(end - part->first), pair->base};
    }
    return count;
}

static int take_runs(ki_ivf *ivf) {
    struct ki_ivf_device *d = ivf->device;
    const ki_on_device *on = d->lines.on;
    const size_t lists = ivf->view->lists.count;
    size_t pairs = 0;
    for (size_t i = d->first; i < d->first + d->count; i++) pairs += ivf->probes[i];
    /* A list lies in two parts, or more where parts are small: each border adds the queries of one list. */
    d->run = ki_area_take(&d->run_area, pairs + on->parts * (uint64_t)d->count, sizeof(*d->run));
    d->part_end = ki_area_take(&d->part_area, on->parts, sizeof(*d->part_end));
    if (!d->run || !d->part_end) return 0;
    size_t count = 0;
    for (size_t p = 0; p < on->parts; p++) {
        for (size_t list = 0; list < lists; list++) count += add_runs(ivf, &on->part[p], list, d->run + count);
        d->part_end[p] = count;
    }
    return 1;
}

/* ---- Works ------------------------------------------------------------------------------------------------------- */

static void keep(ki_ivf *ivf, const ki_device_part *part, const ki_device_found *found) {
    struct ki_ivf_device *d = ivf->device;
    for (size_t i = 0; i < d->count; i++) d->overflowed |= found->reached[i] > found->room;
    for (size_t i = 0; i < found->count && !d->overflowed; i++) {
        const ki_device_hit *hit = &found->hits[i];
        const size_t block = part->first + hit->place / KI_BLOCK;
        unsigned rows;
        if (hit->query >= d->count || block >= part->end) continue; /* but of a broken device */
        const uint32_t position = ki_view_block_row(ivf->view, block, &rows) + hit->place % KI_BLOCK;
        ki_ivf_keep(ivf, &ivf->worker[0], d->first + hit->query, &hit->score, &position, 1);
    }
}

static kith_status end_work(ki_ivf *ivf, size_t device, unsigned slot) {
    ki_device_lines *lines = &ivf->device->lines;
    const ki_device_part *part = lines->work[device][slot].part;
    ki_device_found found;
    kith_error error = {0};
    if (!part) return KITH_OK;
    const kith_status status = lines->on->backend->wait(lines->stream[device], slot, &found, &error);
    if (status != KITH_OK) return fail(ivf, status, &error);
    keep(ivf, part, &found);
    lines->work[device][slot].part = NULL;
    return ki_limits_reached(&ivf->search->limits, 0);
}

static kith_status begin_work(ki_ivf *ivf, size_t p, size_t pass) {
    struct ki_ivf_device *d = ivf->device;
    ki_device_lines *lines = &d->lines;
    const ki_device_part *part = &lines->on->part[p];
    const size_t first = p ? d->part_end[p - 1] : 0, device = part->device;
    const unsigned slot = ki_device_lines_slot(lines, device);
    const ki_device_range range = {ki_device_passes[pass].offset, 0, ki_device_passes[pass].step};
    kith_error error = {0};
    if (first == d->part_end[p]) return KITH_OK;
    kith_status status = end_work(ivf, device, slot);
    if (status != KITH_OK) return status;
    float *thresholds = ki_area_take(&d->threshold_area, d->count, sizeof(float));
    if (!thresholds) return KITH_E_NOMEM;
    for (size_t i = 0; i < d->count; i++)
        thresholds[i] = atomic_load_explicit(&ivf->tau[d->first + i], memory_order_relaxed);
    status =
        lines->on->backend->score(lines->stream[device], slot, part->memory, d->run + first, d->part_end[p] - first,
                                  range, d->allowed ? d->allowed + part->first : NULL, thresholds, &error);
    if (status != KITH_OK) return fail(ivf, status, &error);
    lines->work[device][slot] = (ki_device_work){part, 0, 0, 0};
    lines->begun[device]++;
    return KITH_OK;
}

static kith_status scan_slice(ki_ivf *ivf) {
    ki_device_lines *lines = &ivf->device->lines;
    kith_status status = begin_slice(ivf);
    if (status == KITH_OK && !take_runs(ivf)) status = KITH_E_NOMEM;
    for (size_t pass = 0; pass < KI_DEVICE_PASSES && !ivf->device->overflowed; pass++)
        for (size_t p = 0; p < lines->on->parts && status == KITH_OK; p++) status = begin_work(ivf, p, pass);
    for (size_t i = 0; i < lines->on->devices; i++)
        for (unsigned slot = 0; slot < KI_DEVICE_SLOTS && status == KITH_OK; slot++)
            status = end_work(ivf, i, (unsigned)((lines->begun[i] + slot) % KI_DEVICE_SLOTS));
    return status;
}

/* Nothing was found yet. */
static void forget(ki_ivf *ivf) {
    for (size_t i = 0; i < ivf->count; i++) {
        atomic_store(&ivf->tau[i], -INFINITY);
        ivf->worker[0].candidates[i] = 0;
    }
}

static void count_scanned(const ki_ivf *ivf, ki_counts *counts) {
    const ki_lists *lists = &ivf->view->lists;
    for (size_t l = 0; l < lists->count; l++) {
        const uint64_t pairs = ki_ivf_end_pair(ivf, l) - ki_ivf_first_pair(ivf, l);
        const uint64_t blocks = lists->first_block[l + 1] - lists->first_block[l];
        counts->scanned_bytes += pairs * blocks * (ivf->level->quads * KI_QUAD_BYTES + KI_FACTORS * sizeof(float));
        counts->scanned_rows += pairs * (lists->first_row[l + 1] - lists->first_row[l]);
    }
}

kith_status ki_ivf_scan_on_device(ki_ivf *ivf, ki_counts *counts) {
    const uint64_t start = ki_now_ns();
    kith_status status = open_lines(ivf);
    if (status == KITH_OK && !take_allowed(ivf)) status = KITH_E_NOMEM;
    if (ivf->device) ivf->device->overflowed = 0;
    for (size_t first = 0; first < ivf->count && status == KITH_OK && !ivf->device->overflowed; first += SLICE) {
        ivf->device->first = first;
        ivf->device->count = ki_min_size(SLICE, ivf->count - first);
        status = scan_slice(ivf);
    }
    if (ivf->device) ki_device_lines_times(&ivf->device->lines, counts->device_ns);
    if (status != KITH_OK) {
        if (ivf->device) ki_device_lines_stop(&ivf->device->lines);
        return status;
    }
    ivf->scanned = !ivf->device->overflowed;
    if (ivf->scanned)
        count_scanned(ivf, counts);
    else
        forget(ivf);
    counts->stage_ns[KITH_STAGE_SCAN] += ki_now_ns() - start;
    return KITH_OK;
}

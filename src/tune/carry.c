/* SPDX-License-Identifier: Apache-2.0
 *
 * A calibration that is taken over: an index that was made of another one, of most of its rows and some more, answers
 * searches with a target recall before it was measured itself.
 *
 * What k nearest neighbours need is about a share of the lists: with more rows in more lists the share falls, with
 * fewer it rises, at most as fast as the number of rows falls. Candidates displace a neighbour the more, the closer
 * rows lie. So shares of lists and candidates are scaled, by MARGIN more than that, and recall is believed less
 * (DOUBT): the planner keeps one and a half times a recall's error in hand. Held against exact answers in
 * tests/unit/test_carry.c; what is measured afterwards is cheaper to search with, not better to trust.
 *
 * Costs are scaled by the rows that are met; all by the same, so that the choice among settings stays as it was. */
#include "tune/tune.h"

#include "base/checked.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>

static const double MARGIN = 1.25, DOUBT = 0.005;

/* Of the new index in terms of the old one. */
struct ratio {
    double rows, lists;
    size_t lists_most;
};

static int has_second_lists(const kith_index *index) {
    return index->view.second_lists.level.blocks != 0;
}

static int can_search(const kith_index *to, const kith_tuned *setting) {
    if (setting->code == KITH_SCAN_SECOND) return to->view.second.spec.kind != KI_SECOND_NONE;
    return setting->code != KITH_SCAN_FIRST || to->view.level1.blocks != 0;
}

static size_t scaled(size_t count, double by, size_t most) {
    const double wanted = ceil((double)count * by);
    return wanted < (double)most ? (size_t)wanted : most;
}

static kith_tuned carry(const kith_tuned *from, const struct ratio *ratio) {
    kith_tuned to = *from;
    to.query_ns *= ratio->rows;
    if (from->plan != KITH_PLAN_IVF) return to;
    const double fewer = ratio->rows < 1 ? 1 / ratio->rows : 1, more = ratio->rows > 1 ? ratio->rows : 1;
    to.nprobe = scaled(from->nprobe, ratio->lists * MARGIN * fewer, ratio->lists_most);
    to.rerank = scaled(from->rerank, MARGIN * sqrt(more), 4 * KITH_K_MAX);
    to.recall_error = from->recall_error + DOUBT < 1 ? from->recall_error + DOUBT : 1;
    to.query_ns *= MARGIN;
    return to;
}

/* Settings that became the same are one, which is believed no more than the least of them. */
static size_t unite(kith_tuned *setting, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!kept || ki_tuned_compare(&setting[kept - 1], &setting[i]) != 0)
            setting[kept++] = setting[i];
        else if (setting[i].recall < setting[kept - 1].recall)
            setting[kept - 1] = setting[i];
    }
    return kept;
}

kith_status ki_tune_carry(const kith_index *from, const kith_index *to, unsigned char **bytes, size_t *count,
                          kith_error *error) {
    const ki_view *old = &from->view, *now = &to->view;
    const struct ratio ratio = {.rows = (double)now->rows / (double)old->rows,
                                .lists = (double)now->lists.count / (double)old->lists.count,
                                .lists_most = now->lists.count};
    ki_calibration carried = from->calibration;
    *bytes = NULL;
    if (!carried.count || now->lists.count == 1 || !now->originals || has_second_lists(from) != has_second_lists(to))
        return KITH_OK;
    carried.settings = ki_alloc_array(carried.count, sizeof(*carried.settings));
    if (!carried.settings) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
    carried.count = 0;
    for (size_t i = 0; i < from->calibration.count; i++)
        if (can_search(to, &from->calibration.settings[i]))
            carried.settings[carried.count++] = carry(&from->calibration.settings[i], &ratio);
    qsort(carried.settings, carried.count, sizeof(*carried.settings), ki_tuned_compare);
    carried.count = unite(carried.settings, carried.count);
    unsigned char *made = carried.count ? ki_alloc_array(ki_calibration_bytes(carried.count), 1) : NULL;
    const int failed = carried.count && !made;
    if (made) {
        ki_calibration_encode(&carried, made);
        *bytes = made;
        *count = ki_calibration_bytes(carried.count);
    }
    free(carried.settings);
    return failed ? ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration") : KITH_OK;
}

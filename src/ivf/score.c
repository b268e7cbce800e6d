/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of scores, of queries with the vectors of a level, and the best of a row. */
#include "ivf/state.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

void ki_ivf_pack(const ki_ivf *ivf, const ki_ivf_worker *w, int full, const uint32_t *query, unsigned count,
                 ki_panel *panel) {
    const size_t quads = full ? ivf->view->full.quads : ivf->level->quads;
    const int8_t *bytes = full ? ivf->bytes : ivf->scan_bytes, *rows[KI_PANEL_MAX];
    panel->packed = w->packed;
    panel->count = count;
    panel->ahead = NULL;
    panel->ahead_lines = 0;
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) {
        panel->need[i] = i < count ? -INFINITY : INFINITY;
        panel->scale[i] = 0;
        panel->start[i] = 0;
    }
    for (unsigned i = 0; i < count; i++) {
        rows[i] = bytes + query[i] * 4 * quads;
        panel->scale[i] = full ? ivf->code[query[i]].scale : ivf->scan_scale[query[i]];
        panel->start[i] = full ? ivf->code[query[i]].start : ivf->scan_start[query[i]];
    }
    ivf->tile->pack(rows, count, quads, w->packed);
}

static size_t put_scores(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level,
                         size_t first, size_t end, float *const *to) {
    size_t put = 0;
    for (size_t block = first; block < end;) {
        size_t hits = 0;
        block = ivf->tile->score(level, panel, block, end, w->hits, w->scores, KI_IVF_HITS, &hits);
        for (size_t h = 0; h < hits; h++) {
            if (w->hits[h].query >= panel->count) continue; /* an infinite score, as below */
            memcpy(to[w->hits[h].query] + (w->hits[h].block - first) * KI_BLOCK, w->scores[h], sizeof(w->scores[h]));
            put++;
        }
    }
    return put;
}

/* A damaged file's factors can make scores infinite or NaN. A block of NaN the kernel passes over: it counts as
 * least. */
void ki_ivf_score(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level, size_t first,
                  size_t end, float *const *to) {
    if (put_scores(ivf, w, panel, level, first, end, to) == panel->count * (end - first)) return;
    for (unsigned i = 0; i < panel->count; i++)
        for (size_t v = 0; v < (end - first) * KI_BLOCK; v++) to[i][v] = -INFINITY;
    put_scores(ivf, w, panel, level, first, end, to);
}

/* A threshold that the `wanted` best scores reach. */
static float least_score(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t blocks, size_t wanted) {
    const size_t groups = ki_pick_groups(wanted);
    float *maxima = w->work, *spare = maxima + groups * KI_BLOCK;
    if (groups > blocks || groups * KI_BLOCK < wanted) return -INFINITY;
    for (size_t i = 0; i < groups * KI_BLOCK; i++) maxima[i] = -INFINITY;
    ivf->pick->maxima(scores, blocks, groups, maxima);
    return ivf->pick->nth(maxima, groups * KI_BLOCK, wanted, spare);
}

size_t ki_ivf_pick(const ki_ivf *ivf, ki_ivf_worker *w, const float *scores, size_t blocks, size_t count,
                   size_t wanted) {
    const float least = least_score(ivf, w, scores, blocks, wanted);
    size_t found = ki_min_size(ivf->pick->above(scores, blocks, least, w->index, count), count);
    while (found && w->index[found - 1] >= count) found--; /* they ascend */
    if (found <= wanted) return found;
    float *const reached = w->work, *const spare = reached + ki_round_up(found, KI_BLOCK);
    for (size_t i = 0; i < found; i++) reached[i] = scores[w->index[i]];
    const float last = ivf->pick->nth(reached, found, wanted, spare);
    size_t ties = wanted, kept = 0;
    for (size_t i = 0; i < found; i++) ties -= reached[i] > last;
    for (size_t i = 0; i < found && kept < wanted; i++) {
        const int tie = reached[i] == last && ties > 0;
        w->index[kept] = w->index[i];
        kept += reached[i] > last || tie;
        ties -= (size_t)tie;
    }
    return kept;
}

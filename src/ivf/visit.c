/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing lists by supers, where they are many: a query looks at the centroids of the supers nearest to it only.
 * Queries of a step that look into one super are taken together, so that its centroids are read once for them. A
 * query's row of scores has the blocks of its supers one after the other, in their order; a block in which one super
 * ends and the next begins stands there once, and is scored twice alike. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/counting_sort.h"

void ki_ivf_visit(const ki_ivf *ivf, ki_ivf_worker *w, size_t at, const float *scores) {
    const ki_lists *lists = &ivf->view->lists;
    const size_t picked = ki_ivf_pick(ivf, w, scores, ivf->supers.level.blocks, lists->supers, ivf->visits);
    ki_visit *visit = w->visit + at * ivf->visits;
    size_t length = 0, before = SIZE_MAX, kept = 0;
    for (size_t i = 0; i < picked; i++) {
        const size_t super = w->index[i], first = ki_super_first_block(lists, super),
                     end = ki_super_end_block(lists, super);
        if (first == end) continue;
        length -= first + 1 == before;
        visit[kept++] = (ki_visit){(uint32_t)super, (uint32_t)length};
        length += end - first;
        before = end;
    }
    w->visits[at] = (uint32_t)kept;
    w->row_length[at] = (uint32_t)length;
}

/* Sort the visits of a step by super. */
static void group_visits(const ki_ivf *ivf, ki_ivf_worker *w, size_t first, size_t count) {
    const size_t supers = ivf->view->lists.supers;
    uint32_t *start = w->visitor_first;
    ki_sort_begin(start, supers);
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < w->visits[i]; v++) ki_sort_count(start, w->visit[i * ivf->visits + v].name);
    ki_sort_starts(start, supers);
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < w->visits[i]; v++) {
            const ki_visit *visit = &w->visit[i * ivf->visits + v];
            w->visitor[ki_sort_place(start, visit->name)] = (ki_visit){(uint32_t)(first + i), visit->at};
        }
}

void ki_ivf_score_visits(const ki_ivf *ivf, ki_ivf_worker *w, size_t first, size_t count) {
    const ki_lists *lists = &ivf->view->lists;
    const ki_level *level = ivf->coarse_first ? &lists->coarse_first : &lists->coarse;
    const size_t width = ivf->tile->width;
    group_visits(ivf, w, first, count);
    for (size_t s = 0; s < lists->supers; s++)
        for (size_t at = w->visitor_first[s]; at < w->visitor_first[s + 1]; at += width) {
            const unsigned taken = (unsigned)ki_min_size(width, w->visitor_first[s + 1] - at);
            uint32_t query[KI_PANEL_MAX] = {0};
            float *to[KI_PANEL_MAX];
            ki_panel panel;
            for (unsigned i = 0; i < taken; i++) {
                const ki_visit *visitor = &w->visitor[at + i];
                query[i] = visitor->name;
                to[i] = w->row + ((visitor->name - first) * ivf->row_blocks + visitor->at) * KI_BLOCK;
            }
            ki_ivf_pack(ivf, w, !ivf->coarse_first, query, taken, &panel);
            ki_ivf_score(ivf, w, &panel, level, ki_super_first_block(lists, s), ki_super_end_block(lists, s), to);
        }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing lists: queries are coded, a panel of them meets the coded centroids, and each query takes its nprobe best.
 * The scores of centroids are estimates too: their error is that of one more int8 product, far below the spread of a
 * list. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/clock.h"
#include "kernel/distance.h"
#include "quant/level1.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

static kith_status encode(ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const ki_view *view = ivf->view;
    const float *q = ki_ivf_query(ivf, query);
    ivf->inverse[query] = ki_query_inverse(view, q);
    ivf->norm2[query] = ki_query_norm2(view, q);
    if (!ki_query_encode(view, q, ivf->inverse[query], w->rows, ivf->bytes + query * 4 * view->full.quads,
                         &ivf->code[query]))
        return KITH_E_CORRUPT;
    ivf->scan_scale[query] = ivf->code[query].scale;
    ivf->scan_start[query] = ivf->code[query].start;
    if (ivf->search->code == KITH_SCAN_SECOND)
        ki_second_prepare(&view->second, w->rows, w->spare, ivf->second + query * view->second.query_bytes);
    return KITH_OK;
}

/* Code a query's place in the first level's basis. Where it holds what no finite basis gives, the query has code 0. */
static void encode_first(ki_ivf *ivf, float *place, size_t query) {
    const size_t columns = 4 * ivf->view->level1.quads, directions = ki_level1_directions(columns);
    int8_t *code = ivf->scan_bytes + query * columns;
    float largest = 0, norm2 = 0;
    ki_int8_facts facts = {0};
    for (size_t j = directions; j < columns; j++) place[j] = 0; /* lengths of what is left out: for bounds only */
    for (size_t j = 0; j < directions; j++) {
        largest = fabsf(place[j]) > largest ? fabsf(place[j]) : largest;
        norm2 += place[j] * place[j];
    }
    memset(code, 0, columns);
    if (isfinite(norm2)) ki_int8_encode(place, columns, largest, norm2, code, &facts);
    ivf->scan_scale[query] = facts.scale;
    ivf->scan_start[query] = -KI_CODE_OFFSET * facts.sum;
}

/* What all vectors of a list have in common in their scores; the query's own base, the same for all lists, is left out:
 * beside a query far away it would drown the rest. */
static float base_of(const ki_ivf *ivf, float centroid_score) {
    const kith_scan_code code = ivf->search->code;
    return ivf->view->residual && code != KITH_SCAN_FIRST && code != KITH_SCAN_ROWS ? centroid_score : 0;
}

/* The score of the nearest of the centroids picked: from scores of the first level, which leave something out, it is
 * computed anew. */
static float best_score(const ki_ivf *ivf, size_t query, const ki_probe *probe, size_t picked) {
    const ki_view *view = ivf->view;
    const float *q = ki_ivf_query(ivf, query);
    float best = -INFINITY;
    uint32_t list = 0;
    for (size_t i = 0; i < picked; i++) {
        list = probe[i].base > best ? probe[i].list : list;
        best = probe[i].base > best ? probe[i].base : best;
    }
    if (!picked || !ivf->coarse_first) return ivf->code[query].base + best;
    const float *centroid = view->lists.centroids + (size_t)list * view->dim;
    if (view->metric == KITH_L2SQ) return -ki_distance()->l2sq[KITH_F32](q, centroid, view->dim) / 2;
    return ivf->inverse[query] * ki_distance()->dot[KITH_F32](q, centroid, view->dim);
}

float ki_ivf_chosen_statistic(const ki_ivf *ivf, size_t query) {
    return ivf->statistic[query];
}

int ki_ivf_is_thin(const ki_ivf *ivf, size_t query) {
    return (int)ivf->thin[query];
}

/* Scores of a query with centroids: of all, block by block, or of those of the supers that it visits. */
struct row {
    float *scores;
    size_t blocks, visits;
    const ki_visit *visit; /* NULL: all */
};

/* The block of centroids that block `at` of a row is; *v: the visit that it belongs to, or one before. */
static size_t block_of(const ki_ivf *ivf, const struct row *row, size_t at, size_t *v) {
    if (!row->visit) return at;
    while (*v + 1 < row->visits && row->visit[*v + 1].at <= at) ++*v;
    return ki_super_first_block(&ivf->view->lists, row->visit[*v].name) + at - row->visit[*v].at;
}

/* The `wanted` best lists with their scores, in the order of lists. */
static size_t pick_lists(const ki_ivf *ivf, ki_ivf_worker *w, const struct row *row, size_t wanted, ki_probe *probe) {
    const size_t lists = ivf->view->lists.count;
    const size_t picked =
        ki_ivf_pick(ivf, w, row->scores, row->blocks, row->visit ? row->blocks * KI_BLOCK : lists, wanted);
    size_t v = 0, kept = 0;
    for (size_t i = 0; i < picked; i++) {
        const size_t at = w->index[i], list = block_of(ivf, row, at / KI_BLOCK, &v) * KI_BLOCK + at % KI_BLOCK;
        probe[kept] = (ki_probe){(uint32_t)list, row->scores[at]};
        kept += list < lists;
    }
    return kept;
}

/* ---- What a filter leaves in a query's lists (V6) ---------------------------------------------------------------- */

/* Allowed vectors in lists, and all of them; second lists are left out. */
struct met {
    double allowed, rows;
};

/* In those of the lists picked whose centroids score at least so. */
static struct met meet(const ki_ivf *ivf, const ki_probe *probe, size_t count, float least) {
    const uint32_t *first_row = ivf->view->lists.first_row, *list_counts = ivf->search->share.list_counts;
    struct met met = {0, 0};
    for (size_t i = 0; i < count; i++) {
        if (!(probe[i].base >= least)) continue;
        met.allowed += list_counts[probe[i].list];
        met.rows += first_row[probe[i].list + 1] - first_row[probe[i].list];
    }
    return met;
}

/* The score of the `wanted` nearest of the lists picked. */
static float nearest_score(const ki_ivf *ivf, ki_ivf_worker *w, const ki_probe *probe, size_t count, size_t wanted) {
    float *const score = w->work, *const spare = score + ki_round_up(count, KI_BLOCK);
    for (size_t i = 0; i < count; i++) score[i] = probe[i].base;
    return ivf->pick->nth(score, count, wanted, spare);
}

/* Clearly fewer than presumed: by more than a tenth and twice what chance does, so that next to no query is searched
 * again where a filter picks at random. */
static int is_thin(const ki_ivf_share *share, const struct met *met) {
    const double expected = share->presumed * met->rows;
    return met->allowed < 0.9 * expected - 2 * sqrt(expected);
}

/* The nearest lists that hold allowed vectors: their best prove a threshold. */
static size_t pick_seeds(const ki_ivf *ivf, ki_ivf_worker *w, struct row *row, ki_probe *probe) {
    enum { SEEDS = 8, SEEDS_OF_ROWS = 2 };
    const uint32_t *list_counts = ivf->search->share.list_counts;
    const size_t lists = ivf->view->lists.count, most = ivf->search->code == KITH_SCAN_ROWS ? SEEDS_OF_ROWS : SEEDS;
    size_t v = 0, kept = 0;
    for (size_t at = 0; at < row->blocks * KI_BLOCK; at++) {
        const size_t list = block_of(ivf, row, at / KI_BLOCK, &v) * KI_BLOCK + at % KI_BLOCK;
        if (list >= lists || !list_counts[list]) row->scores[at] = -INFINITY;
    }
    const size_t picked = pick_lists(ivf, w, row, ki_min_size(most, ivf->nprobe), probe);
    for (size_t i = 0; i < picked; i++) {
        probe[kept] = probe[i];
        kept += list_counts[probe[i].list] != 0;
    }
    return kept;
}

/* Between `least` lists where all is allowed and nprobe where the presumed share is, lists grow as a power of the
 * share. A query in whose lists another share is allowed probes as many as that asks for: fewer where the nearest hold
 * no less of it, more as far as there is room. */
static size_t fit_lists(const ki_ivf *ivf, ki_ivf_worker *w, const struct row *row, size_t picked,
                        const struct met *met, ki_probe *probe) {
    const ki_ivf_share *share = &ivf->search->share;
    const double own = met->allowed / met->rows, most = (double)ivf->nprobe, least = (double)share->least;
    const double power = log(most / least) / log(1 / share->presumed);
    if (picked != ivf->nprobe || !(own > 0)) return picked;
    if (own < share->presumed) {
        const double more = most * pow(share->presumed / own, power > 0.5 ? power : 0.5);
        return more < most + 1 ? picked : pick_lists(ivf, w, row, ki_min_size((size_t)more, ivf->probe_stride), probe);
    }
    const size_t wanted = (size_t)ceil(most * pow(share->presumed / own, power));
    if (wanted < share->least || wanted >= picked) return picked;
    const float nearest = nearest_score(ivf, w, probe, picked, wanted);
    const struct met nearer = meet(ivf, probe, picked, nearest);
    if (nearer.allowed < own * nearer.rows) return picked;
    size_t kept = 0;
    for (size_t i = 0; i < picked; i++) {
        probe[kept] = probe[i];
        kept += probe[i].base >= nearest;
    }
    return kept;
}

/* Thin is a query whose lists are, and one whose nearest lists are: what it finds beyond is not what was measured. */
static size_t heed_filter(ki_ivf *ivf, ki_ivf_worker *w, size_t query, struct row *row, size_t picked, ki_probe *probe,
                          ki_counts *counts) {
    enum { NEAREST_PART = 3 };
    const ki_ivf_share *share = &ivf->search->share;
    if (!(share->presumed > 0)) return pick_seeds(ivf, w, row, probe);
    if (!picked) return 0;
    const struct met met = meet(ivf, probe, picked, -INFINITY);
    const float nearest = nearest_score(ivf, w, probe, picked, (picked + NEAREST_PART - 1) / NEAREST_PART);
    const struct met nearer = meet(ivf, probe, picked, nearest);
    if (!is_thin(share, &met) && !is_thin(share, &nearer)) return fit_lists(ivf, w, row, picked, &met, probe);
    ivf->thin[query] = 1;
    counts->unusual++;
    return pick_seeds(ivf, w, row, probe);
}

/* Lists that a query probes, were it like all others. Which probe one less does not depend on company or tier. */
static size_t lists_for(const ki_ivf *ivf, size_t query) {
    const double fewer = ivf->search->fewer;
    if (!(fewer > 0) || ivf->nprobe < 2) return ivf->nprobe;
    const size_t bytes = 4 * ivf->view->full.quads;
    const uint64_t drawn = XXH3_64bits(ivf->bytes + query * bytes, bytes) >> 11;
    return ivf->nprobe - ((double)drawn * 0x1p-53 < fewer);
}

static void choose_best(ki_ivf *ivf, ki_ivf_worker *w, size_t query, struct row *row, ki_counts *counts) {
    const size_t careful = ki_min_size(ivf->search->careful.nprobe, ivf->probe_stride);
    ki_probe *probe = ivf->probe + query * ivf->probe_stride;
    size_t picked = pick_lists(ivf, w, row, lists_for(ivf, query), probe);
    ivf->statistic[query] = ki_query_statistic(ivf->view, best_score(ivf, query, probe, picked), ivf->code[query].b);
    ivf->thin[query] = 0;
    if (careful > ivf->nprobe && ivf->statistic[query] < ivf->search->careful.below) {
        picked = pick_lists(ivf, w, row, careful, probe);
        counts->unusual++;
    }
    if (ivf->search->share.list_counts) picked = heed_filter(ivf, w, query, row, picked, probe, counts);
    ivf->probes[query] = (uint32_t)picked;
    for (size_t i = 0; i < picked; i++) probe[i].base = base_of(ivf, probe[i].base);
    for (size_t i = 0; i < picked && ivf->second_lists; i++)
        ivf->probed[query * ivf->words + probe[i].list / 64] |= UINT64_C(1) << probe[i].list % 64;
}

/* Scores of a panel with a whole level: a row a query, into w->coarse. */
static void score_level(const ki_ivf *ivf, ki_ivf_worker *w, const ki_panel *panel, const ki_level *level) {
    float *to[KI_PANEL_MAX];
    for (unsigned i = 0; i < panel->count; i++) to[i] = w->coarse + i * level->blocks * KI_BLOCK;
    ki_ivf_score(ivf, w, panel, level, 0, level->blocks, to);
}

/* There is one list, and nothing to choose (V7). */
static kith_status choose_all(ki_ivf *ivf, size_t first, size_t count) {
    for (size_t query = first; query < first + count; query++) {
        ivf->probe[query * ivf->probe_stride] = (ki_probe){0, 0};
        ivf->probes[query] = 1;
        ivf->thin[query] = 0;
        ivf->statistic[query] = 0;
    }
    return KITH_OK;
}

/* Code a panel of queries. Where lists are chosen in one level, choose; in two, only which supers they visit. */
static kith_status choose_panel(ki_ivf *ivf, ki_ivf_worker *w, size_t first, size_t step, unsigned count,
                                ki_counts *counts) {
    const ki_lists *lists = &ivf->view->lists;
    uint32_t query[KI_PANEL_MAX] = {0};
    ki_panel panel;
    for (unsigned i = 0; i < count; i++) {
        const kith_status status = encode(ivf, w, query[i] = (uint32_t)(first + i));
        if (status != KITH_OK) return status;
    }
    if (ivf->strip_blocks) return choose_all(ivf, first, count);
    ki_ivf_pack(ivf, w, 1, query, count, &panel);
    if (ivf->visits) {
        score_level(ivf, w, &panel, &ivf->supers.level);
        for (unsigned i = 0; i < count; i++)
            ki_ivf_visit(ivf, w, first + i - step, w->coarse + i * ivf->supers.level.blocks * KI_BLOCK);
    }
    if (ivf->search->code == KITH_SCAN_FIRST) {
        const ki_level *basis = &ivf->basis.level;
        score_level(ivf, w, &panel, basis);
        for (unsigned i = 0; i < count; i++) encode_first(ivf, w->coarse + i * basis->blocks * KI_BLOCK, first + i);
        if (ivf->coarse_first && !ivf->visits) ki_ivf_pack(ivf, w, 0, query, count, &panel);
    }
    if (ivf->visits) return KITH_OK;
    score_level(ivf, w, &panel, ivf->coarse_first ? &lists->coarse_first : &lists->coarse);
    for (unsigned i = 0; i < count; i++) {
        struct row row = {w->coarse + i * lists->coarse.blocks * KI_BLOCK, lists->coarse.blocks, 0, NULL};
        choose_best(ivf, w, first + i, &row, counts);
    }
    return KITH_OK;
}

static kith_status choose_step(ki_ivf *ivf, ki_ivf_worker *w, size_t first, size_t count, ki_counts *counts) {
    const size_t width = ivf->tile->width;
    for (size_t done = 0; done < count; done += width) {
        const unsigned taken = (unsigned)ki_min_size(width, count - done);
        const kith_status status = choose_panel(ivf, w, first + done, first, taken, counts);
        if (status != KITH_OK) return status;
    }
    if (!ivf->visits) return KITH_OK;
    ki_ivf_score_visits(ivf, w, first, count);
    for (size_t i = 0; i < count; i++) {
        struct row row = {w->row + i * ivf->row_blocks * KI_BLOCK, w->row_length[i], w->visits[i],
                          w->visit + i * ivf->visits};
        choose_best(ivf, w, first + i, &row, counts);
    }
    return KITH_OK;
}

kith_status ki_ivf_choose(ki_ivf *ivf, unsigned worker, size_t first, size_t count, ki_counts *counts) {
    const uint64_t start = ki_now_ns();
    for (size_t done = 0; done < count; done += ivf->step) {
        kith_status status = ki_limits_reached(&ivf->search->limits, worker);
        if (status == KITH_OK)
            status = choose_step(ivf, &ivf->worker[worker], first + done, ki_min_size(ivf->step, count - done), counts);
        if (status != KITH_OK) return status;
    }
    counts->stage_ns[KITH_STAGE_PREPARE] += ki_now_ns() - start;
    return KITH_OK;
}

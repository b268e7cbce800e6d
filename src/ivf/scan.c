/* SPDX-License-Identifier: Apache-2.0
 *
 * Scanning lists: panels of the queries that probe a list against its codes.
 *
 * What reaches a query's threshold is appended to its candidates. When they are full, the rerank-th best of them, found
 * by a few passes of counting, becomes the threshold, and what lies below goes. So a threshold is the better the more a
 * query has seen: between two selections its candidates grow by a constant, and what it has seen by a factor. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/clock.h"

#include <math.h>
#include <string.h>

static float threshold_of(const ki_ivf *ivf, size_t query) {
    return atomic_load_explicit(&ivf->tau[query], memory_order_relaxed);
}

static void raise_threshold(ki_ivf *ivf, size_t query, float to) {
    float seen = threshold_of(ivf, query);
    while (to > seen && !atomic_compare_exchange_weak_explicit(&ivf->tau[query], &seen, to, memory_order_relaxed,
                                                               memory_order_relaxed)) {
    }
}

/* Candidates of one query: their estimates, and their positions beside them. */
struct candidates {
    float *score;
    uint32_t *position;
    uint32_t *count;
};

static struct candidates candidates_of(const ki_ivf *ivf, const ki_ivf_worker *w, size_t query) {
    return (struct candidates){w->score + query * ivf->capacity, w->position + query * ivf->capacity,
                               w->candidates + query};
}

/* Keep what reaches a threshold. */
static void keep_above(const struct candidates *c, float least) {
    size_t kept = 0;
    for (size_t i = 0; i < *c->count; i++) {
        const float score = c->score[i];
        c->score[kept] = score;
        c->position[kept] = c->position[i];
        kept += score >= least;
    }
    *c->count = (uint32_t)kept;
}

/* Ties at the threshold in plenty: only the best by (score, position) stay. */
static void keep_best(ki_ivf_worker *w, const struct candidates *c, size_t wanted) {
    for (size_t i = 0; i < *c->count; i++) w->picked[i] = (ki_hit){-c->score[i], c->position[i], c->position[i]};
    ki_hits_select(w->picked, *c->count, wanted);
    for (size_t i = 0; i < wanted; i++) {
        c->score[i] = -w->picked[i].distance;
        c->position[i] = w->picked[i].position;
    }
    *c->count = (uint32_t)wanted;
}

static void make_room(ki_ivf *ivf, ki_ivf_worker *w, size_t query) {
    const size_t enough = ivf->capacity - 2 * KI_BLOCK;
    const struct candidates c = candidates_of(ivf, w, query);
    if (*c.count > ivf->rerank) raise_threshold(ivf, query, ivf->pick->nth(c.score, *c.count, ivf->rerank, w->work));
    keep_above(&c, threshold_of(ivf, query));
    if (*c.count > enough) keep_best(w, &c, ivf->rerank);
}

void ki_ivf_keep(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const float *score, const uint32_t *position,
                 size_t count) {
    const struct candidates c = candidates_of(ivf, w, query);
    if (*c.count + 2 * KI_BLOCK > ivf->capacity) make_room(ivf, w, query);
    const float least = threshold_of(ivf, query);
    for (size_t i = 0; i < count; i++) {
        c.score[*c.count] = score[i];
        c.position[*c.count] = position[i];
        *c.count += score[i] >= least;
    }
}

/* Vectors of a list, or those whose second list it is. */
struct span {
    const ki_level *level;
    size_t first_block, end_block;
    uint32_t first, count;        /* positions, or entries */
    const ki_second_entry *entry; /* the entries, or NULL */
};

/* Of new candidates, which are entries: the positions of those that the query does not meet in their first list. */
static uint32_t keep_second_entry(const ki_ivf *ivf, const struct span *s, size_t query, const struct candidates *c,
                                  uint32_t end) {
    const uint64_t *probed = ivf->probed + query * ivf->words, *allowed = ivf->search->allowed;
    const uint64_t rows = ivf->view->rows, lists = ivf->view->lists.count;
    uint32_t kept = *c->count;
    for (uint32_t i = kept; i < end; i++) {
        const ki_second_entry found = s->entry[c->position[i]];
        const int there = found.position < rows && found.list < lists; /* but in a damaged file */
        const uint32_t position = there ? found.position : 0, list = there ? found.list : 0;
        const int out = !there || (probed[list / 64] >> list % 64 & 1) ||
                        (allowed && !(allowed[position / 64] >> position % 64 & 1));
        c->score[kept] = c->score[i];
        c->position[kept] = position;
        kept += !out;
    }
    return kept;
}

/* Take what one call of the kernel found. */
static void consume(ki_ivf *ivf, ki_ivf_worker *w, const struct span *s, const ki_pair *pair, unsigned count,
                    size_t hits) {
    const uint64_t *allowed = s->entry ? NULL : ivf->search->allowed;
    for (size_t h = 0; h < hits; h++) {
        const ki_tile_hit *hit = &w->hits[h];
        if (hit->query >= count) continue; /* a damaged file's infinite score reaches even an empty place's need */
        const uint32_t at = (uint32_t)(hit->block - s->first_block) * KI_BLOCK, left = s->count - at;
        unsigned mask = hit->mask & (left < KI_BLOCK ? (1u << left) - 1 : 0xffff);
        if (allowed) mask &= ki_allowed_bits(allowed, s->first + at);
        if (!mask) continue;
        const size_t query = pair[hit->query].query;
        const struct candidates c = candidates_of(ivf, w, query);
        if (*c.count + 2 * KI_BLOCK > ivf->capacity) make_room(ivf, w, query);
        const size_t end = ivf->pick->collect(w->scores[h], pair[hit->query].base, mask, threshold_of(ivf, query),
                                              s->first + at, c.score, c.position, *c.count);
        *c.count = s->entry ? keep_second_entry(ivf, s, query, &c, (uint32_t)end) : (uint32_t)end;
    }
}

/* What a vector's own part of the score must reach; a little less, as sums are rounded. */
static float need_of(const ki_ivf *ivf, const ki_pair *pair) {
    const float tau = threshold_of(ivf, pair->query);
    return tau - pair->base - 0x1p-21f * (fabsf(tau) + fabsf(pair->base));
}

/* What a panel needs lies in the L2 cache or beyond: ask for it while the panel before is at work. */
static void expect(const ki_ivf *ivf, const ki_ivf_worker *w, const ki_pair *pair, size_t count) {
    enum { LINE = 64 };
    const size_t row_bytes = 4 * ivf->level->quads, probed_bytes = ivf->words * sizeof(uint64_t);
    for (size_t i = 0; i < count; i++) {
        const size_t query = pair[i].query, end = query * ivf->capacity + w->candidates[query];
        const char *row = (const char *)ivf->scan_bytes + query * row_bytes;
        __asm__ volatile("" : : "r"(row)); /* as in ki_query_prefetch() */
        __builtin_prefetch(w->score + end, 1);
        __builtin_prefetch(w->position + end, 1);
        for (size_t at = 0; at < row_bytes; at += LINE) __builtin_prefetch(row + at);
        if (!ivf->second_lists || probed_bytes > 4 * LINE) continue;
        for (size_t at = 0; at < probed_bytes; at += LINE)
            __builtin_prefetch((const char *)(ivf->probed + query * ivf->words) + at);
    }
}

/* Codes that will be read: a part of the list's after this one, so large that its panels together ask for all. */
struct ahead {
    const uint8_t *codes;
    size_t lines;
};

static void scan_tiles(ki_ivf *ivf, ki_ivf_worker *w, const ki_pair *pair, unsigned count, const struct span *s,
                       struct ahead ahead) {
    uint32_t query[KI_PANEL_MAX] = {0};
    ki_panel panel;
    for (unsigned i = 0; i < count; i++) query[i] = pair[i].query;
    ki_ivf_pack(ivf, w, 0, query, count, &panel);
    panel.ahead = ahead.codes;
    panel.ahead_lines = ahead.lines;
    for (unsigned i = 0; i < count; i++) panel.need[i] = need_of(ivf, &pair[i]);
    for (int which = 0; which < 2; which++, s++) {
        for (size_t block = s->first_block; block < s->end_block;) {
            size_t hits = 0;
            const size_t next =
                ivf->tile->score(s->level, &panel, block, s->end_block, w->hits, w->scores, KI_IVF_HITS, &hits);
            const size_t asked = ki_min_size((next - block) * s->level->quads, panel.ahead_lines);
            if (asked) panel.ahead = (const uint8_t *)panel.ahead + asked * KI_QUAD_BYTES;
            panel.ahead_lines -= asked;
            block = next;
            if (!hits) continue;
            consume(ivf, w, s, pair, count, hits);
            for (unsigned i = 0; i < count; i++) panel.need[i] = need_of(ivf, &pair[i]);
        }
    }
}

static void scan_second(ki_ivf *ivf, ki_ivf_worker *w, const ki_pair *pair, unsigned count, const struct span *s) {
    const ki_view *view = ivf->view;
    const void *prepared[KI_PANEL_MAX];
    float need[KI_PANEL_MAX];
    for (unsigned i = 0; i < count; i++) {
        prepared[i] = ivf->second + (size_t)pair[i].query * view->second.query_bytes;
        need[i] = need_of(ivf, &pair[i]);
    }
    for (size_t block = s->first_block; block < s->end_block;) {
        size_t hits = 0;
        block = ki_second_score(&view->second, view->second_codes, view->second_factors, block, s->end_block, prepared,
                                need, count, w->second_work, w->hits, w->scores, KI_IVF_HITS, &hits);
        if (!hits) continue;
        consume(ivf, w, s, pair, count, hits);
        for (unsigned i = 0; i < count; i++) need[i] = need_of(ivf, &pair[i]);
    }
}

/* The vectors of a list, and those whose second list it is; or those of a strip. */
static void spans_of(const ki_ivf *ivf, size_t list, struct span span[2]) {
    const ki_lists *lists = &ivf->view->lists;
    const ki_second_lists *second_lists = ivf->second_lists;
    span[1] = (struct span){0};
    if (ivf->strip_blocks) {
        const size_t first = list * ivf->strip_blocks, end = ki_min_size(first + ivf->strip_blocks, ivf->view->blocks);
        const uint64_t left = ivf->view->rows - first * KI_BLOCK;
        span[0] = (struct span){
            ivf->level, first, end, (uint32_t)(first * KI_BLOCK), (uint32_t)ki_min_u64(left, (end - first) * KI_BLOCK),
            NULL};
        return;
    }
    span[0] = (struct span){ivf->level,
                            lists->first_block[list],
                            lists->first_block[list + 1],
                            lists->first_row[list],
                            lists->first_row[list + 1] - lists->first_row[list],
                            NULL};
    if (ivf->scanned) {
        span[0].end_block = span[0].first_block;
        span[0].count = 0;
    }
    if (second_lists)
        span[1] = (struct span){&second_lists->level,
                                second_lists->first_block[list],
                                second_lists->first_block[list + 1],
                                second_lists->first[list],
                                second_lists->first[list + 1] - second_lists->first[list],
                                second_lists->entry};
}

/* Of the codes of the list that is scanned next, the part that the panel at `done` of `pairs` is to ask for. */
static struct ahead part_ahead(const ki_ivf *ivf, size_t list, size_t done, size_t pairs, size_t width) {
    const size_t panels = (pairs + width - 1) / width, panel = done / width;
    if (list == SIZE_MAX) return (struct ahead){NULL, 0};
    struct span span[2];
    spans_of(ivf, list, span);
    const size_t lines = (span[0].end_block - span[0].first_block) * span[0].level->quads;
    const size_t first = lines * panel / panels, end = lines * (panel + 1) / panels;
    const uint8_t *codes = span[0].level->codes + span[0].first_block * span[0].level->quads * KI_QUAD_BYTES;
    return (struct ahead){codes + first * KI_QUAD_BYTES, end - first};
}

/* All queries that probe a list; next: the list after it, or SIZE_MAX. */
static void scan_list(ki_ivf *ivf, ki_ivf_worker *w, size_t list, size_t following) {
    const int second = ivf->search->code == KITH_SCAN_SECOND;
    const size_t width = second ? ki_min_size(ivf->view->second.width, KI_PANEL_MAX) : ivf->tile->width;
    const size_t pairs = ki_ivf_end_pair(ivf, list) - ki_ivf_first_pair(ivf, list);
    const size_t all = ivf->pair_first[ivf->view->lists.count];
    struct span span[2];
    spans_of(ivf, list, span);
    for (size_t done = 0; done < pairs && span[0].count + span[1].count; done += width) {
        const size_t at = ki_ivf_first_pair(ivf, list) + done, next = at + ki_min_size(width, pairs - done);
        const ki_pair *pair = ivf->pair + at;
        if (!second) expect(ivf, w, ivf->pair + next, ki_min_size(width, all - next));
        if (second)
            scan_second(ivf, w, pair, (unsigned)ki_min_size(width, pairs - done), span);
        else
            scan_tiles(ivf, w, pair, (unsigned)ki_min_size(width, pairs - done), span,
                       part_ahead(ivf, following, done, pairs, width));
    }
}

static void count_list(const ki_ivf *ivf, size_t list, ki_counts *counts) {
    const int second = ivf->search->code == KITH_SCAN_SECOND;
    const size_t pairs = ki_ivf_end_pair(ivf, list) - ki_ivf_first_pair(ivf, list);
    const size_t bytes = second ? ivf->view->second.block_bytes : ivf->level->quads * KI_QUAD_BYTES;
    struct span span[2];
    spans_of(ivf, list, span);
    const size_t blocks = span[0].end_block - span[0].first_block + span[1].end_block - span[1].first_block;
    counts->scanned_bytes += pairs * blocks * (bytes + KI_FACTORS * sizeof(float));
    counts->scanned_rows += pairs * (span[0].count + span[1].count);
    if (!ivf->strip_blocks) counts->probed_lists += pairs;
}

/* The first list from `list` on that some query probes; `end`: none. */
static size_t next_probed(const ki_ivf *ivf, size_t list, size_t end) {
    while (list < end && ki_ivf_first_pair(ivf, list) == ki_ivf_end_pair(ivf, list)) list++;
    return list;
}

kith_status ki_ivf_scan(ki_ivf *ivf, unsigned worker, size_t first, size_t end, ki_counts *counts) {
    enum { LISTS_BETWEEN_POLLS = 16 };
    const uint64_t start = ki_now_ns();
    size_t scanned = 0;
    if (ivf->search->code == KITH_SCAN_ROWS) return ki_ivf_scan_rows(ivf, worker, first, end, counts);
    for (size_t list = next_probed(ivf, first, end), next; list < end; list = next) {
        next = next_probed(ivf, list + 1, end);
        const int poll = scanned++ % LISTS_BETWEEN_POLLS == 0 || ivf->strip_blocks;
        const kith_status status = poll ? ki_limits_reached(&ivf->search->limits, worker) : KITH_OK;
        if (status != KITH_OK) return status;
        scan_list(ivf, &ivf->worker[worker], list, next < end ? next : SIZE_MAX);
        count_list(ivf, list, counts);
    }
    counts->stage_ns[KITH_STAGE_SCAN] += ki_now_ns() - start;
    return KITH_OK;
}

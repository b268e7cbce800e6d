/* SPDX-License-Identifier: Apache-2.0
 *
 * Scanning lists by the vectors themselves: of each list that is probed, and of those whose second list it is, the ones
 * that a filter allows are scored by the defining kernel. Where a filter leaves few, that reads less than the codes of
 * all would be, and nothing is lost for want of candidates.
 *
 * The vectors lie anywhere, so they are fetched before their turn, over the ends of lists too: a strip of positions is
 * made while the one before it waits to be scored. */
#include "ivf/state.h"

#include "base/checked.h"
#include "base/clock.h"

/* STRIP: positions that meet the queries of a list before the next ones. AHEAD: vectors that are fetched before their
 * turn; LINES of each, and the hardware sees where they lead. */
enum { STRIP = 256, AHEAD = 12, LINES = 8, LISTS_BETWEEN_POLLS = 16 };

/* Where the making of strips is. */
struct cursor {
    size_t list, end;
    uint64_t at; /* position in the list, or the entry of its second list */
    int entries;
};

/* Vectors of one list that wait. list[i]: the first list of position[i], of entries that several queries meet. */
struct strip {
    size_t owner, count;
    int entries;
    uint32_t position[STRIP], list[STRIP];
};

static size_t pairs_of(const ki_ivf *ivf, size_t list) {
    return ivf->pair_first[list + 1] - ivf->pair_first[list];
}

/* Whether a query probes a vector's first list: it meets it there. */
static int probes(const ki_ivf *ivf, size_t query, uint32_t list) {
    return (int)(ivf->probed[query * ivf->words + list / 64] >> list % 64 & 1);
}

/* The allowed ones of a list's vectors, from c->at on. */
static void take_rows(const ki_ivf *ivf, struct cursor *c, struct strip *s) {
    const uint64_t *allowed = ivf->search->allowed;
    const uint64_t end = ivf->view->lists.first_row[c->list + 1];
    uint64_t at = c->at;
    while (at < end && s->count < STRIP) {
        if (allowed) {
            const uint64_t word = allowed[at / 64] >> (at % 64);
            if (!word) {
                at = (at / 64 + 1) * 64;
                continue;
            }
            at += (unsigned)__builtin_ctzll(word);
            if (at >= end) break;
        }
        s->position[s->count++] = (uint32_t)at++;
    }
    c->at = at < end ? at : end;
}

/* The same of those whose second list it is. What the only query of a list meets elsewhere is left out at once. */
static void take_entries(const ki_ivf *ivf, struct cursor *c, struct strip *s) {
    const uint64_t *allowed = ivf->search->allowed, rows = ivf->view->rows, end = ivf->second_lists->first[c->list + 1];
    const size_t lists = ivf->view->lists.count, pair = ivf->pair_first[c->list];
    const int alone = pairs_of(ivf, c->list) == 1;
    for (; c->at < end && s->count < STRIP; c->at++) {
        const ki_second_entry entry = ivf->second_lists->entry[c->at];
        if (entry.position >= rows || entry.list >= lists) continue; /* a damaged file's */
        if (allowed && !(allowed[entry.position / 64] >> entry.position % 64 & 1)) continue;
        if (alone && probes(ivf, ivf->pair[pair].query, entry.list)) continue;
        s->position[s->count] = entry.position;
        s->list[s->count++] = entry.list;
    }
}

/* Begin with a list, or with its entries. */
static void enter(const ki_ivf *ivf, struct cursor *c, int entries) {
    c->entries = entries;
    if (c->list < c->end) c->at = entries ? ivf->second_lists->first[c->list] : ivf->view->lists.first_row[c->list];
}

/* The next strip that holds something; count 0: there is none. */
static void next_strip(const ki_ivf *ivf, struct cursor *c, struct strip *s) {
    s->count = 0;
    while (c->list < c->end && s->count == 0) {
        const uint32_t *first = c->entries ? ivf->second_lists->first : ivf->view->lists.first_row;
        if (c->at < first[c->list + 1] && pairs_of(ivf, c->list)) {
            s->owner = c->list;
            s->entries = c->entries;
            (c->entries ? take_entries : take_rows)(ivf, c, s);
            continue;
        }
        const int entries = !c->entries && ivf->second_lists;
        c->list += !entries;
        enter(ivf, c, entries);
    }
}

static void fetch(const ki_ivf *ivf, const struct strip *s, size_t first, size_t end) {
    for (size_t i = first; i < ki_min_size(end, s->count); i++) {
        const uint8_t *row = ivf->view->originals + (size_t)s->position[i] * ivf->view->row_bytes;
        for (size_t line = 0; line < LINES; line++) __builtin_prefetch(row + 64 * line, 0, 2);
        __asm__ volatile("" : : "r"(row)); /* as in ki_query_prefetch() */
    }
}

/* Score some of a query's vectors; s: the strip that is fetched meanwhile, by its first query. */
static void score(ki_ivf *ivf, ki_ivf_worker *w, size_t query, const uint32_t *position, size_t count,
                  const struct strip *s) {
    const float *q = ki_ivf_query(ivf, query), norm2 = ivf->norm2[query];
    for (size_t i = 0; i < count; i += 4) {
        const size_t taken = ki_min_size(4, count - i);
        uint32_t four[4];
        float distance[4];
        for (size_t j = 0; j < 4; j++) four[j] = position[i + ki_min_size(j, taken - 1)];
        if (s) fetch(ivf, s, i + AHEAD, i + AHEAD + 4);
        ki_query_distances4(ivf->view, q, norm2, four, distance);
        for (size_t j = 0; j < 4; j++) distance[j] = -distance[j];
        ki_ivf_keep(ivf, w, query, distance, four, taken);
    }
}

/* A strip meets the queries of its list. */
static void meet(ki_ivf *ivf, ki_ivf_worker *w, const struct strip *s, ki_counts *counts) {
    const size_t first = ivf->pair_first[s->owner], pairs = pairs_of(ivf, s->owner);
    for (size_t p = 0; p < pairs; p++) {
        const size_t query = ivf->pair[first + p].query;
        uint32_t own[STRIP];
        size_t count = 0;
        if (!s->entries || pairs == 1) {
            score(ivf, w, query, s->position, count = s->count, p ? NULL : s);
        } else {
            for (size_t i = 0; i < s->count; i++) {
                own[count] = s->position[i];
                count += !probes(ivf, query, s->list[i]);
            }
            score(ivf, w, query, own, count, NULL);
        }
        counts->reranked += count;
        counts->scanned_bytes += count * ivf->view->row_bytes;
    }
}

kith_status ki_ivf_scan_rows(ki_ivf *ivf, unsigned worker, size_t first, size_t end, ki_counts *counts) {
    const uint64_t start = ki_now_ns();
    struct cursor cursor = {.list = first, .end = end};
    struct strip strip[2];
    size_t strips = 0;
    enter(ivf, &cursor, 0);
    next_strip(ivf, &cursor, &strip[0]);
    fetch(ivf, &strip[0], 0, AHEAD);
    for (; strip[strips % 2].count; strips++) {
        const kith_status status =
            strips % LISTS_BETWEEN_POLLS ? KITH_OK : ki_limits_reached(&ivf->search->limits, worker);
        if (status != KITH_OK) return status;
        struct strip *next = &strip[(strips + 1) % 2];
        next_strip(ivf, &cursor, next);
        fetch(ivf, next, 0, AHEAD);
        meet(ivf, &ivf->worker[worker], &strip[strips % 2], counts);
    }
    counts->probed_lists += ivf->pair_first[end] - ivf->pair_first[first];
    counts->stage_ns[KITH_STAGE_SCAN] += ki_now_ns() - start;
    return KITH_OK;
}

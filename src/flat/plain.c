/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain scan: the defining kernel against every allowed vector. It is the reference that the other plans are held
 * against, the only plan of bit vectors, and the fastest one when a filter lets few vectors through. */
#include "flat/desk.h"

#include "base/checked.h"
#include "kernel/distance.h"

/* STRIP: positions that meet all queries before the next ones: they stay in cache. AHEAD: rows that are fetched before
 * their turn, where they do not follow each other. */
enum { STRIP = 256, AHEAD = 8 };

static float bits_distance(const ki_desk *desk, size_t query, uint32_t position) {
    const ki_view *view = desk->view;
    const uint8_t *q = (const uint8_t *)desk->queries + query * view->row_bytes;
    const uint8_t *x = view->originals + (size_t)position * view->row_bytes;
    if (view->metric == KITH_HAMMING) return (float)ki_distance()->hamming(q, x, view->row_bytes);
    uint64_t both, either;
    ki_distance()->bits(q, x, view->row_bytes, &both, &either);
    return ki_jaccard_distance(both, either);
}

/* The first lines of rows; the hardware sees where they lead. Asking for whole rows cost a fifth more than asking for
 * none, this a tenth less (Zen, 384 dimensions). */
static void fetch(const ki_desk *desk, const uint32_t *position, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        const uint8_t *row = desk->view->originals + (size_t)position[i] * desk->view->row_bytes;
        __builtin_prefetch(row, 0, 2);
        __builtin_prefetch(row + 64, 0, 2);
        __asm__ volatile("" : : "r"(row)); /* as in ki_query_prefetch() */
    }
}

/* scattered: the rows do not follow each other, and this is the first query that meets them. */
static int score_strip(ki_desk *desk, size_t query, const uint32_t *position, size_t count, int scattered) {
    size_t i = 0;
    if (scattered) fetch(desk, position, 0, ki_min_size(AHEAD, count));
    if (desk->view->dtype != KITH_B1)
        for (; i + 4 <= count; i += 4) {
            float distance[4];
            if (scattered) fetch(desk, position, ki_min_size(i + AHEAD, count), ki_min_size(i + AHEAD + 4, count));
            ki_query_distances4(desk->view, ki_desk_query(desk, query), ki_desk_norm2(desk, query), position + i,
                                distance);
            for (size_t j = 0; j < 4; j++)
                if (!ki_desk_collect(desk, query, distance[j], position[i + j])) return 0;
        }
    for (; i < count; i++) {
        const float distance =
            desk->view->dtype == KITH_B1
                ? bits_distance(desk, query, position[i])
                : ki_query_distance(desk->view, ki_desk_query(desk, query), ki_desk_norm2(desk, query), position[i]);
        if (!ki_desk_collect(desk, query, distance, position[i])) return 0;
    }
    return 1;
}

/* The next allowed positions from `from` on, at most STRIP; returns where to go on. */
static uint64_t gather_strip(const ki_desk *desk, uint64_t from, uint64_t end, uint32_t *position, size_t *count) {
    const uint64_t *allowed = desk->search->allowed;
    size_t used = 0;
    while (from < end && used < STRIP) {
        if (allowed) {
            const uint64_t word = allowed[from / 64] >> (from % 64);
            if (!word) {
                from = (from / 64 + 1) * 64;
                continue;
            }
            from += (unsigned)__builtin_ctzll(word);
            if (from >= end) break;
        }
        position[used++] = (uint32_t)from++;
    }
    *count = used;
    return from;
}

/* A strip meets all queries. */
static kith_status meet_strip(ki_desk *desk, const uint32_t *position, size_t count) {
    const int scattered = desk->search->plan == KITH_PLAN_GATHER;
    for (size_t query = 0; query < desk->count; query++) {
        const kith_status status = query % 16 ? KITH_OK : ki_limits_reached(&desk->search->limits, desk->worker);
        if (status != KITH_OK) return status;
        if (!score_strip(desk, query, position, count, scattered && query == 0)) return KITH_E_NOMEM;
    }
    desk->counts->scanned_bytes += (uint64_t)count * desk->view->row_bytes * desk->count;
    desk->counts->reranked += (uint64_t)count * desk->count;
    return KITH_OK;
}

int ki_desk_score_bits(ki_desk *desk, size_t query, size_t block, unsigned mask) {
    for (; mask; mask &= mask - 1) {
        const uint32_t position = (uint32_t)(block * KI_BLOCK) + (unsigned)__builtin_ctz(mask);
        if (!ki_desk_collect(desk, query, bits_distance(desk, query, position), position)) return 0;
        desk->counts->reranked++;
    }
    return 1;
}

static kith_status plain_few(ki_desk *desk) {
    const ki_flat_search *search = desk->search;
    kith_status status = KITH_OK;
    for (size_t done = 0; done < search->few_count && status == KITH_OK; done += STRIP)
        status = meet_strip(desk, search->few + done, ki_min_size(STRIP, search->few_count - done));
    return status;
}

kith_status ki_flat_plain(ki_desk *desk, size_t first, size_t end) {
    if (desk->search->few) return plain_few(desk);
    const uint64_t last = ki_view_row_before(desk->view, end);
    kith_status status = KITH_OK;
    for (uint64_t from = ki_view_row_before(desk->view, first); from < last && status == KITH_OK;) {
        uint32_t position[STRIP];
        size_t count;
        from = gather_strip(desk, from, last, position, &count);
        status = meet_strip(desk, position, count);
    }
    return status;
}

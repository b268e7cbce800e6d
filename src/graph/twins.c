/* SPDX-License-Identifier: Apache-2.0
 *
 * Twins: vectors with equal codes. Each group is a tree below its elder, the first of them: member i has edges to the
 * members FAN * i + 1..FAN * i + FAN, and all have those of the elder besides, so that a walk that comes to any of them
 * goes on as from the elder, and finds as many of them as it wants in few steps. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

enum { FAN = 8, RUN = 4096 };

/* ---- Finding them ------------------------------------------------------------------------------------------------ */

struct hashing {
    ki_graph_build *build;
    uint64_t *hash;
};

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
}

static uint64_t hash_of(const ki_graph_codes *codes, uint64_t seed, uint64_t v) {
    const int8_t *code = codes->code + v * codes->bytes;
    uint64_t hash = mix(seed + 1), word;
    uint32_t scale;
    memcpy(&scale, &codes->scale[v], sizeof(scale));
    for (size_t j = 0; j < codes->bytes; j += sizeof(word)) { /* bytes are a multiple of 16 */
        memcpy(&word, code + j, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    return mix(hash ^ scale);
}

static void hash_run(void *context, size_t piece, unsigned worker) {
    const struct hashing *h = context;
    const uint64_t first = (uint64_t)piece * RUN, end = ki_min_u64(first + RUN, h->build->codes.rows);
    (void)worker;
    for (uint64_t v = first; v < end; v++) h->hash[v] = hash_of(&h->build->codes, h->build->in.seed, v);
}

static int equal(const ki_graph_codes *codes, uint32_t a, uint32_t b) {
    return codes->scale[a] == codes->scale[b] &&
           memcmp(ki_graph_code(codes, a), ki_graph_code(codes, b), codes->bytes) == 0;
}

kith_status ki_graph_find_twins(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->codes.rows;
    uint64_t places = 64;
    while (places < 2 * rows) places *= 2;
    uint64_t *hash = ki_alloc_array(rows, sizeof(*hash));
    uint32_t *table = ki_alloc_array(places, sizeof(*table));
    build->elder = ki_alloc_array(rows, sizeof(*build->elder));
    kith_status status = KITH_OK;
    if (hash && table && build->elder) {
        struct hashing hashing = {build, hash};
        memset(table, 0xff, places * sizeof(*table));
        ki_pool_run(build->in.pool, (size_t)((rows + RUN - 1) / RUN), hash_run, &hashing);
        for (uint32_t v = 0; v < rows; v++) {
            uint64_t at = hash[v] & (places - 1);
            while (table[at] != UINT32_MAX && (hash[table[at]] != hash[v] || !equal(&build->codes, table[at], v)))
                at = (at + 1) & (places - 1);
            if (table[at] == UINT32_MAX) table[at] = v;
            build->elder[v] = table[at];
        }
    } else {
        status = ki_fail(error, KITH_E_NOMEM, "out of memory to compare %llu vectors", (unsigned long long)rows);
    }
    free(hash);
    free(table);
    return status;
}

/* ---- Hanging them ------------------------------------------------------------------------------------------------ */

/* Edges of member `number` of a group of `size`, the elder first. An elder gives up its farthest edges for twins. */
static void hang(ki_graph_build *build, const uint32_t *group, uint32_t size, uint32_t number) {
    const uint32_t degree = build->in.degree, elder = group[0], v = group[number];
    uint32_t child[FAN], children = 0;
    for (uint64_t i = (uint64_t)FAN * number + 1; children < FAN && i < size; i++) child[children++] = group[i];
    const uint32_t most = degree - children - (number ? 1 : 0);
    const uint32_t kept = build->count[elder] < most ? build->count[elder] : most;
    uint32_t *to = build->edge + (size_t)v * degree;
    if (number) memcpy(to, build->edge + (size_t)elder * degree, kept * sizeof(*to));
    memcpy(to + kept, child, children * sizeof(*to));
    build->count[v] = (uint8_t)(kept + children);
    if (number) to[build->count[v]++] = elder;
}

/* Twins by elder: group e is order[first[e]]..., by position. */
static void hang_all(ki_graph_build *build, uint32_t *next, uint32_t *order) {
    const uint32_t rows = (uint32_t)build->codes.rows;
    uint32_t sum = 0;
    memset(next, 0, ((size_t)rows + 1) * sizeof(*next));
    for (uint32_t v = 0; v < rows; v++) next[build->elder[v]]++;
    for (uint32_t v = 0; v < rows; v++) {
        const uint32_t size = next[v];
        next[v] = sum;
        sum += size;
    }
    for (uint32_t v = 0; v < rows; v++) order[next[build->elder[v]]++] = v;
    for (uint32_t v = 0, begin = 0; v < rows; v++) {
        const uint32_t size = next[v] - begin;
        /* the elder's edges are copied by the others before it gives any up */
        for (uint32_t i = size; i-- && size > 1;) hang(build, order + begin, size, i);
        begin = next[v];
    }
}

kith_status ki_graph_hang_twins(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->codes.rows;
    uint32_t *next = ki_alloc_array(rows + 1, sizeof(*next)), *order = ki_alloc_array(rows, sizeof(*order));
    kith_status status = KITH_OK;
    if (next && order)
        hang_all(build, next, order);
    else
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for %llu vectors", (unsigned long long)rows);
    free(next);
    free(order);
    return status;
}

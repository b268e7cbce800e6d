/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors as codes, and distances of a query to them. With x' = scale * code:
 *     l2, cosine    |q' - x'|^2             = |q'|^2 + norm - 2<q',x'>
 *     ip, search    -2<q,x'>
 *     ip, stored    |q - x|^2 + (h_q - h_x)^2, h^2 = limit2 - |x|^2, limit2 the largest |x|^2
 *     bits          the distance itself
 * The norm of what the code stands for errs by as much as the difference of query and vector is long; that of the
 * vector itself would err by as much as the query is. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "hnsw/state.h"
#include "kernel/distance.h"
#include "kernel/row_dot.h"
#include "quant/int8.h"

#include <math.h>
#include <string.h>

/* AHEAD: rows that are fetched before their turn. */
enum { AHEAD = 6, QUAD = 4, LINE = 64, FETCH_MAX = 2048 };

/* ---- Coding ------------------------------------------------------------------------------------------------------ */

/* In place: relative to the centre (cosine: of unit length). Returns |x'|^2, and the largest magnitude. */
static float make_relative(const ki_hnsw_net *net, float *x, float *largest) {
    const float inverse = net->metric == KITH_COSINE ? ki_inverse_norm(ki_distance()->norm2[KITH_F32](x, net->dim)) : 1;
    float most = 0;
    if (inverse != 1)
        for (size_t j = 0; j < net->dim; j++) x[j] *= inverse;
    if (net->centre)
        for (size_t j = 0; j < net->dim; j++) x[j] -= net->centre[j];
    for (size_t j = 0; j < net->dim; j++) most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    *largest = most;
    return ki_distance()->dot[KITH_F32](x, x, net->dim);
}

void ki_hnsw_encode(const ki_hnsw_net *net, const void *vector, float *floats, uint8_t *row) {
    uint8_t *code = row + KI_HNSW_HEAD_BYTES;
    float scale_norm[2] = {0, 0};
    if (net->dtype == KITH_B1) {
        const size_t bytes = kith_row_bytes(net->dtype, net->dim);
        memcpy(code, vector, bytes);
        memset(code + bytes, 0, net->code_bytes - bytes);
    } else {
        ki_int8_facts facts;
        float largest;
        ki_distance()->to_f32[net->dtype](vector, net->dim, floats);
        const float norm2 = make_relative(net, floats, &largest);
        ki_int8_encode(floats, net->dim, largest, norm2, (int8_t *)code, &facts);
        memset(code + net->dim, 0, net->code_bytes - net->dim);
        scale_norm[0] = facts.scale;
        scale_norm[1] = net->metric == KITH_IP ? norm2 : facts.scale * facts.scale * (float)facts.square;
    }
    memcpy(row, scale_norm, sizeof(scale_norm));
}

static float read_float(const uint8_t *at) {
    float value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* Whole numbers so large that sums of products with int8 fit 32 bits. */
static int32_t z_limit(const ki_hnsw_net *net) {
    const int64_t most = INT32_MAX / ((int64_t)KI_CODE_MAX * (int64_t)net->code_bytes);
    return most < INT16_MAX ? (int32_t)most : INT16_MAX;
}

void ki_hnsw_query_of(const ki_hnsw_net *net, const void *query, ki_hnsw_searcher *s, ki_hnsw_query *q) {
    *q = (ki_hnsw_query){.bits = query, .z = s->z};
    if (net->dtype == KITH_B1) return;
    float largest, *x = s->floats.data;
    memcpy(x, query, net->dim * sizeof(*x));
    const float norm2 = make_relative(net, x, &largest), limit = (float)z_limit(net);
    const float inverse = largest > 0x1p-100f ? limit / largest : 0;
    for (size_t j = 0; j < net->dim; j++) {
        const float z = x[j] * inverse;
        s->z[j] = (int16_t)(int32_t)(z + (z < 0 ? -0.5f : 0.5f));
    }
    memset(s->z + net->dim, 0, (net->code_bytes - net->dim) * sizeof(*s->z));
    q->unit = inverse > 0 ? largest / limit : 0;
    q->weight = net->metric == KITH_IP ? 0 : 1;
    q->add = net->metric == KITH_IP ? 0 : norm2;
}

static float height(float limit2, float norm) {
    return limit2 > norm ? sqrtf(limit2 - norm) : 0;
}

void ki_hnsw_query_of_row(const ki_hnsw_net *net, const uint8_t *row, int16_t *wide, float limit2, ki_hnsw_query *q) {
    const int8_t *code = (const int8_t *)ki_hnsw_code(row);
    const float norm = read_float(row + sizeof(float));
    *q = (ki_hnsw_query){.bits = ki_hnsw_code(row), .z = wide, .unit = read_float(row), .add = norm, .weight = 1};
    if (net->dtype == KITH_B1) return;
    for (size_t j = 0; j < net->code_bytes; j++) wide[j] = code[j];
    if (net->metric != KITH_IP) return;
    q->limit2 = limit2;
    q->lift = height(limit2, norm);
}

float ki_hnsw_limit2(const ki_hnsw *h) {
    const uint32_t bits = atomic_load_explicit(&h->limit2, memory_order_relaxed);
    return read_float((const uint8_t *)&bits);
}

/* ---- Distances --------------------------------------------------------------------------------------------------- */

static void fetch(const ki_hnsw_net *net, uint32_t number) {
    const uint8_t *row = ki_hnsw_row(net, number);
    const size_t bytes = ki_min_size(net->ids_at, FETCH_MAX);
    for (size_t line = 0; line < bytes; line += LINE) {
        __builtin_prefetch(row + line, 0, 3);
        __asm__ volatile("" : : "r"(row)); /* as in ki_query_prefetch() */
    }
}

static float finish(const ki_hnsw_query *q, const uint8_t *row, int32_t dot) {
    const float scale = read_float(row), norm = read_float(row + sizeof(float));
    const float distance = q->add + q->weight * norm - 2 * (q->unit * scale) * (float)dot;
    if (q->limit2 <= 0) return distance;
    const float apart = q->lift - height(q->limit2, norm);
    return distance + apart * apart;
}

static void score4(const ki_hnsw_net *net, const ki_hnsw_query *q, const uint32_t *ids, size_t count,
                   float *distances) {
    const uint8_t *row[QUAD];
    const int8_t *code[QUAD];
    int32_t dot[QUAD];
    int is_vertex[QUAD];
    size_t first = QUAD;
    for (size_t i = count; i-- > 0;) {
        row[i] = ki_hnsw_row(net, ids[i]);
        is_vertex[i] = ki_hnsw_load(row[i] + KI_HNSW_STATE_AT) == KI_HNSW_VERTEX;
        if (is_vertex[i]) first = i;
    }
    for (size_t i = 0; i < count; i++) distances[i] = INFINITY;
    if (first == QUAD) return;
    for (size_t i = 0; i < QUAD; i++) /* codes of others may be changing, and are not read */
        code[i] = (const int8_t *)ki_hnsw_code(row[i < count && is_vertex[i] ? i : first]);
    ki_row_dot()->dot4(code, q->z, net->code_bytes, dot);
    for (size_t i = 0; i < count; i++)
        if (is_vertex[i]) distances[i] = finish(q, row[i], dot[i]);
}

static float score_bits(const ki_hnsw_net *net, const ki_hnsw_query *q, uint32_t number) {
    const uint8_t *row = ki_hnsw_row(net, number);
    if (ki_hnsw_load(row + KI_HNSW_STATE_AT) != KI_HNSW_VERTEX) return INFINITY;
    const size_t bytes = kith_row_bytes(net->dtype, net->dim);
    if (net->metric == KITH_HAMMING) return (float)ki_distance()->hamming(q->bits, ki_hnsw_code(row), bytes);
    uint64_t both, either;
    ki_distance()->bits(q->bits, ki_hnsw_code(row), bytes, &both, &either);
    return ki_jaccard_distance(both, either);
}

void ki_hnsw_score(const ki_hnsw_net *net, const ki_hnsw_query *q, const uint32_t *ids, size_t count,
                   float *distances) {
    for (size_t i = 0; i < ki_min_size(count, AHEAD); i++) fetch(net, ids[i]);
    for (size_t i = 0; i < count; i += QUAD) {
        for (size_t j = i + AHEAD; j < ki_min_size(count, i + AHEAD + QUAD); j++) fetch(net, ids[j]);
        const size_t now = ki_min_size(count - i, QUAD);
        if (net->dtype != KITH_B1)
            score4(net, q, ids + i, now, distances + i);
        else
            for (size_t j = i; j < i + now; j++) distances[j] = score_bits(net, q, ids[j]);
    }
}

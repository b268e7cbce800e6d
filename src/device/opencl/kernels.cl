/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of the OpenCL backend; what they compute is W1..W5 of backend.h. OpenCL C 1.2, compiled on the machine
 * where it runs, with TILE (queries of a work item) and BITS (0, or 1 for models of bits) defined.
 *
 * A work item has one vector of a block, so that sixteen neighbours read the 64 bytes of a row of a block at once, and
 * meets TILE queries, whose codes all of them read. */
#pragma OPENCL FP_CONTRACT OFF

#define BLOCK 16
#define FACTORS 64 /* scale, bias, norm and error, sixteen each */

struct query {
    float scale, a, b, c, base;
    int start;
};

struct run {
    uint query, first, end;
    float base;
};

struct hit {
    uint query, place;
    int dot; /* or the bits of a score */
};

/* What all kernels know of a model. */
struct model {
    float slack, far_factor, apart_factor;
    uint quads, residual, jaccard;
};

/* The integer dot product where the device has one, or an option that defines DOT. */
#if !defined(DOT) && defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
#define DOT(codes, query) dot_4x8packed_us_int(codes, query)
#endif

#if !BITS
/* sum + the product of four codes, which are unsigned, and four of a query. */
static int dot4(uint codes, uint query, int sum) {
#ifdef DOT
    return sum + DOT(codes, query);
#else
    const uchar4 c = as_uchar4(codes);
    const char4 q = as_char4(query);
    return sum + c.x * q.x + c.y * q.y + c.z * q.z + c.w * q.w;
#endif
}
#endif

/* One vector with TILE queries, whose codes begin at row[t]. For bits: those that differ, and those of either. */
static void multiply(__global const uint *vector, uint quads, __global const uint *codes, const size_t *row, int *sum,
                     int *either) {
    for (uint j = 0; j < quads; j++) {
        const uint word = vector[j * BLOCK];
        for (int t = 0; t < TILE; t++) {
            const uint query = codes[row[t] + j];
#if BITS
            sum[t] += (int)popcount(word ^ query);
            either[t] += (int)popcount(word | query);
#else
            sum[t] = dot4(word, query, sum[t]);
#endif
        }
    }
}

/* The score of a pair, and what it may be off by. */
struct bound {
    float estimate, error;
};

#if BITS
static struct bound bound_of(const struct model *model, int differ, int either) {
    struct bound b = {-(float)differ, 0};
    if (model->jaccard) {
        b.estimate = either ? -(float)differ / (float)either : 0;
        b.error = -b.estimate * 0x1p-20f;
    }
    return b;
}
#else
/* W1. */
static struct bound bound_of(const struct model *model, __global const float *factors, __global const struct query *q,
                             float base, float apart, int dot) {
    const float norm = factors[2 * BLOCK];
    const float a = q->a + model->apart_factor * apart, c = q->c + model->far_factor * fabs(base);
    struct bound b;
    b.estimate = base + (float)dot * q->scale * factors[0] + factors[BLOCK];
    b.error = a * norm + q->b * factors[3 * BLOCK] + model->slack * norm * norm + c;
    return b;
}
#endif

/* Places of a tile's queries in their codes, and where their sums begin. Places beyond the last query repeat it. */
static void begin_tile(uint tile, uint queries, uint quads, __global const struct query *query, size_t *row, int *sum,
                       int *either) {
    for (int t = 0; t < TILE; t++) {
        const uint q = min(tile * TILE + t, queries - 1);
        row[t] = (size_t)q * quads;
        sum[t] = BITS ? 0 : query[q].start;
        either[t] = 0;
    }
}

/* ---- Queries with centroids -------------------------------------------------------------------------------------- */

/* Sixteen values, or as many as are left and zeros. */
static float16 sixteen(__global const float *row, uint at, uint dim) {
    if (at + 16 <= dim) return vload16(0, row + at);
    float part[16];
    for (uint i = 0; i < 16; i++) part[i] = at + i < dim ? row[at + i] : 0.0f;
    return vload16(0, part);
}

/* bases[list * queries + query]: the defining kernel's sums (kernel/distance.h D1), to the bit. */
__kernel void find_bases(__global const float *rows, __global const float *centroids, __global float *bases, uint dim,
                         uint queries, uint lists, uint is_l2) {
    const uint query = get_global_id(0), list = get_global_id(1);
    if (query >= queries || list >= lists) return;
    __global const float *q = rows + (size_t)query * dim, *x = centroids + (size_t)list * dim;
    float16 sum = (float16)(0.0f);
    for (uint at = 0; at < dim; at += 16) {
        const float16 of_q = sixteen(q, at, dim), of_x = sixteen(x, at, dim), apart = of_q - of_x;
        sum = is_l2 ? fma(apart, apart, sum) : fma(of_q, of_x, sum);
    }
    const float8 eight = sum.lo + sum.hi;
    const float4 four = eight.lo + eight.hi;
    const float2 two = four.lo + four.hi;
    const float all = two.lo + two.hi;
    bases[(size_t)list * queries + query] = is_l2 ? -all / 2 : all;
}

/* ---- Everything with everybody ----------------------------------------------------------------------------------- */

/* What scan and sample read: blocks start, start + step, ... of a memory, `blocks` of them. codes and factors hold the
 * memory's blocks from codes_first on, valid from valid_first on. */
struct range {
    ulong start, step, blocks, codes_first, valid_first;
};

/* W2. count[q]: vectors that reached a query's threshold, of which `room` are noted; count[queries]: all hits noted. */
__kernel void scan(__global const uint *codes, __global const float *factors, __global const uint *list_of,
                   __global const ushort *valid, __global const uint *query_codes, __global const struct query *query,
                   __global const float *bases, __global const float *apart_of, __global const float *thresholds,
                   struct model model, struct range range, uint queries, uint room, volatile __global uint *count,
                   __global struct hit *hits) {
    const size_t at = get_global_id(0) / BLOCK;
    const uint v = get_global_id(0) % BLOCK, tile = get_global_id(1);
    if (at >= range.blocks) return;
    const size_t block = range.start + at * range.step;
    if (!(valid[block - range.valid_first] >> v & 1)) return;
    size_t row[TILE];
    int sum[TILE], either[TILE];
    begin_tile(tile, queries, model.quads, query, row, sum, either);
    multiply(codes + (block - range.codes_first) * model.quads * BLOCK + v, model.quads, query_codes, row, sum, either);
#if !BITS
    const size_t list = model.residual ? list_of[block] : 0;
#endif
    for (uint t = 0; t < TILE && tile * TILE + t < queries; t++) {
        const uint q = tile * TILE + t;
#if BITS
        const struct bound b = bound_of(&model, sum[t], either[t]);
#else
        const float base = model.residual ? bases[list * queries + q] : query[q].base;
        const struct bound b = bound_of(&model, factors + (block - range.codes_first) * FACTORS + v, &query[q], base,
                                        model.residual ? apart_of[list] : 0, sum[t]);
#endif
        if (!(b.estimate + b.error >= thresholds[q]) || atomic_inc(&count[q]) >= room) continue;
        __global struct hit *hit = &hits[atomic_inc(&count[queries])];
        hit->query = q;
        hit->place = (uint)(block * BLOCK + v);
        hit->dot = sum[t];
    }
}

/* W3. */
__kernel void sample(__global const uint *codes, __global const float *factors, __global const uint *list_of,
                     __global const ushort *valid, __global const uint *query_codes,
                     __global const struct query *query, __global const float *bases, __global const float *apart_of,
                     struct model model, struct range range, uint queries, uint groups, __global float *maxima) {
    const uint group = get_global_id(0), v = group % BLOCK, tile = get_global_id(1);
    if (group >= groups) return;
    float best[TILE];
    for (int t = 0; t < TILE; t++) best[t] = -INFINITY;
    for (size_t at = group / BLOCK; at < range.blocks; at += groups / BLOCK) {
        const size_t block = range.start + at * range.step;
        if (!(valid[block - range.valid_first] >> v & 1)) continue;
        size_t row[TILE];
        int sum[TILE], either[TILE];
        begin_tile(tile, queries, model.quads, query, row, sum, either);
        multiply(codes + (block - range.codes_first) * model.quads * BLOCK + v, model.quads, query_codes, row, sum,
                 either);
#if !BITS
        const size_t list = model.residual ? list_of[block] : 0;
#endif
        for (uint t = 0; t < TILE && tile * TILE + t < queries; t++) {
#if BITS
            const struct bound b = bound_of(&model, sum[t], either[t]);
#else
            const uint q = tile * TILE + t;
            const float base = model.residual ? bases[list * queries + q] : query[q].base;
            const struct bound b = bound_of(&model, factors + (block - range.codes_first) * FACTORS + v, &query[q],
                                            base, model.residual ? apart_of[list] : 0, sum[t]);
#endif
            const float least = b.estimate - b.error;
            if (least > best[t]) best[t] = least;
        }
    }
    for (uint t = 0; t < TILE && tile * TILE + t < queries; t++)
        maxima[(size_t)(tile * TILE + t) * groups + group] = best[t];
}

/* ---- Some lists with those who probe them ------------------------------------------------------------------------ */

#if !BITS
/* W4. A task is up to TILE runs over the same blocks: runs task[g]..task[g+1]. */
__kernel void score(__global const uint *codes, __global const float *factors, __global const ushort *valid,
                    __global const uint *query_codes, __global const struct query *query,
                    __global const struct run *runs, __global const uint *task, __global const float *thresholds,
                    struct model model, struct range range, uint queries, uint room,
                    volatile __global uint *count, __global struct hit *hits) {
    const uint v = get_global_id(0) % BLOCK, first = task[get_global_id(1)];
    const uint taken = task[get_global_id(1) + 1] - first;
    const size_t block = runs[first].first + range.start + get_global_id(0) / BLOCK * range.step;
    if (block >= runs[first].end || !(valid[block] >> v & 1)) return;
    size_t row[TILE];
    int sum[TILE], either[TILE];
    for (uint t = 0; t < TILE; t++) {
        const uint q = runs[first + min(t, taken - 1)].query;
        row[t] = (size_t)q * model.quads;
        sum[t] = query[q].start;
    }
    multiply(codes + block * model.quads * BLOCK + v, model.quads, query_codes, row, sum, either);
    __global const float *of = factors + block * FACTORS + v;
    for (uint t = 0; t < taken; t++) {
        const uint q = runs[first + t].query;
        const float score = runs[first + t].base + fma((float)sum[t] * query[q].scale, of[0], of[BLOCK]);
        if (!(score >= thresholds[q]) || atomic_inc(&count[q]) >= room) continue;
        __global struct hit *hit = &hits[atomic_inc(&count[queries])];
        hit->query = q;
        hit->place = (uint)(block * BLOCK + v);
        hit->dot = as_int(score);
    }
}
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the distance kernels are: gigabytes of stored vectors read a second, by one thread, for each tier, kernel
 * and element type, with the vectors in L1, in L2 and in memory. Beside the rates from memory stands their share of
 * what reading alone reached in the same run.
 *
 * Usage: kernels_distance [--json FILE]. Takes about ten seconds. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/distance.h"

enum { DIMS = 3, PLACES = 3, DIM_LARGEST = 784, TIERS_MAX = 4 };
static const size_t dims[DIMS] = {128, 384, 784};
static const char *const place_names[PLACES] = {"L1", "L2", "memory"};

/* Long enough to outlast the clock's and the timer tick's noise, short enough for some hundred measurements. */
static const uint64_t measure_ns = 12 * 1000 * 1000;
static const size_t memory_bytes = (size_t)192 << 20;

enum operation { DOT, DOT4, L2SQ, L2SQ4, NORM2, TO_F32, HAMMING, BITS, OPERATIONS };
static const char *const operation_names[OPERATIONS] = {"dot",   "dot4",   "l2sq",    "l2sq4",
                                                        "norm2", "to_f32", "hamming", "bits"};

typedef struct bench {
    const uint8_t *rows; /* memory_bytes of them */
    size_t place_bytes[PLACES];
    const float *query;
    float *out;
    double read_rate; /* GB/s of reading alone, from memory */
    FILE *json;       /* NULL or where to */
    bool first;       /* no JSON row yet */
} bench;

static volatile double sink; /* keeps results alive */

/* ---- One measurement --------------------------------------------------------------------------------------------- */

/* Run a kernel over `count` rows, a multiple of 4. */
static void run_rows(const ki_distance_kernels *table, enum operation op, kith_dtype dtype, size_t dim, const bench *b,
                     const uint8_t *rows, size_t count) {
    const size_t bytes = kith_row_bytes(dtype, dim);
    const uint8_t *const query_bits = (const uint8_t *)b->query;
    double sum = 0;

    for (size_t i = 0; i < count; i += 4) {
        const uint8_t *x = rows + i * bytes;
        const void *const four[4] = {x, x + bytes, x + 2 * bytes, x + 3 * bytes};
        float quad[4];
        uint64_t both, either;

        switch (op) {
        case DOT4:
        case L2SQ4:
            (op == DOT4 ? table->dot4 : table->l2sq4)[dtype](b->query, four, dim, quad);
            sum += (double)(quad[0] + quad[3]);
            break;
        case DOT:
        case L2SQ:
            for (size_t r = 0; r < 4; r++)
                sum += (double)(op == DOT ? table->dot : table->l2sq)[dtype](b->query, four[r], dim);
            break;
        case NORM2:
            for (size_t r = 0; r < 4; r++) sum += table->norm2[dtype](four[r], dim);
            break;
        case TO_F32:
            for (size_t r = 0; r < 4; r++) table->to_f32[dtype](four[r], dim, b->out);
            sum += (double)b->out[0];
            break;
        case HAMMING:
            for (size_t r = 0; r < 4; r++) sum += (double)table->hamming(query_bits, four[r], bytes);
            break;
        default:
            for (size_t r = 0; r < 4; r++) {
                table->bits(query_bits, four[r], bytes, &both, &either);
                sum += (double)(both + either);
            }
        }
    }
    sink = sum;
}

/* GB/s: walks round and round the first `area` bytes until the time is up. */
static double measure(const ki_distance_kernels *table, enum operation op, kith_dtype dtype, size_t dim, const bench *b,
                      size_t area) {
    const size_t bytes = kith_row_bytes(dtype, dim), four = 4 * bytes;
    const size_t rows = area / four * 4;
    const size_t step = ki_min_size(rows, ((size_t)64 << 10) / four * 4 + 4); /* rows between looks at the clock */
    uint64_t done = 0, start, now;
    size_t at = 0;

    run_rows(table, op, dtype, dim, b, b->rows, step); /* into the cache */
    start = now = ki_now_ns();
    while (now - start < measure_ns) {
        const size_t count = ki_min_size(step, rows - at);
        run_rows(table, op, dtype, dim, b, b->rows + at * bytes, count);
        done += count * bytes;
        at = at + count < rows ? at + count : 0;
        now = ki_now_ns();
    }
    return (double)done / (double)(now - start);
}

/* What the C library gets from memory when it looks for a byte that is not there: a loop that only reads, with the
 * widest registers of this machine. */
static double measure_read(const bench *b) {
    double best = 0;

    for (int round = 0; round < 4; round++) {
        const uint64_t start = ki_now_ns();
        const void *found = memchr(b->rows, 0, memory_bytes);
        const double rate = (double)memory_bytes / (double)(ki_now_ns() - start);
        best = rate > best ? rate : best;
        sink = found ? 1 : 0;
    }
    return best;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void write_json(bench *b, const char *tier, const char *operation, const char *dtype, size_t dim,
                       const double rates[PLACES]) {
    if (!b->json) return;
    for (int place = 0; place < PLACES; place++) {
        fprintf(b->json,
                "%s\n    {\"tier\": \"%s\", \"kernel\": \"%s\", \"dtype\": \"%s\", \"dim\": %zu, \"place\": \"%s\", "
                "\"gb_per_s\": %.3f",
                b->first ? "" : ",", tier, operation, dtype, dim, place_names[place], rates[place]);
        if (place == PLACES - 1) fprintf(b->json, ", \"share_of_read\": %.3f", rates[place] / b->read_rate);
        fprintf(b->json, "}");
        b->first = false;
    }
}

static void bench_row(bench *b, const ki_distance_kernels *table, const char *tier, enum operation op,
                      kith_dtype dtype) {
    double rates[PLACES];

    printf("%-7s %-8s %-5s", tier, operation_names[op], kith_dtype_name(dtype));
    for (int d = 0; d < DIMS; d++) {
        for (int place = 0; place < PLACES; place++)
            rates[place] = measure(table, op, dtype, dims[d], b, b->place_bytes[place]);
        printf(" |%6.1f %6.1f %6.1f %4.0f%%", rates[0], rates[1], rates[2], 100 * rates[2] / b->read_rate);
        write_json(b, tier, operation_names[op], kith_dtype_name(dtype), dims[d], rates);
    }
    printf("\n");
    fflush(stdout);
}

static void bench_tier(bench *b, uint32_t features) {
    const char *tier = ki_cpu_tier(features);
    ki_distance_kernels table;

    ki_distance_fill(features, &table);
    for (int op = DOT; op <= TO_F32; op++)
        for (int dtype = KITH_F32; dtype <= KITH_U8; dtype++)
            /* l2sq is dot and a subtraction; norms and conversions are no part of a search: one type tells enough. */
            if (op <= DOT4 || dtype == KITH_F32 || (op >= NORM2 && dtype == KITH_F16))
                bench_row(b, &table, tier, (enum operation)op, (kith_dtype)dtype);
    bench_row(b, &table, tier, HAMMING, KITH_B1);
    bench_row(b, &table, tier, BITS, KITH_B1);
}

static void print_heads(const bench *b) {
    printf("GB/s of stored vectors, one thread; reading alone gets %.1f GB/s from memory, of which %% is the share\n\n",
           b->read_rate);
    printf("%-22s", "");
    for (int d = 0; d < DIMS; d++) printf(" | dim %-22zu", dims[d]);
    printf("\n%-7s %-8s %-5s", "tier", "kernel", "type");
    for (int d = 0; d < DIMS; d++) printf(" |    L1     L2    mem  share");
    printf("\n");
}

/* The tiers whose distance kernels differ: amx has those of avx512. */
static void bench_all(bench *b) {
    static const char *const settings[TIERS_MAX] = {"scalar", "neon", "avx2", "avx512"};
    uint32_t seen[TIERS_MAX];

    for (size_t i = 0; i < TIERS_MAX; i++) {
        uint32_t features = 0;
        bool again = false;
        if (!ki_cpu_lower(ki_cpu_features_found(), settings[i], &features)) continue;
        for (size_t j = 0; j < i; j++) again = again || seen[j] == features;
        seen[i] = features;
        if (!again) bench_tier(b, features);
    }
}

static void fill_rows(uint8_t *rows, float *query) {
    ki_rng rng = {1};

    /* Bytes of 3C..3F make ordinary numbers of every type: no denormals, which would be slower, and no zero byte. */
    for (size_t i = 0; i < memory_bytes; i += sizeof(uint64_t)) {
        const uint64_t word = (ki_rng_next(&rng) & UINT64_C(0x0303030303030303)) | UINT64_C(0x3C3C3C3C3C3C3C3C);
        memcpy(rows + i, &word, sizeof word);
    }
    for (size_t i = 0; i < DIM_LARGEST; i++) query[i] = (float)ki_rng_normal(&rng);
}

int main(int argc, char **argv) {
    bench b = {.first = true};
    int status = EXIT_FAILURE;
    uint8_t *rows = ki_alloc_array(memory_bytes, 1);
    float *query = ki_alloc_array(DIM_LARGEST, sizeof *query);

    b.out = ki_alloc_array(DIM_LARGEST, sizeof *b.out);
    if (argc == 3 && !strcmp(argv[1], "--json")) b.json = fopen(argv[2], "w");
    if ((argc != 1 && argc != 3) || (argc == 3 && !b.json)) {
        fprintf(stderr, "usage: %s [--json FILE], with a FILE that can be written.\n", argv[0]);
        goto out;
    }
    if (!rows || !query || !b.out) {
        fprintf(stderr, "There is no memory for %zu bytes of vectors.\n", memory_bytes);
        goto out;
    }
    fill_rows(rows, query);
    b.rows = rows;
    b.query = query;
    b.place_bytes[0] = (size_t)20 << 10; /* with the query, within the 32 KiB that every L1 has */
    b.place_bytes[1] = ki_cpu_l2_bytes() / 2;
    b.place_bytes[2] = memory_bytes;
    b.read_rate = measure_read(&b);
    if (b.json) fprintf(b.json, "{\n  \"read_gb_per_s\": %.3f,\n  \"rows\": [", b.read_rate);
    print_heads(&b);
    bench_all(&b);
    if (b.json) fprintf(b.json, "\n  ]\n}\n");
    status = EXIT_SUCCESS;

out:
    if (b.json && fclose(b.json)) {
        fprintf(stderr, "The file %s could not be written whole.\n", argv[2]);
        status = EXIT_FAILURE;
    }
    free(b.out);
    free(query);
    free(rows);
    return status;
}

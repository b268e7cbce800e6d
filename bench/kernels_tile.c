/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the tile scan is: thousand million products of bytes a second (GMAC/s) by one thread, for each tier, number
 * of dimensions, and panels that are full or hold four queries or one; codes lie in L2, as they do while a group of
 * blocks meets all panels of a batch. Beside the rate stands its share of the peak: what the tier's product instruction
 * reaches in a loop that touches registers only, measured in the same run.
 *
 * Times are of the thread, not of the clock on the wall, so other work on the machine counts less.
 *
 * Usage: kernels_tile [--json FILE]. Takes about five seconds. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CLOCK_THREAD_CPUTIME_ID */
#endif
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/tile.h"

enum { DIMS = 4, WIDTHS = 3, TIERS_MAX = 9, GROUP = 16, PANELS = 8, ROUNDS = 4, HITS = 4096, DIM_LARGEST = 784 };
static const size_t dims[DIMS] = {100, 128, 384, 784};
static const char *const width_names[WIDTHS] = {"full", "4", "1"};

/* The best of some short measurements: what disturbs only makes them slower. */
static const uint64_t measure_ns = 10 * 1000 * 1000;

typedef struct bench {
    ki_level level;
    ki_block_bound *bounds;
    const int8_t *queries; /* DIM_LARGEST bytes each */
    void *packed;
    ki_panel *panels;
    ki_tile_hit *hits;
    FILE *json; /* NULL or where to */
    bool first; /* no JSON row yet */
} bench;

static volatile size_t sink; /* keeps results alive */

static uint64_t thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- Peaks ------------------------------------------------------------------------------------------------------- */

/* `loops` times fourteen (tiles: four) products without a load; returns the multiplications of one loop. */
typedef double peak_fn(uint64_t loops);

#if defined(__x86_64__)
#define FOURTEEN "2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define CLOBBERS                                                                                                       \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15", "cc"

static double peak_widened(uint64_t loops) {
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n vpxor %%xmm1, %%xmm1, %%xmm1\n"
                     "1:\n .irp n," FOURTEEN "\n vpmaddwd %%ymm1, %%ymm0, %%ymm\\n\n .endr\n dec %0\n jnz 1b\n"
                     "vzeroupper"
                     : "+r"(loops)
                     :
                     : CLOBBERS);
    return 14 * 16;
}

static double peak_vnni256(uint64_t loops) {
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n vpxor %%xmm1, %%xmm1, %%xmm1\n"
                     "1:\n .irp n," FOURTEEN "\n %{vex%} vpdpbusd %%ymm1, %%ymm0, %%ymm\\n\n .endr\n dec %0\n jnz 1b\n"
                     "vzeroupper"
                     : "+r"(loops)
                     :
                     : CLOBBERS);
    return 14 * 32;
}

static double peak_vnni512(uint64_t loops) {
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n vpxor %%xmm1, %%xmm1, %%xmm1\n"
                     "1:\n .irp n," FOURTEEN "\n vpdpbusd %%zmm1, %%zmm0, %%zmm\\n\n .endr\n dec %0\n jnz 1b\n"
                     "vzeroupper"
                     : "+r"(loops)
                     :
                     : CLOBBERS);
    return 14 * 64;
}

static double peak_tiles(uint64_t loops) {
    _Alignas(64) uint8_t config[64] = {1};
    for (int t = 0; t < 8; t++) config[16 + 2 * t] = 64, config[48 + t] = 16;
    __asm__ volatile("ldtilecfg %1\n"
                     "1:\n tdpbsud %%tmm6, %%tmm4, %%tmm0\n tdpbsud %%tmm7, %%tmm4, %%tmm1\n"
                     "tdpbsud %%tmm6, %%tmm5, %%tmm2\n tdpbsud %%tmm7, %%tmm5, %%tmm3\n dec %0\n jnz 1b\n tilerelease"
                     : "+r"(loops)
                     : "m"(config)
                     : "cc");
    return 4 * 16 * 16 * 64;
}

static peak_fn *peak_of(uint32_t features) {
    if (features & KI_AMX_INT8) return peak_tiles;
    if (features & KI_AVX512VNNI) return peak_vnni512;
    if (features & KI_AVXVNNI) return peak_vnni256;
    return features & KI_AVX2 ? peak_widened : NULL;
}

#elif defined(__aarch64__)
#define ALL_NUMBERS "2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define CLOBBERS                                                                                                       \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",       \
        "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "cc"

static double peak_sdot(uint64_t loops) {
    __asm__ volatile(".arch armv8.2-a+dotprod\n movi v0.16b, #0\n movi v1.16b, #0\n"
                     "1:\n .irp n," ALL_NUMBERS
                     "\n sdot v\\n\\().4s, v0.16b, v1.16b\n .endr\n subs %0, %0, #1\n b.ne 1b"
                     : "+r"(loops)
                     :
                     : CLOBBERS);
    return 30 * 16;
}

static double peak_smull(uint64_t loops) {
    __asm__ volatile("movi v0.16b, #0\n movi v1.16b, #0\n"
                     "1:\n .irp n," ALL_NUMBERS "\n smull v\\n\\().8h, v0.8b, v1.8b\n .endr\n subs %0, %0, #1\n b.ne 1b"
                     : "+r"(loops)
                     :
                     : CLOBBERS);
    return 30 * 8;
}

static peak_fn *peak_of(uint32_t features) {
    if (features & KI_NEON_DOT) return peak_sdot; /* USDOT, SDOT's twin, is as fast */
    return features & KI_NEON ? peak_smull : NULL;
}

#else
static peak_fn *peak_of(uint32_t features) {
    (void)features;
    return NULL;
}
#endif

/* GMAC/s, or 0 if the tier has no product instruction. */
static double measure_peak(uint32_t features) {
    peak_fn *peak = peak_of(features);
    double best = 0;
    if (!peak) return 0;
    for (int round = 0; round < ROUNDS; round++) {
        enum { LOOPS = 20000 };
        double products = 0;
        uint64_t now = 0;
        const uint64_t start = thread_ns();
        for (; now < measure_ns / 2; now = thread_ns() - start) products += LOOPS * peak(LOOPS);
        if (products / (double)now > best) best = products / (double)now;
    }
    return best;
}

/* ---- One measurement --------------------------------------------------------------------------------------------- */

/* Panels of `count` queries each, whose thresholds one vector in 20,000 or so reaches. */
static void make_panels(const bench *b, const ki_tile_kernels *table, unsigned count) {
    const size_t quads = b->level.quads, bytes = ki_round_up(table->packed_bytes(quads, count), 64);
    for (size_t p = 0; p < PANELS; p++) {
        ki_panel *panel = &b->panels[p];
        const int8_t *rows[KI_PANEL_MAX];
        void *packed = (char *)b->packed + p * bytes;
        *panel = (ki_panel){.packed = packed, .count = count};
        for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel->need[i] = INFINITY;
        for (unsigned i = 0; i < count; i++) {
            int32_t sum = 0;
            double square = 0;
            rows[i] = b->queries + (p * KI_PANEL_MAX + i) * DIM_LARGEST;
            for (size_t j = 0; j < 4 * quads; j++) sum += rows[i][j], square += rows[i][j] * rows[i][j];
            panel->scale[i] = 0.01f;
            panel->start[i] = -128 * sum;
            panel->a[i] = panel->b[i] = 0.001f;
            panel->need[i] = (float)(0.01 * 0.01 * 3.9 * 40 * sqrt(square));
        }
        table->pack(rows, count, quads, packed);
    }
}

/* Every group of blocks against every panel, as a batch search does it. Returns the products. */
static double scan_all(const bench *b, const ki_tile_kernels *table) {
    double products = 0;
    for (size_t first = 0; first < b->level.blocks; first += GROUP)
        for (size_t p = 0; p < PANELS; p++) {
            const size_t end = ki_min_size(first + GROUP, b->level.blocks);
            for (size_t block = first; block < end;) {
                size_t count = 0;
                block = table->scan(&b->level, &b->panels[p], b->bounds + block, block, end, b->hits, HITS, &count);
                sink += count;
            }
            products += (double)(end - first) * KI_BLOCK * 4 * (double)(b->level.quads * b->panels[p].count);
        }
    return products;
}

static double measure(const bench *b, const ki_tile_kernels *table) {
    double best = 0;
    scan_all(b, table); /* into the cache */
    for (int round = 0; round < ROUNDS; round++) {
        double products = 0;
        uint64_t now = 0;
        const uint64_t start = thread_ns();
        for (; now < measure_ns; now = thread_ns() - start) products += scan_all(b, table);
        if (products / (double)now > best) best = products / (double)now;
    }
    return best;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void write_json(bench *b, const char *tier, size_t dim, const char *width, double rate, double peak) {
    if (!b->json) return;
    fprintf(b->json,
            "%s\n    {\"tier\": \"%s\", \"kernel\": \"tile\", \"panel\": \"%s\", \"dim\": %zu, \"gmac_per_s\": %.3f",
            b->first ? "" : ",", tier, width, dim, rate);
    if (peak > 0) fprintf(b->json, ", \"share_of_peak\": %.3f", rate / peak);
    fprintf(b->json, "}");
    b->first = false;
}

static void bench_tier(bench *b, const char *name, uint32_t features) {
    const double peak = measure_peak(features);
    ki_tile_kernels table;
    ki_tile_fill(features, &table);
    printf("%-15s %7.1f", name, peak);
    for (int d = 0; d < DIMS; d++) {
        b->level.quads = dims[d] / 4;
        b->level.blocks = ki_cpu_l2_bytes() / 2 / (b->level.quads * KI_QUAD_BYTES);
        for (int w = 0; w < WIDTHS; w++) {
            make_panels(b, &table, w == 0 ? table.width : w == 1 ? 4 : 1);
            const double rate = measure(b, &table);
            printf(w ? " %6.1f" : " | %6.1f", rate);
            if (peak > 0)
                printf(" %3.0f%%", 100 * rate / peak);
            else
                printf("    -");
            write_json(b, name, dims[d], width_names[w], rate, peak);
        }
    }
    printf("\n");
    fflush(stdout);
}

static void print_heads(void) {
    printf("GMAC/s of the tile scan, one thread, codes in L2; %% of the tier's peak\n\n%-15s %7s", "", "");
    for (int d = 0; d < DIMS; d++) printf(" | dim %-31zu", dims[d]);
    printf("\n%-15s %7s", "tier", "peak");
    for (int d = 0; d < DIMS; d++) printf(" | panel full    four         one   ");
    printf("\n");
}

static void bench_all(bench *b) {
    static const char *const settings[TIERS_MAX] = {"scalar",        "neon,-neondot", "neon,-neoni8mm", "neon",
                                                    "avx2,-avxvnni", "avx2",          "avx512",         "amx"};
    uint32_t seen[TIERS_MAX];
    for (size_t i = 0; i < TIERS_MAX && settings[i]; i++) {
        bool again = false;
        if (!ki_cpu_lower(ki_cpu_features_found(), settings[i], &seen[i])) seen[i] = 0;
        for (size_t j = 0; j < i; j++) again = again || seen[j] == seen[i];
        if (!again) bench_tier(b, settings[i], seen[i]);
    }
}

/* Codes of roughly normal values around 128, as a coder makes them. */
static bool make_data(bench *b) {
    const size_t bytes = ki_cpu_l2_bytes() / 2, blocks = bytes / (dims[0] * KI_BLOCK);
    const size_t queries_bytes = (size_t)PANELS * KI_PANEL_MAX * DIM_LARGEST;
    ki_rng rng = {1};
    uint8_t *codes = ki_alloc_array(bytes + KI_TILE_OVERREAD, 1);
    float *factors = ki_alloc_array(blocks, KI_FACTORS * sizeof(float));
    int8_t *queries = ki_alloc_array(queries_bytes, 1);
    b->level = (ki_level){.codes = codes, .factors = factors};
    b->queries = queries;
    b->bounds = ki_alloc_array(blocks, sizeof(*b->bounds));
    b->packed = ki_alloc_array(4 * queries_bytes, 1);
    b->panels = ki_alloc_array(PANELS, sizeof(*b->panels));
    b->hits = ki_alloc_array(HITS, sizeof(*b->hits));
    if (!codes || !factors || !queries || !b->bounds || !b->packed || !b->panels || !b->hits) return false;
    for (size_t i = 0; i < bytes + KI_TILE_OVERREAD; i++)
        codes[i] = (uint8_t)(128 + fmax(-127, fmin(127, 40 * ki_rng_normal(&rng))));
    for (size_t i = 0; i < queries_bytes; i++) queries[i] = (int8_t)fmax(-127, fmin(127, 40 * ki_rng_normal(&rng)));
    for (size_t i = 0; i < blocks * KI_FACTORS; i++)
        factors[i] = i % KI_FACTORS < KI_FACTOR_BIAS ? (float)(0.009 + 0.001 * ki_rng_unit(&rng)) : 0.001f;
    b->level.blocks = blocks;
    ki_tile_bounds(&b->level, 0, blocks, 0, b->bounds);
    return true;
}

int main(int argc, char **argv) {
    bench b = {.first = true};
    int status = EXIT_FAILURE;
    if (argc == 3 && !strcmp(argv[1], "--json")) b.json = fopen(argv[2], "w");
    if ((argc != 1 && argc != 3) || (argc == 3 && !b.json)) {
        fprintf(stderr, "usage: %s [--json FILE], with a FILE that can be written.\n", argv[0]);
        return status;
    }
    if (!make_data(&b)) {
        fprintf(stderr, "There is no memory for %zu bytes of codes.\n", ki_cpu_l2_bytes() / 2);
        goto out;
    }
    if (b.json) fprintf(b.json, "{\n  \"rows\": [");
    print_heads();
    bench_all(&b);
    if (b.json) fprintf(b.json, "\n  ]\n}\n");
    status = EXIT_SUCCESS;

out:
    if (b.json && fclose(b.json)) {
        fprintf(stderr, "The file %s could not be written whole.\n", argv[2]);
        status = EXIT_FAILURE;
    }
    free(b.hits);
    free(b.panels);
    free(b.packed);
    free(b.bounds);
    free((void *)(uintptr_t)b.queries);
    free((void *)(uintptr_t)b.level.factors);
    free((void *)(uintptr_t)b.level.codes);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What `kith bench` measured, between the measuring (command_bench.c) and the telling (bench_report.c). */
#ifndef KITH_CLI_BENCH_H
#define KITH_CLI_BENCH_H

#include "command.h"

struct bench_run {
    unsigned threads;
    size_t batch, calls;
    double queries_per_second;
    double mean_ns;
    uint64_t p50_ns, p95_ns, p99_ns, p999_ns; /* of a call */
};

struct bench {
    const char *index_path, *queries_path;
    kith_index_info info;
    kith_cpu cpu;
    size_t queries, k;
    const char *plan; /* as asked for */
    uint64_t open_ns;
    uint64_t first_ns;    /* of a query, before what it reads was read by this process */
    size_t truth_queries; /* 0: recall was not measured */
    double recall;
    bool identical; /* ids and distances are those of the plain scan, bit for bit */
    struct bench_run *runs;
    size_t run_count;
};

/* Each returns 0 or an exit code. */
int bench_table(const struct bench *bench);
int bench_json(const struct bench *bench, const char *path); /* "-": stdout */
int bench_svg(const struct bench *bench, const char *path);

#endif

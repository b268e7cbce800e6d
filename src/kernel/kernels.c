/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of this process: one table for each kind of work, all filled at the first use of any, for the features
 * that cpu/ found and KITH_CPU left. Each kind's own file says what a table of it holds for given features.
 *
 * I1. Any thread; the tables are filled once, under pthread_once, and never written again. */
#include "cpu/cpu.h"
#include "kernel/cluster.h"
#include "kernel/distance.h"
#include "kernel/edges.h"
#include "kernel/pick.h"
#include "kernel/pq_scan.h"
#include "kernel/project.h"
#include "kernel/residual.h"
#include "kernel/row_dot.h"
#include "kernel/tile.h"
#include "kernel/unpack.h"

#include <pthread.h>

static struct kernels {
    ki_distance_kernels distance;
    ki_tile_kernels tile;
    ki_pick_kernels pick;
    ki_cluster_kernels cluster;
    ki_project_kernels project;
    ki_pq_kernels pq;
    ki_edges_kernels edges;
    ki_residual_kernels residual;
    ki_row_dot_kernels row_dot;
    ki_unpack_fn unpack;
} process;

static void fill_process(void) {
    const uint32_t features = ki_cpu_features();
    ki_distance_fill(features, &process.distance);
    ki_tile_fill(features, &process.tile);
    ki_pick_fill(features, &process.pick);
    ki_cluster_fill(features, &process.cluster);
    ki_project_fill(features, &process.project);
    ki_pq_fill(features, &process.pq);
    ki_edges_fill(features, &process.edges);
    ki_residual_fill(features, &process.residual);
    ki_row_dot_fill(features, &process.row_dot);
    process.unpack = ki_unpack_fill(features);
}

static const struct kernels *kernels(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_process);
    return &process;
}

const ki_distance_kernels *ki_distance(void) {
    return &kernels()->distance;
}

const ki_tile_kernels *ki_tile(void) {
    return &kernels()->tile;
}

const ki_pick_kernels *ki_pick(void) {
    return &kernels()->pick;
}

const ki_cluster_kernels *ki_cluster(void) {
    return &kernels()->cluster;
}

const ki_project_kernels *ki_projector(void) {
    return &kernels()->project;
}

const ki_pq_kernels *ki_pq(void) {
    return &kernels()->pq;
}

ki_unpack_fn ki_unpacker(void) {
    return kernels()->unpack;
}

const ki_edges_kernels *ki_edges_kernel(void) {
    return &kernels()->edges;
}

const ki_residual_kernels *ki_residual(void) {
    return &kernels()->residual;
}

const ki_row_dot_kernels *ki_row_dot(void) {
    return &kernels()->row_dot;
}

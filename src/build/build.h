/* SPDX-License-Identifier: Apache-2.0
 *
 * A build under way: shared by the files of src/build. build.c checks options and joins the rest; sample.c learns from
 * samples; rows.c takes rows from the reader and builds one list; lists.c divides rows among lists; code.c codes lists;
 * graph.c has a graph made.
 *
 * E1. If values that a sample took for whole numbers turn out not to be, the build starts over without that assumption;
 *     if they lie far outside of what the sample holds, with a centre around which every byte fits.
 * E2. Only the calling thread calls the progress function, while it works as worker 0 or waits.
 * E3. Of several bad rows the first is named: workers take rows in order, finish what they hold, and the failure with
 *     the lowest row is kept. */
#ifndef KI_BUILD_BUILD_H
#define KI_BUILD_BUILD_H

#include "base/file.h"
#include "base/pool.h"
#include "build/id_table.h"
#include "view/view.h"
#include "flat/build.h"
#include "kmeans/kmeans.h"
#include "lsh/build.h"
#include "quant/second.h"
#include "store/segment.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KI_BUILD_RUN_ROWS = 4096, KI_BUILD_RUN_LEAST = KI_BLOCK };

/* Coding lists: the next piece; guarded by ki_build.reading. */
typedef struct ki_list_walk {
    size_t list, block;
    uint32_t in_list;
    uint64_t position;
} ki_list_walk;

/* What a build with lists holds besides. */
typedef struct ki_build_lists {
    size_t count;     /* 0: one list of all */
    ki_kmeans kmeans; /* trained when count */
    ki_second second;
    void *model; /* of the second code */
    size_t model_bytes;

    uint32_t *rows_of; /* rows of each list */
    float *radius;
    size_t blocks;

    /* Dividing: rows are placed in their order, whoever assigned them. */
    pthread_mutex_t placing; /* guards the three below and rows_of */
    pthread_cond_t turned;
    uint64_t turn;     /* the next row to be placed */
    uint32_t overflow; /* where rows go whose lists are full */
    float residual2;   /* how far from their centroids, squared, sample rows ordinarily are */

    /* Rows between dividing and coding, in the stored type: all of them in memory by row, or a draft in list order in
     * the originals' section, or where there is none in `spool`. */
    const uint8_t *all;
    uint8_t *kept; /* what of `all` is ours to free */
    ki_outfile spool;

    ki_list_walk walk;

    /* Second lists; NULL where there are none. */
    uint32_t *list_of;            /* by row: its list */
    uint32_t *second_list_of;     /* by row: its second list, UINT32_MAX without one */
    uint32_t *second_list_counts; /* rows of which each list is the second; guarded by placing */
    uint32_t *by_second_list;     /* second_list_rows rows, by their second list */
    uint64_t second_list_rows;
    size_t second_list_blocks;
} ki_build_lists;

/* What was asked for, checked. */
typedef struct ki_build_graph {
    int wanted;
    uint32_t degree, bits; /* bits 0: lean */
} ki_build_graph;

typedef struct ki_build {
    kith_reader *reader;
    kith_reader_info source;
    kith_build_options options;
    kith_pool *pool;
    kith_build_report report;
    kith_error *error;
    const char *path; /* of the index */
    char code[32];    /* the second code that is made where none was named */
    uint64_t start_ns;
    ki_recipe recipe;
    ki_segment_head head; /* what stages have to say in it */
    ki_segment_writer *writer;
    ki_id_table labels;
    ki_build_lists lists;
    ki_build_graph graph;
    ki_lsh_shape lsh; /* as planned */
    size_t run_rows, workers;
    /* shared by workers */
    pthread_mutex_t reading; /* guards reader, next_row, labels while appending */
    uint64_t next_row;
    pthread_mutex_t failing; /* guards the six below */
    kith_status status;
    uint64_t failed_row; /* of the failure kept */
    kith_error failure;
    ki_row_fault fault;
    double error_sum[3];
    atomic_uint_fast64_t rows_done, read_ns, code_ns, write_ns;
    atomic_int stop;
} ki_build;

/* ---- rows.c ------------------------------------------------------------------------------------------------------ */

const char *ki_build_path(const ki_build *b); /* of the input */

/* Remember a failure at a row and stop the workers. */
void ki_build_fail(ki_build *b, kith_status status, uint64_t row, ki_row_fault fault, const kith_error *failure);
kith_status ki_build_explain(const ki_build *b, ki_row_fault fault, uint64_t row, kith_error *error);
void ki_build_tell(ki_build *b, const char *stage, uint64_t done, uint64_t total);

/* Take the next rows, at most `wanted`, in the stored type, into `to` or where they are kept (both NULL: the reader has
 * them in memory). label: also their ids and names. floats: a row. After a failure `count` rows were taken before
 * it. */
kith_status ki_build_take(ki_build *b, uint8_t *to, size_t wanted, int label, float *floats, uint64_t *first,
                          size_t *count, kith_error *error);

/* Choose workers and rows of a run by the memory that is left for `each` bytes a row. */
void ki_build_plan_runs(ki_build *b, uint64_t each);
/* Run `worker` on all workers over rows from the first one. */
kith_status ki_build_run_workers(ki_build *b, ki_pool_fn worker, int rewind);
/* Write a coded run whose blocks and positions begin there. */
kith_status ki_build_put_run(ki_build *b, const ki_run *run, uint64_t block, uint64_t position, kith_error *error);

/* Add what a worker's runs have summed up. */
void ki_build_add_errors(ki_build *b, const ki_run *run);

/* Code all rows as one list. */
kith_status ki_build_one_list(ki_build *b);

/* The header as far as it is known. */
ki_segment_head ki_build_head(const ki_build *b);

/* ---- sample.c ---------------------------------------------------------------------------------------------------- */

/* may_be: what whole numbers are taken for. */
kith_status ki_build_recipe(ki_build *b, ki_whole may_be);
/* Learn `wanted` (2 or more) lists, and the second code where one is asked for. lists.count is 0 where all rows make
 * one list. */
kith_status ki_build_train_lists(ki_build *b, size_t wanted);

/* Learn the second code of one list, which is of what vectors are beside the centre. */
kith_status ki_build_train_flat_code(ki_build *b);

/* ---- lists.c ----------------------------------------------------------------------------------------------------- */

/* Give every row its list and a draft position: labels.row_at and position_of. */
kith_status ki_build_divide(ki_build *b);
/* Bring rows that were not kept in memory into list order, in the segment. */
kith_status ki_build_draft(ki_build *b);
kith_status ki_build_get_draft(ki_build *b, uint64_t position, uint8_t *rows, size_t count, kith_error *error);
void ki_build_lists_free(ki_build *b);

/* ---- code.c ------------------------------------------------------------------------------------------------------ */

/* Bytes of the supers' section. */
uint64_t ki_build_super_bytes(const ki_build *b);
/* The table, centroids, coarse codes and supers. */
kith_status ki_build_put_lists(ki_build *b, ki_segment_head *head);
/* Code all lists, and write what only then is known. */
kith_status ki_build_code_lists(ki_build *b);
/* Cut the next run, of lists with so many rows each: whole lists while they fit, or a part of one that is longer than a
 * run. Its blocks and positions begin there. False at the end. */
int ki_build_take_lists(ki_build *b, const uint32_t *rows_of, ki_run *run, uint64_t *block, uint64_t *position);

/* ---- lsh.c ------------------------------------------------------------------------------------------------------- */

/* Refuse options that make no tables; before check of lists. */
kith_status ki_build_check_lsh(ki_build *b);
/* These do nothing unless hash tables are asked for. The second: when all originals are written. */
void ki_build_plan_lsh(ki_build *b, ki_part_plan *plan, size_t *n);
kith_status ki_build_lsh(ki_build *b);
/* ---- hnsw.c ------------------------------------------------------------------------------------------------------ */
kith_status ki_build_check_hnsw(ki_build *b);
/* Make the HNSW that was asked for, if one was; when all else but calibration is in the segment. */
kith_status ki_build_hnsw(ki_build *b, const ki_segment_head *head);

/* ---- frozen.c ---------------------------------------------------------------------------------------------------- */

/* Links of an HNSW as candidates of a graph's edges. */
typedef struct ki_build_frozen {
    const ki_view *view;   /* of the index that has them; NULL: nobody gave one */
    uint32_t *number_of;   /* by position: the vertex there */
    uint32_t *position_of; /* by vertex: UINT32_MAX, or a position with its vector */
} ki_build_frozen;
/* Find the vectors of the segment, which are written, among those of options.links, if that is given. Freed either
 * way. */
kith_status ki_build_frozen_start(ki_build *b, ki_build_frozen *frozen);
void ki_build_frozen_free(ki_build_frozen *frozen);
/* As ki_graph_input.near. */
void ki_build_frozen_near(const ki_build_frozen *frozen, uint64_t first, size_t count, size_t each, uint32_t *found);

/* ---- second_lists.c ---------------------------------------------------------------------------------------------- */

/* Code the rows of second lists; after ki_build_code_lists(). */
kith_status ki_build_code_second_lists(ki_build *b);

/* ---- graph.c ----------------------------------------------------------------------------------------------------- */

/* Whether there shall be a graph, and of what kind. */
kith_status ki_build_check_graph(ki_build *b);
/* Of a sample of the rows, as floats; cosine: of unit length. */
void ki_build_choose_bits(ki_build *b, const float *sample, size_t count);
void ki_build_plan_graph(const ki_build *b, ki_part_plan *plan, size_t *n);
/* Make and write it, if there shall be one; all originals are in the segment. */
kith_status ki_build_make_graph(ki_build *b);

#endif

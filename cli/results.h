/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the results of searches go: a table, JSON, or two files of arrays. Queries arrive in order, each once. */
#ifndef KITH_CLI_RESULTS_H
#define KITH_CLI_RESULTS_H

#include "command.h"
#include "json.h"
#include "table.h"

enum results_kind { RESULTS_TABLE, RESULTS_JSON, RESULTS_NPY, RESULTS_VECS };

struct results {
    enum results_kind kind;
    const kith_index *index;
    const kith_index_info *info;
    const char *index_path;
    size_t k; /* RESULTS_NPY and VECS: length of each row */
    struct table *table;
    struct json json;
    struct result_file ids, distances;
};

/* The kind that --json and --output ask for. */
int results_kind(const struct arguments *arguments, enum results_kind *kind);

/* Whether the files may be written (output_replace()), before anything is searched. */
int results_check(const struct arguments *arguments, enum results_kind kind);

/* kind, index, info, index_path and k are set. queries: how many will come. */
int results_open(struct results *results, const char *path, uint64_t queries);
/* count results of query number `query`, at most k for files. */
int results_add(struct results *results, uint64_t query, const uint64_t *ids, const float *distances, size_t count);
/* Print what was added so far. Silent EXIT_BROKEN when stdout is broken. */
int results_flush(struct results *results);
/* Give the files their names. */
int results_commit(struct results *results);
void results_close(struct results *results);

#endif

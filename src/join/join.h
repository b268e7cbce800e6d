/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside kith_join(): what is asked, the files that outlive an interruption, batches of queries, and the two outputs.
 *
 * J1. The output is a function of index, queries and options that ki_join_request.hash covers: not of threads, batches,
 *     checkpoints or interruptions.
 * J2. A state file names the .part files by device and inode, and is written after their bytes were synced: what it
 *     says was done lies on the disk. It is removed before the .part files are begun anew.
 * J3. Nothing in a state file is believed before its checksum and its bounds were checked.
 * J4. <out>.part is locked while a process works on <out>, whatever the format.
 *
 * One owner at a time; pool work inside. */
#ifndef KI_JOIN_JOIN_H
#define KI_JOIN_JOIN_H

#include "base/file.h"
#include "index/index.h"
#include "io/reader.h"

/* ---- What is asked (request.c) ----------------------------------------------------------------------------------- */

typedef struct ki_join_request {
    const kith_index *index;
    kith_reader *queries; /* NULL: the stored vectors */
    kith_join_options options;
    kith_join_format format; /* NPY or NDJSON */
    kith_dtype dtype;        /* of the queries */
    kith_id_kind id_kind;    /* of the queries */
    size_t row_bytes;        /* of a query */
    size_t wanted;           /* results asked of a search: k, and one more for a self-join */
    uint64_t rows;           /* queries in all */
    size_t batch;            /* most queries of a search */
    int even;                /* batches are all of that size, as the plan may depend on it */
    uint64_t hash;           /* of the options that the output depends on, and of the queries' shape */
    uint64_t index_hash;
} ki_join_request;

kith_status ki_join_request_make(const kith_index *index, kith_reader *queries, const char *out,
                                 const kith_join_options *options, ki_join_request *request, kith_error *error);

/* ---- The state file (state.c) ------------------------------------------------------------------------------------ */

enum { KI_JOIN_PARTS = 2 };

typedef struct ki_join_state {
    uint64_t index, request; /* hashes */
    uint64_t rows, done;     /* queries */
    uint64_t queries;        /* hash of those done; a self-join's is 0 */
    uint64_t text_bytes;     /* NDJSON: bytes written for them */
    uint64_t device[KI_JOIN_PARTS], inode[KI_JOIN_PARTS];
} ki_join_state;

/* *why (static) is NULL when the file is there and makes sense, "" when there is none, else what is wrong with it. */
kith_status ki_join_state_load(const char *path, ki_join_state *state, const char **why, kith_error *error);
kith_status ki_join_state_save(const char *path, const ki_join_state *state, kith_error *error);

/* ---- Files (files.c) --------------------------------------------------------------------------------------------- */

typedef struct ki_join_files {
    char *state_path;
    char *stray; /* a .part file that the other format would have */
    size_t count;
    ki_outfile part[KI_JOIN_PARTS]; /* ids or NDJSON, and distances */
    int renamed[KI_JOIN_PARTS];     /* an earlier join gave it its name already */
} ki_join_files;

#define KI_JOIN_FILES_NONE                                                                                             \
    {                                                                                                                  \
        .part = { KI_OUTFILE_NONE, KI_OUTFILE_NONE }                                                                   \
    }

/* Open and lock. Nothing is changed yet, except that missing .part files are made, empty. */
kith_status ki_join_files_open(ki_join_files *files, const ki_join_request *request, const char *out,
                               kith_error *error);
/* Whether the .part files are those of a state, or bear their final names already; expected: bytes of each, at least
 * where the state has not all queries done. */
int ki_join_files_match(ki_join_files *files, const ki_join_state *state, const uint64_t *expected);
/* Forget an earlier join: the state goes first. */
kith_status ki_join_files_reset(ki_join_files *files, kith_error *error);
/* Sync, then save the state. */
kith_status ki_join_files_checkpoint(ki_join_files *files, ki_join_state *state, kith_error *error);
/* Give the finished files their names and remove the state. */
kith_status ki_join_files_finish(ki_join_files *files, kith_error *error);
/* Close; .part files stay if a state speaks of them. */
void ki_join_files_close(ki_join_files *files);

/* ---- Queries (source.c) ------------------------------------------------------------------------------------------ */

typedef struct ki_join_source {
    const ki_join_request *request;
    size_t capacity;
    unsigned char *rows; /* of a batch; NULL: they are searched where they lie */
    uint64_t *ids;       /* of a batch: a self-join's, and those of a reader with KITH_ID_U64 */
    ki_labels labels;    /* string ids of a reader */
    uint64_t hash;       /* of all rows and ids read so far; a self-join's is 0 */

    uint64_t first; /* the batch */
    size_t count;
    const void *data;
} ki_join_source;

kith_status ki_join_source_open(ki_join_source *source, const ki_join_request *request, kith_error *error);
/* Back to the first query. */
kith_status ki_join_source_rewind(ki_join_source *source, kith_error *error);
/* Make the next `count` queries, at most the request's batch, the batch. */
kith_status ki_join_source_next(ki_join_source *source, size_t count, kith_error *error);
void ki_join_source_close(ki_join_source *source);

/* ---- Outputs (arrays.c, text.c) ---------------------------------------------------------------------------------- */

typedef struct ki_join_output {
    const ki_join_request *request;
    ki_join_files *files;
    const ki_join_source *source; /* its batch is what is written */
    kith_pool *pool;
    uint64_t *ids; /* results of the batch, count x k; without the query itself */
    float *distances;
    void *work; /* the format's */
    size_t work_count;
} ki_join_output;

/* Bytes of each array's file. */
uint64_t ki_join_array_bytes(const ki_join_request *request, size_t part);
kith_status ki_join_arrays_begin(ki_join_output *output, kith_error *error);
kith_status ki_join_arrays_write(ki_join_output *output, kith_error *error);

/* Append to what was written before; *bytes is where, and is moved on. */
kith_status ki_join_text_write(ki_join_output *output, uint64_t *bytes, kith_error *error);
void ki_join_output_end(ki_join_output *output); /* frees work */

#endif

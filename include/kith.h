/* SPDX-License-Identifier: Apache-2.0
 *
 * kith: exact and approximate nearest neighbours of vectors. This header is the whole public contract.
 *
 * Words. A *vector* has `dim` elements. An *index* is one immutable file of n vectors, opened by mapping it. An *id* is
 * a caller's u64; when ids are strings the library hands out the row number (the position in the input, from 0) as the
 * u64, and kith_index_string_id() turns it into the string. A *distance* is a float, smaller is nearer:
 *
 *   KITH_L2SQ     sum (q-x)^2              squared Euclidean: no root is taken
 *   KITH_IP       -sum q*x                 so that ascending order means the largest product first
 *   KITH_COSINE   1 - sum q*x / (|q||x|)   0..2, and exactly 0 for equal vectors (not only nearly: a radius of 0 finds
 *                                          them); shorter ones than KITH_COSINE_NORM_MIN, zero ones too, are refused
 *   KITH_HAMMING  differing bits           KITH_B1 only
 *   KITH_JACCARD  1 - |q&x| / |q|x|        KITH_B1 only; two empty sets are at distance 0
 *
 * Defining kernel. Every distance is what kith_distance() returns: elements are converted to float exactly, element i
 * goes to partial sum i mod 16 by one fused multiply-add in ascending i (as if zero-padded to a multiple of 16), and
 * the sixteen sums are added as a fixed tree: s[j]+s[j+8], then +4, +2, +1. KITH_COSINE takes three such sums and goes
 * on in double: 1 - qx / sqrt(qq * xx), cut to 0..2, is rounded to float once. Exact searches return these very bits on
 * every tier, machine and thread count.
 *
 * Results are ordered by ascending distance, ties by ascending id (with string ids: by row number).
 *
 * Example: the 3 vectors nearest to a query of 2 numbers (without the checks that a program makes).
 *
 *   kith_index *index = NULL;
 *   kith_scratch *scratch = NULL;
 *   kith_error error = {0};
 *   kith_status status = kith_index_open("points.kith", NULL, &index, &error);
 *   if (status == KITH_OK) status = kith_scratch_create(index, NULL, &scratch, &error);
 *   const float query[2] = {0.5f, 2};
 *   kith_queries queries = KITH_QUERIES_INIT;
 *   queries.data = query, queries.dtype = KITH_F32, queries.count = 1, queries.dim = 2;
 *   uint64_t ids[3];
 *   float distances[3];
 *   if (status == KITH_OK) status = kith_search(index, &queries, 3, NULL, scratch, ids, distances, &error);
 *   if (status != KITH_OK) fprintf(stderr, "%s\n", error.text);
 *   for (int i = 0; i < 3 && status == KITH_OK; i++) printf("%llu\n", (unsigned long long)ids[i]);
 *   kith_scratch_destroy(scratch);
 *   kith_index_close(index);
 *
 * Errors. Functions return kith_status. On failure every out-parameter is untouched (but see kith_search and
 * kith_index_vectors), and `error`, where given and not NULL, holds a sentence naming what and where; after KITH_OK it
 * is as it was. Programmer mistakes return KITH_E_ARG, a NULL that no comment allows among them; bytes from disk never
 * assert. Functions that end a handle take NULL and do nothing; those that return a number return 0 for it.
 *
 * Threads. Handles are opaque. A kith_index, kith_filter is immutable: any number of threads may use one. A
 * kith_scratch, kith_reader, kith_writer belongs to one call at a time. A kith_pool may serve many callers.
 *
 * Growth. Programs compiled with the kith.h of a release run with every later library of the same soname. Structs that
 * may grow start with struct_size; initialise them with their KITH_..._INIT. A struct of an older kith.h is taken as if
 * its missing members had the _INIT values, or filled as far as it reaches. One of a newer kith.h is taken if what this
 * library does not know of it is zero, and its unknown results become zero. Other sizes are KITH_E_ARG, which names the
 * struct. The structs without struct_size (kith_error, kith_rows, kith_ranges, kith_tuned, kith_section_info), and the
 * arrays inside others, never change. Enums gain values: let a switch have a default.
 *
 * Caveats.
 * - Lifetimes. An index outlives its scratches, its filters, and the texts and settings that it lends. A pool outlives
 *   the scratches made with it. Rows of a reader and ranges of a scratch live until its next use.
 * - Changed files. An open index file must stay as it is: what is copied or written over it in place appears in the
 *   map, and answers are then those of neither file. Another index that is copied over it from its beginning is noticed
 *   (KITH_E_CORRUPT), other changes are not. Replace it by renaming, as kith_build() and kith_tune() do: who has the
 *   old one open keeps it until it is closed.
 * - SIGBUS. Reading a mapped page that was cut off, or that a disk or server fails to give, raises SIGBUS.
 *   kith_index_open() installs a handler for the whole process, once, which lets such a search fail with KITH_E_CORRUPT
 *   and hands all other faults to the handler that was there before. A handler installed later must call it. See
 *   kith_open_options.no_sigbus_handler.
 * - fork(). In the child all handles may be used and ended, but for those that another thread of the parent was using
 *   at the time: scratches, readers and writers in use, and pools while being made. A pool starts its threads anew
 *   there. A writer, build or join at work belongs to one of the two processes.
 * - Shared. Index files may be open in any number of processes, which share one copy of them in memory. Two builds of
 *   one path do not disturb each other: the later one stays.
 * - Callbacks run on the thread that called in, but for kith_source.read. They must return: no longjmp(), no exception
 *   through us.
 * - Floating point. Distances are as defined in the default environment (round to nearest, denormals kept), which the
 *   calling thread must have, and so must one that makes a pool work for the first time.
 * - Process-wide state: the SIGBUS handler, and the processor's features, looked up once (KITH_CPU).
 * - Not for untrusted callers: KITH_E_ARG finds mistakes, not lies. Files, on the other hand, need not be trusted. */
#ifndef KITH_H
#define KITH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KITH_VERSION_MAJOR 0
#define KITH_VERSION_MINOR 3
#define KITH_VERSION_PATCH 0

#if defined(__GNUC__)
#define KITH_API        __attribute__((visibility("default")))
#define KITH_MUST_CHECK __attribute__((warn_unused_result))
#else
#define KITH_API
#define KITH_MUST_CHECK
#endif

#define KITH_DIM_MAX         65536u               /* elements of a vector; for KITH_B1 bits */
#define KITH_ROWS_MAX        UINT64_C(4294967280) /* vectors of one index */
#define KITH_K_MAX           10000u               /* neighbours of one query */
#define KITH_QUERIES_MAX     UINT64_C(16777216)   /* queries of one call */
#define KITH_THREADS_MAX     256u
#define KITH_NORM_MAX        4611686018427387904.0 /* 2^62, largest Euclidean norm: keeps every float sum finite */
#define KITH_COSINE_NORM_MIN 0x1p-40    /* shorter vectors have no direction that float products could tell */
#define KITH_STRING_MAX      4096u      /* bytes of a string id or a name */
#define KITH_LISTS_MAX       65536u     /* lists of one index */
#define KITH_ID_NONE         UINT64_MAX /* fills rows with fewer than k results; never a valid id */

/* ---- Status and error text --------------------------------------------------------------------------------------- */

typedef enum kith_status {
    KITH_OK = 0,
    KITH_E_ARG = 1,         /* the caller broke this contract */
    KITH_E_NOMEM = 2,       /* memory was refused; nothing changed */
    KITH_E_IO = 3,          /* the operating system refused a file operation; the text has its reason */
    KITH_E_NOSPACE = 4,     /* the disk is full */
    KITH_E_NOTFOUND = 5,    /* no such file, id or name */
    KITH_E_FORMAT = 6,      /* an input file is malformed: the text names the file and the byte, row or line */
    KITH_E_DATA = 7,        /* a well-formed value is refused: NaN, infinity, zero vector with cosine, duplicate id */
    KITH_E_CORRUPT = 8,     /* an index file is damaged: the text names the file, section and part */
    KITH_E_VERSION = 9,     /* an index file needs a newer kith */
    KITH_E_LIMIT = 10,      /* a size is beyond a documented limit */
    KITH_E_BUSY = 11,       /* somebody else holds it */
    KITH_E_CANCELLED = 12,  /* a callback asked to stop */
    KITH_E_DEADLINE = 13,   /* the time was up */
    KITH_E_UNSUPPORTED = 14 /* this combination is not offered */
} kith_status;

#define KITH_ERROR_TEXT_BYTES 512

/* Caller-owned error text. Zero-initialise; the library only writes it on failure. Never grows. Since 0.1. */
typedef struct kith_error {
    kith_status status;
    char text[KITH_ERROR_TEXT_BYTES]; /* UTF-8, ends in NUL */
} kith_error;

/* "ok", "bad argument", ...: static text, never NULL, also for values outside the enum. Since 0.1. */
KITH_API const char *kith_status_text(kith_status status);

/* The library's version as "major.minor.patch": static text. Since 0.1. */
KITH_API const char *kith_version(void);

/* ---- Element types and metrics ----------------------------------------------------------------------------------- */

typedef enum kith_dtype {
    KITH_DTYPE_NONE = 0, /* "as the source" in options */
    KITH_F32 = 1,
    KITH_F16 = 2,  /* IEEE binary16 */
    KITH_BF16 = 3, /* the upper half of a float */
    KITH_I8 = 4,
    KITH_U8 = 5,
    KITH_B1 = 6 /* packed bits, dim a multiple of 8; bit order inside a byte does not matter to the metrics */
} kith_dtype;

typedef enum kith_metric {
    KITH_METRIC_NONE = 0, /* default: l2 for numbers, hamming for bits */
    KITH_L2SQ = 1,
    KITH_IP = 2,
    KITH_COSINE = 3,
    KITH_HAMMING = 4,
    KITH_JACCARD = 5
} kith_metric;

/* "f32", "f16", "bf16", "i8", "u8", "b1" and "l2", "ip", "cosine", "hamming", "jaccard"; "?" for other values. The
 * parse functions take the same words and their usual synonyms ("float32", "dot", "euclidean", ...), in upper or lower
 * case and with or without '-', '_' and spaces ("L2", "inner-product"), and return the NONE value for others.
 * Since 0.1. */
KITH_API const char *kith_dtype_name(kith_dtype dtype);
KITH_API const char *kith_metric_name(kith_metric metric);
KITH_API kith_dtype kith_dtype_parse(const char *word);
KITH_API kith_metric kith_metric_parse(const char *word);

/* Bytes of one vector, 0 if dtype or dim is out of range (KITH_B1 needs dim % 8 == 0). Since 0.1. */
KITH_API size_t kith_row_bytes(kith_dtype dtype, size_t dim);

/* The defining distance between query q (dim floats; for KITH_B1 dim/8 bytes) and stored vector x (dim elements of
 * dtype). Both finite. KITH_E_ARG on NULL, bad sizes, or a metric that dtype does not have; KITH_E_DATA for a vector
 * that KITH_COSINE has no distance of: shorter than KITH_COSINE_NORM_MIN, zero ones too, or longer than KITH_NORM_MAX.
 * Any thread. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_distance(kith_metric metric, kith_dtype dtype, size_t dim, const void *q,
                                                   const void *x, float *distance);

/* ---- What this machine can do ------------------------------------------------------------------------------------ */

typedef struct kith_cpu {
    size_t struct_size;
    const char *tier;       /* tier in use: "scalar", "avx2", "avx512", "amx", "neon"; static */
    const char *tier_found; /* best tier of this machine; static */
    const char *features;   /* space-separated features found; static */
    const char *features_used;
    const char *setting; /* what KITH_CPU said, "" when unset; static */
    char model[64];
    /* Usable by this process: the least of its affinity and of the quotas of processor time (cpu.max, or cfs_quota of
     * version 1) of its control group and those around it, rounded up; at least 1. */
    unsigned cores;
    uint64_t l1d_bytes, l2_bytes, l3_bytes; /* 0 when unknown */
    unsigned threads;                       /* that 0 stands for: KITH_THREADS, otherwise one per usable core */
    unsigned reserved;                      /* 0 */
} kith_cpu;
#define KITH_CPU_INIT                                                                                                  \
    { .struct_size = sizeof(kith_cpu) }

/* Detection runs once a process. The environment variable KITH_CPU ("scalar", "avx2", "avx512", "amx", "neon", then
 * optional ",-feature" words) lowers it; an unknown word there is reported by KITH_E_ARG here and by kith_index_open(),
 * and detection goes on without it. `cores` and `threads` are asked for at each call; a KITH_THREADS that is no number
 * of threads is reported by KITH_E_ARG too. Any thread. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_cpu_info(kith_cpu *cpu, kith_error *error);

/* One device beside the processor. Filled by the library. Since 0.3. */
typedef struct kith_device {
    size_t struct_size;
    char backend[16];      /* "opencl" */
    char name[96];         /* as its driver calls it */
    char driver[96];       /* its version */
    char obstacle[96];     /* why it cannot be used; "": it can */
    uint64_t memory_bytes; /* 0 when unknown */
    unsigned units;        /* that compute side by side */
    unsigned reserved;     /* 0 */
} kith_device;
#define KITH_DEVICE_INIT                                                                                               \
    { .struct_size = sizeof(kith_device) }

/* Device number 0 and up. KITH_E_NOTFOUND: there are no so many; KITH_E_UNSUPPORTED: there can be none, as
 * libkith_opencl.so, which lies beside the library or the program or where KITH_DEVICE_PATH says, or OpenCL's loader, a
 * libOpenCL.so.1 or what KITH_OPENCL names, is missing. KITH_E_ARG. Drivers may start threads and open files. Any
 * thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_device_get(size_t number, kith_device *device, kith_error *error);

/* ---- Progress, cancelling and threads ---------------------------------------------------------------------------- */

/* Filled by the library; a member that lies beyond struct_size is not there. Since 0.1. */
typedef struct kith_progress {
    size_t struct_size;
    const char *stage; /* "reading", "writing", "verifying", ...; static */
    const char *unit;  /* "vectors" or "bytes"; static */
    uint64_t done, total;
} kith_progress;

/* Called now and then by long work, from the thread that called in; return non-zero to cancel (KITH_E_CANCELLED). It
 * must not call into the same handle. */
typedef int (*kith_progress_fn)(void *context, const kith_progress *progress);

typedef struct kith_pool kith_pool;

/* A pool that runs work on `threads` threads, the caller's included (1: no thread is made). 0, here and in every
 * options struct: as many as the environment variable KITH_THREADS says, from 1 to KITH_THREADS_MAX, and where it is
 * unset or empty one per usable core (kith_cpu's `cores`). After fork() the child's first use starts its threads anew.
 * Any number of callers may share a pool; their works take turns. KITH_E_LIMIT beyond KITH_THREADS_MAX; KITH_E_ARG when
 * KITH_THREADS is asked and is anything else. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_pool_create(unsigned threads, kith_pool **pool, kith_error *error);
KITH_API unsigned kith_pool_threads(const kith_pool *pool); /* 0 for NULL */
KITH_API void kith_pool_destroy(kith_pool *pool);           /* NULL is fine; no work may be running */

/* ---- Reading and writing files of vectors ------------------------------------------------------------------------ */

typedef enum kith_format {
    KITH_FORMAT_AUTO = 0, /* from the file's suffix, then from its first bytes */
    KITH_NPY = 1,  /* .npy: f4, f2, i1, u1 (and f8 and i2..i8, u2..u8 narrowed to f32 where exact) C order, 2-d */
    KITH_VECS = 2, /* .fvecs .bvecs .ivecs: i32 dim before each row */
    KITH_BIN = 3,  /* .fbin .u8bin .i8bin .ibin: u32 rows, u32 dim, rows */
    KITH_CSV = 4,  /* .csv .tsv: numbers, optional header, optional id column; or vectors as lists in one column */
    KITH_JSONL = 5 /* .jsonl .ndjson: {"id": 7 | "x", "vector": [...], "name": "..."} a line */
} kith_format;

/* Is the first line of a csv a header? AUTO: yes when a column in it is called id or name (in upper or lower case) or
 * was asked for by name, when nothing in it is a number, and when it is what data frames write: 0, 1, 2, ..., not gone
 * on with on the next line (two columns of whole numbers: KITH_E_FORMAT, as both may be meant; one column: no). A first
 * column without a name (also "Unnamed: 0" and "index") is a data frame's index: the ids, unless another column is, and
 * then it is left out. */
typedef enum kith_header { KITH_HEADER_AUTO = 0, KITH_HEADER_YES = 1, KITH_HEADER_NO = 2 } kith_header;

typedef enum kith_id_kind {
    KITH_ID_ROW = 0, /* no ids in the file: the row number is the id */
    KITH_ID_U64 = 1,
    KITH_ID_STRING = 2
} kith_id_kind;

typedef struct kith_reader kith_reader;

typedef struct kith_reader_options {
    size_t struct_size;
    kith_format format;
    kith_dtype dtype;        /* KITH_B1: read u1/bvecs/u8bin rows as packed bits; else must be NONE */
    const char *id_column;   /* csv: header name or 1-based number of the id column; jsonl: key; NULL: the one called
                              * "id" in upper or lower case, in jsonl else "_id" */
    const char *name_column; /* likewise for names; NULL: "name" */
    const char *names_path;  /* text file with one name a row, in row order; NULL: none */
    const char *ids_path;    /* text file with one id a row, or .npy of u8/i8 (8-byte) integers; NULL: none */
    uint64_t first_row;      /* rows to leave out at the start */
    uint64_t max_rows;       /* 0: all */
    const char *vector_key;  /* jsonl: key of the vector; NULL: "vector", else the only one there is of "embedding",
                              * "embeddings", "values", "emb", "vec", "features". csv: header name or 1-based number of
                              * the column whose fields are whole vectors ("[0.1, 0.2]"); NULL: the only such column.
                              * Columns beside it that are neither ids nor names are left out */
    kith_header header;
    int round;     /* non-zero: f8 and wide integers are rounded to the nearest f32 where they are not exact */
    int skip_bad;  /* non-zero: leave out rows that cannot be read (another number of fields, no number, a bad id) or
                    * that hold a NaN, an infinity or a norm beyond KITH_NORM_MAX. Where the file has no ids, they are
                    * then the row numbers that would be without leaving out. Costs a pass over the file at open, and 8
                    * bytes for each row left out. The first line of text must be whole */
    int skip_zero; /* with skip_bad: leave out also what cosine refuses */
} kith_reader_options;
#define KITH_READER_OPTIONS_INIT                                                                                       \
    { .struct_size = sizeof(kith_reader_options) }

typedef struct kith_reader_info {
    size_t struct_size;
    kith_format format;
    kith_dtype dtype; /* KITH_F32, F16, BF16, I8, U8 or B1; text formats and .ivecs/.ibin read as F32 */
    kith_id_kind id_kind;
    int has_names;
    size_t dim;
    uint64_t rows; /* known before the first row is read, also for text */
    uint64_t file_bytes;
    const char *columns; /* text formats: how the columns or keys were taken, for people; lives as long as the reader;
                          * else "" */
    uint64_t skipped;    /* rows that skip_bad left out */
    int guessed_header;  /* the first line of a csv was taken for a header because of what it holds: 0, 1, 2, ... */
    int row_ids;         /* some were left out, and the file has no ids: ids are the numbers that rows had before */
} kith_reader_info;
#define KITH_READER_INFO_INIT                                                                                          \
    { .struct_size = sizeof(kith_reader_info) }

/* Some rows of a reader: borrowed until the next call with that reader. Never grows. Since 0.1. */
typedef struct kith_rows {
    uint64_t first;          /* row number of data[0] */
    size_t count;            /* 0 at the end */
    const void *data;        /* count x kith_row_bytes(dtype, dim), packed */
    const uint64_t *ids;     /* KITH_ID_U64: count ids; else NULL */
    const char *id_bytes;    /* KITH_ID_STRING: the strings back to back, no NULs; else NULL */
    const uint32_t *id_ends; /* KITH_ID_STRING: count ends in id_bytes, ascending; row i begins at id_ends[i-1] */
    const char *name_bytes;  /* with names: likewise; else NULL */
    const uint32_t *name_ends;
} kith_rows;

/* Open a file of vectors. The header and the file's size are checked against each other before any allocation, and no
 * count from the file sizes one. Values are not checked for NaN here: kith_build and searches do.
 *
 * What is no regular file but a pipe, socket or terminal is first copied to an unnamed temporary file in $TMPDIR or
 * /tmp; a signal in between ends that. What gzip compressed is decompressed there (not .fvecs and .fbin and their
 * siblings, unless the name ends in .gz; needs libz.so.1 at run time). The side files of the options likewise.
 *
 * KITH_E_NOTFOUND (also an id, name or vector column that is not there), KITH_E_IO, KITH_E_FORMAT (names the byte, row
 * or line), KITH_E_DATA, KITH_E_LIMIT, KITH_E_UNSUPPORTED (other kinds of files, by their name), KITH_E_CANCELLED (a
 * signal), KITH_E_NOMEM. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_open(const char *path, const kith_reader_options *options,
                                                      kith_reader **reader, kith_error *error);

/* Read from memory: rows of dim elements, row i at rows + i*stride_bytes (0: packed), borrowed until close. ids: count
 * u64 or NULL. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_from_memory(const void *rows, kith_dtype dtype, uint64_t count,
                                                             size_t dim, size_t stride_bytes, const uint64_t *ids,
                                                             kith_reader **reader, kith_error *error);

/* Rows that a function of the caller's makes on demand. */
typedef struct kith_source {
    size_t struct_size;
    const char *name; /* stands for the file in messages; copied; NULL: "(source)" */
    kith_dtype dtype;
    kith_id_kind id_kind;
    int has_names;
    size_t dim;
    uint64_t rows;
    /* Write rows first..first+count, packed, to `data` (aligned for any dtype), and point the ids and names that the
     * source announced at arrays that live until the next call (other members of *labels are ignored). Rows may be
     * asked for in any order and more than once; calls come one at a time, but from any thread of a build's pool. A
     * status other than KITH_OK, with its text in *error, ends the reading. */
    kith_status (*read)(void *context, uint64_t first, size_t count, void *data, kith_rows *labels, kith_error *error);
    void *context;
} kith_source;
#define KITH_SOURCE_INIT                                                                                               \
    { .struct_size = sizeof(kith_source) }

/* Read from a source, which is copied; its context is borrowed until close. String ids and names must be UTF-8 of at
 * most KITH_STRING_MAX bytes, ids not empty: KITH_E_DATA names the row. KITH_E_ARG, KITH_E_LIMIT (rows, dim),
 * KITH_E_NOMEM. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_from_source(const kith_source *source, kith_reader **reader,
                                                             kith_error *error);

/* What the reader gives. KITH_E_ARG (NULL, or a struct without its size), and nothing else: this may go unchecked.
 * Returned void before 0.2. Since 0.1. */
KITH_API kith_status kith_reader_get_info(const kith_reader *reader, kith_reader_info *info);

/* The place-th row that skip_bad left out (place from 0, below kith_reader_info.skipped), by its number in the file;
 * *why is a sentence that lives as long as the reader, of the first ten, else "". KITH_E_ARG. Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_skipped(const kith_reader *reader, uint64_t place, uint64_t *row,
                                                         const char **why, kith_error *error);
/* "(memory)" for memory, "" for NULL; lives as long as reader. Since 0.1. */
KITH_API const char *kith_reader_path(const kith_reader *reader);

/* The next rows, at most max_rows of them and at least one unless at the end. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_next(kith_reader *reader, size_t max_rows, kith_rows *rows,
                                                      kith_error *error);
/* Go to a row, 0..rows. Cheap for binary formats; text is parsed again from the start. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_reader_seek(kith_reader *reader, uint64_t row, kith_error *error);
KITH_API void kith_reader_close(kith_reader *reader); /* NULL is fine */

typedef struct kith_id_reader kith_id_reader;

/* Read a list of ids, as ids_path of a reader takes it, but with blank lines left out. kind: what the ids of the index
 * are that they belong to (KITH_ID_ROW as KITH_ID_U64): in an index of strings every line is one, in one of numbers a
 * line that is none is KITH_E_FORMAT. Pipes, gzip and errors as of kith_reader_open(). Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_id_reader_open(const char *path, kith_id_kind kind, kith_id_reader **reader,
                                                         kith_error *error);
/* The next ids, at most max_ids; rows->count is 0 at the end. Of *rows count and ids, or id_bytes and id_ends are set,
 * and borrowed until the next call. One thread at a time. Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_id_reader_next(kith_id_reader *reader, size_t max_ids, kith_rows *rows,
                                                         kith_error *error);
KITH_API void kith_id_reader_close(kith_id_reader *reader); /* NULL is fine */

typedef struct kith_writer kith_writer;

/* Write vectors to a file of any of the formats (format AUTO: from the suffix). The file appears under its name, whole,
 * at kith_writer_finish(); before that, and after kith_writer_abandon(), no file of that name is made or changed.
 * rows: how many will be written. id_kind, has_names: what rows will carry; only csv and jsonl can hold them, other
 * formats return KITH_E_UNSUPPORTED for KITH_ID_STRING and names, and drop row ids. dtype as given to write.
 * Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_writer_open(const char *path, kith_format format, kith_dtype dtype,
                                                      size_t dim, uint64_t rows, kith_id_kind id_kind, int has_names,
                                                      kith_writer **writer, kith_error *error);
KITH_API KITH_MUST_CHECK kith_status kith_writer_write(kith_writer *writer, const kith_rows *rows, kith_error *error);
/* Sync, rename, close and free; on failure it is abandoned. KITH_E_ARG if fewer rows came than announced. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_writer_finish(kith_writer *writer, kith_error *error);
KITH_API void kith_writer_abandon(kith_writer *writer); /* NULL is fine */

/* ---- Building an index ------------------------------------------------------------------------------------------- */

typedef enum kith_originals {
    KITH_ORIGINALS_KEEP = 0, /* exact answers */
    KITH_ORIGINALS_NONE = 1  /* codes only: a smaller file, approximate answers */
} kith_originals;

typedef enum kith_first_level {
    KITH_FIRST_LEVEL_AUTO = 0, /* where a sample says that it pays */
    KITH_FIRST_LEVEL_NONE = 1,
    KITH_FIRST_LEVEL_ON = 2
} kith_first_level;

/* What an index has besides the vectors and their codes. Since 0.3. */
typedef enum kith_index_type {
    KITH_INDEX_AUTO = 0,  /* lists by the number of rows, and a graph from 20,000 on: of numbers of at most 4,096
                           * dimensions, where memory_bytes suffices and originals are kept */
    KITH_INDEX_FLAT = 1,  /* neither: every search looks at all codes */
    KITH_INDEX_IVF = 2,   /* lists */
    KITH_INDEX_GRAPH = 3, /* lists, for batches, and a graph, for few queries at a time */
    KITH_INDEX_HNSW = 4,  /* layers of graphs [Malkov, Yashunin 2016] over the vectors themselves: one list where
                           * none are asked for. Several threads make a graph that depends on who was first */
    KITH_INDEX_LSH = 5,   /* hash tables: cross-polytopes for numbers [Andoni et al. 2015], samples of bits [Indyk,
                           * Motwani 1998] for hamming, minima of permutations [Broder 1997] for jaccard */
    KITH_INDEX_PQ = 6     /* product codes of all vectors [Jegou, Douze, Schmid 2011], in one list */
} kith_index_type;

typedef struct kith_build_options {
    size_t struct_size;
    kith_metric metric; /* NONE: l2 for numbers, hamming for bits */
    kith_dtype dtype;   /* stored type; NONE: the source's. f32 sources may be stored as f16 or bf16 (rounded to
                         * nearest even, and then searched as such) */
    kith_originals originals;
    kith_first_level first_level; /* leading principal directions, scanned before the full codes */
    size_t lists;          /* k-means lists (IVF): 0: by the number of rows, one below some ten thousand; 1: none;
                            * 2..KITH_LISTS_MAX: that many, fewer where there are not enough different rows.
                            * KITH_B1 has one list: KITH_E_UNSUPPORTED for more */
    int no_spill;          /* non-zero: no second lists. Else, where there are lists and originals, most vectors are
                            * coded in another list too [SOAR]: approximate searches then find as many in far fewer
                            * lists, for a copy of the first level's codes (or of the full ones without) */
    int no_calibration;    /* non-zero: do not measure plans at the end (kith_tune) */
    const char *code;      /* a second code beside int8, for approximate searches: NULL: none; "pq:MxB",
                            * "opq:MxB" (M sub-quantisers of B = 4 or 8 bits; M divides dim), "rabitq:B" (B = 1..8
                            * bits a dimension). KITH_E_ARG if malformed; needs at least two lists */
    unsigned threads;      /* used when pool is NULL; 0: as kith_pool_create() */
    kith_pool *pool;       /* borrowed, or NULL */
    uint64_t memory_bytes; /* working memory besides ids; 0: 1 GiB; at least 16 MiB */
    uint64_t seed;
    kith_progress_fn progress;
    void *progress_context;
    int no_sigbus_handler; /* as in kith_open_options: calibration opens what was built. Since 0.2 */
    int reserved;          /* ignored */
    /* The following since 0.3. */
    kith_index_type index;  /* KITH_E_UNSUPPORTED where the metric or another option does not allow it */
    unsigned graph_degree;  /* neighbours of each vector: 32, 48 or 64; 0: 32 */
    unsigned graph_bits;    /* of a dimension of an edge's code: 1, 2 or 4; 0: as a sample says */
    int graph_lean;         /* non-zero: edges without codes: a third of the memory, slower searches */
    unsigned hnsw_m;        /* 2..128: edges that an insertion makes in each layer; 0: 16 */
    unsigned hnsw_ef;       /* ef_construction, hnsw_m..10,000; 0: 200 */
    unsigned lsh_tables;    /* 1..1,024; 0: by rows */
    unsigned lsh_functions; /* of a table's key, 1..64; 0: by rows */
    /* NULL, or an open index with an HNSW over these very vectors, as they are stored, under the same metric: its links
     * become the candidates of a graph's edges, and none are searched for. Borrowed. KITH_E_ARG where it has none, or
     * other vectors; ignored where no graph is made. */
    const struct kith_index *links;
} kith_build_options;
#define KITH_BUILD_OPTIONS_INIT                                                                                        \
    { .struct_size = sizeof(kith_build_options) }

typedef struct kith_build_report {
    size_t struct_size;
    uint64_t rows, input_bytes, file_bytes;
    size_t dim, first_level_dim; /* 0: no first level */
    size_t lists;
    int integer_codes; /* codes are the values themselves */
    uint64_t total_ns, read_ns, train_ns, code_ns, write_ns, verify_ns;
} kith_build_report;
#define KITH_BUILD_REPORT_INIT                                                                                         \
    { .struct_size = sizeof(kith_build_report) }

/* Build the index file `path` from all rows of `reader` (which is rewound). Streams with bounded memory; appears under
 * its name only when whole, synced and re-read: a build that fails, is cancelled or killed leaves the old file of that
 * name, if any, as it was; a file that is replaced hands its mode, owner and group on, and a symbolic link is followed
 * (one exception: KITH_E_IO from syncing the folder, after which the new file bears the name,
 * but might not after a crash of the machine). Equal input, options and threads give equal bytes,
 * but for the calibration, which holds measured times: no_calibration leaves it out. KITH_E_DATA names the
 * row of the first NaN, infinity, norm beyond KITH_NORM_MAX, zero vector under cosine, or duplicate or reserved id. No
 * rows: KITH_E_DATA. report may be NULL. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_build(kith_reader *reader, const char *path,
                                                const kith_build_options *options, kith_build_report *report,
                                                kith_error *error);

/* ---- Opening, looking at and verifying an index ------------------------------------------------------------------ */

typedef struct kith_index kith_index;

/* What of an index is copied into memory of the process that the system can back with huge pages, and read there: scans
 * and walks find their next page sooner. A copy is memory that the system cannot take back, beside a file that it may
 * keep too. Since 0.3. */
typedef enum kith_resident {
    KITH_RESIDENT_NONE = 0,  /* nothing: searches read the mapped file */
    KITH_RESIDENT_CODES = 1, /* all that searches read but the vectors: codes, graphs, tables */
    KITH_RESIDENT_ALL = 2    /* the vectors and their ids too */
} kith_resident;

/* Devices of kith_device_get(): which of them an index's searches use. Since 0.3. */
typedef enum kith_device_use {
    KITH_DEVICE_CPU = 0,  /* none */
    KITH_DEVICE_AUTO = 1, /* all that can be used, by those searches that they are measured to be faster for: the first
                            * search of about as many queries runs on both, exactly. Where there is none, or one fails,
                            * the processor alone */
    KITH_DEVICE_OPENCL =
        2 /* all OpenCL devices that can be used. Plan AUTO is then KITH_PLAN_DEVICE, with a target recall
                            * KITH_PLAN_IVF on them; KITH_E_UNSUPPORTED where there is none */
} kith_device_use;

typedef struct kith_open_options {
    size_t struct_size;
    int verify;            /* non-zero: check all bytes first, as kith_index_check() does */
    int no_sigbus_handler; /* non-zero: do not install the handler that survives truncation of a mapped file */
    int populate;          /* non-zero: ask the system to read the file into memory now */
    int reserved;          /* ignored */
    int copy_hot; /* non-zero: copy what searches of a graph read most into memory that the system can back with
                            * huge pages, in the background; searches use the map until it is there. Since 0.3 */
    kith_resident resident; /* what is copied so, and more than that; KITH_E_ARG for other values. Since 0.3 */
    kith_device_use device; /* KITH_E_ARG for other values. Since 0.3 */
    int device_reserved;    /* ignored */
    uint64_t device_bytes;  /* memory to take of each device; 0: most of what it has. What has no room there is brought
                             * for each search. Since 0.3 */
} kith_open_options;
#define KITH_OPEN_OPTIONS_INIT                                                                                         \
    { .struct_size = sizeof(kith_open_options) }

/* Of kith_index_info: kith_section is its successor. Never grows. Since 0.1. */
typedef struct kith_section_info {
    const char *name; /* static: "lists/supers", section and part; "unknown" of a newer kith */
    uint64_t offset, bytes, count;
} kith_section_info;

#define KITH_SECTIONS_MAX 32 /* sections in kith_index_info; a file may have more */
typedef struct kith_index_info {
    size_t struct_size;
    uint64_t rows;
    size_t dim;
    kith_dtype dtype;
    kith_metric metric;
    kith_id_kind id_kind;
    int has_names, has_originals, integer_codes;
    size_t lists, first_level_dim;
    uint32_t format_version;
    uint64_t file_bytes, feature_compat, feature_incompat, file_hash;
    double code_error;        /* mean |x - code(x)| / |x - centroid| over the vectors */
    double first_level_error; /* mean length of what the first level leaves out, over |x - centroid|; 0 without */
    char second_code[32];     /* as kith_build_options.code; "" without */
    double second_code_error; /* mean |x - code(x)| / |x - centroid|; 0 without */
    uint64_t second_code_bytes;
    uint64_t list_rows_max; /* vectors of the longest list */
    uint64_t spilled_rows;  /* vectors with a second list */
    size_t sections;        /* of the next member: kith_index_section() tells of all */
    kith_section_info section[KITH_SECTIONS_MAX];
    double near_duplicates; /* share of the vectors that have another one very near, as the last calibration by stored
                             * vectors found: copies, one thing in several colours. 0: none, or not measured */
    /* The following since 0.3; 0 where there is none. */
    unsigned graph_degree, graph_bits; /* graph_bits 0 beside a degree: lean */
    unsigned hnsw_m, lsh_tables;
    uint64_t hot_bytes; /* copied so far by kith_open_options.copy_hot or resident; 0: not asked for, or not yet */
} kith_index_info;
#define KITH_INDEX_INFO_INIT                                                                                           \
    { .struct_size = sizeof(kith_index_info) }

/* Open an index file: maps it and checks header, sections and sizes; O(1) in the file's size, and with lists a word for
 * each list and each 16 vectors. The file must not be changed while open, only replaced by another of its name (which
 * kith's own functions do): if it is truncated, or another index is written over its beginning, searches return
 * KITH_E_CORRUPT and the process lives; other changes are not noticed, and answers may be anything. KITH_E_NOTFOUND,
 * KITH_E_IO, KITH_E_CORRUPT, KITH_E_VERSION, KITH_E_NOMEM, KITH_E_LIMIT (4,096 indexes are open), KITH_E_ARG (bad
 * KITH_CPU), KITH_E_UNSUPPORTED (no regular file). With a device also KITH_E_UNSUPPORTED, KITH_E_NOMEM and KITH_E_IO of
 * it, whose text begins with "device: ". Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_open(const char *path, const kith_open_options *options,
                                                     kith_index **index, kith_error *error);
KITH_API void kith_index_close(kith_index *index); /* NULL is fine; no search may be running */

/* What the index holds. KITH_E_ARG (NULL, or a struct without its size), and nothing else: this may go unchecked.
 * Returned void before 0.2. Any thread. Since 0.1. */
KITH_API kith_status kith_index_get_info(const kith_index *index, kith_index_info *info);

/* A section of an index file, or a part of one. Since 0.2. */
typedef struct kith_section {
    size_t struct_size;
    const char *name; /* "codes/factors", "originals/rows", ..., "unknown" for one of a newer kith; static */
    uint64_t offset, bytes, count; /* place and size in the file; elements */
} kith_section;
#define KITH_SECTION_INIT                                                                                              \
    { .struct_size = sizeof(kith_section) }

/* The number of sections of an index file, and one of them: number 0 and up, in the file's order. KITH_E_ARG (NULL, or
 * a struct without its size), KITH_E_NOTFOUND: there are no so many. Any thread. Since 0.2. */
KITH_API size_t kith_index_sections(const kith_index *index);
KITH_API KITH_MUST_CHECK kith_status kith_index_section(const kith_index *index, size_t number, kith_section *section);

/* Check every byte of an open index against its checksums, then every count, id and order inside. KITH_E_CORRUPT names
 * the file, section and part. pool may be NULL (one thread). Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_index_check(const kith_index *index, kith_pool *pool,
                                                      kith_progress_fn progress, void *progress_context,
                                                      kith_error *error);

/* Open a file, check it as kith_index_check() does, and close it. Installs the SIGBUS handler; who wants none opens the
 * file with no_sigbus_handler. Errors as of both. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_verify(const char *path, kith_pool *pool, kith_progress_fn progress,
                                                       void *progress_context, kith_error *error);

/* `count` ids from place `first` of all ids in ascending order (with string ids: row numbers). KITH_E_ARG (NULL, or
 * places beyond the last), KITH_E_CORRUPT. Any thread. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_ids(const kith_index *index, uint64_t first, size_t count,
                                                    uint64_t *ids, kith_error *error);

/* The stored vector of id, as dim floats (KITH_B1: dim/8 bytes). KITH_E_NOTFOUND; KITH_E_UNSUPPORTED without originals;
 * KITH_E_CORRUPT: the file was changed while it was open. Any thread. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_vector(const kith_index *index, uint64_t id, void *vector,
                                                       kith_error *error);

/* The stored vectors of `count` ids, in any order and as often as they are asked for: count rows of dim floats
 * (KITH_B1: dim/8 bytes), packed. Much faster than one by one. KITH_E_NOTFOUND names the id and its place in `ids`;
 * KITH_E_UNSUPPORTED without originals; KITH_E_CORRUPT. After a failure `vectors` is unspecified. Allocates nothing.
 * Any thread. Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_index_vectors(const kith_index *index, const uint64_t *ids, size_t count,
                                                        void *vectors, kith_error *error);
/* Text lives as long as the index, is not NUL-terminated, *bytes long. KITH_E_NOTFOUND for an unknown id,
 * KITH_E_UNSUPPORTED when the index has no names or no string ids; KITH_E_CORRUPT. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_name(const kith_index *index, uint64_t id, const char **text,
                                                     size_t *bytes);
KITH_API KITH_MUST_CHECK kith_status kith_index_string_id(const kith_index *index, uint64_t id, const char **text,
                                                          size_t *bytes);
/* The u64 that stands for a string id. KITH_E_NOTFOUND, KITH_E_UNSUPPORTED. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_index_lookup(const kith_index *index, const char *text, size_t bytes,
                                                       uint64_t *id);

/* ---- Searching --------------------------------------------------------------------------------------------------- */

typedef struct kith_filter kith_filter;

/* The set of ids that a search may return. Ids that the index does not hold are counted in *unknown (may be NULL) and
 * otherwise ignored. Immutable; lives independently of other searches but not longer than its index. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_filter_create(const kith_index *index, const uint64_t *ids, size_t count,
                                                        size_t *unknown, kith_filter **filter, kith_error *error);
KITH_API uint64_t kith_filter_count(const kith_filter *filter); /* vectors allowed */
KITH_API void kith_filter_destroy(kith_filter *filter);         /* NULL is fine */

/* The vectors that `allow` lets through (NULL: all of deny's index) and `deny` does not: a list of what may not be
 * returned. It needs neither of the two afterwards. KITH_E_ARG when they are of different indexes. Since 0.2. */
KITH_API KITH_MUST_CHECK kith_status kith_filter_create_except(const kith_filter *allow, const kith_filter *deny,
                                                               kith_filter **filter, kith_error *error);

typedef struct kith_scratch kith_scratch;

/* Working memory of searches on one index, grown on first use and then reused: a search like an earlier one on the same
 * scratch allocates nothing. pool: borrowed for the scratch's life, NULL: the calling thread only. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_scratch_create(const kith_index *index, kith_pool *pool,
                                                         kith_scratch **scratch, kith_error *error);
KITH_API void kith_scratch_destroy(kith_scratch *scratch); /* NULL is fine */

typedef enum kith_plan {
    KITH_PLAN_AUTO = 0,
    KITH_PLAN_PLAIN = 1,  /* the defining kernel against every vector: the reference */
    KITH_PLAN_SCAN = 2,   /* int8 tiles with bounds, then re-rank */
    KITH_PLAN_LEVELS = 3, /* first level, then tiles, then re-rank; KITH_E_UNSUPPORTED without a first level */
    KITH_PLAN_GATHER = 4, /* only the allowed vectors, by the defining kernel; needs a filter */
    KITH_PLAN_IVF = 5,    /* the nearest lists only: approximate; KITH_E_UNSUPPORTED with one list */
    /* Approximate, KITH_E_UNSUPPORTED where the index has none; kith_search_options.effort is theirs. Since 0.3. */
    KITH_PLAN_GRAPH = 6,
    KITH_PLAN_HNSW = 7,
    KITH_PLAN_LSH = 8,
    KITH_PLAN_PQ = 9, /* the second code of every vector, then the best of them again */
    /* Every vector again, on a device (kith_open_options.device): exact. KITH_E_UNSUPPORTED without one. Since 0.3. */
    KITH_PLAN_DEVICE = 10
} kith_plan;

/* Which codes the ivf plan scans. */
typedef enum kith_scan_code {
    KITH_SCAN_AUTO = 0, /* int8, or what calibration chose */
    KITH_SCAN_INT8 = 1,
    KITH_SCAN_SECOND = 2, /* kith_build_options.code; KITH_E_UNSUPPORTED without one */
    KITH_SCAN_LEVELS = 3, /* first level, then int8, with the bounds of exact plans: what the probed lists hold is found
                           * exactly. For high recall. Without a first level int8 alone; rerank plays no part */
    KITH_SCAN_FIRST = 4,  /* the first level's estimates alone; KITH_E_UNSUPPORTED without a first level */
    KITH_SCAN_ROWS = 5    /* no code: the vectors themselves, by the defining kernel. For filters that leave few.
                           * KITH_E_UNSUPPORTED without originals. Since 0.3 */
} kith_scan_code;

/* "auto", "plain", "scan", "levels", "gather", "ivf", "graph", "hnsw", "lsh", "pq", "device" and "auto", "int8", "second",
 * "levels", "first", "rows": static text, "?" for other values. The parse functions take these words: 1, and *plan or
 * *code is set; 0 for other words. Since 0.2. */
KITH_API const char *kith_plan_name(kith_plan plan);
KITH_API int kith_plan_parse(const char *word, kith_plan *plan);
KITH_API const char *kith_scan_code_name(kith_scan_code code);
KITH_API int kith_scan_code_parse(const char *word, kith_scan_code *code);

enum { KITH_STAGE_PREPARE, KITH_STAGE_SCAN, KITH_STAGE_RERANK, KITH_STAGE_SELECT, KITH_STAGES };

/* What a search did. Counts are sums over its queries. */
typedef struct kith_explain {
    size_t struct_size;
    kith_plan plan;        /* the one that ran */
    const char *plan_name; /* static */
    const char *tier;      /* static */
    int exact;             /* 0: an approximate plan, or an index without originals, whose distances are estimates */
    unsigned threads;
    uint64_t queries, rows, allowed; /* allowed: rows the filter let through, rows without one */
    uint64_t scanned_bytes;          /* of codes or vectors, counted once per query that read them */
    uint64_t scanned_rows;           /* (query, vector) pairs that codes or vectors were compared for */
    uint64_t probed_lists;           /* (query, list) pairs; 0 where lists played no part */
    size_t nprobe, rerank;           /* plan ivf: the parameters used */
    kith_scan_code code;             /* plan ivf */
    uint64_t unusual;                /* queries that differ from the calibration's, and were served more
                                      * carefully */
    size_t considered_count;         /* plans that AUTO weighed */
    struct {
        kith_plan plan;
        kith_scan_code code; /* plan ivf */
        size_t nprobe, rerank;
        double query_ns, recall;              /* as the planner expects them; query_ns 0: not known. On one thread */
        const char *why;                      /* "chosen: ...", or what spoke against it; static */
    } considered[8];                          /* the chosen one first; AUTO never weighs more */
    uint64_t level1_survivors;                /* (query, vector) pairs passed by the first level */
    uint64_t candidates;                      /* pairs whose bounds reached the threshold of their moment */
    uint64_t reranked;                        /* pairs scored by the defining kernel */
    uint64_t total_ns, stage_ns[KITH_STAGES]; /* stages: summed over threads */
    size_t effort;                            /* of plans graph, hnsw, lsh. Since 0.3 */
    uint64_t visited; /* (query, vector) pairs whose edges or buckets were looked at. Since 0.3 */
    int hot;      /* non-zero if what the plan reads most was a copy: kith_open_options.copy_hot, resident. Since 0.3 */
    int reserved; /* 0 */
    /* Plans that ran on a device; else "" and 0. Times are by its own clock, summed over its works. Since 0.3. */
    char device[128];
    uint64_t device_upload_ns, device_compute_ns, device_download_ns;
} kith_explain;
#define KITH_EXPLAIN_INIT                                                                                              \
    { .struct_size = sizeof(kith_explain) }

typedef struct kith_queries {
    size_t struct_size;
    const void *data;    /* borrowed for the call */
    kith_dtype dtype;    /* f32, f16, bf16, i8, u8 for number indexes; b1 for bit indexes */
    size_t count, dim;   /* dim must be the index's */
    size_t stride_bytes; /* between rows; 0: packed */
} kith_queries;
#define KITH_QUERIES_INIT                                                                                              \
    { .struct_size = sizeof(kith_queries) }

typedef struct kith_search_options {
    size_t struct_size;
    kith_plan plan;
    const kith_filter *filter;       /* NULL: all vectors */
    uint64_t timeout_ns;             /* 0: none; measured from the call */
    int (*cancelled)(void *context); /* polled every few milliseconds from the calling thread; non-zero stops */
    void *cancelled_context;
    kith_explain *explain; /* NULL or where to report; written on success only. KITH_E_ARG without its size */
    /* Approximate search. target_recall in (0, 1): the mean share of true neighbours asked for; plan AUTO then picks
     * plan and parameters from the index's calibration, and stays exact without one. 0 or 1: exact. */
    double target_recall;
    size_t nprobe; /* plan IVF: lists of each query; 0: by target_recall, 16 without one */
    size_t rerank; /* approximate plans: best candidates scored by the defining kernel, at least k; 0: as calibrated, or
                    * as the plan has it (IVF: 2 * k). IVF alone until 0.3 */
    kith_scan_code code;
    int reserved; /* ignored */
    /* How much plans look at before they stop; 0: by target_recall, or a middling value without one. Graph: the walk
     * goes on while the nearest vertex in sight is less than 1 + effort/1000 times as far (squared) as the k-th best so
     * far. Hnsw: ef, at least k. Lsh: buckets of each table. Since 0.3. */
    size_t effort;
} kith_search_options;
#define KITH_SEARCH_OPTIONS_INIT                                                                                       \
    { .struct_size = sizeof(kith_search_options) }

/* Find the k stored vectors nearest to each query.
 *
 *   k          1..KITH_K_MAX; min(k, allowed vectors) results come
 *   ids        count x k, caller-allocated; short rows end in KITH_ID_NONE
 *   distances  count x k, ascending; +INFINITY beside KITH_ID_NONE
 *   options    NULL: defaults
 *
 * Exact and bit-identical to KITH_PLAN_PLAIN unless an approximate plan runs (ivf, graph, hnsw, lsh, pq: see
 * kith_explain.exact) or the index was built without originals. Allocates nothing once the scratch is warm. Safe beside
 * other searches with other scratches. count == 0 is fine.
 * KITH_E_ARG (k, NULL, sizes, dtype), KITH_E_DATA (names the query with a NaN, infinity, norm beyond KITH_NORM_MAX, or
 * zero under cosine), KITH_E_CORRUPT (the file was truncated under us), KITH_E_DEADLINE, KITH_E_CANCELLED,
 * KITH_E_NOMEM; of a device KITH_E_IO, too. Results are written as they are found: after a failure ids and distances are unspecified. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_search(const kith_index *index, const kith_queries *queries, size_t k,
                                                 const kith_search_options *options, kith_scratch *scratch,
                                                 uint64_t *ids, float *distances, kith_error *error);

/* Results of a range search: query i has results offsets[i]..offsets[i+1]. Lives in the scratch, until its next use.
 * Never grows. Since 0.1. */
typedef struct kith_ranges {
    size_t queries;
    const uint64_t *offsets; /* queries + 1 */
    const uint64_t *ids;
    const float *distances;
} kith_ranges;

/* Find all stored vectors with distance <= radius (not NaN), ordered as in kith_search. Errors likewise. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_search_range(const kith_index *index, const kith_queries *queries,
                                                       float radius, const kith_search_options *options,
                                                       kith_scratch *scratch, kith_ranges *ranges, kith_error *error);

/* ---- k-NN join --------------------------------------------------------------------------------------------------- */

typedef enum kith_join_format {
    KITH_JOIN_AUTO = 0,  /* from the suffix of `out`: .ndjson and .jsonl are NDJSON, all else NPY */
    KITH_JOIN_NPY = 1,   /* a pair: <out>.ids.npy (u8, rows x k) and <out>.distances.npy (f4); a suffix .npy of `out` is
                          * dropped first. Short rows end in KITH_ID_NONE and infinity. String ids as row numbers */
    KITH_JOIN_NDJSON = 2 /* {"id": 7, "ids": [...], "distances": [...]} a line, string ids as strings, no fillers */
} kith_join_format;

typedef struct kith_join_options {
    size_t struct_size;
    size_t k; /* 1..KITH_K_MAX; self-join: 1..KITH_K_MAX - 1 */
    kith_join_format format;
    const kith_filter *filter; /* NULL: all vectors may be found */
    kith_plan plan;            /* as in kith_search_options, with the four below and effort */
    double target_recall;
    size_t nprobe, rerank;
    kith_scan_code code;
    int restart;               /* non-zero: forget what an earlier, interrupted join of that name did */
    kith_pool *pool;           /* borrowed, or NULL */
    unsigned threads;          /* used when pool is NULL; 0: as kith_pool_create() */
    uint64_t memory_bytes;     /* working memory besides the scratch and the reader; 0: 256 MiB; at least 16 MiB */
    size_t batch;              /* most queries of one search; 0: by memory and speed */
    uint64_t checkpoint_ns;    /* least time between two checkpoints; 0: two seconds */
    kith_progress_fn progress; /* stages "checking" (queries that an earlier join had done are read again) and
                                * "joining", unit "queries" */
    void *progress_context;
    size_t effort; /* as in kith_search_options. Since 0.3 */
} kith_join_options;
#define KITH_JOIN_OPTIONS_INIT                                                                                         \
    { .struct_size = sizeof(kith_join_options), .k = 10 }

typedef struct kith_join_report {
    size_t struct_size;
    uint64_t queries, resumed; /* resumed: queries that an earlier, interrupted join had done */
    const char *restarted;     /* why what an earlier, interrupted join had done was not used; "": there was none, or it
                                * was used, or restart was asked for; static */
    kith_plan plan;            /* of the last search; AUTO and "" when an earlier join had done all of them */
    const char *plan_name;     /* static */
    int exact;                 /* 0: some answers of this call are approximate */
    uint64_t total_ns, search_ns, output_bytes;
} kith_join_report;
#define KITH_JOIN_REPORT_INIT                                                                                          \
    { .struct_size = sizeof(kith_join_report) }

/* Find the k nearest stored vectors of every row of `queries` (which is rewound); queries NULL: of every stored vector,
 * itself left out (rows in order of ascending id, which is the input's order where ids are row numbers), for which the
 * index needs its originals: KITH_E_UNSUPPORTED without. Streams with bounded memory. An NDJSON line's "id" is the
 * query's: its id in the file of queries, or its row number there; in a self-join that of the vector.
 *
 * The output appears under its name only when whole and synced; the two files of a pair one after the other, the ids
 * last. A join that was interrupted, cancelled or killed leaves <out>.join and <out>...part files behind (without the
 * suffix .npy of `out`); the same call then goes on where the last checkpoint was, and its output is the same to the
 * byte. Index and options are compared, and the queries that were done are read again and compared by a hash: if any
 * differ, it starts over. Threads, memory_bytes, batch and checkpoint_ns may change, except that batch may not where a
 * target_recall is given, since it bears on the choice of plan. KITH_E_NOSPACE keeps what was done.
 *
 * Errors as of kith_search() and kith_reader_next(); KITH_E_DATA names the row of a refused query; KITH_E_BUSY: another
 * process is at work on `out`; KITH_E_CANCELLED: progress asked to stop. report may be NULL. Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_join(const kith_index *index, kith_reader *queries, const char *out,
                                               const kith_join_options *options, kith_join_report *report,
                                               kith_error *error);

/* ---- Calibration ------------------------------------------------------------------------------------------------- */

typedef struct kith_tune_options {
    size_t struct_size;
    size_t queries;  /* most queries measured; 0: 1,000. Slow indexes are measured with fewer, 100 at least */
    kith_pool *pool; /* borrowed, or NULL: recall is measured with it, cost on the calling thread */
    uint64_t seed;
    kith_progress_fn
        progress; /* stages "exact answers" (unit "queries"), "measuring" ("settings"), and those of writing */
    void *progress_context;
    int no_sigbus_handler; /* as in kith_open_options. Since 0.2 */
    int reserved;          /* ignored */
} kith_tune_options;
#define KITH_TUNE_OPTIONS_INIT                                                                                         \
    { .struct_size = sizeof(kith_tune_options) }

/* One measured setting of the calibration; they ascend by (k, plan, code, nprobe, rerank, batch). An exact plan's tells
 * its cost; nprobe, rerank and code are 0 then. Never grows. Since 0.1. */
typedef struct kith_tuned {
    kith_plan plan;
    kith_scan_code code;
    size_t k, batch, nprobe, rerank; /* nprobe: of plans graph, hnsw and lsh the effort */
    double recall;                   /* mean over the calibration's queries */
    double recall_error;             /* standard error of that mean */
    double lost;     /* share of true neighbours that were met and not among the candidates; what else is missing from
                      * recall lies in other lists */
    double query_ns; /* processor time of one query, on one thread */
} kith_tuned;

/* Measure each plan over its parameters against exact search, for several batch sizes and k, and store the frontier in
 * the index file, which is replaced as a whole (old maps stay valid); its mode, owner and group are kept, and a
 * symbolic link is followed. queries: such as will be asked, not stored rows, at least 100; NULL: stored rows, which
 * together with their near-duplicates are left out of the index while recall is measured, so that it holds for queries
 * that are new to it. A result no farther than the k-th true neighbour counts as found. Where stored rows are copies of
 * a few, only the exact plan is measured. KITH_E_UNSUPPORTED: one list and no other index, so that there is nothing to
 * measure, or no originals; KITH_E_DATA: too few queries,
 * or one that no search takes; KITH_E_BUSY: another file took the name while this one was measured, and is left as it
 * is. Errors as of kith_build() and kith_search(). Since 0.1. */
KITH_API KITH_MUST_CHECK kith_status kith_tune(const char *path, kith_reader *queries, const kith_tune_options *options,
                                               kith_error *error);

/* Point *tuned at the calibration's settings, which live as long as the index; their number, 0 without a calibration or
 * with one that is damaged or of another version (searches then go on without). Since 0.1. */
KITH_API size_t kith_index_tuned(const kith_index *index, const kith_tuned **tuned);

/* ---- Collections ----------------------------------------------------------------------------------------------------
 *
 * A *collection* is a folder of items that takes inserts, updates and deletes while it is searched. An *item* has an id
 * (u64 or string, as the collection was made), a version, a *payload* (a JSON object), up to one vector of each of the
 * collection's named vectors, and perhaps a time at which it ends. A write is acknowledged (returns KITH_OK) when it is
 * durable, and seen by every search that begins afterwards. Inside are a catalog (SQLite), and *segments*: immutable
 * index files. Recent rows are in memory, in the *head*, until a background thread seals them into a segment; it merges
 * segments too.
 *
 * Versions. The collection counts its writes: each call that writes makes one version, larger than all before, and the
 * items that it wrote bear it. A reader may ask for a state that has at least some version (read your writes).
 *
 * Names of vectors, fields and records are UTF-8 of 1..255 bytes without control characters; a vector may also be
 * called "" (the unnamed one). Payloads are UTF-8 JSON objects of at most KITH_PAYLOAD_MAX bytes.
 *
 * Filters are texts, `color = "red" and price < 20 and not sold`, or JSON, `{"must": [{"key": "color", "match":
 * {"value": "red"}}]}`: docs/filters.md has both. Fields that are declared are indexed; filters on others read
 * payloads.
 *
 * Threads and processes. Any number of threads may use one kith_collection at once. One process at a time may open a
 * folder for writing, any number for reading. Readers never wait for the writer.
 *
 * fork(). A child may neither use a kith_collection that its parent had open nor open the same folder itself before it
 * executes another program (SQLite keeps a table of its locks a process). One that is open for writing keeps its lock
 * until the child, too, has ended or executed another program. */

#define KITH_VECTORS_MAX     64u              /* named vectors of a collection, those of all its generations together */
#define KITH_GENERATIONS_MAX 16u              /* generations of a collection */
#define KITH_FIELDS_MAX      1024u            /* declared fields of a collection */
#define KITH_PAYLOAD_MAX     (16u * 1048576u) /* bytes of one payload */
#define KITH_ITEMS_MAX       UINT64_C(1048576) /* items of one write */
#define KITH_WRITE_BYTES_MAX (512u * 1048576u) /* of one write: ids, payloads and vectors, as they are stored */
#define KITH_VERSION_ANY     UINT64_MAX        /* kith_items.if_version: whatever is there */

typedef struct kith_collection kith_collection;

/* One of a collection's vectors. Never grows. Since 0.3. */
typedef struct kith_vector_spec {
    const char *name; /* "": the unnamed one; NULL is the same */
    size_t dim;
    kith_dtype dtype;   /* stored type; NONE: f32 */
    kith_metric metric; /* NONE: as kith_build_options.metric */
} kith_vector_spec;

typedef enum kith_field_type {
    KITH_FIELD_TAG = 1,  /* a string; numbers and booleans count as their text */
    KITH_FIELD_TAGS = 2, /* a list of such */
    KITH_FIELD_INT = 3,  /* i64 */
    KITH_FIELD_FLOAT = 4,
    KITH_FIELD_BOOL = 5,
    KITH_FIELD_TIME = 6 /* milliseconds since 1970, or RFC 3339 text */
} kith_field_type;

/* "tag", "tags", "int", "float", "bool", "time": static text, "?" for other values; and back: 1, and *type is set; 0
 * for other words. Since 0.3. */
KITH_API const char *kith_field_type_name(kith_field_type type);
KITH_API int kith_field_type_parse(const char *word, kith_field_type *type);

/* A declared field. Never grows. Since 0.3. */
typedef struct kith_field {
    const char *name; /* a key of the payload; dots lead into objects */
    kith_field_type type;
    int reserved; /* 0 */
} kith_field;

typedef enum kith_durability {
    KITH_DURABILITY_FULL = 0,   /* what was acknowledged survives a crash of the machine */
    KITH_DURABILITY_RELAXED = 1 /* it survives the process; a crash of the machine may take the last second's writes,
                                 * always the last ones, never one in the middle, and nothing else */
} kith_durability;

typedef struct kith_collection_options {
    size_t struct_size;
    kith_id_kind id_kind;            /* KITH_ID_U64 or KITH_ID_STRING */
    int reserved;                    /* 0 */
    const kith_vector_spec *vectors; /* at least one */
    size_t vector_count;
    const kith_field *fields; /* declared from the beginning */
    size_t field_count;
    const char *segment_field; /* the declared tag field that is the segment key (tenant, user, region); NULL: none */
    const char *model;         /* what makes the vectors; NULL: "" */
} kith_collection_options;
#define KITH_COLLECTION_OPTIONS_INIT                                                                                   \
    { .struct_size = sizeof(kith_collection_options), .id_kind = KITH_ID_U64 }

/* Make the folder `path`, which must not exist or be empty, with an empty collection. Whole or not at all. KITH_E_ARG
 * (options), KITH_E_BUSY (there is something), KITH_E_IO, KITH_E_NOSPACE, KITH_E_NOMEM. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_create(const char *path, const kith_collection_options *options,
                                                            kith_error *error);

typedef struct kith_collection_open_options {
    size_t struct_size;
    int read_only; /* non-zero: only read; follows what another process writes */
    kith_durability durability;
    int no_background;   /* non-zero: nothing is sealed or merged but by kith_collection_compact() and when the head is
                          * full */
    unsigned threads;    /* of batches and merges; used when pool is NULL; 0: as kith_pool_create() */
    kith_pool *pool;     /* borrowed until close, or NULL */
    uint64_t head_bytes; /* vectors in memory before they are sealed; 0: 16 MiB */
    int no_sigbus_handler; /* as in kith_open_options */
    int reserved;          /* 0 */
    uint64_t cache_bytes;  /* memory for answers that are asked for often: a search like an earlier one whose items have
                            * not changed gives the same without searching; an eighth is for profiles; 0: none */
    uint64_t resident_bytes; /* memory for copies of graphs, as kith_open_options.copy_hot makes them: of segments as
                              * long as there is room beside the other copies; 0: none. When one segment takes the
                              * place of others, the old copies and the new one are there together for a while */
} kith_collection_open_options;
#define KITH_COLLECTION_OPEN_OPTIONS_INIT                                                                              \
    { .struct_size = sizeof(kith_collection_open_options) }

/* Open a collection. What a crash left behind is put right: acknowledged writes are there, others whole or not at all,
 * orphaned files go. KITH_E_NOTFOUND (no collection there), KITH_E_BUSY (opened for writing elsewhere: the text names
 * the process), KITH_E_CORRUPT, KITH_E_VERSION, KITH_E_IO, KITH_E_NOMEM. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_open(const char *path, const kith_collection_open_options *options,
                                                          kith_collection **collection, kith_error *error);
/* The same in memory alone, empty: its segments are files without names under $TMPDIR or /tmp. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_open_memory(const kith_collection_options *made,
                                                                 const kith_collection_open_options *options,
                                                                 kith_collection **collection, kith_error *error);
/* Stops background work (a merge is abandoned) and closes. No call on it may be running. NULL is fine. Since 0.3. */
KITH_API void kith_collection_close(kith_collection *collection);

/* Items' ids, as the collection has them. Never grows. Since 0.3. */
typedef struct kith_ids {
    size_t count;
    const uint64_t *ids;     /* KITH_ID_U64: count ids, none of them KITH_ID_NONE; else NULL */
    const char *id_bytes;    /* KITH_ID_STRING: the strings back to back, 1..KITH_STRING_MAX bytes of UTF-8 each */
    const uint64_t *id_ends; /* count ends in id_bytes, ascending */
} kith_ids;

/* The vectors of one name of some items. Never grows. Since 0.3. */
typedef struct kith_item_vectors {
    const char *name; /* NULL: "" */
    const void *data; /* a row an item, also for those that lack it */
    kith_dtype dtype; /* any number type for a vector of numbers, rounded to what is stored if that is f16 or bf16, and
                       * whole if it is i8 or u8; B1 for bits */
    uint32_t generation; /* whose vectors they are; 0: the current one's */
    size_t dim;
    size_t stride_bytes;    /* 0: packed */
    const uint8_t *present; /* NULL: all items have one; else a 0 for those that lack it */
} kith_item_vectors;

typedef struct kith_items {
    size_t struct_size;
    kith_ids ids;
    const kith_item_vectors *vectors; /* the names that are given */
    size_t vector_count;
    const char *payload_bytes;    /* JSON objects back to back; NULL: none is given */
    const uint64_t *payload_ends; /* one an item, ascending; an item of 0 bytes has no payload (UPDATE, MERGE: none is
                                   * given, {} is an empty one) */
    const uint64_t *expires_ms;   /* one an item: milliseconds since 1970, 0: never; NULL: none is given */
    const uint64_t *if_version;   /* one an item: it is written only if its version is this one (0: if it is not there;
                                   * KITH_VERSION_ANY: anyway); NULL: anyway */
} kith_items;
#define KITH_ITEMS_INIT                                                                                                \
    { .struct_size = sizeof(kith_items) }

typedef enum kith_write_mode {
    KITH_UPSERT = 0, /* the item becomes what is given: an older one is replaced as a whole */
    KITH_INSERT = 1, /* KITH_E_DATA when it is there already */
    KITH_UPDATE =
        2,         /* what is given (vectors, payload, expiry) replaces what was there, the rest stays; KITH_E_NOTFOUND
                      * when it is not there */
    KITH_MERGE = 3 /* as UPDATE, but of the payload only the given keys change, and a null removes a key */
} kith_write_mode;

typedef struct kith_write_report {
    size_t struct_size;
    uint64_t version; /* that this write made; that of the collection when it changed nothing */
    uint64_t inserted, replaced, removed;
    uint64_t unmet; /* items whose if_version was not met: they are as they were */
} kith_write_report;
#define KITH_WRITE_REPORT_INIT                                                                                         \
    { .struct_size = sizeof(kith_write_report) }

/* Write up to KITH_ITEMS_MAX items, all or none of them, but for those whose if_version was not met. Of an id that is
 * there twice the last one stays. Returns when it is durable; writes of several threads share one synchronisation.
 * report may be NULL. KITH_E_ARG; KITH_E_DATA names the item and what is wrong with it (a NaN, a zero vector under
 * cosine, a payload that is no object or whose field has another type than declared, an id that is there already);
 * KITH_E_NOTFOUND (UPDATE, MERGE); KITH_E_LIMIT; KITH_E_NOSPACE (nothing was written, reads go on, later writes may
 * succeed); KITH_E_IO (after which writes are refused until it is opened anew, because what the disk holds is unknown);
 * KITH_E_NOMEM. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_write(kith_collection *collection, const kith_items *items,
                                                           kith_write_mode mode, kith_write_report *report,
                                                           kith_error *error);

/* ---- Loading much at once */

/* The vectors of one name of a load, a row an item. Never grows. Since 0.3. */
typedef struct kith_load_vectors {
    const char *name;    /* NULL: "" */
    kith_reader *reader; /* of any type that kith_item_vectors.dtype takes */
} kith_load_vectors;

/* Payloads of some items: JSON objects back to back. Never grows. Since 0.3. */
typedef struct kith_payloads {
    const char *bytes;
    const uint64_t *ends; /* one an item, ascending; an item of 0 bytes has no payload */
} kith_payloads;

/* Point *payloads at those of rows first..first+count, which live until the next call. Rows are asked for once, in their
 * order, by the thread that called in. A status other than KITH_OK, with its text in *error, ends the load. */
typedef kith_status (*kith_payloads_fn)(void *context, uint64_t first, size_t count, kith_payloads *payloads,
                                        kith_error *error);

typedef struct kith_load_options {
    size_t struct_size;
    kith_write_mode mode; /* KITH_UPSERT or KITH_INSERT */
    int resume;           /* non-zero: go on with what an earlier load of the same sources left */
    /* Payloads, from one of the two, or none: a file with a JSON object a line, in the order of the rows (an empty line:
     * no payload; pipes and gzip as of kith_reader_open()); or a function. */
    const char *payloads_path;
    kith_payloads_fn payloads;
    void *payloads_context;
    uint64_t expires_ms;   /* of all items: milliseconds since 1970; 0: never */
    uint64_t memory_bytes; /* as in kith_build_options */
    kith_progress_fn progress;
    void *progress_context;
    unsigned threads;   /* 0: as kith_pool_create() */
    int no_calibration; /* as in kith_build_options: searches at a target recall are exact there, until merging or
                         * background work has measured plans */
} kith_load_options;
#define KITH_LOAD_OPTIONS_INIT                                                                                         \
    { .struct_size = sizeof(kith_load_options) }

typedef struct kith_load_report {
    size_t struct_size;
    uint64_t version; /* that this load made; that of the collection when there were no rows */
    uint64_t inserted, replaced;
    uint64_t resumed;             /* files that were taken over from an earlier load */
    uint64_t total_ns, commit_ns; /* of it, what writers waited for */
} kith_load_report;
#define KITH_LOAD_REPORT_INIT                                                                                          \
    { .struct_size = sizeof(kith_load_report) }

/* Load any number of items (KITH_ROWS_MAX) as one segment that is built beside the collection, as kith_build() does, and
 * takes its place in one transaction: all of them or none, in one version. Until then nothing of it is seen, and searches
 * and writes go on; during the transaction (some microseconds an item: report.commit_ns) writes wait.
 *
 * Ids are those of the first reader (whose other rows they are: all readers have as many), or the numbers of its rows;
 * those of other readers are not looked at. An id that is there twice is KITH_E_DATA. What others wrote before the
 * transaction is replaced (UPSERT), or makes the load fail (INSERT: KITH_E_DATA names an id).
 *
 * Resuming. What is built lies in the folder "load" of the collection. A load that is killed, cancelled, or fails for
 * want of space leaves it there, until a load goes on with it (resume) or begins anew; one whose rows are refused does
 * not. resume goes on only where the readers have the names, types, sizes, first and last rows that they had
 * (KITH_E_ARG names what the other source was); where nothing was left, it begins.
 *
 * Stages "reading items", "checking items", those of kith_build(), and "committing". KITH_E_ARG; KITH_E_DATA and
 * KITH_E_FORMAT name the row and what is wrong with it, as kith_collection_write() does; KITH_E_BUSY (another load is
 * running); KITH_E_CANCELLED; and what kith_build() and kith_collection_write() fail with. Any thread; the readers are
 * nobody else's meanwhile. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_load(kith_collection *collection, const kith_load_vectors *vectors,
                                                          size_t vector_count, const kith_load_options *options,
                                                          kith_load_report *report, kith_error *error);

/* ---- Removing items, declaring fields */

/* Remove items; ids that are not there are passed over. if_version: as in kith_items, or NULL. Errors as of
 * kith_collection_write(). Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_delete(kith_collection *collection, const kith_ids *ids,
                                                            const uint64_t *if_version, kith_write_report *report,
                                                            kith_error *error);
/* Remove all items that a filter matches, in one version. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_delete_where(kith_collection *collection, const char *filter,
                                                                  kith_write_report *report, kith_error *error);

/* Declare a field, so that filters on it are fast. What is there is indexed in the background (with no_background:
 * before this returns); until then filters on it read payloads. KITH_E_ARG: it is declared with another type.
 * Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_declare(kith_collection *collection, const kith_field *field,
                                                             kith_error *error);

/* ---- What reads of a collection give */

typedef struct kith_result kith_result;

/* Holds what one read gave, until its next use; its memory is kept. One call at a time. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_result_create(kith_result **result, kith_error *error);
KITH_API void kith_result_destroy(kith_result *result); /* NULL is fine */

/* What comes with the items, besides ids. */
enum {
    KITH_WITH_PAYLOAD = 1, /* as it is when it is read: it may be newer than the state that was searched */
    KITH_WITH_VERSION = 2, /* and expiry */
    KITH_WITH_VECTORS = 4
};

/* The items of a result: all arrays live until its next use. Since 0.3. */
typedef struct kith_hits {
    size_t struct_size;
    size_t queries;          /* of a search; otherwise 1 */
    size_t count;            /* items */
    const uint64_t *ends;    /* one a query: query q has the items ends[q-1]..ends[q] */
    const uint64_t *ids;     /* with string ids: the number that stands for it, which lasts as long as the item */
    const float *distances;  /* ascending within a query, ties by id; NULL where nothing was searched. Fused: minus the
                             * sum of the ranks' reciprocals */
    const char *id_bytes;    /* string ids back to back; else NULL */
    const uint64_t *id_ends; /* one an item */
    const char *payload_bytes; /* KITH_WITH_PAYLOAD, back to back; else NULL */
    const uint64_t *payload_ends;
    const uint64_t *versions, *expires_ms; /* KITH_WITH_VERSION; else NULL */
} kith_hits;
#define KITH_HITS_INIT                                                                                                 \
    { .struct_size = sizeof(kith_hits) }

/* KITH_E_ARG (NULL, or a struct without its size), and nothing else: this may go unchecked. Since 0.3. */
KITH_API kith_status kith_result_hits(const kith_result *result, kith_hits *hits);
/* KITH_WITH_VECTORS: the vectors of a name: count rows of floats (KITH_B1: bytes), and a 0 in *present for each item
 * that lacks it (its row is zeros). They are those of the generation that was asked, or current when it was read. NULL:
 * nothing of that name was read. Since 0.3. */
KITH_API const void *kith_result_vectors(const kith_result *result, const char *name, const uint8_t **present);
/* What the vectors of that name are like that were read: of the generation that was current then, unless another one was
 * asked for. The name lives until the result's next use. KITH_E_NOTFOUND (nothing of that name was read), KITH_E_ARG.
 * Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_result_vector_spec(const kith_result *result, const char *name,
                                                             kith_vector_spec *spec);

/* Read items by their ids, in their order; those that are not there are passed over. with: KITH_WITH_... Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_get(kith_collection *collection, const kith_ids *ids,
                                                         unsigned with, kith_result *result, kith_error *error);
/* exists: count bytes, each becomes 0 or 1. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_exists(kith_collection *collection, const kith_ids *ids,
                                                            uint8_t *exists, kith_error *error);
/* How many items a filter matches; NULL: all. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_count(kith_collection *collection, const char *filter,
                                                           uint64_t *count, kith_error *error);

typedef struct kith_scroll {
    size_t struct_size;
    const char *filter;  /* NULL: all */
    uint64_t after;      /* begin behind this id (with string ids: the number that stands for it) */
    size_t limit;        /* 1..KITH_K_MAX; 0: 100 */
    unsigned with;       /* KITH_WITH_... */
    int from_start;      /* non-zero: begin with the first item, whatever `after` says */
    uint32_t generation; /* of the vectors that are read; 0: the current one */
    int reserved;        /* 0 */
} kith_scroll;
#define KITH_SCROLL_INIT                                                                                               \
    { .struct_size = sizeof(kith_scroll), .from_start = 1 }

/* Items in order of ascending id (with string ids: of the number that stands for it, which is the order of their first
 * insertion). Fewer than `limit`: these were the last. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_scroll(kith_collection *collection, const kith_scroll *scroll,
                                                            kith_result *result, kith_error *error);

/* ---- Searching a collection */

/* One named vector of a search. Never grows. Since 0.3. */
typedef struct kith_leg {
    const char *vector;          /* name; NULL: "" */
    const kith_queries *queries; /* one a query, for all legs as many */
    double weight;               /* of its ranks when several are fused; 0 stands for 1 */
} kith_leg;

/* What a search of a collection did. Since 0.3. */
typedef struct kith_ask_report {
    size_t struct_size;
    uint64_t version;       /* of the state that was searched */
    uint64_t items;         /* live in it */
    uint64_t matched;       /* that the filter and the segment let through; items without */
    size_t segments, heads; /* looked at */
    uint64_t head_rows;
    int exact;              /* 0: some of it was approximate */
    int read_payloads;      /* the filter names fields that are not declared, or not indexed yet: slower */
    const char *filter_how; /* "", "indexed", "payloads": static */
    uint64_t filter_ns, segments_ns, head_ns, read_ns, total_ns;
    int cached;          /* non-zero: the answer was kept (cache_bytes), and nothing was looked at */
    uint32_t generation; /* that was asked */
} kith_ask_report;
#define KITH_ASK_REPORT_INIT                                                                                           \
    { .struct_size = sizeof(kith_ask_report) }

typedef struct kith_ask {
    size_t struct_size;
    const kith_leg *legs; /* 1, or several whose ranks are fused: sum of weight / (60 + rank) [Cormack 2009] */
    size_t leg_count;
    size_t k;             /* 1..KITH_K_MAX */
    const char *filter;   /* NULL: all */
    const char *segment;  /* a value of the segment field; NULL: all */
    double target_recall; /* as kith_search_options */
    kith_plan plan;       /* likewise: AUTO, or EXACT plans; PLAIN for reference */
    unsigned with;        /* KITH_WITH_... */
    uint64_t min_version; /* the state must have at least this version: KITH_E_DEADLINE if it has not within the
                           * timeout. 0: the current one */
    uint64_t timeout_ns;  /* 0: none (min_version: ten seconds) */
    int (*cancelled)(void *context);
    void *cancelled_context;
    kith_ask_report *report; /* NULL, or where to report */
    const char *model;       /* what made the queries; KITH_E_ARG when that of the generation that is asked differs;
                              * NULL: not said */
    kith_explain *explain;   /* NULL, or where sums over the segments go; plan and parameters of the one that scanned
                              * most. Written on success only */
    const char *profile; /* NULL, or the name of one: its interests are the queries, and each has a share of the results
                          * by its weight (sum of weight / rank). Then there are no legs, or one with one query of the
                          * profile's vector: the context */
    double blend;        /* how far the interests are moved towards the context, 0..1; 0 stands for 0.5 */
    double diversity;    /* 0: none. Up to 1: results are chosen so that they differ, by maximal marginal relevance
                          * among max(4 k, 100) candidates; distances do not ascend then */
    int leave_out_seen;  /* non-zero: without items that the profile has seen: min(k, matches that it has not seen) */
    uint32_t generation; /* that is asked; 0: the one that `user` is sent to; without a user the current one */
    const char *user;    /* who asks: kith_collection_generation_of(); NULL: nobody in particular */
} kith_ask;
#define KITH_ASK_INIT                                                                                                  \
    { .struct_size = sizeof(kith_ask), .k = 10 }

/* Find the k live items nearest to each query: min(k, matches) of them, ascending distance, ties by id. With
 * target_recall 0 the same bits that a plain scan over the state would give, whatever is in segments and what in
 * memory. Errors as of kith_search(), KITH_E_ARG (filter: names line and column), KITH_E_NOTFOUND (no vector of that
 * name, no segment field, no such profile, or one without interests and no context), KITH_E_LIMIT (seen items fill the
 * KITH_K_MAX nearest ones). Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_search(kith_collection *collection, const kith_ask *ask,
                                                            kith_result *result, kith_error *error);

/* ---- Profiles ------------------------------------------------------------------------------------------------------
 *
 * A *profile* stands for somebody, or something, that likes items: up to KITH_INTERESTS_MAX *interests*, each the
 * weighted mean of items that resemble each other, and the items that were *seen*. Events move it; it is durable, and
 * belongs to one named vector of numbers. Its name is UTF-8 of 1..255 bytes without control characters.
 *
 * An item that is liked joins the most similar interest, or begins one; where there are too many, the two most similar
 * ones become one. A dislike takes weight from the nearest interest and moves it away. Similarity is the cosine of two
 * vectors; under KITH_L2SQ 2ab / (aa + bb). docs/collections.md has more. */

#define KITH_INTERESTS_MAX 16u
#define KITH_SEEN_MAX      5000u

typedef enum kith_event_kind {
    KITH_EVENT_LIKE = 1,
    KITH_EVENT_DISLIKE = 2,
    KITH_EVENT_VIEW = 3, /* a weak like */
    KITH_EVENT_SEEN = 4  /* it was shown: nothing moves, and the item may be one without a vector */
} kith_event_kind;

/* What happened to an item. All kinds mark it as seen. Never grows. Since 0.3. */
typedef struct kith_profile_event {
    kith_event_kind kind;
    int reserved;     /* 0 */
    double weight;    /* up to 1e6; 0 stands for 1, of a view for 0.25 */
    uint64_t time_ms; /* since 1970, at most a day ahead; 0: now. One that comes late weighs what it would by now */
} kith_profile_event;

/* How a profile is made; given later, what is not 0 changes. */
typedef struct kith_profile_options {
    size_t struct_size;
    const char *vector;    /* name; NULL: "", or what it was made with. KITH_E_ARG when it was made with another one */
    size_t interests;      /* at most so many: 1..KITH_INTERESTS_MAX; 0: 1 */
    size_t seen;           /* so many are remembered, the latest: 1..KITH_SEEN_MAX; 0: 1,000 */
    uint64_t half_life_ms; /* in which weights halve; UINT64_MAX: never; 0: UINT64_MAX */
    double threshold;      /* 0..1: an item that is less similar to all interests begins one; 0: 0.7 */
} kith_profile_options;
#define KITH_PROFILE_OPTIONS_INIT                                                                                      \
    { .struct_size = sizeof(kith_profile_options) }

/* Tell a profile of events, one an item, in their order: all or none. It is made when it is not there. options may be
 * NULL. Returns when it is durable as writes are; searches that begin later see it. KITH_E_ARG, KITH_E_NOTFOUND (names
 * the item that is not there, or the vector), KITH_E_DATA (an item without that vector), and what
 * kith_collection_write() fails with. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_profile_event(kith_collection *collection, const char *profile,
                                                                   const kith_ids *items,
                                                                   const kith_profile_event *events,
                                                                   const kith_profile_options *options,
                                                                   kith_error *error);

/* A profile as it is. Since 0.3. */
typedef struct kith_profile_report {
    size_t struct_size;
    const char *vector; /* name: lives as long as the collection */
    size_t dim;
    size_t interests, interests_max;
    double weights[KITH_INTERESTS_MAX]; /* of the interests, as of time_ms */
    size_t seen, seen_max;
    uint64_t events;       /* all that ever came */
    uint64_t time_ms;      /* of the latest */
    uint64_t half_life_ms; /* UINT64_MAX: weights do not fall */
    double threshold;
} kith_profile_report;
#define KITH_PROFILE_REPORT_INIT                                                                                       \
    { .struct_size = sizeof(kith_profile_report) }

/* Read a profile. vectors: NULL, or room for `room` floats, KITH_INTERESTS_MAX times dim are always enough: a row an
 * interest, as a search takes them. KITH_E_NOTFOUND, KITH_E_ARG (room), KITH_E_CORRUPT. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_profile_get(kith_collection *collection, const char *profile,
                                                                 kith_profile_report *report, float *vectors,
                                                                 size_t room, kith_error *error);
/* What was rebuilt. Since 0.3. */
typedef struct kith_rebuild_report {
    size_t struct_size;
    uint64_t profiles;
    uint64_t events;  /* that they remembered */
    uint64_t skipped; /* of these: their item is gone, or has no such vector */
} kith_rebuild_report;
#define KITH_REBUILD_REPORT_INIT                                                                                       \
    { .struct_size = sizeof(kith_rebuild_report) }

/* Make a profile's interests anew of the events that it remembers (the latest likes, dislikes and views, as many as seen
 * items) and of the vectors that their items have now; NULL: all profiles. For when the vectors of items have changed,
 * which by itself moves no profile. What was seen and all settings stay. All are made some at a time, and events and
 * writes go on meanwhile; after a failure some are made, and it may be called again. progress: NULL, or called between.
 * report may be NULL; it is written on success. KITH_E_NOTFOUND (no such profile), KITH_E_CANCELLED, KITH_E_CORRUPT
 * (names the profile), and as kith_collection_profile_event(). Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_profile_rebuild(kith_collection *collection, const char *profile,
                                                                     kith_progress_fn progress, void *progress_context,
                                                                     kith_rebuild_report *report, kith_error *error);
/* Forget a profile. KITH_E_NOTFOUND, and as kith_collection_profile_event(). Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_profile_delete(kith_collection *collection, const char *profile,
                                                                    kith_error *error);

/* ---- Keeping a collection */

typedef struct kith_collection_info {
    size_t struct_size;
    kith_id_kind id_kind;
    int read_only;
    uint64_t items, version;
    size_t vectors; /* named ones; kith_collection_vector() tells of each */
    size_t fields;  /* declared ones; kith_collection_field() */
    size_t segments;
    uint64_t segment_rows, dead_rows;                  /* in segments */
    uint64_t head_rows;                                /* live, in memory only (and in the catalog's log) */
    uint64_t disk_bytes, catalog_bytes, segment_bytes; /* disk_bytes: the sum of the two */
    uint64_t head_memory_bytes, memory_bytes;          /* the head; all, maps of files not counted */
    const char *segment_field, *model;                 /* "" without; live as long as the collection */
    int working;                                       /* background work is going on */
    int reserved;
    const char *work;               /* "sealing", "merging", "indexing fields", "expiring", "calibrating",
                                     * "studying a filter", "tidying", "": static */
    uint64_t work_done, work_total; /* rows */
    const char *trouble; /* why background work failed last and what happens now, ""; lives as long as the collection */
    uint64_t cache_bytes; /* of memory_bytes: answers that are kept */
    uint64_t cache_hits, cache_misses, cache_evictions;
    uint64_t profile_cache_bytes;                      /* of memory_bytes: profiles that are kept */
    uint64_t profile_cache_hits, profile_cache_misses; /* reads of profiles without and with a row of the catalog */
    uint32_t generation;                               /* the current one, whose model and vectors these are */
    uint32_t generations;
    uint64_t resident_bytes; /* of memory_bytes: graphs that were copied so far */
    size_t own_segments;     /* of segments: each holds items of one large value of the segment field alone */
} kith_collection_info;
#define KITH_COLLECTION_INFO_INIT                                                                                      \
    { .struct_size = sizeof(kith_collection_info) }

/* KITH_E_ARG. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_get_info(kith_collection *collection, kith_collection_info *info);
/* Number 0 and up; the names live as long as the collection. A vector is told as the current generation has it.
 * KITH_E_ARG, KITH_E_NOTFOUND. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_vector(const kith_collection *collection, size_t number,
                                                            kith_vector_spec *spec);
KITH_API KITH_MUST_CHECK kith_status kith_collection_field(kith_collection *collection, size_t number,
                                                           kith_field *field);

/* Seal the head and merge all segments into one without dead rows, and one for each large value of the segment field
 * that has segments of its own or was asked for often; also indexes declared fields, measures plans, and gives back
 * what the catalog does not need. Searches and writes go on. Stages "sealing", "merging" and those of kith_build() and
 * kith_tune(). Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_compact(kith_collection *collection, kith_progress_fn progress,
                                                             void *progress_context, kith_error *error);

/* A consistent copy of the current state as the folder `path`, which must not exist; segment files are hard links where
 * the file system can, else copies. Whole or not at all. Writes go on. The copy is a collection: open it, or move it.
 * Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_snapshot(kith_collection *collection, const char *path,
                                                              kith_error *error);
/* Verify the snapshot (or collection that nobody writes) `from`, and copy it to `to`, which must not exist.
 * Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_restore(const char *from, const char *to,
                                                             kith_progress_fn progress, void *progress_context,
                                                             kith_error *error);

/* Check every byte of catalog and segments, and that they agree. KITH_E_CORRUPT names the first fault. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_verify(const char *path, kith_pool *pool,
                                                            kith_progress_fn progress, void *progress_context,
                                                            kith_error *error);

/* Told of each item that could not be saved: its id (or text), and why. */
typedef void (*kith_lost_fn)(void *context, uint64_t id, const char *text, size_t text_bytes, const char *why);

typedef struct kith_repair_report {
    size_t struct_size;
    uint64_t items;    /* whole */
    uint64_t lost;     /* whose vectors are gone: told to the callback, and removed */
    uint64_t segments; /* rebuilt or dropped */
} kith_repair_report;
#define KITH_REPAIR_REPORT_INIT                                                                                        \
    { .struct_size = sizeof(kith_repair_report) }

/* Make a damaged collection whole again as far as that can be: what can be read of damaged segments is saved, the rest
 * is listed by id. Nobody may have it open for writing (KITH_E_BUSY). Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_repair(const char *path, kith_lost_fn lost, void *lost_context,
                                                            kith_progress_fn progress, void *progress_context,
                                                            kith_repair_report *report, kith_error *error);

/* ---- Generations ---------------------------------------------------------------------------------------------------
 *
 * A *generation* is what one model makes of a collection's items: vectors of some or all names, of a dimension, type
 * and metric of their own; names that it has no vectors of its own for it shares with the one that was current when it
 * was begun. A collection begins with generation 1, which is *current*: searches, writes and reads that name no
 * generation are of it. Another one is begun, filled by writes beside it (KITH_UPDATE with kith_item_vectors.generation
 * changes nothing else), checked, tried with a share of the users, and made current by a *flip*; flipping back is as
 * quick, until the older one is dropped.
 *
 * Payloads, fields, expiry and versions are the items' own, whatever the generation. KITH_UPSERT replaces an item with
 * the vectors of all generations: give those of each that is to have it. Numbers count up from 1 and are never used
 * again. */

typedef enum kith_generation_state {
    KITH_GENERATION_BUILDING = 1, /* never was current */
    KITH_GENERATION_CURRENT = 2,
    KITH_GENERATION_PREVIOUS = 3, /* was current before the current one: a flip to 0 goes back to it */
    KITH_GENERATION_FORMER = 4    /* was current earlier */
} kith_generation_state;

/* "building", "current", "previous", "former": static text, "?" for other values. Since 0.3. */
KITH_API const char *kith_generation_state_name(kith_generation_state state);

/* How a generation is begun. */
typedef struct kith_generation_options {
    size_t struct_size;
    const char *model;               /* what makes its vectors; NULL: "" */
    const kith_vector_spec *vectors; /* names that the collection has, at least one */
    size_t vector_count;
} kith_generation_options;
#define KITH_GENERATION_OPTIONS_INIT                                                                                   \
    { .struct_size = sizeof(kith_generation_options) }

/* Begin a generation without vectors yet; *number: which. KITH_E_ARG; KITH_E_NOTFOUND (a name); KITH_E_LIMIT (there are
 * KITH_GENERATIONS_MAX, or with its vectors more than KITH_VECTORS_MAX); and what kith_collection_write() fails with.
 * Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_begin(kith_collection *collection,
                                                                      const kith_generation_options *options,
                                                                      uint32_t *number, kith_error *error);

/* A generation as it is. */
typedef struct kith_generation_info {
    size_t struct_size;
    uint32_t number;
    kith_generation_state state;
    const char *model;   /* "" without; lives as long as the collection */
    double share;        /* of the users, that are sent to it; 0: it is no canary */
    size_t own;          /* vectors that it was begun with; the collection's other ones are shared */
    uint64_t created_ms; /* since 1970; of generation 1 0 */
} kith_generation_info;
#define KITH_GENERATION_INFO_INIT                                                                                      \
    { .struct_size = sizeof(kith_generation_info) }

/* The generation at a place, 0 and up, by ascending numbers. KITH_E_NOTFOUND, KITH_E_ARG. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation(kith_collection *collection, size_t place,
                                                                kith_generation_info *info, kith_error *error);
/* A vector of a generation (0: the current one), as kith_collection_vector(). KITH_E_NOTFOUND, KITH_E_ARG. Any thread.
 * Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_vector(kith_collection *collection, uint32_t number,
                                                                       size_t vector, kith_vector_spec *spec,
                                                                       kith_error *error);

/* kith_collection_get() of another generation than the current one: KITH_WITH_VECTORS reads its vectors. number 0: the
 * current one. KITH_E_NOTFOUND, and what kith_collection_get() fails with. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_get(kith_collection *collection, uint32_t number,
                                                                    const kith_ids *ids, unsigned with,
                                                                    kith_result *result, kith_error *error);

/* Told of an item that lacks a vector, and of its name. */
typedef void (*kith_lacking_fn)(void *context, uint64_t id, const char *text, size_t text_bytes, const char *vector);

/* How a generation is checked. */
typedef struct kith_generation_check_options {
    size_t struct_size;
    size_t sample;           /* stored vectors of each of its names that are sought; 0: only items are counted */
    size_t k;                /* 1..KITH_K_MAX - 1 neighbours, besides the item itself */
    double target_recall;    /* of the searches that are held against exact ones; 0..1 */
    uint64_t seed;           /* which are chosen: the same of the same state */
    kith_lacking_fn lacking; /* NULL, or told of each vector that is lacking */
    void *lacking_context;
    kith_progress_fn progress; /* NULL, or told of the stages "counting" and "searching" */
    void *progress_context;
} kith_generation_check_options;
#define KITH_GENERATION_CHECK_OPTIONS_INIT                                                                             \
    { .struct_size = sizeof(kith_generation_check_options), .sample = 100, .k = 10, .target_recall = 0.95 }

/* What was found. */
typedef struct kith_generation_report {
    size_t struct_size;
    uint32_t number, current; /* the two that were compared */
    uint64_t version;         /* of the state that was looked at */
    uint64_t items;           /* live */
    uint64_t with_vectors;    /* that have a vector of each name that the current generation has one of */
    uint64_t lacking;         /* the others */
    size_t sampled;           /* vectors that were sought */
    double
        recall; /* what searches at the target found of what exact ones did, on average; 1 where nothing was sought */
    double overlap; /* the share of the exact neighbours that the current generation's have in common with them, on
                     * average; 1 where nothing was compared */
} kith_generation_report;
#define KITH_GENERATION_REPORT_INIT                                                                                    \
    { .struct_size = sizeof(kith_generation_report) }

/* Look at a generation beside the current one: which items it lacks, how well it is searched, and how much its answers
 * differ. options may be NULL: as _INIT. Searches and writes go on. KITH_E_NOTFOUND, KITH_E_ARG, KITH_E_CANCELLED, and
 * what kith_collection_search() fails with. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_check(kith_collection *collection, uint32_t number,
                                                                      const kith_generation_check_options *options,
                                                                      kith_generation_report *report,
                                                                      kith_error *error);

/* What a generation must be like to become current. */
typedef struct kith_flip_options {
    size_t struct_size;
    double min_share;                           /* of the items, that have its vectors: with_vectors / items; 0: any */
    double min_recall;                          /* 0: any */
    double min_overlap;                         /* 0: any */
    const kith_generation_check_options *check; /* how that is found; NULL: as _INIT */
} kith_flip_options;
#define KITH_FLIP_OPTIONS_INIT                                                                                         \
    { .struct_size = sizeof(kith_flip_options), .min_share = 1 }

/* What a flip did. */
typedef struct kith_flip_report {
    size_t struct_size;
    uint32_t from, to;
    uint64_t items, with_vectors; /* as kith_generation_report; 0 where nothing was required */
    double recall, overlap;       /* likewise; 0 where it was not required */
    uint64_t pause_ns;            /* for which writes waited; searches never do */
} kith_flip_report;
#define KITH_FLIP_REPORT_INIT                                                                                          \
    { .struct_size = sizeof(kith_flip_report) }

/* Make a generation current; 0: the one that was current before, for which nothing is required unless options are
 * given. options NULL: as _INIT. The generation is looked at first, while writes go on: what they write during that is
 * not seen by it. Then it is one durable change: each search is answered by one of the two alone, also in other
 * processes that read. A canary that becomes current is none any more. Of the one that is current already nothing
 * changes. KITH_E_DATA says which requirement was not met; KITH_E_NOTFOUND (no such generation, or none was current
 * before); KITH_E_ARG; and what kith_collection_write() and kith_collection_generation_check() fail with. report may be
 * NULL. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_flip(kith_collection *collection, uint32_t number,
                                                          const kith_flip_options *options, kith_flip_report *report,
                                                          kith_error *error);

/* Send a share of the users, 0..1, to a generation that is not current; 0 ends that. There is one canary at a time.
 * Whom it gets hangs on the user and the generation alone; a larger share keeps those whom a smaller one had.
 * KITH_E_BUSY (another one is the canary, or it is current), KITH_E_NOTFOUND, KITH_E_ARG, and what
 * kith_collection_write() fails with. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_canary(kith_collection *collection, uint32_t number,
                                                                       double share, kith_error *error);
/* Whom a user's queries go to: the canary if the XXH3-64 of the user's text, seeded with the canary's number, lies
 * below share x 2^64; else the current generation. KITH_E_ARG. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_of(kith_collection *collection, const char *user,
                                                                   uint32_t *number, kith_error *error);

/* Drop a generation with the vectors that no other one shares. It is gone at once; its files go in the background (with
 * no_background: before this returns), when no search has them any more. KITH_E_BUSY (it is current), KITH_E_NOTFOUND,
 * and what kith_collection_write() fails with. Any thread. Since 0.3. */
KITH_API KITH_MUST_CHECK kith_status kith_collection_generation_drop(kith_collection *collection, uint32_t number,
                                                                     kith_error *error);

#ifdef __cplusplus
}
#endif
#endif

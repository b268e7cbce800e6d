/* SPDX-License-Identifier: Apache-2.0
 *
 * What a backend is: a struct of functions that the library declares and a plug-in fills. No type of OpenCL leaves its
 * plug-in, and a plug-in uses nothing of the library but what is declared here.
 *
 * A device multiplies codes and says which vectors may matter to a query; what is an answer, the processor decides, by
 * the kernels and bounds that it has anyway. So a backend has few duties:
 *
 * W1. Codes lie in blocks as in kernel/tile.h. dot is the exact integer product, and
 *         estimate = base + (float)dot * query.scale * scale + bias
 *         error    = query.a * norm + query.b * error + slack * norm * norm + query.c
 *     are evaluated as written, from left to right, each step rounded once to the nearest float, subnormal ones too. In
 *     residual models base is that of the vector's list, a is query.a + apart_factor * apart[list], and c is query.c +
 *     far_factor * |base|.
 * W2. scan finds every valid vector with estimate + error >= threshold, and finds no other.
 * W3. sample gives, of each of `groups` disjoint sets of valid vectors, the largest estimate - error; -INFINITY where
 *     a set is empty.
 * W4. score finds every valid vector of a query's runs of blocks with base + fma((float)dot * query.scale, scale, bias)
 *     >= threshold, and gives that sum.
 * W5. In models of bits the words of a vector take the place of its codes, and there is no error: hamming is
 *     -(float)(bits that differ), jaccard -(float)(bits that differ) / (float)(bits of either), the quotient within
 *     2^-21 of itself; scan takes what lies within that of a threshold, sample what lies below it.
 *
 * A device may be used by several streams at once, a stream by one thread at a time. */
#ifndef KI_DEVICE_BACKEND_H
#define KI_DEVICE_BACKEND_H

#include "kith.h"

enum {
    KI_DEVICE_INTERFACE = 1, /* of this head: a plug-in of another one is refused */
    KI_DEVICE_SLOTS = 2,     /* works of a stream that may be under way */
    KI_DEVICE_TEXT = 96
};

/* One device, as it presents itself. */
typedef struct ki_device_facts {
    char name[KI_DEVICE_TEXT], driver[KI_DEVICE_TEXT];
    char obstacle[KI_DEVICE_TEXT];      /* why it cannot be used; "": it can */
    uint64_t memory_bytes, piece_bytes; /* all, and the most of one piece */
    unsigned units;                     /* that compute side by side */
} ki_device_facts;

/* What does not change while an index is open. Borrowed for the call that takes it. */
typedef struct ki_device_model {
    kith_metric metric;
    size_t dim, quads;      /* quads: words of four bytes of a vector */
    size_t lists;           /* of centroids; 0: codes are not residual */
    const float *centroids; /* lists x dim */
    const float *apart;     /* lists */
    float slack, far_factor, apart_factor;
} ki_device_model;

/* Some blocks of vectors. valid: bit v of a word is vector v of the block. */
typedef struct ki_device_blocks {
    size_t count;
    const uint8_t *codes;
    const float *factors; /* models of bits have none: NULL */
    const uint32_t *list; /* of each block; NULL where codes are not residual */
    const uint16_t *valid;
} ki_device_blocks;

typedef struct ki_device_query {
    float scale, a, b, c, base;
    int32_t start; /* -128 times the sum of its code */
} ki_device_query;

typedef struct ki_device_queries {
    size_t count;
    const ki_device_query *query;
    const int8_t *codes; /* count x 4*quads */
    const float *rows;   /* residual models: count x dim, what is compared with centroids (quant/int8.h B4) */
} ki_device_queries;

/* Blocks first, first + step, ... below end, of those that a memory holds. */
typedef struct ki_device_range {
    size_t first, end, step;
} ki_device_range;

/* A query against blocks first..end of a list. */
typedef struct ki_device_run {
    uint32_t query, first, end;
    float base;
} ki_device_run;

typedef struct ki_device_hit {
    uint32_t query, place; /* place: block * 16 + vector, of the memory */
    union {
        int32_t dot; /* scan */
        float score; /* score */
    };
} ki_device_hit;

/* What was found. A query that reached more vectors than there is room for has lost some. */
typedef struct ki_device_found {
    const ki_device_hit *hits; /* until the slot's next work */
    size_t count;
    const uint32_t *reached; /* count of queries: vectors that reached its threshold */
    uint32_t room;           /* hits that are kept of one query */
} ki_device_found;

/* Nanoseconds of the device's own clock, summed up by a stream since it was last asked. */
typedef struct ki_device_times {
    uint64_t upload_ns, compute_ns, download_ns;
} ki_device_times;

typedef struct ki_device ki_device;               /* one device with one model */
typedef struct ki_device_memory ki_device_memory; /* blocks of it */
typedef struct ki_device_stream ki_device_stream; /* what one thread has a device do */

/* All of them fill *error when they fail: KITH_E_UNSUPPORTED (no driver, no device, or one that cannot do it),
 * KITH_E_NOMEM (of the device), KITH_E_IO (it failed, or is lost). */
typedef struct ki_device_backend {
    unsigned interface;
    const char *name;

    /* Device number `which`, 0..; KITH_E_NOTFOUND: there are no so many. */
    kith_status (*describe)(size_t which, ki_device_facts *facts, kith_error *error);
    kith_status (*open)(size_t which, const ki_device_model *model, ki_device **device, kith_error *error);
    void (*close)(ki_device *device); /* NULL is fine; memories and streams are gone by then */

    /* Copy blocks to the device. streamed: not codes and factors, which are brought for each work. */
    kith_status (*keep)(ki_device *device, const ki_device_blocks *blocks, int streamed, ki_device_memory **memory,
                        kith_error *error);
    void (*drop)(ki_device_memory *memory); /* NULL is fine */

    kith_status (*stream)(ki_device *device, ki_device_stream **stream, kith_error *error);
    void (*end)(ki_device_stream *stream); /* NULL is fine */

    /* The queries of the works that follow. room: hits that are to be kept of each in one work. */
    kith_status (*begin)(ki_device_stream *stream, const ki_device_queries *queries, uint32_t room, kith_error *error);
    /* maxima: queries x groups; groups is a multiple of 16. valid: of the range's blocks from `first` on, one after the
     * other whatever the step; NULL: the memory's own. */
    kith_status (*sample)(ki_device_stream *stream, const ki_device_memory *memory, ki_device_range range,
                          const uint16_t *valid, size_t groups, float *maxima, kith_error *error);
    /* Begin a work in a slot whose last one was waited for. blocks: of the whole memory, read only where it is
     * streamed; it and valid are borrowed until the work was waited for, thresholds for the call. */
    kith_status (*scan)(ki_device_stream *stream, unsigned slot, const ki_device_memory *memory,
                        const ki_device_blocks *blocks, ki_device_range range, const uint16_t *valid,
                        const float *thresholds, kith_error *error);
    /* Likewise for runs (W4), of a memory that is not streamed; valid: of all its blocks. They take every step-th block
     * from range.first on of each run; range.end is not read. Runs, too, are borrowed until the work was waited for. */
    kith_status (*score)(ki_device_stream *stream, unsigned slot, const ki_device_memory *memory,
                         const ki_device_run *runs, size_t count, ki_device_range range, const uint16_t *valid,
                         const float *thresholds, kith_error *error);
    kith_status (*wait)(ki_device_stream *stream, unsigned slot, ki_device_found *found, kith_error *error);
    void (*times)(ki_device_stream *stream, ki_device_times *add);
} ki_device_backend;

/* What a plug-in exports: its functions, NULL where it does not know this interface. Constant. */
typedef const ki_device_backend *ki_device_plugin(unsigned interface);
#define KI_DEVICE_PLUGIN "ki_device_plugin_of"

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A device with a model, its memories and its streams, shared by the files of the plug-in. A device is constant once
 * open, a memory once kept: any thread. A stream has one thread at a time. */
#ifndef KI_DEVICE_OPENCL_DEVICE_H
#define KI_DEVICE_OPENCL_DEVICE_H

#include "device/opencl/loader.h"

#include <stdatomic.h>

enum {
    KI_CL_TILES = 2,      /* programs: of one query a work item, and of many */
    KI_CL_TILE_MANY = 16, /* 16 sums in registers, and each word of codes is read for as many queries */
    KI_CL_EVENTS = 12     /* commands of one work */
};

/* Members have the size and the order that kernels.cl gives them. */
typedef struct ki_cl_model {
    cl_float slack, far_factor, apart_factor;
    cl_uint quads, residual, jaccard;
} ki_cl_model;

typedef struct ki_cl_range {
    cl_ulong start, step, blocks, codes_first, valid_first;
} ki_cl_range;

struct ki_device {
    const ki_cl *cl;
    cl_device_id id;
    cl_context context;
    cl_program program[KI_CL_TILES];
    ki_cl_model model;
    int bits, is_l2;
    size_t dim, lists;
    cl_mem centroids, apart; /* residual models */
    cl_mem nothing;          /* what kernels that read no such thing are given */
};

struct ki_device_memory {
    ki_device *device;
    size_t blocks;
    int streamed;
    cl_mem codes, factors, list, valid;
};

/* Memory of the device that grows. */
typedef struct ki_cl_area {
    cl_mem mem;
    size_t bytes;
} ki_cl_area;

/* local: work items of a group, a multiple of 16; 0: the driver's choice. */
typedef struct ki_cl_kernel {
    cl_kernel kernel;
    size_t local;
} ki_cl_kernel;

/* One work. Commands of a queue follow each other, so that what one brings, the next one reads. */
typedef struct ki_cl_slot {
    cl_command_queue queue;
    ki_cl_kernel scan[KI_CL_TILES], score[KI_CL_TILES];
    cl_event event[KI_CL_EVENTS];
    int kind[KI_CL_EVENTS]; /* of each */
    int events;
    ki_cl_area codes, factors, valid, thresholds, counts, hits, runs, tasks;
    ki_cl_area staged;   /* memory of the host that the device reads at full speed */
    void *staging;       /* where that is mapped */
    size_t staged_bytes; /* that are mapped */
    cl_uint *counted;    /* queries + 1: what each reached, and hits */
    ki_device_hit *found;
    cl_uint *task; /* where tasks begin: a work's until it was waited for */
    size_t counted_room, found_room, task_room;
} ki_cl_slot;

struct ki_device_stream {
    ki_device *device;
    ki_cl_kernel bases, sample[KI_CL_TILES];
    size_t queries;
    uint32_t room;
    ki_cl_area query, codes, rows, base, maxima;
    ki_cl_slot slot[KI_DEVICE_SLOTS];
    ki_device_times times;
};

/* Of the programs and kernels, those that are for its queries; and queries of a work item there. */
static inline unsigned ki_cl_tile(const ki_device_stream *stream) {
    enum { FEW = 3 };
    return stream->queries > FEW;
}
static inline size_t ki_cl_tile_width(unsigned tile) {
    return tile ? KI_CL_TILE_MANY : 1;
}

/* ---- device.c ---------------------------------------------------------------------------------------------------- */

kith_status ki_cl_describe(size_t which, ki_device_facts *facts, kith_error *error);
kith_status ki_cl_open(size_t which, const ki_device_model *model, ki_device **device, kith_error *error);
void ki_cl_close(ki_device *device);
kith_status ki_cl_keep(ki_device *device, const ki_device_blocks *blocks, int streamed, ki_device_memory **memory,
                       kith_error *error);
void ki_cl_drop(ki_device_memory *memory);

/* Memory of the device, filled from `from` unless it is NULL. */
kith_status ki_cl_make(const ki_device *device, cl_mem_flags flags, size_t bytes, const void *from, cl_mem *mem,
                       kith_error *error);
kith_status ki_cl_grow(const ki_device *device, ki_cl_area *area, size_t bytes, kith_error *error);
void ki_cl_free(const ki_device *device, cl_mem *mem);

/* ---- slot.c -------------------------------------------------------------------------------------------- */

/* What a kernel is handed, in order. */
typedef struct ki_cl_argument {
    size_t bytes;
    const void *value;
} ki_cl_argument;
#define KI_CL_ARGUMENT(x)                                                                                              \
    { sizeof(x), &(x) }

/* Commands that a slot's queue takes. from must live until the slot was finished. */
kith_status ki_cl_put(const ki_device *device, ki_cl_slot *slot, cl_mem to, const void *from, size_t bytes,
                      kith_error *error);
kith_status ki_cl_run(const ki_device *device, ki_cl_slot *slot, const ki_cl_kernel *kernel,
                      const ki_cl_argument *arguments, cl_uint count, size_t across, size_t along, kith_error *error);
kith_status ki_cl_get(const ki_device *device, ki_cl_slot *slot, cl_mem from, void *to, size_t bytes,
                      kith_error *error);
/* Wait for all of them, and add what they took. */
kith_status ki_cl_finish(const ki_device *device, ki_cl_slot *slot, ki_device_times *times, kith_error *error);

kith_status ki_cl_take_kernel(const ki_device *device, unsigned tile, const char *name, ki_cl_kernel *kernel,
                              kith_error *error);
kith_status ki_cl_slot_create(const ki_device *device, ki_cl_slot *slot, kith_error *error);
void ki_cl_slot_free(const ki_device *device, ki_cl_slot *slot);

/* ---- stream.c, work.c -------------------------------------------------------------------------------------------- */

kith_status ki_cl_stream(ki_device *device, ki_device_stream **stream, kith_error *error);
void ki_cl_end(ki_device_stream *stream);
kith_status ki_cl_begin(ki_device_stream *stream, const ki_device_queries *queries, uint32_t room, kith_error *error);
kith_status ki_cl_sample(ki_device_stream *stream, const ki_device_memory *memory, ki_device_range range,
                         const uint16_t *valid, size_t groups, float *maxima, kith_error *error);
kith_status ki_cl_scan(ki_device_stream *stream, unsigned slot, const ki_device_memory *memory,
                       const ki_device_blocks *blocks, ki_device_range range, const uint16_t *valid,
                       const float *thresholds, kith_error *error);
kith_status ki_cl_score(ki_device_stream *stream, unsigned slot, const ki_device_memory *memory,
                        const ki_device_run *runs, size_t count, ki_device_range range, const uint16_t *valid,
                        const float *thresholds, kith_error *error);
kith_status ki_cl_wait(ki_device_stream *stream, unsigned slot, ki_device_found *found, kith_error *error);
void ki_cl_times(ki_device_stream *stream, ki_device_times *add);

#endif

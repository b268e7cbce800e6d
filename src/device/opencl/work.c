/* SPDX-License-Identifier: Apache-2.0
 *
 * Works: scans and scores that are under way, and what they found. */
#include "device/opencl/device.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16, ROW_BYTES = 64, FACTORS_BYTES = 64 * sizeof(float) };

/* ---- What a work needs ------------------------------------------------------------------------------------------- */

/* Memory of the host through which the device is filled at the speed of its bus. */
static kith_status stage(const ki_device *device, ki_cl_slot *slot, size_t bytes, kith_error *error) {
    const ki_cl *cl = device->cl;
    cl_int code = CL_SUCCESS;
    if (slot->staging && slot->staged_bytes >= bytes) return KITH_OK;
    if (slot->staging) {
        code = cl->clEnqueueUnmapMemObject(slot->queue, slot->staged.mem, slot->staging, 0, NULL, NULL);
        slot->staging = NULL;
        if (code != CL_SUCCESS) return ki_cl_fail(error, code, "clEnqueueUnmapMemObject");
    }
    ki_cl_free(device, &slot->staged.mem);
    const kith_status status =
        ki_cl_make(device, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &slot->staged.mem, error);
    if (status != KITH_OK) return status;
    slot->staging = cl->clEnqueueMapBuffer(slot->queue, slot->staged.mem, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes,
                                           0, NULL, NULL, &code);
    if (code != CL_SUCCESS) {
        slot->staging = NULL;
        return ki_cl_fail(error, code, "clEnqueueMapBuffer");
    }
    slot->staged_bytes = bytes;
    return KITH_OK;
}

/* Codes and factors of the range, which the device does not hold. */
static kith_status bring_codes(const ki_device *device, ki_cl_slot *slot, const ki_device_blocks *blocks,
                               ki_device_range range, kith_error *error) {
    const size_t count = range.end - range.first, block_bytes = device->model.quads * ROW_BYTES;
    const size_t bytes = count * block_bytes, factor_bytes = blocks->factors ? count * FACTORS_BYTES : 0;
    kith_status status = ki_cl_grow(device, &slot->codes, bytes, error);
    if (status == KITH_OK) status = ki_cl_grow(device, &slot->factors, factor_bytes, error);
    if (status == KITH_OK) status = stage(device, slot, bytes + factor_bytes, error);
    if (status != KITH_OK) return status;
    memcpy(slot->staging, blocks->codes + range.first * block_bytes, bytes);
    if (factor_bytes)
        memcpy((char *)slot->staging + bytes, (const char *)blocks->factors + range.first * FACTORS_BYTES,
               factor_bytes);
    status = ki_cl_put(device, slot, slot->codes.mem, slot->staging, bytes, error);
    return status == KITH_OK
               ? ki_cl_put(device, slot, slot->factors.mem, (char *)slot->staging + bytes, factor_bytes, error)
               : status;
}

static kith_status bring(const ki_device *device, ki_cl_slot *slot, ki_cl_area *area, const void *from, size_t bytes,
                         kith_error *error) {
    const kith_status status = ki_cl_grow(device, area, bytes, error);
    return status == KITH_OK ? ki_cl_put(device, slot, area->mem, from, bytes, error) : status;
}

/* Thresholds, and room for what will be found. */
static kith_status begin_work(ki_device_stream *stream, ki_cl_slot *slot, const float *thresholds, kith_error *error) {
    const ki_device *device = stream->device;
    const size_t n = stream->queries, counts = (n + 1) * sizeof(cl_uint);
    const cl_uint zero = 0;
    if (slot->counted_room < n + 1) {
        free(slot->counted);
        slot->counted = malloc(counts + n * sizeof(float));
        slot->counted_room = slot->counted ? n + 1 : 0;
        if (!slot->counted) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    }
    float *kept = (float *)(void *)(slot->counted + slot->counted_room); /* until the device has read them */
    memcpy(kept, thresholds, n * sizeof(float));
    kith_status status = bring(device, slot, &slot->thresholds, kept, n * sizeof(float), error);
    if (status == KITH_OK) status = ki_cl_grow(device, &slot->counts, counts, error);
    if (status == KITH_OK) status = ki_cl_grow(device, &slot->hits, n * stream->room * sizeof(ki_device_hit), error);
    if (status != KITH_OK) return status;
    const cl_int code =
        device->cl->clEnqueueFillBuffer(slot->queue, slot->counts.mem, &zero, sizeof(zero), 0, counts, 0, NULL, NULL);
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clEnqueueFillBuffer");
}

/* Let it begin, and bring what it counted. */
static kith_status end_work(ki_device_stream *stream, ki_cl_slot *slot, kith_error *error) {
    const ki_device *device = stream->device;
    const kith_status status =
        ki_cl_get(device, slot, slot->counts.mem, slot->counted, (stream->queries + 1) * sizeof(cl_uint), error);
    if (status != KITH_OK) return status;
    const cl_int code = device->cl->clFlush(slot->queue);
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clFlush");
}

/* ---- Works ------------------------------------------------------------------------------------------------------- */

static kith_status run_scan(ki_device_stream *stream, ki_cl_slot *slot, const ki_device_memory *memory,
                            ki_device_range range, int own_valid, kith_error *error) {
    const ki_device *device = stream->device;
    const unsigned tile = ki_cl_tile(stream);
    const size_t width = ki_cl_tile_width(tile), count = (range.end - range.first + range.step - 1) / range.step;
    const cl_uint queries = (cl_uint)stream->queries, room = stream->room;
    const ki_cl_range of = {range.first, range.step, count, memory->streamed ? range.first : 0,
                            own_valid ? range.first : 0};
    const cl_mem *nothing = &device->nothing;
    const cl_mem *codes = memory->streamed ? &slot->codes.mem : &memory->codes;
    const cl_mem *factors = memory->streamed ? &slot->factors.mem : memory->factors ? &memory->factors : nothing;
    const cl_mem *list = memory->list ? &memory->list : nothing;
    const cl_mem *base = stream->base.mem ? &stream->base.mem : nothing;
    const cl_mem *apart = device->apart ? &device->apart : nothing;
    const ki_cl_argument arguments[] = {KI_CL_ARGUMENT(*codes),
                                        KI_CL_ARGUMENT(*factors),
                                        KI_CL_ARGUMENT(*list),
                                        {sizeof(cl_mem), own_valid ? &slot->valid.mem : &memory->valid},
                                        KI_CL_ARGUMENT(stream->codes.mem),
                                        KI_CL_ARGUMENT(stream->query.mem),
                                        KI_CL_ARGUMENT(*base),
                                        KI_CL_ARGUMENT(*apart),
                                        KI_CL_ARGUMENT(slot->thresholds.mem),
                                        KI_CL_ARGUMENT(device->model),
                                        KI_CL_ARGUMENT(of),
                                        KI_CL_ARGUMENT(queries),
                                        KI_CL_ARGUMENT(room),
                                        KI_CL_ARGUMENT(slot->counts.mem),
                                        KI_CL_ARGUMENT(slot->hits.mem)};
    return ki_cl_run(device, slot, &slot->scan[tile], arguments, 15, count * BLOCK,
                     (stream->queries + width - 1) / width, error);
}

kith_status ki_cl_scan(ki_device_stream *stream, unsigned number, const ki_device_memory *memory,
                       const ki_device_blocks *blocks, ki_device_range range, const uint16_t *valid,
                       const float *thresholds, kith_error *error) {
    const ki_device *device = stream->device;
    ki_cl_slot *slot = &stream->slot[number];
    kith_status status = KITH_OK;
    if (memory->streamed) status = bring_codes(device, slot, blocks, range, error);
    if (status == KITH_OK && valid)
        status = bring(device, slot, &slot->valid, valid, (range.end - range.first) * sizeof(*valid), error);
    if (status == KITH_OK) status = begin_work(stream, slot, thresholds, error);
    if (status == KITH_OK) status = run_scan(stream, slot, memory, range, valid != NULL, error);
    if (status == KITH_OK) status = end_work(stream, slot, error);
    if (status != KITH_OK) (void)ki_cl_finish(device, slot, &stream->times, NULL); /* what was lent is given back */
    return status;
}

/* Runs over the same blocks follow each other: tasks of up to `width` of them. The most blocks of one in *longest. */
static size_t make_tasks(const ki_device_run *runs, size_t count, size_t width, cl_uint *task, size_t *longest) {
    size_t tasks = 0;
    *longest = 0;
    for (size_t i = 0, first = 0; i < count; i++) {
        if (i == 0 || i - first == width || runs[i].first != runs[first].first || runs[i].end != runs[first].end) {
            task[tasks++] = (cl_uint)i;
            first = i;
        }
        if (runs[i].end - runs[i].first > *longest) *longest = runs[i].end - runs[i].first;
    }
    task[tasks] = (cl_uint)count;
    return tasks;
}

static kith_status run_score(ki_device_stream *stream, ki_cl_slot *slot, const ki_device_memory *memory,
                             ki_device_range range, size_t tasks, size_t longest, int own_valid, kith_error *error) {
    const ki_device *device = stream->device;
    const size_t across = longest > range.first ? (longest - range.first + range.step - 1) / range.step : 0;
    const cl_uint queries = (cl_uint)stream->queries, room = stream->room;
    const ki_cl_range of = {range.first, range.step, 0, 0, 0};
    const ki_cl_argument arguments[] = {KI_CL_ARGUMENT(memory->codes),
                                        KI_CL_ARGUMENT(memory->factors),
                                        {sizeof(cl_mem), own_valid ? &slot->valid.mem : &memory->valid},
                                        KI_CL_ARGUMENT(stream->codes.mem),
                                        KI_CL_ARGUMENT(stream->query.mem),
                                        KI_CL_ARGUMENT(slot->runs.mem),
                                        KI_CL_ARGUMENT(slot->tasks.mem),
                                        KI_CL_ARGUMENT(slot->thresholds.mem),
                                        KI_CL_ARGUMENT(device->model),
                                        KI_CL_ARGUMENT(of),
                                        KI_CL_ARGUMENT(queries),
                                        KI_CL_ARGUMENT(room),
                                        KI_CL_ARGUMENT(slot->counts.mem),
                                        KI_CL_ARGUMENT(slot->hits.mem)};
    if (!across || !tasks) return KITH_OK;
    return ki_cl_run(device, slot, &slot->score[ki_cl_tile(stream)], arguments, 14, across * BLOCK, tasks, error);
}

kith_status ki_cl_score(ki_device_stream *stream, unsigned number, const ki_device_memory *memory,
                        const ki_device_run *runs, size_t count, ki_device_range range, const uint16_t *valid,
                        const float *thresholds, kith_error *error) {
    const ki_device *device = stream->device;
    ki_cl_slot *slot = &stream->slot[number];
    size_t longest = 0;
    if (slot->task_room < count + 1) {
        free(slot->task);
        slot->task = malloc((count + 1) * sizeof(*slot->task));
        slot->task_room = slot->task ? count + 1 : 0;
        if (!slot->task) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    }
    const size_t tasks = make_tasks(runs, count, ki_cl_tile_width(ki_cl_tile(stream)), slot->task, &longest);
    kith_status status = bring(device, slot, &slot->runs, runs, count * sizeof(*runs), error);
    if (status == KITH_OK)
        status = bring(device, slot, &slot->tasks, slot->task, (tasks + 1) * sizeof(*slot->task), error);
    if (status == KITH_OK && valid)
        status = bring(device, slot, &slot->valid, valid, memory->blocks * sizeof(*valid), error);
    if (status == KITH_OK) status = begin_work(stream, slot, thresholds, error);
    if (status == KITH_OK) status = run_score(stream, slot, memory, range, tasks, longest, valid != NULL, error);
    if (status == KITH_OK) status = end_work(stream, slot, error);
    if (status != KITH_OK) (void)ki_cl_finish(device, slot, &stream->times, NULL);
    return status;
}

kith_status ki_cl_wait(ki_device_stream *stream, unsigned number, ki_device_found *found, kith_error *error) {
    const ki_device *device = stream->device;
    ki_cl_slot *slot = &stream->slot[number];
    kith_status status = ki_cl_finish(device, slot, &stream->times, error);
    if (status != KITH_OK) return status;
    const size_t count = slot->counted[stream->queries];
    if (count > stream->queries * stream->room)
        return ki_cl_say(error, KITH_E_IO, "OpenCL: the device failed: it found more than there is room for");
    if (slot->found_room < count) {
        free(slot->found);
        slot->found = malloc(count * sizeof(*slot->found));
        slot->found_room = slot->found ? count : 0;
        if (!slot->found) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    }
    status = ki_cl_get(device, slot, slot->hits.mem, slot->found, count * sizeof(*slot->found), error);
    const kith_status finished = ki_cl_finish(device, slot, &stream->times, error);
    *found = (ki_device_found){slot->found, count, slot->counted, stream->room};
    return status == KITH_OK ? finished : status;
}

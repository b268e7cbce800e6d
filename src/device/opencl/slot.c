/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots: a queue of commands with the memory that one work needs, and what its commands took by the device's clock. */
#include "device/opencl/device.h"

#include <stdlib.h>
#include <string.h>

enum { UPLOAD, COMPUTE, DOWNLOAD };

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static cl_event *next_event(ki_cl_slot *slot, int kind) {
    if (slot->events == KI_CL_EVENTS) return NULL; /* its time is not counted */
    slot->kind[slot->events] = kind;
    slot->event[slot->events] = NULL;
    return &slot->event[slot->events++];
}

kith_status ki_cl_put(const ki_device *device, ki_cl_slot *slot, cl_mem to, const void *from, size_t bytes,
                      kith_error *error) {
    if (!bytes) return KITH_OK;
    const cl_int code =
        device->cl->clEnqueueWriteBuffer(slot->queue, to, CL_FALSE, 0, bytes, from, 0, NULL, next_event(slot, UPLOAD));
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clEnqueueWriteBuffer");
}

kith_status ki_cl_get(const ki_device *device, ki_cl_slot *slot, cl_mem from, void *to, size_t bytes,
                      kith_error *error) {
    if (!bytes) return KITH_OK;
    const cl_int code =
        device->cl->clEnqueueReadBuffer(slot->queue, from, CL_FALSE, 0, bytes, to, 0, NULL, next_event(slot, DOWNLOAD));
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clEnqueueReadBuffer");
}

kith_status ki_cl_run(const ki_device *device, ki_cl_slot *slot, const ki_cl_kernel *kernel,
                      const ki_cl_argument *arguments, cl_uint count, size_t across, size_t along, kith_error *error) {
    const size_t local[2] = {kernel->local, 1}, step = kernel->local ? kernel->local : 1;
    const size_t global[2] = {(across + step - 1) / step * step, along};
    cl_int code = CL_SUCCESS;
    for (cl_uint i = 0; i < count && code == CL_SUCCESS; i++)
        code = device->cl->clSetKernelArg(kernel->kernel, i, arguments[i].bytes, arguments[i].value);
    if (code != CL_SUCCESS) return ki_cl_fail(error, code, "clSetKernelArg");
    code = device->cl->clEnqueueNDRangeKernel(slot->queue, kernel->kernel, 2, NULL, global,
                                              kernel->local ? local : NULL, 0, NULL, next_event(slot, COMPUTE));
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clEnqueueNDRangeKernel");
}

static void add_time(const ki_device *device, cl_event event, int kind, ki_device_times *times) {
    uint64_t *const to[] = {&times->upload_ns, &times->compute_ns, &times->download_ns};
    cl_ulong start = 0, end = 0;
    if (device->cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(start), &start, NULL) ==
            CL_SUCCESS &&
        device->cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end, NULL) == CL_SUCCESS &&
        end > start)
        *to[kind] += end - start;
}

kith_status ki_cl_finish(const ki_device *device, ki_cl_slot *slot, ki_device_times *times, kith_error *error) {
    const cl_int code = device->cl->clFinish(slot->queue);
    for (int i = 0; i < slot->events; i++) {
        if (!slot->event[i]) continue; /* its command was refused */
        if (code == CL_SUCCESS) add_time(device, slot->event[i], slot->kind[i], times);
        device->cl->clReleaseEvent(slot->event[i]);
    }
    slot->events = 0;
    return code == CL_SUCCESS ? KITH_OK : ki_cl_fail(error, code, "clFinish");
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

kith_status ki_cl_take_kernel(const ki_device *device, unsigned tile, const char *name, ki_cl_kernel *kernel,
                              kith_error *error) {
    enum { BLOCK = 16, MOST = 256 };
    const ki_cl *cl = device->cl;
    cl_int code = CL_SUCCESS;
    size_t most = 0, multiple = 0;
    kernel->kernel = cl->clCreateKernel(device->program[tile], name, &code);
    if (code != CL_SUCCESS) {
        kernel->kernel = NULL;
        return ki_cl_fail(error, code, "clCreateKernel");
    }
    /* A small multiple of what the device runs at once, and of a block; at most what this kernel's registers allow. */
    if (cl->clGetKernelWorkGroupInfo(kernel->kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof(most), &most,
                                     NULL) != CL_SUCCESS ||
        cl->clGetKernelWorkGroupInfo(kernel->kernel, device->id, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE,
                                     sizeof(multiple), &multiple, NULL) != CL_SUCCESS)
        return KITH_OK;
    size_t local = multiple < BLOCK ? BLOCK : multiple > MOST ? MOST : (multiple + BLOCK - 1) / BLOCK * BLOCK;
    while (2 * local <= most && 2 * local <= 4 * BLOCK) local *= 2;
    kernel->local = local <= most ? local : most / BLOCK * BLOCK;
    return KITH_OK;
}

kith_status ki_cl_slot_create(const ki_device *device, ki_cl_slot *slot, kith_error *error) {
    cl_int code = CL_SUCCESS;
    slot->queue = device->cl->clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (code != CL_SUCCESS) {
        slot->queue = NULL;
        return ki_cl_fail(error, code, "clCreateCommandQueue");
    }
    kith_status status = KITH_OK;
    for (unsigned t = 0; t < KI_CL_TILES && status == KITH_OK; t++) {
        status = ki_cl_take_kernel(device, t, "scan", &slot->scan[t], error);
        if (status == KITH_OK && !device->bits) status = ki_cl_take_kernel(device, t, "score", &slot->score[t], error);
    }
    return status;
}

void ki_cl_slot_free(const ki_device *device, ki_cl_slot *slot) {
    const ki_cl *cl = device->cl;
    ki_cl_area *const areas[] = {&slot->codes,  &slot->factors, &slot->valid, &slot->thresholds,
                                 &slot->counts, &slot->hits,    &slot->runs,  &slot->tasks};
    ki_device_times ignored;
    if (slot->queue) (void)ki_cl_finish(device, slot, &ignored, NULL);
    if (slot->staging &&
        cl->clEnqueueUnmapMemObject(slot->queue, slot->staged.mem, slot->staging, 0, NULL, NULL) == CL_SUCCESS)
        cl->clFinish(slot->queue);
    ki_cl_free(device, &slot->staged.mem);
    for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) ki_cl_free(device, &areas[i]->mem);
    for (int t = 0; t < KI_CL_TILES; t++) {
        if (slot->scan[t].kernel) cl->clReleaseKernel(slot->scan[t].kernel);
        if (slot->score[t].kernel) cl->clReleaseKernel(slot->score[t].kernel);
    }
    if (slot->queue) cl->clReleaseCommandQueue(slot->queue);
    free(slot->counted);
    free(slot->found);
    free(slot->task);
    memset(slot, 0, sizeof(*slot));
}

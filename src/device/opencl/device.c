/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices: what they are, whether they can do it, and what lies on them. */
#include "device/opencl/device.h"

#include "device/opencl/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Describing -------------------------------------------------------------------------------------------------- */

static cl_ulong number_of(const ki_cl *cl, cl_device_id id, cl_device_info what) {
    cl_ulong value = 0;
    if (cl->clGetDeviceInfo(id, what, sizeof(value), &value, NULL) != CL_SUCCESS) return 0;
    return value;
}

static cl_uint small_number_of(const ki_cl *cl, cl_device_id id, cl_device_info what) {
    cl_uint value = 0;
    if (cl->clGetDeviceInfo(id, what, sizeof(value), &value, NULL) != CL_SUCCESS) return 0;
    return value;
}

/* The same answers to the bit need W1 (backend.h), which not every device promises. */
static const char *obstacle_of(const ki_cl *cl, cl_device_id id) {
    const cl_device_fp_config needed = CL_FP_DENORM | CL_FP_INF_NAN | CL_FP_ROUND_TO_NEAREST;
    char version[KI_DEVICE_TEXT];
    unsigned major = 0, minor = 0;
    ki_cl_text(cl, id, CL_DEVICE_VERSION, version, sizeof(version));
    if (sscanf(version, "OpenCL %u.%u", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 2))
        return "its driver is older than OpenCL 1.2";
    if (!small_number_of(cl, id, CL_DEVICE_AVAILABLE)) return "it is not available";
    if (!small_number_of(cl, id, CL_DEVICE_COMPILER_AVAILABLE)) return "its driver has no compiler";
    if (!small_number_of(cl, id, CL_DEVICE_ENDIAN_LITTLE)) return "its bytes are in another order";
    if ((number_of(cl, id, CL_DEVICE_SINGLE_FP_CONFIG) & needed) != needed)
        return "it rounds differently: it has no subnormal numbers, infinities or rounding to nearest";
    return "";
}

static void describe(const ki_cl *cl, cl_device_id id, ki_device_facts *facts) {
    memset(facts, 0, sizeof(*facts));
    ki_cl_text(cl, id, CL_DEVICE_NAME, facts->name, sizeof(facts->name));
    ki_cl_text(cl, id, CL_DRIVER_VERSION, facts->driver, sizeof(facts->driver));
    facts->memory_bytes = number_of(cl, id, CL_DEVICE_GLOBAL_MEM_SIZE);
    facts->piece_bytes = number_of(cl, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    facts->units = small_number_of(cl, id, CL_DEVICE_MAX_COMPUTE_UNITS);
    snprintf(facts->obstacle, sizeof(facts->obstacle), "%s", obstacle_of(cl, id));
}

kith_status ki_cl_describe(size_t which, ki_device_facts *facts, kith_error *error) {
    const ki_cl *cl = ki_cl_load(error);
    cl_device_id id;
    if (!cl) return KITH_E_UNSUPPORTED;
    const kith_status status = ki_cl_find(cl, which, &id, error);
    if (status == KITH_OK) describe(cl, id, facts);
    return status;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

kith_status ki_cl_make(const ki_device *device, cl_mem_flags flags, size_t bytes, const void *from, cl_mem *mem,
                       kith_error *error) {
    cl_int code = CL_SUCCESS;
    if (from) flags |= CL_MEM_COPY_HOST_PTR;
    *mem = device->cl->clCreateBuffer(device->context, flags, bytes ? bytes : 1, (void *)(uintptr_t)from, &code);
    if (code == CL_SUCCESS) return KITH_OK;
    *mem = NULL;
    return ki_cl_fail(error, code, "clCreateBuffer");
}

void ki_cl_free(const ki_device *device, cl_mem *mem) {
    if (*mem) device->cl->clReleaseMemObject(*mem);
    *mem = NULL;
}

kith_status ki_cl_grow(const ki_device *device, ki_cl_area *area, size_t bytes, kith_error *error) {
    if (area->mem && area->bytes >= bytes) return KITH_OK;
    ki_cl_free(device, &area->mem);
    area->bytes = 0;
    const kith_status status = ki_cl_make(device, CL_MEM_READ_WRITE, bytes, NULL, &area->mem, error);
    if (status == KITH_OK) area->bytes = bytes;
    return status;
}

kith_status ki_cl_keep(ki_device *device, const ki_device_blocks *blocks, int streamed, ki_device_memory **out,
                       kith_error *error) {
    enum { BLOCK = 16, ROW_BYTES = 64, FACTORS_BYTES = 64 * sizeof(float) };
    ki_device_memory *memory = calloc(1, sizeof(*memory));
    if (!memory) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    *memory = (ki_device_memory){.device = device, .blocks = blocks->count, .streamed = streamed};
    const size_t n = blocks->count;
    kith_status status =
        ki_cl_make(device, CL_MEM_READ_ONLY, n * sizeof(uint16_t), blocks->valid, &memory->valid, error);
    if (status == KITH_OK && blocks->list)
        status = ki_cl_make(device, CL_MEM_READ_ONLY, n * sizeof(uint32_t), blocks->list, &memory->list, error);
    if (status == KITH_OK && !streamed)
        status = ki_cl_make(device, CL_MEM_READ_ONLY, n * device->model.quads * ROW_BYTES, blocks->codes,
                            &memory->codes, error);
    if (status == KITH_OK && !streamed && blocks->factors)
        status = ki_cl_make(device, CL_MEM_READ_ONLY, n * FACTORS_BYTES, blocks->factors, &memory->factors, error);
    if (status == KITH_OK)
        *out = memory;
    else
        ki_cl_drop(memory);
    return status;
}

void ki_cl_drop(ki_device_memory *memory) {
    if (!memory) return;
    ki_cl_free(memory->device, &memory->codes);
    ki_cl_free(memory->device, &memory->factors);
    ki_cl_free(memory->device, &memory->list);
    ki_cl_free(memory->device, &memory->valid);
    free(memory);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static kith_status take_model(ki_device *device, const ki_device_model *model, kith_error *error) {
    device->bits = model->metric == KITH_HAMMING || model->metric == KITH_JACCARD;
    device->is_l2 = model->metric == KITH_L2SQ;
    device->dim = model->dim;
    device->lists = model->lists;
    device->model = (ki_cl_model){model->slack,          model->far_factor, model->apart_factor,
                                  (cl_uint)model->quads, model->lists != 0, model->metric == KITH_JACCARD};
    kith_status status = ki_cl_make(device, CL_MEM_READ_ONLY, 1, NULL, &device->nothing, error);
    if (status == KITH_OK && model->lists)
        status = ki_cl_make(device, CL_MEM_READ_ONLY, model->lists * model->dim * sizeof(float), model->centroids,
                            &device->centroids, error);
    if (status == KITH_OK && model->lists)
        status =
            ki_cl_make(device, CL_MEM_READ_ONLY, model->lists * sizeof(float), model->apart, &device->apart, error);
    for (unsigned t = 0; t < KI_CL_TILES && status == KITH_OK; t++)
        status = ki_cl_program(device->cl, device->context, device->id, t ? KI_CL_TILE_MANY : 1, device->bits,
                               &device->program[t], error);
    return status;
}

kith_status ki_cl_open(size_t which, const ki_device_model *model, ki_device **out, kith_error *error) {
    const ki_cl *cl = ki_cl_load(error);
    cl_device_id id;
    cl_int code = CL_SUCCESS;
    if (!cl) return KITH_E_UNSUPPORTED;
    kith_status status = ki_cl_find(cl, which, &id, error);
    if (status != KITH_OK) { /* it was there when it was described */
        if (error) error->status = KITH_E_UNSUPPORTED;
        return KITH_E_UNSUPPORTED;
    }
    ki_device_facts facts;
    describe(cl, id, &facts);
    if (facts.obstacle[0])
        return ki_cl_say(error, KITH_E_UNSUPPORTED, "OpenCL: %s cannot be used: %s", facts.name, facts.obstacle);
    ki_device *device = calloc(1, sizeof(*device));
    if (!device) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    device->cl = cl;
    device->id = id;
    device->context = cl->clCreateContext(NULL, 1, &id, NULL, NULL, &code);
    if (code != CL_SUCCESS) {
        device->context = NULL;
        status = ki_cl_fail(error, code, "clCreateContext");
    }
    if (status == KITH_OK) status = take_model(device, model, error);
    if (status == KITH_OK)
        *out = device;
    else
        ki_cl_close(device);
    return status;
}

void ki_cl_close(ki_device *device) {
    if (!device) return;
    ki_cl_free(device, &device->centroids);
    ki_cl_free(device, &device->apart);
    ki_cl_free(device, &device->nothing);
    for (int t = 0; t < KI_CL_TILES; t++)
        if (device->program[t]) device->cl->clReleaseProgram(device->program[t]);
    if (device->context) device->cl->clReleaseContext(device->context);
    free(device);
}

/* ---- The plug-in ------------------------------------------------------------------------------------------------- */

static const ki_device_backend backend = {
    .interface = KI_DEVICE_INTERFACE,
    .name = "opencl",
    .describe = ki_cl_describe,
    .open = ki_cl_open,
    .close = ki_cl_close,
    .keep = ki_cl_keep,
    .drop = ki_cl_drop,
    .stream = ki_cl_stream,
    .end = ki_cl_end,
    .begin = ki_cl_begin,
    .sample = ki_cl_sample,
    .scan = ki_cl_scan,
    .score = ki_cl_score,
    .wait = ki_cl_wait,
    .times = ki_cl_times,
};

__attribute__((visibility("default"))) ki_device_plugin ki_device_plugin_of;

__attribute__((visibility("default"))) const ki_device_backend *ki_device_plugin_of(unsigned interface) {
    return interface == KI_DEVICE_INTERFACE ? &backend : NULL;
}

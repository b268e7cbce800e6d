/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams: queries on a device, and samples of its vectors for them. */
#include "device/opencl/device.h"

#include <stdlib.h>

kith_status ki_cl_stream(ki_device *device, ki_device_stream **out, kith_error *error) {
    ki_device_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) return ki_cl_say(error, KITH_E_NOMEM, "OpenCL: out of memory");
    stream->device = device;
    kith_status status = ki_cl_take_kernel(device, 0, "find_bases", &stream->bases, error);
    for (unsigned t = 0; t < KI_CL_TILES && status == KITH_OK; t++)
        status = ki_cl_take_kernel(device, t, "sample", &stream->sample[t], error);
    for (int i = 0; i < KI_DEVICE_SLOTS && status == KITH_OK; i++)
        status = ki_cl_slot_create(device, &stream->slot[i], error);
    if (status == KITH_OK)
        *out = stream;
    else
        ki_cl_end(stream);
    return status;
}

void ki_cl_end(ki_device_stream *stream) {
    if (!stream) return;
    const ki_device *device = stream->device;
    ki_cl_area *const areas[] = {&stream->query, &stream->codes, &stream->rows, &stream->base, &stream->maxima};
    for (int i = 0; i < KI_DEVICE_SLOTS; i++) ki_cl_slot_free(device, &stream->slot[i]);
    for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) ki_cl_free(device, &areas[i]->mem);
    if (stream->bases.kernel) device->cl->clReleaseKernel(stream->bases.kernel);
    for (int t = 0; t < KI_CL_TILES; t++)
        if (stream->sample[t].kernel) device->cl->clReleaseKernel(stream->sample[t].kernel);
    free(stream);
}

static kith_status bring(ki_device_stream *stream, ki_cl_area *area, const void *from, size_t bytes,
                         kith_error *error) {
    const kith_status status = ki_cl_grow(stream->device, area, bytes, error);
    return status == KITH_OK ? ki_cl_put(stream->device, &stream->slot[0], area->mem, from, bytes, error) : status;
}

/* Bases of residual models: the sums of queries with centroids. */
static kith_status find_bases(ki_device_stream *stream, const float *rows, kith_error *error) {
    const ki_device *device = stream->device;
    const cl_uint dim = (cl_uint)device->dim, queries = (cl_uint)stream->queries, lists = (cl_uint)device->lists;
    const cl_uint is_l2 = (cl_uint)device->is_l2;
    kith_status status = bring(stream, &stream->rows, rows, stream->queries * device->dim * sizeof(float), error);
    if (status == KITH_OK)
        status = ki_cl_grow(device, &stream->base, stream->queries * device->lists * sizeof(float), error);
    if (status != KITH_OK) return status;
    const ki_cl_argument arguments[] = {KI_CL_ARGUMENT(stream->rows.mem),
                                        KI_CL_ARGUMENT(device->centroids),
                                        KI_CL_ARGUMENT(stream->base.mem),
                                        KI_CL_ARGUMENT(dim),
                                        KI_CL_ARGUMENT(queries),
                                        KI_CL_ARGUMENT(lists),
                                        KI_CL_ARGUMENT(is_l2)};
    return ki_cl_run(device, &stream->slot[0], &stream->bases, arguments, 7, stream->queries, device->lists, error);
}

kith_status ki_cl_begin(ki_device_stream *stream, const ki_device_queries *queries, uint32_t room, kith_error *error) {
    const size_t n = queries->count, code_bytes = 4 * (size_t)stream->device->model.quads;
    stream->queries = n;
    stream->room = room;
    kith_status status = bring(stream, &stream->query, queries->query, n * sizeof(*queries->query), error);
    if (status == KITH_OK) status = bring(stream, &stream->codes, queries->codes, n * code_bytes, error);
    if (status == KITH_OK && stream->device->lists && queries->rows) status = find_bases(stream, queries->rows, error);
    /* The other slot's queue reads them too. */
    const kith_status finished = ki_cl_finish(stream->device, &stream->slot[0], &stream->times, error);
    return status == KITH_OK ? finished : status;
}

kith_status ki_cl_sample(ki_device_stream *stream, const ki_device_memory *memory, ki_device_range range,
                         const uint16_t *valid, size_t groups, float *maxima, kith_error *error) {
    const ki_device *device = stream->device;
    ki_cl_slot *slot = &stream->slot[0];
    const unsigned tile = ki_cl_tile(stream);
    const size_t width = ki_cl_tile_width(tile), bytes = stream->queries * groups * sizeof(float);
    const cl_uint queries = (cl_uint)stream->queries, sets = (cl_uint)groups;
    const ki_cl_range of = {range.first, range.step, (range.end - range.first + range.step - 1) / range.step, 0,
                            valid ? range.first : 0};
    kith_status status = ki_cl_grow(device, &stream->maxima, bytes, error);
    if (status == KITH_OK && valid)
        status = bring(stream, &slot->valid, valid, (range.end - range.first) * sizeof(*valid), error);
    if (status == KITH_OK) {
        const cl_mem *nothing = &device->nothing;
        const cl_mem *factors = memory->factors ? &memory->factors : nothing;
        const cl_mem *list = memory->list ? &memory->list : nothing;
        const cl_mem *base = stream->base.mem ? &stream->base.mem : nothing;
        const cl_mem *apart = device->apart ? &device->apart : nothing;
        const ki_cl_argument arguments[] = {KI_CL_ARGUMENT(memory->codes),
                                            KI_CL_ARGUMENT(*factors),
                                            KI_CL_ARGUMENT(*list),
                                            {sizeof(cl_mem), valid ? &slot->valid.mem : &memory->valid},
                                            KI_CL_ARGUMENT(stream->codes.mem),
                                            KI_CL_ARGUMENT(stream->query.mem),
                                            KI_CL_ARGUMENT(*base),
                                            KI_CL_ARGUMENT(*apart),
                                            KI_CL_ARGUMENT(device->model),
                                            KI_CL_ARGUMENT(of),
                                            KI_CL_ARGUMENT(queries),
                                            KI_CL_ARGUMENT(sets),
                                            KI_CL_ARGUMENT(stream->maxima.mem)};
        status = ki_cl_run(device, slot, &stream->sample[tile], arguments, 13, groups,
                           (stream->queries + width - 1) / width, error);
    }
    if (status == KITH_OK) status = ki_cl_get(device, slot, stream->maxima.mem, maxima, bytes, error);
    const kith_status finished = ki_cl_finish(device, slot, &stream->times, error);
    return status == KITH_OK ? finished : status;
}

void ki_cl_times(ki_device_stream *stream, ki_device_times *add) {
    add->upload_ns += stream->times.upload_ns;
    add->compute_ns += stream->times.compute_ns;
    add->download_ns += stream->times.download_ns;
    stream->times = (ki_device_times){0};
}

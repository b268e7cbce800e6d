/* SPDX-License-Identifier: Apache-2.0
 *
 * The pair of .npy files. Their rows have one size, so that each batch is put in its place whenever it is ready: a
 * self-join's, which come in order of position, row by row where their ids say. */
#include "join/join.h"

#include "base/checked.h"
#include "base/pool.h"
#include "base/status.h"
#include "io/npy.h"

#include <stdatomic.h>
#include <string.h>

/* A row of the batch, and the output's row that it is. */
struct placed {
    uint64_t place;
    size_t row;
};

struct spread {
    ki_join_output *output;
    const struct placed *placed;
    size_t pieces;
    uint64_t data_at[KI_JOIN_PARTS];
    atomic_int failed;
    kith_error error; /* of the piece that failed first */
};

static size_t header_of(const ki_join_request *request, size_t part, char header[KI_NPY_HEADER_MAX]) {
    return ki_npy_print_header(part ? KI_ELEMENT_F4 : KI_ELEMENT_U8, request->rows, request->options.k, header);
}

static size_t element_bytes(size_t part) {
    return part ? sizeof(float) : sizeof(uint64_t);
}

uint64_t ki_join_array_bytes(const ki_join_request *request, size_t part) {
    char header[KI_NPY_HEADER_MAX];
    return header_of(request, part, header) + request->rows * request->options.k * element_bytes(part);
}

kith_status ki_join_arrays_begin(ki_join_output *output, kith_error *error) {
    char header[KI_NPY_HEADER_MAX];
    for (size_t i = 0; i < KI_JOIN_PARTS; i++) {
        const size_t bytes = header_of(output->request, i, header);
        ki_outfile *file = &output->files->part[i];
        kith_status status = ki_outfile_reserve(file, ki_join_array_bytes(output->request, i), error);
        if (status == KITH_OK) status = ki_outfile_write_at(file, header, bytes, 0, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* Rows first..first+count of the batch, which are neighbours in the output too. */
static kith_status put_run(struct spread *s, size_t first, size_t count, uint64_t place, kith_error *error) {
    const ki_join_output *output = s->output;
    const size_t k = output->request->options.k;
    const void *from[KI_JOIN_PARTS] = {output->ids + first * k, output->distances + first * k};
    kith_status status = KITH_OK;
    for (size_t i = 0; i < KI_JOIN_PARTS && status == KITH_OK; i++)
        status = ki_outfile_write_at(&output->files->part[i], from[i], count * k * element_bytes(i),
                                     s->data_at[i] + place * k * element_bytes(i), error);
    return status;
}

static void put_piece(void *context, size_t piece, unsigned worker) {
    struct spread *s = context;
    const size_t count = s->output->source->count, end = count * (piece + 1) / s->pieces;
    const struct placed *placed = s->placed;
    kith_error error = {0};
    (void)worker;
    for (size_t first = count * piece / s->pieces; first < end && !atomic_load(&s->failed);) {
        size_t run = 1;
        while (first + run < end && placed[first + run].place == placed[first].place + run &&
               placed[first + run].row == placed[first].row + run)
            run++;
        int none = KITH_OK;
        const kith_status status = put_run(s, placed[first].row, run, placed[first].place, &error);
        if (status != KITH_OK && atomic_compare_exchange_strong(&s->failed, &none, (int)status)) s->error = error;
        first += run;
    }
}

/* Row numbers are their own places. */
static kith_status place_of(const ki_join_request *request, uint64_t id, uint64_t *place, kith_error *error) {
    uint32_t position;
    *place = id;
    if (request->id_kind != KITH_ID_U64 && id < request->rows) return KITH_OK;
    if (ki_index_find_place(request->index, id, &position, place)) return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: section 'id_order' does not lead to id %llu",
                   ki_segment_path(request->index->segment), (unsigned long long)id);
}

static kith_status place_rows(const ki_join_output *output, struct placed *placed, kith_error *error) {
    const ki_join_source *source = output->source;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < source->count && status == KITH_OK; i++) {
        placed[i] = (struct placed){source->first + i, i};
        if (!output->request->queries) status = place_of(output->request, source->ids[i], &placed[i].place, error);
    }
    return status;
}

kith_status ki_join_arrays_write(ki_join_output *output, kith_error *error) {
    char header[KI_NPY_HEADER_MAX];
    if (!output->work) output->work = ki_alloc_array(output->source->capacity, sizeof(struct placed));
    if (!output->work) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", output->source->capacity);
    const kith_status status = place_rows(output, output->work, error);
    if (status != KITH_OK) return status;
    struct spread s = {.output = output, .placed = output->work};
    for (size_t i = 0; i < KI_JOIN_PARTS; i++) s.data_at[i] = header_of(output->request, i, header);
    s.pieces = output->request->queries ? 1 : 4 * ki_pool_threads(output->pool);
    atomic_init(&s.failed, KITH_OK);
    ki_pool_run(output->pool, s.pieces, put_piece, &s);
    if (atomic_load(&s.failed) && error) *error = s.error;
    return (kith_status)atomic_load(&s.failed);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * RaBitQ [Gao & Long 2024, arXiv 2405.12497] and its extension to more bits [Gao et al. 2024, arXiv 2409.09913]: a
 * residual r is rotated at random and coded by the grid point c whose direction is nearest to its own. Then
 *     |r|^2 / <r,c> * <q',c>
 * estimates <q',r> without bias over rotations, with an error of about |q'||r| tan(r,c) / sqrt(dim).
 *
 * Departures. The rotation is quant/rotate.h, of dimensions padded with zeros. The best scale of a vector's grid is
 * searched over a range around what suits normal data, not over every event. Of 8 bits, grid points are -127..127;
 * below, the odd numbers up to 2^bits - 1 either way, so that codes fit a byte. Queries are int8 codes, and scoring is
 * that of kernel/tile.h: packed codes are unpacked into work, a run of blocks at a time, for all queries of the call.
 *
 * Layout.
 *   model            the header of second_model.h, whose own part begins with the float mean |r - r^| / |r| of the
 *                    training sample (r^ the nearest multiple of r's code), then the signs of the rotation, up to a
 *                    multiple of 64 bytes
 *   block            kernel/unpack.h; of 8 bits kernel/tile.h
 *   prepared query   float scale, i32 start (kernel/tile.h), zeros up to byte 64, then the signed code bytes
 *
 * Called through quant/second.h, whose words hold here. Any thread. */
#ifndef KI_QUANT_RABITQ_H
#define KI_QUANT_RABITQ_H

#include "quant/second.h"

kith_status ki_rabitq_check(const ki_second_spec *spec, size_t dim, kith_error *error);
size_t ki_rabitq_sample(const ki_second_spec *spec);
kith_status ki_rabitq_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                            kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                            size_t *model_bytes);
/* spec, dim, model and model_bytes are filled. */
int ki_rabitq_view(ki_second *second);
size_t ki_rabitq_encode_bytes(const ki_second *second);
void ki_rabitq_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                      uint8_t *block, float *factors);
void ki_rabitq_prepare(const ki_second *second, const float *query, float *work, void *prepared);
size_t ki_rabitq_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                       const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used);

#endif

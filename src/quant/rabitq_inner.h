/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of RaBitQ share. */
#ifndef KI_QUANT_RABITQ_INNER_H
#define KI_QUANT_RABITQ_INNER_H

#include "quant/second.h"

enum {
    KI_RABITQ_BITS_MAX = 8,
    KI_RABITQ_ROOM = 4 * KI_PANEL_MAX /* hits for which ki_tile_kernels.score wants room before it goes on */
};

/* Dimensions with padding: whole periods of packed rows. */
size_t ki_rabitq_padded(size_t dim, unsigned bits);

/* x (dim floats), padded with zeros and rotated. */
void ki_rabitq_rotate(const ki_second *second, const float *x, float *rotated);

/* The mean of |r - r^| / |r| over `count` residuals, where r^ is the best multiple of r's code; 0 of none. work: padded
 * floats. */
float ki_rabitq_mean_error(const ki_second *second, const float *residuals, size_t count, float *work);

#endif

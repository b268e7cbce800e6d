/* SPDX-License-Identifier: Apache-2.0
 *
 * Eigenvectors of a symmetric matrix: Householder's reduction to three diagonals, then implicit QL steps (Bowdler,
 * Martin, Reinsch, Wilkinson: The QR and QL algorithms for symmetric matrices, 1968). In double; one owner at a
 * time. */
#ifndef KI_QUANT_SYMMETRIC_H
#define KI_QUANT_SYMMETRIC_H

#include <stddef.h>

/* matrix: n x n, symmetric, finite; destroyed. values: n, in no order; vectors: n x n, row i belongs to values[i], of
 * unit length. work: 3n. False: the steps did not converge, and the outputs mean nothing. */
int ki_symmetric_eigen(double *matrix, size_t n, double *values, double *vectors, double *work);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The first level: int8 codes of the leading principal directions, with the length of the rest inside the code.
 *
 * V is a dim x p basis, nearly orthonormal (|V'V - I| <= omega, its Frobenius norm), found by orthogonal iteration on a
 * sample. For r = x - c, and a query likewise:
 *
 *     h = V'r,    t = |r - V h|
 *     g = V'q',   s = |q' - V g|
 *
 * Then
 *
 *     <q',r> <= <g,h> + s*t + kappa terms.
 *
 * One code holds h and t: u = round(h/a) in p places, and four places of ceil(t/(2a)), so that the integer product of
 * two codes is
 *
 *     <g^,h^> + (at least) s*t,
 *
 * an upper bound with the same shape as quant/int8.h and scanned by the same kernel.
 *
 * Related: PCA-based partial distances (e.g. the energy-ordered pruning of ADSampling and PDX); ours is a proof, not a
 * test of a hypothesis, and the remainder's length costs no instruction.
 *
 * L1. Let kappa = gamma_dim * sqrt(p) + omega. For computed h, g:
 *         <q',r> <= <g,h> + s*t + 4 kappa |q'||r|, where
 *         t^2 = |r|^2 - |h|^2 + (2 kappa + 2 g)|r|^2, s likewise.
 *     (Write r = V h + rest and expand; V'rest is O(kappa|r|).)
 * L2. For every vector:
 *         t(defining kernel) <= base + a*b*<u,v> + bias + A1*|r| + B1*E1 + g2|r|^2 + C with
 *         A1 = e_g + (4 kappa + 2 g)|q'|, B1 = |g^|, E1 >= |h - a*u|;
 *     base, bias, g2, C of int8.h for this level's centre.
 * L3. Only upper bounds come from this level: what it does not rule out goes to the full codes.
 *
 * Pure functions; any thread. */
#ifndef KI_QUANT_LEVEL1_H
#define KI_QUANT_LEVEL1_H

#include "quant/int8.h"

enum { KI_LEVEL1_REST = 4, KI_LEVEL1_STEP = 64, KI_LEVEL1_MAX = 512, KI_LEVEL1_DIM_MAX = 8192 };

/* Directions (columns that carry h) of a first level of `columns` code places. */
static inline size_t ki_level1_directions(size_t columns) {
    return columns - KI_LEVEL1_REST;
}

/* kappa of L1. */
float ki_level1_kappa(size_t dim, size_t columns, double omega);

/* Code h (columns floats as projected; the last four are overwritten) of a vector with squared norm norm2. */
void ki_level1_encode(float *h, size_t dim, size_t columns, float norm2, float kappa, int8_t *code,
                      ki_int8_facts *facts);

/* Learn a basis from `count` centred sample rows (count x dim, packed). basis: dim x columns floats, the last four
 * columns zero, directions in order of falling energy. False when memory is refused. Deterministic for a seed up to
 * float rounding of the tier. */
int ki_level1_train(const float *rows, size_t count, size_t dim, size_t columns, uint64_t seed, float *basis);

/* Turn the leading columns of a trained basis (dim x trained) into the basis of a first level of `columns` places: cut
 * it and mix its directions by a random rotation. The subspace stays, and with it the length of the rest; but the mixed
 * coordinates of a vector are all of one size, where principal ones fall by orders of magnitude, and int8 codes them
 * two to four times more exactly. mixed: dim x columns. False when memory is refused. */
int ki_level1_mix(const float *basis, size_t trained, size_t dim, size_t columns, uint64_t seed, float *mixed,
                  double *omega);

/* The number of code places that a sample says is cheapest to scan, 0 when none saves at least a sixth. Rows as for
 * training, already projected on `columns` (projected: count x columns); l2: the metric is Euclidean. */
size_t ki_level1_choose(const float *rows, const float *projected, size_t count, size_t dim, size_t columns, int l2);

#endif

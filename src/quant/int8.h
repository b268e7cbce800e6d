/* SPDX-License-Identifier: Apache-2.0
 *
 * The int8 coder and its error bounds: what makes an integer product a proof about a float distance.
 *
 * A vector x is coded relative to a centre c, and a query q likewise:
 *
 *     x    r  = x - c (cosine: x/|x| - c)                    r^ = a*u, u in -127..127      E   >= |r - r^|
 *     q    q' = q (ip), q/|q| (cosine) or q - c (l2)         q^ = b*v                      e_q >= |q' - q^|
 *
 * Then
 *
 *     <q',r> = a*b*<u,v> + err,   |err| <= e_q*|r| + |q^|*E (Cauchy-Schwarz)
 *
 * and with base and bias below, t = base + <q',r> + bias is the *score*, larger is nearer:
 *
 *     ip       base = <q,c>         bias = 0            t = <q,x>       = -distance
 *     cosine   base = <q',c>        bias = 0            t = cos         = 1 - distance
 *     l2       base = -|q'|^2/2     bias = -|r|^2/2     t = -|q-x|^2/2  = -distance/2
 *
 * B1. Let g = (dim/16 + 16) * 2^-23: it covers, twice over, the rounding of any sum of dim products taken in sixteen
 *     chains (gamma_n with n = dim/16 + 8), hence of the defining kernel, of |r|^2 and of |q'|^2.
 * B2. For every vector
 *         |t(defining kernel) - (base + a*b*<u,v> + bias)| <= A*|r| + B*E + g2*|r|^2 + C,
 *     where
 *         A = e_q + 2g|q'|,   B = |q^|,   g2 = 2g for l2 and 0 otherwise,
 *         ip       C = 2g|q'||c| + 2^-20 |base|
 *         cosine   C = 2g|q'||c| + 2^-20 |base| + 4g + 2^-19
 *         l2       C = 2g|q'|^2
 *     (Cosine: dot(q,x) is off by at most g/2 |q||x|, dot(q,q) and dot(x,x) by g/2 of themselves and the root of their
 *     product by as much: together g. One rounding to float, at most 2 large, is 2^-24; cutting to 0..2, where the true
 *     distance lies, only comes nearer. What 4g + 2^-19 leaves is for q/|q| and x/|x|, which are rounded themselves.)
 *     Stored norms and errors are rounded up (2^-11 relative plus 2^-60 sqrt(dim), which outlasts underflow of
 *     squares).
 * B3. Integer values inside the code range are coded as themselves (a = 1, E = 0, c whole numbers).
 *     Where query and vector are both coded so and no sum can pass 2^24 (see KI_WHOLE_NORM), every sum on the way is a
 *     whole number, or half of one, that a float holds: then the score is that of the defining kernel, to the bit.
 * B4. Codes of lists are relative to the list's centroid c_l (r = x - c_l), while a query keeps one code, relative to
 *     the centre m of all vectors. The score is as above with
 *         ip, cosine   base = <q',c_l>         bias = 0                          |c| the longest of the centroids
 *         l2           base = -|q-c_l|^2/2     bias = -(<c_l-m,r> + |r|^2/2)     q' = q - m
 *     since
 *         -|q-x|^2/2 = -|q-c_l|^2/2 + <q-m,r> - <c_l-m,r> - |r|^2/2.
 *     Bounds as in B2 but for l2: the bias, made in double, is rounded once and is at most |c_l-m||r| + |r|^2/2, so
 *         A = e_q + 2g(|q'| + |c_l-m|),   C = 2g|q-c_l|^2.
 *     (The longest |c_l-m| in place of the list's own would be as true, and useless where a few vectors are a million
 *     times as long as the others.)
 *
 * Pure functions; any thread. */
#ifndef KI_QUANT_INT8_H
#define KI_QUANT_INT8_H

#include "kith.h"

enum { KI_CODE_OFFSET = 128, KI_CODE_MAX = 127 };

/* B3 for whole numbers whose residuals, and with ip the centre, are no longer than this.
 *     l2   |q'|^2/2 and |r|^2/2 are at most 2^21, the product 2^22, all in halves; |q-x|^2 at most 2^24, and so is each
 *          part of the kernel's sum.
 *     ip   <q,c> and <q,r> are at most 2^22, and no part of the kernel's sum is larger than |q|(|c|+|r|). */
enum { KI_WHOLE_NORM = 2048 };

/* What a coded vector carries. */
typedef struct ki_int8_facts {
    float scale;    /* a */
    float norm;     /* >= |r| */
    float error;    /* >= |r - a*u| */
    int32_t sum;    /* of u */
    int64_t square; /* sum u^2 */
} ki_int8_facts;

/* g of B1. */
float ki_rounding(size_t dim);

/* Upper bounds on lengths from a computed sum of squares. */
float ki_length_above(float norm2, size_t dim);

/* Code r (dim floats, finite) whose largest magnitude and squared norm are given. code: dim signed bytes. */
void ki_int8_encode(const float *r, size_t dim, float largest, float norm2, int8_t *code, ki_int8_facts *facts);

/* True if every value is a whole number in low..high. */
int ki_int8_is_whole(const float *x, size_t dim, float low, float high);

/* Code whole numbers as themselves (B3): r in -128..127. */
void ki_int8_encode_whole(const float *r, size_t dim, float norm2, int8_t *code, ki_int8_facts *facts);

#endif

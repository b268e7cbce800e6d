/* SPDX-License-Identifier: Apache-2.0 */
#include "draw.h"

#include <string.h>

ki_rng traffic_stream(uint64_t seed, enum traffic_purpose purpose, uint64_t key) {
    ki_rng rng = {.state = seed + (uint64_t)purpose * UINT64_C(0xD1B54A32D192ED03)};
    rng.state = ki_rng_next(&rng) ^ key;
    rng.state = ki_rng_next(&rng);
    return rng;
}

static double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* 2 atanh(s) / s for |s| <= 0.2: the first term left out is below 2^-53 of the sum. */
static double atanh_series(double s) {
    const double q = s * s;
    double sum = 0;
    for (int n = 23; n >= 1; n -= 2) sum = sum * q + 2.0 / n;
    return sum;
}

double traffic_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int64_t exponent = (int64_t)(bits >> 52) - 1023;
    double m = from_bits((bits & UINT64_C(0x000FFFFFFFFFFFFF)) | UINT64_C(0x3FF0000000000000));
    if (m > 0x1.6a09e667f3bcdp+0) { /* root of 2: keeps s small, and log(1 - tiny) from cancelling */
        m *= 0.5;
        exponent++;
    }
    const double s = (m - 1) / (m + 1);
    const double e = (double)exponent;
    /* log 2 in two parts, the first with so few digits that e times it is exact. */
    return e * 0x1.62e42fefa38p-1 + (s * atanh_series(s) + e * 0x1.ef35793c7673p-45);
}

/* (exp(x) - 1) / x for |x| <= 0.5 by Taylor's series. */
static double expm1_series(double x) {
    double sum = 1;
    for (int n = 16; n >= 2; n--) sum = 1 + sum * x / n;
    return sum;
}

double traffic_exp(double x) {
    if (x < -708) return 0;
    if (x > 709) return DBL_MAX;
    const double turns = x * 0x1.71547652b82fep+0;
    const int64_t n = (int64_t)(turns + (turns < 0 ? -0.5 : 0.5));
    const double r = (x - (double)n * 0x1.62e42fefa38p-1) - (double)n * 0x1.ef35793c7673p-45;
    return (1 + r * expm1_series(r)) * from_bits((uint64_t)(n + 1023) << 52);
}

double traffic_log1p_over(double x) {
    if (x < -0.3 || x > 0.4) return traffic_log(1 + x) / x;
    const double s = x / (2 + x);
    return atanh_series(s) / (2 + x);
}

double traffic_expm1_over(double x) {
    return x < -0.5 || x > 0.5 ? (traffic_exp(x) - 1) / x : expm1_series(x);
}

double traffic_exponential(ki_rng *rng) {
    return -traffic_log(1 - ki_rng_unit(rng));
}

double traffic_lognormal(ki_rng *rng, double mu, double sigma) {
    return traffic_exp(mu + sigma * ki_rng_normal(rng));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The hat is h(x) = x^-s; its integral H(x) = (x^(1-s) - 1) / (1-s) is inverted at a uniform point. Written with
 * (exp t - 1) / t and log(1 + t) / t, the formulas hold at s = 1, where H is the logarithm, and near it. */
#include "zipf.h"

static double hat(const struct traffic_zipf *zipf, double x) {
    return traffic_exp(-zipf->exponent * traffic_log(x));
}

static double integral(const struct traffic_zipf *zipf, double x) {
    const double log_x = traffic_log(x);
    return traffic_expm1_over((1 - zipf->exponent) * log_x) * log_x;
}

static double inverse(const struct traffic_zipf *zipf, double y) {
    double t = y * (1 - zipf->exponent);
    if (t <= -1) t = -1 + 0x1p-53; /* rounding, at large exponents: the end of the hat */
    return traffic_exp(traffic_log1p_over(t) * y);
}

void traffic_zipf_init(struct traffic_zipf *zipf, double exponent) {
    zipf->exponent = exponent;
    zipf->first = integral(zipf, 1.5) - 1;
    zipf->shortcut = 2 - inverse(zipf, integral(zipf, 2.5) - hat(zipf, 2));
}

double traffic_zipf_limit(const struct traffic_zipf *zipf, uint64_t n) {
    return integral(zipf, (double)n + 0.5);
}

uint64_t traffic_zipf_draw(const struct traffic_zipf *zipf, uint64_t n, double limit, ki_rng *rng) {
    for (;;) {
        const double y = limit + ki_rng_unit(rng) * (zipf->first - limit);
        const double x = inverse(zipf, y);
        uint64_t rank = x < (double)n ? (uint64_t)(x + 0.5) : n;
        if (rank < 1) rank = 1;
        if (rank > n) rank = n;
        const double k = (double)rank;
        if (k - x <= zipf->shortcut || y >= integral(zipf, k + 0.5) - hat(zipf, k)) return rank;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A confidence interval of recall: Wilson's score interval [Wilson 1927], with as many observations as the results are
 * worth. The results of one query resemble each other (a query is hard or it is not), so that k of them tell less than
 * k of different queries would. By how much is the design effect [Kish 1965]: the variance of the ratio estimator over
 * queries [Cochran 1977], divided by what independent results would have. Where all were found the variance of a sample
 * is zero, which says nothing about the next query: so one query of which half was found is added to those that were
 * seen when the variance is estimated (not to the mean). n queries without a miss are then worth 2 n results. */
#include "watch/interval.h"

#include <math.h>

void ks_window_add(ks_window *window, size_t found, size_t sought) {
    if (!sought || sought > UINT16_MAX || found > sought) return;
    window->found[window->next] = (uint16_t)found;
    window->sought[window->next] = (uint16_t)sought;
    window->next = (window->next + 1) % KS_WINDOW;
    if (window->used < KS_WINDOW) window->used++;
    window->checked++;
}

/* How many independent results the window's are worth. */
static double worth(const ks_window *window, double found, double sought) {
    const double typical = sought / (double)window->used;
    const double all = sought + typical, share = (found + typical / 2) / all;
    double squares = (typical / 2 - share * typical) * (typical / 2 - share * typical);
    for (size_t i = 0; i < window->used; i++) {
        const double off = window->found[i] - share * window->sought[i];
        squares += off * off;
    }
    const double n = (double)window->used + 1;
    const double variance = squares / (all * all) * n / (n - 1);
    const double effect = variance / (share * (1 - share) / all);
    return sought / (effect > 1 ? effect : 1);
}

int ks_window_interval(const ks_window *window, double *mean, double *low, double *high) {
    double found = 0, sought = 0;
    for (size_t i = 0; i < window->used; i++) {
        found += window->found[i];
        sought += window->sought[i];
    }
    if (window->used == 0) return 0;
    const double z = 1.959963984540054, share = found / sought, n = worth(window, found, sought);
    const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *mean = share;
    *low = fmax(0, fmin(share, centre - half));
    *high = fmin(1, fmax(share, centre + half));
    return 1;
}

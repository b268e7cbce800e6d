/* SPDX-License-Identifier: Apache-2.0
 *
 * How many servers there should be. */
#include "fleet/scale.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* More servers do not make idle ones quicker: below this the p99 has other reasons. */
#define IDLE_BUSY 0.1
/* A p99 beyond its bound asks for at most twice the servers: how far it is beyond says little of how many would do. */
#define LATE_MOST 2.0
/* What was learned of p99 is forgotten by a factor e in a day; a guess. */
#define FORGETS_S (24.0 * 3600)
/* So many late looks in a row ask for more servers, and say that these were too busy: one may have seen anything. */
enum { LATE_LOOKS = 2 };

ks_scale_options ks_scale_defaults(void) {
    return (ks_scale_options){
        .min = 1, .max = 10, .busy = 0.6, .queue = 8, .tolerance = 0.1, .surge = 4, .drop = 0.5, .steady_s = 300};
}

const char *ks_scale_check(const ks_scale_options *options) {
    if (options->min < 1 || options->min > options->max || options->max > KS_SCALE_SERVERS_MAX)
        return "the least and the most servers must be 1 <= min <= max <= 10,000";
    if (!(options->busy >= 0.05 && options->busy <= 0.95)) return "the wanted utilisation must lie in 0.05 to 0.95";
    if (!(options->p99_ms >= 0 && options->p99_ms <= 1e7)) return "the bound of p99 must lie in 0 to 10,000 s";
    if (!(options->queue >= 0 && options->queue <= 1e9)) return "the bound of the queue must lie in 0 to 1e9 calls";
    if (!(options->tolerance >= 0 && options->tolerance <= 1)) return "the tolerance must lie in 0 to 1";
    if (!(options->surge >= 1.1 && options->surge <= 1000)) return "the surge must lie in 1.1 to 1,000";
    if (!(options->drop > 0 && options->drop <= 1)) return "the share that may go in one step must lie in 0 to 1";
    if (!(options->steady_s >= 0 && options->steady_s <= 86400)) return "the patience must lie in 0 to a day";
    return NULL;
}

const char *ks_scale_reason_text(ks_scale_reason reason) {
    static const char *const texts[] = {
        [KS_SCALE_STEADY] = "nothing is to be changed",
        [KS_SCALE_BUSY] = "servers are busier than they should be",
        [KS_SCALE_QUEUE] = "more calls wait than should",
        [KS_SCALE_LATE] = "the 99th percentile is beyond its bound",
        [KS_SCALE_IDLE] = "fewer will do",
        [KS_SCALE_PATIENCE] = "fewer would do now, but have not for long enough",
        [KS_SCALE_NOBODY] = "no server answers, so what was wanted is kept",
        [KS_SCALE_BOUNDS] = "brought within the least and the most",
    };
    return texts[reason];
}

static unsigned within(const ks_scale_options *options, double servers) {
    if (!(servers > options->min)) return options->min;
    return servers < options->max ? (unsigned)servers : options->max;
}

void ks_scale_start(ks_scale *scale, const ks_scale_options *options, unsigned desired) {
    const ks_scale_options own = *options; /* which may be those of the same scale */
    memset(scale, 0, sizeof(*scale));
    scale->options = own;
    scale->desired = desired;
    scale->too_busy = 1;
    for (size_t i = 0; i < KS_SCALE_SLOTS; i++) scale->slots[i].number = INT64_MIN;
}

/* Take a ratio of what is to what should be, where it asks for more than what was asked for so far. */
static void ask(double *most, ks_scale_reason *reason, double ratio, ks_scale_reason why) {
    if (!(ratio > *most)) return;
    *most = ratio;
    *reason = why;
}

unsigned ks_scale_wish(const ks_scale *scale, const ks_scale_sample *sample, ks_scale_reason *reason) {
    const ks_scale_options *options = &scale->options;
    const double wanted = fmin(options->busy, scale->too_busy), busy = fmax(sample->busy, 0) / wanted;
    double ratio = fabs(busy - 1) <= options->tolerance ? 1 : busy;
    *reason = ratio > 1 ? KS_SCALE_BUSY : ratio < 1 ? KS_SCALE_IDLE : KS_SCALE_STEADY;
    if (options->queue > 0 && !scale->grown) {
        const double queue = sample->queue / (options->queue * sample->servers);
        if (queue > 1 + options->tolerance) ask(&ratio, reason, queue, KS_SCALE_QUEUE);
    }
    if (options->p99_ms > 0 && sample->busy >= IDLE_BUSY && scale->late >= LATE_LOOKS) {
        const double late = sample->p99_ms / options->p99_ms;
        if (late > 1 + options->tolerance) ask(&ratio, reason, fmin(late, LATE_MOST), KS_SCALE_LATE);
    }
    /* A little is taken off, so that 3 x (2 / 3 of something) is not rounded up to 3. */
    return within(options, ceil(fmin(ratio, options->surge) * sample->servers - 1e-9));
}

/* I3. Not while servers start or have just come: what was late then was late for want of them. */
static void learn(ks_scale *scale, const ks_scale_sample *sample) {
    const ks_scale_options *options = &scale->options;
    const double passed = scale->looked ? sample->time_s - scale->last_s : 0;
    const int late = options->p99_ms > 0 && sample->p99_ms > options->p99_ms * (1 + options->tolerance);
    scale->grown = scale->looked && sample->servers > scale->servers;
    scale->too_busy = fmin(1, scale->too_busy * exp(fmax(passed, 0) / FORGETS_S));
    scale->late = late && !scale->grown && sample->servers >= scale->desired ? scale->late + 1 : 0;
    if (scale->late >= LATE_LOOKS && sample->busy >= IDLE_BUSY)
        scale->too_busy = fmax(IDLE_BUSY, fmin(scale->too_busy, 0.9 * sample->busy));
    scale->servers = sample->servers;
    scale->last_s = sample->time_s;
    scale->looked = 1;
}

/* The highest wish of the last steady_s. */
static unsigned remember(ks_scale *scale, double time_s, unsigned wish) {
    if (!(scale->options.steady_s > 0)) return wish;
    const int64_t number = (int64_t)floor(time_s / scale->options.steady_s * (KS_SCALE_SLOTS - 1));
    unsigned most = wish;
    for (size_t i = 0; i < KS_SCALE_SLOTS; i++) {
        if (scale->slots[i].number > number - KS_SCALE_SLOTS && scale->slots[i].number <= number &&
            scale->slots[i].wish > most)
            most = scale->slots[i].wish;
    }
    const size_t place = (size_t)(((number % KS_SCALE_SLOTS) + KS_SCALE_SLOTS) % KS_SCALE_SLOTS);
    if (scale->slots[place].number != number || scale->slots[place].wish < wish) {
        scale->slots[place].number = number;
        scale->slots[place].wish = wish;
    }
    return most;
}

unsigned ks_scale_next(ks_scale *scale, const ks_scale_sample *sample, ks_scale_reason *reason) {
    const ks_scale_options *options = &scale->options;
    const unsigned before = within(options, scale->desired);
    ks_scale_reason why = KS_SCALE_NOBODY;
    if (sample->servers) {
        /* Whoever starts looking has not seen yet that fewer would do. */
        if (!scale->looked) (void)remember(scale, sample->time_s, before);
        learn(scale, sample);
        const unsigned wish = ks_scale_wish(scale, sample, &why), most = remember(scale, sample->time_s, wish);
        if (wish > before) {
            scale->desired = wish;
        } else if (most < before) {
            const double least = floor((double)before * (1 - options->drop));
            scale->desired = within(options, fmax(most, least));
            why = KS_SCALE_IDLE;
        } else {
            if (wish >= before || why != KS_SCALE_IDLE) why = KS_SCALE_STEADY;
            if (wish < before) why = KS_SCALE_PATIENCE;
            if (before != scale->desired) why = KS_SCALE_BOUNDS;
            scale->desired = before;
        }
    } else {
        scale->desired = before;
    }
    if (reason) *reason = why;
    return scale->desired;
}

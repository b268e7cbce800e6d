/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes metrics as Prometheus reads them: the text format 0.0.4, and OpenMetrics 1.0, which differ in little.
 *
 * 1. A family begins with its name, which has neither "_total" nor another suffix: the writer adds those.
 * 2. Values of labels may be any UTF-8: what must be escaped is. */
#ifndef KITH_SERVER_WATCH_SCRAPE_H
#define KITH_SERVER_WATCH_SCRAPE_H

#include <stdint.h>

#include "http/text.h"

typedef enum ks_family_type { KS_GAUGE, KS_COUNTER, KS_HISTOGRAM, KS_INFO } ks_family_type;

typedef struct ks_scrape {
    ks_text *text;
    int open;         /* OpenMetrics */
    const char *name; /* of the family */
    ks_family_type type;
} ks_scrape;

typedef struct ks_label {
    const char *name, *value; /* value NULL: the label is left out */
} ks_label;

/* unit: NULL, or what the name ends in: "seconds", "bytes", "ratio". */
void ks_scrape_family(ks_scrape *scrape, const char *name, ks_family_type type, const char *unit, const char *help);
void ks_scrape_uint(ks_scrape *scrape, const ks_label *labels, size_t count, uint64_t value);
void ks_scrape_real(ks_scrape *scrape, const ks_label *labels, size_t count, double value);

/* bounds: as they are written ("0.5"), one fewer than there are buckets, the last of which has what lies above all. */
typedef struct ks_scrape_histogram {
    const char *const *bounds;
    const uint64_t *buckets; /* not cumulated */
    size_t count;
    double sum;
} ks_scrape_histogram;
void ks_scrape_buckets(ks_scrape *scrape, const ks_label *label, const ks_scrape_histogram *histogram);
void ks_scrape_end(ks_scrape *scrape);

#endif

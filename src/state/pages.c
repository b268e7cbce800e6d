/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages as a whole: made, ended, stopped. */
#include "state/pages.h"

#include "base/checked.h"

enum { WORDS = KI_STRIPES / 64 };

ki_pages *ki_pages_create(uint64_t budget, const ki_made *made) {
    ki_pages *pages = ki_alloc_array_zeroed(1, sizeof(*pages));
    if (!pages) return NULL;
    pages->cache = ki_cache_create(budget);
    int fine = pages->cache != NULL;
    if (fine && made->segment_field && *made->segment_field) {
        pages->touched.changed = ki_alloc_array_zeroed(KI_STRIPES, sizeof(*pages->touched.changed));
        pages->touched.noted = ki_alloc_array_zeroed(WORDS, sizeof(*pages->touched.noted));
        fine = pages->touched.changed && pages->touched.noted;
    }
    if (fine) return pages;
    ki_pages_destroy(pages);
    return NULL;
}

void ki_pages_destroy(ki_pages *pages) {
    if (!pages) return;
    ki_cache_destroy(pages->cache);
    free(pages->touched.changed);
    free(pages->touched.noted);
    ki_values_free(&pages->touched.values);
    free(pages);
}

void ki_pages_stop(ki_pages *pages) {
    if (pages) atomic_store(&pages->stopped, 1);
}

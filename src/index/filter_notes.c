/* SPDX-License-Identifier: Apache-2.0 */
#include "index/filter_notes.h"

#include "base/checked.h"

#include <stdlib.h>

ki_filter_counts *ki_filter_counts_create(void) {
    ki_filter_counts *counts = ki_alloc_array_zeroed(1, sizeof(*counts));
    if (!counts) return NULL;
    atomic_init(&counts->lists, NULL);
    atomic_init(&counts->touched, -1.0);
    return counts;
}

void ki_filter_counts_destroy(ki_filter_counts *counts) {
    if (!counts) return;
    free(atomic_load(&counts->lists));
    free(counts);
}

ki_filter_notes *ki_filter_notes_create(void) {
    ki_filter_notes *notes = ki_alloc_array_zeroed(1, sizeof(*notes));
    if (!notes) return NULL;
    atomic_init(&notes->references, 1);
    atomic_init(&notes->bytes, sizeof(*notes));
    atomic_init(&notes->spent_ns, 0);
    atomic_init(&notes->studies, NULL);
    atomic_init(&notes->studied_ns, 0);
    atomic_init(&notes->due, KI_STUDY_NONE);
    atomic_flag_clear(&notes->busy);
    return notes;
}

ki_filter_notes *ki_filter_notes_hold(ki_filter_notes *notes) {
    atomic_fetch_add_explicit(&notes->references, 1, memory_order_relaxed);
    return notes;
}

void ki_filter_notes_release(ki_filter_notes *notes) {
    if (!notes || atomic_fetch_sub_explicit(&notes->references, 1, memory_order_acq_rel) != 1) return;
    ki_filter_study *study = atomic_load(&notes->studies);
    while (study) {
        ki_filter_study *before = study->before;
        ki_calibration_free(&study->calibration);
        ki_calibration_free(&study->unguarded);
        free(study);
        study = before;
    }
    free(notes->asked);
    free(notes);
}

/* Settings of a larger k are safe for a smaller one, and cost more. */
const ki_filter_study *ki_filter_notes_find(ki_filter_notes *notes, size_t k) {
    const ki_filter_study *found = NULL;
    for (const ki_filter_study *s = atomic_load(&notes->studies); s; s = s->before)
        if (s->k >= k && s->k - k <= k / 4 && (!found || s->k < found->k)) found = s;
    return found;
}

void ki_filter_notes_add(ki_filter_notes *notes, ki_filter_study *study) {
    study->before = atomic_load(&notes->studies);
    const size_t settings = study->calibration.count + study->unguarded.count;
    atomic_fetch_add_explicit(&notes->bytes, sizeof(*study) + settings * sizeof(kith_tuned), memory_order_relaxed);
    atomic_store(&notes->studies, study);
}

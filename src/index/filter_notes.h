/* SPDX-License-Identifier: Apache-2.0
 *
 * What searches find out about a filter and keep with it, so that the next one need not: *counts*, how its vectors lie
 * in lists and blocks; and *notes*, what it costs, and what a study of it has measured (search/study.h). Counts are of
 * these vectors alone. Notes are true enough of a filter that lets a few more or less through: a collection keeps them
 * while items come and go.
 *
 * F1. What is kept never changes once others can see it, and lives as long as the counts or notes: who makes the same
 *     thing at the same time as another drops his own.
 * F2. Queries are kept, and a filter is studied, by one thread at a time; others search as before meanwhile.
 *
 * Any thread. */
#ifndef KI_INDEX_FILTER_NOTES_H
#define KI_INDEX_FILTER_NOTES_H

#include "index/calibration.h"

#include <stdatomic.h>

/* What plans find and cost where this filter is: settings as of a calibration, measured with it. */
typedef struct ki_filter_study {
    size_t k, samples;
    uint64_t spent_ns; /* that searches had taken by then */
    uint64_t name;     /* a hash of all of it */
    ki_calibration calibration;
    ki_calibration unguarded; /* plan ivf, thin queries not searched exactly (planner.h P3); count 0: none */
    struct ki_filter_study *before;
} ki_filter_study;

typedef struct ki_filter_counts {
    _Atomic(uint32_t *) lists; /* allowed vectors of each list; NULL: not counted yet */
    _Atomic double touched;    /* the share of blocks that hold some; negative: not counted yet */
} ki_filter_counts;

/* Where searches leave studies to others (kith_filter.later): whether one is wanted. */
enum { KI_STUDY_NONE, KI_STUDY_WANTED, KI_STUDY_WAITS };

typedef struct ki_filter_notes {
    _Atomic uint64_t references;
    _Atomic uint64_t bytes;             /* that they take, about */
    _Atomic uint64_t spent_ns;          /* that searches took which the planner planned */
    _Atomic uint64_t studied_ns;        /* that studies took */
    _Atomic(ki_filter_study *) studies; /* the latest */
    atomic_int due;                     /* KI_STUDY_... */
    size_t due_k;                       /* of the search that wanted it, and its target; constant while due is not 0 */
    double due_target;
    atomic_flag busy;               /* F2: somebody studies, or keeps queries */
    float *asked;                   /* queries of late, for studies; under `busy` */
    size_t asked_room, asked_count; /* how many fit, and have been kept so far */
} ki_filter_notes;

ki_filter_counts *ki_filter_counts_create(void);         /* NULL: out of memory */
void ki_filter_counts_destroy(ki_filter_counts *counts); /* NULL is fine */

ki_filter_notes *ki_filter_notes_create(void); /* NULL: out of memory */
ki_filter_notes *ki_filter_notes_hold(ki_filter_notes *notes);
void ki_filter_notes_release(ki_filter_notes *notes); /* NULL is fine */

/* The latest study that tells about k; NULL: there is none. */
const ki_filter_study *ki_filter_notes_find(ki_filter_notes *notes, size_t k);
/* By the thread that studies. Takes it over. */
void ki_filter_notes_add(ki_filter_notes *notes, ki_filter_study *study);

#endif

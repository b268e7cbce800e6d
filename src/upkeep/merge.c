/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging: which segments become one, and how.
 *
 * The smallest segments are merged, as many of them as there can be while the result is several times as large as the
 * largest of them: GROWTH_BUSY while somebody writes, GROWTH_IDLE else. So a row that is written again lies in a
 * segment that is so many times larger than before: it is written again log(rows / rows of the first seal) /
 * log(growth) times at most. And where nothing is to be merged, each segment holds more than 1 / (growth - 1) of what
 * all smaller ones hold together: few segments, of sizes that fall off fast.
 *
 * Growth 3 in 10,000 seals of equal size: at most 15 segments, 8 on average, and each row is written again 5.5 times
 * (4.2 times in the first 1,000 seals). Growth 2: 13, 6.5 and 6.7; growth 4: 18, 9.7 and 5.0; growth 8: 31, 15 and 4.1.
 * An exact search takes some 50 us a segment of ten to fifty thousand rows, a build some 50 us a row.
 *
 * While somebody writes, segments are made in haste (job_build.c), and merges that are worth more than that wait: see
 * maintain_thread.c. What was made in haste is made well when nobody writes. Where searches with a target recall pay for
 * it, or have (one of the segments has lists), lists are made in haste too.
 *
 * What belongs to one large tenant alone (split.c) is merged with its like only, never in haste: all this is said of
 * such a group, or of the segments that tenants share.
 *
 * Besides: a segment whose dead rows are DEAD_SHARE of it is written again alone; no more than LARGE_MOST large ones (a
 * LARGE_PART of all rows) stand beside each other; and no merge makes more rows than a segment may have. */
#include "base/checked.h"
#include "base/status.h"
#include "upkeep/calibrate.h"

#include <string.h>

enum {
    LARGE_PART = 8,
    LARGE_MOST = 3,
    DEAD_PERCENT = 30,
    DEAD_LEAST = 64,
    DEAD_WORTH = 2, /* so a fifth replaced, and a pause, make one segment again. A guess */
    /* While somebody writes, fewer rows are not divided among lists: that costs five times as much (52 instead of 10 us
     * a row of 384 floats), gains little before plans are measured, and they are soon merged again. */
    HASTY_BELOW = 40000
};
static const double GROWTH_BUSY = 3, GROWTH_IDLE = 1.5;

/* ---- The choice -------------------------------------------------------------------------------------------------- */

static uint64_t live(const ki_merge_size *size) {
    return size->rows - size->dead;
}

/* The number of the largest segment among those not yet `taken`, `count` if there is none; by rank: 0 the smallest. */
static size_t smallest(const ki_merge_size *size, size_t count, const unsigned char *taken) {
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (!taken[i] && (best == count || live(&size[i]) < live(&size[best]))) best = i;
    return best;
}

/* How many of the smallest make something `growth` times as large as the largest of them, of `most` rows; 0: none. A
 * dead row that goes counts as DEAD_WORTH rows: searches pass it, and it takes its place on the disk. */
static size_t run_of(const ki_merge_size *size, const size_t *order, size_t count, double growth, uint64_t most) {
    uint64_t sum = 0, dead = 0;
    size_t run = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t rows = live(&size[order[i]]);
        sum += rows;
        dead += size[order[i]].dead;
        if (sum > most) break;
        if (i && (double)(sum + DEAD_WORTH * dead) >= growth * (double)rows) run = i + 1;
    }
    return run;
}

/* How many of the smallest to merge so that no more than LARGE_MOST large ones stay; 0: there are no more. */
static size_t too_many_large(const ki_merge_size *size, const size_t *order, size_t count) {
    uint64_t all = 0, sum = 0;
    size_t large = 0;
    for (size_t i = 0; i < count; i++) all += live(&size[i]);
    for (size_t i = 0; i < count; i++) large += live(&size[i]) >= all / LARGE_PART;
    if (large <= LARGE_MOST) return 0;
    const size_t run = count - (LARGE_MOST - 1); /* what remains large: the others, and what is made of these */
    for (size_t i = 0; i < run; i++) sum += live(&size[order[i]]);
    return sum <= KITH_ROWS_MAX ? run : 0;
}

/* How many of the smallest, up to the first that was measured: in haste it would become one that searches with a target
 * recall look at as a whole. */
static size_t before_measured(const ki_merge_size *size, const size_t *order, size_t count) {
    size_t i = 0;
    while (i < count && !size[order[i]].measured) i++;
    return i;
}

static size_t mostly_dead(const ki_merge_size *size, size_t count, unsigned char *chosen) {
    size_t worst = count;
    for (size_t i = 0; i < count; i++) {
        if (size[i].dead < DEAD_LEAST || (double)size[i].dead * 100 < (double)size[i].rows * DEAD_PERCENT) continue;
        if (worst == count || size[i].dead > size[worst].dead) worst = i;
    }
    if (worst == count) return 0;
    chosen[worst] = 1;
    return 1;
}

/* Where nothing else is to be done, one that was made in haste is made well: the largest first. */
static size_t made_in_haste(const ki_merge_size *size, size_t count, unsigned char *chosen) {
    size_t largest = count;
    for (size_t i = 0; i < count; i++)
        if (size[i].flat && (largest == count || live(&size[i]) > live(&size[largest]))) largest = i;
    if (largest == count) return 0;
    chosen[largest] = 1;
    return 1;
}

size_t ki_merge_choose(const ki_merge_size *size, size_t count, ki_merge_when when, unsigned char *chosen) {
    size_t *order = ki_alloc_array(count, sizeof(*order));
    memset(chosen, 0, count);
    if (!order) return 0;
    for (size_t i = 0; i < count; i++) {
        order[i] = smallest(size, count, chosen);
        chosen[order[i]] = 1;
    }
    memset(chosen, 0, count);
    const int hasty = when == KI_MERGE_HASTE;
    size_t run = run_of(size, order, hasty ? before_measured(size, order, count) : count,
                        when == KI_MERGE_IDLE ? GROWTH_IDLE : GROWTH_BUSY, hasty ? HASTY_BELOW - 1 : KITH_ROWS_MAX);
    if (!run && !hasty) run = too_many_large(size, order, count);
    for (size_t i = 0; i < run; i++) chosen[order[i]] = 1;
    free(order);
    if (!run && !hasty) run = mostly_dead(size, count, chosen);
    return run || when != KI_MERGE_IDLE ? run : made_in_haste(size, count, chosen);
}

/* ---- The verbs --------------------------------------------------------------------------------------------------- */

static int is_known(const ki_sealed *sealed) {
    for (size_t s = 0; s < sealed->specs; s++)
        if (sealed->tuned[s].known) return 1;
    return 0;
}

/* With care. What was made in haste, or is small, is measured with few queries each time that it is merged. */
static int is_measured(const ki_sealed *sealed) {
    return !sealed->flat && ki_table_rows(sealed->table) >= KI_CALIBRATED_FROM && is_known(sealed);
}

static kith_status add_chosen(ki_job *job, const ki_snapshot *snapshot, const unsigned char *chosen,
                              kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t i = 0; i < snapshot->sealed_count && status == KITH_OK; i++)
        if (chosen[i]) status = ki_job_add(job, NULL, snapshot->sealed[i].sealed, snapshot->sealed[i].alive, error);
    return status;
}

static int has_measured(const ki_job *job) {
    for (size_t o = 0; o < job->origins; o++)
        if (is_measured(job->origin[o].sealed)) return 1;
    return 0;
}

static int has_known(const ki_job *job) {
    for (size_t o = 0; o < job->origins; o++)
        if (is_known(job->origin[o].sealed)) return 1;
    return 0;
}

/* Merge the chosen segments of a snapshot, which is let go of as soon as they are held. */
static kith_status merge(kith_collection *collection, ki_snapshot *snapshot, const unsigned char *chosen,
                         ki_merge_when when, ki_watch *watch, kith_error *error) {
    ki_job job;
    ki_job_begin(collection, snapshot, "merging", watch, &job);
    for (size_t i = 0; i < snapshot->sealed_count && !job.own; i++)
        job.own = chosen[i] && ki_split_group(collection, snapshot, i);
    kith_status status = add_chosen(&job, snapshot, chosen, error);
    ki_snapshot_release(snapshot);
    if (status == KITH_OK) status = ki_job_gather(&job, error);
    job.hasty = when != KI_MERGE_IDLE && job.rows < HASTY_BELOW && !job.own && !has_measured(&job);
    /* Without haste only what nobody would measure later. */
    job.listed = (job.hasty || job.rows < KI_CALIBRATED_FROM) && (has_known(&job) || ki_seal_asked(collection));
    if (status == KITH_OK) status = ki_job_build(&job, error);
    if (status == KITH_OK) status = ki_job_publish(&job, error);
    ki_job_end(&job);
    return status;
}

static ki_merge_size size_of(const ki_snapshot_sealed *in) {
    return (ki_merge_size){in->alive->rows, in->alive->rows - in->alive->set, in->sealed->flat,
                           is_measured(in->sealed)};
}

/* The segments of a snapshot, apart by who may be merged with whom. */
struct groups {
    size_t count;
    uint64_t *group; /* ki_split_group of each */
    ki_merge_size *size;
    unsigned char *chosen, *part; /* part: of one group */
};

static void end_groups(struct groups *g) {
    free(g->group);
    free(g->size);
    free(g->chosen);
    free(g->part);
}

/* 0: no memory. */
static int begin_groups(const kith_collection *collection, const ki_snapshot *snapshot, struct groups *g) {
    const size_t count = snapshot->sealed_count;
    *g = (struct groups){.count = count,
                         .group = ki_alloc_array(count, sizeof(*g->group)),
                         .size = ki_alloc_array(count, sizeof(*g->size)),
                         .chosen = ki_alloc_array(count, 1),
                         .part = ki_alloc_array(count, 1)};
    if (!g->group || !g->size || !g->chosen || !g->part) return 0;
    for (size_t i = 0; i < count; i++) g->group[i] = ki_split_group(collection, snapshot, i);
    return 1;
}

static int is_first(const struct groups *g, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (g->group[i] == g->group[at]) return 0;
    return 1;
}

/* Mark those of a group to be merged; their number. */
static size_t choose_in(const ki_snapshot *snapshot, uint64_t group, ki_merge_when when, struct groups *g) {
    size_t of = 0;
    for (size_t i = 0; i < g->count; i++)
        if (g->group[i] == group) g->size[of++] = size_of(&snapshot->sealed[i]);
    const size_t run = group && when == KI_MERGE_HASTE ? 0 : ki_merge_choose(g->size, of, when, g->part);
    of = 0;
    for (size_t i = 0; i < g->count; i++) g->chosen[i] = g->group[i] == group && run && g->part[of++];
    return run;
}

/* Those of the first group that has something to merge; their number. */
static size_t choose(const ki_snapshot *snapshot, ki_merge_when when, struct groups *g) {
    size_t run = 0;
    for (size_t i = 0; i < g->count && !run; i++)
        if (is_first(g, i)) run = choose_in(snapshot, g->group[i], when, g);
    return run;
}

int ki_merge_wanted(const kith_collection *collection, const ki_snapshot *snapshot, ki_merge_when when) {
    struct groups g;
    if (when != KI_MERGE_HASTE && ki_split_wanted(collection, snapshot)) return 1;
    const int wanted = begin_groups(collection, snapshot, &g) && choose(snapshot, when, &g);
    end_groups(&g);
    return wanted;
}

kith_status ki_merge(kith_collection *collection, ki_merge_when when, ki_watch *watch, size_t *merged,
                     kith_error *error) {
    struct groups g;
    size_t run = 0;
    kith_status status = when == KI_MERGE_HASTE ? KITH_OK : ki_split(collection, watch, &run, error);
    if (status == KITH_OK && run) *merged = run;
    if (status != KITH_OK || run) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    if (!begin_groups(collection, snapshot, &g))
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for merging");
    else
        run = choose(snapshot, when, &g);
    if (run)
        status = merge(collection, snapshot, g.chosen, when, watch, error);
    else
        ki_snapshot_release(snapshot);
    if (status == KITH_OK) *merged = run;
    end_groups(&g);
    return status;
}

/* Mark all of a group, if they are not one whole already. */
static int choose_all(const ki_snapshot *snapshot, uint64_t group, struct groups *g) {
    size_t of = 0;
    ki_merge_size last = {0};
    for (size_t i = 0; i < g->count; i++) {
        g->chosen[i] = g->group[i] == group;
        of += g->chosen[i];
        if (g->chosen[i]) last = size_of(&snapshot->sealed[i]);
    }
    return of > 1 || last.dead || last.flat;
}

static kith_status merge_group(kith_collection *collection, uint64_t group, ki_watch *watch, kith_error *error) {
    struct groups g;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    kith_status status = KITH_OK;
    if (!begin_groups(collection, snapshot, &g)) status = ki_fail(error, KITH_E_NOMEM, "out of memory for merging");
    if (status == KITH_OK && choose_all(snapshot, group, &g))
        status = merge(collection, snapshot, g.chosen, KI_MERGE_IDLE, watch, error);
    else
        ki_snapshot_release(snapshot);
    end_groups(&g);
    return status;
}

/* Each group once, whatever is written meanwhile. */
kith_status ki_merge_all(kith_collection *collection, ki_watch *watch, kith_error *error) {
    struct groups g;
    size_t split = 0;
    kith_status status;
    do status = ki_split(collection, watch, &split, error);
    while (status == KITH_OK && split);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    if (!begin_groups(collection, snapshot, &g)) status = ki_fail(error, KITH_E_NOMEM, "out of memory for merging");
    ki_snapshot_release(snapshot);
    for (size_t i = 0; i < g.count && status == KITH_OK; i++)
        if (is_first(&g, i)) status = merge_group(collection, g.group[i], watch, error);
    end_groups(&g);
    return status;
}

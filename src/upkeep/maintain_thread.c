/* SPDX-License-Identifier: Apache-2.0
 *
 * The background thread: it looks what there is to do, does the first of it, and looks again.
 *
 *   seal     heads that are frozen; the one that grows when it is full, takes a lot of memory with its payloads, or
 *            holds something worth a segment and nobody writes, or searches with a target recall scan it while it is
 *            written, and have paid for lists. A few rows stay in the head for good: reading them from
 *            the log costs an opening less than a segment does. Also where many rows of segments have died
 *   fields   segments that lack a declared field
 *   slots    vectors of generations that were dropped
 *   expire   items whose time is up leave the catalog
 *   merge    as merge.c chooses; more of it when nobody writes. Large tenants whose searches ask for it come first, and
 *            get segments of their own (split.c)
 *   measure  segments whose plans were not, when nobody writes, or they have waited for a while: what is merged soon is
 *            not worth it
 *   study    filters whose searches have paid for that (search/study.h)
 *   tidy     the catalog gives back what it does not need, when nobody writes
 *   sync     with relaxed durability: commits are on the disk, and seen by other processes, a tenth of a second later.
 *            This also where nothing else is to be done in the background
 *   link     rows of the head that grows, where searches ask for it: begun here, and done beside all else (link.c)
 *
 * While files of segments that are merged, or tables with new fields, are built by a helper, it goes on sealing.
 *
 * It sleeps until the first of these may be due, or for good until somebody writes (`dozing`). Its own priority is the
 * process's, since it holds locks that writers wait for; the files are built by helpers of low priority. */
#define _GNU_SOURCE
#include "upkeep/maintain.h"

#include "base/clock.h"
#include "base/status.h"
#include "log/follow.h"
#include "match/match.h"
#include "upkeep/calibrate.h"
#include "upkeep/helper.h"
#include "write/commit.h"

#include <stdio.h>
#include <time.h>

static const uint64_t SECOND = UINT64_C(1000000000);
static const uint64_t IDLE_NS = UINT64_C(1000000000);        /* nobody wrote for so long. A guess */
static const uint64_t UNMERGED_NS = UINT64_C(5000000000);    /* a load may well be over by then. A guess */
static const uint64_t UNMEASURED_NS = UINT64_C(20000000000); /* a segment that stays so long is worth it. A guess */
static const uint64_t TIDY_NS = UINT64_C(50000000);          /* steps between two looks around */
static const uint64_t LINK_NS = UINT64_C(1000000000);        /* until searches may have asked for links. A guess */
static const uint64_t SCAN_NS_MOST = 80000; /* of a head that is asked with a target recall: 4,000 rows of 384 floats */
static const uint64_t SOON_NS = UINT64_C(100000000);        /* until it may have grown to that */
static const uint64_t SYNC_NS = UINT64_C(100000000);        /* relaxed commits wait for the disk, and others for them */
static const uint64_t PAUSE_MAX_NS = UINT64_C(60000000000); /* between two attempts */
enum {
    POLITE_HEADS = 1, /* with more frozen heads writers may soon wait for sealing: then it is as urgent as they are */
    /* An opening takes some 150 ns a death of the log. */
    DEATHS_MANY = 100000,
    DEATHS_SOME = 10000,
    IDLE_PART = 16, /* an idle head is sealed if it holds this part of what it may hold */
    /* A head is sealed when its rows take so many times the bytes that their vectors may, and this. */
    MEMORY_TIMES = 4,
    MEMORY_LEAST = 1 << 20
};

/* What the thread decides by. */
struct look {
    ki_snapshot *snapshot;
    size_t heads;             /* frozen ones */
    uint64_t now_ns, wait_ns; /* wait_ns: until something may be due; UINT64_MAX: nothing will be */
    int idle;
    ki_merge_when merge;
};

/* ---- What there is to do ----------------------------------------------------------------------------------------- */

static void due_in(struct look *look, uint64_t ns) {
    if (ns < look->wait_ns) look->wait_ns = ns;
}

/* Whether searches of a head that grows take longer than those of a segment with lists would, and have paid for one. */
static int is_slow(kith_collection *collection, struct look *look) {
    const ki_snapshot_head *last = &look->snapshot->head[look->snapshot->head_count - 1];
    if (look->idle || !ki_seal_asked(collection)) return 0;
    if (ki_head_scan_ns(last->head, last->count) >= SCAN_NS_MOST) return 1;
    due_in(look, SOON_NS);
    return 0;
}

static int must_seal(kith_collection *collection, struct look *look) {
    const ki_snapshot_head *last = &look->snapshot->head[look->snapshot->head_count - 1];
    const size_t capacity = ki_head_capacity(last->head);
    const uint64_t asked = collection->options.head_bytes, most = asked ? asked : UINT64_C(16) << 20;
    if (look->snapshot->head_count > 1) return 1;
    /* Removing makes no rows, and would make the log longer for ever: sealing cuts it, also with nothing to seal. */
    const uint64_t deaths = ki_seal_unsaved(look->snapshot);
    if (deaths >= DEATHS_MANY || (look->idle && deaths >= DEATHS_SOME)) return 1;
    if (!last->count) return 0; /* an empty head takes memory too */
    if (last->count >= capacity) return 1;
    const uint64_t links = ki_head_links_bytes(last->head); /* grow with rows, not with payloads */
    if (ki_head_memory_bytes(last->head) - links > MEMORY_TIMES * most + MEMORY_LEAST) return 1;
    return is_slow(collection, look) || (look->idle && last->count >= capacity / IDLE_PART);
}

static int lacks_fields(const struct look *look) {
    for (size_t i = 0; i < look->snapshot->sealed_count; i++)
        if (ki_fields_lacking(look->snapshot->sealed[i].sealed, look->snapshot->schema)) return 1;
    return 0;
}

static int has_expired(const kith_collection *collection, struct look *look) {
    const uint64_t next = look->snapshot->next_expiry_ms;
    if (!next) return 0;
    const uint64_t now = collection->now_ms();
    if (next <= now) return 1;
    due_in(look, next - now < 3600000 ? (next - now) * 1000000 : 3600 * SECOND);
    return 0;
}

/* What costs much waits for a pause, though not for ever. */
static int wants_merge(ki_maintainer *maintainer, struct look *look) {
    look->merge = look->idle ? KI_MERGE_IDLE : KI_MERGE_HASTE;
    const kith_collection *collection = maintainer->collection;
    if (ki_merge_wanted(collection, look->snapshot, look->merge)) return 1;
    if (look->idle || !ki_merge_wanted(collection, look->snapshot, KI_MERGE_BUSY)) {
        maintainer->unmerged_ns = 0;
        return 0;
    }
    if (!maintainer->unmerged_ns) maintainer->unmerged_ns = look->now_ns;
    const uint64_t age_ns = look->now_ns - maintainer->unmerged_ns;
    look->merge = KI_MERGE_BUSY;
    if (age_ns >= UNMERGED_NS) return 1;
    due_in(look, UNMERGED_NS - age_ns);
    return 0;
}

static int has_unmeasured(ki_maintainer *maintainer, struct look *look) {
    if (!ki_calibrate_wanted(maintainer->collection, look->snapshot)) {
        maintainer->unmeasured_ns = 0;
        return 0;
    }
    if (!maintainer->unmeasured_ns) maintainer->unmeasured_ns = look->now_ns;
    const uint64_t age_ns = look->now_ns - maintainer->unmeasured_ns;
    if (look->idle || age_ns >= UNMEASURED_NS) return 1;
    due_in(look, UNMEASURED_NS - age_ns);
    return 0;
}

/* Whether the catalog was changed since it was tidy. */
static int is_untidy(ki_maintainer *maintainer, struct look *look) {
    uint64_t stamp;
    if (!look->idle || ki_catalog_stamp(maintainer->collection->catalog, &stamp, NULL) != KITH_OK) return 0;
    if (stamp == maintainer->tidied_stamp) return 0;
    if (maintainer->tidy_ns <= look->now_ns) return 1;
    due_in(look, maintainer->tidy_ns - look->now_ns);
    return 0;
}

static int is_there(ki_maintainer *maintainer, struct look *look, ki_work work) {
    switch (work) {
    case KI_WORK_SEAL:
        return must_seal(maintainer->collection, look);
    case KI_WORK_FIELDS:
        return lacks_fields(look);
    case KI_WORK_SLOTS:
        return ki_generations_leaving(look->snapshot->generations) != 0;
    case KI_WORK_EXPIRE:
        return has_expired(maintainer->collection, look);
    case KI_WORK_MERGE:
        return wants_merge(maintainer, look);
    case KI_WORK_CALIBRATE:
        return has_unmeasured(maintainer, look);
    case KI_WORK_STUDY:
        return ki_match_study_wanted(maintainer->collection->matches);
    default:
        return is_untidy(maintainer, look);
    }
}

/* Whether it is there and may be tried: not too soon after it failed. */
static int is_due(ki_maintainer *maintainer, struct look *look, ki_work work) {
    if (!is_there(maintainer, look, work)) return 0;
    pthread_mutex_lock(&maintainer->mutex);
    const uint64_t again_ns = maintainer->trouble[work].again_ns;
    pthread_mutex_unlock(&maintainer->mutex);
    if (again_ns <= look->now_ns) return 1;
    due_in(look, again_ns - look->now_ns);
    return 0;
}

/* ---- Doing it ---------------------------------------------------------------------------------------------------- */

static int asked(ki_maintainer *maintainer, ki_claim claim) {
    pthread_mutex_lock(&maintainer->mutex);
    const int leave = maintainer->stop || maintainer->at_work[claim].waiting;
    pthread_mutex_unlock(&maintainer->mutex);
    return leave;
}

static int asked_sealing(void *context, const kith_progress *progress) {
    (void)progress;
    return asked(context, KI_CLAIM_SEAL);
}

static int asked_rest(void *context, const kith_progress *progress) {
    (void)progress;
    return asked(context, KI_CLAIM_REST);
}

static kith_status expire(kith_collection *collection, kith_error *error) {
    uint64_t removed;
    const kith_status status = ki_collection_expire(collection, error);
    return status == KITH_OK ? ki_commit_expired(collection, &removed, error) : status;
}

/* Writers come first: it ends when somebody wrote, and the next look tells whether it goes on. */
static kith_status tidy(ki_maintainer *maintainer, ki_watch *watch, kith_error *error) {
    kith_collection *collection = maintainer->collection;
    const uint64_t start = ki_now_ns();
    ki_tidied tidied = KI_TIDY_MORE;
    kith_status status = KITH_OK;
    while (status == KITH_OK && tidied == KI_TIDY_MORE && ki_now_ns() - start < TIDY_NS &&
           !watch->progress(watch->progress_context, NULL))
        status = ki_catalog_tidy_step(collection->catalog, &tidied, error);
    maintainer->tidy_ns = tidied == KI_TIDY_LATER ? ki_now_ns() + SECOND : 0;
    if (status == KITH_OK && tidied == KI_TIDY_DONE)
        status = ki_catalog_stamp(collection->catalog, &maintainer->tidied_stamp, error);
    return status;
}

struct studying {
    kith_collection *collection;
    ki_watch *watch;
    kith_error *error;
    kith_status status;
};

static int is_stopped(void *context) {
    const ki_watch *watch = context;
    return watch->progress(watch->progress_context, NULL);
}

static void do_study(void *context) {
    struct studying *s = context;
    atomic_int stop;
    atomic_init(&stop, 0);
    const ki_limits limits = {.stop = &stop, .cancelled = is_stopped, .cancelled_context = s->watch};
    s->status = ki_match_study(s->collection, &limits, s->error);
}

static kith_status study(kith_collection *collection, ki_watch *watch, kith_error *error) {
    struct studying s = {.collection = collection, .watch = watch, .error = error};
    ki_help(do_study, &s, KI_NICE, watch->meanwhile, watch->meanwhile_context);
    return s.status;
}

static kith_status perform(ki_maintainer *maintainer, ki_work work, ki_merge_when when, ki_watch *watch,
                           kith_error *error) {
    kith_collection *collection = maintainer->collection;
    size_t merged;
    int done;
    switch (work) {
    case KI_WORK_SEAL:
        return ki_seal(collection, KI_SEAL_SOME, watch, NULL, error);
    case KI_WORK_FIELDS:
        return ki_fields_index(collection, watch, &done, error);
    case KI_WORK_SLOTS:
        return ki_slots_clear(maintainer, watch, error);
    case KI_WORK_EXPIRE:
        return expire(collection, error);
    case KI_WORK_MERGE:
        return ki_merge(collection, when, watch, &merged, error);
    case KI_WORK_CALIBRATE:
        maintainer->unmeasured_ns = 0;
        return ki_calibrate(collection, watch, &done, error);
    case KI_WORK_STUDY:
        return study(collection, watch, error);
    default:
        return tidy(maintainer, watch, error);
    }
}

void ki_maintain_note(ki_maintainer *maintainer, ki_work work, kith_status status, const kith_error *error) {
    static const char *const names[KI_WORKS] = {
        "sealing", "indexing fields", "dropping vectors",  "removing expired items",
        "merging", "calibrating",     "studying a filter", "tidying the catalog"};
    ki_trouble *trouble = &maintainer->trouble[work];
    pthread_mutex_lock(&maintainer->mutex);
    if (status == KITH_OK) {
        trouble->failures = 0;
        trouble->again_ns = 0;
    } else if (status != KITH_E_CANCELLED) {
        uint64_t pause = SECOND << (trouble->failures < 6 ? trouble->failures : 6);
        if (pause > PAUSE_MAX_NS) pause = PAUSE_MAX_NS;
        trouble->failures++;
        trouble->again_ns = ki_now_ns() + pause;
        snprintf(trouble->text, sizeof(trouble->text), "%s failed, and is tried again in %u seconds: %.400s",
                 names[work], (unsigned)(pause / SECOND), error->text);
    }
    pthread_mutex_unlock(&maintainer->mutex);
}

/* Claim a job that no caller has or wants; 0: there is one, or it is over. */
static int begin(ki_maintainer *maintainer, ki_claim claim, const char *name, ki_watch *watch) {
    ki_at_work *at_work = &maintainer->at_work[claim];
    pthread_mutex_lock(&maintainer->mutex);
    const int is_free = !maintainer->stop && !at_work->claimed && !at_work->waiting;
    if (is_free) *at_work = (ki_at_work){1, 0, name, watch};
    pthread_mutex_unlock(&maintainer->mutex);
    return is_free;
}

/* ---- The loop ---------------------------------------------------------------------------------------------------- */

static void look_around(ki_maintainer *maintainer, struct look *look) {
    look->snapshot = ki_snapshot_pin(maintainer->collection);
    look->now_ns = ki_now_ns();
    look->wait_ns = UINT64_MAX;
    look->heads = look->snapshot->head_count - 1;
    if (look->snapshot->version != maintainer->seen_version || !maintainer->seen_ns) {
        maintainer->seen_version = look->snapshot->version;
        maintainer->seen_ns = look->now_ns;
    }
    look->idle = look->now_ns - maintainer->seen_ns >= IDLE_NS;
    if (!look->idle) due_in(look, maintainer->seen_ns + IDLE_NS - look->now_ns);
}

/* A sync that fails poisons the catalog: the next write says why. */
static void sync_commits(ki_maintainer *maintainer, struct look *look) {
    kith_collection *collection = maintainer->collection;
    const uint64_t version = look->snapshot->version;
    if (collection->options.durability != KITH_DURABILITY_RELAXED || version == maintainer->synced_version) return;
    if (!maintainer->unsynced_ns) maintainer->unsynced_ns = look->now_ns;
    const uint64_t age_ns = look->now_ns - maintainer->unsynced_ns;
    if (age_ns < SYNC_NS) {
        due_in(look, SYNC_NS - age_ns);
        return;
    }
    (void)ki_catalog_sync(collection->catalog, NULL);
    maintainer->synced_version = version;
    maintainer->unsynced_ns = 0;
}

static void link_rows(ki_maintainer *maintainer, struct look *look) {
    if (!maintainer->collection->options.no_background && ki_link_look(maintainer, look->snapshot))
        due_in(look, LINK_NS);
}

static void seal_meanwhile(void *context);

/* Returns how long to wait before looking again. */
static uint64_t try_work(ki_maintainer *maintainer, ki_work work, const struct look *look) {
    static const char *const names[KI_WORKS] = {"sealing", "indexing fields", "dropping vectors",  "expiring",
                                                "merging", "calibrating",     "studying a filter", "tidying"};
    const ki_claim claim = work == KI_WORK_SEAL ? KI_CLAIM_SEAL : KI_CLAIM_REST;
    kith_error error = {0};
    ki_watch watch = {.progress = work == KI_WORK_SEAL ? asked_sealing : asked_rest,
                      .progress_context = maintainer,
                      .threads = maintainer->threads,
                      .polite = work != KI_WORK_SEAL || look->heads <= POLITE_HEADS,
                      .meanwhile = work == KI_WORK_SEAL ? NULL : seal_meanwhile,
                      .meanwhile_context = maintainer};
    if (!begin(maintainer, claim, names[work], &watch)) return SECOND / 10;
    const kith_status status = perform(maintainer, work, look->merge, &watch, &error);
    ki_maintain_release(maintainer, claim);
    ki_maintain_note(maintainer, work, status, &error);
    return status == KITH_OK ? 0 : SECOND / 10;
}

/* While a helper is at something else. */
static void seal_meanwhile(void *context) {
    ki_maintainer *maintainer = context;
    struct look look;
    look_around(maintainer, &look);
    sync_commits(maintainer, &look);
    link_rows(maintainer, &look);
    const int due = is_due(maintainer, &look, KI_WORK_SEAL);
    ki_snapshot_release(look.snapshot);
    if (due) (void)try_work(maintainer, KI_WORK_SEAL, &look);
    ki_maintain_dig(maintainer, 0); /* what was merged is on the disk as long as a search had it */
}

/* Do what is due first; returns how long to wait before looking again. */
static uint64_t work(ki_maintainer *maintainer) {
    struct look look;
    int due = KI_WORKS;
    look_around(maintainer, &look);
    sync_commits(maintainer, &look);
    link_rows(maintainer, &look);
    for (int w = KI_WORKS; w-- > 0 && !maintainer->collection->options.no_background;)
        if (is_due(maintainer, &look, (ki_work)w)) due = w;
    ki_snapshot_release(look.snapshot); /* or what is replaced could not be let go of */
    if (due < KI_WORKS) look.wait_ns = try_work(maintainer, (ki_work)due, &look);
    ki_maintain_dig(maintainer, 0);
    pthread_mutex_lock(&maintainer->mutex);
    if (maintainer->buried_count) due_in(&look, SECOND);
    pthread_mutex_unlock(&maintainer->mutex);
    return look.wait_ns;
}

static void sleep_for(ki_maintainer *maintainer, uint64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / SECOND);
    until.tv_nsec += (long)(ns % SECOND);
    if (until.tv_nsec >= (long)SECOND) {
        until.tv_nsec -= (long)SECOND;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&maintainer->changed, &maintainer->mutex, &until);
}

void *ki_maintain_run(void *context) {
    ki_maintainer *maintainer = context;
    pthread_mutex_lock(&maintainer->mutex);
    while (!maintainer->stop) {
        maintainer->woken = 0;
        pthread_mutex_unlock(&maintainer->mutex);
        /* Said before looking: a write that comes while we look wakes us, or was seen. */
        atomic_store(&maintainer->dozing, 1);
        const uint64_t wait_ns = work(maintainer);
        if (wait_ns != UINT64_MAX) atomic_store(&maintainer->dozing, 0);
        pthread_mutex_lock(&maintainer->mutex);
        if (!wait_ns || maintainer->stop || maintainer->woken) continue;
        if (wait_ns == UINT64_MAX)
            pthread_cond_wait(&maintainer->changed, &maintainer->mutex);
        else
            sleep_for(maintainer, wait_ns);
    }
    pthread_mutex_unlock(&maintainer->mutex);
    return NULL;
}

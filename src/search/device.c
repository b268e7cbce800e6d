/* SPDX-License-Identifier: Apache-2.0 */
#include "search/device.h"

#include "base/clock.h"
#include "base/status.h"
#include "search/exact.h"
#include "view/on_device.h"

#include <math.h>

static int batch_size(size_t queries) {
    int size = 0;
    while (queries > 1 && size + 1 < KI_BATCH_SIZES) {
        queries /= 2;
        size++;
    }
    return size;
}

const char *ki_search_device_obstacle(const ki_plan_case *at) {
    const ki_on_device *on = at->view->device;
    if (!on) return "the index was opened without a device";
    if (at->few) return "the filter is a short list, whose vectors are all scored";
    return atomic_load(&on->failed) ? "a device failed" : NULL;
}

/* Whether a search that may be measured was not yet, with about as many queries. */
static int is_unmeasured(const ki_on_device *on, size_t k, int filtered, size_t queries) {
    return !on->demanded && k && !filtered && !(atomic_load(&on->cost[batch_size(queries)].device_ns) > 0);
}

int ki_search_device_is_tried(const ki_plan_case *at) {
    return !ki_search_device_obstacle(at) && is_unmeasured(at->view->device, at->k, at->filtered, at->queries);
}

int ki_search_device_takes_lists(const ki_job *job) {
    const ki_on_device *on = job->index->view.device;
    return on && on->demanded && ki_ivf_fits_device(&job->ivf);
}

/* Filters leave scans of the processor less to do, and ranges were not measured: a device that is not demanded has none
 * of either. */
double ki_search_device_ns(const ki_plan_case *at) {
    const ki_on_device *on = at->view->device;
    const int size = batch_size(at->queries);
    if (on->demanded) return 0;
    if (at->filtered || !at->k) return INFINITY;
    const double device_ns = atomic_load(&on->cost[size].device_ns), cpu_ns = atomic_load(&on->cost[size].cpu_ns);
    return device_ns > 0 && device_ns < cpu_ns ? 0 : INFINITY;
}

void ki_search_device_ask(const ki_plan_case *at, unsigned threads, ki_question *question) {
    const ki_on_device *on = at->view->device;
    if (!on || question->exact != KITH_PLAN_DEVICE) return;
    if (!on->demanded) {
        question->exact_ns = threads * atomic_load(&on->cost[batch_size(at->queries)].device_ns);
        return;
    }
    const ki_ivf_search lists = {.view = at->view, .code = KITH_SCAN_INT8};
    question->plans &= ki_ivf_fits_device(&lists) ? KI_PLAN_BIT(KITH_PLAN_IVF) : 0;
    if (question->code == KITH_SCAN_AUTO) question->code = KITH_SCAN_INT8;
}

kith_plan ki_search_device_rest(const ki_job *job, kith_plan exact) {
    const ki_on_device *on = job->index->view.device;
    return on && !on->demanded ? job->instead->plan : exact;
}

/* By the exact plan that costs least without a device. */
static kith_status run_on_cpu(ki_job *job) {
    job->search.plan = job->instead->plan;
    return job->instead->run(job);
}

static kith_status run_on_both(ki_job *job, int size) {
    ki_on_device *on = job->index->view.device;
    const double queries = (double)job->queries->count;
    const uint64_t start = ki_now_ns();
    kith_status status = ki_exact_run(job, 0, job->queries->count);
    const uint64_t between = ki_now_ns();
    if (status == KITH_OK) status = run_on_cpu(job);
    if (status != KITH_OK) return status;
    atomic_store(&on->cost[size].cpu_ns, (double)(ki_now_ns() - between) / queries);
    atomic_store(&on->cost[size].device_ns, (double)(between - start + 1) / queries);
    return KITH_OK;
}

kith_status ki_search_device_run(ki_job *job) {
    ki_on_device *on = job->index->view.device;
    const size_t queries = job->queries->count;
    kith_status status;
    if (is_unmeasured(on, job->k, job->filter != NULL, queries))
        status = run_on_both(job, batch_size(queries));
    else
        status = ki_exact_run(job, 0, job->queries->count);
    if (status == KITH_OK || !atomic_load(&job->fault.told)) return status;
    if (on->demanded) return status; /* and so is the next one's, if it fails again */
    atomic_store(&on->failed, 1);
    atomic_store(&job->stop, 0);
    job->row = job->instead;
    return run_on_cpu(job);
}

int ki_search_device_fail(const ki_job *job, kith_status status, kith_error *error) {
    if (!atomic_load(&job->fault.told) || status == KITH_E_DATA) return 0;
    ki_fail(error, status, "device: %s", job->fault.error.text);
    return 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * How many cores this process may keep busy, and how many threads it uses when nobody says. */
#ifndef KI_BASE_CORES_H
#define KI_BASE_CORES_H

#include "kith.h"

/* The least of the processors that this process may run on, and of the quotas of processor time of its control groups,
 * in whole cores; at least 1. Asked anew at each call: both may change. */
unsigned ki_cores(void);

/* The quotas alone, rounded up; UINT_MAX where there is none. `memberships` is /proc/self/cgroup, `mounts`
 * /sys/fs/cgroup, or what a test has in their place. */
unsigned ki_quota_cores(const char *memberships, const char *mounts);

/* What 0 threads stands for: KITH_THREADS where it is set, otherwise ki_cores(), at most KITH_THREADS_MAX. KITH_E_ARG
 * when KITH_THREADS is no number of threads. */
kith_status ki_default_threads(unsigned *threads, kith_error *error);

#endif

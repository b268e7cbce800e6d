/* SPDX-License-Identifier: Apache-2.0
 *
 * Cores as Linux grants them. A process may run on fewer processors than the machine has (its affinity), and its
 * control groups may get less processor time than those could give (containers, services): a quota of 150 ms in each
 * 100 ms is worth two cores. More threads than that would use the quota up early in a period, and stand still for the
 * rest of it.
 *
 * Quotas lie in files of a group's folder: cpu.max in version 2 of control groups ("150000 100000", "max 100000"),
 * cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us in version 1. The least of a process's own group and of all groups
 * around it counts. A container may see its own group as the root of the mount and yet be told the path that the host
 * knows: folders that are not there are passed by, and the root is asked always.
 *
 * Any thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity() and CPU_COUNT() */
#endif
#include "base/cores.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

/* A line of memberships, or the path of a file: what is longer is passed by. */
enum { LINE_BYTES = 4352 };

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* ---- Quotas ------------------------------------------------------------------------------------------------------ */

static unsigned whole_cores(long long quota_us, long long period_us) {
    if (quota_us <= 0 || period_us <= 0) return UINT_MAX;
    const long long cores = quota_us / period_us + (quota_us % period_us != 0);
    return cores < UINT_MAX ? (unsigned)cores : UINT_MAX;
}

/* Up to two numbers of the file `name` in a group's folder; how many there are. */
static int read_numbers(const char *folder, const char *name, long long number[2]) {
    char path[LINE_BYTES + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const int count = fscanf(file, "%lld %lld", &number[0], &number[1]);
    fclose(file);
    return count;
}

static unsigned quota_v2(const char *folder) {
    long long number[2];
    return read_numbers(folder, "cpu.max", number) == 2 ? whole_cores(number[0], number[1]) : UINT_MAX;
}

static unsigned quota_v1(const char *folder) {
    long long quota[2], period[2];
    if (!read_numbers(folder, "cpu.cfs_quota_us", quota) || !read_numbers(folder, "cpu.cfs_period_us", period))
        return UINT_MAX;
    return whole_cores(quota[0], period[0]);
}

/* The least quota of the group `path`, "/" or "/a/b", and of those around it, in the mount `mounts`/`name`. */
static unsigned least_upward(const char *mounts, const char *name, const char *path,
                             unsigned (*quota)(const char *folder)) {
    char folder[LINE_BYTES];
    unsigned cores = UINT_MAX;
    const int root = snprintf(folder, sizeof folder, "%s%s", mounts, name);

    if (root < 0 || (size_t)root >= sizeof folder) return UINT_MAX;
    /* A group outside of what this process may see is shown as one above the root. */
    const bool inside = path[0] == '/' && !strstr(path, "/..");
    if (inside && (size_t)root + strlen(path) < sizeof folder) strcpy(folder + root, path);
    for (;;) {
        cores = least(cores, quota(folder));
        char *slash = strrchr(folder + root, '/');
        if (!slash) return cores;
        *slash = '\0';
    }
}

/* Whether `words`, separated by commas, has the word. */
static bool has_word(const char *words, const char *word) {
    const size_t bytes = strlen(word);
    for (const char *at = words;; at++) {
        const size_t length = strcspn(at, ",");
        if (length == bytes && !memcmp(at, word, bytes)) return true;
        at += length;
        if (!*at) return false;
    }
}

/* Of a line "number:controllers:path": version 2 has no controllers there. */
static unsigned quota_of_membership(char *line, const char *mounts) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    char name[LINE_BYTES];

    if (!path) return UINT_MAX;
    *controllers++ = *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (!*controllers) /* the whole mount, or a part of it where version 1 is mounted too */
        return least(least_upward(mounts, "", path, quota_v2), least_upward(mounts, "/unified", path, quota_v2));
    if (!has_word(controllers, "cpu")) return UINT_MAX;
    snprintf(name, sizeof name, "/%s", controllers); /* mounted by all its controllers, with a link from each */
    return least(least_upward(mounts, name, path, quota_v1), least_upward(mounts, "/cpu", path, quota_v1));
}

unsigned ki_quota_cores(const char *memberships, const char *mounts) {
    char line[LINE_BYTES];
    unsigned cores = UINT_MAX;
    FILE *file = fopen(memberships, "re");

    if (!file) return UINT_MAX;
    while (fgets(line, sizeof line, file)) cores = least(cores, quota_of_membership(line, mounts));
    fclose(file);
    return cores;
}

/* ---- Cores and threads ------------------------------------------------------------------------------------------- */

static unsigned processors(void) {
    cpu_set_t set;
    long online;

    if (!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) > 0) return (unsigned)CPU_COUNT(&set);
    online = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than the set holds */
    return online > 0 ? (unsigned)online : 1;
}

unsigned ki_cores(void) {
    return least(processors(), ki_quota_cores("/proc/self/cgroup", "/sys/fs/cgroup"));
}

kith_status ki_default_threads(unsigned *threads, kith_error *error) {
    const char *setting = getenv("KITH_THREADS");
    unsigned count = 0;

    if (!setting || !*setting) {
        *threads = least(ki_cores(), KITH_THREADS_MAX);
        return KITH_OK;
    }
    for (const char *at = setting; *at; at++) {
        const unsigned digit = (unsigned)(unsigned char)*at - '0';
        count = digit > 9 || count > KITH_THREADS_MAX ? KITH_THREADS_MAX + 1 : 10 * count + digit;
    }
    if (count < 1 || count > KITH_THREADS_MAX)
        return ki_fail(error, KITH_E_ARG,
                       "The environment variable KITH_THREADS is \"%s\", but a number of threads from 1 to %u was "
                       "expected.",
                       setting, KITH_THREADS_MAX);
    *threads = count;
    return KITH_OK;
}

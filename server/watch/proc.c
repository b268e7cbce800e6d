/* SPDX-License-Identifier: Apache-2.0
 *
 * What the system says of this process: figures.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "watch/figures.h"

void ks_proc_open(ks_proc *proc) {
    proc->stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    proc->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    proc->files = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void ks_proc_close(ks_proc *proc) {
    if (proc->stat >= 0) close(proc->stat);
    if (proc->statm >= 0) close(proc->statm);
    if (proc->files >= 0) close(proc->files);
}

static int read_again(int fd, char *text, size_t room) {
    const ssize_t count = fd < 0 ? -1 : pread(fd, text, room - 1, 0);
    text[count > 0 ? count : 0] = 0;
    return count > 0;
}

/* Field 20 is the number of threads, 22 the start in ticks since the machine started; the name (field 2) may hold
 * anything but ends with the last ")". */
static void read_stat(const ks_proc *proc, ks_process_figures *figures) {
    char text[1024];
    struct timespec now, up;
    if (!read_again(proc->stat, text, sizeof(text))) return;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (at && field + 1 == 20) figures->threads = strtoull(at + 1, NULL, 10);
    }
    const long ticks = sysconf(_SC_CLK_TCK);
    if (!at || ticks <= 0) return;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    figures->start_s = (double)now.tv_sec - (double)up.tv_sec + (double)(now.tv_nsec - up.tv_nsec) / 1e9 +
                       (double)strtoull(at + 1, NULL, 10) / (double)ticks;
}

/* Since Linux 6.2 the folder's size is how many there are. Before, its entries are counted: 10,000 connections take
 * some ten milliseconds, for which a call may wait that is answered on the same core. Our own look at the folder is one
 * of them, and is not counted. */
static uint64_t count_files(const ks_proc *proc) {
    struct stat told;
    if (proc->files >= 0 && fstat(proc->files, &told) == 0 && told.st_size > 0) return (uint64_t)told.st_size;
    const int again = proc->files < 0 ? -1 : openat(proc->files, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int copy = again >= 0 ? again : proc->files < 0 ? -1 : dup(proc->files);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    uint64_t count = 0;
    if (!folder) {
        if (copy >= 0) close(copy);
        return 0;
    }
    rewinddir(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) count += entry->d_name[0] != '.';
    closedir(folder);
    return count ? count - 1 : 0;
}

void ks_proc_read(const ks_proc *proc, ks_process_figures *figures) {
    struct rusage used;
    struct rlimit limit;
    char text[256];
    unsigned long long pages = 0, resident = 0;
    const long page = sysconf(_SC_PAGESIZE);
    memset(figures, 0, sizeof(*figures));
    if (getrusage(RUSAGE_SELF, &used) == 0)
        figures->cpu_s = (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
                         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    if (read_again(proc->statm, text, sizeof(text)) && sscanf(text, "%llu %llu", &pages, &resident) == 2 && page > 0) {
        figures->virtual_bytes = pages * (uint64_t)page;
        figures->resident_bytes = resident * (uint64_t)page;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        figures->files_max = (uint64_t)limit.rlim_cur;
    read_stat(proc, figures);
    figures->open_files = count_files(proc);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Syncs that do nothing, in place of the system's: for tests that cut no power and write thousands of times. Included
 * by one file of a program. */
#ifndef TESTS_SUPPORT_UNSYNCED_H
#define TESTS_SUPPORT_UNSYNCED_H

#include <unistd.h>

int fsync(int fd) {
    (void)fd;
    return 0;
}

int fdatasync(int fd) {
    (void)fd;
    return 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGINT and SIGTERM ask; long work looks at the flag between its steps and cleans up behind itself. */
#define _GNU_SOURCE
#include <signal.h>
#include <time.h>

#include "command.h"

static volatile sig_atomic_t signal_seen;

static void remember(int number) {
    signal_seen = number;
}

void interrupt_install(void) {
    /* SA_RESETHAND: the second signal kills, should the first not be heard. No SA_RESTART: blocking calls return. */
    struct sigaction action = {.sa_handler = remember, .sa_flags = (int)SA_RESETHAND};
    struct sigaction current;
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        /* A parent that ignores the signal for us (nohup, a shell's "&") is obeyed. */
        if (sigaction(numbers[i], NULL, &current) == 0 && current.sa_handler == SIG_IGN) continue;
        sigaction(numbers[i], &action, NULL);
    }
    /* A reader that went away shows as an error of the write, so that temporary files are removed on the way out. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes (ulimit -f) likewise */
}

int interrupt_asked(void *context) {
    (void)context;
    return signal_seen != 0;
}

int interrupt_exit_code(void) {
    return signal_seen == SIGINT ? EXIT_INTERRUPTED : signal_seen == SIGTERM ? EXIT_TERMINATED : EXIT_STOPPED;
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

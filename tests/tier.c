/* SPDX-License-Identifier: Apache-2.0
 *
 * Run a test program at one CPU tier: kith_tier TIER PROGRAM [ARGUMENT...]. The tier "-" is what the machine has.
 *
 * Exits with 77, which ctest shows as skipped, when this machine does not have the tier. The question is put to the
 * library with KITH_CPU already set, so a tier that the library would silently lower can never count as tested. In a
 * cross build PROGRAM is the emulator, which an emulated process may execute like any other file.
 *
 * The program begins with default signals, none blocked, and open streams, however the tests were started: a background
 * job ignores SIGINT and SIGQUIT, and what a test starts would inherit that. nohup ignores SIGHUP to outlive the
 * terminal: then the program leaves the terminal, so that it does not hear of its end. KITH_THREADS is not for
 * tests. */
#define _GNU_SOURCE
#include "kith.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77 };

/* A stream that was closed would be the first file that the program opens. */
static void open_streams(void) {
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

static void reset_signals(void) {
    struct sigaction hangup;
    sigset_t none;

    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler == SIG_IGN) setsid();
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL); /* some numbers refuse */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* KITH_CPU for the program; 0, SKIPPED or EXIT_FAILURE. */
static int set_tier(const char *tier) {
    kith_cpu cpu = KITH_CPU_INIT;
    kith_error error = {0};

    if (strcmp(tier, "-") == 0) return 0;
    if (setenv("KITH_CPU", tier, 1) != 0) {
        perror("setenv");
        return EXIT_FAILURE;
    }
    if (kith_cpu_info(&cpu, &error) != KITH_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    if (strcmp(cpu.tier, tier) == 0) return 0;
    printf("skipped: this machine has no tier %s, its best is %s\n", tier, cpu.tier_found);
    return SKIPPED;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: kith_tier TIER PROGRAM [ARGUMENT...]\n");
        return EXIT_FAILURE;
    }
    unsetenv("KITH_THREADS");
    const int status = set_tier(argv[1]);
    if (status) return status;
    reset_signals();
    open_streams();
    execvp(argv[2], argv + 2);
    fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
    return EXIT_FAILURE;
}

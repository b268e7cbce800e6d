/* SPDX-License-Identifier: Apache-2.0
 *
 * Run a test program at one CPU tier: kith_tier TIER PROGRAM [ARGUMENT...].
 *
 * Exits with 77, which ctest shows as skipped, when this machine does not have the tier. The question is put to the
 * library with KITH_CPU already set, so a tier that the library would silently lower can never count as tested. In a
 * cross build PROGRAM is the emulator, which an emulated process may execute like any other file. */
#define _GNU_SOURCE
#include "kith.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77 };

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: kith_tier TIER PROGRAM [ARGUMENT...]\n");
        return EXIT_FAILURE;
    }
    if (setenv("KITH_CPU", argv[1], 1) != 0) {
        perror("setenv");
        return EXIT_FAILURE;
    }
    kith_cpu cpu = KITH_CPU_INIT;
    kith_error error = {0};
    if (kith_cpu_info(&cpu, &error) != KITH_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    if (strcmp(cpu.tier, argv[1]) != 0) {
        printf("skipped: this machine has no tier %s, its best is %s\n", argv[1], cpu.tier_found);
        return SKIPPED;
    }
    execvp(argv[2], argv + 2);
    fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
    return EXIT_FAILURE;
}

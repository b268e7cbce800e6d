/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection on aarch64. The kernel's auxiliary vector names the features that it saves registers for, so it answers
 * both halves of C1. */
#include "cpu/detect.h"

#if defined(__aarch64__)

#include <stdio.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include "cpu/cpu.h"

/* Bits of the auxiliary vector, as Linux numbers them for aarch64; older headers lack some names. */
enum { HWCAP_BIT_ASIMD = 1u << 1, HWCAP_BIT_DOT = 1u << 20, HWCAP2_BIT_I8MM = 1u << 13 };

uint32_t ki_cpu_detect(void) {
#if defined(__linux__)
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    uint32_t features = 0;

    if (!(first & HWCAP_BIT_ASIMD)) return 0;
    features |= KI_NEON;
    if (first & HWCAP_BIT_DOT) features |= KI_NEON_DOT;
    if (second & HWCAP2_BIT_I8MM) features |= KI_NEON_I8MM;
    return features;
#else
    return KI_NEON; /* part of the base architecture */
#endif
}

/* No register holds a name; Linux shows the maker's and the part's number. */
void ki_cpu_detect_model(char *model, size_t bytes) {
    char line[256];
    unsigned maker = 0, part = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");

    while (file && (!maker || !part) && fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');
        if (value && !strncmp(line, "CPU implementer", 15))
            sscanf(value, ": %x", &maker);
        else if (value && !strncmp(line, "CPU part", 8))
            sscanf(value, ": %x", &part);
    }
    if (file) fclose(file);
    if (maker && part)
        snprintf(model, bytes, "aarch64, implementer 0x%02x, part 0x%03x", maker, part);
    else
        snprintf(model, bytes, "aarch64");
}

#else
typedef int ki_cpu_arm_not_built; /* a translation unit must declare something */
#endif

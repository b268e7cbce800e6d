/* SPDX-License-Identifier: Apache-2.0
 *
 * What cpu.c asks of the one file that knows this processor's family. Called once, under cpu.c's lock. */
#ifndef KI_CPU_DETECT_H
#define KI_CPU_DETECT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__aarch64__)

/* Features that the processor has and the operating system lets us use (C1). */
uint32_t ki_cpu_detect(void);

/* The processor's name into `model`, cut at `bytes`, ends in NUL; "" when unknown. */
void ki_cpu_detect_model(char *model, size_t bytes);

#else

static inline uint32_t ki_cpu_detect(void) {
    return 0;
}

static inline void ki_cpu_detect_model(char *model, size_t bytes) {
    if (bytes) model[0] = '\0';
}

#endif

#endif

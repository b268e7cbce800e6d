/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection and KITH_CPU. Guards against: a setting that raises the tier, a mask with a feature but not its foundation
 * (kernels would then run instructions nobody checked for), a misspelt setting that passes silently.
 *
 * Detection runs once a process, so whatever detects does so in a forked child; the parent never does. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv() */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/cpu.h"

/* A machine with everything x86. */
#define AVX512_ALL (KI_AVX512 | KI_AVX512VNNI | KI_AVX512BF16 | KI_AVX512FP16 | KI_AVX512VPOPCNT | KI_AVX512VBMI)
#define X86_ALL    (KI_AVX2 | KI_AVXVNNI | AVX512_ALL | KI_AMX_INT8 | KI_AMX_BF16)
#define ARM_ALL    (KI_NEON | KI_NEON_DOT | KI_NEON_I8MM)

static uint32_t lower(uint32_t found, const char *setting) {
    uint32_t mask = 0;
    if (!ki_cpu_lower(found, setting, &mask)) fail_msg("the setting \"%s\" was refused", setting ? setting : "(NULL)");
    return mask;
}

static void test_settings_lower(void **state) {
    (void)state;
    assert_int_equal(lower(X86_ALL, NULL), X86_ALL);
    assert_int_equal(lower(X86_ALL, ""), X86_ALL);
    assert_int_equal(lower(X86_ALL, "amx"), X86_ALL);
    assert_int_equal(lower(X86_ALL, "avx512"), KI_AVX2 | KI_AVXVNNI | AVX512_ALL);
    assert_int_equal(lower(X86_ALL, "avx2"), KI_AVX2 | KI_AVXVNNI);
    assert_int_equal(lower(X86_ALL, "avx2,-avxvnni"), KI_AVX2);
    assert_int_equal(lower(X86_ALL, "scalar"), 0);
    assert_int_equal(lower(X86_ALL, "-amxbf16"), X86_ALL & ~(uint32_t)KI_AMX_BF16);
    assert_int_equal(lower(ARM_ALL, "neon"), ARM_ALL);
    assert_int_equal(lower(ARM_ALL, "neon,-neoni8mm"), KI_NEON | KI_NEON_DOT);
    assert_int_equal(lower(ARM_ALL, "avx2"), 0);
}

static void test_settings_never_raise(void **state) {
    static const char *const settings[] = {"scalar", "avx2", "avx512", "amx", "neon", "-avx512", "amx,-amxbf16"};
    static const uint32_t machines[] = {0, KI_AVX2, KI_AVX2 | KI_AVXVNNI, KI_AVX2 | KI_AVX512, ARM_ALL, X86_ALL};

    (void)state;
    for (size_t s = 0; s < sizeof settings / sizeof *settings; s++)
        for (size_t m = 0; m < sizeof machines / sizeof *machines; m++)
            assert_int_equal(lower(machines[m], settings[s]) & ~machines[m], 0);
}

/* Taking a foundation away takes what stands on it. */
static void test_masks_stay_closed(void **state) {
    (void)state;
    assert_int_equal(lower(X86_ALL, "-avx2"), 0);
    assert_int_equal(lower(X86_ALL, "-avx512"), KI_AVX2 | KI_AVXVNNI);
    assert_int_equal(lower(X86_ALL, "-avx512vnni"), X86_ALL & ~(uint32_t)(KI_AVX512VNNI | KI_AMX_INT8 | KI_AMX_BF16));
    assert_int_equal(lower(X86_ALL, "-amxint8"), X86_ALL & ~(uint32_t)(KI_AMX_INT8 | KI_AMX_BF16));
    assert_int_equal(lower(X86_ALL, "amx,-avxvnni,-avx512"), KI_AVX2);
    assert_int_equal(lower(ARM_ALL, "-neondot"), KI_NEON);
    assert_int_equal(lower(ARM_ALL, "-neon"), 0);
}

static void test_unknown_words_are_refused(void **state) {
    static const char *const settings[] = {"avx3",  "AVX2",        "avx2,",        ",avx2",          ",",  "-", "-avx3",
                                           "avx2 ", "avx2,scalar", "avx2,avxvnni", "avx2,,-avxvnni", "avx"};
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        uint32_t mask = 1;
        if (ki_cpu_lower(X86_ALL, settings[i], &mask)) fail_msg("the setting \"%s\" was taken", settings[i]);
        assert_int_equal(mask, X86_ALL);
    }
}

static void test_tier_names(void **state) {
    (void)state;
    assert_string_equal(ki_cpu_tier(0), "scalar");
    assert_string_equal(ki_cpu_tier(KI_AVX2 | KI_AVXVNNI), "avx2");
    assert_string_equal(ki_cpu_tier(KI_AVX2 | KI_AVX512), "avx512");
    assert_string_equal(ki_cpu_tier(X86_ALL), "amx");
    assert_string_equal(ki_cpu_tier(ARM_ALL), "neon");
}

/* ---- Children that detect ---------------------------------------------------------------------------------------- */

/* Run `check` in a child with KITH_CPU set (NULL: unset); it returns NULL or what is wrong. */
static void in_child(const char *setting, const char *(*check)(void)) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        if (setting)
            setenv("KITH_CPU", setting, 1);
        else
            unsetenv("KITH_CPU");
        const char *wrong = check();
        if (wrong) fprintf(stderr, "KITH_CPU=%s: %s\n", setting ? setting : "(unset)", wrong);
        _exit(wrong ? 1 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static const char *check_unset(void) {
    kith_cpu cpu = KITH_CPU_INIT;
    kith_error error = {0};

    if (kith_cpu_info(&cpu, &error) != KITH_OK) return "kith_cpu_info failed";
    if (strcmp(cpu.setting, "")) return "setting is not empty";
    if (strcmp(cpu.tier, cpu.tier_found) || strcmp(cpu.features, cpu.features_used)) return "something was lowered";
    if (ki_cpu_features() != ki_cpu_features_found()) return "the masks differ";
    if (strcmp(cpu.tier, ki_cpu_tier(ki_cpu_features()))) return "the tier is not the mask's";
    if (!cpu.cores || !memchr(cpu.model, '\0', sizeof cpu.model)) return "no cores, or a model without an end";
    if (!ki_cpu_l2_bytes() || (cpu.l2_bytes && ki_cpu_l2_bytes() != cpu.l2_bytes)) return "L2";
    return NULL;
}

static const char *check_scalar(void) {
    kith_cpu cpu = KITH_CPU_INIT;

    if (kith_cpu_info(&cpu, NULL) != KITH_OK) return "kith_cpu_info failed";
    if (strcmp(cpu.tier, "scalar") || strcmp(cpu.features_used, "") || strcmp(cpu.setting, "scalar"))
        return "not lowered to scalar";
    return ki_cpu_features() ? "the mask is not empty" : NULL;
}

static const char *check_unknown(void) {
    kith_cpu cpu = KITH_CPU_INIT;
    kith_error error = {0};

    cpu.cores = 12345;
    if (kith_cpu_info(&cpu, &error) != KITH_E_ARG || error.status != KITH_E_ARG) return "not refused";
    if (!strstr(error.text, "avx9000") || !strstr(error.text, "KITH_CPU")) return "the text does not name the setting";
    if (cpu.cores != 12345 || cpu.tier) return "the result was touched";
    return ki_cpu_features() == ki_cpu_features_found() ? NULL : "detection did not go on without it";
}

static const char *check_long(void) {
    kith_error error = {0};
    kith_cpu cpu = KITH_CPU_INIT;
    return kith_cpu_info(&cpu, &error) == KITH_E_ARG ? NULL : "not refused";
}

static const char *check_arguments(void) {
    struct guarded {
        kith_cpu cpu;
        char after[16];
    } room;
    kith_error error = {0};

    if (kith_cpu_info(NULL, &error) != KITH_E_ARG) return "NULL was taken";
    memset(&room, 0, sizeof room);
    if (kith_cpu_info(&room.cpu, &error) != KITH_E_ARG) return "a struct without a size was taken";
    memset(&room, 0x5A, sizeof room);
    room.cpu.struct_size = offsetof(kith_cpu, model); /* older than the first release */
    if (kith_cpu_info(&room.cpu, &error) != KITH_E_ARG || room.cpu.model[0] != 0x5A || room.cpu.cores != 0x5A5A5A5A)
        return "written to a struct that is too short";
    memset(&room, 0x5A, sizeof room);
    room.cpu.struct_size = offsetof(struct guarded, after[8]); /* a newer caller */
    if (kith_cpu_info(&room.cpu, &error) != KITH_OK || strcmp(room.cpu.setting, "")) return "a larger struct is wrong";
    if (room.cpu.struct_size != offsetof(struct guarded, after[8]) || room.after[0] || room.after[7])
        return "what is not known is not zero";
    if (room.after[8] != 0x5A) return "written beyond the caller's struct";
    return NULL;
}

/* The compiler's own run-time check is a second opinion: what we report, it must know. */
static const char *check_second_opinion(void) {
    const uint32_t found = ki_cpu_features_found();
#if defined(__x86_64__)
    __builtin_cpu_init();
    if ((found & KI_AVX2) && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")))
        return "avx2";
    if (!(found & KI_AVX2) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "avx2 was overlooked";
    if ((found & KI_AVX512) && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                 __builtin_cpu_supports("avx512cd")))
        return "avx512";
    if (!(found & KI_AVX512) && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return "avx512 was overlooked";
    if ((found & KI_AVX512VNNI) && !__builtin_cpu_supports("avx512vnni")) return "avx512vnni";
    if ((found & KI_AVX512BF16) && !__builtin_cpu_supports("avx512bf16")) return "avx512bf16";
    if ((found & KI_AVX512VPOPCNT) && !__builtin_cpu_supports("avx512vpopcntdq")) return "avx512vpopcnt";
    if ((found & KI_AVX512VBMI) && !__builtin_cpu_supports("avx512vbmi")) return "avx512vbmi";
    return found & ARM_ALL ? "neon on x86" : NULL;
#elif defined(__aarch64__)
    if (!(found & KI_NEON)) return "neon, which every aarch64 has, was overlooked";
    return found & X86_ALL ? "x86 features on aarch64" : NULL;
#else
    return found ? "features on an unknown processor" : NULL;
#endif
}

static void test_unset(void **state) {
    (void)state;
    in_child(NULL, check_unset);
    in_child("", check_unset);
}

static void test_scalar(void **state) {
    (void)state;
    in_child("scalar", check_scalar);
}

static void test_unknown_setting(void **state) {
    char longest[5000];

    (void)state;
    in_child("avx9000", check_unknown);
    in_child("avx2,-avx9000", check_unknown);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    in_child(longest, check_long);
}

static void test_arguments(void **state) {
    (void)state;
    in_child(NULL, check_arguments);
}

static void test_second_opinion(void **state) {
    (void)state;
    in_child(NULL, check_second_opinion);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_lower),
        cmocka_unit_test(test_settings_never_raise),
        cmocka_unit_test(test_masks_stay_closed),
        cmocka_unit_test(test_unknown_words_are_refused),
        cmocka_unit_test(test_tier_names),
        cmocka_unit_test(test_unset),
        cmocka_unit_test(test_scalar),
        cmocka_unit_test(test_unknown_setting),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_second_opinion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

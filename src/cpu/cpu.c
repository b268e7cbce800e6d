/* SPDX-License-Identifier: Apache-2.0
 *
 * What this machine can do, found once; how KITH_CPU lowers it; and kith_cpu_info(), which tells a person.
 *
 * I1. `machine` is written once, under pthread_once, and constant afterwards; KITH_CPU is read then too, so that every
 *     part of a process sees one answer. Cores and threads are asked for at each call.
 * I2. A mask that leaves this file is closed under needs[] (C3).
 *
 * Any thread. */
#include "cpu/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cores.h"
#include "base/grow.h"
#include "base/status.h"
#include "cpu/detect.h"

static const struct feature {
    const char *word;
    uint32_t bit;
    uint32_t needs; /* features without which this one is not used */
} features[] = {
    {"avx2", KI_AVX2, 0},
    {"avxvnni", KI_AVXVNNI, KI_AVX2},
    {"avx512", KI_AVX512, KI_AVX2},
    {"avx512vnni", KI_AVX512VNNI, KI_AVX512},
    {"avx512bf16", KI_AVX512BF16, KI_AVX512},
    {"avx512fp16", KI_AVX512FP16, KI_AVX512},
    {"avx512vpopcnt", KI_AVX512VPOPCNT, KI_AVX512},
    {"avx512vbmi", KI_AVX512VBMI, KI_AVX512},
    {"amxint8", KI_AMX_INT8, KI_AVX512VNNI},
    {"amxbf16", KI_AMX_BF16, KI_AMX_INT8},
    {"neon", KI_NEON, 0},
    {"neondot", KI_NEON_DOT, KI_NEON},
    {"neoni8mm", KI_NEON_I8MM, KI_NEON_DOT},
};
enum { FEATURES = sizeof features / sizeof *features };

/* What a tier named in KITH_CPU lets through. */
static const struct tier {
    const char *word;
    uint32_t allowed;
} tiers[] = {
    {"scalar", 0},
    {"avx2", KI_AVX2 | KI_AVXVNNI},
    {"avx512", KI_AVX2 | KI_AVXVNNI | KI_AVX512 | KI_AVX512VNNI | KI_AVX512BF16 | KI_AVX512FP16 | KI_AVX512VPOPCNT |
                   KI_AVX512VBMI},
    {"amx", KI_AVX2 | KI_AVXVNNI | KI_AVX512 | KI_AVX512VNNI | KI_AVX512BF16 | KI_AVX512FP16 | KI_AVX512VPOPCNT |
                KI_AVX512VBMI | KI_AMX_INT8 | KI_AMX_BF16},
    {"neon", KI_NEON | KI_NEON_DOT | KI_NEON_I8MM},
};
enum { TIERS = sizeof tiers / sizeof *tiers };

enum { SETTING_BYTES = 256, FEATURE_TEXT_BYTES = 192 };

static struct {
    uint32_t found, used;
    char setting[SETTING_BYTES];
    bool setting_is_good;
    char found_text[FEATURE_TEXT_BYTES], used_text[FEATURE_TEXT_BYTES];
    char model[64];
    uint64_t l1d_bytes, l2_bytes, l3_bytes;
} machine;

/* ---- Masks and words --------------------------------------------------------------------------------------------- */

/* Take away what lacks something that it needs. features[] is ordered so that one pass is enough. */
static uint32_t close_mask(uint32_t mask) {
    for (size_t i = 0; i < FEATURES; i++)
        if ((mask & features[i].needs) != features[i].needs) mask &= ~features[i].bit;
    return mask;
}

static bool word_is(const char *word, size_t length, const char *name) {
    return strlen(name) == length && !memcmp(word, name, length);
}

/* One word of a setting; only the first may be a tier. */
static bool lower_by_word(const char *word, size_t length, bool first, uint32_t *mask) {
    if (length && word[0] == '-') {
        for (size_t i = 0; i < FEATURES; i++)
            if (word_is(word + 1, length - 1, features[i].word)) {
                *mask &= ~features[i].bit;
                return true;
            }
        return false;
    }
    for (size_t i = 0; first && i < TIERS; i++)
        if (word_is(word, length, tiers[i].word)) {
            *mask &= tiers[i].allowed;
            return true;
        }
    return false;
}

int ki_cpu_lower(uint32_t found, const char *setting, uint32_t *lowered) {
    uint32_t mask = found;

    *lowered = found;
    if (!setting || !*setting) return true;
    for (const char *word = setting;;) {
        const size_t length = strcspn(word, ",");
        if (!lower_by_word(word, length, word == setting, &mask)) return false;
        if (!word[length]) break;
        word += length + 1;
    }
    *lowered = close_mask(mask);
    return true;
}

const char *ki_cpu_tier(uint32_t mask) {
    if (mask & KI_AMX_INT8) return "amx";
    if (mask & KI_AVX512) return "avx512";
    if (mask & KI_AVX2) return "avx2";
    return mask & KI_NEON ? "neon" : "scalar";
}

static void write_features(uint32_t mask, char text[FEATURE_TEXT_BYTES]) {
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < FEATURES; i++)
        if (mask & features[i].bit)
            used += (size_t)snprintf(text + used, FEATURE_TEXT_BYTES - used, "%s%s", used ? " " : "", features[i].word);
}

/* ---- The rest of the machine ------------------------------------------------------------------------------------- */

/* First line of a small system file; false if there is none. */
static bool read_line(const char *path, char *line, size_t bytes) {
    FILE *file = fopen(path, "r");
    const bool got = file && fgets(line, (int)bytes, file);

    if (file) fclose(file);
    if (got) line[strcspn(line, "\n")] = '\0';
    return got;
}

/* Size of the data cache of a level as Linux shows it; 0 when it does not. */
static uint64_t cache_from_system(int level) {
    for (int index = 0; index < 8; index++) {
        char path[96], line[32], unit = '\0';
        unsigned long long size = 0;
        const char *const folder = "/sys/devices/system/cpu/cpu0/cache/index";

        snprintf(path, sizeof path, "%s%d/level", folder, index);
        if (!read_line(path, line, sizeof line)) break;
        if (atoi(line) != level) continue;
        snprintf(path, sizeof path, "%s%d/type", folder, index);
        if (!read_line(path, line, sizeof line) || !strcmp(line, "Instruction")) continue;
        snprintf(path, sizeof path, "%s%d/size", folder, index);
        if (!read_line(path, line, sizeof line) || sscanf(line, "%llu%c", &size, &unit) < 1) continue;
        return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : size;
    }
    return 0;
}

/* Linux first: for a last-level cache shared by some of the cores, glibc has been seen to answer with the sum of
 * all. */
static uint64_t cache_bytes(int level) {
    long bytes = 0;
    const uint64_t shown = cache_from_system(level);
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    if (!shown)
        bytes = sysconf(level == 1   ? _SC_LEVEL1_DCACHE_SIZE
                        : level == 2 ? _SC_LEVEL2_CACHE_SIZE
                                     : _SC_LEVEL3_CACHE_SIZE);
#endif
    return bytes > 0 ? (uint64_t)bytes : shown;
}

/* ---- Once a process ---------------------------------------------------------------------------------------------- */

static void detect(void) {
    const char *setting = getenv("KITH_CPU");

    machine.found = close_mask(ki_cpu_detect());
    snprintf(machine.setting, sizeof machine.setting, "%s", setting ? setting : "");
    machine.setting_is_good = ki_cpu_lower(machine.found, setting, &machine.used);
    write_features(machine.found, machine.found_text);
    write_features(machine.used, machine.used_text);
    ki_cpu_detect_model(machine.model, sizeof machine.model);
    machine.l1d_bytes = cache_bytes(1);
    machine.l2_bytes = cache_bytes(2);
    machine.l3_bytes = cache_bytes(3);
}

static void detect_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect);
}

uint32_t ki_cpu_features(void) {
    detect_once();
    return machine.used;
}

uint32_t ki_cpu_features_found(void) {
    detect_once();
    return machine.found;
}

size_t ki_cpu_l2_bytes(void) {
    detect_once();
    return machine.l2_bytes ? (size_t)machine.l2_bytes : (size_t)1 << 20;
}

kith_status kith_cpu_info(kith_cpu *cpu, kith_error *error) {
    if (!cpu) return ki_fail(error, KITH_E_ARG, "kith_cpu_info: cpu is NULL");
    kith_status status = ki_grown_check(KI_GROWN_CPU, cpu, error);
    if (status != KITH_OK) return status;
    detect_once();
    if (!machine.setting_is_good)
        return ki_fail(
            error, KITH_E_ARG,
            "The environment variable KITH_CPU is \"%s\", but a tier (scalar, avx2, avx512, amx, neon) and then "
            "\"-feature\" words were expected, separated by commas, such as \"avx2,-avxvnni\".",
            machine.setting);
    unsigned threads = 0;
    status = ki_default_threads(&threads, error);
    if (status != KITH_OK) return status;
    kith_cpu info = {
        .struct_size = sizeof info,
        .tier = ki_cpu_tier(machine.used),
        .tier_found = ki_cpu_tier(machine.found),
        .features = machine.found_text,
        .features_used = machine.used_text,
        .setting = machine.setting,
        .cores = ki_cores(),
        .l1d_bytes = machine.l1d_bytes,
        .l2_bytes = machine.l2_bytes,
        .l3_bytes = machine.l3_bytes,
        .threads = threads,
    };
    memcpy(info.model, machine.model, sizeof info.model);
    ki_grown_write(KI_GROWN_CPU, &info, cpu);
    return KITH_OK;
}

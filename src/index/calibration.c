/* SPDX-License-Identifier: Apache-2.0 */
#include "index/calibration.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

static const unsigned char magic[8] = {'K', 'I', 'T', 'H', 'C', 'A', 'L', '\n'};
enum { HELD_OUT = 1, HASH_BYTES = 8 };

static int order(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

int ki_tuned_compare(const void *left, const void *right) {
    const kith_tuned *a = left, *b = right;
    int by = order(a->k, b->k);
    if (by == 0) by = order(a->plan, b->plan);
    if (by == 0) by = order(a->code, b->code);
    if (by == 0) by = order(a->nprobe, b->nprobe);
    if (by == 0) by = order(a->rerank, b->rerank);
    return by ? by : order(a->batch, b->batch);
}

size_t ki_calibration_bytes(size_t settings) {
    return KI_CALIBRATION_HEAD_BYTES + settings * KI_CALIBRATION_SETTING_BYTES + HASH_BYTES;
}

size_t ki_calibration_settings(size_t bytes) {
    return (bytes - KI_CALIBRATION_HEAD_BYTES - HASH_BYTES) / KI_CALIBRATION_SETTING_BYTES;
}

static void encode_setting(const kith_tuned *s, unsigned char *to) {
    const size_t words[6] = {(size_t)s->plan, (size_t)s->code, s->k, s->batch, s->nprobe, s->rerank};
    for (int i = 0; i < 6; i++) ki_store_u32(to + 4 * i, (uint32_t)words[i]);
    ki_store_f64(to + 24, s->recall);
    ki_store_f64(to + 32, s->recall_error);
    ki_store_f64(to + 40, s->query_ns);
    ki_store_f64(to + 48, s->lost);
}

void ki_calibration_encode(const ki_calibration *calibration, unsigned char *to) {
    const size_t bytes = ki_calibration_bytes(calibration->count);
    memset(to, 0, bytes);
    memcpy(to, magic, sizeof(magic));
    ki_store_u32(to + 8, KI_CALIBRATION_VERSION);
    ki_store_u32(to + 12, (uint32_t)calibration->count);
    ki_store_u32(to + 16, calibration->queries);
    ki_store_u32(to + 20, calibration->held_out ? HELD_OUT : 0);
    ki_store_u64(to + 24, calibration->seed);
    ki_store_f64(to + 32, (double)calibration->unusual_below);
    ki_store_f64(to + 40, (double)calibration->median);
    ki_store_f64(to + 48, calibration->near_duplicates);
    for (size_t i = 0; i < calibration->count; i++)
        encode_setting(&calibration->settings[i], to + KI_CALIBRATION_HEAD_BYTES + i * KI_CALIBRATION_SETTING_BYTES);
    ki_store_u64(to + bytes - HASH_BYTES, XXH3_64bits(to, bytes - HASH_BYTES));
}

/* Whether a setting's parameters are such as its plan may have. Words as they are encoded. */
static int good_parameters(const uint32_t words[6]) {
    const uint32_t plan = words[0], code = words[1], k = words[2], nprobe = words[4], rerank = words[5];
    if (plan < KITH_PLAN_PLAIN || plan > KITH_PLAN_PQ || rerank > 4 * KITH_K_MAX) return 0;
    if (plan == KITH_PLAN_IVF) return code <= KITH_SCAN_FIRST && nprobe && nprobe <= KITH_LISTS_MAX && rerank >= k;
    if (plan < KITH_PLAN_IVF) return code <= KITH_SCAN_FIRST && nprobe <= KITH_LISTS_MAX;
    if (code != KITH_SCAN_AUTO || (rerank && rerank < k)) return 0;
    return plan == KITH_PLAN_PQ ? nprobe == 0 && rerank : nprobe && nprobe <= KI_CALIBRATION_EFFORT_MAX;
}

static int decode_setting(const unsigned char *from, kith_tuned *s) {
    uint32_t words[6];
    for (int i = 0; i < 6; i++) words[i] = ki_load_u32(from + 4 * i);
    const double recall = ki_load_f64(from + 24), error = ki_load_f64(from + 32), cost = ki_load_f64(from + 40);
    const double lost = ki_load_f64(from + 48);
    if (words[2] == 0 || words[2] > KITH_K_MAX || words[3] == 0 || words[3] > KITH_QUERIES_MAX) return 0;
    if (!good_parameters(words)) return 0;
    if (!(recall >= 0 && recall <= 1) || !(error >= 0 && error <= 1) || !(cost > 0 && cost < 1e18)) return 0;
    if (!(lost >= 0 && lost <= 1)) return 0;
    *s = (kith_tuned){.plan = (kith_plan)words[0],
                      .code = (kith_scan_code)words[1],
                      .k = words[2],
                      .batch = words[3],
                      .nprobe = words[4],
                      .rerank = words[5],
                      .recall = recall,
                      .recall_error = error,
                      .query_ns = cost,
                      .lost = lost};
    return 1;
}

static ki_calibration_state decode(const unsigned char *from, size_t bytes, ki_calibration *out) {
    if (memcmp(from, magic, sizeof(magic)) != 0) return KI_CALIBRATION_DAMAGED;
    if (ki_load_u64(from + bytes - HASH_BYTES) != XXH3_64bits(from, bytes - HASH_BYTES)) return KI_CALIBRATION_DAMAGED;
    if (ki_load_u32(from + 8) != KI_CALIBRATION_VERSION) return KI_CALIBRATION_OTHER_VERSION;
    const uint32_t count = ki_load_u32(from + 12), flags = ki_load_u32(from + 20);
    const float below = (float)ki_load_f64(from + 32), median = (float)ki_load_f64(from + 40);
    const double near_duplicates = ki_load_f64(from + 48);
    if (count == 0 || count > KI_CALIBRATION_SETTINGS_MAX || bytes != ki_calibration_bytes(count) || flags > HELD_OUT ||
        !isfinite(below) || !isfinite(median) || !(near_duplicates >= 0 && near_duplicates <= 1))
        return KI_CALIBRATION_DAMAGED;
    kith_tuned *settings = ki_alloc_array(count, sizeof(*settings));
    if (!settings) return KI_CALIBRATION_NO_MEMORY;
    int good = 1;
    for (uint32_t i = 0; i < count && good; i++) {
        good =
            decode_setting(from + KI_CALIBRATION_HEAD_BYTES + (size_t)i * KI_CALIBRATION_SETTING_BYTES, &settings[i]);
        if (good && i) good = ki_tuned_compare(&settings[i - 1], &settings[i]) < 0;
    }
    if (!good) {
        free(settings);
        return KI_CALIBRATION_DAMAGED;
    }
    *out = (ki_calibration){.settings = settings,
                            .count = count,
                            .queries = ki_load_u32(from + 16),
                            .held_out = flags == HELD_OUT,
                            .seed = ki_load_u64(from + 24),
                            .unusual_below = below,
                            .median = median,
                            .near_duplicates = near_duplicates};
    return KI_CALIBRATION_GOOD;
}

ki_calibration_state ki_calibration_decode(const void *data, uint64_t bytes, ki_calibration *calibration) {
    if (!data || bytes < ki_calibration_bytes(0) || bytes > ki_calibration_bytes(KI_CALIBRATION_SETTINGS_MAX))
        return KI_CALIBRATION_DAMAGED;
    unsigned char *copy = ki_alloc_array(bytes, 1);
    if (!copy) return KI_CALIBRATION_NO_MEMORY;
    memcpy(copy, data, (size_t)bytes);
    const ki_calibration_state state = decode(copy, (size_t)bytes, calibration);
    free(copy);
    return state;
}

void ki_calibration_free(ki_calibration *calibration) {
    free(calibration->settings);
    *calibration = (ki_calibration){0};
}

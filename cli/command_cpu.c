/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith cpu`: the processor, and devices beside it. */
#include <string.h>

#include "command.h"
#include "json.h"
#include "table.h"
#include "terminal.h"

static void words_json(struct json *json, const char *name, const char *words) {
    emit_array(json, name);
    while (*words) {
        const size_t bytes = strcspn(words, " ");
        if (bytes > 0) emit_bytes(json, NULL, words, bytes);
        words += bytes + (words[bytes] == ' ');
    }
    emit_array_end(json);
}

static void devices_json(struct json *json) {
    kith_error error = {0};
    kith_device device = KITH_DEVICE_INIT;
    kith_status status = KITH_OK;
    emit_array(json, "devices");
    for (size_t i = 0; (status = kith_device_get(i, &device, &error)) == KITH_OK; i++) {
        emit_object(json, NULL);
        emit_text(json, "backend", device.backend);
        emit_text(json, "name", device.name);
        emit_text(json, "driver", device.driver);
        emit_uint(json, "memory_bytes", device.memory_bytes);
        emit_uint(json, "units", device.units);
        emit_text(json, "obstacle", device.obstacle);
        emit_object_end(json);
    }
    emit_array_end(json);
    emit_text(json, "no_devices", status == KITH_E_NOTFOUND ? "" : error.text);
}

/* Without any: why. */
static void devices_text(void) {
    kith_error error = {0};
    kith_device device = KITH_DEVICE_INIT;
    char memory[HUMAN_BYTES];
    size_t i = 0;
    for (; kith_device_get(i, &device, &error) == KITH_OK; i++)
        pair_line(stdout, i ? "" : "devices", "%s %zu: %s, driver %s, %s, %u units%s%s", device.backend, i, device.name,
                  device.driver, human_bytes(memory, device.memory_bytes), device.units,
                  device.obstacle[0] ? "; cannot be used: " : "", device.obstacle);
    if (i == 0) pair_line(stdout, "devices", "none: %s", error.text);
}

static void cpu_json(const kith_cpu *cpu) {
    struct json json = JSON_PRETTY(stdout);
    emit_object(&json, NULL);
    emit_text(&json, "model", cpu->model);
    emit_text(&json, "tier", cpu->tier);
    emit_text(&json, "tier_found", cpu->tier_found);
    words_json(&json, "features", cpu->features);
    words_json(&json, "features_used", cpu->features_used);
    emit_text(&json, "setting", cpu->setting);
    emit_uint(&json, "cores", cpu->cores);
    emit_uint(&json, "l1d_bytes", cpu->l1d_bytes);
    emit_uint(&json, "l2_bytes", cpu->l2_bytes);
    emit_uint(&json, "l3_bytes", cpu->l3_bytes);
    emit_uint(&json, "threads", cpu->threads);
    devices_json(&json);
    emit_object_end(&json);
}

static const char *cache_size(char *to, uint64_t bytes) {
    return bytes ? human_bytes(to, bytes) : "unknown";
}

static void cpu_text(const kith_cpu *cpu) {
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    pair_line(stdout, "processor", "%s", cpu->model[0] ? cpu->model : "unknown");
    pair_line(stdout, "cores", "%u", cpu->cores);
    pair_line(stdout, "caches", "L1d %s, L2 %s, L3 %s", cache_size(a, cpu->l1d_bytes), cache_size(b, cpu->l2_bytes),
              cache_size(c, cpu->l3_bytes));
    pair_line(stdout, "tier in use", "%s", cpu->tier);
    pair_line(stdout, "best tier", "%s", cpu->tier_found);
    pair_line(stdout, "features", "%s", cpu->features[0] ? cpu->features : "none");
    if (strcmp(cpu->features, cpu->features_used) != 0)
        pair_line(stdout, "used of them", "%s", cpu->features_used[0] ? cpu->features_used : "none");
    if (cpu->setting[0]) pair_line(stdout, "KITH_CPU", "%s", cpu->setting);
    if (cpu->threads != cpu->cores) pair_line(stdout, "threads", "%u", cpu->threads);
    devices_text();
}

int command_cpu(const struct arguments *arguments) {
    kith_error error = {0};
    kith_cpu cpu = KITH_CPU_INIT;
    const kith_status status = kith_cpu_info(&cpu, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (option_given(arguments, OPTION_JSON)) {
        cpu_json(&cpu);
    } else {
        cpu_text(&cpu);
    }
    return EXIT_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * An index on devices: what options ask for. */
#include "base/grow.h"
#include "base/status.h"
#include "device/plugin.h"
#include "index/index.h"
#include "view/on_device.h"

#include <stdio.h>

kith_status ki_index_to_device(kith_index *index, const kith_open_options *options, kith_error *error) {
    const ki_device_wish wish = {options->device != KITH_DEVICE_AUTO, options->device_bytes};
    kith_error why = {0};
    if (options->device == KITH_DEVICE_CPU) return KITH_OK;
    const kith_status status = ki_on_device_open(&index->view, &wish, &index->view.device, &why);
    if (status == KITH_OK || !wish.demanded) return KITH_OK;
    return ki_fail(error, status, "device: %s", why.text);
}

kith_status kith_device_get(size_t number, kith_device *device, kith_error *error) {
    const ki_device_backend *backend;
    ki_device_facts facts;
    kith_device today = KITH_DEVICE_INIT;
    if (!device) return ki_fail(error, KITH_E_ARG, "kith_device_get: device is NULL");
    kith_status status = ki_grown_check(KI_GROWN_DEVICE, device, error);
    if (status == KITH_OK) status = ki_device_opencl(&backend, error);
    if (status == KITH_OK) status = backend->describe(number, &facts, error);
    if (status != KITH_OK) return status;
    snprintf(today.backend, sizeof(today.backend), "%s", backend->name);
    snprintf(today.name, sizeof(today.name), "%s", facts.name);
    snprintf(today.driver, sizeof(today.driver), "%s", facts.driver);
    snprintf(today.obstacle, sizeof(today.obstacle), "%s", facts.obstacle);
    today.memory_bytes = facts.memory_bytes;
    today.units = facts.units;
    ki_grown_write(KI_GROWN_DEVICE, &today, device);
    return KITH_OK;
}

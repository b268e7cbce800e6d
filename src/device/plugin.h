/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends are plug-ins, opened when somebody asks for a device: libkith_NAME.so, which lies beside the library or the
 * program that kith is part of, in a folder lib there or next to that folder, where the system looks for libraries, or
 * where the environment variable KITH_DEVICE_PATH says. */
#ifndef KI_DEVICE_PLUGIN_H
#define KI_DEVICE_PLUGIN_H

#include "device/backend.h"

/* The one backend that there is; stays for the process. KITH_E_UNSUPPORTED: its plug-in is missing, or of another
 * version. Any thread. */
kith_status ki_device_opencl(const ki_device_backend **backend, kith_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels as a program of a device: compiled once, and kept on disk for the next process.
 *
 * K1. An entry of the cache is named and headed by a hash of all that it depends on: text, options, and the versions of
 *     device and driver. An entry that is damaged, of others, or that the driver refuses is as good as none.
 * K2. Whatever fails with the cache, the answer is the compiler's. */
#ifndef KI_DEVICE_OPENCL_PROGRAM_H
#define KI_DEVICE_OPENCL_PROGRAM_H

#include "device/opencl/loader.h"

/* tile: queries of a work item. */
kith_status ki_cl_program(const ki_cl *cl, cl_context context, cl_device_id device, unsigned tile, int bits,
                          cl_program *program, kith_error *error);

#endif

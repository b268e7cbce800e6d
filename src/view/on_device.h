/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a view lies on devices: the full codes, or the words of bits, in parts, and a sample of them all.
 *
 * O1. The blocks of all parts are those of the view, each once. Where a device's memory is not enough for its share,
 *     the rest of it is a part that is streamed: brought in pieces of `piece` blocks for each search.
 * O2. The sample's blocks are spread evenly over the view; they lie on the first device, whole.
 *
 * Constant once open, but for what is said to be atomic: any thread. Who searches holds it: streams may outlive the
 * index. */
#ifndef KI_VIEW_ON_DEVICE_H
#define KI_VIEW_ON_DEVICE_H

#include "device/backend.h"
#include "view/view.h"

#include <stdatomic.h>

enum { KI_DEVICES_MAX = 16, KI_BATCH_SIZES = 25 };

typedef struct ki_device_part {
    size_t device; /* which */
    ki_device_memory *memory;
    size_t first, end; /* blocks of the view */
    size_t piece;      /* 0: the device holds them */
} ki_device_part;

struct ki_on_device {
    const ki_device_backend *backend;
    int demanded; /* no other plan than on the device is wanted */
    char name[KI_DEVICE_TEXT + 32];
    size_t devices, parts;
    ki_device *device[KI_DEVICES_MAX];
    ki_device_part *part;
    ki_device_blocks blocks;  /* of the whole view */
    ki_device_memory *sample; /* O2 */
    size_t sample_blocks, sample_step; /* block i of it is block i * step of the view */
    uint8_t *words;           /* bits laid into blocks, or NULL */
    uint16_t *valid;
    atomic_int holders;
    atomic_int failed; /* a device of it failed: it is of no use any more */
    struct {
        _Atomic double device_ns, cpu_ns; /* of a query, by the clock; 0: not measured yet */
    } cost[KI_BATCH_SIZES];               /* of a call of 2^i queries and more; demanded devices have none */
};

/* What is wanted. */
typedef struct ki_device_wish {
    int demanded;
    uint64_t memory_bytes; /* to be taken of each device; 0: most of it */
} ki_device_wish;

/* Open all devices that can be used and copy to them what they have room for. KITH_E_UNSUPPORTED, KITH_E_NOMEM,
 * KITH_E_IO. */
kith_status ki_on_device_open(const ki_view *view, const ki_device_wish *wish, ki_on_device **on, kith_error *error);
void ki_on_device_hold(ki_on_device *on);
void ki_on_device_release(ki_on_device *on); /* NULL is fine */

#endif

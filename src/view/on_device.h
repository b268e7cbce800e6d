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
    size_t quads;                      /* words of four bytes of a vector there */
    ki_device_blocks blocks;           /* of the whole view */
    ki_device_memory *sample;          /* O2 */
    size_t sample_blocks, sample_step; /* block i of it is block i * step of the view */
    uint8_t *words;                    /* bits laid into blocks, or NULL */
    uint16_t *valid;
    atomic_int holders;
    atomic_int failed; /* one that is not demanded failed: it is of no use any more */
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
void ki_on_device_release(ki_on_device *on); /* NULL is fine */

/* Blocks first..end of those of the view. */
ki_device_blocks ki_on_device_blocks(const ki_on_device *on, size_t first, size_t end);
/* The vectors of each of `blocks` blocks that may be found (allowed NULL: all), into masks. */
void ki_on_device_masks(const ki_view *view, const uint64_t *allowed, size_t blocks, uint16_t *masks);

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

/* A part's blocks first, first + step, ... below end. */
typedef struct ki_device_work {
    const ki_device_part *part; /* NULL: none is under way */
    size_t first, end, step;
} ki_device_work;

/* A stream to each device, and what is under way in them. One thread at a time. All zero: none are open. */
typedef struct ki_device_lines {
    ki_on_device *on; /* held */
    ki_device_stream *stream[KI_DEVICES_MAX];
    ki_device_work work[KI_DEVICES_MAX][KI_DEVICE_SLOTS];
    size_t begun[KI_DEVICES_MAX]; /* works */
} ki_device_lines;

kith_status ki_device_lines_open(ki_device_lines *lines, ki_on_device *on, kith_error *error);
/* The queries of the works that follow, to all devices. */
kith_status ki_device_lines_begin(ki_device_lines *lines, const ki_device_queries *queries, size_t room,
                                  kith_error *error);
/* Close the streams: what is under way nobody will wait for. */
void ki_device_lines_stop(ki_device_lines *lines);
void ki_device_lines_free(ki_device_lines *lines);
/* Add what was done since: upload, compute, download. */
void ki_device_lines_times(const ki_device_lines *lines, uint64_t ns[3]);

/* The slot that a device's next work takes, and the one that has waited longest, which is the same. */
static inline unsigned ki_device_lines_slot(const ki_device_lines *lines, size_t device) {
    return (unsigned)(lines->begun[device] % KI_DEVICE_SLOTS);
}

/* Passes over what devices hold: a sixteenth of the blocks, another one, an eighth, a fourth, and the other half. So
 * most blocks are met with thresholds of vectors from near them. */
static const struct ki_device_pass {
    size_t offset, step;
} ki_device_passes[] = {{0, 16}, {8, 16}, {4, 8}, {2, 4}, {1, 2}};
enum { KI_DEVICE_PASSES = sizeof(ki_device_passes) / sizeof(*ki_device_passes) };

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a lane: for results, and for scans. Taken at the first need, kept for the next. */
#include "flat/lane.h"

#include "base/checked.h"

#include <string.h>

ki_lane *ki_lane_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_lane));
}

void ki_lane_destroy(ki_lane *lane) {
    if (!lane) return;
    ki_area *const all[] = {&lane->norm_buffer,      &lane->code_buffer,     &lane->bytes_buffer,
                            &lane->collector_buffer, &lane->hits_buffer,     &lane->floor_buffer,
                            &lane->pending_buffer,   &lane->panel_buffer,    &lane->packed_buffer,
                            &lane->work_buffer,      &lane->bounds_buffer,   &lane->tile_hits_buffer,
                            &lane->needed_buffer,    &lane->gathered_buffer, &lane->centroid_buffer};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; i < lane->grown_count; i++) free(lane->grown[i].data);
    free(lane->grown);
    free(lane);
}

static size_t collector_capacity(size_t k) {
    return k + (k / 2 > 128 ? k / 2 : 128);
}
static size_t pending_capacity(size_t k) {
    return 192 + 2 * ki_min_size(k, 1024);
}

size_t ki_flat_group(const ki_view *view, size_t k) {
    enum { BYTES = 32 << 20 };
    const size_t each = collector_capacity(k) * sizeof(ki_hit) + k * sizeof(float) +
                        pending_capacity(k) * sizeof(ki_pending) + view->dim * 6 + view->row_bytes;
    const size_t fit = BYTES / each;
    return fit < 1 ? 1 : fit > KI_GROUP_QUERIES ? KI_GROUP_QUERIES : fit;
}

static int take_range_memory(ki_lane *lane) {
    if (lane->grown_count < lane->count) {
        ki_area *grown = ki_alloc_array_zeroed(lane->count, sizeof(*grown));
        if (!grown) return 0;
        if (lane->grown_count) memcpy(grown, lane->grown, lane->grown_count * sizeof(*grown));
        free(lane->grown);
        lane->grown = grown;
        lane->grown_count = lane->count;
    }
    for (size_t i = 0; i < lane->count; i++)
        lane->collector[i] = (ki_collector){.hits = lane->grown[i].data,
                                            .capacity = lane->grown[i].bytes / sizeof(ki_hit),
                                            .worst = lane->search->radius};
    return 1;
}

int ki_lane_take_results(ki_lane *lane) {
    const size_t n = lane->count, k = lane->search->k, capacity = collector_capacity(k);
    lane->collector = ki_area_take(&lane->collector_buffer, n, sizeof(ki_collector));
    if (!lane->collector) return 0;
    if (k == 0) return take_range_memory(lane);
    ki_hit *hits = ki_area_take(&lane->hits_buffer, (uint64_t)n * capacity, sizeof(ki_hit));
    if (!hits) return 0;
    for (size_t i = 0; i < n; i++) {
        lane->collector[i] = (ki_collector){.hits = hits + i * capacity, .capacity = capacity};
        ki_collector_reset(&lane->collector[i], k);
    }
    return 1;
}

int ki_lane_take_scan(ki_lane *lane) {
    const ki_view *view = lane->view;
    const ki_tile_kernels *tile = lane->tile;
    const size_t n = lane->count, k = lane->search->k, levels = view->level1.blocks ? 2 : 1;
    const size_t bytes[KI_LEVELS] = {4 * view->full.quads, levels == 2 ? 4 * view->level1.quads : 0};
    lane->pending_capacity = pending_capacity(k);
    lane->group_blocks = n <= tile->width ? KI_GROUP_BLOCKS_MAX : KI_GROUP_BLOCKS;
    lane->panels = (n + tile->width - 1) / tile->width;
    ki_query_code *codes = ki_area_take(&lane->code_buffer, n * KI_LEVELS, sizeof(*codes));
    int8_t *coded = ki_area_take(&lane->bytes_buffer, n, bytes[0] + bytes[1]);
    float *floors =
        ki_area_take(&lane->floor_buffer, n, (k + 6) * sizeof(float) + sizeof(ki_floor) + 2 * sizeof(size_t));
    lane->pending = ki_area_take(&lane->pending_buffer, n, lane->pending_capacity * sizeof(ki_pending));
    ki_panel *panels = ki_area_take(&lane->panel_buffer, lane->panels * KI_LEVELS, sizeof(*panels));
    const size_t packed[KI_LEVELS] = {ki_round_up(tile->packed_bytes(view->full.quads, tile->width), 64),
                                      levels == 2 ? ki_round_up(tile->packed_bytes(view->level1.quads, tile->width), 64)
                                                  : 0};
    char *area = ki_area_take(&lane->packed_buffer, lane->panels, packed[0] + packed[1]);
    lane->rows = ki_area_take(&lane->work_buffer, n, (view->dim + bytes[1]) * sizeof(float));
    lane->bounds = ki_area_take(&lane->bounds_buffer, KI_GROUP_BLOCKS_MAX, sizeof(ki_block_bound));
    lane->hits =
        ki_area_take(&lane->tile_hits_buffer, KI_TILE_HITS + 2 * (uint64_t)n * lane->group_blocks, sizeof(ki_tile_hit));
    lane->gathered_packed = ki_area_take(&lane->gathered_buffer, 1, packed[0] + packed[1] + n * sizeof(uint32_t) + 64);
    if (!lane->gathered_packed || !codes || !coded || !floors || !lane->pending || !panels || !area || !lane->rows ||
        !lane->bounds || !lane->hits)
        return 0;
    lane->gathered = (uint32_t *)(void *)((char *)lane->gathered_packed + packed[0] + packed[1]);
    lane->found = lane->hits + KI_TILE_HITS;
    lane->sorted = lane->found + n * lane->group_blocks;
    lane->projected = lane->rows + n * view->dim;
    lane->floor = (ki_floor *)(void *)floors;
    lane->pending_count = (size_t *)(void *)(lane->floor + n);
    lane->tau = (float *)(void *)(lane->pending_count + n);
    lane->guess = lane->tau + n;
    lane->slot = (uint32_t *)(void *)(lane->guess + n);
    lane->place = lane->slot + n;
    float *heaps = lane->tau + 4 * n;
    for (size_t i = 0; i < n; i++) lane->floor[i] = (ki_floor){.heap = heaps + i * k, .k = k};
    for (size_t l = 0; l < KI_LEVELS; l++) {
        lane->code[l] = codes + l * n;
        lane->bytes[l] = coded + l * n * bytes[0];
        lane->panel[l] = panels + l * lane->panels;
        for (size_t p = 0; p < lane->panels; p++)
            lane->panel[l][p] = (ki_panel){.packed = area + l * lane->panels * packed[0] + p * packed[l]};
    }
    return 1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a desk: for results, and for scans. Taken at the first need, kept for the next. */
#include "flat/desk.h"

#include "base/checked.h"
#include "cpu/cpu.h"

#include <string.h>

ki_desk *ki_desk_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_desk));
}

void ki_desk_destroy(ki_desk *desk) {
    if (!desk) return;
    ki_area *const all[] = {&desk->norm_buffer,      &desk->code_buffer,     &desk->bytes_buffer,
                            &desk->collector_buffer, &desk->hits_buffer,     &desk->floor_buffer,
                            &desk->pending_buffer,   &desk->panel_buffer,    &desk->packed_buffer,
                            &desk->work_buffer,      &desk->bounds_buffer,   &desk->tile_hits_buffer,
                            &desk->reach_buffer,     &desk->gathered_buffer, &desk->centroid_buffer};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) free(all[i]->data);
    for (size_t i = 0; i < desk->grown_count; i++) free(desk->grown[i].data);
    free(desk->grown);
    ki_device_desk_destroy(desk->device);
    free(desk);
}

static size_t collector_capacity(size_t k) {
    return k + (k / 2 > 128 ? k / 2 : 128);
}
static size_t pending_capacity(size_t k) {
    return 192 + 2 * ki_min_size(k, 1024);
}

/* What is read most: the first level where there is one. */
static const ki_level *scanned_level(const ki_view *view) {
    return view->level1.blocks ? &view->level1 : &view->full;
}

size_t ki_flat_group(const ki_view *view, size_t k) {
    enum { BYTES = 32 << 20 };
    const ki_tile_kernels *tile = ki_tile();
    const size_t each = collector_capacity(k) * sizeof(ki_hit) + k * sizeof(float) +
                        pending_capacity(k) * sizeof(ki_pending) + view->dim * 6 + view->row_bytes +
                        view->lists.count * sizeof(float);
    const size_t packed = tile->packed_bytes(scanned_level(view)->quads, tile->width) / tile->width;
    const size_t most = packed ? ki_group_queries(ki_cpu_l2_bytes(), packed) : KI_GROUP_QUERIES_LEAST;
    const size_t fit = BYTES / each;
    return fit < 1 ? 1 : ki_min_size(fit, most);
}

static int take_range_memory(ki_desk *desk) {
    if (desk->grown_count < desk->count) {
        ki_area *grown = ki_alloc_array_zeroed(desk->count, sizeof(*grown));
        if (!grown) return 0;
        if (desk->grown_count) memcpy(grown, desk->grown, desk->grown_count * sizeof(*grown));
        free(desk->grown);
        desk->grown = grown;
        desk->grown_count = desk->count;
    }
    for (size_t i = 0; i < desk->count; i++)
        desk->collector[i] = (ki_collector){.hits = desk->grown[i].data,
                                            .capacity = desk->grown[i].bytes / sizeof(ki_hit),
                                            .worst = desk->search->radius};
    return 1;
}

int ki_desk_take_results(ki_desk *desk) {
    const size_t n = desk->count, k = desk->search->k, capacity = collector_capacity(k);
    desk->collector = ki_area_take(&desk->collector_buffer, n, sizeof(ki_collector));
    if (!desk->collector) return 0;
    if (k == 0) return take_range_memory(desk);
    ki_hit *hits = ki_area_take(&desk->hits_buffer, (uint64_t)n * capacity, sizeof(ki_hit));
    if (!hits) return 0;
    for (size_t i = 0; i < n; i++) {
        desk->collector[i] = (ki_collector){.hits = hits + i * capacity, .capacity = capacity};
        ki_collector_reset(&desk->collector[i], k);
    }
    return 1;
}

int ki_desk_take_scan(ki_desk *desk) {
    const ki_view *view = desk->view;
    const ki_tile_kernels *tile = desk->tile;
    const size_t n = desk->count, k = desk->search->k, levels = view->level1.blocks ? 2 : 1;
    const size_t bytes[KI_LEVELS] = {4 * view->full.quads, levels == 2 ? 4 * view->level1.quads : 0};
    desk->pending_capacity = pending_capacity(k);
    const size_t block_bytes = scanned_level(view)->quads * KI_QUAD_BYTES + KI_FACTORS * sizeof(float);
    desk->group_blocks = n <= tile->width ? KI_GROUP_BLOCKS_ALONE : ki_group_blocks(ki_cpu_l2_bytes(), block_bytes);
    desk->panels = (n + tile->width - 1) / tile->width;
    ki_query_code *codes = ki_area_take(&desk->code_buffer, n * KI_LEVELS, sizeof(*codes));
    int8_t *coded = ki_area_take(&desk->bytes_buffer, n, bytes[0] + bytes[1]);
    float *floors =
        ki_area_take(&desk->floor_buffer, n, (k + 6) * sizeof(float) + sizeof(ki_floor) + 2 * sizeof(size_t));
    desk->pending = ki_area_take(&desk->pending_buffer, n, desk->pending_capacity * sizeof(ki_pending));
    ki_panel *panels = ki_area_take(&desk->panel_buffer, desk->panels * KI_LEVELS, sizeof(*panels));
    const size_t packed[KI_LEVELS] = {ki_round_up(tile->packed_bytes(view->full.quads, tile->width), 64),
                                      levels == 2 ? ki_round_up(tile->packed_bytes(view->level1.quads, tile->width), 64)
                                                  : 0};
    char *area = ki_area_take(&desk->packed_buffer, desk->panels, packed[0] + packed[1]);
    desk->rows = ki_area_take(&desk->work_buffer, n, (view->dim + bytes[1]) * sizeof(float));
    desk->bounds = ki_area_take(&desk->bounds_buffer, KI_GROUP_BLOCKS_MAX, sizeof(ki_block_bound));
    desk->hits =
        ki_area_take(&desk->tile_hits_buffer, KI_TILE_HITS + 2 * (uint64_t)n * desk->group_blocks, sizeof(ki_tile_hit));
    desk->gathered_packed = ki_area_take(&desk->gathered_buffer, 1, packed[0] + packed[1] + n * sizeof(uint32_t) + 64);
    if (!desk->gathered_packed || !codes || !coded || !floors || !desk->pending || !panels || !area || !desk->rows ||
        !desk->bounds || !desk->hits)
        return 0;
    desk->gathered = (uint32_t *)(void *)((char *)desk->gathered_packed + packed[0] + packed[1]);
    desk->found = desk->hits + KI_TILE_HITS;
    desk->sorted = desk->found + n * desk->group_blocks;
    desk->projected = desk->rows + n * view->dim;
    desk->floor = (ki_floor *)(void *)floors;
    desk->pending_count = (size_t *)(void *)(desk->floor + n);
    desk->tau = (float *)(void *)(desk->pending_count + n);
    desk->guess = desk->tau + n;
    desk->slot = (uint32_t *)(void *)(desk->guess + n);
    desk->place = desk->slot + n;
    float *heaps = desk->tau + 4 * n;
    for (size_t i = 0; i < n; i++) desk->floor[i] = (ki_floor){.heap = heaps + i * k, .k = k};
    for (size_t l = 0; l < KI_LEVELS; l++) {
        desk->code[l] = codes + l * n;
        desk->bytes[l] = coded + l * n * bytes[0];
        desk->panel[l] = panels + l * desk->panels;
        for (size_t p = 0; p < desk->panels; p++)
            desk->panel[l][p] = (ki_panel){.packed = area + l * desk->panels * packed[0] + p * packed[l]};
    }
    return 1;
}

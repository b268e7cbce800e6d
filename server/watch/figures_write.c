/* SPDX-License-Identifier: Apache-2.0
 *
 * What was seen of collections and process, as metrics. */
#include <stddef.h>

#include "watch/figures.h"

/* One family of whole numbers: a row for each value of a second label. */
typedef struct ks_column {
    const char *value; /* of the second label; NULL without one */
    size_t offset;     /* in ks_shop_figures, of a uint64_t */
} ks_column;

static uint64_t figure(const ks_shop_figures *shop, size_t offset) {
    return *(const uint64_t *)(const void *)((const char *)shop + offset);
}

/* The shops with a label of their own, then the others. NULL behind the last. */
static const ks_shop_figures *shop_at(const ks_figures *figures, size_t place) {
    if (place < figures->count) return &figures->shops[place];
    return place == figures->count && figures->other_count ? &figures->others : NULL;
}

static void write_rows(const ks_figures *figures, ks_scrape *scrape, const char *label, const ks_column *columns,
                       size_t count) {
    const ks_shop_figures *shop;
    for (size_t i = 0; (shop = shop_at(figures, i)) != NULL; i++)
        for (size_t c = 0; c < count; c++)
            ks_scrape_uint(scrape, (const ks_label[]){{"collection", shop->name}, {label, columns[c].value}}, 2,
                           figure(shop, columns[c].offset));
}

#define AT(member) offsetof(ks_shop_figures, member)

static void write_vectors(const ks_figures *figures, ks_scrape *scrape) {
    static const ks_column items[] = {{NULL, AT(items)}}, segments[] = {{NULL, AT(segments)}};
    static const ks_column disk[] = {{NULL, AT(disk_bytes)}};
    static const ks_column vectors[] = {{"sealed", AT(live_rows)}, {"dead", AT(dead_rows)}, {"head", AT(head_rows)}};
    ks_scrape_family(scrape, "kith_items", KS_GAUGE, NULL, "Items that are there.");
    write_rows(figures, scrape, "", items, 1);
    ks_scrape_family(scrape, "kith_vectors", KS_GAUGE, NULL,
                     "Rows: sealed in segments; dead there, until a merge; head: in memory, not in a segment yet.");
    write_rows(figures, scrape, "state", vectors, 3);
    ks_scrape_family(scrape, "kith_segments", KS_GAUGE, NULL, "Segments.");
    write_rows(figures, scrape, "", segments, 1);
    ks_scrape_family(scrape, "kith_disk_bytes", KS_GAUGE, "bytes", "Catalog and segments on disk.");
    write_rows(figures, scrape, "", disk, 1);
}

static void write_caches(const ks_figures *figures, ks_scrape *scrape) {
    static const ks_column hits[] = {{"answers", AT(cache_hits)}, {"profiles", AT(profile_hits)}};
    static const ks_column misses[] = {{"answers", AT(cache_misses)}, {"profiles", AT(profile_misses)}};
    static const ks_column evictions[] = {{"answers", AT(cache_evictions)}};
    ks_scrape_family(scrape, "kith_cache_hits", KS_COUNTER, NULL, "Answers and profiles that were kept in memory.");
    write_rows(figures, scrape, "cache", hits, 2);
    ks_scrape_family(scrape, "kith_cache_misses", KS_COUNTER, NULL, "Answers and profiles that were not.");
    write_rows(figures, scrape, "cache", misses, 2);
    ks_scrape_family(scrape, "kith_cache_evictions", KS_COUNTER, NULL, "Answers that were let go for want of room.");
    write_rows(figures, scrape, "cache", evictions, 1);
}

static void write_memory(const ks_figures *figures, uint64_t body_bytes, ks_scrape *scrape) {
    static const ks_column components[] = {{"head", AT(head_bytes)},
                                           {"answers", AT(cache_bytes)},
                                           {"profiles", AT(profile_cache_bytes)},
                                           {"graphs", AT(resident_bytes)},
                                           {"catalog", AT(other_bytes)}};
    ks_scrape_family(scrape, "kith_memory_bytes", KS_GAUGE, "bytes",
                     "Memory of collections: head, kept answers and profiles, copies of graphs, catalog with bit sets; "
                     "and bodies of calls. What is mapped of segment files is the system's, and not counted.");
    for (size_t c = 0; c < sizeof(components) / sizeof(*components); c++) {
        const ks_shop_figures *shop;
        uint64_t sum = 0;
        for (size_t i = 0; (shop = shop_at(figures, i)) != NULL; i++) sum += figure(shop, components[c].offset);
        ks_scrape_uint(scrape, &(ks_label){"component", components[c].value}, 1, sum);
    }
    ks_scrape_uint(scrape, &(ks_label){"component", "bodies"}, 1, body_bytes);
}

static void write_work(const ks_figures *figures, ks_scrape *scrape) {
    ks_scrape_family(scrape, "kith_build_progress_ratio", KS_GAUGE, "ratio",
                     "Background work of a collection that is going on: what share of it is done.");
    for (size_t i = 0; i < figures->count; i++) {
        const ks_shop_figures *shop = &figures->shops[i];
        const ks_label labels[] = {{"collection", shop->name}, {"work", shop->work}};
        if (*shop->work) ks_scrape_real(scrape, labels, 2, shop->progress);
    }
    ks_scrape_family(scrape, "kith_generation", KS_GAUGE, NULL, "Number of the generation that is current.");
    for (size_t i = 0; i < figures->count; i++)
        ks_scrape_uint(scrape, &(ks_label){"collection", figures->shops[i].name}, 1, figures->shops[i].generation);
    ks_scrape_family(scrape, "kith_generation_timestamp_seconds", KS_GAUGE, "seconds",
                     "When the current generation was begun, since 1970; not there for the first one.");
    for (size_t i = 0; i < figures->count; i++)
        if (figures->shops[i].generation_s > 0)
            ks_scrape_real(scrape, &(ks_label){"collection", figures->shops[i].name}, 1,
                           figures->shops[i].generation_s);
    ks_scrape_family(scrape, "kith_collection_trouble", KS_GAUGE, NULL,
                     "1 when background work failed last, and is tried again; or when writes are refused after an I/O "
                     "error.");
    const ks_shop_figures *shop;
    for (size_t i = 0; (shop = shop_at(figures, i)) != NULL; i++)
        ks_scrape_uint(scrape, &(ks_label){"collection", shop->name}, 1, (uint64_t)(shop->trouble != 0));
    ks_scrape_family(scrape, "kith_collections", KS_GAUGE, NULL, "Collections on the shelf.");
    ks_scrape_uint(scrape, NULL, 0, figures->count + figures->other_count);
}

/* Named as all of Prometheus' own libraries name them. */
static void write_process(const ks_process_figures *process, ks_scrape *scrape) {
    ks_scrape_family(scrape, "process_cpu_seconds", KS_COUNTER, "seconds", "Processor time, user and system.");
    ks_scrape_real(scrape, NULL, 0, process->cpu_s);
    ks_scrape_family(scrape, "process_resident_memory_bytes", KS_GAUGE, "bytes", "Resident memory, maps included.");
    ks_scrape_uint(scrape, NULL, 0, process->resident_bytes);
    ks_scrape_family(scrape, "process_virtual_memory_bytes", KS_GAUGE, "bytes", "Address space.");
    ks_scrape_uint(scrape, NULL, 0, process->virtual_bytes);
    ks_scrape_family(scrape, "process_start_time_seconds", KS_GAUGE, "seconds", "Start of the process, since 1970.");
    ks_scrape_real(scrape, NULL, 0, process->start_s);
    ks_scrape_family(scrape, "process_open_fds", KS_GAUGE, NULL, "Open file descriptors.");
    ks_scrape_uint(scrape, NULL, 0, process->open_files);
    ks_scrape_family(scrape, "process_max_fds", KS_GAUGE, NULL, "File descriptors that it may have open.");
    ks_scrape_uint(scrape, NULL, 0, process->files_max);
    ks_scrape_family(scrape, "process_threads", KS_GAUGE, NULL, "Threads.");
    ks_scrape_uint(scrape, NULL, 0, process->threads);
}

void ks_figures_write(const ks_figures *figures, uint64_t body_bytes, ks_scrape *scrape) {
    write_vectors(figures, scrape);
    write_caches(figures, scrape);
    write_memory(figures, body_bytes, scrape);
    write_work(figures, scrape);
    write_process(&figures->process, scrape);
}

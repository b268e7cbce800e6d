/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes the demo's page: one HTML file that needs no network. Every picture lies in one PNG sheet, inlined once as a
 * style; a picture on the page is an element that shows its part of the sheet.
 *
 * P1. The page's security policy forbids all that is not in the file itself, so nothing can be fetched by mistake.
 * P2. What is said by colour is also said by text: wrong labels carry a mark and a word for those who hear the page.
 * P3. The pictures are stored white on black, as the data set has them, and inverted by style on light paper. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo/demo.h"
#include "demo/picture.h"
#include "plot/svg.h"
#include "terminal.h"

#define SHEET_COLUMNS 50u
#define PITCH         (DEMO_SIDE + 2) /* a dark pixel around each picture: scaled pictures do not bleed into each other */

/* The pictures that the page uses, in the order of their first use. */
struct sheet {
    const struct demo *demo;
    uint8_t *pictures;
    size_t count, capacity;
    int32_t *train_at, *test_at; /* place on the sheet, or -1 */
    bool failed;
};

/* ---- The sheet --------------------------------------------------------------------------------------------------- */

static size_t add_picture(struct sheet *sheet, const uint8_t *picture) {
    if (sheet->count == sheet->capacity) {
        size_t capacity = sheet->capacity ? sheet->capacity * 2 : 1024;
        uint8_t *pictures = realloc(sheet->pictures, capacity * DEMO_DIM);
        if (!pictures) {
            sheet->failed = true;
            return 0;
        }
        sheet->pictures = pictures;
        sheet->capacity = capacity;
    }
    memcpy(sheet->pictures + sheet->count * DEMO_DIM, picture, DEMO_DIM);
    return sheet->count++;
}

static size_t train_place(struct sheet *sheet, uint64_t row) {
    if (sheet->train_at[row] < 0)
        sheet->train_at[row] = (int32_t)add_picture(sheet, sheet->demo->train.data + row * DEMO_DIM);
    return (size_t)sheet->train_at[row];
}

static size_t test_place(struct sheet *sheet, size_t row) {
    if (sheet->test_at[row] < 0)
        sheet->test_at[row] = (int32_t)add_picture(sheet, sheet->demo->test.data + row * DEMO_DIM);
    return (size_t)sheet->test_at[row];
}

static bool open_sheet(struct sheet *sheet, const struct demo *demo) {
    *sheet = (struct sheet){.demo = demo};
    sheet->train_at = malloc(demo->train.count * sizeof(*sheet->train_at));
    sheet->test_at = malloc(demo->test.count * sizeof(*sheet->test_at));
    if (!sheet->train_at || !sheet->test_at) return false;
    memset(sheet->train_at, 0xff, demo->train.count * sizeof(*sheet->train_at));
    memset(sheet->test_at, 0xff, demo->test.count * sizeof(*sheet->test_at));
    return true;
}

static void close_sheet(struct sheet *sheet) {
    free(sheet->pictures);
    free(sheet->train_at);
    free(sheet->test_at);
}

/* The rule that gives every .p its sheet. It stands at the end of the body, when all pictures are known. */
static void write_sheet(struct html *out, const struct sheet *sheet) {
    size_t rows = (sheet->count + SHEET_COLUMNS - 1) / SHEET_COLUMNS;
    size_t width = (size_t)SHEET_COLUMNS * PITCH, height = rows * PITCH;
    uint8_t *pixels = calloc(width, height ? height : 1);
    if (!pixels || sheet->failed) {
        free(pixels);
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < sheet->count; i++)
        for (size_t y = 0; y < DEMO_SIDE; y++)
            memcpy(pixels + (i / SHEET_COLUMNS * PITCH + y + 1) * width + i % SHEET_COLUMNS * PITCH + 1,
                   sheet->pictures + i * DEMO_DIM + y * DEMO_SIDE, DEMO_SIDE);
    html_printf(out, "<style>.p{background-size:calc(var(--s)*%zu/%d) calc(var(--s)*%zu/%d);background-image:url(",
                width, DEMO_SIDE, height, DEMO_SIDE);
    png_data_uri(out, pixels, width, height);
    html_raw(out, ")}</style>\n");
    free(pixels);
}

/* ---- Pictures ---------------------------------------------------------------------------------------------------- */

static void put_picture(struct html *out, size_t place, const char *class, const char *spoken) {
    html_printf(out, "<i class=\"p%s%s\" style=\"--x:%zu;--y:%zu\"", *class ? " " : "", class, place % SHEET_COLUMNS,
                place / SHEET_COLUMNS);
    if (spoken) {
        html_raw(out, " role=\"img\" aria-label=\"");
        html_text(out, spoken);
        html_raw(out, "\" title=\"");
        html_text(out, spoken);
        html_raw(out, "\"");
    } else {
        html_raw(out, " aria-hidden=\"true\"");
    }
    html_raw(out, "></i>");
}

/* A picture with its label below; `wrong` marks a label that is not what the query shows. */
static void put_card(struct html *out, size_t place, const char *label, bool wrong, const char *spoken) {
    html_printf(out, "<li%s>", wrong ? " class=\"wrong\"" : "");
    put_picture(out, place, "", spoken);
    html_raw(out, wrong ? "<b><span aria-hidden=\"true\">\xe2\x9c\x97 </span>" : "<b>");
    html_text(out, label);
    if (wrong) html_raw(out, "<span class=\"heard\"> (another kind)</span>");
    html_raw(out, "</b></li>");
}

static const char *train_label(const struct demo *demo, uint64_t row) {
    return demo_class_names[demo->train_labels.data[row]];
}

/* ---- Head and headline ------------------------------------------------------------------------------------------- */

static void write_head(struct html *out) {
    html_raw(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                  "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta name=\"color-scheme\" content=\"light dark\">\n"
                  "<title>kith: exact neighbours of 10,000 pictures</title>\n"
                  "<link rel=\"icon\" href=\"data:,\">\n<style>");
    html_raw(out, svg_style());
    html_raw(out, demo_style);
    html_raw(out, "</style>\n</head>\n<body>\n");
}

static void put_figure_number(struct html *out, const char *number, const char *unit, const char *meaning) {
    html_raw(out, "<div><dt>");
    html_text(out, meaning);
    html_raw(out, "</dt><dd>");
    html_text(out, number);
    html_raw(out, "<small> ");
    html_text(out, unit);
    html_raw(out, "</small></dd></div>\n");
}

static void write_headline(struct html *out, const struct demo *demo) {
    char count[HUMAN_BYTES], queries[HUMAN_BYTES], number[64], text[160];
    html_printf(out, "<header>\n<p class=\"brand\">kith</p>\n<h1>%s pictures, searched exactly</h1>\n",
                human_count(count, demo->train.count));
    html_printf(
        out,
        "<p class=\"lead\">Each of %s test pictures from Fashion-MNIST was compared with %s known ones, %d pixels "
        "each. These are the ten nearest, and not merely likely ones: the answers equal those of a plain scan, bit "
        "for bit, and come <strong>%.0f\xc2\xa0times</strong> sooner.</p>\n<dl class=\"numbers\">\n",
        human_count(queries, demo->test.count), count, DEMO_DIM, demo_batch_rate(demo) / demo_plain_rate(demo));
    double rate = demo_batch_rate(demo);
    human_count(number, (uint64_t)(rate >= 10000 ? round(rate / 100) * 100 : round(rate)));
    snprintf(text, sizeof(text), "in batches of %s, %u thread%s", human_count(queries, DEMO_BATCH), demo->threads,
             demo->threads == 1 ? "" : "s");
    put_figure_number(out, number, "queries/s", text);
    svg_number(demo_latency_ms(demo, 50), number);
    put_figure_number(out, number, "ms", "for one query alone (median)");
    human_count(number, (uint64_t)round(demo_plain_rate(demo)));
    snprintf(text, sizeof(text), "by a plain scan, measured on %zu", demo->checked);
    put_figure_number(out, number, "queries/s", text);
    snprintf(number, sizeof(number), "%zu of %zu", demo->identical, demo->checked);
    put_figure_number(out, number, "", "answers checked are bit-identical to the plain scan");
    snprintf(number, sizeof(number), "%.1f", 100 * demo_accuracy(demo));
    put_figure_number(out, number, "%", "of pictures recognised when the five nearest vote");
    html_raw(out, "</dl>\n</header>\n<main>\n");
}

/* ---- Examples ---------------------------------------------------------------------------------------------------- */

static void write_example(struct html *out, struct sheet *sheet, size_t row) {
    const struct demo *demo = sheet->demo;
    uint8_t truth = demo->test_labels.data[row], answer = demo->answers[row];
    char spoken[128];
    snprintf(spoken, sizeof(spoken), "Asked: %s, test picture %zu", demo_class_names[truth], row);
    html_printf(out, "<li class=\"query%s\"><div class=\"asked\">", truth == answer ? "" : " missed");
    put_picture(out, test_place(sheet, row), "big", spoken);
    html_printf(out, "<b>%s</b>", demo_class_names[truth]);
    if (truth != answer)
        html_printf(out, "<em><span aria-hidden=\"true\">\xe2\x9c\x97 </span>taken for %s</em>",
                    demo_class_names[answer]);
    html_raw(out, "</div><ol class=\"near\">");
    for (size_t i = 0; i < DEMO_K; i++) {
        uint64_t id = demo->ids[row * DEMO_K + i];
        snprintf(spoken, sizeof(spoken), "Neighbour %zu: %s, distance %.0f", i + 1, train_label(demo, id),
                 sqrt((double)demo->distances[row * DEMO_K + i]));
        put_card(out, train_place(sheet, id), train_label(demo, id), demo->train_labels.data[id] != truth, spoken);
    }
    html_raw(out, "</ol></li>\n");
}

static void write_examples(struct html *out, struct sheet *sheet, const struct demo_look *look) {
    size_t usual = look->example_count - look->chosen_wrong;
    html_raw(out,
             "<section>\n<h2>Pictures and their neighbours</h2>\n<p>The first two test pictures of each kind, with the "
             "ten nearest of all known pictures, nearest first. A neighbour of another kind is marked "
             "<span class=\"mark\">\xe2\x9c\x97</span>.</p>\n<ul class=\"queries\">\n");
    for (size_t i = 0; i < usual; i++) write_example(out, sheet, look->examples[i]);
    html_raw(out, "</ul>\n");
    if (look->chosen_wrong > 0) {
        html_raw(out, "<h3>And where the neighbours are wrong</h3>\n<p>The first mistakes. The search is exact; it is "
                      "pixels that say little about what a thing is.</p>\n<ul class=\"queries\">\n");
        for (size_t i = usual; i < look->example_count; i++) write_example(out, sheet, look->examples[i]);
        html_raw(out, "</ul>\n");
    }
    html_raw(out, "</section>\n");
}

/* ---- Shoppers ---------------------------------------------------------------------------------------------------- */

static void write_shopper(struct html *out, struct sheet *sheet, const struct demo_shopper *shopper, const char *name) {
    char spoken[96];
    html_printf(out, "<article class=\"shopper\"><h3>%s</h3>\n<div class=\"liked\"><h4>liked</h4><ul class=\"near\">",
                name);
    for (size_t i = 0; i < shopper->liked_count; i++) {
        const char *label = train_label(sheet->demo, shopper->liked[i]);
        snprintf(spoken, sizeof(spoken), "Liked: %s", label);
        put_card(out, train_place(sheet, shopper->liked[i]), label, false, spoken);
    }
    html_printf(out, "</ul></div>\n<div class=\"taste\"><h4>%s</h4><ul class=\"near\">",
                shopper->profile_count > 1 ? "two tastes" : "taste");
    for (size_t p = 0; p < shopper->profile_count; p++) {
        size_t members = 0;
        for (size_t i = 0; i < shopper->liked_count; i++) members += shopper->profile_of[i] == p;
        snprintf(spoken, sizeof(spoken), "mean of %zu", members);
        put_card(out, add_picture(sheet, shopper->profile[p]), spoken, false, spoken);
    }
    html_raw(out, "</ul></div>\n<div class=\"offered\"><h4>recommended</h4><ol class=\"near\">");
    for (size_t i = 0; i < shopper->offered_count; i++) {
        const char *label = train_label(sheet->demo, shopper->offered[i]);
        snprintf(spoken, sizeof(spoken), "Recommended: %s", label);
        put_card(out, train_place(sheet, shopper->offered[i]), label, false, spoken);
    }
    html_raw(out, "</ol></div></article>\n");
}

static void write_shoppers(struct html *out, struct sheet *sheet, const struct demo_look *look) {
    static const char *const names[DEMO_SHOPPERS] = {"Ada", "Bo", "Cleo", "Dev"};
    html_raw(out,
             "<section>\n<h2>Four shoppers</h2>\n<p>A taste is a vector, too: the mean of what somebody liked. The "
             "nearest items to it that are not yet liked are the recommendation. Where the likes fall into two groups, "
             "each group has a mean of its own, and the two take turns. Labels play no part in it.</p>\n"
             "<div class=\"shoppers\">\n");
    for (size_t i = 0; i < look->shopper_count; i++) write_shopper(out, sheet, &look->shoppers[i], names[i]);
    html_raw(out, "</div>\n</section>\n");
}

/* ---- The visit --------------------------------------------------------------------------------------------------- */

static void put_shelf(struct html *out, struct sheet *sheet, const struct demo_visit *visit) {
    char spoken[96], price[16];
    html_raw(out, "<ol class=\"near\">");
    for (size_t i = 0; i < visit->shown_count; i++) {
        const uint64_t row = visit->shown[i];
        const bool fresh = visit->is_fresh[i];
        snprintf(price, sizeof(price), "%.2f", demo_price(sheet->demo, row));
        snprintf(spoken, sizeof(spoken), "Recommended%s: %s, %s", fresh ? ", new" : "", train_label(sheet->demo, row),
                 price);
        html_raw(out, fresh ? "<li class=\"fresh\">" : "<li>");
        put_picture(out, train_place(sheet, row), "", spoken);
        html_raw(out, "<b>");
        html_text(out, visit->where ? price : train_label(sheet->demo, row));
        html_raw(out, "</b></li>");
    }
    html_raw(out, "</ol>");
}

static void write_step(struct html *out, struct sheet *sheet, const struct demo_visit *visit) {
    const struct demo *demo = sheet->demo;
    const bool disliked = visit->kind == KITH_EVENT_DISLIKE;
    char time[HUMAN_BYTES], spoken[96];
    html_raw(out, "<li class=\"shopper step\"><div class=\"did\"><h3>");
    html_text(out, visit->where ? "looks for bags" : disliked ? "dislikes" : "likes");
    html_raw(out, "</h3>");
    if (visit->where) {
        html_raw(out, "<code>");
        html_text(out, visit->where);
        html_raw(out, "</code>");
    }
    html_raw(out, "<ul class=\"near\">");
    for (size_t i = 0; i < visit->told_count; i++) {
        const char *label = train_label(demo, visit->told[i]);
        snprintf(spoken, sizeof(spoken), "%s: %s", disliked ? "Disliked" : "Liked", label);
        put_card(out, train_place(sheet, visit->told[i]), label, false, spoken);
    }
    html_raw(out, "</ul>");
    if (visit->told_count)
        html_printf(out, "<small>on the disk after %s</small>", human_duration(time, visit->told_seconds));
    html_raw(out, "</div>\n<div class=\"offered\"><h4>recommended then</h4>");
    put_shelf(out, sheet, visit);
    html_printf(out, "<small>found in %s, %zu of %zu new</small></div></li>\n",
                human_duration(time, visit->asked_seconds), visit->fresh, visit->shown_count);
}

static void write_visit(struct html *out, struct sheet *sheet) {
    const struct demo_shop *shop = &sheet->demo->shop;
    char count[HUMAN_BYTES], seconds[HUMAN_BYTES];
    html_printf(out,
                "<section id=\"visit\">\n<h2>Ann visits the shop</h2>\n<p>The same pictures as a collection: %s items "
                "with a kind and a made-up price, there after %s. Ann\xe2\x80\x99s profile is kept in it. "
                "Whatever she does moves the profile, and the next page she sees is searched with it: nothing is "
                "trained, nothing is computed overnight. What is new to her page has a line below.</p>\n"
                "<ol class=\"shoppers\">\n",
                human_count(count, sheet->demo->train.count), human_duration(seconds, shop->seconds));
    for (size_t v = 0; v < shop->visits; v++) write_step(out, sheet, &shop->visit[v]);
    html_raw(out, "</ol>\n</section>\n");
}

/* ---- Wandering --------------------------------------------------------------------------------------------------- */

/* places[i]: where picture i lies on the sheet; labels: a digit each; near: positions, flat. */
static void write_walk(struct html *out, struct sheet *sheet, const struct demo_walk *walk) {
    char shown[HUMAN_BYTES], open[HUMAN_BYTES];
    if (walk->starts == 0) return;
    html_printf(
        out,
        "<section id=\"walk\">\n<h2>Wander</h2>\n<p>Choose a picture to see its %d nearest, then one of those, and "
        "so on. The page holds %s pictures and the neighbours of %s of them; %s.</p>\n"
        "<noscript><p>This part needs JavaScript.</p></noscript>\n"
        "<div id=\"walk-starts\" class=\"starts\" role=\"group\" aria-label=\"Pictures to begin with\"></div>\n"
        "<div id=\"walk-here\" class=\"here\" aria-live=\"polite\"></div>\n"
        "<div class=\"trail\"><span id=\"walk-note\"></span><div id=\"walk-trail\" role=\"group\" "
        "aria-label=\"The way you came\"></div></div>\n<script>\nconst walk={starts:%zu,open:%zu,columns:%u,near:%d,"
        "\nnames:[",
        DEMO_NEAR, human_count(shown, walk->shown), human_count(open, walk->open),
        "those with a dotted edge are where the page ends", walk->starts, walk->open, SHEET_COLUMNS, DEMO_NEAR);
    for (size_t i = 0; i < DEMO_CLASSES; i++) html_printf(out, "%s\"%s\"", i ? "," : "", demo_class_names[i]);
    html_raw(out, "],\nlabels:\"");
    for (size_t i = 0; i < walk->shown; i++) html_printf(out, "%d", sheet->demo->train_labels.data[walk->rows[i]]);
    html_raw(out, "\",\nplaces:[");
    for (size_t i = 0; i < walk->shown; i++) html_printf(out, "%s%zu", i ? "," : "", train_place(sheet, walk->rows[i]));
    html_raw(out, "],\nlinks:[");
    for (size_t i = 0; i < walk->open * DEMO_NEAR; i++) html_printf(out, "%s%u", i ? "," : "", walk->near[i]);
    html_raw(out, "]};\n");
    html_raw(out, demo_script);
    html_raw(out, "</script>\n</section>\n");
}

/* ---- The rest ---------------------------------------------------------------------------------------------------- */

static void put_command(struct html *out, const char *meaning, const char *command, const char *subject,
                        const char *rest) {
    html_printf(out, "<li><p>%s</p><pre><code>%s", meaning, command);
    html_text(out, subject);
    html_printf(out, "%s</code></pre></li>\n", rest);
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void write_next(struct html *out, const struct demo *demo) {
    const char *name = name_of(demo->index_path), *shop = name_of(demo->shop.path);
    html_raw(out, "<section>\n<h2>Go on</h2>\n<ol class=\"commands\">\n");
    put_command(out, "The index of these pictures lies beside this page. What is in it?", "kith info ", name, "");
    put_command(out, "More like picture 42, and what the search did:", "kith search ", name, " --id 42 -k 5 --explain");
    put_command(out, "The shop lies here too. What would Ann like?", "kith query ", shop,
                " --profile " DEMO_SHOPPER " -k 5");
    put_command(out, "She likes item 42. Ask again:", "kith profile ", shop, " " DEMO_SHOPPER " --like 42");
    put_command(out, "Dresses for her, no two alike:", "kith query ", shop,
                " --profile " DEMO_SHOPPER " --where 'kind = \"Dress\" and price &lt; 60' --diversity 0.3");
    put_command(out, "Your own vectors, from .npy, .fvecs, .fbin, .csv or .jsonl:", "kith build your.npy -o your.kith",
                "", "");
    html_raw(out, "</ol>\n</section>\n</main>\n");
}

static void write_foot(struct html *out, const struct demo *demo) {
    char bytes[HUMAN_BYTES], build[HUMAN_BYTES];
    html_raw(out, "<footer><p>Measured by kith ");
    html_text(out, kith_version());
    html_raw(out, " on ");
    html_text(out, demo->cpu.model[0] ? demo->cpu.model : "this processor");
    html_printf(out, ", %u thread%s, tier ", demo->threads, demo->threads == 1 ? "" : "s");
    html_text(out, demo->cpu.tier);
    html_printf(out, ", plan %s. Index: %s, built in %s.", demo->explain.plan_name ? demo->explain.plan_name : "auto",
                human_bytes(bytes, demo->build.file_bytes), human_duration(build, (double)demo->build.total_ns * 1e-9));
    html_raw(
        out,
        " Distances are Euclidean, over pixels of 0 to 255. Pictures: Fashion-MNIST, \xc2\xa9 2017 Zalando SE, MIT "
        "licence.</p></footer>\n");
}

void demo_page(struct html *out, const struct demo *demo, const struct demo_look *look) {
    struct sheet sheet;
    if (open_sheet(&sheet, demo)) {
        write_head(out);
        write_headline(out, demo);
        write_examples(out, &sheet, look);
        write_shoppers(out, &sheet, look);
        write_visit(out, &sheet);
        write_walk(out, &sheet, &look->walk);
        html_raw(out, "<section>\n<h2>Measured</h2>\n");
        demo_plots(out, demo);
        html_raw(out, "</section>\n");
        write_next(out, demo);
        write_foot(out, demo);
        write_sheet(out, &sheet);
        html_raw(out, "</body>\n</html>\n");
    } else {
        out->failed = true;
    }
    close_sheet(&sheet);
}

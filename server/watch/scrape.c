/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics as Prometheus reads them. Numbers have a decimal point, because the server's locale for them is "C". */
#include "watch/scrape.h"

#include <math.h>
#include <string.h>

static const char *const types[] = {
    [KS_GAUGE] = "gauge", [KS_COUNTER] = "counter", [KS_HISTOGRAM] = "histogram", [KS_INFO] = "info"};

/* What stands behind the family's name in its samples. */
static const char *suffix_of(ks_family_type type) {
    return type == KS_COUNTER ? "_total" : type == KS_INFO ? "_info" : "";
}

void ks_scrape_family(ks_scrape *scrape, const char *name, ks_family_type type, const char *unit, const char *help) {
    /* The older format knows no suffixes and no infos: its families are called as their samples are. */
    const char *suffix = scrape->open ? "" : suffix_of(type);
    const char *word = types[!scrape->open && type == KS_INFO ? KS_GAUGE : type];
    scrape->name = name;
    scrape->type = type;
    ks_text_format(scrape->text, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, word);
    if (scrape->open && unit) ks_text_format(scrape->text, "# UNIT %s %s\n", name, unit);
}

static void add_escaped(ks_text *text, const char *value) {
    while (*value) {
        const size_t plain = strcspn(value, "\\\"\n");
        ks_text_add(text, value, plain);
        value += plain;
        if (!*value) break;
        ks_text_add(text, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\", 2);
        value++;
    }
}

/* name{label="value",...} and a space; `more` is one label besides, or NULL. A page has thousands of these lines, and the
 * loop that writes it answers nobody meanwhile: so without printf, which takes five times as long. */
static void add_head(ks_scrape *scrape, const char *suffix, const ks_label *labels, size_t count,
                     const ks_label *more) {
    const char *before = "{";
    ks_text_add_line(scrape->text, scrape->name);
    ks_text_add_line(scrape->text, suffix);
    for (size_t i = 0; i <= count; i++) {
        const ks_label *label = i < count ? &labels[i] : more;
        if (!label || !label->value) continue;
        ks_text_add(scrape->text, before, 1);
        ks_text_add_line(scrape->text, label->name);
        ks_text_add(scrape->text, "=\"", 2);
        add_escaped(scrape->text, label->value);
        ks_text_add(scrape->text, "\"", 1);
        before = ",";
    }
    ks_text_add_line(scrape->text, *before == '{' ? " " : "} ");
}

static void add_uint(ks_text *text, uint64_t value) {
    char digits[24];
    size_t at = sizeof(digits);
    digits[--at] = '\n';
    do digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    ks_text_add(text, digits + at, sizeof(digits) - at);
}

void ks_scrape_uint(ks_scrape *scrape, const ks_label *labels, size_t count, uint64_t value) {
    add_head(scrape, suffix_of(scrape->type), labels, count, NULL);
    add_uint(scrape->text, value);
}

static void add_real(ks_text *text, double value) {
    if (isnan(value)) {
        ks_text_add_line(text, "NaN\n");
    } else if (isinf(value)) {
        ks_text_add_line(text, value > 0 ? "+Inf\n" : "-Inf\n");
    } else {
        ks_text_format(text, "%.12g\n", value);
    }
}

void ks_scrape_real(ks_scrape *scrape, const ks_label *labels, size_t count, double value) {
    add_head(scrape, suffix_of(scrape->type), labels, count, NULL);
    add_real(scrape->text, value);
}

void ks_scrape_buckets(ks_scrape *scrape, const ks_label *label, const ks_scrape_histogram *histogram) {
    const size_t labels = label ? 1 : 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < histogram->count; i++) {
        const ks_label bound = {"le", i + 1 < histogram->count ? histogram->bounds[i] : "+Inf"};
        sum += histogram->buckets[i];
        add_head(scrape, "_bucket", label, labels, &bound);
        add_uint(scrape->text, sum);
    }
    add_head(scrape, "_sum", label, labels, NULL);
    add_real(scrape->text, histogram->sum);
    add_head(scrape, "_count", label, labels, NULL);
    add_uint(scrape->text, sum);
}

void ks_scrape_end(ks_scrape *scrape) {
    if (scrape->open) ks_text_add_line(scrape->text, "# EOF\n");
}

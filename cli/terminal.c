/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

/* Written by terminal_init and terminal_set_color while the process has one thread. */
static bool utf8;
static bool ascii_only; /* a terminal that is not UTF-8: bytes 0x80-0x9f could be control codes there */
static enum color_choice color = COLOR_AUTO;

void terminal_init(void) {
    setlocale(LC_CTYPE, "");
    utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    ascii_only = !utf8 && (isatty(STDOUT_FILENO) || isatty(STDERR_FILENO));
}

void terminal_set_color(enum color_choice choice) {
    color = choice;
}

static bool terminal_is_dumb(void) {
    const char *term = getenv("TERM");
    return !term || !*term || strcmp(term, "dumb") == 0;
}

bool terminal_is(FILE *stream) {
    return isatty(fileno(stream)) != 0;
}

bool terminal_utf8(void) {
    return utf8;
}

bool terminal_color(FILE *stream) {
    if (color != COLOR_AUTO) return color == COLOR_ALWAYS;
    const char *refused = getenv("NO_COLOR");
    return !(refused && *refused) && terminal_is(stream) && !terminal_is_dumb();
}

int terminal_width(FILE *stream) {
    struct winsize size;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    const char *columns = getenv("COLUMNS");
    const long number = columns ? strtol(columns, NULL, 10) : 0;
    return number > 0 && number < 10000 ? (int)number : 80;
}

const char *terminal_style(FILE *stream, enum style style) {
    static const char *const escapes[] = {
        [STYLE_PLAIN] = "\033[0m",  [STYLE_BOLD] = "\033[1m",    [STYLE_DIM] = "\033[2m",  [STYLE_RED] = "\033[1;31m",
        [STYLE_GREEN] = "\033[32m", [STYLE_YELLOW] = "\033[33m", [STYLE_CYAN] = "\033[36m"};
    return terminal_color(stream) ? escapes[style] : "";
}

int text_width(const char *text, size_t bytes) {
    if (!utf8) return (int)bytes;
    mbstate_t state = {0};
    int width = 0;
    while (bytes > 0) {
        wchar_t character;
        const size_t used = mbrtowc(&character, text, bytes, &state);
        if (used == 0 || used > bytes) return width + (int)bytes; /* not clean text; each byte takes a column */
        const int columns = wcwidth(character);
        width += columns > 0 ? columns : 0;
        text += used;
        bytes -= used;
    }
    return width;
}

/* Bytes of the well-formed UTF-8 character at text, and its code point; 0 when it is malformed. */
static size_t utf8_character(const unsigned char *text, size_t bytes, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length;
    if (text[0] < 0x80) {
        *code = text[0];
        return 1;
    }
    if ((text[0] & 0xe0) == 0xc0) {
        length = 2;
    } else if ((text[0] & 0xf0) == 0xe0) {
        length = 3;
    } else if ((text[0] & 0xf8) == 0xf0) {
        length = 4;
    } else {
        return 0;
    }
    if (length > bytes) return 0;
    uint32_t value = text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
    *code = value;
    return length;
}

/* Control characters, and those that reorder the text around them on a terminal. */
static bool steers_terminal(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

size_t text_clean(char *to, size_t room, const char *text, size_t bytes) {
    size_t used = 0;
    while (bytes > 0) {
        uint32_t code = 0;
        size_t taken = utf8_character((const unsigned char *)text, bytes, &code);
        const char *piece = text;
        size_t piece_bytes = taken;
        if (taken == 0 || steers_terminal(code) || (ascii_only && code >= 0x80)) {
            taken = taken ? taken : 1;
            piece = "?";
            piece_bytes = 1;
        }
        if (used + piece_bytes >= room) break;
        memcpy(to + used, piece, piece_bytes);
        used += piece_bytes;
        text += taken;
        bytes -= taken;
    }
    to[used] = 0;
    return used;
}

char *human_count(char *to, uint64_t count) {
    char digits[24];
    const int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    size_t used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) to[used++] = ',';
        to[used++] = digits[i];
    }
    to[used] = 0;
    return to;
}

/* Three digits that matter, in steps of `base`. */
static char *human_scaled(char *to, double value, double base, const char *const units[], size_t unit_count) {
    size_t unit = 0;
    while (value >= base * 0.9995 && unit + 1 < unit_count) {
        value /= base;
        unit++;
    }
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(to, HUMAN_BYTES, "%.*f %s", decimals, value, units[unit]);
    return to;
}

char *human_bytes(char *to, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) {
        snprintf(to, HUMAN_BYTES, "%u B", (unsigned)bytes);
        return to;
    }
    return human_scaled(to, (double)bytes, 1024.0, units, sizeof(units) / sizeof(*units));
}

char *human_duration(char *to, double seconds) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    if (!(seconds < 1e7)) {
        snprintf(to, HUMAN_BYTES, "%.0f h", seconds / 3600);
    } else if (seconds >= 3600) {
        snprintf(to, HUMAN_BYTES, "%.0f h %02.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    } else if (seconds >= 100) {
        snprintf(to, HUMAN_BYTES, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    } else {
        human_scaled(to, seconds > 0 ? seconds * 1e9 : 0, 1000.0, units, sizeof(units) / sizeof(*units));
    }
    return to;
}

char *human_byte_rate(char *to, double bytes_per_second) {
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    return human_scaled(to, bytes_per_second, 1000.0, units, sizeof(units) / sizeof(*units));
}

char *human_rate(char *to, double per_second) {
    if (per_second >= 100 && per_second < 1e18) {
        human_count(to, (uint64_t)(per_second + 0.5));
        memcpy(to + strlen(to), "/s", 3);
    } else {
        snprintf(to, HUMAN_BYTES, per_second < 9.995 ? "%.2f/s" : "%.1f/s", per_second);
    }
    return to;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include "command.h"
#include "terminal.h"

#define REDRAW_NS     100000000u /* ten times a second: smooth to the eye, no load for a slow terminal */
#define FIRST_DRAW_NS 200000000u /* work shorter than this shows no bar that would only flicker */

void progress_start(struct progress *progress, bool quiet) {
    const char *term = getenv("TERM");
    memset(progress, 0, sizeof(*progress));
    progress->shown = !quiet && terminal_is(stderr) && term && *term && strcmp(term, "dumb") != 0;
}

static void make_bar(char *bar, size_t room, double share, int cells) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const bool utf8 = terminal_utf8();
    const int parts = (int)(share * cells * 8);
    size_t used = 0;
    for (int i = 0; i < cells && used + 4 < room; i++) {
        const char *cell = " ";
        if (parts >= (i + 1) * 8) {
            cell = utf8 ? "█" : "#";
        } else if (utf8 && parts > i * 8) {
            cell = eighths[parts - i * 8];
        }
        used += (size_t)snprintf(bar + used, room - used, "%s", cell);
    }
}

static void time_left(char *text, size_t room, double seconds) {
    if (!(seconds < 360000)) {
        snprintf(text, room, "-:--");
    } else if (seconds >= 3600) {
        snprintf(text, room, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60, (int)seconds % 60);
    } else {
        snprintf(text, room, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    }
}

static void draw(const struct progress *progress, const char *unit, uint64_t done, uint64_t total, uint64_t time_ns) {
    const double seconds = (double)(time_ns - progress->stage_start_ns) * 1e-9;
    const double share = total ? (double)(done < total ? done : total) / (double)total : 0;
    const uint64_t fresh = done > progress->stage_start_done ? done - progress->stage_start_done : 0;
    const double rate = seconds > 0 ? (double)fresh / seconds : 0;
    const bool bytes = strcmp(unit, "bytes") == 0;
    char per_second[HUMAN_BYTES], speed[2 * HUMAN_BYTES], left[32], tail[128], bar[512] = "";
    if (!*unit) {
        speed[0] = 0;
    } else if (bytes) {
        snprintf(speed, sizeof(speed), "  %s", human_byte_rate(per_second, rate));
    } else {
        human_rate(per_second, rate);
        snprintf(speed, sizeof(speed), "  %.*s %s/s", (int)strlen(per_second) - 2, per_second, unit);
    }
    time_left(left, sizeof(left), rate > 0 && total ? (double)(total - (done < total ? done : total)) / rate : 1e9);
    snprintf(tail, sizeof(tail), "%3.0f %%%s  %s left", share * 100, speed, left);
    const int width = terminal_width(stderr);
    int cells = width - 1 - 12 - 3 - (int)strlen(tail) - 1;
    if (cells > 40) cells = 40;
    fprintf(stderr, "\r\033[K");
    if (cells >= 8) {
        make_bar(bar, sizeof(bar), share, cells);
        fprintf(stderr, "%-11s %s%s%s%s%s %s", progress->stage, terminal_utf8() ? "▕" : "[",
                terminal_style(stderr, STYLE_CYAN), bar, terminal_style(stderr, STYLE_PLAIN),
                terminal_utf8() ? "▏" : "]", tail);
    } else {
        fprintf(stderr, "%.*s %3.0f %%", width > 8 ? width - 8 : 0, progress->stage, share * 100);
    }
    fflush(stderr);
}

int progress_step(struct progress *progress, const char *stage, const char *unit, uint64_t done, uint64_t total) {
    if (!progress->shown) return interrupt_asked(NULL);
    const uint64_t time_ns = now_ns();
    if (!progress->stage || strcmp(progress->stage, stage) != 0) {
        if (!progress->stage) progress->last_ns = time_ns + FIRST_DRAW_NS - REDRAW_NS;
        progress->stage = stage;
        progress->stage_start_ns = time_ns;
        progress->stage_start_done = done;
    }
    if (time_ns >= progress->last_ns + REDRAW_NS) {
        draw(progress, unit, done, total, time_ns);
        progress->drawn = true;
        progress->last_ns = time_ns;
    }
    return interrupt_asked(NULL);
}

int progress_report(void *context, const kith_progress *state) {
    return progress_step(context, state->stage, state->unit, state->done, state->total);
}

void progress_end(struct progress *progress) {
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    progress->drawn = false;
    progress->shown = false;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer of HTTP/1.1 as its bytes come in. */
#define _GNU_SOURCE
#include "fleet/answer.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

void ks_answer_begin(ks_answer *answer) {
    ks_text_clear(&answer->head);
    ks_text_clear(&answer->body);
    ks_text_clear(&answer->line);
    answer->part = KS_ANSWER_HEAD;
    answer->status = answer->keeps_alive = 0;
    answer->left = 0;
    answer->wrong = NULL;
}

void ks_answer_free(ks_answer *answer) {
    ks_text_free(&answer->head);
    ks_text_free(&answer->body);
    ks_text_free(&answer->line);
}

int ks_answer_began(const ks_answer *answer) {
    return answer->part != KS_ANSWER_HEAD || answer->head.used > 0;
}

static void refuse(ks_answer *answer, const char *wrong) {
    answer->part = KS_ANSWER_BAD;
    answer->wrong = wrong;
}

/* ---- The head ---------------------------------------------------------------------------------------------------- */

static size_t line_end(const char *bytes, size_t count) {
    const char *end = memchr(bytes, '\n', count);
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static const char *trim(const char *from, const char *end, size_t *count) {
    while (from < end && (*from == ' ' || *from == '\t')) from++;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n')) end--;
    *count = (size_t)(end - from);
    return from;
}

/* The header at or behind `at`; *next: behind its line. */
static const char *find(const ks_answer *answer, size_t at, const char *name, size_t *count, size_t *next) {
    const size_t length = strlen(name);
    while (at < answer->head.used) {
        const char *line = answer->head.bytes + at;
        const size_t bytes = line_end(line, answer->head.used - at);
        at += bytes ? bytes : answer->head.used - at;
        if (bytes <= length || strncasecmp(line, name, length) != 0 || line[length] != ':') continue;
        if (next) *next = at;
        return trim(line + length + 1, line + bytes, count);
    }
    return NULL;
}

const char *ks_answer_header(const ks_answer *answer, const char *name, size_t *count) {
    return find(answer, 0, name, count, NULL);
}

/* Whether a word stands in a list with commas. */
static int has_word(const char *list, size_t count, const char *word) {
    const size_t length = strlen(word);
    const char *end = list + count;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        size_t bytes;
        const char *item = trim(list, comma ? comma : end, &bytes);
        if (bytes == length && strncasecmp(item, word, length) == 0) return 1;
        list = comma ? comma + 1 : end;
    }
    return 0;
}

/* "HTTP/1.1 200 OK". */
static int read_status(ks_answer *answer) {
    const char *line = answer->head.bytes;
    if (answer->head.used < 13 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ')
        return 0;
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') return 0;
        status = 10 * status + (line[i] - '0');
    }
    if (status < 100 || (line[12] != ' ' && line[12] != '\r' && line[12] != '\n')) return 0;
    answer->status = status;
    answer->keeps_alive = line[7] == '1';
    return 1;
}

static int read_length(ks_answer *answer, const char *digits, size_t count) {
    unsigned long long length = 0;
    if (!count || count > 18) return 0;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9') return 0;
        length = 10 * length + (unsigned)(digits[i] - '0');
    }
    answer->left = length;
    return 1;
}

static int folds(const ks_answer *answer) {
    for (size_t at = 0; at + 1 < answer->head.used; at++)
        if (answer->head.bytes[at] == '\n' && (answer->head.bytes[at + 1] == ' ' || answer->head.bytes[at + 1] == '\t'))
            return 1;
    return 0;
}

static void read_head(ks_answer *answer) {
    size_t count = 0, more = 0, next = 0;
    if (!read_status(answer)) {
        refuse(answer, "does not begin as HTTP/1.1 does");
        return;
    }
    if (folds(answer)) {
        refuse(answer, "folds a line of its head");
        return;
    }
    if (answer->status < 200) { /* something to come; 101 was not asked for */
        if (answer->status == 101) refuse(answer, "changes the protocol, which nobody asked for");
        ks_text_clear(&answer->head);
        return;
    }
    const char *connection = ks_answer_header(answer, "Connection", &count);
    if (connection && has_word(connection, count, "close")) answer->keeps_alive = 0;
    if (connection && has_word(connection, count, "keep-alive")) answer->keeps_alive = 1;
    const char *coding = ks_answer_header(answer, "Transfer-Encoding", &count);
    const char *length = find(answer, 0, "Content-Length", &more, &next);
    if (answer->status == 204 || answer->status == 304) {
        answer->part = KS_ANSWER_WHOLE;
    } else if (coding) {
        if (length || count != 7 || strncasecmp(coding, "chunked", 7) != 0) {
            refuse(answer, "is coded in a way that is not understood");
        } else {
            answer->part = KS_ANSWER_CHUNK_SIZE;
        }
    } else if (length) {
        size_t again;
        if (!read_length(answer, length, more) || find(answer, next, "Content-Length", &again, NULL)) {
            refuse(answer, "does not say clearly how long it is");
        } else if (answer->left > answer->body_max) {
            refuse(answer, "is larger than may be held");
        } else {
            answer->part = answer->left ? KS_ANSWER_LENGTH : KS_ANSWER_WHOLE;
        }
    } else {
        answer->keeps_alive = 0;
        answer->part = KS_ANSWER_CLOSE;
    }
}

static size_t feed_head(ks_answer *answer, const char *bytes, size_t count) {
    size_t used = 0;
    while (used < count && answer->part == KS_ANSWER_HEAD) {
        const size_t line = line_end(bytes + used, count - used), add = line ? line : count - used;
        const size_t before = answer->head.used;
        if (before + add > KS_HEAD_BYTES_MAX) {
            refuse(answer, "has a head of more than 16 KiB");
            break;
        }
        ks_text_add(&answer->head, bytes + used, add);
        used += add;
        if (answer->head.failed) {
            refuse(answer, "came when there was no memory for it");
            break;
        }
        /* An empty line ends the head: CRLF or LF with nothing before it in this line. */
        const char *head = answer->head.bytes;
        const size_t all = answer->head.used;
        if (memchr(head + before, 0, add)) {
            refuse(answer, "has a zero in its head");
        } else if (line && all >= 2 &&
                   (head[all - 2] == '\n' || (all >= 3 && head[all - 2] == '\r' && head[all - 3] == '\n'))) {
            read_head(answer);
        } else if (line && (all == 1 || (all == 2 && head[0] == '\r'))) {
            refuse(answer, "does not begin as HTTP/1.1 does");
        }
    }
    return used;
}

/* ---- The body ---------------------------------------------------------------------------------------------------- */

static void keep(ks_answer *answer, const char *bytes, size_t count) {
    if (count > answer->body_max - answer->body.used) {
        refuse(answer, "is larger than may be held");
        return;
    }
    ks_text_add(&answer->body, bytes, count);
    if (answer->body.failed) refuse(answer, "came when there was no memory for it");
}

static size_t feed_counted(ks_answer *answer, const char *bytes, size_t count) {
    const size_t take = answer->left < count ? (size_t)answer->left : count;
    keep(answer, bytes, take);
    if (answer->part == KS_ANSWER_BAD) return take;
    answer->left -= take;
    if (!answer->left) answer->part = answer->part == KS_ANSWER_LENGTH ? KS_ANSWER_WHOLE : KS_ANSWER_CHUNK_END;
    return take;
}

static void read_size(ks_answer *answer) {
    unsigned long long size = 0;
    size_t digits = 0;
    for (; digits < answer->line.used; digits++) {
        const char c = answer->line.bytes[digits];
        const int value = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (value < 0) break;
        if (digits >= 15) {
            refuse(answer, "has a chunk that is larger than may be held");
            return;
        }
        size = 16 * size + (unsigned)value;
    }
    const char after = digits < answer->line.used ? answer->line.bytes[digits] : 0;
    if (!digits || !(after == '\r' || after == '\n' || after == ';' || after == ' ')) {
        refuse(answer, "has a chunk whose size is no number");
        return;
    }
    answer->left = size;
    answer->part = size ? KS_ANSWER_CHUNK : KS_ANSWER_TRAILER;
    ks_text_clear(&answer->line);
}

static void end_line(ks_answer *answer) {
    const size_t used = answer->line.used;
    const int empty = used == 1 || (used == 2 && answer->line.bytes[0] == '\r');
    if (answer->part == KS_ANSWER_CHUNK_SIZE) {
        read_size(answer);
        return;
    }
    ks_text_clear(&answer->line);
    if (answer->part == KS_ANSWER_CHUNK_END) {
        answer->part = KS_ANSWER_CHUNK_SIZE;
        if (!empty) refuse(answer, "has a chunk that is longer than it says");
    } else if (empty) {
        answer->part = KS_ANSWER_WHOLE;
    }
}

static size_t feed_line(ks_answer *answer, const char *bytes, size_t count) {
    const size_t line = line_end(bytes, count), add = line ? line : count;
    if (answer->line.used + add > KS_CHUNK_LINE_MAX) {
        refuse(answer, "has a line between its chunks that is too long");
        return add;
    }
    ks_text_add(&answer->line, bytes, add);
    if (answer->line.failed) {
        refuse(answer, "came when there was no memory for it");
    } else if (line) {
        end_line(answer);
    }
    return add;
}

size_t ks_answer_feed(ks_answer *answer, const char *bytes, size_t count) {
    size_t used = 0;
    while (used < count && answer->part != KS_ANSWER_WHOLE && answer->part != KS_ANSWER_BAD) {
        const char *at = bytes + used;
        const size_t left = count - used;
        switch (answer->part) {
        case KS_ANSWER_HEAD:
            used += feed_head(answer, at, left);
            break;
        case KS_ANSWER_LENGTH:
        case KS_ANSWER_CHUNK:
            used += feed_counted(answer, at, left);
            break;
        case KS_ANSWER_CLOSE:
            keep(answer, at, left);
            used += left;
            break;
        default:
            used += feed_line(answer, at, left);
        }
    }
    return used;
}

void ks_answer_end(ks_answer *answer) {
    answer->keeps_alive = 0;
    if (answer->part == KS_ANSWER_CLOSE) {
        answer->part = KS_ANSWER_WHOLE;
    } else if (answer->part != KS_ANSWER_WHOLE && answer->part != KS_ANSWER_BAD) {
        refuse(answer,
               ks_answer_began(answer) ? "broke off before its end" : "did not come: the connection was closed");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

size_t ki_utf8_step(const char *text, const char *end) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] < 0x80) return 1;
    const size_t bytes = at[0] >= 0xF8 ? 0 : at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : at[0] >= 0xC0 ? 2 : 0;
    if (bytes == 0 || bytes > (size_t)(end - text)) return 0;
    uint32_t point = at[0] & (0x7Fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xC0u) != 0x80u) return 0;
        point = point << 6 | (at[i] & 0x3Fu);
    }
    return point < least[bytes] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF) ? 0 : bytes;
}

bool ki_utf8_valid(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        const size_t step = text[i] ? ki_utf8_step(text + i, text + bytes) : 0;
        if (step == 0) return false;
        i += step;
    }
    return true;
}

size_t ki_utf8_put(uint32_t point, char to[4]) {
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    const size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6) to[i] = (char)(0x80u | (point & 0x3Fu));
    to[0] = (char)((0xF00u >> bytes & 0xF0u) | point);
    return bytes;
}

/* utf8.h - UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef VD_BASE_UTF8_H
#define VD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the character at text[0..n). Returns its length 1..4 and the code point; 0 when the bytes
 * there are not valid; -1 when they are a valid beginning that n cuts short (also when n == 0). */
int vd_utf8_decode(const char *text, size_t n, uint32_t *ret_code);
/* Writes 1..4 bytes, no NUL; 0 for a code point that has no UTF-8 form. */
size_t vd_utf8_encode(uint32_t code, char out[4]);
bool vd_utf8_valid(const char *text, size_t n);
/* The largest m <= n so that text[m..n) is a valid but unfinished character; m == n when text ends
 * on a boundary or in bytes that no continuation could make valid. */
size_t vd_utf8_complete(const char *text, size_t n);
/* Each byte of a NUL-ended text that belongs to no character becomes '?': for messages, which quote
 * files and strangers, and which `%.40s` may cut inside a character. */
void vd_utf8_mend(char *text);

#endif

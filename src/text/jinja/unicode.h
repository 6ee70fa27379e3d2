/*
 * unicode.h - Python's view of characters: white space, classes and letter case.
 *
 * Classes and simple case come from utf8proc. Letters whose other case is several letters (ß, the
 * ligatures, ...) are in a short table here, with the final sigma; the rare rest of Unicode's
 * SpecialCasing keeps its simple mapping.
 */
#ifndef VD_TEXT_JINJA_UNICODE_H
#define VD_TEXT_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* str.isspace, str.strip and str.split. */
bool vd_j_is_space(uint32_t code);
bool vd_j_is_alpha(uint32_t code);
bool vd_j_is_digit(uint32_t code);
bool vd_j_is_decimal(uint32_t code);
bool vd_j_is_numeric(uint32_t code); /* of category N, and ideographs of numbers */
bool vd_j_is_alnum(uint32_t code);
bool vd_j_is_upper(uint32_t code);
bool vd_j_is_lower(uint32_t code);
bool vd_j_is_title(uint32_t code);
bool vd_j_is_cased(uint32_t code);
bool vd_j_is_word(uint32_t code); /* \w */
/* In a name of Python's; not everything can be its first character. */
bool vd_j_in_identifier(uint32_t code, bool first);
/* What repr() shows as it is. */
bool vd_j_is_printable(uint32_t code);
/* str.splitlines breaks behind these. */
bool vd_j_is_line_break(uint32_t code);

/* The character at data[*at..n), *at moved behind it; data is valid UTF-8. */
uint32_t vd_j_next(const char *data, size_t n, size_t *at);

typedef enum vd_jcase { VD_JCASE_UPPER, VD_JCASE_LOWER, VD_JCASE_TITLE, VD_JCASE_FOLD } vd_jcase;

/* Up to three code points into out; returns how many. */
size_t vd_j_map_case(uint32_t code, vd_jcase to, uint32_t out[3]);

#endif

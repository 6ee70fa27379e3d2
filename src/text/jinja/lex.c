/* lex.c - see lex.h. */
#include "text/jinja/lex.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "text/jinja/unicode.h"

enum { BRACES_MAX = 512 };

typedef struct lexer {
    const char *source;
    size_t n, at;
    uint32_t line;
    bool line_starting; /* the last byte consumed was a newline, or none was */
    vd_jtoken *token;
    size_t n_tokens, capacity;
    char brace[BRACES_MAX]; /* the closing ones we wait for */
    size_t n_braces;
    vd_err *err;
} lexer;

static vd_status emit(lexer *lex, vd_jtoken_type type, size_t begin, size_t end)
{
    if (lex->n_tokens == lex->capacity) {
        size_t capacity = lex->capacity == 0 ? 64 : lex->capacity * 2;
        vd_jtoken *grown = vd_realloc(lex->token, capacity * sizeof(*grown));
        if (grown == NULL)
            return VD_FAIL(lex->err, VD_ERR_NOMEM, "no memory for the tokens of a template");
        lex->token = grown;
        lex->capacity = capacity;
    }
    lex->token[lex->n_tokens++] = (vd_jtoken){.type = type, .line = lex->line,
                                              .text = lex->source + begin, .n = end - begin};
    return VD_OK;
}

/* Moves on and counts the newlines passed. */
static void advance_to(lexer *lex, size_t to)
{
    for (; lex->at < to; lex->at++)
        lex->line += lex->source[lex->at] == '\n';
    if (to > 0)
        lex->line_starting = lex->source[to - 1] == '\n';
}

static bool at_is(const lexer *lex, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at <= lex->n && lex->n - at >= n && memcmp(lex->source + at, text, n) == 0;
}

static size_t skip_space(const lexer *lex, size_t at)
{
    while (at < lex->n) {
        size_t next = at;
        if (!vd_j_is_space(vd_j_next(lex->source, lex->n, &next)))
            break;
        at = next;
    }
    return at;
}

/* The end of source[begin..end) without the white space before it. */
static size_t strip_end(const lexer *lex, size_t begin, size_t end)
{
    while (end > begin) {
        size_t start = end - 1;
        while (start > begin && ((unsigned char)lex->source[start] & 0xc0) == 0x80)
            start--;
        size_t next = start;
        if (!vd_j_is_space(vd_j_next(lex->source, end, &next)))
            break;
        end = start;
    }
    return end;
}

/* The end of the text before a tag with this sign; `line_starting` as before the text. */
static size_t text_end(const lexer *lex, size_t begin, size_t end, char sign, bool is_output)
{
    if (sign == '-')
        return strip_end(lex, begin, end);
    if (sign == '+' || is_output)
        return end;
    size_t line = end;
    while (line > begin && lex->source[line - 1] != '\n')
        line--;
    if (line == begin && !lex->line_starting)
        return end;
    return strip_end(lex, line, end) == line ? line : end;
}

static vd_status emit_text(lexer *lex, size_t begin, size_t tag, char sign, bool is_output)
{
    size_t end = text_end(lex, begin, tag, sign, is_output);
    vd_status st = end > begin ? emit(lex, VD_JTOKEN_DATA, begin, end) : VD_OK;
    advance_to(lex, tag);
    return st;
}

/* `close` ("%}", "#}") at `at`, perhaps with a sign before it: where reading goes on, or 0. */
static size_t block_close(const lexer *lex, size_t at, const char *close, bool plus)
{
    if (at < lex->n && lex->source[at] == '-' && at_is(lex, at + 1, close))
        return skip_space(lex, at + 1 + strlen(close));
    if (plus && at < lex->n && lex->source[at] == '+' && at_is(lex, at + 1, close))
        return at + 1 + strlen(close);
    if (!at_is(lex, at, close))
        return 0;
    at += strlen(close);
    return plus && at < lex->n && lex->source[at] == '\n' ? at + 1 : at;
}

static vd_status lex_comment(lexer *lex)
{
    for (size_t at = lex->at; at < lex->n; at++) {
        size_t end = block_close(lex, at, "#}", true);
        if (end != 0) {
            advance_to(lex, end);
            return VD_OK;
        }
    }
    return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: a comment has no end", lex->line);
}

/* Behind "{%" and its sign: the end of "raw %}", or 0 when this is another tag. */
static size_t raw_begin(const lexer *lex)
{
    size_t at = skip_space(lex, lex->at);
    if (!at_is(lex, at, "raw"))
        return 0;
    at = skip_space(lex, at + 3);
    if (at_is(lex, at, "-%}"))
        return skip_space(lex, at + 3);
    return at_is(lex, at, "%}") ? at + 2 : 0;
}

static vd_status lex_raw(lexer *lex)
{
    size_t begin = lex->at;
    for (size_t tag = begin; tag < lex->n; tag++) {
        if (!at_is(lex, tag, "{%"))
            continue;
        size_t at = tag + 2;
        char sign = at < lex->n ? lex->source[at] : '\0';
        if (sign == '-' || sign == '+')
            at++;
        at = skip_space(lex, at);
        if (!at_is(lex, at, "endraw"))
            continue;
        size_t end = block_close(lex, skip_space(lex, at + 6), "%}", true);
        if (end == 0)
            continue;
        vd_status st = emit_text(lex, begin, tag, sign, false);
        advance_to(lex, end);
        return st;
    }
    return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: a raw block has no end",
                   lex->line);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* Digits with single underscores between them, from `at`. */
static size_t digits_end(const lexer *lex, size_t at)
{
    while (at < lex->n && (is_digit(lex->source[at]) ||
                           (lex->source[at] == '_' && at + 1 < lex->n &&
                            is_digit(lex->source[at + 1]) && is_digit(lex->source[at - 1]))))
        at++;
    return at;
}

static vd_status lex_number(lexer *lex)
{
    size_t begin = lex->at, end = digits_end(lex, begin);
    const char *s = lex->source;
    bool is_float = false;
    size_t digit = begin + 2; /* behind 0x, 0o or 0b; an underscore may stand between */
    digit += digit + 1 < lex->n && s[digit] == '_';
    if (s[begin] == '0' && digit < lex->n &&
        ((s[begin + 1] | 32) == 'x' ? is_hex(s[digit])
         : (s[begin + 1] | 32) == 'o' ? s[digit] >= '0' && s[digit] <= '7'
         : (s[begin + 1] | 32) == 'b' && (s[digit] == '0' || s[digit] == '1'))) {
        end = digit;
        while (end < lex->n && (is_hex(s[end]) || s[end] == '_'))
            end++;
    } else if (begin == 0 || s[begin - 1] != '.') { /* a.1.5 is two subscripts, no float */
        size_t at = end;
        if (at + 1 < lex->n && s[at] == '.' && is_digit(s[at + 1])) {
            at = digits_end(lex, at + 1);
            is_float = true;
        }
        size_t e = at + 1;
        if (at < lex->n && (s[at] | 32) == 'e') {
            if (e < lex->n && (s[e] == '+' || s[e] == '-'))
                e++;
            if (e < lex->n && is_digit(s[e])) {
                at = digits_end(lex, e);
                is_float = true;
            }
        }
        if (is_float)
            end = at;
    }
    vd_status st = emit(lex, is_float ? VD_JTOKEN_FLOAT : VD_JTOKEN_INT, begin, end);
    advance_to(lex, end);
    return st;
}

static vd_status lex_string(lexer *lex)
{
    char quote = lex->source[lex->at];
    for (size_t at = lex->at + 1; at < lex->n; at++) {
        if (lex->source[at] == '\\') {
            at++;
        } else if (lex->source[at] == quote) {
            vd_status st = emit(lex, VD_JTOKEN_STRING, lex->at, at + 1);
            advance_to(lex, at + 1);
            return st;
        }
    }
    return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: a string has no end", lex->line);
}

static size_t name_end(const lexer *lex)
{
    size_t at = lex->at;
    while (at < lex->n) {
        size_t next = at;
        if (!vd_j_is_word(vd_j_next(lex->source, lex->n, &next)))
            break;
        at = next;
    }
    return at;
}

static vd_status track_brace(lexer *lex, char c)
{
    if (c == '(' || c == '[' || c == '{') {
        if (lex->n_braces == BRACES_MAX)
            return VD_FAIL(lex->err, VD_ERR_LIMIT, "template line %u: more than %d open braces",
                           lex->line, BRACES_MAX);
        lex->brace[lex->n_braces++] = (char)(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
        if (lex->n_braces == 0 || lex->brace[lex->n_braces - 1] != c)
            return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: unexpected '%c'",
                           lex->line, c);
        lex->n_braces--;
    }
    return VD_OK;
}

static vd_status lex_operator(lexer *lex)
{
    static const struct {
        const char *text;
        vd_jtoken_type type;
    } operators[] = {
        {"//", VD_JTOKEN_FLOORDIV}, {"**", VD_JTOKEN_POW}, {"==", VD_JTOKEN_EQ},
        {"!=", VD_JTOKEN_NE}, {">=", VD_JTOKEN_GE}, {"<=", VD_JTOKEN_LE}, {"+", VD_JTOKEN_ADD},
        {"-", VD_JTOKEN_SUB}, {"/", VD_JTOKEN_DIV}, {"*", VD_JTOKEN_MUL}, {"%", VD_JTOKEN_MOD},
        {"~", VD_JTOKEN_TILDE}, {"[", VD_JTOKEN_LBRACKET}, {"]", VD_JTOKEN_RBRACKET},
        {"(", VD_JTOKEN_LPAREN}, {")", VD_JTOKEN_RPAREN}, {"{", VD_JTOKEN_LBRACE},
        {"}", VD_JTOKEN_RBRACE}, {">", VD_JTOKEN_GT}, {"<", VD_JTOKEN_LT},
        {"=", VD_JTOKEN_ASSIGN}, {".", VD_JTOKEN_DOT}, {":", VD_JTOKEN_COLON},
        {"|", VD_JTOKEN_PIPE}, {",", VD_JTOKEN_COMMA}, {";", VD_JTOKEN_SEMICOLON},
    };
    for (size_t i = 0; i < VD_COUNT(operators); i++) {
        if (!at_is(lex, lex->at, operators[i].text))
            continue;
        vd_status st = track_brace(lex, operators[i].text[0]);
        size_t end = lex->at + strlen(operators[i].text);
        if (st == VD_OK)
            st = emit(lex, operators[i].type, lex->at, end);
        advance_to(lex, end);
        return st;
    }
    return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: unexpected character 0x%02x",
                   lex->line, (unsigned char)lex->source[lex->at]);
}

/* The inside of {{ }} or {% %} up to and with its end. */
static vd_status lex_code(lexer *lex, bool is_output)
{
    uint32_t begin_line = lex->line;
    lex->n_braces = 0;
    vd_status st = VD_OK;
    while (st == VD_OK) {
        advance_to(lex, skip_space(lex, lex->at));
        if (lex->at == lex->n)
            return VD_FAIL(lex->err, VD_ERR_TEMPLATE, "template line %u: a tag has no end",
                           begin_line);
        size_t end = lex->n_braces > 0 ? 0
                     : block_close(lex, lex->at, is_output ? "}}" : "%}", !is_output);
        char c = lex->source[lex->at];
        if (end != 0) {
            st = emit(lex, is_output ? VD_JTOKEN_OUTPUT_END : VD_JTOKEN_BLOCK_END, lex->at, end);
            advance_to(lex, end);
            return st;
        }
        size_t name = name_end(lex);
        if (is_digit(c)) {
            st = lex_number(lex);
        } else if (name > lex->at) {
            st = emit(lex, VD_JTOKEN_NAME, lex->at, name);
            advance_to(lex, name);
        } else if (c == '"' || c == '\'') {
            st = lex_string(lex);
        } else {
            st = lex_operator(lex);
        }
    }
    return st;
}

/* From a place between tags: the text, then one tag. */
static vd_status lex_next(lexer *lex)
{
    size_t begin = lex->at, tag = begin;
    while (tag + 1 < lex->n && !(lex->source[tag] == '{' && strchr("{%#", lex->source[tag + 1]) &&
                                 lex->source[tag + 1] != '\0'))
        tag++;
    if (tag + 1 >= lex->n) {
        vd_status end = lex->n > begin ? emit(lex, VD_JTOKEN_DATA, begin, lex->n) : VD_OK;
        advance_to(lex, lex->n);
        return end;
    }
    char kind = lex->source[tag + 1];
    char sign = tag + 2 < lex->n ? lex->source[tag + 2] : '\0';
    size_t inside = tag + 2 + (sign == '-' || sign == '+');
    vd_status st = emit_text(lex, begin, tag, sign, kind == '{');
    if (st != VD_OK)
        return st;
    advance_to(lex, inside);
    if (kind == '#')
        return lex_comment(lex);
    size_t raw = kind == '%' ? raw_begin(lex) : 0;
    if (raw != 0) {
        advance_to(lex, raw);
        return lex_raw(lex);
    }
    st = emit(lex, kind == '{' ? VD_JTOKEN_OUTPUT : VD_JTOKEN_BLOCK, tag, inside);
    return st == VD_OK ? lex_code(lex, kind == '{') : st;
}

vd_status vd_jinja_lex(const char *source, size_t n, vd_jtoken **ret_tokens, size_t *ret_n,
                       vd_err *err)
{
    lexer lex = {.source = source, .n = n, .line = 1, .line_starting = true, .err = err};
    vd_status st = VD_OK;
    while (st == VD_OK && lex.at < n)
        st = lex_next(&lex);
    if (st == VD_OK)
        st = emit(&lex, VD_JTOKEN_END, n, n);
    if (st != VD_OK)
        goto out;
    *ret_tokens = lex.token;
    *ret_n = lex.n_tokens;
    lex.token = NULL; /* moved to the caller */
out:
    vd_free(lex.token);
    return st;
}

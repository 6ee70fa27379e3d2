/*
 * lex.h - a template's source as tokens, with white space already decided.
 *
 * Follows the lexer of Jinja 3.1 with trim_blocks and lstrip_blocks on: the newline after a block
 * or comment goes, blanks before one at the start of a line go, `-` takes all white space on its
 * side, `+` keeps it, one newline at the very end goes, and CRLF or CR are read as LF.
 */
#ifndef VD_TEXT_JINJA_LEX_H
#define VD_TEXT_JINJA_LEX_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/arena.h"

typedef enum vd_jtoken_type {
    VD_JTOKEN_END,
    VD_JTOKEN_DATA,        /* text between tags, never empty */
    VD_JTOKEN_OUTPUT,      /* {{ */
    VD_JTOKEN_OUTPUT_END,  /* }} */
    VD_JTOKEN_BLOCK,       /* {% */
    VD_JTOKEN_BLOCK_END,   /* %} */
    VD_JTOKEN_NAME,
    VD_JTOKEN_INT,
    VD_JTOKEN_FLOAT,
    VD_JTOKEN_STRING, /* with its quotes, escapes unread */
    /* operators, longest first where one begins another */
    VD_JTOKEN_FLOORDIV, VD_JTOKEN_POW, VD_JTOKEN_EQ, VD_JTOKEN_NE, VD_JTOKEN_GE, VD_JTOKEN_LE,
    VD_JTOKEN_ADD, VD_JTOKEN_SUB, VD_JTOKEN_DIV, VD_JTOKEN_MUL, VD_JTOKEN_MOD, VD_JTOKEN_TILDE,
    VD_JTOKEN_LBRACKET, VD_JTOKEN_RBRACKET, VD_JTOKEN_LPAREN, VD_JTOKEN_RPAREN, VD_JTOKEN_LBRACE,
    VD_JTOKEN_RBRACE, VD_JTOKEN_GT, VD_JTOKEN_LT, VD_JTOKEN_ASSIGN, VD_JTOKEN_DOT, VD_JTOKEN_COLON,
    VD_JTOKEN_PIPE, VD_JTOKEN_COMMA, VD_JTOKEN_SEMICOLON
} vd_jtoken_type;

typedef struct vd_jtoken {
    vd_jtoken_type type;
    uint32_t line;
    const char *text;
    size_t n;
} vd_jtoken;

/* source[0..n) must outlive the tokens: with newlines made LF and the last one gone. The array,
 * closed by VD_JTOKEN_END, is the caller's (vd_free). */
VD_NODISCARD vd_status vd_jinja_lex(const char *source, size_t n, vd_jtoken **ret_tokens,
                                    size_t *ret_n, vd_err *err);

#endif

/*
 * stream.h - token ids in, text that may be shown out.
 *
 *   piece bytes -> [raw: an unfinished character] -> [held: whole characters] -> shown
 *
 * What is shown is always whole UTF-8 characters: bytes of an unfinished one wait for the next
 * token; bytes that cannot become valid turn into U+FFFD. No part of a stop string is ever shown:
 * the longest tail that could still become one is held back. Of several stop strings the one that
 * is complete first wins, so the result does not depend on how the text was cut into tokens.
 *
 * Single-owner. After init nothing allocates.
 */
#ifndef VD_TEXT_STREAM_H
#define VD_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>
#include <verdant/tokenizer.h>

/* More stop strings, or longer ones, are refused with VD_ERR_LIMIT. */
enum { VD_TEXT_STOPS_MAX = 64, VD_TEXT_STOP_BYTES_MAX = 4096 };

typedef struct vd_text_stream {
    const vd_tokenizer *tokenizer;
    bool special;    /* set after init: control tokens give their text instead of nothing */
    bool stopped;    /* a stop string was met; nothing more comes out */
    char *text;      /* held[0..n_text), of which the first n_shown went out with the last call */
    size_t n_text, n_shown, capacity;
    char raw[4];     /* the bytes of an unfinished character */
    size_t n_raw;
    char *stop_text; /* all stop strings, one after the other */
    size_t *stop_n;  /* their lengths */
    size_t n_stops, stop_max; /* bytes of the longest */
    int32_t stop_index; /* which stop string was met, else -1 */
} vd_text_stream;

/* stops[0..n_stops) are NUL-terminated and copied; one that is empty or not UTF-8 is VD_ERR_ARG.
 * `tokenizer` is borrowed until done. On failure the stream needs no done, but may have it. */
VD_NODISCARD vd_status vd_text_stream_init(vd_text_stream *stream, const vd_tokenizer *tokenizer,
                                           const char *const *stops, size_t n_stops, vd_err *err);
/* NULL and a zeroed stream are fine. */
void vd_text_stream_done(vd_text_stream *stream);
/* As after init, the stop strings kept. */
void vd_text_stream_reset(vd_text_stream *stream);

/* Takes one token. *ret_text[0..*ret_n) may now be shown (often nothing); borrowed until the next
 * call. *ret_stopped: a stop string was met, the text before it is out and later tokens give
 * nothing. */
void vd_text_stream_push(vd_text_stream *stream, int32_t token, const char **ret_text,
                         size_t *ret_n, bool *ret_stopped);
/* The end: gives out what was held back, an unfinished character as U+FFFD. Nothing after a stop.
 * *ret_stopped (NULL allowed) as above: that last U+FFFD can complete a stop string. */
void vd_text_stream_flush(vd_text_stream *stream, const char **ret_text, size_t *ret_n,
                          bool *ret_stopped);

#endif

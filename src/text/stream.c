/* stream.c - see stream.h. */
#include "text/stream.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
enum { REPLACEMENT_BYTES = 3 };

void vd_text_stream_done(vd_text_stream *stream)
{
    if (stream == NULL)
        return;
    vd_free(stream->text);
    vd_free(stream->stop_text);
    vd_free(stream->stop_n);
    *stream = (vd_text_stream){0};
}

vd_status vd_text_stream_init(vd_text_stream *stream, const vd_tokenizer *tokenizer,
                              const char *const *stops, size_t n_stops, vd_err *err)
{
    vd_text_stream made = {.tokenizer = tokenizer, .stop_index = -1};
    vd_status st = VD_OK;
    *stream = (vd_text_stream){0};
    if (n_stops > VD_TEXT_STOPS_MAX) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "%zu stop strings; at most %d", n_stops, VD_TEXT_STOPS_MAX);
        goto out;
    }
    st = vd_alloc_array(n_stops, sizeof(*made.stop_n), "stop strings", &made.stop_n, err);
    if (st != VD_OK)
        goto out;
    size_t total = 0;
    for (size_t i = 0; i < n_stops; i++) {
        size_t n = strlen(stops[i]);
        if (n == 0) {
            st = VD_FAIL(err, VD_ERR_ARG, "stop string %zu is empty", i);
            goto out;
        }
        if (n > VD_TEXT_STOP_BYTES_MAX) {
            st = VD_FAIL(err, VD_ERR_LIMIT, "stop string %zu has %zu bytes; at most %d", i, n,
                         VD_TEXT_STOP_BYTES_MAX);
            goto out;
        }
        if (!vd_utf8_valid(stops[i], n)) { /* so that a stop never begins inside a character */
            st = VD_FAIL(err, VD_ERR_ARG, "stop string %zu is not valid UTF-8", i);
            goto out;
        }
        made.stop_n[i] = n;
        made.stop_max = VD_MAX(made.stop_max, n);
        total += n;
    }
    st = vd_alloc_array(total, 1, "stop strings", &made.stop_text, err);
    if (st != VD_OK)
        goto out;
    for (size_t i = 0, at = 0; i < n_stops; at += made.stop_n[i++])
        memcpy(made.stop_text + at, stops[i], made.stop_n[i]);
    made.n_stops = n_stops;

    /* Held text is shorter than a stop string; each byte of a piece, and of the unfinished
     * character before it, becomes at most one U+FFFD. */
    if (!vd_add_size(vd_tokenizer_piece_max(tokenizer), sizeof(made.raw), &made.capacity) ||
        !vd_mul_size(made.capacity, REPLACEMENT_BYTES, &made.capacity) ||
        !vd_add_size(made.capacity, made.stop_max, &made.capacity)) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "the pieces of this vocabulary are too long");
        goto out;
    }
    st = vd_alloc_array(made.capacity, 1, "held text", &made.text, err);
    if (st != VD_OK)
        goto out;

    *stream = made;
    made = (vd_text_stream){0};
out:
    vd_text_stream_done(&made);
    return st;
}

void vd_text_stream_reset(vd_text_stream *stream)
{
    stream->stopped = false;
    stream->n_text = stream->n_shown = stream->n_raw = 0;
    stream->stop_index = -1;
}

static void hold(vd_text_stream *stream, const char *bytes, size_t n)
{
    memcpy(stream->text + stream->n_text, bytes, n);
    stream->n_text += n;
}

/* One byte more of the character under way. A byte that cannot continue it ends it as one U+FFFD
 * and begins anew (Unicode's "maximal subpart" rule, as browsers and Python decode). */
static void take_byte(vd_text_stream *stream, char byte)
{
    uint32_t code;
    stream->raw[stream->n_raw++] = byte;
    int length = vd_utf8_decode(stream->raw, stream->n_raw, &code);
    if (length == -1)
        return;
    if (length > 0) {
        hold(stream, stream->raw, stream->n_raw);
        stream->n_raw = 0;
        return;
    }
    bool was_alone = stream->n_raw == 1;
    stream->n_raw = 0;
    hold(stream, replacement, REPLACEMENT_BYTES);
    if (!was_alone)
        take_byte(stream, byte);
}

/* Looks at every end in text(from, n_text]; true and where the stop string starts. */
static bool find_stop(vd_text_stream *stream, size_t from, size_t *ret_start)
{
    for (size_t end = from + 1; end <= stream->n_text; end++) {
        size_t best = SIZE_MAX;
        const char *stop = stream->stop_text;
        for (size_t i = 0; i < stream->n_stops; stop += stream->stop_n[i++]) {
            size_t n = stream->stop_n[i];
            if (n > end || end - n >= best || memcmp(stream->text + end - n, stop, n) != 0)
                continue;
            best = end - n;
            stream->stop_index = (int32_t)i;
        }
        if (best != SIZE_MAX) {
            *ret_start = best;
            return true;
        }
    }
    return false;
}

/* Bytes of the longest tail that a stop string could begin with. */
static size_t tail_to_hold(const vd_text_stream *stream)
{
    size_t longest = stream->stop_max == 0 ? 0 : VD_MIN(stream->stop_max - 1, stream->n_text);
    for (size_t tail = longest; tail > 0; tail--) {
        const char *stop = stream->stop_text;
        for (size_t i = 0; i < stream->n_stops; stop += stream->stop_n[i++])
            if (stream->stop_n[i] > tail &&
                memcmp(stream->text + stream->n_text - tail, stop, tail) == 0)
                return tail;
    }
    return 0;
}

/* Settles what goes out of the held text, `from` being where this call's text begins. */
static void show(vd_text_stream *stream, size_t from, bool last, const char **ret_text,
                 size_t *ret_n, bool *ret_stopped)
{
    size_t n = 0;
    if (find_stop(stream, from, &n)) {
        stream->stopped = true;
        stream->n_text = n;
    } else {
        n = last ? stream->n_text : stream->n_text - tail_to_hold(stream);
    }
    stream->n_shown = n;
    *ret_text = stream->text;
    *ret_n = n;
    if (ret_stopped != NULL)
        *ret_stopped = stream->stopped;
}

/* Forgets what the last call gave out. */
static void drop_shown(vd_text_stream *stream)
{
    stream->n_text -= stream->n_shown;
    memmove(stream->text, stream->text + stream->n_shown, stream->n_text);
    stream->n_shown = 0;
}

void vd_text_stream_push(vd_text_stream *stream, int32_t token, const char **ret_text,
                         size_t *ret_n, bool *ret_stopped)
{
    drop_shown(stream);
    size_t from = stream->n_text, n = 0;
    if (!stream->stopped) {
        const char *piece = vd_tokenizer_piece(stream->tokenizer, token, stream->special, &n);
        for (size_t i = 0; i < n; i++)
            take_byte(stream, piece[i]);
    }
    show(stream, from, false, ret_text, ret_n, ret_stopped);
}

void vd_text_stream_flush(vd_text_stream *stream, const char **ret_text, size_t *ret_n,
                          bool *ret_stopped)
{
    drop_shown(stream);
    size_t from = stream->n_text;
    if (!stream->stopped && stream->n_raw > 0)
        hold(stream, replacement, REPLACEMENT_BYTES);
    stream->n_raw = 0;
    show(stream, from, true, ret_text, ret_n, ret_stopped);
}

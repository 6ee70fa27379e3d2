/* meterd_wire.c - see meterd_wire.h. */
#include "energy/sources/meterd_wire.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "energy/rapl/rapl_file.h"

vd_meterd_request vd_meterd_request_parse(const char *text, size_t n, size_t *ret_length)
{
    static const struct {
        const char *line;
        vd_meterd_request request;
    } known[] = {{"zones\n", VD_METERD_ZONES}, {"read\n", VD_METERD_READ}};
    const char *end = memchr(text, '\n', n);
    if (end == NULL)
        return n < VD_METERD_REQUEST_MAX ? VD_METERD_MORE : VD_METERD_BAD;
    size_t length = (size_t)(end - text) + 1;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i].line) == length && memcmp(known[i].line, text, length) == 0) {
            *ret_length = length;
            return known[i].request;
        }
    return VD_METERD_BAD;
}

bool vd_meterd_word(const char *word, size_t size)
{
    size_t n = strnlen(word, size);
    for (size_t i = 0; i < n; i++)
        if (word[i] <= ' ' || word[i] > '~')
            return false;
    return n > 0 && n < size;
}

/* The longest line is 48 + 32 + 20 bytes and blanks; 128 of them are below 13 KB. */
size_t vd_meterd_put_zones(const vd_meterd_zone *zone, size_t n_zones, char *text)
{
    size_t at = (size_t)snprintf(text, VD_METERD_REPLY_MAX, "zones %d %zu\n", VD_METERD_VERSION,
                                 n_zones);
    for (size_t i = 0; i < n_zones; i++)
        at += (size_t)snprintf(text + at, VD_METERD_REPLY_MAX - at, "%s %s %" PRIu64 "\n",
                               zone[i].id, zone[i].name, zone[i].range_uj);
    return at;
}

size_t vd_meterd_put_reading(const vd_meterd_zone *zone, size_t n_zones, uint64_t at_ns, char *text)
{
    size_t at =
        (size_t)snprintf(text, VD_METERD_REPLY_MAX, "read %" PRIu64 " %zu\n", at_ns, n_zones);
    for (size_t i = 0; i < n_zones; i++) {
        if (zone[i].error != 0)
            at += (size_t)snprintf(text + at, VD_METERD_REPLY_MAX - at, "- %d\n", zone[i].error);
        else
            at += (size_t)snprintf(text + at, VD_METERD_REPLY_MAX - at, "%" PRIu64 "\n",
                                   zone[i].uj);
    }
    return at;
}

/* A cursor over a reply: words that end in one blank or newline each. */
typedef struct cursor {
    const char *at, *end;
    vd_meterd_state state;
} cursor;

/* The next word, which `after` must follow; its length, 0 when the state says why not. */
static size_t next_word(cursor *c, char after, const char **ret_word)
{
    const char *start = c->at;
    while (c->at < c->end && *c->at > ' ' && *c->at <= '~')
        c->at++;
    size_t n = (size_t)(c->at - start);
    if (c->at == c->end) {
        c->state = VD_METERD_PARTIAL;
        return 0;
    }
    if (n == 0 || *c->at != after) {
        c->state = VD_METERD_MALFORMED;
        return 0;
    }
    c->at++;
    *ret_word = start;
    return n;
}

static bool get_number(cursor *c, char after, uint64_t *ret)
{
    const char *word = NULL;
    size_t n = next_word(c, after, &word);
    if (n != 0 && !vd_rapl_parse(word, n, ret))
        c->state = VD_METERD_MALFORMED;
    return c->state == VD_METERD_WHOLE;
}

static bool get_text(cursor *c, char after, char *text, size_t size)
{
    const char *word = NULL;
    size_t n = next_word(c, after, &word);
    if (n >= size)
        c->state = VD_METERD_MALFORMED;
    if (n == 0 || n >= size)
        return false;
    memcpy(text, word, n);
    text[n] = '\0';
    return true;
}

static bool get_tag(cursor *c, const char *tag)
{
    char word[8];
    if (get_text(c, ' ', word, sizeof(word)) && strcmp(word, tag) != 0)
        c->state = VD_METERD_MALFORMED;
    return c->state == VD_METERD_WHOLE;
}

/* What is longer than any reply and still not whole never will be. */
static vd_meterd_state finish(const cursor *c, const char *text, size_t n, size_t *ret_length)
{
    if (c->state == VD_METERD_PARTIAL && n >= VD_METERD_REPLY_MAX)
        return VD_METERD_MALFORMED;
    if (c->state == VD_METERD_WHOLE)
        *ret_length = (size_t)(c->at - text);
    return c->state;
}

vd_meterd_state vd_meterd_get_zones(const char *text, size_t n, vd_meterd_zone *zone,
                                    size_t *ret_n_zones, size_t *ret_length)
{
    cursor c = {text, text + n, VD_METERD_WHOLE};
    uint64_t version = 0, n_zones = 0;
    if (get_tag(&c, "zones") && get_number(&c, ' ', &version) && get_number(&c, '\n', &n_zones) &&
        (version != VD_METERD_VERSION || n_zones > VD_RAPL_ZONES_MAX))
        c.state = VD_METERD_MALFORMED;
    for (size_t i = 0; i < n_zones && c.state == VD_METERD_WHOLE; i++) {
        zone[i] = (vd_meterd_zone){0};
        if (get_text(&c, ' ', zone[i].id, sizeof(zone[i].id)) &&
            get_text(&c, ' ', zone[i].name, sizeof(zone[i].name)))
            get_number(&c, '\n', &zone[i].range_uj);
    }
    if (c.state == VD_METERD_WHOLE)
        *ret_n_zones = n_zones;
    return finish(&c, text, n, ret_length);
}

vd_meterd_state vd_meterd_get_reading(const char *text, size_t n, vd_meterd_zone *zone,
                                      size_t n_zones, size_t *ret_length)
{
    cursor c = {text, text + n, VD_METERD_WHOLE};
    uint64_t at_ns = 0, n_read = 0;
    if (get_tag(&c, "read") && get_number(&c, ' ', &at_ns) && get_number(&c, '\n', &n_read) &&
        n_read != n_zones)
        c.state = VD_METERD_MALFORMED;
    for (size_t i = 0; i < n_zones && c.state == VD_METERD_WHOLE; i++) {
        uint64_t number = 0;
        bool failed = c.at < c.end && *c.at == '-';
        if (failed) { /* "- 19" */
            const char *dash = NULL;
            if (next_word(&c, ' ', &dash) > 1)
                c.state = VD_METERD_MALFORMED;
        }
        if (c.state != VD_METERD_WHOLE || !get_number(&c, '\n', &number))
            break;
        if (failed && (number == 0 || number > INT_MAX)) {
            c.state = VD_METERD_MALFORMED;
            break;
        }
        zone[i].error = failed ? (int)number : 0;
        zone[i].uj = failed ? 0 : number;
    }
    return finish(&c, text, n, ret_length);
}

/*
 * sources.h - what a provider is made of: the table of its functions, and what they share. Inside
 * src/carbon and its tests only.
 *
 * Each source is a file: words to URLs, and an answer to values. The parsers take text, so that
 * tests and the fuzzer reach them without a network; nothing in an answer is believed: units,
 * zone, scope, order, range of times and of values are looked at.
 */
#ifndef VD_CARBON_SOURCES_H
#define VD_CARBON_SOURCES_H

#include "base/json.h"
#include "carbon/provider.h"
#include "carbon/series.h"

/* Grams per kWh above which a figure is taken for one of another unit; the dirtiest grids of the
 * table have 1,200, an open-cycle oil turbine at the margin 1,400. */
#define VD_G_PER_KWH_MAX 2500.0

enum { VD_SOURCE_SKEW_S = 900 }; /* our clock and theirs may differ by so much */

/* One request under way. */
typedef struct vd_asking {
    const atomic_bool *stop;
    vd_retry *retry; /* not NULL */
    int64_t now_s;
} vd_asking;

typedef struct vd_provider_ops {
    const char *name;
    int64_t piece_s; /* the longest period that one `history` may ask for */
    vd_status (*open)(vd_provider *self, const vd_provider_options *options, vd_err *err);
    /* Both append, in any order; vd_series_tidy comes after. */
    vd_status (*latest)(vd_provider *self, const vd_asking *asking, vd_series *out, vd_err *err);
    vd_status (*history)(vd_provider *self, const vd_asking *asking, int64_t from_s, int64_t to_s,
                         vd_series *out, vd_err *err);
} vd_provider_ops;

struct vd_provider {
    const vd_provider_ops *ops;
    vd_intensity tags; /* what all its values have in common */
    const vd_zone *row; /* table */
    char *url, *file;
    uint32_t timeout_ms;
    char *token_file;  /* where the secret came from; NULL: the environment */
    bool refused;      /* the last question was: the file may hold another key by now */
    char *secret;      /* electricitymaps: the key; watttime: NAME:PASSWORD */
    char *session;     /* watttime: the token of a login */
    int64_t session_s; /* when it was given */
    double factor;     /* csv: of the unit to g/kWh, 0: the header says it */
    uint64_t file_mark; /* csv: what the file looked like when it was read */
    vd_series kept;     /* csv: what it said */
    char note[VD_ERR_MESSAGE_MAX]; /* vd_provider_note */
};

extern const vd_provider_ops vd_source_csv, vd_source_electricitymaps, vd_source_watttime,
    vd_source_uk;

/* ---- for the sources (provider.c, provider_ask.c) --------------------------------------------*/

VD_NODISCARD vd_status vd_source_url(vd_provider *self, const vd_provider_options *options,
                                     const char *otherwise, vd_err *err);
/* From the file of `options`, else the environment's variable. VD_ERR_NOT_FOUND names both. */
VD_NODISCARD vd_status vd_source_secret(const vd_provider_options *options, const char *variable,
                                        char **ret_secret, vd_err *err);
/* GET of self->url and `path`: a JSON object, or what a failure means. `header` is NULL or a line,
 * `user_password` NULL or for basic authentication. */
VD_NODISCARD vd_status vd_source_ask(vd_provider *self, const vd_asking *asking, const char *path,
                                     const char *header, const char *user_password,
                                     json_t **ret_answer, vd_err *err);
/* Appends the provider's tags with this value, after a look at it: finite, 0 to VD_G_PER_KWH_MAX,
 * from_s < to_s. `what` names it in messages. */
VD_NODISCARD vd_status vd_source_add(const vd_provider *self, double g_per_kwh, int64_t from_s,
                                     int64_t to_s, bool estimated, const char *version,
                                     const char *what, vd_series *out, vd_err *err);
/* Letters, digits, '-' and '_' only, so that a zone is safe in a URL and in a log. Copies it. */
VD_NODISCARD vd_status vd_source_zone(vd_provider *self, const char *zone, const char *example,
                                      vd_err *err);
/* `word` (NULL: the first) must be one of two; *ret_word is static. */
VD_NODISCARD vd_status vd_source_word(const char *what, const char *word, const char *first,
                                      const char *second, const char **ret_word, vd_err *err);
/* A text of `object` that is a time; false where it is missing or none. */
bool vd_source_time(const json_t *object, const char *key, int64_t *ret_s);

/* ---- the parsers -----------------------------------------------------------------------------*/

/* The answer of "latest" (one value) and of "history" and "past-range" (a list). */
VD_NODISCARD vd_status vd_electricitymaps_read(const vd_provider *self, const json_t *answer,
                                               int64_t now_s, vd_series *out, vd_err *err);
VD_NODISCARD vd_status vd_watttime_read(const vd_provider *self, const json_t *answer,
                                        bool forecast, int64_t now_s, vd_series *out, vd_err *err);
VD_NODISCARD vd_status vd_uk_read(const vd_provider *self, const json_t *answer, int64_t now_s,
                                  vd_series *out, vd_err *err);
/* `path` is for messages; self->note says of the first gap. */
VD_NODISCARD vd_status vd_csv_read(vd_provider *self, const char *path, const char *text,
                                   size_t n, vd_series *out, vd_err *err);

#endif

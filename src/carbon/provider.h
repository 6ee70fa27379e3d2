/*
 * provider.h - who says how dirty the grid is: one interface to five sources.
 *
 *   table            the built-in yearly averages        no network, no key
 *   csv              a file: time, value                 read again when it changed
 *   electricitymaps  api.electricitymaps.com, v3         average; key
 *   watttime         api.watttime.org, v3                marginal or average; name and password
 *   uk               api.carbonintensity.org.uk          average; no key
 *
 * The calls block on the network for as long as timeout_ms per request, so they belong on a thread
 * that nobody waits for (feed.h) or in a command. One provider belongs to one thread at a time.
 *
 * How accounts are settled again (`verdant energy resettle`): for the period of the booked values
 * that are `estimated`, open the same provider and zone, ask
 *
 *     vd_carbon_history(provider, from_s, to_s, VD_HISTORY_FINAL, NULL, &values, &n, &err)
 *
 * and book every slot again whose time lies in a value's [valid_from_s, valid_to_s). What the
 * source has not closed yet is not among the values; ask again a day later. A value replaces one
 * only where vd_intensity_alike says that they are of one kind. The provider "table" never has
 * final values.
 */
#ifndef VD_CARBON_PROVIDER_H
#define VD_CARBON_PROVIDER_H

#include <stdatomic.h>

#include "carbon/intensity.h"

typedef struct vd_provider vd_provider;

/* Texts are copied. NULL or 0 means the default in parentheses. */
typedef struct vd_provider_options {
    const char *name; /* a word of the list above ("table") */
    const char *zone; /* as the source calls it: "DE" (table, electricitymaps), "CAISO_NORTH"
                       * (watttime), "GB" or a region's number 1 to 17 (uk, "GB"); for csv the word
                       * to show ("csv") */
    const char *url;  /* where the API lies, without a path, for a proxy or a test (the source's) */
    const char *file; /* csv: the file, a regular one */
    const char *token_file; /* a file with the key, or NAME:PASSWORD; else the environment:
                             * VERDANT_ELECTRICITYMAPS_TOKEN, VERDANT_WATTTIME_USER and _PASSWORD.
                             * Read again when the key was refused */
    const char *kind;  /* csv, watttime: "average" or "marginal" (csv average, watttime marginal) */
    const char *scope; /* csv, electricitymaps: "lifecycle" or "direct" (lifecycle). Of a source
                        * without a choice a word must say what its values are */
    const char *unit;  /* csv: "g/kWh", "kg/MWh", "kg/kWh", "lb/MWh" (what the header says) */
    uint32_t timeout_ms; /* of one request (10,000) */
} vd_provider_options;

/* Looks at words and files, not at the network. VD_ERR_ARG for a word that is none, VD_ERR_PERM or
 * VD_ERR_NOT_FOUND where a key is missing, VD_ERR_IO, VD_ERR_NOMEM. No message holds a secret. */
VD_NODISCARD vd_status vd_provider_open(const vd_provider_options *options,
                                        vd_provider **ret_provider, vd_err *err);
void vd_provider_close(vd_provider *provider); /* NULL is a no-op */
const char *vd_provider_name(const vd_provider *provider);
const char *vd_provider_zone(const vd_provider *provider);
/* What was odd in the last good answer, for people ("x.csv:12: no value for 3 h after this"), or
 * "". Borrowed until the next call. */
const char *vd_provider_note(const vd_provider *provider);

/* What a failure of the calls below means for the next try. */
typedef struct vd_retry {
    uint32_t after_s; /* the source asked to wait so long (Retry-After); 0: it did not say */
    bool hopeless;    /* asking again as it stands cannot help: a wrong key, an unknown zone */
} vd_retry;

typedef enum vd_history_which {
    VD_HISTORY_ALL,
    VD_HISTORY_FINAL, /* only values that the source will not change any more */
} vd_history_which;

/* The newest values: what is valid now, and what the source says of the coming hours if it does.
 * In the order of time, none overlapping. *ret_values: vd_free. VD_ERR_NETWORK where no answer
 * came or it was an error, VD_ERR_PERM (401, 403), VD_ERR_BUSY (429), VD_ERR_FORMAT where the
 * answer is not what the source promises, VD_ERR_NOT_FOUND where it has no value, VD_ERR_LIMIT,
 * VD_ERR_NOMEM. `ret_retry` may be NULL. `stop`, when it becomes true, ends a request under way
 * (NULL: never). */
VD_NODISCARD vd_status vd_provider_latest(vd_provider *provider, const atomic_bool *stop,
                                          vd_intensity **ret_values, size_t *ret_n,
                                          vd_retry *ret_retry, vd_err *err);

/* Values that touch [from_s, to_s), at most 400 days; statuses as above, and no values at all is
 * VD_OK with *ret_n 0. Long periods are asked for piece by piece. */
VD_NODISCARD vd_status vd_carbon_history(vd_provider *provider, int64_t from_s, int64_t to_s,
                                         vd_history_which which, const atomic_bool *stop,
                                         vd_intensity **ret_values, size_t *ret_n, vd_err *err);

#endif

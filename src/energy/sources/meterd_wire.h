/*
 * meterd_wire.h - the lines that verdant-meterd and its clients say to each other, and nothing of
 * sockets. docs/meters.md has the protocol for those who write their own.
 *
 *   > zones                                    > read
 *   < zones 1 2                                < read 81230000000 2
 *   < intel-rapl:0 package-0 262143328850      < 1234567
 *   < intel-rapl:0:0 dram 65712999613          < - 19                      an errno
 *
 * Threads: any.
 */
#ifndef VD_ENERGY_METERD_WIRE_H
#define VD_ENERGY_METERD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "energy/rapl/rapl.h"

#define VD_METERD_SOCKET "/run/verdant/meterd.sock"

enum {
    VD_METERD_VERSION = 1,
    VD_METERD_REQUEST_MAX = 64,     /* bytes of a request with its newline */
    VD_METERD_REPLY_MAX = 16 * 1024 /* bytes of a reply */
};

typedef enum vd_meterd_request {
    VD_METERD_MORE, /* no whole line yet */
    VD_METERD_ZONES,
    VD_METERD_READ,
    VD_METERD_BAD
} vd_meterd_request;

/* The first request in text[0..n); *ret_length gets its bytes unless it is MORE or BAD. */
vd_meterd_request vd_meterd_request_parse(const char *text, size_t n, size_t *ret_length);

typedef struct vd_meterd_zone {
    char id[VD_RAPL_ID_MAX], name[32];
    uint64_t range_uj;
    uint64_t uj; /* of the last reading */
    int error;   /* its errno, or 0 and uj is valid */
} vd_meterd_zone;

/* Writes a reply of at most VD_METERD_REPLY_MAX bytes; returns its length. Zones whose id or name
 * could not stand in a line have no place in zone[]: see vd_meterd_word. */
size_t vd_meterd_put_zones(const vd_meterd_zone *zone, size_t n_zones, char *text);
size_t vd_meterd_put_reading(const vd_meterd_zone *zone, size_t n_zones, uint64_t at_ns,
                             char *text);
/* Not empty, printable, no blanks, shorter than `size`. */
bool vd_meterd_word(const char *word, size_t size);

typedef enum vd_meterd_state {
    VD_METERD_PARTIAL, /* more bytes may make it whole */
    VD_METERD_WHOLE,
    VD_METERD_MALFORMED
} vd_meterd_state;

/* Reads a reply in text[0..n). WHOLE fills the outputs and *ret_length; an `error` line is
 * MALFORMED. Zones: at most VD_RAPL_ZONES_MAX are stored. */
vd_meterd_state vd_meterd_get_zones(const char *text, size_t n, vd_meterd_zone *zone,
                                    size_t *ret_n_zones, size_t *ret_length);
/* Fills uj and error of `n_zones` zones, as many as the zones reply had. */
vd_meterd_state vd_meterd_get_reading(const char *text, size_t n, vd_meterd_zone *zone,
                                      size_t n_zones, size_t *ret_length);

#endif

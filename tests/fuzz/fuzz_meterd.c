/*
 * fuzz_meterd.c - libFuzzer target for the lines of verdant-meterd
 * (src/energy/sources/meterd_wire.h), as requests of a hostile client and as replies of a hostile
 * daemon.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "energy/sources/meterd_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vd_meterd_zone zones[VD_RAPL_ZONES_MAX], again[VD_RAPL_ZONES_MAX];
static char written[VD_METERD_REPLY_MAX];

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void as_request(const char *text, size_t n)
{
    size_t length = 0;
    vd_meterd_request whole = vd_meterd_request_parse(text, n, &length);
    if (whole == VD_METERD_ZONES || whole == VD_METERD_READ)
        require(length > 0 && length <= n && text[length - 1] == '\n');
    if (whole == VD_METERD_MORE)
        require(n < VD_METERD_REQUEST_MAX);
    for (size_t k = 0; k < n; k = k * 2 + 1) {
        size_t part_length = 0;
        vd_meterd_request part = vd_meterd_request_parse(text, k, &part_length);
        require(part == VD_METERD_MORE || part == whole);
    }
}

static void as_zones(const char *text, size_t n)
{
    size_t n_zones = 0, length = 0, n_again = 0;
    vd_meterd_state whole = vd_meterd_get_zones(text, n, zones, &n_zones, &length);
    for (size_t k = 0; k < n; k = k * 2 + 1) {
        size_t ignored_zones, ignored;
        vd_meterd_state part = vd_meterd_get_zones(text, k, again, &ignored_zones, &ignored);
        require(part == VD_METERD_PARTIAL || part == whole);
    }
    if (whole != VD_METERD_WHOLE)
        return;
    require(n_zones <= VD_RAPL_ZONES_MAX && length <= n);
    for (size_t i = 0; i < n_zones; i++)
        require(vd_meterd_word(zones[i].id, sizeof(zones[i].id)) &&
                vd_meterd_word(zones[i].name, sizeof(zones[i].name)));
    size_t n_written = vd_meterd_put_zones(zones, n_zones, written);
    require(vd_meterd_get_zones(written, n_written, again, &n_again, &length) == VD_METERD_WHOLE);
    require(n_again == n_zones && memcmp(zones, again, n_zones * sizeof(zones[0])) == 0);
}

static void as_reading(const char *text, size_t n, size_t n_zones)
{
    size_t length = 0;
    memset(zones, 0, sizeof(zones));
    memset(again, 0, sizeof(again));
    if (vd_meterd_get_reading(text, n, zones, n_zones, &length) != VD_METERD_WHOLE)
        return;
    require(length <= n);
    size_t n_written = vd_meterd_put_reading(zones, n_zones, 7, written);
    require(vd_meterd_get_reading(written, n_written, again, n_zones, &length) == VD_METERD_WHOLE);
    require(memcmp(zones, again, n_zones * sizeof(zones[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size > 0 ? size : 1); /* so that a look past the end is seen */
    require(text != NULL);
    memcpy(text, data, size);
    as_request(text, size);
    as_zones(text, size);
    for (size_t n_zones = 0; n_zones < 4; n_zones++)
        as_reading(text, size, n_zones);
    free(text);
    return 0;
}

/*
 * rapl_read.c - from counters that wrap, stop, jump and vanish to energy that can be trusted.
 *
 * A counter that is smaller than before has wrapped once, jumped back, or wrapped several times;
 * the counter alone cannot tell. Time can: a zone draws at most some watts, so a short interval
 * excludes a second wrap and a small step back excludes a first one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "energy/rapl/rapl_file.h"

/* The largest socket of 2026 draws 500 W for long. Three times that bounds what one zone may have
 * used between two readings; ten times, and 2 kJ for bursts and late refreshes, is where a step is
 * no longer believed. A wrong belief costs little either way: a phantom wrap is 65 kJ or more. */
static const double sustained_w = 1500, believed_w = 5000, believed_slack_uj = 2e9;
/* Ranges known from the field are 65 kJ and more; a smaller one (tests, odd drivers) is read often
 * enough by any caller that keeps below this. */
static const uint64_t certain_ns = UINT64_C(10000000000);
/* A running machine always draws something: a counter that stands this long is stuck. */
static const uint64_t stuck_ns = UINT64_C(10000000000);

static void report(vd_rapl *rapl, const vd_rapl_zone *zone, const char *fmt, ...) VD_PRINTF(3, 4);
static void report(vd_rapl *rapl, const vd_rapl_zone *zone, const char *fmt, ...)
{
    int n = snprintf(rapl->last_gap, sizeof(rapl->last_gap), "%s (%s): ", zone->info.id,
                     zone->info.name);
    va_list args;
    va_start(args, fmt);
    if (n > 0 && (size_t)n < sizeof(rapl->last_gap))
        vsnprintf(rapl->last_gap + n, sizeof(rapl->last_gap) - (size_t)n, fmt, args);
    va_end(args);
}

/* The energy between two values of the counter, or false when it cannot be known. */
static bool step_between(vd_rapl *rapl, const vd_rapl_zone *zone, uint64_t value_uj,
                         uint64_t elapsed_ns, uint64_t *ret_uj)
{
    uint64_t range = zone->info.range_uj, last = zone->last_uj;
    double seconds = (double)elapsed_ns * 1e-9;
    if (range != 0 && elapsed_ns > certain_ns && seconds * sustained_w * 1e6 > (double)range) {
        report(rapl, zone, "not read for %.0f s, it may have wrapped more than once", seconds);
        return false;
    }
    bool wrapped = value_uj < last;
    if (wrapped && (range == 0 || last > range)) {
        report(rapl, zone, "went back from %" PRIu64 " to %" PRIu64 " uJ, and its range is unknown",
               last, value_uj);
        return false;
    }
    uint64_t step = wrapped ? range - last + value_uj : value_uj - last;
    if ((double)step > seconds * believed_w * 1e6 + believed_slack_uj) {
        report(rapl, zone, "went from %" PRIu64 " to %" PRIu64 " uJ in %.3f s, more than %.0f W",
               last, value_uj, seconds, believed_w);
        return false;
    }
    *ret_uj = step;
    return true;
}

/* Adds what the zone used; false when some went unseen. */
static bool read_zone(vd_rapl *rapl, vd_rapl_zone *zone, uint64_t now_ns, uint64_t *uj)
{
    uint64_t value, step = 0;
    int saved = rapl->value != NULL ? rapl->value(rapl, zone, &value)
                                    : vd_rapl_zone_value(rapl, zone, &value);
    if (saved != 0) {
        report(rapl, zone, "cannot be read: %s",
               saved == EBADMSG ? "not a number" : strerror(saved));
        zone->info.missing = true;
        return false;
    }
    uint64_t elapsed = now_ns > zone->last_ns ? now_ns - zone->last_ns : 0;
    bool seen = step_between(rapl, zone, value, elapsed, &step);
    *uj += step; /* 0 when it was not believed */
    zone->info.counted_uj += step;
    uint64_t still_ns = now_ns - zone->moved_ns;
    if (!seen || value != zone->last_uj) {
        if (zone->info.missing) { /* all it used meanwhile is counted, but came when? */
            report(rapl, zone, "is back after %.1f s", (double)still_ns * 1e-9);
            zone->info.missing = false;
            seen = false;
        }
        zone->moved_ns = now_ns;
    } else if (still_ns > stuck_ns) {
        report(rapl, zone, "has stood still for %.0f s", (double)still_ns * 1e-9);
        zone->info.missing = true;
    }
    zone->last_uj = value;
    zone->last_ns = now_ns;
    return seen && !zone->info.missing;
}

bool vd_rapl_read(vd_rapl *rapl, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    bool seen = true, lost = false;
    if (rapl->refresh != NULL)
        rapl->refresh(rapl);
    for (size_t i = 0; i < rapl->n_zones; i++) {
        vd_rapl_zone *zone = &rapl->zone[i];
        if (zone->info.use != VD_RAPL_READ)
            continue;
        seen &= read_zone(rapl, zone, now_ns, &uj[zone->info.part]);
        lost |= zone->info.missing;
    }
    if (!lost)
        rapl->lost_since_ns = 0;
    else if (rapl->lost_since_ns == 0)
        rapl->lost_since_ns = now_ns;
    rapl->n_gaps += !seen;
    return seen;
}

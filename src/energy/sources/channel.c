/* channel.c - see channel.h. */
#include "energy/sources/channel.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__extension__ typedef unsigned __int128 wide;

static void report(const vd_channel *channel, vd_sample *sample, const char *fmt, ...)
    VD_PRINTF(3, 4);
static void vreport(const vd_channel *channel, vd_sample *sample, const char *fmt, va_list args)
{
    int n = snprintf(sample->why, sizeof(sample->why), "%s ", channel->name);
    if (n > 0 && (size_t)n < sizeof(sample->why))
        vsnprintf(sample->why + n, sizeof(sample->why) - (size_t)n, fmt, args);
    sample->gap = true;
}

static void report(const vd_channel *channel, vd_sample *sample, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vreport(channel, sample, fmt, args);
    va_end(args);
}

static uint64_t since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

static void begin(vd_channel *channel, uint64_t now_ns, uint64_t value)
{
    channel->started = true;
    channel->missing = false;
    channel->last = value;
    channel->last_ns = channel->moved_ns = now_ns;
}

/* A counter that moved: the step, or a gap. Time counts from the last move, not the last reading:
 * a counter that refreshes every 100 ms shows the energy of all of them at once. */
static void step(vd_channel *channel, uint64_t now_ns, uint64_t value_uj, vd_sample *sample)
{
    double seconds = (double)since(channel->moved_ns, now_ns) * 1e-9;
    uint64_t step_uj = value_uj - channel->last;
    if (value_uj < channel->last)
        report(channel, sample, "went back from %" PRIu64 " to %" PRIu64 " uJ: it was reset",
               channel->last, value_uj);
    else if ((double)step_uj > seconds * channel->most_w * 1e6 + (double)channel->slack_uj)
        report(channel, sample,
               "went from %" PRIu64 " to %" PRIu64 " uJ in %.3f s, more than %.0f W", channel->last,
               value_uj, seconds, channel->most_w);
    else
        sample->uj[channel->part] += step_uj;
    if (channel->missing)
        report(channel, sample, "is back after %.1f s", seconds);
    begin(channel, now_ns, value_uj);
}

void vd_channel_counter(vd_channel *channel, uint64_t now_ns, uint64_t value_uj, vd_sample *sample)
{
    if (!channel->started) {
        if (channel->missing)
            report(channel, sample, "is back");
        begin(channel, now_ns, value_uj);
    } else if (value_uj != channel->last) {
        step(channel, now_ns, value_uj, sample);
    } else {
        uint64_t still_ns = since(channel->moved_ns, now_ns);
        channel->last_ns = now_ns;
        if (channel->stuck_ns != 0 && still_ns > channel->stuck_ns) {
            report(channel, sample, "has stood still for %.0f s", (double)still_ns * 1e-9);
            channel->missing = true;
        } else if (channel->missing) { /* answered again before it moved */
            report(channel, sample, "is back");
            channel->missing = false;
        }
    }
    sample->lost |= channel->missing;
}

void vd_channel_alive(vd_channel *channel, uint64_t now_ns)
{
    if (channel->started)
        channel->moved_ns = now_ns;
}

void vd_channel_gauge(vd_channel *channel, uint64_t now_ns, uint64_t value_uw, vd_sample *sample)
{
    if ((double)value_uw > channel->most_w * 1e6) {
        vd_channel_fail(channel, sample, "says %.0f W, more than %.0f W", (double)value_uw * 1e-6,
                        channel->most_w);
        return;
    }
    if (value_uw == 0 && channel->never_zero) {
        vd_channel_fail(channel, sample, "says 0 W, which nothing at work draws");
        return;
    }
    uint64_t elapsed_ns = since(channel->last_ns, now_ns);
    if (!channel->started) {
        if (channel->missing)
            report(channel, sample, "is back");
    } else if (channel->most_ns != 0 && elapsed_ns > channel->most_ns) {
        report(channel, sample, "was not read for %.1f s", (double)elapsed_ns * 1e-9);
    } else {
        /* Twice the femtojoules (uW x ns), so that the half is not lost. */
        wide fj2 = ((wide)channel->last + value_uw) * elapsed_ns + channel->rest_fj;
        sample->uj[channel->part] += (uint64_t)(fj2 / 2000000000u);
        channel->rest_fj = (uint64_t)(fj2 % 2000000000u);
    }
    begin(channel, now_ns, value_uw);
}

void vd_channel_asleep(vd_channel *channel, uint64_t now_ns, vd_sample *sample)
{
    if (channel->most_ns == 0) {
        if (channel->started)
            vd_channel_counter(channel, now_ns, channel->last, sample);
        vd_channel_alive(channel, now_ns);
        return;
    }
    bool never_zero = channel->never_zero;
    channel->never_zero = false;
    vd_channel_gauge(channel, now_ns, 0, sample);
    channel->never_zero = never_zero;
}

void vd_channel_fail(vd_channel *channel, vd_sample *sample, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vreport(channel, sample, fmt, args);
    va_end(args);
    channel->missing = true;
    sample->lost = true;
    if (channel->most_ns != 0)
        vd_channel_restart(channel);
}

void vd_channel_restart(vd_channel *channel)
{
    channel->started = false;
}

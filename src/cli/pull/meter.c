/* meter.c - see meter.h. */
#include "cli/pull/meter.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/format.h"

enum { WIDTH = 25 };
static const uint64_t silent_ns = 2000000000, redraw_ns = 100000000;

void vd_meter_begin(vd_meter *meter, int64_t bytes)
{
    uint64_t now_ns = vd_now_ns();
    *meter = (vd_meter){.first_ns = meter->first_ns != 0 ? meter->first_ns : now_ns,
                        .start_ns = now_ns, .start_bytes = bytes,
                        .on_terminal = isatty(STDERR_FILENO) != 0};
}

void vd_meter_show(vd_meter *meter, const char *label, int64_t bytes, int64_t total)
{
    uint64_t now_ns = vd_now_ns(), took_ns = now_ns - meter->start_ns;
    if (!meter->on_terminal || now_ns - meter->first_ns < silent_ns ||
        now_ns - meter->shown_ns < redraw_ns)
        return;
    meter->shown_ns = now_ns;
    uint64_t rate = (uint64_t)((double)(bytes - meter->start_bytes) * 1e9 /
                               (double)(took_ns + 1));
    fprintf(stderr, "\r\033[K%s", label);
    if (total > 0) {
        int percent = (int)(100.0 * (double)bytes / (double)total);
        int full = percent * WIDTH / 100;
        fprintf(stderr, "%3d %% [%.*s%*s] ", percent, full, "=========================",
                WIDTH - full, "");
    }
    fprintf(stderr, "%s, %s/s", vd_cli_size((uint64_t)bytes).text, vd_cli_size(rate).text);
    if (total > bytes && rate > 0) {
        uint64_t left_s = (uint64_t)(total - bytes) / rate;
        if (left_s >= 3600)
            fprintf(stderr, ", %" PRIu64 " h %" PRIu64 " min left", left_s / 3600,
                    left_s % 3600 / 60);
        else if (left_s >= 60)
            fprintf(stderr, ", %" PRIu64 " min left", left_s / 60);
        else
            fprintf(stderr, ", %" PRIu64 " s left", left_s);
    }
    fflush(stderr);
}

void vd_meter_wipe(vd_meter *meter)
{
    if (meter->shown_ns > 0)
        fprintf(stderr, "\r\033[K");
    meter->shown_ns = 0;
}

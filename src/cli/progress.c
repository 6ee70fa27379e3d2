/* progress.c - see progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { WIDTH = 30 };
static const uint64_t SILENT_NS = 2000000000u, REDRAW_NS = 100000000u;

void vd_progress_init(vd_progress *p, const char *what)
{
    *p = (vd_progress){.what = what, .begin_ns = vd_now_ns(), .on_terminal = isatty(STDERR_FILENO)};
}

void vd_progress_update(vd_progress *p, uint64_t done, uint64_t total, const char *note)
{
    uint64_t now = vd_now_ns();
    if (!p->on_terminal || now - p->begin_ns < SILENT_NS || now - p->shown_ns < REDRAW_NS)
        return;
    p->shown_ns = now;
    p->shown = true;
    double share = total > 0 ? (double)done / (double)total : 0;
    share = share > 1 ? 1 : share;
    char bar[WIDTH + 1];
    size_t n_full = (size_t)(share * WIDTH);
    memset(bar, '.', WIDTH);
    memset(bar, '#', n_full);
    bar[WIDTH] = '\0';
    double seconds = (double)(now - p->begin_ns) * 1e-9;
    double left = share > 0 ? seconds * (1 - share) / share : 0;
    fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  %.0f s left  %s", p->what, bar, share * 100, left,
            note != NULL ? note : "");
    fflush(stderr);
}

void vd_progress_done(vd_progress *p)
{
    if (p->shown)
        fprintf(stderr, "\r\033[K");
    p->shown = false;
}

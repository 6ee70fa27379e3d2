/*
 * progress.h - a bar on the terminal for work that takes more than two seconds. Nothing is shown
 * when stderr is not a terminal. Single-owner.
 */
#ifndef VD_CLI_PROGRESS_H
#define VD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vd_progress {
    const char *what;
    uint64_t begin_ns, shown_ns;
    bool on_terminal, shown;
} vd_progress;

void vd_progress_init(vd_progress *progress, const char *what);
/* `note` is shown behind the bar (NULL: none). */
void vd_progress_update(vd_progress *progress, uint64_t done, uint64_t total, const char *note);
/* Wipes the bar. */
void vd_progress_done(vd_progress *progress);

#endif

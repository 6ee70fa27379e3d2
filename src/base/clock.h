/* clock.h - time in nanoseconds. Threads: any. */
#ifndef VD_BASE_CLOCK_H
#define VD_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic, for durations. */
uint64_t vd_now_ns(void);
/* Since 1970-01-01 UTC, for stamps. */
uint64_t vd_wall_ns(void);

#endif

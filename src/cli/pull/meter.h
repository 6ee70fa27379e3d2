/* meter.h - a line on the terminal of how far a transfer is, once it has taken two seconds. */
#ifndef VD_CLI_PULL_METER_H
#define VD_CLI_PULL_METER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct vd_meter {
    uint64_t first_ns, start_ns; /* of the first transfer, of this one */
    uint64_t shown_ns;           /* 0: not yet */
    int64_t start_bytes;
    bool on_terminal;
} vd_meter;

/* A transfer that goes on from `bytes` begins. Zero-initialise the meter before the first one. */
void vd_meter_begin(vd_meter *meter, int64_t bytes);
/* bytes: of the whole file, in so far; total: -1 when not known. */
void vd_meter_show(vd_meter *meter, const char *label, int64_t bytes, int64_t total);
void vd_meter_wipe(vd_meter *meter);

#endif

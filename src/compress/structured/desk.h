/*
 * desk.h - a folder in which another program reads and writes files by name. It is locked while
 * this process has it; where one was killed, the next that opens a desk beside it takes it away.
 */
#ifndef VD_COMPRESS_STRUCTURED_DESK_H
#define VD_COMPRESS_STRUCTURED_DESK_H

#include <verdant/status.h>

typedef struct vd_desk {
    char *path; /* owned */
    int fd;     /* of the folder, which carries the lock */
} vd_desk;

/* A new folder in `folder`. VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_desk_open(const char *folder, vd_desk *ret_desk, vd_err *err);
/* It goes, with all that is in it. A desk {NULL, -1} is none. */
void vd_desk_close(vd_desk *desk);

#endif

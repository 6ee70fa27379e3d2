/* bench_serve.h - what a child of bench_child.h does, and what it says to its parent. */
#ifndef VD_CLI_BENCH_SERVE_H
#define VD_CLI_BENCH_SERVE_H

#include "cli/bench_child.h"

enum { VD_BENCH_READY = 'R', VD_BENCH_FAILED = 'X', VD_BENCH_ENDED = 'E' };

typedef struct vd_bench_message {
    int type;
    vd_status status;
    char text[400];
} vd_bench_message;

/* Writes all of it, or ends this process: the other end has gone. */
void vd_bench_send(int fd, const void *data, size_t n);
/* false: the other end closed. */
bool vd_bench_receive(int fd, void *data, size_t n);

/* How many requests of the trace are this share's. */
size_t vd_bench_count(const vd_bench_share *share);
/* Opens the model, answers its requests, sends the results; ends the process. */
_Noreturn void vd_bench_serve(const vd_bench_share *share, int from, int to);

#endif

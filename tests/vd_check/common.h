/* common.h - the state behind check.h, which main.c sets up and reads. */
#ifndef VD_CHECK_COMMON_H
#define VD_CHECK_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHECK_BUFFERS_MAX = 32 };

typedef struct check_buffer {
    void *base;
    size_t bytes; /* of the mapping, guard page included */
    unsigned char *start;
} check_buffer;

typedef struct check_state {
    uint64_t seed;
    bool quick; /* --quick */
    size_t n_passed, n_failed;
    char current[200];
    check_buffer buffers[CHECK_BUFFERS_MAX];
    size_t n_buffers;
} check_state;

extern check_state check_globals;

#endif

/*
 * recover.h - where a model that was cut or pruned is trained again before it is quantized: the
 * seam between compression and whatever trains.
 *
 *   source -- cut, pruned --> student -- recover(student, teacher = source) --> as good as it gets
 *          -- quantized --> target
 *
 * What recovers reads two GGUF files and writes a third with the same tensors, in any float type.
 * Weights that were pruned must stay zero.
 */
#ifndef VD_COMPRESS_RECOVER_H
#define VD_COMPRESS_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_recover {
    /* Writes `target` of the model `student`, which shall answer as `teacher` does. */
    vd_status (*run)(void *ctx, const char *student, const char *teacher, const char *target,
                     vd_err *err);
    void *ctx;
} vd_recover;

/* A program that is run as PROGRAM STUDENT TEACHER TARGET, found by PATH; its standard output goes
 * to standard error. A vd_recover's `run`, `ctx` is this. */
typedef struct vd_recover_program {
    const char *program;
    bool (*go_on)(void *ctx); /* asked ten times a second; false ends the program. NULL: it runs to
                                its end */
    void *ctx;
} vd_recover_program;

/* VD_ERR_IO where it cannot be started, VD_ERR_CLOSED where it fails or writes nothing,
 * VD_ERR_CANCELLED. */
VD_NODISCARD vd_status vd_recover_by_program(void *program, const char *student,
                                             const char *teacher, const char *target, vd_err *err);

/* Whether `recovered` is the student trained on: VD_ERR_FORMAT where tensors differ in name or
 * shape or values are not finite; with keep_zeros also where a matrix of a layer has a value that
 * is zero in the student. */
VD_NODISCARD vd_status vd_recover_check(const char *student, const char *recovered,
                                        bool keep_zeros, vd_err *err);

#endif

/*
 * resume.h - what a long compression has done so far, kept beside the file it writes, so that
 * one that was interrupted goes on where it was.
 *
 *   TARGET.work/
 *     lock        held while a process works on it
 *     data        the tensors' data that is finished, as the new file will have it
 *     stream.7    the residual stream of the calibration's tokens behind 7 layers
 *     state.json  what these are: written last, by a rename
 *
 * A state names the bytes of `data` that count; what a process that died has appended behind them
 * is cut off. A fingerprint says which work it is; another's is left alone. Single-owner.
 */
#ifndef VD_COMPRESS_RESUME_H
#define VD_COMPRESS_RESUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

typedef struct vd_resume vd_resume;

/* How far it is. */
typedef struct vd_resume_state {
    size_t n_tensors;   /* finished, in the new file's order */
    size_t layer;       /* that the stream has reached: so many layers are behind it */
    uint64_t data_bytes;
    json_t *more;       /* the caller's own; borrowed */
} vd_resume_state;

/* fingerprint: text that is the same for the same work. VD_ERR_BUSY where another process is at it,
 * VD_ERR_EXISTS where the folder holds other work, VD_ERR_FORMAT where it is damaged, VD_ERR_IO,
 * VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_resume_open(const char *target, const char *fingerprint,
                                          vd_resume **ret_resume, vd_err *err);
/* finished: the folder goes. Otherwise it stays where there is a state to go on from. */
void vd_resume_close(vd_resume *resume, bool finished);

/* NULL: nothing is done yet. Borrowed until the next save. */
const vd_resume_state *vd_resume_found(const vd_resume *resume);
const char *vd_resume_folder(const vd_resume *resume);

/* Appends to the data. */
VD_NODISCARD vd_status vd_resume_add(vd_resume *resume, const void *bytes, size_t n,
                                         vd_err *err);

/* The next n bytes of the data of the state that was found, from the first on; before anything is
 * added. VD_ERR_FORMAT where there is no more. */
VD_NODISCARD vd_status vd_resume_read(vd_resume *resume, void *bytes, size_t n, vd_err *err);
/* Behind the last of them: VD_ERR_FORMAT where there is more, or a bit is another. */
VD_NODISCARD vd_status vd_resume_read_end(const vd_resume *resume, vd_err *err);
/* Its stream into x[n_bytes]; VD_ERR_FORMAT where it has another size or other bits. */
VD_NODISCARD vd_status vd_resume_stream(vd_resume *resume, void *x, size_t n_bytes,
                                            vd_err *err);

/* Everything up to here counts: all data that was added, and the stream x. data_bytes is set here,
 * the rest is read from `state`. Synced before it is named. */
VD_NODISCARD vd_status vd_resume_save(vd_resume *resume,
                                          const vd_resume_state *state, const void *x,
                                          size_t n_bytes, vd_err *err);

#endif

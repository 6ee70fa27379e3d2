/*
 * types.h - the types that single tensors shall have, whatever the mixture says (mix.h).
 *
 * Two kinds of rules: a pattern, a POSIX extended regular expression that is searched for anywhere
 * in a tensor's name, as llama.cpp's option of the same name does ("attn_v=Q6_K",
 * "blk\.[0-3]\.=Q5_K"); and a name that must be the whole of it, as a search writes them down. A
 * name goes before patterns, of patterns the first that matches counts. A name may also have a
 * keep-rate, at which the matrix is pruned by what it reads (Wanda). Single-owner.
 */
#ifndef VD_COMPRESS_TYPES_H
#define VD_COMPRESS_TYPES_H

#include <verdant/status.h>

#include "kernels/dtype.h"
#include "model/gguf.h"

typedef struct vd_types vd_types;

/* Of one tensor. */
typedef struct vd_wanted {
    vd_dtype dtype;
    double keep; /* share of the weights that stays, in (0, 1] */
} vd_wanted;

VD_NODISCARD vd_status vd_types_create(vd_types **ret_types, vd_err *err);
void vd_types_free(vd_types *types); /* NULL is a no-op */

/* "PATTERN=TYPE". VD_ERR_ARG for a bad expression or a type that cannot be written. */
VD_NODISCARD vd_status vd_types_add_pattern(vd_types *types, const char *text, vd_err *err);
VD_NODISCARD vd_status vd_types_add_name(vd_types *types, vd_str name, vd_wanted wanted,
                                         vd_err *err);
/* {"tensors": {NAME: TYPE, NAME: {"type": TYPE, "keep": 0.5}, ...}}, other keys are passed over.
 * VD_ERR_FORMAT names what is wrong. */
VD_NODISCARD vd_status vd_types_add_file(vd_types *types, const char *path, vd_err *err);

/* What a tensor shall be, if a rule has one; may_change: its type may be another at all. A rule
 * that is found for one that may counts as used. */
bool vd_types_find(vd_types *types, vd_str name, bool may_change, vd_wanted *ret_wanted);
/* VD_ERR_ARG names a rule that was never used: a tensor that is not there, or stays as it is. */
VD_NODISCARD vd_status vd_types_check_used(const vd_types *types, vd_err *err);

/* "Q4_K" in any case; false where there is no such type or it cannot be written. */
bool vd_types_parse_dtype(const char *text, vd_dtype *ret_dtype);

#endif

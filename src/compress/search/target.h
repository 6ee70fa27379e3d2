/*
 * target.h - what a search is to reach: "bytes=80M", "bpw=4.0", "tps=120", "jpt=0.5", "loss=1%",
 * or several of them with commas between.
 */
#ifndef VD_COMPRESS_SEARCH_TARGET_H
#define VD_COMPRESS_SEARCH_TARGET_H

#include <stdint.h>

/* 0: not asked for. All that are must be met. */
typedef struct vd_target {
    uint64_t bytes; /* of the file, at most */
    double bpw;     /* bits per weight of the tensors, at most */
    double tps;     /* tokens per second of one answer on this machine, at least */
    double jpt;     /* joules per token, at most */
    double loss;    /* perplexity above the source's, at most, as a share: 0.01 is 1 % */
} vd_target;

/* NULL when all is well, else what is wrong. Bytes take K, M, G (1000) and Ki, Mi, Gi (1024); a
 * loss is a share or with % a percentage. */
const char *vd_target_parse(const char *text, vd_target *ret_target);

#endif

/*
 * lookup.h - guessing the next tokens of a text from the text itself.
 *
 * Prompt lookup (Saxena 2023; LLMA, Yang et al. 2023): where the last tokens stood before, what
 * followed there may follow again. The longest agreement wins, of equal ones the latest. A guess
 * that runs into the end of the text goes on with itself: a text that repeats goes on repeating.
 *
 * How often such guesses are right depends on how many tokens agree, so that is counted per request
 * and per length of agreement. It costs nothing: the guess for the next token is compared with the
 * token that was drawn, whether it was computed as a draft or not.
 */
#ifndef VD_ENGINE_LOOKUP_H
#define VD_ENGINE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VD_LOOKUP_AGREE_MAX = 8, /* tokens that are compared at most */
    VD_LOOKUP_KINDS = 5      /* agreements of 1, 2, 3, 4 to 7, and of 8 tokens */
};

/* Where the text went on after its last tokens stood there before. */
typedef struct vd_lookup {
    size_t from;    /* the guessed token's place in the text */
    size_t n_agree; /* how many tokens before it agree; 0: nothing was found */
} vd_lookup;

/* Looks at token[0..n). Time: one pass over them. */
vd_lookup vd_lookup_find(const int32_t *token, size_t n);
/* Writes the k tokens guessed to follow token[0..n) to token[n..n + k). */
void vd_lookup_copy(const vd_lookup *lookup, int32_t *token, size_t n, size_t k);

/* How often guesses of each kind were right lately. */
typedef struct vd_lookup_hits {
    float rate[VD_LOOKUP_KINDS]; /* 0..1 */
} vd_lookup_hits;

/* Before anything was seen. */
vd_lookup_hits vd_lookup_hits_default(void);
/* The chance that the next guess is right where n_agree tokens agree. */
float vd_lookup_chance(const vd_lookup_hits *hits, size_t n_agree);
void vd_lookup_learn(vd_lookup_hits *hits, size_t n_agree, bool right);

#endif

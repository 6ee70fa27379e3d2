/*
 * pace.h - what steps take here, learned from the steps themselves.
 *
 * Two questions are answered. What does one more token of an answer cost in a step that holds only
 * such tokens (each with its logits)? That decides whether a drafted token is worth its place. What
 * does a token of a prompt cost in a chunk of so many? That decides how long a chunk may be.
 *
 *   answers only:  ns(n) = base + slope * n      a line through the mean times of each n
 *   with prompts:  ns - ns(n answers) = n_prompt * per_token(size of the chunk)
 *
 * A step that took twice as long as expected or more (the machine did something else) counts as
 * twice. A size of step not seen for about a hundred steps is forgotten, so that one bad moment
 * does not put an end to guessing: it is then tried anew. Single-owner; no unit but nanoseconds.
 */
#ifndef VD_ENGINE_PACE_H
#define VD_ENGINE_PACE_H

#include <stddef.h>
#include <stdint.h>

enum { VD_PACE_ROWS = 64, VD_PACE_CHUNKS = 16 };

typedef struct vd_pace {
    double ns[VD_PACE_ROWS + 1];     /* [n] mean of steps of n answer tokens */
    double weight[VD_PACE_ROWS + 1]; /* how many lately */
    double base, slope;              /* of the line; 0 while nothing is known */
    double per_token[VD_PACE_CHUNKS]; /* [i] of chunks of 2^i and more tokens; 0: unknown */
} vd_pace;

/* A step of n_answer rows with logits and n_prompt others took `ns`. */
void vd_pace_learn(vd_pace *pace, size_t n_answer, size_t n_prompt, uint64_t ns);
/* A step of n answer tokens; 0 while unknown. */
double vd_pace_answers_ns(const vd_pace *pace, size_t n_answer);
/* What one more answer token adds; 0 while unknown. */
double vd_pace_slope_ns(const vd_pace *pace);
/* The shortest chunk, a power of two in [least, most], whose tokens cost at most half as much again
 * as those of the cheapest size known; `least` while nothing is known. */
size_t vd_pace_efficient_chunk(const vd_pace *pace, size_t least, size_t most);
/* The longest chunk, in [least, most], with which a step of n_answer answer tokens is expected to
 * take at most budget_ns; `least` while unknown. */
size_t vd_pace_chunk(const vd_pace *pace, size_t n_answer, double budget_ns, size_t least,
                     size_t most);

#endif

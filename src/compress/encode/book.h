/*
 * book.h - the search for the types whose values are points of a code book: IQ3, IQ2 and IQ1.
 *
 * A super-block of 256 values has a scale d, each sub-block of 16 or 32 a whole number s, and each
 * group of 4 or 8 a point: value = d * unit * (2 s + 1) * coordinate. What is minimized is the sum
 * of w * (x - value)^2.
 *
 * For each group the points that are best at some scale are found, all of them (path.h); with them
 * the error of a sub-block is known for every scale, least points and signs included. What is left
 * is d and s: coordinate descent from several d. For each sub-block the best s around its own best
 * scale, by the true error; then d by least squares, rounded to f16; and again while the error
 * falls.
 *
 * Signs. In IQ3_S and IQ2_S each value has its own. In IQ3_XXS, IQ2_XXS and IQ2_XS the number of
 * minus signs in eight values is even. Where x has an odd number one value gets the wrong sign,
 * that of the least w |x| p: the L of a point falls by twice that, its Q stays, so that the path of
 * such a group is as exact as another. In IQ3_XXS the eight are two points: either the one or the
 * other has the wrong sign, whichever is better at the scale. IQ1 has the sign in its points, which
 * are shifted by 1/8 up or down: all of a sub-block in IQ1_S, each group in IQ1_M.
 */
#ifndef VD_COMPRESS_ENCODE_BOOK_H
#define VD_COMPRESS_ENCODE_BOOK_H

#include <stdbool.h>
#include <stdint.h>

enum { VD_BOOK_GROUPS = 64, VD_BOOK_SUBS = 16, VD_BOOK_POINTS_MAX = 2048, VD_BOOK_HALVES = 81 };

typedef enum vd_book_signs {
    VD_BOOK_FREE,        /* a sign for each value */
    VD_BOOK_EVEN,        /* an even number of minus signs in eight values */
    VD_BOOK_SHIFT_SUB,   /* signs in the points; a shift per sub-block */
    VD_BOOK_SHIFT_GROUP, /* and one per group */
} vd_book_signs;

typedef struct vd_book_family {
    int group;           /* values per point: 4 or 8 */
    int n_points;
    const int8_t *point; /* [n_points][group] */
    int sub;             /* values per sub-block: 16 or 32 */
    int n_s;             /* s in 0 .. n_s - 1: 16 or 8 */
    float unit;
    vd_book_signs signs;
} vd_book_family;

/* How a family's points are put together of two halves; made once. */
typedef struct vd_book {
    vd_book_family family;
    int n_levels;    /* that a coordinate may have: 3 or 8 */
    float level[8];  /* rising */
    int lowest;      /* the point whose coordinates are all the smallest there are */
    int n_halves;
    uint8_t low[VD_BOOK_POINTS_MAX];    /* the lower half of each point */
    uint16_t begin[VD_BOOK_HALVES + 1]; /* they come by upper halves: where those of each begin */
} vd_book;

typedef struct vd_book_block {
    float d;                            /* as f16 holds it; 0: all values are 0 */
    int s[VD_BOOK_SUBS];
    uint16_t point[VD_BOOK_GROUPS];
    uint8_t minus[32];                  /* of each eight values: bits of those with a minus sign */
    bool down[VD_BOOK_GROUPS];          /* shifted down, not up */
} vd_book_block;

void vd_book_make(const vd_book_family *family, vd_book *ret);

/* x[256], given[256]: how much each counts, or NULL: a large value more than a small one. About
 * 180 kB of stack. */
void vd_book_search(const vd_book *book, const float *x, const float *given, vd_book_block *ret);

#endif

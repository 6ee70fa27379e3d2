/*
 * path.h - which point of a code book is the best one, for every scale at once.
 *
 * A group of values x that count w, written as t times a point p, has the squared error
 *
 *     sum of w (x - t p)^2 = sum of w x^2 + t^2 Q - 2 t L,   Q = sum of w p^2, L = sum of w x p
 *
 * So a point is a spot (Q, L) of a plane, whatever t. For a given t the best one is the spot that
 * lies furthest in the direction (-t, 2), and all that are ever best are the corners of the upper
 * convex hull of the spots: about twenty of a thousand.
 *
 *     L |        . a            from the largest L (a, best where t is near 0)
 *       |     c                 to the smallest Q (b, best where t is very large);
 *       |   .    .  .           c follows a at t = 2 (L_a - L_c) / (Q_a - Q_c)
 *       | b   .   .
 *       +------------- Q
 *
 * Corners of groups that share a scale add up: in order of the t at which they change (a Minkowski
 * sum). So the error of a sub-block at any scale, with the best points for it, takes a search in a
 * list of some dozen. llama.cpp rounds to a point for one scale after the other.
 *
 * The hull is found by Quickhull (Barber, Dobkin and Huhdanpaa, 1996).
 */
#ifndef VD_COMPRESS_ENCODE_PATH_H
#define VD_COMPRESS_ENCODE_PATH_H

#include <stdbool.h>
#include <stdint.h>

enum { VD_SPOTS_MAX = 4096, VD_SPOTS_RUN = 64, VD_CORNERS_MAX = 32 };

typedef struct vd_spot {
    float q, l;
} vd_spot;

typedef struct vd_corner {
    vd_spot at;
    uint16_t spot; /* its number */
} vd_corner;

typedef struct vd_spots {
    int n;      /* a multiple of VD_SPOTS_RUN, up to VD_SPOTS_MAX */
    int lowest; /* which has the smallest Q; of several, the largest L */
    float q[VD_SPOTS_MAX], l[VD_SPOTS_MAX];
    /* Working space of vd_path_find. */
    uint8_t is_beyond[VD_SPOTS_MAX];
    uint16_t list[4 * VD_SPOTS_MAX + 8], left[VD_SPOTS_MAX + 8];
} vd_spots;

/* The corners of all spots, by falling Q and L. Returns how many, at most VD_CORNERS_MAX:
 * should there be more, some are left out. */
int vd_path_find(vd_spots *spots, vd_corner ret[VD_CORNERS_MAX]);

/* The corners of two paths together: n_a + n_b - 1 of them. */
int vd_path_add(const vd_spot *a, int n_a, const vd_spot *b, int n_b, vd_spot *ret);

/* The corners of what is best where one of two paths may be taken: at most n_a + n_b. */
int vd_path_either(const vd_spot *a, int n_a, const vd_spot *b, int n_b, vd_spot *ret);

/* The error but for the part that no choice changes. */
static inline float vd_spot_error(vd_spot spot, float t)
{
    return t * (t * spot.q - 2.0f * spot.l);
}

#endif

/* path.c - see path.h. */
#include "compress/encode/path.h"

#include <math.h>
#include <string.h>

enum { RUN = VD_SPOTS_RUN, CHORDS = 4 };

/* What lies beyond the line from a to b; so far not looked at. */
typedef struct segment {
    uint16_t a, b, furthest;
    int begin, n; /* in the list */
} segment;

static inline vd_spot spot_of(const vd_spots *s, int i)
{
    return (vd_spot){s->q[i], s->l[i]};
}

/* How far p is beyond the line from a to b, in some unit. */
static inline float beyond(vd_spot a, vd_spot b, vd_spot p)
{
    return (a.q - b.q) * (p.l - b.l) - (a.l - b.l) * (p.q - b.q);
}

/* The larger of either half, in the first. */
static inline void halve(float *by, int n)
{
    for (int j = 0; j < n; j++)
        by[j] = by[j] > by[j + n] ? by[j] : by[j + n];
}

/* up * l - left * q at its largest of RUN spots. Written so that the compiler uses vectors. */
static inline float furthest_of_run(const float *restrict q, const float *restrict l, float up,
                                    float left)
{
    float by[RUN];
    for (int i = 0; i < RUN; i++)
        by[i] = up * l[i] - left * q[i];
    halve(by, 32);
    halve(by, 16);
    halve(by, 8);
    halve(by, 4);
    halve(by, 2);
    return by[0] > by[1] ? by[0] : by[1];
}

/* Which spot has the largest up * l - left * q; the first of equal ones. */
static int furthest(const vd_spots *s, float up, float left)
{
    float most = -INFINITY;
    int run = 0, at = 0;
    for (int i = 0; i < s->n; i += RUN) {
        float by = furthest_of_run(s->q + i, s->l + i, up, left);
        run = by > most ? i : run;
        most = by > most ? by : most;
    }
    while (at < RUN - 1 && !(up * s->l[run + at] - left * s->q[run + at] == most))
        at++;
    return run + at;
}

static int furthest_from(const vd_spots *s, int a, int b)
{
    return furthest(s, s->q[a] - s->q[b], s->l[a] - s->l[b]);
}

/* The list: `corner`, and all that is beyond one of the lines between neighbours of them. */
static int list_beyond(vd_spots *s, const int corner[CHORDS + 1])
{
    float up[CHORDS], left[CHORDS], line[CHORDS];
    int n = 0;
    for (int k = 0; k < CHORDS; k++) {
        vd_spot a = spot_of(s, corner[k]), b = spot_of(s, corner[k + 1]);
        up[k] = a.q - b.q;
        left[k] = a.l - b.l;
        line[k] = up[k] * b.l - left[k] * b.q;
        s->list[n++] = (uint16_t)corner[k];
    }
    for (int i = 0; i < s->n; i++) {
        float most = up[0] * s->l[i] - left[0] * s->q[i] - line[0];
        for (int k = 1; k < CHORDS; k++) {
            float by = up[k] * s->l[i] - left[k] * s->q[i] - line[k];
            most = by > most ? by : most;
        }
        s->is_beyond[i] = most > 0.0f;
    }
    for (int i = 0; i < s->n; i += 8) {
        uint64_t any;
        memcpy(&any, s->is_beyond + i, sizeof(any));
        if (any == 0)
            continue;
        for (int j = 0; j < 8; j++)
            if (s->is_beyond[i + j] && n < VD_SPOTS_MAX)
                s->list[n++] = (uint16_t)(i + j);
    }
    return n;
}

/* What is beyond the lines from a to its furthest and from there to b, in the same part of the
 * list. */
static void split(vd_spots *spots, const segment *s, segment *left, segment *right)
{
    vd_spot a = spot_of(spots, s->a), c = spot_of(spots, s->furthest), b = spot_of(spots, s->b);
    float most_left = 0, most_right = 0;
    uint16_t *list = spots->list + s->begin;
    *left = (segment){.a = s->a, .b = s->furthest};
    *right = (segment){.a = s->furthest, .b = s->b, .begin = s->begin};
    for (int i = 0; i < s->n; i++) {
        uint16_t p = list[i];
        vd_spot at = spot_of(spots, p);
        float to_left = beyond(a, c, at), to_right = beyond(c, b, at);
        spots->left[left->n] = p;
        left->n += to_left > 0.0f;
        left->furthest = to_left > most_left ? p : left->furthest;
        most_left = to_left > most_left ? to_left : most_left;
        list[right->n] = p;
        right->n += to_right > 0.0f && !(to_left > 0.0f);
        right->furthest = to_right > most_right ? p : right->furthest;
        most_right = to_right > most_right ? to_right : most_right;
    }
    left->begin = s->begin + right->n;
    memcpy(list + right->n, spots->left, (size_t)left->n * sizeof(*list));
}

/* Corners on a line that is upright or level are one: no step leads from the one to the other. */
static int append(const vd_spots *s, int spot, vd_corner *ret, int n)
{
    vd_spot at = spot_of(s, spot);
    if (!(at.q < ret[n - 1].at.q))
        return n;
    n -= !(at.l < ret[n - 1].at.l);
    ret[n] = (vd_corner){at, (uint16_t)spot};
    return n + 1;
}

int vd_path_find(vd_spots *s, vd_corner ret[VD_CORNERS_MAX])
{
    segment waiting[VD_CORNERS_MAX];
    int a = furthest(s, 1, 0), b = furthest(s, 0, 1), n_waiting = 1, n_corners = 1;
    if (!(s->l[a] > s->l[b]))
        a = b;
    ret[0] = (vd_corner){spot_of(s, a), (uint16_t)a};
    if (!(s->q[a] > s->q[b]))
        return 1;
    int c = furthest_from(s, a, b);
    int corner[CHORDS + 1] = {a, furthest_from(s, a, c), c, furthest_from(s, c, b), b};
    waiting[0] = (segment){.a = (uint16_t)a, .b = (uint16_t)b, .furthest = (uint16_t)c,
                           .n = list_beyond(s, corner)};
    while (n_waiting > 0) {
        segment now = waiting[--n_waiting], left, right;
        if (now.n == 0 || n_corners + n_waiting + 2 > VD_CORNERS_MAX) {
            n_corners = append(s, now.b, ret, n_corners);
            continue;
        }
        split(s, &now, &left, &right);
        waiting[n_waiting++] = right;
        waiting[n_waiting++] = left;
    }
    return n_corners;
}

int vd_path_add(const vd_spot *a, int n_a, const vd_spot *b, int n_b, vd_spot *ret)
{
    int i = 0, j = 0, n = 0;
    for (;;) {
        ret[n++] = (vd_spot){a[i].q + b[j].q, a[i].l + b[j].l};
        if (i == n_a - 1 && j == n_b - 1)
            return n;
        bool take_a = j == n_b - 1;
        if (i < n_a - 1 && j < n_b - 1)
            take_a = (a[i].l - a[i + 1].l) * (b[j].q - b[j + 1].q) <=
                     (b[j].l - b[j + 1].l) * (a[i].q - a[i + 1].q);
        i += take_a;
        j += !take_a;
    }
}

int vd_path_either(const vd_spot *a, int n_a, const vd_spot *b, int n_b, vd_spot *ret)
{
    int i = 0, j = 0, n = 0;
    while (i < n_a || j < n_b) {
        bool take_a = j == n_b || (i < n_a && a[i].q >= b[j].q);
        vd_spot p = take_a ? a[i++] : b[j++];
        if (n > 0 && p.q == ret[n - 1].q && p.l <= ret[n - 1].l)
            continue;
        while (n > 0 && (p.l >= ret[n - 1].l ||
                         (n > 1 && beyond(ret[n - 2], p, ret[n - 1]) <= 0.0f)))
            n--;
        ret[n++] = p;
    }
    return n;
}

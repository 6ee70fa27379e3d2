/* path.c - see path.h. */
#include "compress/encode/path.h"

#include <math.h>
#include <string.h>

enum { RUN = VD_SPOTS_RUN, LINES = 4, MANY = 2048 };

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

/* l - slope * q at its largest of RUN spots. Written so that the compiler uses vectors. */
static inline float furthest_of_run(const float *restrict q, const float *restrict l, float slope)
{
    float by[RUN];
    for (int i = 0; i < RUN; i++)
        by[i] = l[i] - slope * q[i];
    halve(by, 32);
    halve(by, 16);
    halve(by, 8);
    halve(by, 4);
    halve(by, 2);
    return by[0] > by[1] ? by[0] : by[1];
}

/* Which spot has the largest l - slope * q; the first of equal ones. */
static int furthest(const vd_spots *s, float slope)
{
    float most = -INFINITY;
    int run = 0, at = 0;
    for (int i = 0; i < s->n; i += RUN) {
        float by = furthest_of_run(s->q + i, s->l + i, slope);
        run = by > most ? i : run;
        most = by > most ? by : most;
    }
    while (at < RUN - 1 && !(s->l[run + at] - slope * s->q[run + at] == most))
        at++;
    return run + at;
}

/* Of the line through two spots; level where they are one. */
static float slope_of(const vd_spots *s, int a, int b)
{
    return s->q[a] > s->q[b] ? (s->l[a] - s->l[b]) / (s->q[a] - s->q[b]) : 0.0f;
}

/* The first n of `left` to the list, a place of it for each line. */
static void sort_by_line(vd_spots *s, const int *corner, int n_lines, int n, segment *ret)
{
    float most[LINES] = {0}, q[LINES];
    for (int k = 0; k < LINES; k++) {
        ret[k] = (segment){.begin = k * VD_SPOTS_MAX};
        q[k] = -INFINITY;
    }
    for (int k = 0; k < n_lines; k++) {
        ret[k].a = (uint16_t)corner[k];
        ret[k].b = (uint16_t)corner[k + 1];
        q[k] = k < n_lines - 1 ? s->q[corner[k + 1]] : q[k];
    }
    for (int i = 0; i < n; i++) {
        uint16_t p = s->left[i];
        vd_spot at = spot_of(s, p);
        segment *line = &ret[(at.q < q[0]) + (at.q < q[1]) + (at.q < q[2])];
        float *line_most = &most[line - ret];
        float by = beyond(spot_of(s, line->a), spot_of(s, line->b), at);
        s->list[line->begin + line->n] = p;
        line->n += by > 0.0f;
        line->furthest = by > *line_most ? p : line->furthest;
        *line_most = by > *line_most ? by : *line_most;
    }
}

/* The list: all that is beyond one of the lines between neighbouring corners, line after line. The
 * lines are a concave curve, which is the least of them everywhere. */
static void list_beyond(vd_spots *s, const int *corner, int n_lines, segment *ret)
{
    float slope[LINES], l[LINES];
    int n = 0;
    for (int k = 0; k < LINES; k++) { /* where there are fewer the last one comes again */
        int i = k < n_lines ? k : n_lines - 1;
        slope[k] = slope_of(s, corner[i], corner[i + 1]);
        l[k] = s->l[corner[i + 1]] - slope[k] * s->q[corner[i + 1]];
    }
    if (n_lines == 2)
        for (int i = 0; i < s->n; i++) {
            float first = slope[0] * s->q[i] + l[0], second = slope[1] * s->q[i] + l[1];
            s->is_beyond[i] = s->l[i] > (first < second ? first : second);
        }
    else
        for (int i = 0; i < s->n; i++) {
            float first = slope[0] * s->q[i] + l[0], second = slope[1] * s->q[i] + l[1];
            float third = slope[2] * s->q[i] + l[2], fourth = slope[3] * s->q[i] + l[3];
            first = first < second ? first : second;
            third = third < fourth ? third : fourth;
            s->is_beyond[i] = s->l[i] > (first < third ? first : third);
        }
    for (int i = 0; i < s->n; i += 8) {
        uint64_t any;
        memcpy(&any, s->is_beyond + i, sizeof(any));
        if (any == 0)
            continue;
        for (int j = 0; j < 8; j++) {
            s->left[n] = (uint16_t)(i + j);
            n += s->is_beyond[i + j] != 0;
        }
    }
    sort_by_line(s, corner, n_lines, n, ret);
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
    segment waiting[VD_CORNERS_MAX], first[LINES];
    int a = furthest(s, 0), b = s->lowest, n_waiting = 0, n_corners = 1;
    if (!(s->l[a] > s->l[b]))
        a = b;
    ret[0] = (vd_corner){spot_of(s, a), (uint16_t)a};
    if (!(s->q[a] > s->q[b]))
        return 1;
    int corner[LINES + 1] = {a, furthest(s, slope_of(s, a, b)), b}, n_lines = 2;
    if (s->n < MANY) { /* of many, few are beyond two lines */
        int c = corner[1];
        corner[1] = furthest(s, slope_of(s, a, c));
        corner[2] = c;
        corner[3] = furthest(s, slope_of(s, c, b));
        corner[4] = b;
        n_lines = LINES;
    }
    list_beyond(s, corner, n_lines, first);
    for (int k = n_lines; k-- > 0;)
        waiting[n_waiting++] = first[k];
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

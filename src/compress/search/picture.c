/*
 * picture.c - see picture.h. Megabytes to the right, nats upwards on a logarithmic scale. The line
 * is what the tensors' own divergences add up to; dots are what was measured of the whole model.
 */
#include "compress/search/picture.h"

#include <math.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/file.h"

enum { WIDTH = 760, HEIGHT = 440, LEFT = 84, RIGHT = 736, TOP = 52, BOTTOM = 372, LIMIT = 1 << 20 };

static const char head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
    "font-family=\"system-ui,sans-serif\" font-size=\"13\">\n"
    "<title>What fewer bytes cost</title>\n"
    "<style>\n"
    "svg{background:#fff}text{fill:#222}.grid{stroke:#ddd}.axis{stroke:#666}\n"
    ".front{fill:none;stroke:#2f6f4f;stroke-width:2}.sum{fill:#2f6f4f}\n"
    ".whole{fill:#b3541e}.mark{fill:none;stroke:#b3541e;stroke-width:2}\n"
    "@media(prefers-color-scheme:dark){svg{background:#16191d}text{fill:#e4e6e8}\n"
    ".grid{stroke:#343a40}.axis{stroke:#9aa0a6}.front{stroke:#7fc8a0}.sum{fill:#7fc8a0}\n"
    ".whole{fill:#ffab73}.mark{stroke:#ffab73}}\n"
    "</style>\n";

typedef struct frame {
    double low_x, high_x; /* megabytes */
    double low_y, high_y; /* log10 of nats */
} frame;

static double megabytes(const vd_search_point *p)
{
    return (double)p->file_bytes * 1e-6;
}

static double x_of(const frame *f, double mb)
{
    return LEFT + (RIGHT - LEFT) * (mb - f->low_x) / (f->high_x - f->low_x);
}

static double y_of(const frame *f, double nats)
{
    double part = (log10(nats) - f->low_y) / (f->high_y - f->low_y);
    return BOTTOM - (BOTTOM - TOP) * fmin(fmax(part, 0), 1);
}

/* What is drawn: a model as it is diverges by nothing, which has no place on this scale. */
static const double NATS_MIN = 1e-6;

static bool is_drawn(double nats)
{
    return isfinite(nats) && nats >= NATS_MIN;
}

static void stretch(frame *f, const vd_search_point *p, double nats)
{
    if (!is_drawn(nats))
        return;
    f->low_x = fmin(f->low_x, megabytes(p));
    f->high_x = fmax(f->high_x, megabytes(p));
    f->low_y = fmin(f->low_y, log10(nats));
    f->high_y = fmax(f->high_y, log10(nats));
}

static frame find_frame(const vd_search_result *r)
{
    frame f = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t i = 0; i < r->n_points; i++)
        stretch(&f, &r->point[i], r->point[i].predicted);
    stretch(&f, &r->chosen, r->chosen.kl);
    stretch(&f, &r->chosen, r->chosen.predicted);
    if (f.low_x > f.high_x) /* nothing diverges */
        f = (frame){megabytes(&r->chosen), megabytes(&r->chosen), -4, -3};
    double room = fmax(0.04 * (f.high_x - f.low_x), 0.01 * f.high_x);
    f.low_x -= room;
    f.high_x += room;
    f.low_y = floor(f.low_y);
    f.high_y = fmax(ceil(f.high_y), f.low_y + 1);
    return f;
}

/* 1, 2 or 5 times a power of ten: about `n` of them make `span`. */
static double nice_step(double span, double n)
{
    double raw = span / n, power = pow(10, floor(log10(raw)));
    double times = raw / power;
    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

static void draw_axes(const frame *f, const char *what, vd_buf *out)
{
    double step = nice_step(f->high_x - f->low_x, 7);
    long first = lround(ceil(f->low_x / step)), last = lround(floor(f->high_x / step));
    for (long i = first; i <= last; i++) {
        double x = x_of(f, (double)i * step);
        vd_buf_printf(out, "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" "
                      "text-anchor=\"middle\">%g</text>\n", x, TOP, BOTTOM, x, BOTTOM + 20,
                      (double)i * step);
    }
    for (long i = lround(f->low_y); i <= lround(f->high_y); i++) {
        double nats = pow(10, (double)i), y = y_of(f, nats);
        vd_buf_printf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" "
                      "text-anchor=\"end\">%g</text>\n", LEFT, y, RIGHT, LEFT - 8, y + 4, nats);
    }
    vd_buf_printf(out, "<path class=\"axis\" fill=\"none\" d=\"M%d %dV%dH%d\"/>\n"
                  "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">file size, megabytes</text>\n"
                  "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">"
                  "%s</text>\n", LEFT, TOP, BOTTOM, RIGHT, (LEFT + RIGHT) / 2, BOTTOM + 46,
                  (TOP + BOTTOM) / 2, what);
}

static void draw_front(const frame *f, const vd_search_result *r, vd_buf *out)
{
    bool begun = false;
    vd_buf_puts(out, "<path class=\"front\" d=\"");
    for (size_t i = 0; i < r->n_points; i++) {
        if (!is_drawn(r->point[i].predicted))
            continue;
        vd_buf_printf(out, "%c%.1f %.1f", begun ? 'L' : 'M', x_of(f, megabytes(&r->point[i])),
                      y_of(f, r->point[i].predicted));
        begun = true;
    }
    vd_buf_puts(out, "\"/>\n");
    for (size_t i = 0; i < r->n_points; i++)
        if (is_drawn(r->point[i].predicted))
            vd_buf_printf(out, "<circle class=\"sum\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%llu "
                          "bytes, %zu matrices pruned</title></circle>\n",
                          x_of(f, megabytes(&r->point[i])), y_of(f, r->point[i].predicted),
                          (unsigned long long)r->point[i].file_bytes, r->point[i].n_pruned);
}

static void draw_chosen(const frame *f, const vd_search_result *r, vd_buf *out)
{
    const vd_search_point *p = &r->chosen;
    double kl = is_drawn(p->kl) ? p->kl : fmax(p->predicted, NATS_MIN);
    double x = x_of(f, megabytes(p)), y = y_of(f, fmax(kl, NATS_MIN));
    bool left = x > (LEFT + RIGHT) / 2.0;
    double bits = 8 * (double)p->tensor_bytes / (double)VD_MAX(r->n_values, (uint64_t)1);
    vd_buf_printf(out, "<circle class=\"whole\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>"
                  "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"10\"/>\n"
                  "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">chosen: %.4g MB, %.2f bits per "
                  "weight, %s %.3g", x, y, x, y, x + (left ? -16 : 16), y - 12,
                  left ? "end" : "start", megabytes(p), bits, r->by_error ? "error" : "KL", kl);
    if (p->n_pruned > 0)
        vd_buf_printf(out, ", %zu pruned", p->n_pruned);
    vd_buf_puts(out, "</text>\n");
}

vd_status vd_search_draw(const vd_search_result *r, const char *path, vd_err *err)
{
    frame f = find_frame(r);
    vd_buf out;
    vd_atomic_file file;
    vd_buf_init(&out, LIMIT);
    vd_buf_printf(&out, head, WIDTH, HEIGHT);
    vd_buf_printf(&out, "<text x=\"%d\" y=\"26\" font-size=\"15\">What fewer bytes cost: the front "
                  "that was found</text>\n<circle class=\"sum\" cx=\"%d\" cy=\"42\" r=\"3\"/>"
                  "<text x=\"%d\" y=\"46\">sum of the tensors' own</text>", LEFT, LEFT + 4,
                  LEFT + 14);
    if (!r->by_error)
        vd_buf_printf(&out, "<circle class=\"whole\" cx=\"%d\" cy=\"42\" r=\"5\"/>"
                      "<text x=\"%d\" y=\"46\">measured, whole model</text>\n", LEFT + 190,
                      LEFT + 202);
    draw_axes(&f, r->by_error ? "squared error, weighted" : "KL divergence, nats per token", &out);
    draw_front(&f, r, &out);
    draw_chosen(&f, r, &out);
    vd_buf_puts(&out, "</svg>\n");
    vd_status st = vd_buf_status(&out, "a picture", err);
    if (st == VD_OK)
        st = vd_atomic_file_open(path, &file, err);
    if (st == VD_OK) {
        (void)fwrite(out.data, 1, out.n, file.stream);
        st = vd_atomic_file_commit(&file, err);
        vd_atomic_file_done(&file);
    }
    vd_buf_done(&out);
    return st;
}

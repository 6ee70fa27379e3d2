/* two_layer.c - a network of two layers clipped, pruned and quantized, and what that costs.
 *
 *   cc two_layer.c $(pkg-config --cflags --libs verdant) -lm -o two_layer
 *   ./two_layer
 *
 * It learns to read noisy digits of 16 by 16 dots, y = W2 relu(W1 x), by plain stochastic gradient
 * descent (a second). Then each way of making its weights smaller is tried on a copy, and
 * the table says how many bytes and zeros there are and how many of 2,000 unseen digits
 * are read right. Everything is drawn from one seed: the table is the same on every run.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <verdant/compress.h>

enum {
    SIDE = 16, IN = SIDE * SIDE, HIDDEN = 256, OUT = 10, N_TRAIN = 4000, N_TEST = 2000, EPOCHS = 4
};

typedef struct net {
    float w1[HIDDEN * IN];
    float w2[OUT * HIDDEN];
} net;

typedef struct digits {
    float x[N_TRAIN][IN];
    int label[N_TRAIN];
} digits;

/* ---- data -------------------------------------------------------------------------------------*/

/* Seven rows of five dots for each digit, the leftmost dot in bit 4. */
static const unsigned char shape[OUT][7] = {
    {14, 17, 17, 17, 17, 17, 14}, {4, 12, 4, 4, 4, 4, 14},      {14, 17, 1, 6, 8, 16, 31},
    {30, 1, 1, 14, 1, 1, 30},     {2, 6, 10, 18, 31, 2, 2},     {31, 16, 30, 1, 1, 17, 14},
    {6, 8, 16, 30, 17, 17, 14},   {31, 1, 2, 4, 8, 8, 8},       {14, 17, 17, 14, 17, 17, 14},
    {14, 17, 17, 15, 1, 2, 12}};

static uint64_t state = 42;

/* xorshift64* (Vigna 2016), in [0, 1). */
static float draw(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (float)((state * 2685821657736338717u) >> 40) * 0x1p-24f;
}

/* A digit of 10 by 14 dots somewhere in the picture, faint or bold, under noise. */
static void draw_digit(float *x, int digit)
{
    int left = (int)(draw() * 7), top = (int)(draw() * 3);
    float ink = 0.5f + draw();
    for (int i = 0; i < IN; i++)
        x[i] = 0.6f * (draw() + draw() + draw() - 1.5f);
    for (int row = 0; row < 14; row++)
        for (int column = 0; column < 10; column++)
            if (shape[digit][row / 2] >> (4 - column / 2) & 1)
                x[(top + row) * SIDE + left + column] += ink;
}

static void draw_digits(digits *d, int n)
{
    for (int i = 0; i < n; i++) {
        d->label[i] = (int)(draw() * OUT);
        draw_digit(d->x[i], d->label[i]);
    }
}

/* ---- the network ------------------------------------------------------------------------------*/

static int infer(const net *n, const float *x, float *hidden, float *out)
{
    int best = 0;
    for (int h = 0; h < HIDDEN; h++) {
        float sum = 0;
        for (int i = 0; i < IN; i++)
            sum += n->w1[h * IN + i] * x[i];
        hidden[h] = sum > 0 ? sum : 0;
    }
    for (int o = 0; o < OUT; o++) {
        out[o] = 0;
        for (int h = 0; h < HIDDEN; h++)
            out[o] += n->w2[o * HIDDEN + h] * hidden[h];
        best = out[o] > out[best] ? o : best;
    }
    return best;
}

/* One step on one digit: cross entropy, d loss / d out = softmax - label. */
static void learn(net *n, const float *x, int label, float rate)
{
    float hidden[HIDDEN], out[OUT], sum = 0;
    int best = infer(n, x, hidden, out);
    float most = out[best];
    for (int o = 0; o < OUT; o++)
        sum += out[o] = expf(out[o] - most);
    for (int o = 0; o < OUT; o++)
        out[o] = out[o] / sum - (o == label);
    for (int h = 0; h < HIDDEN; h++) {
        float back = 0;
        if (hidden[h] == 0)
            continue;
        for (int o = 0; o < OUT; o++) {
            back += n->w2[o * HIDDEN + h] * out[o];
            n->w2[o * HIDDEN + h] -= rate * out[o] * hidden[h];
        }
        for (int i = 0; i < IN; i++)
            n->w1[h * IN + i] -= rate * back * x[i];
    }
}

static void train(net *n, const digits *d)
{
    for (int i = 0; i < HIDDEN * IN; i++)
        n->w1[i] = (draw() - 0.5f) * 0.2f;
    for (int i = 0; i < OUT * HIDDEN; i++)
        n->w2[i] = (draw() - 0.5f) * 0.2f;
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        for (int i = 0; i < N_TRAIN; i++)
            learn(n, d->x[i], d->label[i], 0.01f / (float)(1 + epoch));
}

static double accuracy(const net *n, const digits *d)
{
    float hidden[HIDDEN], out[OUT];
    int n_right = 0;
    for (int i = 0; i < N_TEST; i++)
        n_right += infer(n, d->x[i], hidden, out) == d->label[i];
    return (double)n_right / N_TEST;
}

/* ---- smaller ----------------------------------------------------------------------------------*/

/* A node of the hidden layer counts by the norm of what it reads times that of what it gives. */
static void prune_nodes(net *n, double keep)
{
    float score[HIDDEN], cut = 0;
    for (int h = 0; h < HIDDEN; h++) {
        float in = 0, out = 0;
        for (int i = 0; i < IN; i++)
            in += n->w1[h * IN + i] * n->w1[h * IN + i];
        for (int o = 0; o < OUT; o++)
            out += n->w2[o * HIDDEN + h] * n->w2[o * HIDDEN + h];
        score[h] = sqrtf(in * out);
    }
    for (int h = 0; h < HIDDEN; h++) { /* the score that so many reach */
        int n_above = 0;
        for (int other = 0; other < HIDDEN; other++)
            n_above += score[other] >= score[h];
        if (n_above >= (int)(keep * HIDDEN) && score[h] > cut)
            cut = score[h];
    }
    for (int h = 0; h < HIDDEN; h++) {
        if (score[h] >= cut)
            continue;
        memset(n->w1 + h * IN, 0, IN * sizeof(float));
        for (int o = 0; o < OUT; o++)
            n->w2[o * HIDDEN + h] = 0;
    }
}

/* What is to be done to both matrices. A negative number, a NULL: not this. */
typedef struct recipe {
    const char *name;
    double clip, below, above, keep, keep_nodes;
    const char *type;
} recipe;

static const recipe recipes[] = {
    {"as trained", -1, -1, -1, -1, -1, "F32"},
    {"clipped at 0.15", 0.15, -1, -1, -1, -1, "F32"},
    {"below 0.05 to zero", -1, 0.05, -1, -1, -1, "F32"},
    {"above 0.15 to zero", -1, -1, 0.15, -1, -1, "F32"},
    {"keep 0.5 of the weights", -1, -1, -1, 0.5, -1, "F32"},
    {"keep 0.1 of the weights", -1, -1, -1, 0.1, -1, "F32"},
    {"keep 0.5 of the nodes", -1, -1, -1, -1, 0.5, "F32"},
    {"keep none", -1, -1, -1, 0, -1, "F32"},
    {"8 bits", -1, -1, -1, -1, -1, "Q8_0"},
    {"4 bits", -1, -1, -1, -1, -1, "Q4_K"},
    {"2 bits", -1, -1, -1, -1, -1, "Q2_0"},
    {"ternary", -1, -1, -1, -1, -1, "TQ1_0"},
    {"binary", -1, -1, -1, -1, -1, "Q1_0"},
    {"keep 0.5, clipped, 4 bits", 0.15, -1, -1, 0.5, -1, "Q4_0"},
};

static vd_status compress(float *w, size_t n_rows, size_t n_cols, const recipe *r, size_t *n_bytes,
                          vd_err *err)
{
    void *blocks = NULL;
    size_t size = 0;
    vd_status st = VD_OK;
    if (r->clip >= 0)
        st = vd_weights_clip(w, n_rows, n_cols, (float)r->clip, err);
    if (st == VD_OK && r->below >= 0)
        st = vd_weights_threshold(w, n_rows, n_cols, (float)r->below, err);
    if (st == VD_OK && r->above >= 0)
        st = vd_weights_threshold_above(w, n_rows, n_cols, (float)r->above, err);
    if (st == VD_OK && r->keep >= 0)
        st = vd_weights_prune(w, n_rows, n_cols, r->keep, err);
    if (st == VD_OK)
        st = vd_weights_bytes(r->type, n_rows, n_cols, &size, err);
    if (st == VD_OK && (blocks = malloc(size)) == NULL)
        st = VD_ERR_NOMEM;
    if (st == VD_OK)
        st = vd_weights_quantize(r->type, w, NULL, n_rows, n_cols, blocks, size, err);
    if (st == VD_OK)
        st = vd_weights_dequantize(r->type, blocks, size, n_rows, n_cols, w, err);
    if (st == VD_OK)
        *n_bytes += size;
    free(blocks);
    return st;
}

static double zeros(const net *n)
{
    int count = 0;
    for (int i = 0; i < HIDDEN * IN; i++)
        count += n->w1[i] == 0;
    for (int i = 0; i < OUT * HIDDEN; i++)
        count += n->w2[i] == 0;
    return (double)count / (HIDDEN * IN + OUT * HIDDEN);
}

int main(void)
{
    static net trained, copy;
    static digits train_set, test_set;
    vd_err err = {0};
    draw_digits(&train_set, N_TRAIN);
    draw_digits(&test_set, N_TEST);
    train(&trained, &train_set);
    printf("%-28s %8s %8s %9s\n", "", "bytes", "zeros", "right");
    for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
        const recipe *r = &recipes[i];
        size_t n_bytes = 0;
        copy = trained;
        if (r->keep_nodes >= 0)
            prune_nodes(&copy, r->keep_nodes);
        vd_status st = compress(copy.w1, HIDDEN, IN, r, &n_bytes, &err);
        if (st == VD_OK)
            st = compress(copy.w2, OUT, HIDDEN, r, &n_bytes, &err);
        if (st != VD_OK) {
            fprintf(stderr, "%s: %s\n", r->name,
                    err.message[0] != '\0' ? err.message : vd_status_message(st));
            return 1;
        }
        printf("%-28s %8zu %7.1f%% %8.2f%%\n", r->name, n_bytes, 100 * zeros(&copy),
               100 * accuracy(&copy, &test_set));
    }
    return 0;
}

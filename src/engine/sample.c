/* sample.c - see sample.h. */
#include "engine/sample.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "engine/scan.h"

typedef struct candidate {
    int32_t token;
    float logit;
    float p; /* at temperature 1, over the candidates that are left */
} candidate;

struct vd_sampler {
    size_t n_vocab;
    candidate *cand; /* [V] */
    int32_t *index;  /* [V] */
};

vd_status vd_sampler_create(size_t n_vocab, vd_sampler **ret_sampler, vd_err *err)
{
    vd_sampler *sampler = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*sampler), "the sampler", &sampler, err);
    if (st != VD_OK)
        return st;
    sampler->n_vocab = n_vocab;
    st = vd_alloc_array(n_vocab, sizeof(candidate), "sampling candidates", &sampler->cand, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_vocab, sizeof(int32_t), "sampling candidates", &sampler->index, err);
    if (st != VD_OK) {
        vd_sampler_free(sampler);
        return st;
    }
    *ret_sampler = sampler;
    return VD_OK;
}

void vd_sampler_free(vd_sampler *sampler)
{
    if (sampler == NULL)
        return;
    vd_free(sampler->cand);
    vd_free(sampler->index);
    vd_free(sampler);
}

vd_sampling vd_sampling_default(void)
{
    return (vd_sampling){
        .temperature = 1, .top_p = 1, .typical_p = 1, .repetition_penalty = 1};
}

static vd_status check_range(const char *name, float value, float min, float max, vd_err *err)
{
    if (value >= min && value <= max)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_ARG, "%s is %g, expected %g to %g", name, (double)value,
                   (double)min, (double)max);
}

vd_status vd_sampling_check(const vd_sampling *s, size_t n_vocab, vd_err *err)
{
    const struct {
        const char *name;
        float value, min, max;
    } ranges[] = {
        {"temperature", s->temperature, 0, 2},
        {"top_p", s->top_p, 0, 1},
        {"min_p", s->min_p, 0, 1},
        {"typical_p", s->typical_p, 0, 1},
        {"repetition_penalty", s->repetition_penalty, 0.01f, 100},
        {"frequency_penalty", s->frequency_penalty, -2, 2},
        {"presence_penalty", s->presence_penalty, -2, 2},
    };
    for (size_t i = 0; i < VD_COUNT(ranges); i++) {
        vd_status st = check_range(ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max,
                                   err);
        if (st != VD_OK)
            return st;
    }
    for (size_t i = 0; i < s->n_bias; i++) {
        if (s->bias[i].token < 0 || (size_t)s->bias[i].token >= n_vocab)
            return VD_FAIL(err, VD_ERR_ARG, "logit_bias names token %d, the vocabulary has %zu",
                           s->bias[i].token, n_vocab);
        vd_status st = check_range("logit_bias", s->bias[i].bias, -100, 100, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* ---- bias and penalties ----------------------------------------------------------------------*/

static void adjust(const vd_sampling *s, const vd_token_counts *counts, float *logits,
                   size_t n_vocab)
{
    for (size_t i = 0; counts->seen != NULL && s->repetition_penalty != 1 && i < n_vocab; i++)
        if (counts->seen[i])
            logits[i] = logits[i] > 0 ? logits[i] / s->repetition_penalty
                                      : logits[i] * s->repetition_penalty;
    bool counted = s->frequency_penalty != 0 || s->presence_penalty != 0;
    for (size_t i = 0; counts->in_answer != NULL && counted && i < n_vocab; i++)
        if (counts->in_answer[i] > 0)
            logits[i] -= (float)counts->in_answer[i] * s->frequency_penalty + s->presence_penalty;
    /* OpenAI's -100 bans outright, and 100 outweighs any logit a model gives. */
    for (size_t i = 0; i < s->n_bias; i++) {
        if (s->bias[i].bias <= -100)
            logits[s->bias[i].token] = -INFINITY;
        else
            logits[s->bias[i].token] += s->bias[i].bias;
    }
}

/* ---- filters ---------------------------------------------------------------------------------*/

/* Best first; equal logits by token number, so that the order never depends on the sort. */
static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->token > y->token) - (x->token < y->token);
}

static void sift_down(candidate *cand, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && by_logit(&cand[child], &cand[child + 1]) < 0)
            child++;
        if (by_logit(&cand[root], &cand[child]) >= 0)
            return;
        candidate swap = cand[root];
        cand[root] = cand[child];
        cand[child] = swap;
    }
}

/* Heapsort: in place, where the C library's qsort may take memory. */
static void sort_candidates(candidate *cand, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(cand, i, n);
    for (size_t end = n; end > 1; end--) {
        candidate swap = cand[0];
        cand[0] = cand[end - 1];
        cand[end - 1] = swap;
        sift_down(cand, 0, end - 1);
    }
}

/* Brings p up to date over the first n candidates. */
static void normalize(candidate *cand, size_t n)
{
    float max = -INFINITY, logit[VD_SCAN_CHUNK], weight[VD_SCAN_CHUNK];
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, cand[i].logit);
    for (size_t begin = 0; begin < n; begin += VD_SCAN_CHUNK) {
        size_t n_here = VD_MIN(n - begin, (size_t)VD_SCAN_CHUNK);
        for (size_t i = 0; i < n_here; i++)
            logit[i] = cand[begin + i].logit;
        sum += (double)vd_scan_weights(logit, n_here, max, 1, weight);
        for (size_t i = 0; i < n_here; i++)
            cand[begin + i].p = weight[i];
    }
    float share = (float)(1 / sum);
    for (size_t i = 0; i < n; i++)
        cand[i].p *= share;
}

/* Moves the k best candidates to the front, in any order (Hoare's FIND, 1961). */
static void select_best(candidate *cand, size_t n, size_t k)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, want = (ptrdiff_t)k - 1;
    while (low < high) {
        candidate pivot = cand[low + (high - low) / 2];
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (by_logit(&cand[i], &pivot) < 0)
                i++;
            while (by_logit(&cand[j], &pivot) > 0)
                j--;
            if (i <= j) {
                candidate swap = cand[i];
                cand[i++] = cand[j];
                cand[j--] = swap;
            }
        }
        /* low..j are no worse than the pivot, i..high no better, what lies between equals it. */
        if (want <= j)
            high = j;
        else if (want >= i)
            low = i;
        else
            return;
    }
}

static size_t keep_top_k(candidate *cand, size_t n, size_t k)
{
    if (k == 0 || k >= n)
        return n;
    select_best(cand, n, k);
    return k;
}

/* Keeps the tokens whose surprise is nearest to the expected one, up to mass p. */
static size_t keep_typical(candidate *cand, size_t n, float mass)
{
    if (mass >= 1)
        return n;
    normalize(cand, n);
    double entropy = 0;
    for (size_t i = 0; i < n; i++)
        if (cand[i].p > 0)
            entropy -= (double)cand[i].p * log((double)cand[i].p);
    /* Sorted by distance through the logit field, which is put right again afterwards. */
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = cand[i].p > cand[best].p ? i : best;
    double log_z = (double)cand[best].logit - log((double)cand[best].p);
    for (size_t i = 0; i < n; i++)
        cand[i].logit = (float)-fabs(log_z - (double)cand[i].logit - entropy);
    sort_candidates(cand, n);
    double sum = 0;
    size_t kept = 0;
    while (kept < n && sum < (double)mass)
        sum += (double)cand[kept++].p;
    kept = VD_MAX(kept, (size_t)1);
    for (size_t i = 0; i < kept; i++)
        cand[i].logit = logf(fmaxf(cand[i].p, 1e-38f));
    return kept;
}

/* Moves the fewest best candidates whose p add up to `mass` to the front, in any order. Returns how
 * many: one at least, all where rounding leaves their sum below it. */
static size_t select_mass(candidate *cand, size_t n, double mass)
{
    size_t low = 0, high = n; /* the last of them stands in low..high-1 */
    double before = 0;        /* mass of those in front of low */
    while (low < high) {
        size_t at = low;
        double sum = before;
        candidate pivot = cand[low + (high - low) / 2];
        cand[low + (high - low) / 2] = cand[high - 1];
        for (size_t i = low; i < high - 1; i++) {
            if (by_logit(&cand[i], &pivot) > 0)
                continue;
            candidate swap = cand[i];
            cand[i] = cand[at];
            cand[at++] = swap;
            sum += (double)swap.p;
        }
        cand[high - 1] = cand[at];
        cand[at] = pivot;
        if (sum >= mass) {
            high = at;
        } else {
            before = sum + (double)pivot.p;
            low = at + 1;
            if (before >= mass)
                break;
        }
    }
    return VD_MAX(low, (size_t)1);
}

/* The smallest set of best tokens whose mass reaches p. */
static size_t keep_top_p(candidate *cand, size_t n, float mass)
{
    if (mass >= 1)
        return n;
    normalize(cand, n);
    return select_mass(cand, n, (double)mass);
}

static size_t keep_min_p(candidate *cand, size_t n, float share)
{
    if (share <= 0)
        return n;
    normalize(cand, n);
    float max_p = 0;
    for (size_t i = 0; i < n; i++)
        max_p = fmaxf(max_p, cand[i].p);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (cand[i].p >= share * max_p)
            cand[kept++] = cand[i];
    return kept;
}

/* ---- the draw --------------------------------------------------------------------------------*/

/* splitmix64 (Steele et al. 2014): the i-th number of a seed's stream. */
static uint64_t mix(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A race: each token runs for an exponential time of rate p, and the first one wins. */
typedef struct race {
    uint64_t seed;
    double best; /* the winner's time */
    int32_t winner;
} race;

/* Times are -log(1 - u) / p, at least u / p, so few logarithms are taken. */
static inline void run(race *r, int32_t token, double p)
{
    double u = (double)(mix(r->seed, (uint64_t)token) >> 11) * 0x1p-53;
    if (!(p > 0) || u >= r->best * p)
        return;
    double time = -log1p(-u) / p;
    if (time < r->best || (time == r->best && token < r->winner)) {
        r->best = time;
        r->winner = token;
    }
}

static int32_t draw(candidate *cand, size_t n, float temperature, uint64_t seed)
{
    /* Distances to the best are divided, not logits: a temperature near 0 makes all of those
     * infinite alike, but only the distances of what shall not be drawn. */
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, cand[i].logit);
    for (size_t i = 0; i < n; i++)
        cand[i].logit = cand[i].logit == max ? 0 : (cand[i].logit - max) / temperature;
    normalize(cand, n);
    race r = {.seed = seed, .best = INFINITY, .winner = -1};
    for (size_t i = 0; i < n; i++)
        run(&r, cand[i].token, (double)cand[i].p);
    return r.winner;
}

/* The draw from the whole vocabulary. The weights need not sum to one: that stretches all times
 * alike. */
static int32_t draw_from_all(const vd_sampler *sampler, const float *logits, float max,
                             float temperature, uint64_t seed)
{
    float weight[VD_SCAN_CHUNK];
    race r = {.seed = seed, .best = INFINITY, .winner = -1};
    for (size_t begin = 0; begin < sampler->n_vocab; begin += VD_SCAN_CHUNK) {
        size_t n = VD_MIN(sampler->n_vocab - begin, (size_t)VD_SCAN_CHUNK);
        (void)vd_scan_weights(logits + begin, n, max, temperature, weight);
        for (size_t i = 0; i < n; i++)
            run(&r, (int32_t)(begin + i), (double)weight[i]);
    }
    return r.winner;
}

/* The weights at temperature 1 of the whole vocabulary, added up. */
static double weigh(const vd_sampler *sampler, const float *logits, float max)
{
    float weight[VD_SCAN_CHUNK];
    double sum = 0;
    for (size_t i = 0; i < sampler->n_vocab; i += VD_SCAN_CHUNK)
        sum += (double)vd_scan_weights(
            logits + i, VD_MIN(sampler->n_vocab - i, (size_t)VD_SCAN_CHUNK), max, 1, weight);
    return sum;
}

/* Candidates with logits of at least `floor`. */
static size_t collect(const vd_sampler *sampler, const float *logits, float floor)
{
    size_t n = vd_scan_from(logits, sampler->n_vocab, floor, sampler->index);
    for (size_t i = 0; i < n; i++)
        sampler->cand[i] =
            (candidate){.token = sampler->index[i], .logit = logits[sampler->index[i]]};
    return n;
}

/* Of the whole vocabulary those that keep_top_p would keep. Only tokens within `reach` of the best
 * are looked at; the reach grows until their mass suffices, so the result is exact. */
static size_t collect_top_p(const vd_sampler *sampler, const float *logits, float max, float mass)
{
    candidate *cand = sampler->cand;
    double want = (double)mass * weigh(sampler, logits, max);
    for (float reach = 5;; reach += 5) { /* of logits: a factor of 148 */
        bool all = reach > 85;
        size_t n = collect(sampler, logits, all ? -FLT_MAX : max - reach);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)(cand[i].p = expf(cand[i].logit - max));
        if (sum >= want || all)
            return select_mass(cand, n, want);
    }
}

/* What top-k, typical and top-p leave of the whole vocabulary. */
static size_t find_candidates(vd_sampler *sampler, const vd_sampling *s, const float *logits,
                              float max)
{
    candidate *cand = sampler->cand;
    size_t n = 0;
    if (s->top_k > 0 && s->top_k <= VD_SCAN_TOP_MAX) {
        n = vd_scan_top(logits, sampler->n_vocab, s->top_k, sampler->index);
        for (size_t i = 0; i < n; i++)
            cand[i] = (candidate){.token = sampler->index[i], .logit = logits[sampler->index[i]]};
    } else if (s->top_k == 0 && s->typical_p >= 1 && isfinite(max)) {
        if (s->top_p < 1)
            return collect_top_p(sampler, logits, max, s->top_p);
        return collect(sampler, logits, max + logf(s->min_p) - 1e-2f); /* the rest is too small */
    } else {
        n = keep_top_k(cand, collect(sampler, logits, -FLT_MAX), s->top_k);
    }
    n = keep_typical(cand, n, s->typical_p);
    return keep_top_p(cand, n, s->top_p);
}

int32_t vd_sampler_draw(vd_sampler *sampler, const vd_sampling *s, const vd_token_counts *counts,
                        uint64_t draw_index, float *logits)
{
    adjust(s, counts, logits, sampler->n_vocab);
    int32_t best = vd_scan_best(logits, sampler->n_vocab);
    if (best < 0 || s->temperature <= 0)
        return best;
    float max = logits[best];
    uint64_t seed = mix(s->seed, draw_index);
    if (s->top_k == 0 && s->typical_p >= 1 && s->top_p >= 1 && s->min_p <= 0)
        return draw_from_all(sampler, logits, max, s->temperature, seed);
    size_t n = find_candidates(sampler, s, logits, max);
    n = keep_min_p(sampler->cand, n, s->min_p);
    return draw(sampler->cand, n, s->temperature, seed);
}

float vd_sampler_logprob(vd_sampler *sampler, const float *logits, int32_t token, size_t n_top,
                         vd_top_token *top)
{
    size_t n = sampler->n_vocab;
    int32_t best = vd_scan_best(logits, n);
    float max = best >= 0 ? logits[best] : -INFINITY;
    float log_z = max + (float)log(weigh(sampler, logits, max));
    if (n_top > 0) {
        for (size_t i = 0; i < n; i++)
            sampler->cand[i] = (candidate){
                .token = (int32_t)i, .logit = isnan(logits[i]) ? -INFINITY : logits[i]};
        n_top = VD_MIN(n_top, n);
        select_best(sampler->cand, n, n_top);
        sort_candidates(sampler->cand, n_top);
        for (size_t i = 0; i < n_top; i++)
            top[i] = (vd_top_token){sampler->cand[i].token, sampler->cand[i].logit - log_z};
    }
    return logits[token] - log_z;
}

/* lookup.c - see lookup.h. */
#include "engine/lookup.h"

#include "base/checked.h"

/* Weight of the newest guess: about the last 16 of a kind count. */
static const float rate_of_learning = 1.0f / 16;

vd_lookup vd_lookup_find(const int32_t *token, size_t n)
{
    vd_lookup best = {0};
    if (n < 2)
        return best;
    int32_t last = token[n - 1];
    for (size_t end = n - 1; end-- > 0;) { /* token[end] is to agree with the last one */
        if (token[end] != last)
            continue;
        size_t n_agree = 1, most = VD_MIN(end + 1, (size_t)VD_LOOKUP_AGREE_MAX);
        while (n_agree < most && token[end - n_agree] == token[n - 1 - n_agree])
            n_agree++;
        if (n_agree > best.n_agree)
            best = (vd_lookup){.from = end + 1, .n_agree = n_agree};
        if (best.n_agree == VD_LOOKUP_AGREE_MAX)
            break;
    }
    return best;
}

void vd_lookup_copy(const vd_lookup *lookup, int32_t *token, size_t n, size_t k)
{
    for (size_t i = 0; i < k; i++)
        token[n + i] = token[lookup->from + i];
}

static size_t kind_of(size_t n_agree)
{
    return n_agree < 4 ? n_agree - 1 : n_agree < VD_LOOKUP_AGREE_MAX ? 3 : 4;
}

vd_lookup_hits vd_lookup_hits_default(void)
{
    return (vd_lookup_hits){.rate = {0.2f, 0.35f, 0.5f, 0.65f, 0.8f}};
}

float vd_lookup_chance(const vd_lookup_hits *hits, size_t n_agree)
{
    return n_agree == 0 ? 0 : hits->rate[kind_of(n_agree)];
}

void vd_lookup_learn(vd_lookup_hits *hits, size_t n_agree, bool right)
{
    if (n_agree == 0)
        return;
    float *rate = &hits->rate[kind_of(n_agree)];
    *rate += ((right ? 1.0f : 0.0f) - *rate) * rate_of_learning;
}

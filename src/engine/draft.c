/* draft.c - see draft.h. */
#include "engine/draft.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "engine/finish.h"
#include "kernels/kernels.h"

/* Attention rounds a token that is due and those guessed behind it as it rounds one alone. */
_Static_assert(VD_DRAFT_MAX + 1 < VD_ATTN_MANY_FROM, "guesses go by attn, not by attn_many");

/* The price of a drafted token, as the chance it needs, before anything was measured. */
static const double price_unknown = 0.25;
static const float rate_of_learning = 1.0f / 16, rate_of_forgetting = 1.0f / 256;

bool vd_speculate_parse(const char *word, vd_speculate *ret_speculate)
{
    static const char *const words[] = {"off", "lookup"};
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(word, words[i]) == 0) {
            *ret_speculate = (vd_speculate)i;
            return true;
        }
    return false;
}

/* The chance that a request's guess number k needs. A draft model's passes count too. */
static double price(const vd_engine *e, const vd_draft_plan *plan, size_t k)
{
    double ns = vd_pace_answers_ns(&e->pace, plan->n_rows), more = vd_pace_slope_ns(&e->pace);
    if (e->options.draft_always)
        return 0;
    if (ns <= 0) /* a drafter would have a prompt to read first */
        return e->drafter != NULL ? INFINITY : price_unknown;
    if (e->drafter != NULL) {
        double pass_ns = vd_drafter_pass_ns(e->drafter, vd_pace_answers_ns(&e->pace, 1));
        ns += (double)plan->n_passes * pass_ns;
        more += k >= plan->n_passes ? pass_ns : 0;
    }
    return more * plan->expected / ns;
}

/* Guesses that a draft model is to make. Where none were worth it for a while they are tried
 * again: the rate creeps back to a half. */
static void plan_model(vd_engine *e, vd_request *r, size_t most, vd_draft_plan *plan)
{
    double chance = 1;
    size_t k = 0;
    r->drafter.wanted = (double)r->drafter.rate >= price(e, plan, 0);
    for (; k < most; k++) {
        chance *= (double)r->drafter.rate;
        if (chance < price(e, plan, k) || !vd_drafter_reserve(r, r->n_tokens + k + 1) ||
            !vd_kv_seq_reserve(e->kv, &r->kv, r->n_tokens + k + 1))
            break;
        plan->n_rows++;
        plan->n_free--;
        plan->n_passes = VD_MAX(plan->n_passes, k + 1);
        plan->expected += chance;
    }
    if (!r->drafter.wanted)
        r->drafter.rate += (0.5f - r->drafter.rate) * rate_of_forgetting;
    r->n_draft = k;
}

void vd_draft_make(vd_engine *e, vd_request *r, vd_draft_plan *plan)
{
    size_t most = VD_MIN(VD_MIN(e->options.draft_tokens, plan->n_free),
                         r->n_limit - r->n_tokens - 1); /* the last one is drawn, not computed */
    double chance = 1;
    size_t k = 0;
    r->n_draft = 0;
    if (e->drafter != NULL) {
        plan_model(e, r, most, plan);
        return;
    }
    r->lookup = vd_lookup_find(r->token, r->n_tokens);
    if (r->lookup.n_agree == 0)
        return;
    for (; k < most; k++) {
        chance *= (double)vd_lookup_chance(&r->hits, r->lookup.n_agree + k);
        if (chance < price(e, plan, k) || !vd_kv_seq_reserve(e->kv, &r->kv, r->n_tokens + k + 1))
            break;
        plan->n_rows++;
        plan->n_free--;
        plan->expected += chance;
    }
    vd_lookup_copy(&r->lookup, r->token, r->n_tokens, k);
    r->n_draft = k;
}

void vd_draft_settle(vd_engine *e, const vd_sampled *s)
{
    vd_request *r = s->request;
    size_t n_text = r->n_tokens, n_vocab = e->model->hp.n_vocab, n_taken = 0;
    for (size_t i = 0; i < s->n_out; i++) {
        bool found = r->lookup.n_agree > 0, guessed = found || i < r->n_draft;
        int32_t guess = !guessed ? -1 : r->token[found ? r->lookup.from + i : n_text + i];
        bool goes_on = vd_finish_token(e, r, e->logits + (s->first_out + i) * n_vocab);
        if (r->n_tokens == n_text + i)
            break; /* no token was drawn */
        bool right = r->token[n_text + i] == guess;
        if (found)
            vd_lookup_learn(&r->hits, r->lookup.n_agree + i, right);
        else if (guessed)
            r->drafter.rate += ((right ? 1 : 0) - r->drafter.rate) * rate_of_learning;
        if (!goes_on || !right || i == r->n_draft)
            break;
        n_taken++;
    }
    /* Rows of keys and values behind the last right guess are written anew later. */
    r->n_computed = n_text + n_taken;
    r->drafter.n_computed = VD_MIN(r->drafter.n_computed, r->n_computed);
    s->share->n_decode += (uint32_t)n_taken;
    s->share->n_rejected -= (uint32_t)n_taken;
    r->n_drafted += s->n_out - 1;
    r->n_taken += n_taken;
    r->n_draft = 0;
    r->lookup.n_agree = 0;
}

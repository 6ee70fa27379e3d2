/* choose.c - see choose.h. */
#include "eval/choose.h"

#include <math.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "eval/branches.h"

enum { PROMPT_MAX = 64 << 20, ARENA_MAX = 1 << 30 };

typedef struct chooser {
    vd_scorer *scorer;
    const vd_task_set *set;
    vd_fork *fork; /* [set->n] */
    vd_arena arena; /* forks, branches, tokens */
    size_t n_right, n_right_norm;
    double chance; /* sum over the tasks */
    vd_choose_result result;
    vd_choose_fn on_answer;
    void *ctx;
} chooser;

_Static_assert((int)VD_TASK_CHOICES_MAX <= (int)VD_FORK_BRANCHES_MAX, "a task is one fork");

/* ---- tokens ----------------------------------------------------------------------------------*/

static vd_status encode_choice(chooser *c, const vd_task *task, size_t index, vd_buf *text,
                               vd_branch *branch, vd_err *err)
{
    bool qa = c->result.format == VD_TASK_FORMAT_QA;
    int32_t *ids = NULL, *kept = NULL;
    size_t n = 0;
    vd_buf_clear(text);
    vd_buf_puts(text, qa ? "Question: " : "");
    vd_buf_append(text, task->question.data, task->question.n);
    vd_buf_puts(text, qa ? "\nAnswer: " : " ");
    vd_buf_append(text, task->choice[index].data, task->choice[index].n);
    vd_status st = vd_buf_status(text, "a question with its choice", err);
    if (st == VD_OK)
        st = vd_tokenizer_encode(vd_scorer_tokenizer(c->scorer), vd_buf_text(text), text->n, NULL,
                                 &ids, &n, err);
    if (st == VD_OK)
        st = vd_arena_array(&c->arena, n, sizeof(*kept), "the tokens of the tasks", &kept, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        kept[i] = ids[i];
    branch->tokens = kept;
    branch->n = n;
    vd_ids_free(ids);
    return st;
}

/* Tokens all branches begin with, but never the whole of one: something is left to be scored. */
static size_t shared_tokens(const vd_fork *fork)
{
    size_t shortest = SIZE_MAX, n = 0;
    for (size_t i = 0; i < fork->n_branches; i++)
        shortest = VD_MIN(shortest, fork->branch[i].n);
    for (; n + 1 < shortest; n++)
        for (size_t i = 1; i < fork->n_branches; i++)
            if (fork->branch[i].tokens[n] != fork->branch[0].tokens[n])
                return n;
    return n;
}

static vd_status make_fork(chooser *c, const vd_task *task, vd_buf *text, vd_fork *fork,
                           vd_err *err)
{
    size_t limit = vd_scorer_ctx_train(c->scorer), longest = 0;
    fork->n_branches = task->n_choices;
    vd_status st = vd_arena_array(&c->arena, task->n_choices, sizeof(*fork->branch),
                                  "the choices", &fork->branch, err);
    for (size_t i = 0; st == VD_OK && i < task->n_choices; i++) {
        st = encode_choice(c, task, i, text, &fork->branch[i], err);
        longest = VD_MAX(longest, fork->branch[i].n);
    }
    if (st != VD_OK)
        return st;
    fork->n_shared = shared_tokens(fork);
    if (limit > 0 && longest > limit)
        return VD_FAIL(err, VD_ERR_CONTEXT,
                       "the task of line %zu has %zu tokens, the model's context is %zu",
                       task->line, longest, limit);
    if (fork->n_shared == 0)
        return VD_FAIL(err, VD_ERR_ARG,
                       "the task of line %zu: no token stands before all of its choices, and the "
                       "vocabulary adds none at the beginning: give the question words",
                       task->line);
    return VD_OK;
}

static vd_status make_forks(chooser *c, vd_err *err)
{
    vd_buf text;
    vd_buf_init(&text, PROMPT_MAX);
    vd_status st = vd_arena_array(&c->arena, c->set->n, sizeof(*c->fork), "the tasks", &c->fork,
                                  err);
    for (size_t i = 0; st == VD_OK && i < c->set->n; i++)
        st = make_fork(c, &c->set->task[i], &text, &c->fork[i], err);
    vd_buf_done(&text);
    return st;
}

/* ---- answers ---------------------------------------------------------------------------------*/

/* Of a share: as of any mean of n numbers that are 0 or 1. */
static double share_stderr(double share, size_t n)
{
    return n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0;
}

static void update(chooser *c, const vd_choose_answer *answer)
{
    vd_choose_result *r = &c->result;
    size_t n_correct = (size_t)__builtin_popcountll(answer->task->correct);
    c->n_right += answer->right;
    c->n_right_norm += answer->right_norm;
    c->chance += (double)n_correct / (double)answer->task->n_choices;
    r->n++;
    r->accuracy = (double)c->n_right / (double)r->n;
    r->accuracy_norm = (double)c->n_right_norm / (double)r->n;
    r->stderr_ = share_stderr(r->accuracy, r->n);
    r->stderr_norm = share_stderr(r->accuracy_norm, r->n);
    r->chance = c->chance / (double)r->n;
}

static vd_status answer_one(chooser *c, size_t index, vd_err *err)
{
    const vd_fork *fork = &c->fork[index];
    double log_prob[VD_TASK_CHOICES_MAX];
    size_t n_tokens[VD_TASK_CHOICES_MAX];
    vd_choose_answer answer = {.task = &c->set->task[index], .log_prob = log_prob,
                               .n_tokens = n_tokens};
    double best_mean = 0;
    for (size_t i = 0; i < fork->n_branches; i++) {
        log_prob[i] = fork->branch[i].log_prob;
        n_tokens[i] = fork->branch[i].n - fork->n_shared;
        double mean = log_prob[i] / (double)n_tokens[i];
        if (!isfinite(mean))
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "the model gives no finite probability in the task of line %zu",
                           answer.task->line);
        if (log_prob[i] > log_prob[answer.picked])
            answer.picked = i;
        if (i == 0 || mean > best_mean) {
            answer.picked_norm = i;
            best_mean = mean;
        }
    }
    answer.right = (answer.task->correct >> answer.picked & 1) != 0;
    answer.right_norm = (answer.task->correct >> answer.picked_norm & 1) != 0;
    update(c, &answer);
    return c->on_answer != NULL ? c->on_answer(c->ctx, &answer, &c->result, err) : VD_OK;
}

static vd_status on_wave(void *ctx, size_t n_done, vd_err *err)
{
    chooser *c = ctx;
    vd_status st = VD_OK;
    while (st == VD_OK && c->result.n < n_done)
        st = answer_one(c, c->result.n, err);
    return st;
}

vd_status vd_choose_run(vd_scorer *scorer, const vd_task_set *set, vd_task_format format,
                        vd_choose_fn on_answer, void *ctx, vd_choose_result *ret_result,
                        vd_err *err)
{
    chooser c = {.scorer = scorer, .set = set, .on_answer = on_answer, .ctx = ctx};
    c.result.format = format != VD_TASK_FORMAT_AUTO            ? format
                      : set->shape == VD_TASK_SHAPE_OPTIONS ? VD_TASK_FORMAT_QA
                                                            : VD_TASK_FORMAT_PLAIN;
    vd_arena_init(&c.arena, ARENA_MAX);
    vd_status st = make_forks(&c, err);
    if (st == VD_OK)
        st = vd_forks_run(scorer, c.fork, set->n, on_wave, &c, err);
    if (st == VD_OK)
        *ret_result = c.result;
    vd_arena_done(&c.arena);
    return st;
}

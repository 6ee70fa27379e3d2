/*
 * tasks.h - questions with choices, read from a file whose shape is recognized by itself:
 *
 *   question   JSONL {"question": TEXT, "choices": [TEXT, ...], "answer": I}, I from 0
 *   options    JSONL {"centerpiece": TEXT, "options": [TEXT, ...], "correct_options_idx": [I, ...]}
 *              or, without that, "correct_options": ["A", ...]; ARC and PIQA are kept so
 *   hellaswag  text of six lines a question: context, the number of the right ending, four endings;
 *              what llama-perplexity --hellaswag reads
 *
 * Each of them as it is or compressed by bzip2. Other keys of JSON objects are passed over, blank
 * lines of JSONL too.
 */
#ifndef VD_EVAL_TASKS_H
#define VD_EVAL_TASKS_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/arena.h"

enum { VD_TASK_CHOICES_MAX = 64 };

typedef enum vd_task_shape {
    VD_TASK_SHAPE_QUESTION,
    VD_TASK_SHAPE_OPTIONS,
    VD_TASK_SHAPE_HELLASWAG
} vd_task_shape;

/* Text inside the set's memory, with a NUL behind it. */
typedef struct vd_task_text {
    const char *data;
    size_t n;
} vd_task_text;

typedef struct vd_task {
    vd_task_text question;
    const vd_task_text *choice; /* [n_choices], 2 .. VD_TASK_CHOICES_MAX */
    size_t n_choices;
    uint64_t correct;           /* bit i: choice i is right; at least one */
    size_t line;                /* of the file, from 1: where the task begins */
} vd_task;

/* Immutable once read. */
typedef struct vd_task_set {
    vd_task *task; /* [n], at least one */
    size_t n;
    vd_task_shape shape;
    vd_arena arena;
} vd_task_set;

/* path "-" reads standard input. VD_ERR_FORMAT says "PATH:LINE: what is wrong". */
VD_NODISCARD vd_status vd_task_set_read(const char *path, vd_task_set *ret_set, vd_err *err);
/* The same from memory; `name` stands for the path in messages. text[n] must be 0. */
VD_NODISCARD vd_status vd_task_set_parse(const char *name, const char *text, size_t n,
                                         vd_task_set *ret_set, vd_err *err);
void vd_task_set_done(vd_task_set *set);

/* Leaves the first n tasks (all of them when n is larger or 0). */
void vd_task_set_first(vd_task_set *set, size_t n);
/* Leaves n tasks, drawn without replacement as `llama-perplexity --hellaswag-tasks n` draws them
 * (Mersenne Twister of seed 1, libstdc++'s uniform_int_distribution), so that figures compare. */
void vd_task_set_draw(vd_task_set *set, size_t n);

#endif

/*
 * fuzz_tasks.c - libFuzzer target for files of questions with choices, packed by bzip2 or not.
 *
 * Whatever the bytes, they are refused with a message or give tasks that have a question, two
 * choices at least, and a right one among them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "eval/bunzip.h"
#include "eval/tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNPACKED_MAX = 1 << 20 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void walk(const vd_task_set *set)
{
    require(set->n > 0);
    for (size_t i = 0; i < set->n; i++) {
        const vd_task *t = &set->task[i];
        require(t->question.n > 0 && strlen(t->question.data) <= t->question.n);
        require(t->n_choices >= 2 && t->n_choices <= VD_TASK_CHOICES_MAX);
        require(t->correct != 0);
        require(t->n_choices == 64 || t->correct >> t->n_choices == 0);
        for (size_t k = 0; k < t->n_choices; k++)
            require(t->choice[k].data[t->choice[k].n] == '\0');
        require(i == 0 || t->line > set->task[i - 1].line);
    }
}

static void parse(const char *text, size_t n)
{
    vd_task_set set = {0};
    vd_err err = {0};
    if (vd_task_set_parse("f", text, n, &set, &err) != VD_OK) {
        require(err.message[0] != '\0');
        return;
    }
    walk(&set);
    vd_task_set_draw(&set, set.n / 2);
    vd_task_set_done(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t n = 0;
    vd_json_init();
    if (vd_bunzip_is((const char *)data, size)) {
        if (vd_bunzip((const char *)data, size, UNPACKED_MAX, &text, &n, NULL) != VD_OK)
            return 0;
    } else {
        text = vd_strndup((const char *)data, size);
        n = size;
    }
    if (text != NULL)
        parse(text, n);
    vd_free(text);
    return 0;
}

/* tasks.c - see tasks.h. */
#include "eval/tasks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "eval/bunzip.h"

enum { TEXT_MAX = 1 << 30, HELLASWAG_LINES = 6, HELLASWAG_ENDINGS = 4 };

typedef struct reader {
    const char *at, *end;
    size_t line; /* number of the line that was read last */
    vd_task_set *set;
} reader;

/* The next line without its end; false behind the last. */
static bool next_line(reader *r, vd_task_text *ret)
{
    if (r->at == r->end)
        return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    const char *next = stop != NULL ? stop + 1 : r->end;
    *ret = (vd_task_text){r->at, (size_t)((stop != NULL ? stop : r->end) - r->at)};
    if (ret->n > 0 && ret->data[ret->n - 1] == '\r')
        ret->n--;
    r->at = next;
    r->line++;
    return true;
}

static bool is_blank(vd_task_text text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.data[i] != ' ' && text.data[i] != '\t')
            return false;
    return true;
}

static vd_status keep(reader *r, vd_task_text text, vd_task_text *ret, vd_err *err)
{
    char *copy = vd_arena_strndup(&r->set->arena, text.data, text.n);
    if (copy == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the tasks");
    *ret = (vd_task_text){copy, text.n};
    return VD_OK;
}

static vd_status keep_string(reader *r, const json_t *value, vd_task_text *ret, vd_err *err)
{
    return keep(r, (vd_task_text){json_string_value(value), json_string_length(value)}, ret, err);
}

/* ---- JSONL -----------------------------------------------------------------------------------*/

static vd_status read_choices(reader *r, const json_t *list, const char *key, vd_task *task,
                              vd_err *err)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n < 2 || n > VD_TASK_CHOICES_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" must be a list of 2 to %d texts", key,
                       VD_TASK_CHOICES_MAX);
    vd_task_text *choice = NULL;
    vd_status st = vd_arena_array(&r->set->arena, n, sizeof(*choice), "the choices", &choice, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || json_string_length(text) == 0)
            st = VD_FAIL(err, VD_ERR_FORMAT, "\"%s\"[%zu] must be a text that is not empty", key,
                         i);
        else
            st = keep_string(r, text, &choice[i], err);
    }
    task->choice = choice;
    task->n_choices = n;
    return st;
}

static vd_status add_correct(vd_task *task, json_int_t index, const char *key, vd_err *err)
{
    if (index < 0 || (size_t)index >= task->n_choices)
        return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" names choice %lld, there are %zu, from 0", key,
                       (long long)index, task->n_choices);
    task->correct |= (uint64_t)1 << index;
    return VD_OK;
}

static vd_status read_answer(const json_t *object, vd_task *task, vd_err *err)
{
    const json_t *answer = json_object_get(object, "answer");
    if (!json_is_integer(answer))
        return VD_FAIL(err, VD_ERR_FORMAT, "\"answer\" must be the number of a choice, from 0");
    return add_correct(task, json_integer_value(answer), "answer", err);
}

/* Numbers in correct_options_idx, else letters in correct_options. */
static vd_status read_correct_options(const json_t *object, vd_task *task, vd_err *err)
{
    const json_t *list = json_object_get(object, "correct_options_idx"), *item;
    bool letters = list == NULL;
    const char *key = letters ? "correct_options" : "correct_options_idx";
    size_t i;
    if (letters)
        list = json_object_get(object, key);
    if (json_array_size(list) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" must be a list with an item at least", key);
    json_array_foreach((json_t *)list, i, item)
    {
        json_int_t index;
        if (letters && json_string_length(item) == 1)
            index = json_string_value(item)[0] - 'A';
        else if (!letters && json_is_integer(item))
            index = json_integer_value(item);
        else
            return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\"[%zu] must be a %s", key, i,
                           letters ? "letter, \"A\" for the first choice"
                                   : "number of a choice, from 0");
        vd_status st = add_correct(task, index, key, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

static vd_status read_object(reader *r, const json_t *object, vd_err *err)
{
    vd_task *task = &r->set->task[r->set->n];
    bool options = json_object_get(object, "centerpiece") != NULL;
    vd_task_shape shape = options ? VD_TASK_SHAPE_OPTIONS : VD_TASK_SHAPE_QUESTION;
    const char *key = options ? "centerpiece" : "question";
    const char *list = options ? "options" : "choices";
    const json_t *question = json_object_get(object, key);
    if (json_string_length(question) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "a task has \"question\", \"choices\" and \"answer\", or \"centerpiece\", "
                       "\"options\" and \"correct_options_idx\"; here \"%s\" is missing or no text",
                       key);
    if (r->set->n > 0 && shape != r->set->shape)
        return VD_FAIL(err, VD_ERR_FORMAT, "this task is of another shape than those before");
    r->set->shape = shape;
    *task = (vd_task){.line = r->line};
    vd_status st = keep_string(r, question, &task->question, err);
    if (st == VD_OK)
        st = read_choices(r, json_object_get(object, list), list, task, err);
    if (st == VD_OK)
        st = options ? read_correct_options(object, task, err) : read_answer(object, task, err);
    if (st == VD_OK)
        r->set->n++;
    return st;
}

static vd_status read_jsonl(reader *r, vd_err *err)
{
    vd_task_text line;
    vd_status st = VD_OK;
    while (st == VD_OK && next_line(r, &line)) {
        json_t *object = NULL;
        if (is_blank(line))
            continue;
        st = vd_json_parse(line.data, line.n, &object, err);
        if (st == VD_OK)
            st = read_object(r, object, err);
        json_decref(object);
    }
    return st;
}

/* ---- HellaSwag -------------------------------------------------------------------------------*/

static vd_status read_six_lines(reader *r, vd_task_text first, vd_err *err)
{
    vd_task *task = &r->set->task[r->set->n];
    vd_task_text label, *ending = NULL;
    *task = (vd_task){.n_choices = HELLASWAG_ENDINGS, .line = r->line};
    if (!next_line(r, &label) || label.n != 1 || label.data[0] < '0' || label.data[0] > '3')
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the line under a context must be 0, 1, 2 or 3, the right one of the four "
                       "endings that follow; and a file of JSON lines begins with '{'");
    task->correct = (uint64_t)1 << (label.data[0] - '0');
    vd_status st = keep(r, first, &task->question, err);
    if (st == VD_OK)
        st = vd_arena_array(&r->set->arena, HELLASWAG_ENDINGS, sizeof(*ending), "endings", &ending,
                            err);
    for (size_t i = 0; st == VD_OK && i < HELLASWAG_ENDINGS; i++) {
        vd_task_text text;
        if (!next_line(r, &text))
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "the file ends inside a task: a context, a number and four endings are "
                           "%d lines", HELLASWAG_LINES);
        st = keep(r, text, &ending[i], err);
    }
    task->choice = ending;
    if (st == VD_OK)
        r->set->n++;
    return st;
}

static vd_status read_hellaswag(reader *r, vd_err *err)
{
    vd_task_text line;
    vd_status st = VD_OK;
    r->set->shape = VD_TASK_SHAPE_HELLASWAG;
    while (st == VD_OK && next_line(r, &line))
        if (!is_blank(line))
            st = read_six_lines(r, line, err);
    return st;
}

/* ---- the set ---------------------------------------------------------------------------------*/

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

vd_status vd_task_set_parse(const char *name, const char *text, size_t n, vd_task_set *ret_set,
                            vd_err *err)
{
    vd_task_set set = {0};
    reader r = {.at = text, .end = text + n, .set = &set};
    size_t first;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.at += 3; /* a byte order mark, which some editors write */
    first = (size_t)(r.at - text) + strspn(r.at, " \t\r\n");
    vd_arena_init(&set.arena, (size_t)4 * TEXT_MAX);
    vd_status st = vd_arena_array(&set.arena, count_lines(text, n), sizeof(*set.task), "the tasks",
                                  &set.task, err);
    if (st == VD_OK)
        st = first < n && text[first] == '{' ? read_jsonl(&r, err) : read_hellaswag(&r, err);
    if (st == VD_OK && set.n == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "there is no task in it");
    if (st == VD_ERR_FORMAT)
        vd_err_prefix(err, "%s:%zu", name, VD_MAX(r.line, (size_t)1));
    if (st != VD_OK) {
        vd_task_set_done(&set);
        return st;
    }
    *ret_set = set;
    return VD_OK;
}

vd_status vd_task_set_read(const char *path, vd_task_set *ret_set, vd_err *err)
{
    char *text = NULL, *unpacked = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, TEXT_MAX, &text, &n, err);
    if (st == VD_OK && vd_bunzip_is(text, n)) {
        st = vd_bunzip(text, n, TEXT_MAX, &unpacked, &n, err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s", path);
    }
    if (st == VD_OK)
        st = vd_task_set_parse(path, unpacked != NULL ? unpacked : text, n, ret_set, err);
    vd_free(unpacked);
    vd_free(text);
    return st;
}

void vd_task_set_done(vd_task_set *set)
{
    vd_arena_done(&set->arena);
    *set = (vd_task_set){0};
}

void vd_task_set_first(vd_task_set *set, size_t n)
{
    if (n > 0 && n < set->n)
        set->n = n;
}

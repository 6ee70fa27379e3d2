/*
 * fuzz_template.c - libFuzzer target for chat templates.
 *
 *   one line of JSON: the variables; nothing stands for those below | the template
 *
 * Whatever both say, the template is refused with a message or renders within the limits into valid
 * UTF-8, and twice into the same bytes: no order comes from a hash.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char default_variables[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":"
    "\"h\\u00e9 \\ud83d\\ude00\\n\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{"
    "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1,\"y\":[2.5,true,null]}}}]}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"n\":7,"
    "\"f\":-0.5,\"s\":\" Some <b>text</b>, more \",\"l\":[3,1,2],"
    "\"d\":{\"b\":1,\"a\":[{\"a\":2}]}}";

/* Small enough for thousands of runs in a second, large enough to be met. */
static const vd_render_options limits = {.max_steps = 20000,
                                         .max_output = 1 << 16,
                                         .max_memory = 8 << 20,
                                         .max_depth = 40,
                                         .now_unix = 1773051072};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The text, or NULL where it failed. */
static char *render(const vd_template *tmpl, const char *variables, size_t n, size_t *ret_n)
{
    char *text = NULL;
    vd_err err = {0};
    vd_status st = vd_template_render(tmpl, variables, n, &limits, &text, ret_n, &err);
    require((st == VD_OK) == (text != NULL));
    require(st == VD_OK || (err.status == st && err.message[0] != '\0' &&
                            vd_utf8_valid(err.message, strlen(err.message))));
    require(st != VD_OK || (*ret_n <= limits.max_output && vd_utf8_valid(text, *ret_n)));
    return text;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    vd_json_init();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *variables = (const char *)data;
    const char *end = memchr(data, '\n', size);
    if (end == NULL)
        return 0;
    size_t n_variables = (size_t)(end - variables), n_source = size - n_variables - 1;
    if (n_variables == 0) {
        variables = default_variables;
        n_variables = sizeof(default_variables) - 1;
    }
    vd_template *tmpl = NULL;
    vd_err err = {0};
    vd_status st = vd_template_parse(end + 1, n_source, &tmpl, &err);
    if (st != VD_OK) {
        require(tmpl == NULL && err.status == st && err.message[0] != '\0' &&
                vd_utf8_valid(err.message, strlen(err.message)));
        return 0;
    }
    size_t n_first = 0, n_second = 0;
    char *first = render(tmpl, variables, n_variables, &n_first);
    char *second = render(tmpl, variables, n_variables, &n_second);
    require((first == NULL) == (second == NULL) && n_first == n_second);
    require(first == NULL || memcmp(first, second, n_first) == 0);
    vd_text_free(first);
    vd_text_free(second);
    vd_template_free(tmpl);
    return 0;
}

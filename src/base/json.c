/* json.c - see json.h. */
#include "base/json.h"

#include "base/alloc.h"
#include "base/fail.h"

/* jansson often takes short memory for bad text, so we remember it ourselves. */
static _Thread_local bool memory_was_short;

static void *json_alloc(size_t size)
{
    void *block = vd_alloc(size);
    memory_was_short |= block == NULL;
    return block;
}

void vd_json_init(void)
{
    json_set_alloc_funcs(json_alloc, vd_free);
    json_object_seed(0); /* 0 = a random seed: keys come from strangers */
}

/* jansson's own limit is 2,048 levels, fixed when it was built, so we count first. */
static bool depth_within(const char *text, size_t n, size_t limit)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > limit)
                return false;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

vd_status vd_json_parse(const char *text, size_t n, json_t **ret_value, vd_err *err)
{
    if (!depth_within(text, n, VD_JSON_DEPTH_MAX))
        return VD_FAIL(err, VD_ERR_FORMAT, "JSON is nested deeper than %d levels",
                       VD_JSON_DEPTH_MAX);
    json_error_t why;
    memory_was_short = false;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (memory_was_short) {
        json_decref(value);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for JSON of %zu bytes", n);
    }
    if (value == NULL) {
        bool nul = json_error_code(&why) == json_error_null_character;
        return VD_FAIL(err, VD_ERR_FORMAT, "bad JSON at line %d, column %d: %s", why.line,
                       why.column, nul ? "texts with a NUL (\\u0000) are not read" : why.text);
    }
    *ret_value = value;
    return VD_OK;
}

char *vd_json_text(const json_t *value)
{
    if (value == NULL)
        return NULL;
    memory_was_short = false;
    /* 15 digits: what every decimal survives, so that 1.52 does not come out
     * as 1.5200000000000000178 */
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (memory_was_short) { /* jansson 2.14 leaves out a key it has no memory for, and goes on */
        vd_free(text);
        return NULL;
    }
    return text;
}

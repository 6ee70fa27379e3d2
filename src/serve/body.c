/* body.c - see body.h. */
#include "serve/body.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

/* The member of the outermost object in which text[position] lies, for error->param. Reads broken
 * JSON too: it only counts brackets outside strings. "" when there is none. */
static void member_at(const char *text, size_t n, size_t position, char *name, size_t capacity)
{
    size_t depth = 0, key_begin = 0, key_end = 0;
    bool expects_key = false;
    name[0] = 0;
    for (size_t i = 0; i < n && i < position; i++) {
        char c = text[i];
        if (c == '"') {
            size_t begin = ++i;
            while (i < n && text[i] != '"')
                i += text[i] == '\\' ? 2 : 1;
            if (depth == 1 && expects_key && i < n) {
                key_begin = begin;
                key_end = i;
                expects_key = false;
            }
        } else if (c == '{' || c == '[') {
            expects_key = ++depth == 1 && c == '{';
        } else if ((c == '}' || c == ']') && depth > 0) {
            if (--depth == 0)
                key_begin = key_end = 0;
        } else if (c == ',' && depth == 1) {
            expects_key = true;
            key_begin = key_end = 0;
        }
    }
    if (key_end - key_begin < capacity && vd_utf8_valid(text + key_begin, key_end - key_begin)) {
        memcpy(name, text + key_begin, key_end - key_begin);
        name[key_end - key_begin] = 0;
    }
}

vd_status vd_body_parse(const char *text, size_t n, json_t **ret_body, vd_api_error *error)
{
    json_t *body;
    vd_err err;
    vd_status st = vd_json_parse(text, n, &body, &err);
    if (st == VD_ERR_NOMEM)
        return vd_api_fail_from(error, &err, NULL);
    if (st != VD_OK) {
        /* Once more, for the place: a failed parse is cheap, it ends where the fault is. The depth
         * is checked first, by vd_json_parse, and its own message says so. */
        char name[64] = "";
        json_error_t why;
        if (strstr(err.message, "deeper") == NULL) {
            json_t *twin = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
            json_decref(twin);
            if (twin == NULL && why.position > 0)
                member_at(text, n, (size_t)why.position, name, sizeof(name));
        }
        return vd_api_fail(error, 400, "invalid_json", name[0] != 0 ? name : NULL,
                           "The body is no valid JSON: %s", err.message);
    }
    if (!json_is_object(body)) {
        vd_api_fail(error, 400, "invalid_json", NULL, "The body must be a JSON object, not %s.",
                    vd_body_kind(body));
        json_decref(body);
        return VD_ERR_ARG;
    }
    *ret_body = body;
    return VD_OK;
}

const char *vd_body_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a decimal";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

json_t *vd_body_get(json_t *body, const char *name)
{
    json_t *value = json_object_get(body, name);
    return json_is_null(value) ? NULL : value;
}

static vd_status wrong_type(const char *name, const char *wanted, const json_t *value,
                            vd_api_error *error)
{
    return VD_BAD_PARAM(error, name, "invalid_type", "'%s' must be %s, not %s.", name, wanted,
                        vd_body_kind(value));
}

vd_status vd_body_bool(json_t *body, const char *name, bool *value, vd_api_error *error)
{
    json_t *field = vd_body_get(body, name);
    if (field == NULL)
        return VD_OK;
    if (!json_is_boolean(field))
        return wrong_type(name, "a boolean", field, error);
    *value = json_is_true(field);
    return VD_OK;
}

bool vd_body_whole(const json_t *value, int64_t *ret_value)
{
    if (json_is_integer(value)) {
        *ret_value = json_integer_value(value);
        return true;
    }
    double real = json_real_value(value);
    if (!json_is_real(value) || real != floor(real) || fabs(real) > 9007199254740992.0)
        return false;
    *ret_value = (int64_t)real;
    return true;
}

vd_status vd_body_int(json_t *body, const char *name, int64_t min, int64_t max, int64_t *value,
                      vd_api_error *error)
{
    json_t *field = vd_body_get(body, name);
    int64_t number;
    if (field == NULL)
        return VD_OK;
    if (!vd_body_whole(field, &number))
        return wrong_type(name, "an integer", field, error);
    if (number < min)
        return VD_BAD_PARAM(error, name, "integer_below_min_value",
                            "'%s' must be at least %lld, not %lld.", name, (long long)min,
                            (long long)number);
    if (number > max)
        return VD_BAD_PARAM(error, name, "integer_above_max_value",
                            "'%s' must be at most %lld, not %lld.", name, (long long)max,
                            (long long)number);
    *value = number;
    return VD_OK;
}

vd_status vd_body_float(json_t *body, const char *name, double min, double max, float *value,
                        vd_api_error *error)
{
    json_t *field = vd_body_get(body, name);
    if (field == NULL)
        return VD_OK;
    if (!json_is_number(field))
        return wrong_type(name, "a number", field, error);
    double number = json_number_value(field);
    if (!(number >= min))
        return VD_BAD_PARAM(error, name, "decimal_below_min_value",
                            "'%s' must be at least %g, not %g.", name, min, number);
    if (!(number <= max))
        return VD_BAD_PARAM(error, name, "decimal_above_max_value",
                            "'%s' must be at most %g, not %g.", name, max, number);
    *value = (float)number;
    return VD_OK;
}

/* types.c - see types.h. */
#include "compress/types.h"

#include <regex.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strmap.h"
#include "compress/encode.h"

enum { FILE_MAX = 16 << 20 };

typedef struct rule {
    char *text; /* the pattern or the name, owned */
    bool is_pattern, used;
    regex_t regex; /* of a pattern */
    vd_wanted wanted;
} rule;

struct vd_types {
    rule *rule; /* [n] */
    size_t n, capacity;
    vd_strmap name; /* of rules that are names: their place */
};

bool vd_types_parse_dtype(const char *text, vd_dtype *ret_dtype)
{
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        if (vd_dtype_get(i) != NULL && vd_encodable(i) &&
            strcasecmp(text, vd_dtype_name(i)) == 0) {
            *ret_dtype = (vd_dtype)i;
            return true;
        }
    return false;
}

vd_status vd_types_create(vd_types **ret_types, vd_err *err)
{
    return vd_alloc_array(1, sizeof(**ret_types), "the types of tensors", ret_types, err);
}

void vd_types_free(vd_types *types)
{
    if (types == NULL)
        return;
    for (size_t i = 0; i < types->n; i++) {
        if (types->rule[i].is_pattern)
            regfree(&types->rule[i].regex);
        vd_free(types->rule[i].text);
    }
    vd_strmap_done(&types->name);
    vd_free(types->rule);
    vd_free(types);
}

/* Room for one more, with its text. */
static vd_status new_rule(vd_types *types, const char *text, size_t n, vd_wanted wanted,
                          rule **ret_rule, vd_err *err)
{
    if (types->n == types->capacity) {
        size_t capacity = types->capacity * 2 + 16;
        rule *more = vd_realloc(types->rule, capacity * sizeof(*more));
        if (more == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu types of tensors", capacity);
        types->rule = more;
        types->capacity = capacity;
    }
    rule one = {.text = vd_strndup(text, n), .wanted = wanted};
    if (one.text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name of a tensor");
    types->rule[types->n] = one;
    *ret_rule = &types->rule[types->n++];
    return VD_OK;
}

vd_status vd_types_add_pattern(vd_types *types, const char *text, vd_err *err)
{
    const char *equal = strrchr(text, '=');
    vd_dtype dtype;
    regex_t regex;
    char wrong[128];
    rule *one = NULL;
    if (equal == NULL || equal == text)
        return VD_FAIL(err, VD_ERR_ARG, "'%s' is no PATTERN=TYPE, such as attn_v=Q6_K", text);
    if (!vd_types_parse_dtype(equal + 1, &dtype))
        return VD_FAIL(err, VD_ERR_ARG, "'%s' is no tensor type that can be written, such as Q6_K "
                       "or F16", equal + 1);
    char *pattern = vd_strndup(text, (size_t)(equal - text));
    if (pattern == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a pattern");
    int failed = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (failed != 0) {
        regerror(failed, &regex, wrong, sizeof(wrong));
        vd_status st = VD_FAIL(err, VD_ERR_ARG, "'%s' is no regular expression: %s", pattern,
                               wrong);
        vd_free(pattern);
        return st;
    }
    vd_status st = new_rule(types, pattern, strlen(pattern), (vd_wanted){dtype, 1}, &one, err);
    vd_free(pattern);
    if (st != VD_OK) {
        regfree(&regex);
        return st;
    }
    one->is_pattern = true;
    one->regex = regex;
    return VD_OK;
}

vd_status vd_types_add_name(vd_types *types, vd_str name, vd_wanted wanted, vd_err *err)
{
    rule *one = NULL;
    uint32_t place = (uint32_t)types->n;
    vd_status st = new_rule(types, name.data, name.n, wanted, &one, err);
    return st == VD_OK ? vd_strmap_put(&types->name, one->text, name.n, place, NULL, err) : st;
}

/* What a file says of one tensor. */
static vd_status parse_wanted(const char *path, const char *name, const json_t *value,
                              vd_wanted *ret, vd_err *err)
{
    const json_t *keep = json_object_get(value, "keep");
    const char *type = json_string_value(json_is_object(value) ? json_object_get(value, "type")
                                                               : value);
    *ret = (vd_wanted){.keep = 1};
    if (type == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %s: its type is no string", path, name);
    if (!vd_types_parse_dtype(type, &ret->dtype))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %s: '%s' is no tensor type that can be "
                       "written", path, name, type);
    if (keep != NULL)
        ret->keep = json_is_number(keep) ? json_number_value(keep) : 0;
    if (!(ret->keep > 0 && ret->keep <= 1))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: tensor %s: its keep-rate is no number above 0 and "
                       "at most 1", path, name);
    return VD_OK;
}

vd_status vd_types_add_file(vd_types *types, const char *path, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    json_t *root = NULL;
    const char *name;
    json_t *value;
    vd_status st = vd_file_read(path, FILE_MAX, &text, &n, err);
    if (st == VD_OK) {
        st = vd_json_parse(text, n, &root, err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s", path);
    }
    json_t *tensors = json_object_get(root, "tensors");
    if (st == VD_OK && json_object_size(tensors) == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: no \"tensors\", an object of names and types", path);
    json_object_foreach(tensors, name, value) {
        vd_wanted wanted;
        if (st != VD_OK)
            break;
        st = parse_wanted(path, name, value, &wanted, err);
        if (st == VD_OK)
            st = vd_types_add_name(types, (vd_str){name, strlen(name)}, wanted, err);
    }
    json_decref(root);
    vd_free(text);
    return st;
}

static bool matches(const rule *one, vd_str name)
{
    regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)name.n};
    return one->is_pattern && regexec(&one->regex, name.data, 1, &range, REG_STARTEND) == 0;
}

bool vd_types_find(vd_types *types, vd_str name, bool may_change, vd_wanted *ret_wanted)
{
    uint32_t place;
    rule *found = NULL;
    if (vd_strmap_get(&types->name, name.data, name.n, &place))
        found = &types->rule[place];
    for (size_t i = 0; found == NULL && types->rule != NULL && i < types->n; i++)
        if (matches(&types->rule[i], name))
            found = &types->rule[i];
    if (found == NULL || !may_change)
        return false;
    found->used = true;
    *ret_wanted = found->wanted;
    return true;
}

vd_status vd_types_check_used(const vd_types *types, vd_err *err)
{
    for (size_t i = 0; i < types->n; i++) {
        const rule *one = &types->rule[i];
        if (one->used)
            continue;
        if (one->is_pattern)
            return VD_FAIL(err, VD_ERR_ARG, "no matrix is left to the pattern '%s': it matches no "
                           "name, only tensors that keep their type, or those that an earlier "
                           "pattern has", one->text);
        return VD_FAIL(err, VD_ERR_ARG, "the model has no matrix %s that may change its type",
                       one->text);
    }
    return VD_OK;
}

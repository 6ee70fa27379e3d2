/* fields.c - see fields.h. */
#include "report/fields.h"

#include <math.h>
#include <stdio.h>

#include "base/fail.h"

const json_t *vd_field(vd_fields *r, const char *key, vd_need n)
{
    const json_t *value = r->st == VD_OK ? json_object_get(r->object, key) : NULL;
    if (json_is_null(value))
        value = NULL;
    if (value == NULL && n == VD_MUST && r->st == VD_OK)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "the field %s%s is missing", r->where, key);
    return value;
}

void vd_field_text(vd_fields *r, const char *key, vd_need n, const char **ret)
{
    const json_t *value = vd_field(r, key, n);
    if (value == NULL)
        return;
    if (!json_is_string(value) || json_string_length(value) > 4096)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a string of at most 4,096 bytes",
                        r->where, key);
    else
        *ret = json_string_value(value);
}

void vd_field_real(vd_fields *r, const char *key, vd_need n, double min, double max,
                   double *ret)
{
    const json_t *value = vd_field(r, key, n);
    if (value == NULL)
        return;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(number >= min && number <= max)) {
        if (max >= 1e18)
            r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number of at least %g",
                            r->where, key, min);
        else
            r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number from %g to %g",
                            r->where, key, min, max);
    } else {
        *ret = number;
    }
}

void vd_field_above_zero(vd_fields *r, const char *key, vd_need n, double *ret)
{
    double number = NAN;
    vd_field_real(r, key, n, 0, 1e18, &number);
    if (r->st != VD_OK || isnan(number))
        return;
    if (number == 0)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s is 0: nothing was measured, so nothing can "
                        "be compared", r->where, key);
    else if (number < 1e-9)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a number of at least 1e-9", r->where,
                        key);
    else
        *ret = number;
}

void vd_field_count(vd_fields *r, const char *key, vd_need n, uint64_t min, uint64_t *ret)
{
    const json_t *value = vd_field(r, key, n);
    if (value == NULL)
        return;
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || (uint64_t)number < min)
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be a whole number of at least %llu",
                        r->where, key, (unsigned long long)min);
    else
        *ret = (uint64_t)number;
}

void vd_field_flag(vd_fields *r, const char *key, bool *ret)
{
    const json_t *value = vd_field(r, key, VD_MAY);
    if (value == NULL)
        return;
    if (!json_is_boolean(value))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be true or false", r->where, key);
    else
        *ret = json_is_true(value);
}

vd_fields vd_fields_part(vd_fields *r, const char *key, vd_need n, const char *where)
{
    const json_t *value = vd_field(r, key, n);
    if (value != NULL && !json_is_object(value))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s%s must be an object", r->where, key);
    return (vd_fields){value, where, r->st, r->err};
}

void vd_fields_back(vd_fields *r, const vd_fields *done)
{
    r->st = done->st;
}

const json_t *vd_field_array(vd_fields *r, const char *key, vd_need n, size_t max,
                             size_t *ret_n)
{
    const json_t *list = vd_field(r, key, n);
    *ret_n = json_array_size(list);
    if (list != NULL && !json_is_array(list))
        r->st = VD_FAIL(r->err, VD_ERR_FORMAT, "%s must be an array", key);
    else if (*ret_n > max)
        r->st = VD_FAIL(r->err, VD_ERR_LIMIT, "%s has %zu entries; at most %zu are read", key,
                        *ret_n, max);
    return list;
}

vd_fields vd_fields_item(const vd_fields *r, const json_t *list, size_t i, const char *key,
                         char where[VD_FIELDS_WHERE_MAX])
{
    vd_fields p = {json_array_get(list, i), where, r->st, r->err};
    snprintf(where, VD_FIELDS_WHERE_MAX, "%s[%zu].", key, i);
    if (p.st == VD_OK && !json_is_object(p.object))
        p.st = VD_FAIL(p.err, VD_ERR_FORMAT, "%s[%zu] must be an object", key, i);
    return p;
}

/*
 * fields.h - the fields of a JSON object, each checked: what is wrong is said with the field's
 * path, and the first thing wrong sticks, so that a reader asks for all fields and looks once.
 * Inside src/report. Strings and objects are borrowed of the JSON.
 */
#ifndef VD_REPORT_FIELDS_H
#define VD_REPORT_FIELDS_H

#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

typedef struct vd_fields {
    const json_t *object; /* NULL: it is absent, and every field with it */
    const char *where;    /* "model.", "samples[3].prefill."; must outlive this */
    vd_status st;         /* VD_ERR_FORMAT or VD_ERR_LIMIT once something was wrong */
    vd_err *err;
} vd_fields;

/* A field that may be absent leaves *ret as it was; null is absent. */
typedef enum vd_need { VD_MAY, VD_MUST } vd_need;

const json_t *vd_field(vd_fields *r, const char *key, vd_need n);
/* At most 4,096 bytes. */
void vd_field_text(vd_fields *r, const char *key, vd_need n, const char **ret);
/* A finite number in [min, max]. */
void vd_field_real(vd_fields *r, const char *key, vd_need n, double min, double max, double *ret);
/* What must be above 0 for a ratio to mean anything, and not so near to it that a quotient leaves
 * the range of a double: 1e-9 to 1e18. */
void vd_field_above_zero(vd_fields *r, const char *key, vd_need n, double *ret);
/* A whole number of at least `min`. */
void vd_field_count(vd_fields *r, const char *key, vd_need n, uint64_t min, uint64_t *ret);
void vd_field_flag(vd_fields *r, const char *key, bool *ret);

/* The fields of an object in r; vd_fields_back hands their status back to r. */
vd_fields vd_fields_part(vd_fields *r, const char *key, vd_need n, const char *where);
void vd_fields_back(vd_fields *r, const vd_fields *done);

/* An array of at most `max`; NULL where it is absent. */
const json_t *vd_field_array(vd_fields *r, const char *key, vd_need n, size_t max, size_t *ret_n);
enum { VD_FIELDS_WHERE_MAX = 64 };
/* The fields of the object list[i]; writes their path into `where`. */
vd_fields vd_fields_item(const vd_fields *r, const json_t *list, size_t i, const char *key,
                         char where[VD_FIELDS_WHERE_MAX]);

#endif

/* match.h - which rule of a family a tensor's name follows. */
#ifndef VD_IMPORT_MATCH_H
#define VD_IMPORT_MATCH_H

#include "import/family.h"

typedef struct vd_match {
    const vd_rule *rule;
    int layer, expert; /* -1: the name has none */
    char suffix[8];    /* "weight" or "bias" */
} vd_match;

/* False where no rule fits. */
bool vd_match_name(const vd_family *family, const char *name, vd_match *ret);

#endif

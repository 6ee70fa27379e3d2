/* options.c - see options.h. */
#include "compress/structured/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static const char *const names[] = {
    [VD_STRUCTURED_NEURONS] = "neurons",
    [VD_STRUCTURED_HEADS] = "heads",
    [VD_STRUCTURED_LAYERS] = "layers",
    [VD_STRUCTURED_WIDTH] = "width",
};

const char *vd_structured_name(vd_structured_kind kind)
{
    return names[kind];
}

bool vd_structured_parse(const char *text, vd_structured *ret, const char **ret_wrong)
{
    size_t n = strcspn(text, ":"), i = 0;
    *ret_wrong = NULL;
    while (i < VD_COUNT(names) && (strlen(names[i]) != n || memcmp(names[i], text, n) != 0))
        i++;
    if (i == VD_COUNT(names))
        return false;
    const char *number = text + n + (text[n] == ':');
    char *end = NULL;
    double keep = strtod(number, &end);
    if ((!isdigit((unsigned char)number[0]) && number[0] != '.') || *end != '\0' ||
        strpbrk(number, "xX") != NULL || !(keep >= 0 && keep <= 1))
        *ret_wrong = "the keep-rate lies between 0 and 1: 1 keeps all, 0.75 three quarters";
    else if (keep == 0)
        *ret_wrong = "it would leave nothing";
    else
        *ret = (vd_structured){(vd_structured_kind)i, keep};
    return true;
}

/* parts.c - see parts.h. */
#include "energy/sources/parts.h"

#include <string.h>

#include "base/checked.h"
#include "energy/sources/source.h"

bool vd_parts_parse(const char *text, unsigned *ret_parts)
{
    static const struct {
        const char *text;
        unsigned parts;
    } words[] = {{"cpu", 1u << VD_PART_CPU},
                 {"dram", 1u << VD_PART_DRAM},
                 {"gpu", 1u << VD_PART_GPU},
                 {"all", VD_SOURCE_WHOLE}};
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(text, words[i].text) == 0) {
            *ret_parts = words[i].parts;
            return true;
        }
    return false;
}

vd_part vd_parts_home(unsigned parts)
{
    return parts == 1u << VD_PART_GPU    ? VD_PART_GPU
           : parts == 1u << VD_PART_DRAM ? VD_PART_DRAM
                                         : VD_PART_CPU;
}

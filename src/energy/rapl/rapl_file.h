/* rapl_file.h - the small files of a zone. Inside src/energy only. */
#ifndef VD_ENERGY_RAPL_FILE_H
#define VD_ENERGY_RAPL_FILE_H

#include "energy/rapl/rapl.h"

/* The first line of dir/file without its newline; false when it is unreadable, empty or too long.
 */
bool vd_rapl_file_text(const char *dir, const char *file, char *text, size_t size);
/* The same of a line of any length: as much of it as fits. */
bool vd_rapl_file_start(const char *dir, const char *file, char *text, size_t size);
/* A decimal number that fits 64 bits and nothing else; false and *ret untouched otherwise. */
bool vd_rapl_file_number(const char *dir, const char *file, uint64_t *ret_number);
bool vd_rapl_parse(const char *text, size_t n, uint64_t *ret_number);

/* Opens the zone's counter and reads it once. 0 or an errno, EBADMSG for what is no number. */
int vd_rapl_zone_open(const vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj);
void vd_rapl_zone_close(vd_rapl_zone *zone);
/* The counter now, opened anew where its file was replaced or has gone. */
int vd_rapl_zone_value(const vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj);


/* Takes a zone in and decides by its name what it is for. NULL when it is known already, its id is
 * too long or there are too many. Where no tree is walked: then vd_rapl_settle after the last. */
vd_rapl_zone *vd_rapl_zone_add(vd_rapl *rapl, const char *id, const char *name, uint64_t range_uj);
/* What came of opening it: 0 or an errno, which decides whether it is read. */
void vd_rapl_zone_opened(vd_rapl_zone *zone, int saved, uint64_t now_ns);
/* Sorts the zones, finds twins and judges whether they can serve (rapl->why). */
void vd_rapl_settle(vd_rapl *rapl);

#endif

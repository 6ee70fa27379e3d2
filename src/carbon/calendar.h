/* calendar.h - ISO 8601 and Unix time. Any thread. */
#ifndef VD_CARBON_CALENDAR_H
#define VD_CARBON_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VD_TIME_TEXT = 24 };

/* 2024-03-01T10:30[:15[.250]] with Z, +HH:MM, -HHMM or +HH behind it, a space as good as T; years
 * 1970 to 9999, a leap second counts as the second before. False for anything else, and so for a
 * time without a zone: nobody could know which moment it means. */
bool vd_time_parse(const char *text, size_t n, int64_t *ret_s);
/* "2024-03-01T10:30:15Z". */
void vd_time_text(int64_t s, char text[VD_TIME_TEXT]);
int64_t vd_year_begin_s(int year);

#endif

/*
 * calendar.c - see calendar.h. Days are counted from the civil calendar by arithmetic (Howard
 * Hinnant, "chrono-compatible low-level date algorithms", 2014), with years that begin in March, so
 * that the leap day is the last; no time zone data of the machine is asked.
 */
#include "carbon/calendar.h"

#include <stdio.h>

enum { DAY_S = 86400 };

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* `digits` of them to a number; moves *at on. */
static bool number(const char **at, const char *end, int digits, int *ret)
{
    int value = 0;
    if (end - *at < digits)
        return false;
    for (int i = 0; i < digits; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += digits;
    *ret = value;
    return true;
}

static bool letter(const char **at, const char *end, char c)
{
    if (*at == end || **at != c)
        return false;
    (*at)++;
    return true;
}

static bool date(const char **at, const char *end, int64_t *ret_days)
{
    static const int longest[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!number(at, end, 4, &year) || !letter(at, end, '-') || !number(at, end, 2, &month) ||
        !letter(at, end, '-') || !number(at, end, 2, &day))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > longest[month - 1] + (month == 2 && is_leap(year)))
        return false;
    *ret_days = days_of(year, month, day);
    return true;
}

static bool clock_time(const char **at, const char *end, int *ret_s)
{
    int hour, minute, second = 0;
    if (!number(at, end, 2, &hour) || !letter(at, end, ':') || !number(at, end, 2, &minute))
        return false;
    if (letter(at, end, ':') && !number(at, end, 2, &second))
        return false;
    if (letter(at, end, '.')) {
        const char *begin = *at;
        while (*at < end && **at >= '0' && **at <= '9')
            (*at)++;
        if (*at == begin)
            return false;
    }
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    *ret_s = hour * 3600 + minute * 60 + (second == 60 ? 59 : second);
    return true;
}

static bool zone(const char **at, const char *end, int *ret_s)
{
    int hours, minutes = 0, sign;
    if (letter(at, end, 'Z') || letter(at, end, 'z')) {
        *ret_s = 0;
        return true;
    }
    if (letter(at, end, '+'))
        sign = 1;
    else if (letter(at, end, '-'))
        sign = -1;
    else
        return false;
    if (!number(at, end, 2, &hours))
        return false;
    bool colon = letter(at, end, ':');
    if ((colon || *at < end) && !number(at, end, 2, &minutes))
        return false;
    if (hours > 18 || minutes > 59)
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool vd_time_parse(const char *text, size_t n, int64_t *ret_s)
{
    const char *at = text, *end = text + n;
    int64_t days;
    int of_day, offset;
    if (!date(&at, end, &days) ||
        !(letter(&at, end, 'T') || letter(&at, end, 't') || letter(&at, end, ' ')) ||
        !clock_time(&at, end, &of_day))
        return false;
    letter(&at, end, ' '); /* "2024-03-01 10:30:00 +0100", as some tables have it */
    if (!zone(&at, end, &offset) || at != end)
        return false;
    *ret_s = days * DAY_S + of_day - offset;
    return true;
}

void vd_time_text(int64_t s, char text[VD_TIME_TEXT])
{
    /* Far from any calendar: a text of the right length, and no overflow. */
    const int64_t last = (int64_t)253402300799; /* 9999-12-31T23:59:59 */
    s = s < 0 ? 0 : s > last ? last : s;
    int64_t days = s / DAY_S, of_day = s % DAY_S;
    int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153, day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);
    snprintf(text, VD_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
             (unsigned)month % 100, (unsigned)day % 100, (unsigned)(of_day / 3600) % 100,
             (unsigned)(of_day / 60 % 60), (unsigned)(of_day % 60));
}

int64_t vd_year_begin_s(int year)
{
    return days_of(year, 1, 1) * DAY_S;
}

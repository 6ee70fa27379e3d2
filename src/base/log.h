/*
 * log.h - the log of the programs (serve, cli). The library below them never logs errors: it
 * returns them. A line: time, level, area, message, key=value.
 *
 *   2026-11-23T10:11:12.345Z info  serve  request done id=7 tokens=12
 *
 * Lines go to stderr whole (one write). Threads: any. Never log a key, a prompt or an answer.
 */
#ifndef VD_BASE_LOG_H
#define VD_BASE_LOG_H

#include <stdbool.h>
#include <verdant/status.h>

typedef enum vd_log_level { VD_LOG_ERROR, VD_LOG_WARN, VD_LOG_INFO, VD_LOG_DEBUG } vd_log_level;

/* The start value is VD_LOG_INFO. */
void vd_log_set_level(vd_log_level level);
/* "error", "warn", "info", "debug"; false for any other word. */
bool vd_log_level_parse(const char *word, vd_log_level *ret_level);

void vd_log(vd_log_level level, const char *area, const char *fmt, ...) VD_PRINTF(3, 4);

#endif

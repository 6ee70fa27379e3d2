/* args.h - numbers from the command line, checked. */
#ifndef VD_CLI_ARGS_H
#define VD_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/engine.h>

/* Says what is wrong with the option at which getopt_long stopped: c is what it returned, '?' or
 * ':' (the short options begin with ':'). Returns VD_EXIT_USAGE. */
int vd_cli_bad_option(const char *command, int c, char **argv);

/* A whole number in [min, max]; false (and a message on stderr) for anything else. */
bool vd_cli_parse_size(const char *command, const char *option, const char *text, size_t min,
                       size_t max, size_t *ret);
bool vd_cli_parse_float(const char *command, const char *option, const char *text, double min,
                        double max, double *ret);
/* One of two words; *ret says whether it is the second. */
bool vd_cli_parse_word(const char *command, const char *option, const char *word, const char *no,
                       const char *yes, bool *ret);
/* --speculate WORD, --draft MODEL (a path or a stored name, for vd_store_resolve; one of the two)
 * and --draft-tokens N. */
bool vd_cli_parse_speculate(const char *command, const char *word, vd_engine_options *options);
bool vd_cli_parse_draft(const char *command, const char *model, vd_engine_options *options);
bool vd_cli_parse_draft_tokens(const char *command, const char *text, vd_engine_options *options);
/* When all are read: a number of tokens without somebody who guesses them is misuse. */
bool vd_cli_check_draft(const char *command, const vd_engine_options *options);
#define VD_SPECULATE_HELP                                                                          \
    "  --speculate WORD    lookup: guess tokens from the text, several to a step; the answer\n"    \
    "                      stays the same but for near ties. Default off\n"                        \
    "  --draft MODEL       let this smaller model of the same vocabulary guess them instead\n"     \
    "  --draft-tokens N    guessed at most per step, 1 to 16; default 8\n"
/* A type of the KV cache. */
bool vd_cli_parse_kv(const char *command, const char *option, const char *word, vd_kv_type *ret);
/* Which energy meters this process reads, as docs/meters.md writes them: sets VERDANT_METER. */
void vd_cli_use_meter(const char *spec);
/* "1,2,3" or "1 2 3" to a list (vd_free); false with a message. */
bool vd_cli_parse_ids(const char *command, const char *text, int32_t **ret_ids, size_t *ret_n);

#endif

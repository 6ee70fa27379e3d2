/* args.c - see args.h. */
#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"

int vd_cli_bad_option(const char *command, int c, char **argv)
{
    const char *last = argv[optind - 1];
    if (c == ':')
        return vd_cli_misuse(command, "%s needs a value", last);
    bool is_long = strncmp(last, "--", 2) == 0;
    if (optopt != 0 && is_long && strchr(last, '=') != NULL)
        return vd_cli_misuse(command, "%s: this option takes no value", last);
    char one[] = {'-', (char)optopt, '\0'}; /* of several in one word, perhaps */
    return vd_cli_misuse(command, "there is no option %s; an argument that begins with a dash goes "
                         "behind --", optopt == 0 ? last : one);
}

bool vd_cli_parse_size(const char *command, const char *option, const char *text, size_t min,
                       size_t max, size_t *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        vd_cli_misuse(command, "%s is '%s', expected a whole number from %zu to %zu", option, text,
                      min, max);
        return false;
    }
    *ret = (size_t)value;
    return true;
}

bool vd_cli_parse_float(const char *command, const char *option, const char *text, double min,
                        double max, double *ret)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= min && value <= max)) {
        vd_cli_misuse(command, "%s is '%s', expected a number from %g to %g", option, text, min,
                      max);
        return false;
    }
    *ret = value;
    return true;
}

bool vd_cli_parse_word(const char *command, const char *option, const char *word, const char *no,
                       const char *yes, bool *ret)
{
    if (strcmp(word, no) != 0 && strcmp(word, yes) != 0) {
        vd_cli_misuse(command, "%s is '%s', expected %s or %s", option, word, no, yes);
        return false;
    }
    *ret = strcmp(word, yes) == 0;
    return true;
}

bool vd_cli_parse_kv(const char *command, const char *option, const char *word, vd_kv_type *ret)
{
    if (!vd_kv_type_parse(word, ret)) {
        vd_cli_misuse(command, "%s is '%s', expected f16, bf16, f32, q8_0 or q4_0", option, word);
        return false;
    }
    return true;
}

bool vd_cli_parse_ids(const char *command, const char *text, int32_t **ret_ids, size_t *ret_n)
{
    size_t n = 0, n_max = strlen(text) / 2 + 1;
    int32_t *ids = vd_calloc(n_max, sizeof(*ids));
    if (ids == NULL) {
        vd_cli_misuse(command, "no memory for the token ids");
        return false;
    }
    for (const char *p = text; *p != '\0';) {
        if (*p == ',' || isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        char *end = NULL;
        errno = 0;
        long value = strtol(p, &end, 10);
        if (!isdigit((unsigned char)*p) || errno != 0 || value > INT32_MAX) {
            vd_cli_misuse(command, "'%.20s' is no token id, expected whole numbers", p);
            vd_free(ids);
            return false;
        }
        ids[n++] = (int32_t)value;
        p = end;
    }
    *ret_ids = ids;
    *ret_n = n;
    return true;
}

void vd_cli_use_meter(const char *spec)
{
    setenv("VERDANT_METER", spec, 1);
}

static bool says_both(const char *command)
{
    vd_cli_misuse(command, "--speculate and --draft exclude each other");
    return false;
}

bool vd_cli_parse_speculate(const char *command, const char *word, vd_engine_options *options)
{
    if (!vd_speculate_parse(word, &options->speculate)) {
        vd_cli_misuse(command, "--speculate is '%s', expected off or lookup", word);
        return false;
    }
    return options->draft_path == NULL || says_both(command);
}

bool vd_cli_parse_draft(const char *command, const char *model, vd_engine_options *options)
{
    if (options->speculate == VD_SPECULATE_LOOKUP)
        return says_both(command);
    options->speculate = VD_SPECULATE_MODEL;
    options->draft_path = model;
    return true;
}

bool vd_cli_parse_draft_tokens(const char *command, const char *text, vd_engine_options *options)
{
    return vd_cli_parse_size(command, "--draft-tokens", text, 1, 16, &options->draft_tokens);
}

bool vd_cli_check_draft(const char *command, const vd_engine_options *options)
{
    if (options->draft_tokens == 0 || options->speculate != VD_SPECULATE_OFF)
        return true;
    vd_cli_misuse(command, "--draft-tokens needs --speculate lookup or --draft MODEL");
    return false;
}

/* compress_args.h - the options of `verdant compress`. */
#ifndef VD_CLI_COMPRESS_ARGS_H
#define VD_CLI_COMPRESS_ARGS_H

#include "base/buf.h"
#include "cli/compress_compare.h"
#include "compress/search/search.h"
#include "compress/structured/stage.h"

typedef struct vd_compress_args {
    const char *model, *target;
    vd_compress_options options;
    vd_compare_options compare;
    vd_stage_options stage; /* what is cut out before */
    bool searches; /* --target: `search` says for what */
    vd_search_options search;
    const char *picture; /* of the search; NULL: beside the target */
    const char *recover; /* a program; NULL: none */
    bool json;
    bool keep_every_said; /* it is not the default */
    vd_buf work; /* what is asked for, but for what does not change the file */
} vd_compress_args;

/* compress_help.c */
extern const char vd_compress_help[], vd_compress_help_more[], vd_compress_help_rest[];

/* False after a message on stderr: the command line is no good. Strings are borrowed from argv. */
bool vd_compress_args_parse(int argc, char **argv, vd_compress_args *ret_args);
/* compress_check.c: whether they make sense together; else false after a message. n_models:
 * arguments that are no options. */
bool vd_compress_args_check(const vd_compress_args *args, int n_models);
void vd_compress_args_done(vd_compress_args *args);

#endif

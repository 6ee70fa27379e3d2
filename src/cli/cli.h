/*
 * cli.h - what the subcommands of `verdant` share. One file per subcommand.
 *
 * Exit status: 0, 1 failed, 2 misuse. Figures go to stdout, messages and progress to stderr.
 */
#ifndef VD_CLI_CLI_H
#define VD_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

enum { VD_EXIT_OK = 0, VD_EXIT_FAILED = 1, VD_EXIT_USAGE = 2 };

typedef struct vd_command {
    const char *name, *summary; /* one line in `verdant --help` */
    const char *help;           /* the text of `verdant NAME --help`, with an example */
    const char *help_more[3];   /* and what follows it: compilers need not take longer strings than
                                   4,095 characters */
    int (*main)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} vd_command;

/* Each subcommand file defines one; main.c lists them. */
extern const vd_command vd_cmd_tokenize;
extern const vd_command vd_cmd_bench;
extern const vd_command vd_cmd_carbon;
extern const vd_command vd_cmd_chat;
extern const vd_command vd_cmd_compress;
extern const vd_command vd_cmd_doctor;
extern const vd_command vd_cmd_embed;
extern const vd_command vd_cmd_energy;
extern const vd_command vd_cmd_eval;
extern const vd_command vd_cmd_import;
extern const vd_command vd_cmd_logits;
extern const vd_command vd_cmd_report;
extern const vd_command vd_cmd_run;
extern const vd_command vd_cmd_serve;
extern const vd_command vd_cmd_version;
extern const vd_command vd_cmd_list;
extern const vd_command vd_cmd_pull;
extern const vd_command vd_cmd_rm;
extern const vd_command vd_cmd_show;
extern const vd_command vd_cmd_template;

/* Prints "verdant NAME: message" to stderr and returns VD_EXIT_FAILED. */
int vd_cli_failed(const char *command, const vd_err *err);
/* Prints the message and where help is to be had; returns VD_EXIT_USAGE. */
int vd_cli_misuse(const char *command, const char *fmt, ...) VD_PRINTF(2, 3);

#endif

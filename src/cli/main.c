/* main.c - finds the subcommand and runs it. The list of commands is the list in --help. */
#include "cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <verdant/verdant.h>

#include "base/checked.h"
#include "base/json.h"

static int version_main(int argc, char **argv)
{
    printf("verdant %s\n", vd_version());
    return VD_EXIT_OK;
}

const vd_command vd_cmd_version = {
    .name = "version",
    .summary = "print the version",
    .help = "usage: verdant version\n\nPrints the version.\n\nExample:\n  verdant version\n",
    .main = version_main,
};

static const vd_command *const commands[] = {
    &vd_cmd_doctor,
    &vd_cmd_pull,
    &vd_cmd_list,
    &vd_cmd_show,
    &vd_cmd_rm,
    &vd_cmd_tokenize,
    &vd_cmd_template,
    &vd_cmd_run,
    &vd_cmd_chat,
    &vd_cmd_serve,
    &vd_cmd_eval,
    &vd_cmd_bench,
    &vd_cmd_logits,
    &vd_cmd_version,
};

int vd_cli_failed(const char *command, const vd_err *err)
{
    fprintf(stderr, "verdant %s: %s\n", command, err->message);
    return VD_EXIT_FAILED;
}

int vd_cli_misuse(const char *command, const char *fmt, ...)
{
    fprintf(stderr, "verdant %s: ", command);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry: verdant %s --help\n", command);
    return VD_EXIT_USAGE;
}

static void print_overview(FILE *out)
{
    fprintf(out, "Verdant %s - a green model server\n\nusage: verdant COMMAND [ARGUMENTS]\n\n",
            vd_version());
    for (size_t i = 0; i < VD_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`verdant COMMAND --help` explains a command and gives an example.\n");
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    vd_json_init();
    if (argc < 2) {
        print_overview(stderr);
        return VD_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_overview(stdout);
        return VD_EXIT_OK;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < VD_COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        if (asks_for_help(argc - 1, argv + 1)) {
            fputs(commands[i]->help, stdout);
            return VD_EXIT_OK;
        }
        int status = commands[i]->main(argc - 1, argv + 1);
        if (fflush(stdout) != 0 && status == VD_EXIT_OK) {
            fprintf(stderr, "verdant %s: cannot write the output\n", name);
            status = VD_EXIT_FAILED;
        }
        return status;
    }
    fprintf(stderr, "verdant: there is no command '%s'\nTry: verdant --help\n", name);
    return VD_EXIT_USAGE;
}

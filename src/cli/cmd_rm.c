/* cmd_rm.c - `verdant rm MODEL...`: removes stored models. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "model/store.h"

static int rm_main(int argc, char **argv)
{
    int status = VD_EXIT_OK;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return vd_cli_misuse("rm", "there is no option %s", argv[i]);
    if (argc < 2)
        return vd_cli_misuse("rm", "name a stored model");
    for (int i = 1; i < argc; i++) {
        vd_err err = {0};
        if (vd_store_remove(argv[i], &err) != VD_OK)
            status = vd_cli_failed("rm", &err);
    }
    return status;
}

const vd_command vd_cmd_rm = {
    .name = "rm",
    .summary = "remove stored models",
    .help = "usage: verdant rm NAME...\n"
            "\n"
            "Removes models from the store, and what an unfinished pull of that name left. A file\n"
            "that was pulled by its path stays where it was.\n"
            "\n"
            "Example:\n"
            "  verdant rm smollm2\n",
    .main = rm_main,
};

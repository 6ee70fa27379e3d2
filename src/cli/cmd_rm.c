/* cmd_rm.c - `verdant rm MODEL...`: removes stored models. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/pull/pull.h"
#include "model/store.h"

/* The model, and the folder that a killed pull from a package index left behind. */
static vd_status remove_model(const char *name, vd_err *err)
{
    char *work = NULL;
    vd_status st = vd_store_remove(name, err);
    if ((st == VD_OK || st == VD_ERR_NOT_FOUND) &&
        vd_store_path(name, ".", ".work", &work, NULL) == VD_OK && access(work, F_OK) == 0) {
        vd_pull_remove_tree(work);
        st = VD_OK;
    }
    vd_free(work);
    return st;
}

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
        if (remove_model(argv[i], &err) != VD_OK)
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

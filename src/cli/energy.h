/* energy.h - what the subcommands of `verdant energy` share; one file each: cmd_energy_NAME.c. */
#ifndef VD_CLI_ENERGY_H
#define VD_CLI_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "energy/ledger/db.h"

/* The options that all of them know. */
typedef struct vd_energy_args {
    char *path;               /* of the ledger; vd_free */
    int64_t since_s, until_s; /* Unix time; 0: not given */
    bool json;
} vd_energy_args;

/* Reads --ledger F, --since T, --until T and --json as far as `allowed` ("lsuj") names them, and
 * leaves the rest to the caller: *ret_rest of argc words, argv[0] kept. False: *ret_status is to be
 * returned. */
bool vd_energy_args_read(const char *command, const char *allowed, int *argc, char **argv,
                         vd_energy_args *ret_args, int *ret_status);

/* "12.3 mJ", "4.56 kJ", "1.23 kWh"; "+-" is left to the caller. */
typedef struct vd_energy_text {
    char text[32];
} vd_energy_text;
vd_energy_text vd_energy_joules(uint64_t uj);

/* The ledger of the options, looked at. vd_db_close. */
VD_NODISCARD vd_status vd_energy_open(const char *path, bool write, sqlite3 **ret_db, vd_err *err);

int vd_energy_audit_main(int argc, char **argv);
int vd_energy_key_main(int argc, char **argv);    /* cmd_energy_receipt.c */
int vd_energy_verify_main(int argc, char **argv);
int vd_energy_export_main(int argc, char **argv);
int vd_energy_record_main(int argc, char **argv);
int vd_energy_resettle_main(int argc, char **argv);
int vd_energy_show_main(int argc, char **argv);

#endif

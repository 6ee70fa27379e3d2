/* import_check.h - whether what was imported can be used here. */
#ifndef VD_CLI_IMPORT_CHECK_H
#define VD_CLI_IMPORT_CHECK_H

#include "import/notes.h"

/* Reads the file's metadata, vocabulary and chat template as `verdant run` will; what is wrong with
 * them becomes a note. Weights are not loaded. A `path` that is no regular file is left alone. */
void vd_cli_import_check(const char *path, vd_notes *notes);

#endif

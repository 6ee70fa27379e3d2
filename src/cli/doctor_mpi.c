/*
 * doctor_mpi.c - is there an MPI library, and a program that starts its processes? Nothing is
 * started: MPI_Get_library_version may be called before MPI_Init (MPI 3.1, 8.1.1).
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "cli/doctor.h"

enum { VERSION_MAX = 8192 + 1 }; /* the largest MPI_MAX_LIBRARY_VERSION_STRING, MPICH's */

static void find_launcher(vd_doctor_mpi *mpi)
{
    static const char *const names[] = {"mpirun", "mpiexec", "srun"};
    const char *path = getenv("PATH");
    for (size_t i = 0; path != NULL && i < VD_COUNT(names); i++)
        for (const char *at = path; *at != '\0';) {
            size_t n = strcspn(at, ":");
            int length = snprintf(mpi->launcher, sizeof(mpi->launcher), "%.*s/%s", (int)n, at,
                                  names[i]);
            if (n > 0 && length > 0 && (size_t)length < sizeof(mpi->launcher) &&
                access(mpi->launcher, X_OK) == 0)
                return;
            at += n + (at[n] == ':');
        }
    mpi->launcher[0] = '\0';
}

static void ask(void *library, vd_doctor_mpi *mpi)
{
    static char version[VERSION_MAX];
    int (*get)(char *version, int *ret_n) = NULL;
    int n = 0;
    void *symbol = dlsym(library, "MPI_Get_library_version");
    memcpy(&get, &symbol, sizeof(symbol)); /* as POSIX has it */
    snprintf(mpi->library, sizeof(mpi->library), "unknown");
    if (get == NULL || get(version, &n) != 0 || n <= 0)
        return;
    /* "Open MPI v4.1.4, package: Debian OpenMPI, ident: ..." or "MPICH Version: 4.0.2\n..." */
    version[sizeof(version) - 1] = '\0';
    size_t length = strcspn(version, ",\n");
    snprintf(mpi->library, sizeof(mpi->library), "%.*s", (int)length, version);
    for (char *p = mpi->library; *p != '\0'; p++)
        if (*p == '\t')
            *p = ' ';
}

void vd_doctor_mpi_find(vd_doctor_mpi *mpi)
{
    /* Open MPI 4 and 5; MPICH and Intel MPI; what an installation for developers calls it. */
    static const char *const files[] = {"libmpi.so.40", "libmpi.so.12", "libmpich.so.12",
                                        "libmpi.so"};
    find_launcher(mpi);
    for (size_t i = 0; i < VD_COUNT(files); i++) {
        void *library = dlopen(files[i], RTLD_LAZY | RTLD_LOCAL);
        if (library == NULL)
            continue;
        snprintf(mpi->file, sizeof(mpi->file), "%s", files[i]);
        ask(library, mpi);
        return; /* and leave it loaded: not every such library can be unloaded */
    }
}

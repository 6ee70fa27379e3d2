/*
 * hardware.c - embodied carbon. See hardware.h.
 *
 * The base is Cloud Carbon Footprint's rack server: 1,000 kg with one processor and 16 GB, to which
 * parts are added. Makers' own statements for whole servers run from 700 to 6,000 kg; so a figure
 * of the table is an order of magnitude, and the one on the maker's data sheet is better.
 */
#include "carbon/hardware.h"

#include <string.h>
#include <strings.h>

#include "base/checked.h"

#define CCF "Cloud Carbon Footprint, methodology, embodied emissions (2021)"
#define BLOOM "Luccioni, Viguier, Ligozat: Estimating the Carbon Footprint of BLOOM (2022), table 3"
#define NVIDIA "NVIDIA, product carbon footprint of HGX H100 (2025): 1,312 kg for 8, by EcoLogits"

static const vd_part_kg parts[] = {
    {"server", 1000, CCF},           /* rack server: one processor, 16 GB */
    {"cpu", 100, CCF},               /* each further processor */
    {"dram-gb", 533.0 / 384, CCF},   /* after Dell's statement for the R740: 533 kg for 384 GB */
    {"ssd", 100, CCF},
    {"hdd", 50, CCF},
    {"gpu", 150, CCF, true},         /* one that is not named below */
    {"a100", 150, BLOOM, true},
    {"h100", 164, NVIDIA, true},
    {"h200", 164, NVIDIA, true},     /* the same board with other memory: the nearest statement */
    {"gpu-server", 2500, BLOOM},     /* HPE Apollo 6500, without its GPUs */
    {"hgx-server", 5700, "EcoLogits, methodology (2025): server for 8 GPUs, without them"},
};

/* Cores and threads by the makers' data sheets; the names of processors made for one cloud by its
 * instance types, whose largest takes the whole socket. A longer name stands before its beginning.
 */
static const struct {
    const char *name;
    unsigned threads;
} sockets[] = {
    {"E5-2676 v3", 24}, {"E5-2686 v4", 36}, {"E5-2673 v4", 40},  {"E5-2690 v4", 28},
    {"E5-2666 v3", 20}, {"8124M", 36},      {"8175M", 48},       {"8259CL", 48},
    {"8275CL", 48},     {"8171M", 52},      {"8272CL", 52},      {"8370C", 64},
    {"8375C", 64},      {"8358", 64},       {"8380", 80},        {"8473C", 104},
    {"8480", 112},      {"8481C", 112},     {"8488C", 96},       {"8490H", 120},
    {"8592", 128},      {"6338", 64},       {"6248", 40},        {"6148", 40},
    {"7571", 64},       {"7R32", 96},       {"7R13", 96},        {"9R14", 96},
    {"7B12", 128},      {"7B13", 128},      {"7452", 64},        {"7742", 128},
    {"7763", 128},      {"7V13", 128},      {"7V73X", 128},      {"9V74", 160},
    {"9554", 128},      {"9654", 192},      {"9754", 256},
};

/* A processor that hides its name: 32 cores of two threads, the middle of the table. */
enum { THREADS_UNKNOWN = 64, BASE_GB = 16 };

const vd_part_kg *vd_part_list(size_t *ret_n)
{
    *ret_n = VD_COUNT(parts);
    return parts;
}

static const vd_part_kg *find_part(const char *part)
{
    for (size_t i = 0; i < VD_COUNT(parts); i++)
        if (strcasecmp(parts[i].part, part) == 0)
            return &parts[i];
    return NULL;
}

double vd_part_weight_kg(const char *part)
{
    const vd_part_kg *found = find_part(part);
    return found != NULL ? found->kg : 0;
}

bool vd_part_is_gpu(const char *part)
{
    const vd_part_kg *found = find_part(part);
    return found != NULL && found->is_gpu;
}

unsigned vd_socket_threads(const char *cpu)
{
    for (size_t i = 0; cpu != NULL && i < VD_COUNT(sockets); i++)
        if (strstr(cpu, sockets[i].name) != NULL)
            return sockets[i].threads;
    return 0;
}

/* The part of its sockets that a virtual machine has; *n_sockets are those it needs. */
static double share_of(const vd_hardware_facts *f, double *n_sockets)
{
    unsigned threads = vd_socket_threads(f->cpu);
    double per_socket = threads != 0 ? threads : THREADS_UNKNOWN;
    double n = f->n_cpu > 0 ? f->n_cpu : 1;
    *n_sockets = 1;
    while (n > *n_sockets * per_socket)
        ++*n_sockets;
    return n / (*n_sockets * per_socket);
}

vd_hardware vd_hardware_guess(const vd_hardware_facts *f)
{
    double n_sockets = f->n_sockets > 0 ? (double)f->n_sockets : 1, share = 1;
    if (f->virtual_machine)
        share = share_of(f, &n_sockets);
    if (f->virtual_machine && f->reserved_share > 0)
        share = f->reserved_share;
    /* The server's memory and drives are taken to be divided as its threads are. A GPU is handed
     * through whole: at the server's share it must weigh what it weighs. */
    double gb = (double)f->memory_bytes / 1e9 / share;
    double kg = vd_part_weight_kg("server") + vd_part_weight_kg("cpu") * (n_sockets - 1);
    if (gb > BASE_GB)
        kg += (gb - BASE_GB) * vd_part_weight_kg("dram-gb");
    kg += (double)f->n_ssd * vd_part_weight_kg("ssd");
    double gpu_kg = f->gpu != NULL ? vd_part_weight_kg(f->gpu) : 0;
    if (gpu_kg <= 0)
        gpu_kg = vd_part_weight_kg("gpu");
    kg += (double)f->n_gpu * gpu_kg / share;
    return (vd_hardware){.server_kg = kg, .life_years = 4, .reserved_share = share};
}

double vd_embodied_g(uint64_t machine_ns, const vd_hardware *h)
{
    static const double ns_per_year = 365.25 * 86400 * 1e9;
    double kg = h != NULL && h->server_kg > 0 ? h->server_kg : vd_part_weight_kg("server");
    double years = h != NULL && h->life_years > 0 ? h->life_years : 4;
    double share = h != NULL && h->reserved_share > 0 ? h->reserved_share : 1;
    return kg * 1000 * ((double)machine_ns / (years * ns_per_year)) * share;
}

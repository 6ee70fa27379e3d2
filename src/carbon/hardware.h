/*
 * hardware.h - what it took to make the machine: embodied carbon, M = TE x (TiR/EL) x (RR/ToR).
 *
 * TE adds up parts by documented figures (hardware.c, docs/carbon.md); each can be overridden. A
 * virtual machine is charged for its part of a server, not for a whole one.
 */
#ifndef VD_CARBON_HARDWARE_H
#define VD_CARBON_HARDWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 in a field means the default in parentheses. */
typedef struct vd_hardware {
    double server_kg;      /* TE: to make the server (1,000, a rack server without much memory) */
    double life_years;     /* EL: years it is expected to serve (4) */
    double reserved_share; /* RR/ToR: the part of the server this machine is (1) */
} vd_hardware;

/* What is known of the machine. */
typedef struct vd_hardware_facts {
    const char *cpu;       /* the model's name as the system calls it; NULL: unknown */
    bool virtual_machine;
    double n_cpu;          /* hardware threads that may be used */
    uint64_t memory_bytes; /* of this machine, not of the server around it */
    size_t n_sockets;      /* of a machine that is not virtual; 0: 1 */
    size_t n_ssd, n_gpu;
    const char *gpu; /* a part of the table ("h100"); NULL: "gpu" */
    double reserved_share; /* RR/ToR where it is known; 0: guess */
} vd_hardware_facts;

/* The defaults for this machine: TE of the whole server (its memory taken to be shared as its
 * threads are) and the part of it that this machine is. 0 < reserved_share <= 1. */
vd_hardware vd_hardware_guess(const vd_hardware_facts *facts);

/* Grams for `machine_ns` of the machine's time. `hardware` may be NULL. */
double vd_embodied_g(uint64_t machine_ns, const vd_hardware *hardware);

/* One documented figure. Static storage. */
typedef struct vd_part_kg {
    const char *part; /* "server", "dram-gb", "h100", ... */
    double kg;
    const char *source;
    bool is_gpu;
} vd_part_kg;
const vd_part_kg *vd_part_list(size_t *ret_n);
/* Of a part's name, or 0. */
double vd_part_weight_kg(const char *part);
bool vd_part_is_gpu(const char *part);

/* Hardware threads of one socket of this processor model, 0 where it is not in the table. */
unsigned vd_socket_threads(const char *cpu);

#endif

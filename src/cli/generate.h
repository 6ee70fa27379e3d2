/* generate.h - the options that run and chat share. */
#ifndef VD_CLI_GENERATE_H
#define VD_CLI_GENERATE_H

#include <verdant/engine.h>

#include "cli/args.h"

typedef struct vd_generate_args {
    const char *model, *system, *zone;
    const char *const *rest; /* operands behind MODEL */
    size_t n_rest;
    size_t max_tokens;
    bool json, raw, quiet;
    vd_sampling sampling;
    vd_engine_options engine;
} vd_generate_args;

/* Lines for the help text. */
#define VD_GENERATE_HELP                                                                           \
    "  --system TEXT       the system message\n"                                                   \
    "  -n, --max-tokens N  longest answer; default 512\n"                                          \
    "  --temperature X     0 is greedy; default 0\n"                                               \
    "  --top-p X, --top-k N, --min-p X, --typical-p X\n"                                           \
    "                      narrow the choice; all off by default\n"                                \
    "  --repetition-penalty X, --frequency-penalty X, --presence-penalty X\n"                      \
    "  --seed N            same seed, same text; default 0\n"                                      \
    "  --ctx N             context in tokens; default the model's, at most 8192\n"                 \
    "  -t, --threads N     default: one per core, in decoding fewer where that is faster\n"        \
    "  --precision WORD    exact (f32 activations; slow, the reference) or fast; default fast\n"   \
    VD_SPECULATE_HELP                                                                              \
    "  --kv TYPE           keys and values as f16, bf16, f32, q8_0 or q4_0; default f16\n"         \
    "  --zone CODE         grid for the grams of CO2e, e.g. DE, FR, US-CA; default the world\n"    \
    "  --meter SPEC        which energy meters to read (docs/meters.md); default auto\n"           \
    "  -q, --quiet         no line about tokens, joules and grams\n"

/* False after saying what is wrong. */
bool vd_generate_parse(const char *command, int argc, char **argv, vd_generate_args *ret);

#endif

/* arch.c - the list of architectures. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

static const vd_arch *const architectures[] = {
    &vd_arch_llama,
    &vd_arch_bert,
    &vd_arch_command_r,
    &vd_arch_deci,
    &vd_arch_gemma2,
    &vd_arch_gemma3,
    &vd_arch_gpt2,
    &vd_arch_granite,
    &vd_arch_nomic_bert,
    &vd_arch_olmo2,
    &vd_arch_olmoe,
    &vd_arch_phi3,
    &vd_arch_qwen2,
    &vd_arch_qwen2moe,
    &vd_arch_qwen3,
    &vd_arch_qwen3moe,
    &vd_arch_smollm3,
    &vd_arch_starcoder2,
};

vd_status vd_arch_find(const vd_gguf *gguf, const vd_arch **ret_arch, vd_err *err)
{
    vd_str name;
    vd_status st = vd_gguf_require_str(gguf, "general.architecture", &name, err);
    if (st != VD_OK)
        return st;
    char ours[512] = "";
    size_t n = 0;
    for (size_t i = 0; i < VD_COUNT(architectures); i++) {
        const char *known = architectures[i]->name;
        if (strlen(known) == name.n && memcmp(known, name.data, name.n) == 0) {
            *ret_arch = architectures[i];
            return VD_OK;
        }
        n += (size_t)snprintf(ours + n, sizeof(ours) - n, "%s%s", i > 0 ? ", " : "", known);
    }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "architecture '%.*s' is not supported; we run: %s",
                   (int)VD_MIN(name.n, (size_t)64), name.data, ours);
}

vd_status vd_arch_read(const vd_arch *arch, const vd_gguf *gguf, vd_hparams *ret_hp, vd_err *err)
{
    vd_hparams hp;
    vd_status st = vd_hparams_read(gguf, arch->name, &arch->block, &hp, err);
    if (st == VD_OK && arch->read != NULL)
        st = arch->read(gguf, &hp, err);
    if (st == VD_OK)
        *ret_hp = hp;
    return st;
}

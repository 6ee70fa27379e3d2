/*
 * import_check.c - see import_check.h.
 *
 * An import writes down what the folder says; numbers that contradict each other (heads that do not
 * divide the width, a template with a mistake) are found by those who use the file. The user should
 * hear of them now. The file stays: other programs may take it.
 */
#include "cli/import_check.h"

#include <sys/stat.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

#include "model/arch.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

static vd_status check(const vd_gguf *gguf, vd_err *err)
{
    const vd_arch *arch = NULL;
    vd_hparams hp;
    vd_tokenizer *tokenizer = NULL;
    vd_template *template = NULL;
    vd_str source;
    vd_status st = vd_arch_find(gguf, &arch, err);
    if (st == VD_OK)
        st = vd_arch_read(arch, gguf, &hp, err);
    if (st == VD_OK)
        st = vd_tokenizer_create(gguf, &tokenizer, err);
    if (st == VD_OK && vd_gguf_get_str(gguf, "tokenizer.chat_template", &source))
        st = vd_template_parse(source.data, source.n, &template, err);
    vd_template_free(template);
    vd_tokenizer_free(tokenizer);
    return st;
}

void vd_cli_import_check(const char *path, vd_notes *notes)
{
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return;
    vd_status st = vd_gguf_open(path, NULL, &gguf, &err);
    if (st == VD_OK)
        st = check(gguf, &err);
    if (st != VD_OK)
        vd_note(notes, "the file is written as the folder has it, but cannot be run here: %s",
                err.message);
    vd_gguf_free(gguf);
}

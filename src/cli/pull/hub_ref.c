/* hub_ref.c - reads ORG/REPO[@REVISION][:FILE]. See hub.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "cli/pull/hub.h"

const char *vd_hub_revision(const vd_hub_ref *ref)
{
    return ref->revision[0] != '\0' ? ref->revision : "main";
}

bool vd_hub_path_valid(const char *path)
{
    if (path[0] == '\0' || strlen(path) >= VD_HUB_PATH_MAX)
        return false;
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)part[i] < ' ' || part[i] == 0x7f || part[i] == '\\')
                return false;
        part += n;
        if (part[0] == '\0')
            return true;
    }
}

/* An organisation or a repository: letters, digits, "._-", beginning with a letter or digit. */
static bool is_name(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isascii((unsigned char)text[i]) ||
            (!isalnum((unsigned char)text[i]) && (i == 0 || strchr("._-", text[i]) == NULL)))
            return false;
    return n > 0 && n <= 96;
}

static bool keep(char *out, size_t n_out, const char *text, size_t n)
{
    if (n >= n_out)
        return false;
    memcpy(out, text, n);
    out[n] = '\0';
    return true;
}

vd_status vd_hub_ref_parse(const char *text, vd_hub_ref *ret_ref, vd_err *err)
{
    vd_hub_ref ref = {{0}};
    size_t n_org = strcspn(text, "/@:"), n_repo = 0, n_revision = 0;
    const char *rest = text + n_org;
    bool good = rest[0] == '/' && is_name(text, n_org);
    if (good) {
        n_repo = strcspn(rest + 1, "/@:");
        good = is_name(rest + 1, n_repo) &&
               keep(ref.repo, sizeof(ref.repo), text, n_org + 1 + n_repo);
        rest += 1 + n_repo;
    }
    if (good && rest[0] == '@') {
        n_revision = strcspn(rest + 1, ":");
        good = keep(ref.revision, sizeof(ref.revision), rest + 1, n_revision) &&
               vd_hub_path_valid(ref.revision);
        rest += 1 + n_revision;
    }
    if (good && rest[0] == ':') {
        good = keep(ref.file, sizeof(ref.file), rest + 1, strlen(rest + 1)) &&
               vd_hub_path_valid(ref.file);
        rest += strlen(rest);
    }
    if (!good || rest[0] != '\0')
        return VD_FAIL(err, VD_ERR_ARG, "'hf:%.100s' is no model of the hub: write hf:ORG/REPO, "
                       "hf:ORG/REPO:FILE.gguf, hf:ORG/REPO:Q4_K_M or, for another revision, "
                       "hf:ORG/REPO@REVISION", text);
    *ret_ref = ref;
    return VD_OK;
}

/* web.c - a model by its http: or https: address. */
#include "cli/pull/download.h"
#include "cli/pull/pull.h"

vd_status vd_pull_http(const char *url, const char *part_path, const char *note_path, vd_err *err)
{
    const vd_download download = {.url = url, .key = url, .what = url, .label = "",
                                  .part_path = part_path, .note_path = note_path, .bytes = -1,
                                  .stalled_s = VD_HTTP_STALLED_S};
    vd_downloaded unused;
    return vd_download_file(&download, &unused, err);
}

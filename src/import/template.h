/* template.h - the chat templates of a folder, and how its embeddings are pooled. */
#ifndef VD_IMPORT_TEMPLATE_H
#define VD_IMPORT_TEMPLATE_H

#include "model/gguf_write.h"

/* tokenizer.chat_template from tokenizer_config.json, chat_template.jinja or chat_template.json;
 * where it is a list of named ones, each under its name. None is no failure. */
VD_NODISCARD vd_status vd_template_write(const char *folder, vd_gguf_out *out, bool *ret_has,
                                         vd_err *err);
/* "<arch>.pooling_type" where the folder has modules.json of sentence-transformers. */
VD_NODISCARD vd_status vd_pooling_write(const char *folder, const char *arch, vd_gguf_out *out,
                                        vd_err *err);

#endif

/* verdant.h - all of libverdant's public interface. Start with engine.h. */
#ifndef VERDANT_VERDANT_H
#define VERDANT_VERDANT_H

#include <verdant/compress.h>
#include <verdant/engine.h>
#include <verdant/status.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
VD_API const char *vd_version(void);

#ifdef __cplusplus
}
#endif
#endif

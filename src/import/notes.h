/* notes.h - what a user should know about an import that went well: lines of text, gathered. */
#ifndef VD_IMPORT_NOTES_H
#define VD_IMPORT_NOTES_H

#include "base/buf.h"

typedef struct vd_notes {
    vd_buf text; /* a line per note, each with a newline */
} vd_notes;

void vd_notes_init(vd_notes *notes);
void vd_notes_done(vd_notes *notes);
void vd_note(vd_notes *notes, const char *fmt, ...) VD_PRINTF(2, 3);

#endif

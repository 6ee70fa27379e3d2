/* notes.c - see notes.h. */
#include "import/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTE_MAX = 512, NOTES_MAX = 1 << 16 };

void vd_notes_init(vd_notes *notes)
{
    vd_buf_init(&notes->text, NOTES_MAX);
}

void vd_notes_done(vd_notes *notes)
{
    vd_buf_done(&notes->text);
}

void vd_note(vd_notes *notes, const char *fmt, ...)
{
    char line[NOTE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    for (char *at = strchr(line, '\n'); at != NULL; at = strchr(at, '\n'))
        *at = ' '; /* of a name: a line is a note */
    vd_buf_printf(&notes->text, "%s\n", line);
}

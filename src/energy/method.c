/*
 * method.c - see method.h.
 *
 * Energy objects carry the method as a pointer that nobody frees, and outlive the meter. There are
 * few combinations in a process, so each is made once and kept.
 */
#include "energy/method.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum { METHODS_MAX = 64, METHOD_LENGTH = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by lock; a string never changes once it is there: */
static char methods[METHODS_MAX][METHOD_LENGTH];
static size_t n_methods;

static bool has_word(const char *list, const char *word, size_t n)
{
    for (const char *at = list; *at != '\0';) {
        size_t n_at = strcspn(at, "+");
        if (n_at == n && memcmp(at, word, n) == 0)
            return true;
        at += n_at + (at[n_at] == '+');
    }
    return false;
}

/* Appends the words of `list` that are not there yet: "model" only, or all but "model". */
static void add_words(char text[METHOD_LENGTH], const char *list, bool model)
{
    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, "+"), length = strlen(text);
        bool is_model = n == 5 && memcmp(at, "model", 5) == 0;
        if (n > 0 && is_model == model && !has_word(text, at, n))
            snprintf(text + length, METHOD_LENGTH - length, "%s%.*s", length > 0 ? "+" : "", (int)n,
                     at);
        at += n + (at[n] == '+');
    }
}

/* The kept copy of `text`; NULL when there are more combinations than any machine has. */
static const char *keep(const char *text)
{
    const char *kept = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_methods && kept == NULL; i++)
        if (strcmp(methods[i], text) == 0)
            kept = methods[i];
    if (kept == NULL && n_methods < METHODS_MAX) {
        memcpy(methods[n_methods], text, METHOD_LENGTH);
        kept = methods[n_methods++];
    }
    pthread_mutex_unlock(&lock);
    return kept;
}

const char *vd_method_join(const char *a, const char *b)
{
    if (a == NULL || b == NULL || strcmp(a, b) == 0)
        return a != NULL ? a : b != NULL ? b : "";
    char text[METHOD_LENGTH] = "";
    for (int model = 0; model < 2; model++) {
        add_words(text, a, model != 0);
        add_words(text, b, model != 0);
    }
    if (strcmp(text, a) == 0)
        return a;
    if (strcmp(text, b) == 0)
        return b;
    const char *kept = keep(text);
    return kept != NULL ? kept : a;
}

/* sanitizer.h - whether a test runs under a sanitizer, where it takes about ten times as long: what
 * it repeats for things a sanitizer does not look at (statistics, equal answers, times), it repeats
 * less there. */
#ifndef TESTS_SANITIZER_H
#define TESTS_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* gcc's names */
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#ifdef __SANITIZE_THREAD__
enum { SANITIZED_THREADS = 1 };
#else
enum { SANITIZED_THREADS = 0 };
#endif

#endif

/*
 * method.h - one word for how energy was measured, of several sources: "rapl+nvml". Any thread.
 */
#ifndef VD_ENERGY_METHOD_H
#define VD_ENERGY_METHOD_H

/* The words of both, each once, in the order a then b but "model" last; NULL counts as "".
 * Static storage: a and b must be static as well, and so is what is returned. */
const char *vd_method_join(const char *a, const char *b);

#endif

/* Functions of a library that is opened at run time, by name.
 *
 * Not for use from two threads with the same table of slots at once. */
#ifndef VOICECORE_FUNCTIONS_H
#define VOICECORE_FUNCTIONS_H

#include <stddef.h>

typedef struct {
    const char *name;
    void *slot; /* of a pointer to the function */
} vc_function;

/* Opens `path` with dlopen's `flags` and fills the slots of `wanted`. 0: the library then stays
 * loaded for the life of the process; -1: it is closed again, and `why` says what is missing
 * (always terminated). */
int vc_functions_load(const char *path, int flags, const vc_function *wanted, size_t count,
                      char *why, size_t capacity);

/* Flags for a library of which somebody else's copy may be loaded, too: DEEPBIND makes ours call
 * itself even then. The address sanitizer can't work with it. */
#ifdef VOICECORE_ASAN
#define VC_OWN_COPY (RTLD_NOW | RTLD_LOCAL)
#else
#define VC_OWN_COPY (RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)
#endif

#endif

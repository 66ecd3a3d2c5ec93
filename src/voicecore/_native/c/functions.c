#include "functions.h"

#include <dlfcn.h>
#include <stdio.h>

int vc_functions_load(const char *path, int flags, const vc_function *wanted, size_t count,
                      char *why, size_t capacity)
{
    void *library = dlopen(path, flags);

    if (library == NULL) {
        const char *reason = dlerror();
        snprintf(why, capacity, "%s", reason ? reason : "it is not loaded");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(library, wanted[i].name);
        if (address == NULL) {
            snprintf(why, capacity, "it has no function %s", wanted[i].name);
            dlclose(library);
            return -1;
        }
        *(void **)wanted[i].slot = address;
    }
    return 0;
}

/* Preloaded (LD_PRELOAD): counts how often a thread, and all of them together, ask the C library
 * for memory.
 *
 * glibc's allocator stays what serves it, by the names under which glibc exports it besides. */
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static __thread long count;
static long total;

/* Requests of this thread so far, and of all threads. */
long allocations(void) { return count; }
long allocations_of_all(void) { return __atomic_load_n(&total, __ATOMIC_RELAXED); }

static void count_one(void) {
    count++;
    __atomic_fetch_add(&total, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t n) {
    count_one();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    count_one();
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t n) {
    count_one();
    return __libc_realloc(old, n);
}

void *memalign(size_t alignment, size_t n) {
    count_one();
    return __libc_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
    count_one();
    return __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
    count_one();
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}

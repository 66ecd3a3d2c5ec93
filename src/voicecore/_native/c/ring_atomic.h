/* Publishing a ring's positions between one writer and its readers (C11 memory order, by the
 * compiler's builtins so that plain int64_t fields of a Cython class can be used). */
#ifndef VOICECORE_RING_ATOMIC_H
#define VOICECORE_RING_ATOMIC_H

#include <stdint.h>

/* What was stored before `value` was published is visible after this. */
static inline int64_t vc_acquire(const int64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_ACQUIRE);
}

/* Publishes all stores before it together with `value`. */
static inline void vc_publish(int64_t *place, int64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* Announces stores that follow: none of them becomes visible before `value`. */
static inline void vc_announce(int64_t *place, int64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Reads an announcement after the loads that came before this call. */
static inline int64_t vc_announced(const int64_t *place)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

#endif

# Shared by the Python-facing side of every kernel: borrowing the caller's arrays, making new
# ones, and letting one caller at a time into an object.
#
# Arrays are made and read through NumPy's C interface (five times cheaper than its Python
# one); anything else with a buffer is taken by the buffer protocol.  Every function here needs
# the GIL.

from libc.stdint cimport int16_t

# Borrows `array` (1-D, C-contiguous, native int16 or float32) into `view`; the caller gives
# it back with PyBuffer_Release.  Returns the number of elements.  Raises TypeError, naming
# `what`, for anything else.
cdef Py_ssize_t borrow_int16(object array, Py_buffer* view, str what) except -1
cdef Py_ssize_t borrow_float32(object array, Py_buffer* view, str what) except -1

# Borrows any contiguous bytes-like object; returns its length in bytes.
cdef Py_ssize_t borrow_bytes(object data, Py_buffer* view, str what) except -1

# A fresh uninitialised NumPy array of n elements.
cdef object empty_int16(Py_ssize_t n)
cdef object empty_float32(Py_ssize_t n)

# A read-only array over n samples at `data`, memory that `owner` keeps alive.
cdef object view_int16(object owner, const int16_t* data, Py_ssize_t n)

# Data pointer of a fresh array; valid while the array lives.
cdef void* address(object array) noexcept

# Sets the busy flag of an object, or raises MisuseError if another thread is inside.  The
# GIL makes test-and-set one step.  Clear the flag in a `finally`.
cdef int enter(int* busy) except -1

# Address of a caller's own array for n results: an ndarray, 1-D, C-contiguous, writable, of
# this type and exactly n long, or TypeError/MisuseError.  The caller keeps it alive.
cdef int16_t* target_int16(object out, Py_ssize_t n) except NULL
cdef float* target_float32(object out, Py_ssize_t n) except NULL

# The same for an array of any length, which is stored in n.
cdef int16_t* whole_int16(object out, Py_ssize_t* n) except NULL

# Raises MisuseError if `out` shares memory with an input.
cdef int keep_apart(const void* a, Py_ssize_t a_bytes, const void* out,
                    Py_ssize_t out_bytes) except -1

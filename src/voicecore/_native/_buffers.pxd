# Borrowing the caller's arrays and making new ones, for the Python-facing side of kernels.
#
# Plain buffer protocol: no NumPy headers are needed to build, and a borrow costs less than
# a typed memoryview.  Every function here needs the GIL.

from cpython.buffer cimport (PyBUF_ANY_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE,
                             PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)

# Borrows `array` (1-D, C-contiguous, element format `kind`: b'h' int16, b'f' float32) into
# `view`; the caller releases it with PyBuffer_Release.  Raises TypeError for another type or
# layout, naming `what`.
cdef int borrow(object array, char kind, Py_buffer* view, str what) except -1

# Returns its data pointer; the array outlives the pointer's use.
cdef void* address(object array) except NULL

cdef object empty_int16(Py_ssize_t n)
cdef object empty_float32(Py_ssize_t n)

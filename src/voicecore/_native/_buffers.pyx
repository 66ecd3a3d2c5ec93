"""Borrowing arrays, making arrays, and one caller at a time: shared by all kernels."""

from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int16_t

cimport numpy as cnp

from voicecore.errors import MisuseError

cdef extern from *:
    """
    static inline void vc_disown(Py_buffer *view) { view->obj = NULL; }
    """
    # Cython takes the field for an object that must be there.
    void vc_disown(Py_buffer* view) noexcept

cnp.import_array()


cdef inline bint _is_plain(object array, int kind) noexcept:
    # A 1-D contiguous ndarray of this type in native byte order, readable without the buffer
    # protocol (which costs NumPy a hundred nanoseconds a time).
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == kind
            and cnp.PyArray_NDIM(array) == 1 and cnp.PyArray_ISCARRAY_RO(array))


cdef inline Py_ssize_t _lend(object array, Py_buffer* view, Py_ssize_t itemsize) noexcept:
    # Without an owner: PyBuffer_Release then does nothing, and the caller's argument keeps
    # the array alive.
    vc_disown(view)
    view.buf = cnp.PyArray_DATA(array)
    view.itemsize = itemsize
    view.len = cnp.PyArray_DIM(array, 0) * itemsize
    return cnp.PyArray_DIM(array, 0)


cdef Py_ssize_t _borrow(object array, Py_buffer* view, char kind, str wanted,
                        str what) except -1:
    cdef const char* code
    try:
        PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    except (TypeError, ValueError, BufferError):
        raise TypeError(f"{what} must be a contiguous 1-D {wanted} array, "
                        f"got {type(array).__name__}") from None
    code = view.format
    if code != NULL and code[0] in b"<=@":    # the builds are little-endian
        code += 1
    if code == NULL or code[0] != kind or code[1] != 0 or view.ndim != 1:
        PyBuffer_Release(view)
        raise TypeError(f"{what} must be a contiguous 1-D {wanted} array, got "
                        f"{getattr(array, 'dtype', type(array).__name__)} with "
                        f"{getattr(array, 'ndim', 'other')} dimension(s)")
    return view.len // view.itemsize


cdef Py_ssize_t borrow_int16(object array, Py_buffer* view, str what) except -1:
    if _is_plain(array, cnp.NPY_INT16):
        return _lend(array, view, 2)
    return _borrow(array, view, c"h", "int16", what)


cdef Py_ssize_t borrow_float32(object array, Py_buffer* view, str what) except -1:
    if _is_plain(array, cnp.NPY_FLOAT32):
        return _lend(array, view, 4)
    return _borrow(array, view, c"f", "float32", what)


cdef Py_ssize_t borrow_bytes(object data, Py_buffer* view, str what) except -1:
    if PyBytes_CheckExact(data):    # immutable: nothing to lock
        vc_disown(view)
        view.buf = PyBytes_AS_STRING(data)
        view.itemsize = 1
        view.len = PyBytes_GET_SIZE(data)
        return view.len
    try:
        PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except (TypeError, ValueError, BufferError):
        raise TypeError(f"{what} must be bytes, got {type(data).__name__}") from None
    return view.len


cdef object empty_int16(Py_ssize_t n):
    cdef cnp.npy_intp length = n
    return cnp.PyArray_SimpleNew(1, &length, cnp.NPY_INT16)


cdef object empty_float32(Py_ssize_t n):
    cdef cnp.npy_intp length = n
    return cnp.PyArray_SimpleNew(1, &length, cnp.NPY_FLOAT32)


cdef object view_int16(object owner, const int16_t* data, Py_ssize_t n):
    cdef cnp.npy_intp length = n
    array = cnp.PyArray_New(cnp.ndarray, 1, &length, cnp.NPY_INT16, NULL, <void*>data, 0,
                            cnp.NPY_ARRAY_CARRAY_RO, None)
    Py_INCREF(owner)    # the array's now
    cnp.PyArray_SetBaseObject(array, owner)
    return array


cdef int _refuse_target(object out, str wanted) except -1:
    raise TypeError(f"out must be a contiguous, writable 1-D {wanted} array, got "
                    f"{getattr(out, 'dtype', type(out).__name__)} with "
                    f"{getattr(out, 'ndim', 'other')} dimension(s)")


cdef inline void* _target(object out, Py_ssize_t n, int kind, str wanted) except NULL:
    if not (_is_plain(out, kind) and cnp.PyArray_ISWRITEABLE(out)):
        _refuse_target(out, wanted)
    if cnp.PyArray_DIM(out, 0) != n:
        raise MisuseError(f"out must have {n} samples, it has {cnp.PyArray_DIM(out, 0)}")
    return cnp.PyArray_DATA(out)


cdef int16_t* target_int16(object out, Py_ssize_t n) except NULL:
    return <int16_t*>_target(out, n, cnp.NPY_INT16, "int16")


cdef float* target_float32(object out, Py_ssize_t n) except NULL:
    return <float*>_target(out, n, cnp.NPY_FLOAT32, "float32")


cdef int16_t* whole_int16(object out, Py_ssize_t* n) except NULL:
    if not (_is_plain(out, cnp.NPY_INT16) and cnp.PyArray_ISWRITEABLE(out)):
        _refuse_target(out, "int16")
    n[0] = cnp.PyArray_DIM(out, 0)
    return <int16_t*>cnp.PyArray_DATA(out)


cdef int keep_apart(const void* a, Py_ssize_t a_bytes, const void* out,
                    Py_ssize_t out_bytes) except -1:
    if (<const char*>a < <const char*>out + out_bytes
            and <const char*>out < <const char*>a + a_bytes):
        raise MisuseError("out shares memory with an input")
    return 0


cdef void* address(object array) noexcept:
    return cnp.PyArray_DATA(array)


cdef int enter(int* busy) except -1:
    if busy[0]:
        raise MisuseError("the object is in use by another thread; it has one owner at a time",
                          code="in_use")
    busy[0] = 1
    return 0

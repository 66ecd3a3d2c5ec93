"""Borrowing arrays, making arrays, and one caller at a time: shared by all kernels."""

from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE,
                             PyBuffer_Release, PyObject_GetBuffer)
from cpython.object cimport PyObject

from numpy import dtype as _dtype
from numpy import empty as _empty
from numpy import float32 as _float32_type
from numpy import int16 as _int16_type
from numpy import ndarray as _ndarray

from voicecore.errors import MisuseError

cdef extern from "ndarray_head.h":
    int VC_NDARRAY_C_CONTIGUOUS
    int VC_NDARRAY_ALIGNED
    ctypedef struct vc_ndarray:
        void* data
        int nd
        Py_ssize_t* dimensions
        Py_ssize_t* strides
        PyObject* descr
        int flags
    # The caller's argument keeps the array alive during the call.
    Py_ssize_t vc_lend(object array, Py_buffer* view, Py_ssize_t itemsize) noexcept

cdef object _int16 = _dtype(_int16_type)
cdef object _float32 = _dtype(_float32_type)


cdef bint _layout_is_known():
    # Whether an array's head holds what Python says of the array.
    cdef vc_ndarray* head
    probe = _empty(3, _int16)
    head = <vc_ndarray*><PyObject*>probe
    # The pointers are looked into only once the fields before them proved right.
    return (<size_t>head.data == <size_t>probe.ctypes.data and head.nd == 1
            and head.descr == <PyObject*>_int16
            and head.dimensions[0] == 3 and head.strides[0] == 2
            and head.flags & VC_NDARRAY_C_CONTIGUOUS != 0
            and head.flags & VC_NDARRAY_ALIGNED != 0)


cdef bint _direct = _layout_is_known()


cdef inline bint _is_plain(object array, object dtype):
    # A 1-D contiguous ndarray of exactly this dtype, readable without the buffer protocol
    # (which costs NumPy a hundred nanoseconds a time).
    cdef vc_ndarray* head = <vc_ndarray*><PyObject*>array
    cdef int wanted = VC_NDARRAY_C_CONTIGUOUS | VC_NDARRAY_ALIGNED
    return (_direct and type(array) is _ndarray and head.nd == 1
            and head.descr == <PyObject*>dtype and head.flags & wanted == wanted)


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
    if _is_plain(array, _int16):
        return vc_lend(array, view, 2)
    return _borrow(array, view, c"h", "int16", what)


cdef Py_ssize_t borrow_float32(object array, Py_buffer* view, str what) except -1:
    if _is_plain(array, _float32):
        return vc_lend(array, view, 4)
    return _borrow(array, view, c"f", "float32", what)


cdef Py_ssize_t borrow_bytes(object data, Py_buffer* view, str what) except -1:
    try:
        PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except (TypeError, ValueError, BufferError):
        raise TypeError(f"{what} must be bytes, got {type(data).__name__}") from None
    return view.len


cdef object empty_int16(Py_ssize_t n):
    return _empty(n, _int16)


cdef object empty_float32(Py_ssize_t n):
    return _empty(n, _float32)


cdef void* address(object array) except NULL:
    cdef Py_buffer view
    cdef void* pointer
    if _direct:
        return (<vc_ndarray*><PyObject*>array).data
    PyObject_GetBuffer(array, &view, PyBUF_WRITABLE)
    pointer = view.buf
    PyBuffer_Release(&view)
    return pointer


cdef int enter(int* busy) except -1:
    if busy[0]:
        raise MisuseError("the object is in use by another thread; it has one owner at a time",
                          code="in_use")
    busy[0] = 1
    return 0

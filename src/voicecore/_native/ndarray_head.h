/* The public head of NumPy's array object, whose layout is part of NumPy's ABI and the same in
 * 1.x and 2.x.  Declared here so that building needs no NumPy; _buffers.pyx compares it with
 * a real array when it is imported, and does without it if anything differs. */
#ifndef VOICECORE_NDARRAY_HEAD_H
#define VOICECORE_NDARRAY_HEAD_H

#include <Python.h>

#define VC_NDARRAY_C_CONTIGUOUS 0x0001
#define VC_NDARRAY_ALIGNED 0x0100

typedef struct {
    PyObject_HEAD
    void *data;
    int nd;
    Py_ssize_t *dimensions;
    Py_ssize_t *strides;
    PyObject *base;
    PyObject *descr;
    int flags;
} vc_ndarray;

/* Fills `view` without an owner: PyBuffer_Release then does nothing, and whoever holds the
 * array must keep it alive.  Returns the number of elements. */
static inline Py_ssize_t vc_lend(PyObject *array, Py_buffer *view, Py_ssize_t itemsize)
{
    const vc_ndarray *head = (const vc_ndarray *)array;

    view->obj = NULL;
    view->buf = head->data;
    view->itemsize = itemsize;
    view->len = head->dimensions[0] * itemsize;
    return head->dimensions[0];
}

#endif

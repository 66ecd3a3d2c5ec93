"""Kernels in Cython and C that release the GIL. Importable alone: numpy is enough."""

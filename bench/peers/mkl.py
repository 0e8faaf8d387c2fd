"""oneMKL: mkl_sparse_s_svd through ctypes, Krylov-Schur (its own OpenMP threads, hence a process of its own).

The prototypes are those of mkl_spblas.h and mkl_solvers_ee.h with 32-bit integers (the default of libmkl_rt).
"""

import ctypes
import importlib.metadata

import numpy as np

from ..case import Answer, Method, Unavailable

ZERO_BASED = 0
TOLERANCE_DIGITS, ALGORITHM, KRYLOV_SCHUR = 1, 2, 1  # pm[1]: 10^-pm[1]; pm[2] = 1


class MatrixDescription(ctypes.Structure):
    """struct matrix_descr: a general matrix."""

    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diag", ctypes.c_int)]


GENERAL = MatrixDescription(20, 0, 50)  # SPARSE_MATRIX_TYPE_GENERAL, mode unused, SPARSE_DIAG_NON_UNIT


def library() -> ctypes.CDLL:
    for file in importlib.metadata.files("mkl") or ():
        if file.name.startswith(("libmkl_rt.so", "mkl_rt.")):
            return ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
    raise Unavailable("libmkl_rt is not in the mkl package")


def _check(status: int, what: str):
    if status == 2:  # SPARSE_STATUS_ALLOC_FAILED
        raise MemoryError
    if status:
        raise RuntimeError(f"{what} returned {status}")


def prepare(data):
    """The library and a handle of the matrix, whose arrays it refers to."""
    mkl, C = library(), data["a"]
    arrays = [np.ascontiguousarray(C.indptr, np.int32), np.ascontiguousarray(C.indices, np.int32), C.data]
    starts, columns, values = (array.ctypes.data for array in arrays)
    handle = ctypes.c_void_p()
    _check(
        mkl.mkl_sparse_s_create_csr(
            ctypes.byref(handle), ZERO_BASED, *C.shape, ctypes.c_void_p(starts), ctypes.c_void_p(starts + 4),
            ctypes.c_void_p(columns), ctypes.c_void_p(values),
        ),
        "mkl_sparse_s_create_csr",
    )  # fmt: skip
    return {"mkl": mkl, "handle": handle, "arrays": arrays, "shape": C.shape, "k": data["k"]}


def svd(state, digits):
    mkl, k, (n, m) = state["mkl"], state["k"], state["shape"]
    options = (ctypes.c_int * 128)()
    _check(mkl.mkl_sparse_ee_init(options), "mkl_sparse_ee_init")
    options[TOLERANCE_DIGITS], options[ALGORITHM] = digits, KRYLOV_SCHUR
    found = ctypes.c_int()
    s, left, right, residuals = (np.zeros(size, np.float32) for size in (k, n * k, m * k, k))
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (s, left, right, residuals)]
    status = mkl.mkl_sparse_s_svd(
        ctypes.c_char_p(b"L"),
        ctypes.c_char_p(b"R"),
        options,
        state["handle"],
        GENERAL,
        k,
        ctypes.byref(found),
        *pointers,
    )
    _check(status, "mkl_sparse_s_svd")
    return Answer(np.sort(s[: found.value])[::-1], {"found": found.value})


METHODS = [
    Method("oneMKL mkl_sparse_s_svd", "mkl", "sparse_svd", svd, (1, 2, 3, 4, 5, 6), prepare=prepare, isolated=True)
]

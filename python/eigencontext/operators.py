"""Operators: a shape and a product with a block of vectors from either side; never necessarily a stored matrix.

Every operator here is a `scipy.sparse.linalg.LinearOperator`, so that SciPy's own solvers take it too; the engine
reaches the compiled product below it without passing through Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse.linalg import LinearOperator

from . import _device
from ._arguments import (
    available_memory,
    check_choice,
    check_finite,
    check_flag,
    check_integer,
    check_memory,
    check_number,
    is_sparse,
    numpy_of,
    output_like,
    real_array,
    real_dtype,
    sparse_array,
    vector,
)

__all__ = ["Operator", "as_operator", "kernel"]

Kernel = Literal["rbf", "laplacian", "cosine", "polynomial"]
KERNELS: tuple[str, ...] = get_args(Kernel)
_SHARE = 0.75  # of a device's free memory that a dense array may take
ORIGIN_ROWS = 101  # rows whose median is the origin
MEDIAN_ROWS = 1000  # rows whose pairwise distances the "median" bandwidth looks at


def __dir__() -> list[str]:
    return list(__all__)


class Operator(LinearOperator):
    """An n x m operator of the engine.

    It is made by the functions of this module and by the contexts, not by hand. It keeps how it was made (a name and
    its arguments), which is what pickling and `astype` rebuild it from.

    Attributes
    ----------
    shape : (n, m)
    dtype : float32 or float64
    symmetric : bool
        Whether it is known to equal its transpose.
    device : "cpu" or "cuda"
        Where its arrays are, and the blocks that it multiplies.
    """

    def __init__(self, recipe: str, arguments: tuple, dtype, symmetric: bool | None = None):
        dtype = np.dtype(dtype)
        self._recipe = (recipe, arguments, dtype, symmetric)
        self.device = _device_of(recipe, arguments)
        self._engine = _BUILDERS[recipe](_device.engine(self.device), dtype, *arguments)
        n, m = self._engine.shape
        super().__init__(dtype, (int(n), int(m)))
        self.symmetric = bool(self._engine.symmetric if symmetric is None else symmetric)
        if self.device == "cuda":  # other threads, on streams of their own, may multiply by it
            _device.engine("cuda").synchronize()

    def __reduce__(self):
        recipe, arguments, dtype, symmetric = self._recipe
        extra = {key: value for key, value in self.__dict__.items() if key in ("bandwidth",)}
        return _rebuild, (type(self), recipe, arguments, dtype.name, symmetric, extra)

    def __repr__(self):
        return f"<{self.shape[0]}x{self.shape[1]} eigencontext operator ({self._recipe[0]}), {self.dtype}>"

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self  # never changes after it is made

    def astype(self, dtype) -> Operator:
        """The same operator computing in float32 or float64."""
        dtype = real_dtype(dtype, "dtype")
        if dtype == self.dtype:
            return self
        recipe, arguments, _, symmetric = self._recipe
        other = Operator(recipe, arguments, dtype, symmetric)
        if hasattr(self, "bandwidth"):
            other.bandwidth = self.bandwidth
        return other

    def to(self, device: str) -> Operator:
        """The same operator on "cpu" or "cuda"; arrays are copied to the device, never back.

        A dense array of more than three quarters of the device's free memory stays where it is, memory-mapped ones too:
        every product copies its rows to the device, 32 MiB at a time, while the device works on those before.
        """
        if check_choice(device, "device", _device.DEVICES) == self.device:
            return self
        if device == "cpu":
            raise ValueError("device: got 'cpu' for an operator on a CUDA device; allowed: 'cuda'")
        return moved(self)

    def output(self, a: Any = None) -> Callable[[Any], Any]:
        """How results of the engine become arrays of the kind of `a`, or of the operator's own arrays on a device."""
        if self.device == "cpu":
            return output_like(a)
        recipe, arguments, _, _ = self._recipe
        if recipe in _ARRAYS:
            return _device.output_like(arguments[0])
        if recipe == "streamed":
            return _device.output_like(arguments[0] if arguments[2] is None else arguments[2])
        return next(_parts(self)).output()

    def cost(self, b: int = 1) -> dict:
        """Flops, bytes of the operator's data and bytes of workspace of one product with `b` vectors."""
        return self._engine.cost(check_integer(b, "b", 1))

    # -- products give the kind of array that comes in

    def dot(self, x):
        if _device.is_on_device(x):
            return self._on_device(x, False)
        return output_like(x)(super().dot(numpy_of(x, "x")))

    def matvec(self, x):
        if _device.is_on_device(x):
            return self._on_device(x, False)
        return output_like(x)(super().matvec(numpy_of(x, "x")))

    def rmatvec(self, x):
        if _device.is_on_device(x):
            return self._on_device(x, True)
        return output_like(x)(super().rmatvec(numpy_of(x, "x")))

    def matmat(self, X):
        if _device.is_on_device(X):
            return self._on_device(X, False)
        return output_like(X)(super().matmat(numpy_of(X, "X")))

    def rmatmat(self, X):
        if _device.is_on_device(X):
            return self._on_device(X, True)
        return output_like(X)(super().rmatmat(numpy_of(X, "X")))

    def _on_device(self, X, transposed: bool):
        _device.one_device({self.device, "cuda"}, "a product")
        multiply = self._engine.rmatmat if transposed else self._engine.matmat
        return _device.output_like(X)(multiply(_device.converted(_device.matrix(X, "X"), self.dtype)))

    def on_host(self, X: np.ndarray, transposed: bool = False) -> np.ndarray:
        """The product with a block of NumPy and as one, wherever the operator is."""
        if self.device == "cpu":
            return self.rmatmat(X) if transposed else self.matmat(X)
        return self._on_device(_device.Moved(np.ascontiguousarray(X, dtype=self.dtype)), transposed)

    # -- LinearOperator's methods check shapes and end here

    def _matmat(self, X):
        return self._product(self._engine.matmat, X, self.shape[0])

    def _rmatmat(self, X):
        return self._product(self._engine.rmatmat, X, self.shape[1])

    def _matvec(self, x):
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]

    def _rmatvec(self, x):
        return self._rmatmat(np.reshape(x, (-1, 1)))[:, 0]

    def _product(self, multiply, X, rows):
        _device.one_device({self.device, "cpu"}, "a product")
        X = np.asarray(X)
        if X.dtype.kind == "c":
            return self._product(multiply, X.real, rows) + 1j * self._product(multiply, X.imag, rows)
        if X.shape[1] == 0:
            return np.zeros((rows, 0), self.dtype)
        return multiply(np.ascontiguousarray(real_array(X, "X", 2, self.dtype)))

    def _adjoint(self):
        return transposed(self)

    def _transpose(self):
        return transposed(self)

    # -- algebra stays inside the engine where both sides are ours

    def __matmul__(self, other):
        if isinstance(other, Operator):
            return product(self, other)
        return super().__matmul__(other)

    def __mul__(self, other):
        if isinstance(other, Operator):
            return product(self, other)
        if np.isscalar(other) and not isinstance(other, (complex, np.complexfloating)):
            return weighted_sum([self], [other])
        return super().__mul__(other)

    def __rmul__(self, other):
        if np.isscalar(other) and not isinstance(other, (complex, np.complexfloating)):
            return weighted_sum([self], [other])
        return super().__rmul__(other)

    def __add__(self, other):
        if isinstance(other, Operator):
            return weighted_sum([self, other], [1.0, 1.0])
        return super().__add__(other)

    def __sub__(self, other):
        if isinstance(other, Operator):
            return weighted_sum([self, other], [1.0, -1.0])
        return super().__sub__(other)

    def __neg__(self):
        return weighted_sum([self], [-1.0])


def moved(op: Operator, like: Any = None, *, stream: bool | None = None) -> Operator:
    """`op` on the CUDA device; its results are of the kind of `like`, an array there, or NumPy's. Dense arrays stay in
    the host's memory where they do not fit (`stream`: in any case or never), and visit the device a group of rows at a
    time."""
    recipe, arguments, dtype, symmetric = op._recipe
    if op.device == "cuda":
        return op
    if recipe == "callback":
        raise ValueError(
            "device: got 'cuda' for an operator of functions; allowed: operators of arrays (dense, sparse, kernels, "
            "contexts)"
        )

    if recipe == "dense":
        if arguments[0].nbytes > _SHARE * _device.engine("cuda").free_memory() if stream is None else stream:
            return Operator("streamed", (*arguments, like), dtype, symmetric)

    def there(part):
        if isinstance(part, Operator):
            return moved(part, like, stream=stream)
        return tuple(there(item) for item in part) if isinstance(part, tuple) else part

    count = _ARRAYS.get(recipe, 0)
    arrays = (array if array is None else _device.Moved(array, like) for array in arguments[:count])
    rest = tuple(there(argument) for argument in arguments[count:])
    if recipe in _TILED:
        rest = rest[: _TILED[recipe] - count]  # tiles are not kept there
    return Operator(recipe, (*arrays, *rest), dtype, symmetric)


def streams(op: Operator) -> bool:
    """Whether rows of an array of the host visit the device in every product."""
    return _has_part(op, "streamed")


def can_stream(op: Operator) -> bool:
    """Whether the rows of a part of it could."""
    return _has_part(op, "dense")


def _has_part(op: Operator, recipe: str) -> bool:
    return op._recipe[0] == recipe or any(_has_part(part, recipe) for part in _parts(op))


def as_operator(a, argument: str = "a", max_memory=None, *, symmetric: bool = False, finite: bool = True) -> Operator:
    """Anything that can multiply a block of vectors from both sides, as an `Operator`.

    Parameters
    ----------
    a : (n, m) array-like, scipy.sparse matrix or array, LinearOperator, Operator, or any object with `shape`, `matmat`
        and `rmatmat`
        Dense arrays of float32 and float64 and canonical CSR matrices are used where they are, whatever their strides.
    argument : str
        What the caller's argument is called, for messages.
    max_memory : int, optional
        Bytes. A sparse matrix keeps a transposed copy if that fits (None: if it takes less than a quarter of the
        memory available).
    symmetric : bool
        A promise that `a` equals its transpose: of an object with products, `matmat` is then enough.
    finite : bool
        Search a dense array for NaN and inf; without it the first product finds them (see `require_finite`).

    Returns
    -------
    Operator

    Raises
    ------
    TypeError
        Complex, object or text dtype; a context (use its `.operator`); something without products.
    ValueError
        NaN or inf, not two axes, an axis of length 0.
    """
    max_memory = check_memory(max_memory)
    if isinstance(a, Operator):
        return a
    if hasattr(a, "operator") and hasattr(a, "conditional"):
        raise TypeError(f"{argument}: got a context; use ec.spectrum(ctx, k), or pass ctx.operator for its matrix")
    if _device.is_on_device(a):
        a = _device.matrix(a, argument)
        return Operator("dense", (a, symmetric), _device.dtype_of(a))
    if _device.is_on_device(getattr(a, "indptr", None)):
        return _sparse_on_device(a, argument, symmetric)
    if is_sparse(a):
        return sparse(a, argument, symmetric=symmetric, max_memory=max_memory)
    if isinstance(a, LinearOperator) or (hasattr(a, "matmat") and hasattr(a, "shape")):
        return _from_products(a, argument, symmetric)
    return dense(a, argument, symmetric=symmetric, finite=finite)


def dense(a, argument: str = "a", *, symmetric: bool = False, dtype=None, finite: bool = True) -> Operator:
    """The operator of a dense array, used where it is. (n, m)."""
    a = real_array(a, argument, 2, dtype, finite=finite)
    return Operator("dense", (a, symmetric), a.dtype)


def require_finite(op: Operator, argument: str = "a") -> None:
    """ValueError naming the first NaN or inf of a dense operator's array."""
    if op._recipe[0] == "streamed" or (op._recipe[0] == "dense" and op.device == "cpu"):
        check_finite(op._recipe[1][0], argument)


def sparse(C, argument: str = "C", *, symmetric: bool = False, max_memory=None, dtype=None) -> Operator:
    """The operator of a scipy.sparse matrix of any format, (n, m), kept as CSR.

    The transposed product is fastest from a transposed copy, made in bands of rows where the matrix is tall: at most
    nnz (itemsize + index bytes) + (max(m, nnz / 16) + 1) index bytes. It is kept if it fits into `max_memory`, or by
    default into a quarter of the memory available. Neither a symmetric matrix needs it nor a row of one entry each.
    """
    C = sparse_array(C, argument, dtype)
    limit = max_memory if max_memory is not None else available_memory() // 4
    copy = not symmetric and transposed_copy_bytes(C.indptr, C.indices, C.data, C.shape) <= limit
    return Operator("csr", (C.indptr, C.indices, C.data, C.shape, copy, symmetric), C.dtype)


def transposed_copy_bytes(indptr, indices, data, shape) -> int:
    """What the transposed copy of a CSR matrix takes at most: its bands have no fewer than 16 entries a row."""
    return len(data) * (data.itemsize + indices.itemsize) + (max(shape[1], len(data) // 16) + 1) * indptr.itemsize


def _sparse_on_device(C, argument: str, symmetric: bool) -> Operator:
    """The operator of a CSR matrix whose three arrays are on the device (cupyx.scipy.sparse)."""
    if getattr(C, "format", "csr") != "csr":
        raise TypeError(f"{argument}: got format {C.format!r} on a CUDA device; allowed there: 'csr' (use .tocsr())")
    dtype = _device.dtype_of(C.data)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{argument}: got dtype {dtype} on a CUDA device; allowed there: float32, float64")
    if not _device.engine("cuda").all_finite(C.data):
        raise ValueError(f"{argument}: contains NaN or inf; allowed: finite numbers")
    return Operator("csr", (C.indptr, C.indices, C.data, tuple(C.shape), True, symmetric), dtype)


def pairwise(X, A, kernel: str, bandwidth: float = 1.0, degree: int = 3, coef0: float = 1.0) -> Operator:
    """The operator k(x_i, a_j) of arrays that are checked already; A=None is A = X, the symmetric operator."""
    dtypes = [_device.dtype_of(x) if _device.is_on_device(x) else x.dtype for x in (X, A) if x is not None]
    dtype = np.result_type(*dtypes)
    return Operator("pairwise", (X, A, kernel, float(bandwidth), int(degree), float(coef0)), dtype)


def sampled(score: str, arguments: tuple, rows, columns, dtype) -> Operator:
    """The operator exp(min(0, g_ij + rows_i + columns_j)) of a sampled context; None is all zeros.

    g is given by `score` and its arguments, which are checked already: "gaussian" (X, A, sigma), -|x - a|^2 / (2
    sigma^2); "matches" (codes of X, of A, weights), the sum of weights[f, x_f] over the features that are equal;
    "agreement" (codes of X, of A, visible), 0 where all visible features are equal, else -inf.
    """
    return Operator(score, (*arguments, rows, columns), dtype)


def log_sums_of_rows(op: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Of a sampled operator whose exponents may have any size: log sum_j exp(z_ij) and (sum_j e)^2 / sum_j e^2, e =
    exp(z_ij), (n,) each. One sweep of tiles."""
    return op._engine.log_sums_of_rows()


def log_sums_of_columns(op: Operator) -> np.ndarray:
    """log sum_i exp(z_ij), (m,)."""
    return op._engine.log_sums_of_columns()


def scaled(op: Operator, left=None, right=None) -> Operator:
    """diag(left) A diag(right); None is all ones."""
    left = None if left is None else vector(left, "left", op.shape[0])
    right = None if right is None else vector(right, "right", op.shape[1])
    same = op.symmetric and left is not None and right is not None and np.array_equal(left, right)
    return Operator("scaled", (op, left, right), op.dtype, same)


def deflated(op: Operator, u, v) -> Operator:
    """A - u v^T."""
    u, v = vector(u, "u", op.shape[0]), vector(v, "v", op.shape[1])
    same = op.symmetric and (np.array_equal(u, v) or np.array_equal(u, -v))
    return Operator("deflated", (op, u, v), op.dtype, same)


def product(left: Operator, right: Operator) -> Operator:
    """The operator left @ right."""
    if left.shape[1] != right.shape[0]:
        raise ValueError(f"product: got shapes {left.shape} and {right.shape}; allowed: equal inner sizes")
    return Operator("product", (left, right), np.result_type(left.dtype, right.dtype), False)


def stacked(ops, axis: int = 0) -> Operator:
    """Operators on top of one another (axis=0) or side by side (axis=1)."""
    ops = tuple(ops)
    if len({op.shape[1 - axis] for op in ops}) != 1:
        raise ValueError(f"stacked: got shapes {[op.shape for op in ops]}; allowed: one size along axis {1 - axis}")
    return Operator("stacked", (ops, int(axis)), np.result_type(*[op.dtype for op in ops]), False)


def weighted_sum(ops, weights) -> Operator:
    """sum_j weights[j] ops[j]."""
    ops = tuple(ops)
    weights = vector(weights, "weights", len(ops))
    if len({op.shape for op in ops}) != 1:
        raise ValueError(f"weighted_sum: got shapes {[op.shape for op in ops]}; allowed: one shape")
    dtype = np.result_type(*[op.dtype for op in ops])
    return Operator("weighted_sum", (ops, weights), dtype, all(op.symmetric for op in ops))


def transposed(op: Operator) -> Operator:
    """A^T (A itself where it is symmetric; of a transposed operator, the original)."""
    if op.symmetric:
        return op
    if op._recipe[0] == "transposed" and op._recipe[1][0].dtype == op.dtype:
        return op._recipe[1][0]
    return Operator("transposed", (op,), op.dtype)


#: the operators of the tile engine, and their arguments before the bytes of tiles that they keep
_TILED = {"pairwise": 6, "gaussian": 5, "matches": 5, "agreement": 5}


def tile_bytes(op: Operator) -> int:
    """Bytes of all the tiles below `op`: what its parts of the tile engine would take if they were stored."""
    own = 0
    if op._recipe[0] in _TILED and op.device == "cpu":
        n, m = op.shape
        own = (n * (n + 512) // 2 if op.symmetric else n * m) * op.dtype.itemsize
    return own + sum(tile_bytes(part) for part in _parts(op))


def keeping_tiles(op: Operator, budget: int) -> Operator:
    """The same operator, whose parts of the tile engine keep `budget` bytes of tiles, shared by their sizes."""
    everything = tile_bytes(op)
    if not everything or budget <= 0:
        return op

    def keeping(part):
        if not isinstance(part, Operator):
            return tuple(keeping(item) for item in part) if isinstance(part, tuple) else part
        recipe, arguments, dtype, symmetric = part._recipe
        if recipe in _TILED:
            arguments = (*arguments[: _TILED[recipe]], budget * tile_bytes(part) // everything)
        else:
            arguments = tuple(keeping(argument) for argument in arguments)
        return Operator(recipe, arguments, dtype, symmetric)

    return keeping(op)


def _parts(op: Operator):
    """The operators that `op` is put together from."""
    for argument in op._recipe[1]:
        for item in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(item, Operator):
                yield item


def kernel(
    X: Any,
    A: Any = None,
    kernel: Kernel = "rbf",
    bandwidth: float | str | None = "median",
    degree: int = 3,
    coef0: float = 1.0,
    centered: bool = False,
) -> Operator:
    """The n x m operator of raw kernel values k(x_i, a_j), computed a tile at a time and never stored.

    ==========  ======================================
    rbf         exp(-||x - a||^2 / (2 h^2))
    laplacian   exp(-||x - a||_1 / h)
    cosine      (1 + cos(x, a)) / 2; cos = 0 for a zero vector
    polynomial  max(0, x.a / d + coef0)^degree
    ==========  ======================================

    Parameters
    ----------
    X : (n, d) array-like
    A : (m, d) array-like, optional
        None is A = X: a symmetric operator, each tile of which is computed once.
    kernel : {"rbf", "laplacian", "cosine", "polynomial"}
    bandwidth : "median" or float
        h of rbf and laplacian; "median" is the median of the distance that the kernel uses (L2 or L1) over the pairs of
        min(n, 1000) rows of X. The other kernels have none and refuse a number.
    degree : int
        Of the polynomial kernel, at least 1.
    coef0 : float
        Of the polynomial kernel.
    centered : bool
        H K H, H = I - 11^T/n, as in kernel PCA (row and column means taken out; making it costs two products).

    Returns
    -------
    Operator
        A SciPy LinearOperator; `.bandwidth` is the h that was used (None where the kernel has none).

    Raises
    ------
    ValueError
        The median is 0 (at least half of the pairs coincide: give a number); NaN or inf; unequal numbers of columns.

    Notes
    -----
    Memory: the arrays given, one or two copies of the points, one tile a thread and, in a product with b vectors, two
    copies of the blocks at most (three of X and of Y in float32 where b <= 24).

    Examples
    --------
    >>> import numpy as np, eigencontext as ec
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> K = ec.operators.kernel(X, bandwidth=2.0)
    >>> np.round(K @ np.ones(3), 4)
    array([1.3862, 1.7358, 1.3862])
    """
    check_flag(centered, "centered")
    X, A, h, degree, coef0 = kernel_arguments(X, A, kernel, bandwidth, degree, coef0)
    K = pairwise(X, A, kernel, 1.0 if h is None else h, degree, coef0)
    if centered:
        K = _centered(K)
    K.bandwidth = h
    return K


def kernel_arguments(X, A, kernel, bandwidth, degree=3, coef0=1.0, *, seed: int = 0):
    """The checked (X, A, bandwidth, degree, coef0) of a kernel; bandwidth None where the kernel has none."""
    check_choice(kernel, "kernel", KERNELS)
    if isinstance(A, str):
        raise TypeError(f"A: got {A!r}; allowed: points, or None for X itself (a kernel is named by kernel={A!r})")
    if _device.is_on_device(X) or _device.is_on_device(A):
        return _kernel_arguments_on_device(X, A, kernel, bandwidth, degree, coef0, seed)
    X = real_array(X, "X", 2)
    if A is not None:
        A = real_array(A, "A", 2)
        if A.shape[1] != X.shape[1]:
            raise ValueError(f"A: got {A.shape[1]} columns; allowed: {X.shape[1]}, as X has")
        dtype = np.result_type(X.dtype, A.dtype)
        X, A = X.astype(dtype, copy=False), A.astype(dtype, copy=False)
    degree = check_integer(degree, "degree", 1)
    coef0 = check_number(coef0, "coef0")
    return X, A, check_bandwidth(bandwidth, X, kernel, seed), degree, coef0


def _kernel_arguments_on_device(X, A, kernel, bandwidth, degree, coef0, seed):
    given = [a for a in (X, A) if a is not None]
    _device.one_device({"cuda" if _device.is_on_device(a) else "cpu" for a in given}, "X, A")
    X, A = _device.matrix(X, "X"), None if A is None else _device.matrix(A, "A")
    if A is not None:
        columns, wanted = _device.shape_of(A)[1], _device.shape_of(X)[1]
        if columns != wanted:
            raise ValueError(f"A: got {columns} columns; allowed: {wanted}, as X has")
        dtype = np.result_type(_device.dtype_of(X), _device.dtype_of(A))
        X, A = _device.converted(X, dtype), _device.converted(A, dtype)
    looked_at = X
    if isinstance(bandwidth, str):  # the median of a few rows
        looked_at = _device.on_host(_device.engine("cuda").rows(X, _median_rows(_device.shape_of(X)[0], seed).tolist()))
    degree, coef0 = check_integer(degree, "degree", 1), check_number(coef0, "coef0")
    return X, A, check_bandwidth(bandwidth, looked_at, kernel, seed), degree, coef0


def _median_rows(n: int, seed: int) -> np.ndarray:
    if n <= MEDIAN_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MEDIAN_ROWS, replace=False))


def check_bandwidth(bandwidth, X, kernel: str, seed: int = 0) -> float | None:
    """The number h for a kernel on the rows of X; None where the kernel has no bandwidth."""
    if kernel in ("cosine", "polynomial"):
        if not (bandwidth is None or (isinstance(bandwidth, str) and bandwidth == "median")):
            raise ValueError(f"bandwidth: got {bandwidth!r}; allowed: none, the {kernel} kernel has no bandwidth")
        return None
    if isinstance(bandwidth, str):
        if bandwidth != "median":
            raise ValueError(f"bandwidth: got {bandwidth!r}; allowed: 'median' or a number > 0")
        return median_bandwidth(X, kernel, seed)
    return check_number(bandwidth, "bandwidth", 0, open_low=True)


def median_bandwidth(X, kernel: str, seed: int = 0, name: str = "X") -> float:
    """Median of the kernel's distance over the pairs i < j of min(n, 1000) seeded rows of X."""
    n = X.shape[0]
    if n < 2:
        raise ValueError(f"bandwidth: got 'median' for one row of {name}; allowed: a number > 0, or two rows")
    X = X[_median_rows(n, seed)]
    from scipy.spatial.distance import pdist

    h = float(np.median(pdist(np.asarray(X, np.float64), "cityblock" if kernel == "laplacian" else "euclidean")))
    if not (h > 0 and math.isfinite(h)):
        raise ValueError(f"bandwidth: got 'median', but the median distance in {name} is {h:g}; allowed: a number > 0")
    return h


def origin(X: np.ndarray) -> np.ndarray:
    """A point amid the rows: their median, which far outliers do not move away from the others (a mean far off would
    cost all of them their last digits). Of at most so many rows, evenly spaced."""
    some = X[:: -(-len(X) // ORIGIN_ROWS)]
    return np.median(some.astype(np.float64), axis=0)


def _centered(K: Operator) -> Operator:
    """H K H = K - 1 c^T - (r - g) 1^T with the column means c, the row means r and the mean g of all.

    Where K is symmetric the two terms are written as -u u^T + v v^T, which keeps it so: with d = c - g/2 and any t > 0,
    1 d^T + d 1^T = ((t 1 + d/t)(t 1 + d/t)^T - (t 1 - d/t)(t 1 - d/t)^T) / 2, and t^2 = max |d| balances them.
    """
    n, m = K.shape
    exact = K.astype(np.float64)  # means in float64: their error would not average out
    r = exact.on_host(np.ones((m, 1)))[:, 0] / m
    if K.symmetric:
        d = r - r.mean() / 2
        t = math.sqrt(max(np.abs(d).max(), np.finfo(float).tiny))
        u, v = (t + d / t) / math.sqrt(2), (t - d / t) / math.sqrt(2)
        return deflated(deflated(K, u, u), -v, v)
    c = exact.on_host(np.ones((n, 1)), transposed=True)[:, 0] / n
    return deflated(deflated(K, np.ones(n), c), r - r.mean(), np.ones(m))


class _Products:
    """The two functions through which the engine calls a user's operator; what they return is checked."""

    def __init__(self, a, shape, dtype, argument, symmetric):
        self.a, self.shape, self.dtype, self.argument, self.symmetric = a, shape, dtype, argument, symmetric

    def matmat(self, X):
        return self._checked(self.a.matmat(X), (self.shape[0], X.shape[1]), "matmat")

    def rmatmat(self, Y):
        if self.symmetric:
            return self.matmat(Y)
        try:
            result = self.a.rmatmat(Y)
        except (NotImplementedError, TypeError) as error:
            if not _lacks_adjoint(self.a):
                raise
            raise TypeError(
                f"{self.argument}: got a LinearOperator without rmatvec; allowed: one with products from both sides"
            ) from error
        return self._checked(result, (self.shape[1], Y.shape[1]), "rmatmat")

    def _checked(self, result, shape, method):
        name = f"{self.argument}.{method}"
        result = np.asarray(result)
        real_dtype(result.dtype, name)
        if result.shape != shape:
            raise ValueError(f"{name}: returned shape {result.shape}; allowed: {shape}")
        return np.ascontiguousarray(real_array(result, name, 2, self.dtype))


def _lacks_adjoint(a) -> bool:
    """Whether `a` is a LinearOperator made without rmatvec, which SciPy notices only when asked for a product."""
    if not isinstance(a, LinearOperator):
        return False
    try:
        a.rmatvec(np.zeros(a.shape[0]))
    except NotImplementedError:
        return True
    except Exception:
        return False
    return False


def _from_products(a, argument: str, symmetric: bool) -> Operator:
    for method in ("matmat",) if symmetric else ("matmat", "rmatmat"):
        if not callable(getattr(a, method, None)):
            raise TypeError(
                f"{argument}: got {type(a).__name__} without {method}; allowed: objects with shape, matmat and rmatmat"
            )
    try:
        n, m = (check_integer(size, f"{argument}.shape", 1) for size in a.shape)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{argument}.shape: got {a.shape!r}; allowed: two integers >= 1") from error
    given = getattr(a, "dtype", None)
    dtype = np.dtype(np.float64) if given is None else real_dtype(given, argument)
    return Operator("callback", (a, (n, m), argument, symmetric), dtype)


# -- how each kind is built in the engine; children are converted to the dtype of the whole ----------------------------


def _build_dense(core, dtype, a, symmetric):
    return core.dense(_device.converted(a, dtype), symmetric=symmetric)


def _build_streamed(core, dtype, a, symmetric, like):
    return core.streamed(_device.converted(a, dtype), symmetric=symmetric)


def _build_csr(core, dtype, indptr, indices, data, shape, transpose_copy, symmetric):
    data = _device.converted(data, dtype)
    return core.csr(indptr, indices, data, shape[0], shape[1], transpose_copy, symmetric=symmetric)


def _build_pairwise(core, dtype, X, A, kernel, bandwidth, degree, coef0, keep=0):
    A = None if A is None else _device.converted(A, dtype)
    return core.pairwise(_device.converted(X, dtype), A, kernel, bandwidth, degree, coef0, keep)


def _build_gaussian(core, dtype, X, A, sigma, rows, columns, keep=0):
    build = core.gaussian32 if dtype == np.float32 else core.gaussian64
    return build(_device.converted(X, dtype), _device.converted(A, dtype), sigma, rows, columns, keep)


def _build_matches(core, dtype, X, A, weights, rows, columns, keep=0):
    build = core.matches32 if dtype == np.float32 else core.matches64
    return build(X, A, weights, rows, columns, keep)


def _build_agreement(core, dtype, X, A, visible, rows, columns, keep=0):
    build = core.agreement32 if dtype == np.float32 else core.agreement64
    return build(X, A, visible, rows, columns, keep)


def _build_callback(core, dtype, a, shape, argument, symmetric):
    calls = _Products(a, shape, dtype, argument, symmetric)
    return core.callback(shape[0], shape[1], dtype.name, calls.matmat, calls.rmatmat, symmetric=symmetric)


#: how many of an operator's arguments, the first ones, are arrays on its device (None among them)
_ARRAYS = {"dense": 1, "csr": 3, "pairwise": 2, "gaussian": 2, "matches": 3, "agreement": 3}


def _device_of(recipe, arguments) -> str:
    """Where an operator's arrays or parts are; ValueError where they are not all on one device."""
    if recipe in ("callback", "streamed"):
        return "cpu" if recipe == "callback" else "cuda"
    if recipe in _ARRAYS:
        arrays = [array for array in arguments[: _ARRAYS[recipe]] if array is not None]
        devices = {"cpu" if isinstance(array, np.ndarray) else "cuda" for array in arrays}
    else:
        parts = [item for argument in arguments for item in (argument if isinstance(argument, tuple) else (argument,))]
        devices = {part.device for part in parts if isinstance(part, Operator)}
    return _device.one_device(devices, recipe)


def _engine(op, dtype):
    return op.astype(dtype)._engine


_BUILDERS: dict[str, Callable[..., Any]] = {
    "dense": _build_dense,
    "streamed": _build_streamed,
    "csr": _build_csr,
    "pairwise": _build_pairwise,
    "gaussian": _build_gaussian,
    "matches": _build_matches,
    "agreement": _build_agreement,
    "callback": _build_callback,
    "scaled": lambda core, dtype, op, left, right: core.scaled(_engine(op, dtype), left, right),
    "deflated": lambda core, dtype, op, u, v: core.deflated(_engine(op, dtype), u, v),
    "product": lambda core, dtype, left, right: core.product(_engine(left, dtype), _engine(right, dtype)),
    "stacked": lambda core, dtype, ops, axis: core.stacked([_engine(op, dtype) for op in ops], axis),
    "weighted_sum": lambda core, dtype, ops, w: core.weighted_sum([_engine(op, dtype) for op in ops], list(w)),
    "transposed": lambda core, dtype, op: core.transposed(_engine(op, dtype)),
}


def _rebuild(cls, recipe, arguments, dtype, symmetric, extra):
    op = cls(recipe, arguments, dtype, symmetric)
    op.__dict__.update(extra)
    return op

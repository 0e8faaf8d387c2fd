"""Ours, with the public defaults except `tol`."""

import dataclasses
import subprocess
import sys
import time

import numpy as np

import eigencontext as ec
from eigencontext import _core

from ..case import Answer, Method, Unavailable
from ..tasks import objectives

TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)


class Ours(Method):
    def version(self):
        return ec.__version__


def answer(result) -> Answer:
    """The values of an `SvdResult` or `EighResult`, and what it cost."""
    details = {name: getattr(result, name) for name in ("sweeps", "matvecs", "method", "reason", "stop_reason")}
    return Answer(result[1] if hasattr(result, "U") else result.w, details)


def svd(data, tol):
    return answer(ec.svd(data["a"], data["k"], tol=tol))


def svd_unverified(data, tol):
    return answer(ec.svd(data["a"], data["k"], tol=tol, verify=False))


def kernel_pca(data, tol):
    K = ec.operators.kernel(data["X"], bandwidth=data["bandwidth"], centered=True)
    return answer(ec.eigh(K, data["k"], tol=tol, max_memory=data["max_memory"]))


def neighbors(data, _):
    context = ec.contexts.neighbors(data["X"], n_neighbors=data["k"])
    indices = context.operator._recipe[1][0]._recipe[1][1]  # the context doesn't hand out its lists
    return Answer(indices.reshape(-1, data["k"]))


def encoder(data, tol):
    model = ec.sklearn.ContextureEncoder(
        "neighbors", context_params={"n_neighbors": data["n_neighbors"]}, n_components=data["k"], tol=tol
    )
    values = model.fit_transform(data["X"])
    return Answer(values, {name: getattr(model.spectrum_, name) for name in ("sweeps", "matvecs", "method")})


def rpcholesky(data, _):
    K = ec.operators.kernel(data["X"], bandwidth=data["bandwidth"])
    try:
        w, V = result = ec.eigh(K, data["k"], method="rpcholesky", max_basis=data["rank"])
    except ValueError as error:
        raise Unavailable(f"not available: {error}") from error
    details = answer(result).details | {"certificate": float(result.residuals.max())}
    return Answer(np.vstack([w, result.residuals, V]), details)


def cooccurrence(data, tol):
    if data["step"] == "count":
        begin = time.perf_counter()
        starts, _, counts = _core.count_pairs(data["tokens"], data["n_words"], data["window"])
        seconds = time.perf_counter() - begin
        cumulated = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
        return Answer(np.diff(cumulated[starts]), {"seconds": seconds})
    context = ec.contexts.cooccurrence(data["text"], data["window"], data["min_count"])
    if data["step"] == "read":
        counts = context._conditional.counts  # the context doesn't hand out its table
        return Answer(np.sort(counts.sum(axis=1, dtype=np.float64)))
    return Answer(ec.spectrum(context, data["k"], tol=tol).singular_values)


def on_one_thread(method: Method) -> Method:
    """The same on one thread, at the same setting."""

    def run(data, setting):
        threads = ec.get_num_threads()
        ec.set_num_threads(1)
        try:
            return method.run(data, setting)
        finally:
            ec.set_num_threads(threads)

    return dataclasses.replace(method, name=f"{method.name} on 1 thread", run=run, like=method.name)


PROGRAM = """import numpy, scipy.sparse.linalg, time
start = time.perf_counter()
import eigencontext
print(time.perf_counter() - start)"""


def fresh_import(data, _):
    """By the clock of the fresh process, so that neither its start nor numpy and scipy count."""
    seconds = float(subprocess.check_output([sys.executable, "-c", PROGRAM]))
    return Answer(np.array([seconds]), {"seconds": seconds})


def dense_engine(data):
    return _product(_core.dense(data["a"]), data)


def csr_engine(data, transpose_copy=True):
    C = data["a"]
    return _product(_core.csr(C.indptr, C.indices, C.data, *C.shape, transpose_copy), data)


def csr_scattering_engine(data):
    return csr_engine(data, transpose_copy=False)


def rbf_engine(data):
    return _product(_core.pairwise(data["X"], None, "rbf", data["bandwidth"], 3, 1.0), data)


def sampled_engine(data):
    score, *arguments = data["arguments"]
    if score == "rbf":
        X, A, bandwidth = arguments
        op = _core.pairwise(X, A, "rbf", bandwidth, 3, 1.0)
    else:
        op = ec.operators.sampled(score, tuple(arguments), data["left"], data["right"], np.float32)._engine
    return {"call": op.matmat, "block": data["block"]}


def _product(op, data):
    calls = {"A X": op.matmat, "A^T Y": op.rmatmat, "A^T A X": lambda X: op.fused(None, X)}
    return {"call": calls[data["product"]], "block": data["block"]}


def multiply(state, _):
    return Answer(state["call"](state["block"]))


def objective_inputs(data):
    """The arrays of a loss, and its options."""
    arrays = objectives.inputs(data["objective"], data["sizes"])
    if data["objective"] == "kise":
        return {"arrays": arrays[:1], "options": {"X": arrays[1], "bandwidth": data["sizes"]["bandwidth"]}} | data
    return {"arrays": arrays, "options": {}} | data


def objective(state, _):
    out = state.get("out")
    result = getattr(ec.objectives, state["objective"])(*state["arrays"], **state["options"], out=out)
    return Answer(objectives.answer(*[result.grads[name] for name in ("phi", "psi", "views") if name in result.grads]))


def reusing_memory(data):
    """The same, with memory that an earlier call's gradients are in."""
    state = objective_inputs(data)
    return state | {"out": [np.zeros_like(a) for a in state["arrays"]]}


def is_svme(data):
    return data["objective"] == "svme"


def plain_low_rank(state, _):
    result = ec.objectives.low_rank(*state["arrays"])
    return Answer(objectives.answer(result.grad_phi, result.grad_psi))


def is_nested(data):
    return data["objective"] == "nested_low_rank"


def transposes(data):
    return data["product"] == "A^T Y"


NAME = "eigencontext"
SOLVERS = [
    Ours(NAME, NAME, "dense_svd", svd, TOLERANCES),
    Ours(NAME, NAME, "sparse_svd", svd, TOLERANCES),
    Ours(NAME, NAME, "kernel_pca", kernel_pca, TOLERANCES),
    Ours(NAME, NAME, "neighbors", neighbors),
    Ours(NAME, NAME, "encoder", encoder, TOLERANCES),
    Ours(NAME, NAME, "rpcholesky", rpcholesky),
    Ours(NAME, NAME, "cooccurrence", cooccurrence, (1e-2, 1e-3)),
]
METHODS = [
    *SOLVERS,
    *[on_one_thread(method) for method in SOLVERS],
    *[
        Ours(f"{NAME}, verify=False", NAME, task, svd_unverified, TOLERANCES, like=NAME)
        for task in ("dense_svd", "sparse_svd")
    ],
    Ours(NAME, NAME, "imports", fresh_import),
    Ours(NAME, NAME, "small", svd, TOLERANCES),
    Ours(NAME, NAME, "dense_products", multiply, prepare=dense_engine),
    Ours(NAME, NAME, "csr_products", multiply, prepare=csr_engine),
    Ours(
        f"{NAME}, no transposed copy", NAME, "csr_products", multiply, prepare=csr_scattering_engine, suits=transposes
    ),
    Ours(NAME, NAME, "rbf_product", multiply, prepare=rbf_engine),
    Ours(NAME, NAME, "objectives", objective, prepare=objective_inputs),
    Ours(f"{NAME}, out=", NAME, "objectives", objective, prepare=reusing_memory, suits=is_svme),
    Ours(
        f"{NAME}, plain low_rank",
        NAME,
        "objectives",
        plain_low_rank,
        prepare=objective_inputs,
        as_is=True,
        suits=is_nested,
    ),
    Ours(NAME, NAME, "sampled_products", multiply, prepare=sampled_engine),
]

"""The suites of the backend, the operators and the solver once more, on the emulated device.

Each module is loaded a second time with `_core` and `ec` replaced: NumPy arrays go to the device and results come back,
ec.svd, ec.eigh and ec.spectrum get device="cuda". Sizes beyond what the emulation is quick at are left out, and so are
the tests that say nothing of a device, by name.
"""

import ctypes
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulated import PROJECT, core

import eigencontext as ec
from eigencontext import _device

pytestmark = pytest.mark.filterwarnings("ignore::eigencontext.ClusterWarning")

#: the largest integer that a parameter may be
LARGEST = 600
#: how many seeds of each
SEEDS = 1

EXCLUDED = {
    "backend/test_backend.py": {
        "instruction sets": ["test_level_is_one_we_know", "test_every_level_of_this_machine_agrees_to_rounding",
                             "test_a_level_that_this_machine_lacks_is_an_error_that_lists_what_there_is"],
        "the host's BLAS": ["test_blas_says_its_name"],
        "other tiles, other sums: test_device_primitives.py has its own": ["test_gram_in_tiles"],
        "sums are float64 whatever the range": ["test_subtract_says_where_sums_leave_the_range"],
    },
    "operators/test_operators.py": {
        "host memory": ["test_dense_is_not_copied_and_keeps_its_array_alive", "test_read_only_arrays_are_accepted"],
        "threads": ["test_csr_same_bits_for_any_number_of_threads"],
        "no fused product of CSR": ["test_csr_every_width"],
        "functions": ["test_callback", "test_callback_errors_pass_unchanged"],
        "torch": ["test_products_with_tensors_are_tensors"],
    },
    "operators/test_pairwise.py": {
        "threads": ["test_bits_do_not_depend_on_threads"],
        "in test_device_primitives.py": ["test_products_match_the_whole_matrix"],
        "the host's tiles": ["test_cost", "test_kept_tiles_change_no_bit"],
        "found on the host": ["test_nearest", "test_nearest_is_exact_where_products_cancel", "test_zero_vectors_have",
                              "test_ties_go_to_the_lower_index", "test_impossible_numbers_of_neighbours_are_refused"],
    },
    "spectrum/test_oracles.py": {},
    "spectrum/test_silent_failures.py": {"long": ["test_thick_restart"]},
    "spectrum/test_rpcholesky.py": {
        "thousands of runs": ["test_pivots_have_the_law_of_the_plain_form"],
        "operators of the host's engine": ["test_the_trace_is_that_of_the_residual",
                                           "test_duplicated_points_end_it_early",
                                           "test_error_within_the_theorys_factor_of_the_best",
                                           "test_another_block_size_gives_another_run_of_the_same_quality"],
        "cuBLAS's sums and ours differ by eps |x|^2, which the trace of what is left sees": ["test_k_above_the_rank"],
        "long": ["test_far_outliers_with_duplicates_in_float32", "test_certificate_bounds_values_and_residuals"],
        "processes, threads, memory of the host": ["test_bits_do_not_depend_on_the_number_of_threads",
                                                   "test_ctrl_c_ends_it", "test_peak_memory_is_that_of_the_docstring"],
    },
    "spectrum/test_reported_defects.py": {
        "processes, threads": ["test_threads_with_and_without_python_products"],
        "memory of the host": ["test_the_plan_counts", "test_a_memory_mapped_matrix_is_not_copied",
                               "test_a_broadcast_of_more"],
        "long": ["test_vectors_stay_orthonormal_through_many_restarts"],
    },
    "python/test_linalg.py": {
        "functions": ["test_linear_operators", "test_eigh_of_other_inputs",
                      "test_operators_multiply_pickle_and_transpose"],
        "results are NumPy's": ["test_torch_in_torch_out"],
        "processes, threads": ["test_bits_do_not_depend_on_the_number_of_threads", "test_a_forked_child", "test_ctrl_c",
                               "test_import_is_light", "test_threads_and_config"],
        "the host alone": ["test_kernel_tiles_are_kept", "test_plan_says", "test_randomized_svd", "test_svds",
                           "test_median_bandwidth", "test_operator_dtype", "test_scipy_solvers", "test_the_comparator",
                           "test_equivalent_entry_points"],
        "long; test_device_decompositions.py has the like": ["test_methods_agree", "test_tolerances",
                                                             "test_sparse_formats"],
    },
}  # fmt: skip


# -- NumPy in, NumPy out -----------------------------------------------------------------------------------------------


def placed(a):
    """A copy on the device, with the strides of `a`."""
    if a.size == 0 or a.flags.c_contiguous:
        return core.to_device(np.ascontiguousarray(a))
    steps = [(length - 1) * stride for length, stride in zip(a.shape, a.strides, strict=True)]
    before, after = -sum(min(step, 0) for step in steps), sum(max(step, 0) for step in steps)
    first = a.__array_interface__["data"][0] - before
    owner = core.to_device(np.frombuffer(ctypes.string_at(first, before + after + a.itemsize), np.uint8))
    at = owner.__cuda_array_interface__["data"][0] + before
    interface = {"shape": a.shape, "typestr": a.dtype.str, "strides": a.strides, "data": (at, False), "version": 3}
    return SimpleNamespace(__cuda_array_interface__=interface, owner=owner)


def on_device(value):
    if isinstance(value, np.ndarray):
        return placed(value)
    if isinstance(value, OperatorOnDevice):
        return value.op
    return [on_device(item) for item in value] if isinstance(value, (list, tuple)) else value


def on_host(value):
    if isinstance(value, core.DeviceArray):
        return value.get()
    if isinstance(value, (core.Operator32, core.Operator64)):
        return OperatorOnDevice(value)
    if isinstance(value, tuple):
        return tuple(map(on_host, value))
    return {key: on_host(item) for key, item in value.items()} if isinstance(value, dict) else value


def called(function, of_host=()):
    """`function` with its arrays moved, but for the positions `of_host`: small matrices, and vectors."""

    def call(*arguments, **options):
        moved = [on_device(argument) if i not in of_host else argument for i, argument in enumerate(arguments)]
        return on_host(function(*moved, **options))

    return call


class OperatorOnDevice:
    def __init__(self, op):
        self.op = op

    def __getattr__(self, name):
        value = getattr(self.op, name)
        return called(value, {"fused": (0,)}.get(name, ())) if callable(value) else value


class CoreOnDevice:
    """`_core`, on the device."""

    OF_HOST = {"subtract": (1, 3), "scaled": (1, 2), "deflated": (1, 2), "weighted_sum": (1,)}

    def __getattr__(self, name):
        if not hasattr(core, name):  # nearest neighbours
            return getattr(_device._core, name)
        return called(getattr(core, name), self.OF_HOST.get(name, ()))

    def exp(self, x):
        return called(core.exp)(x).reshape(x.shape)


class PackageOnDevice:
    """`eigencontext` whose decompositions run on the device."""

    def __getattr__(self, name):
        value = getattr(ec, name)
        if name not in ("svd", "eigh", "spectrum"):
            return value
        return lambda *arguments, **options: value(*arguments, **{"device": "cuda", **options})


# -- the suites --------------------------------------------------------------------------------------------------------


def loaded(path):
    sys.path.insert(0, str((PROJECT / "tests" / path).parent))
    try:
        spec = importlib.util.spec_from_file_location(
            f"{path.rpartition('/')[2][:-3]}_on_device", PROJECT / "tests" / path
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    for name, other in (("_core", CoreOnDevice()), ("ec", PackageOnDevice())):
        if hasattr(module, name):
            setattr(module, name, other)
    if hasattr(module, "kinds"):
        module.kinds = without_functions(module.kinds)
    return module


def without_functions(kinds):
    return lambda *arguments: {name: op for name, op in kinds(*arguments).items() if name != "callback"}


def is_small(value):
    if isinstance(value, (tuple, list)):
        return all(map(is_small, value))
    return not isinstance(value, int) or value <= LARGEST


def cut(marks):
    """The marks, without parameters that are too large."""
    for mark in marks:
        if mark.name == "parametrize":
            names, values = mark.args
            values = [value for value in values if is_small(getattr(value, "values", value))]
            yield pytest.mark.parametrize(names, values[:SEEDS] if names == "seed" else values, **mark.kwargs)
        else:
            yield getattr(pytest.mark, mark.name)(*mark.args, **mark.kwargs)


def collect(path):
    module, excluded = loaded(path), [name for names in EXCLUDED[path].values() for name in names]
    for name, test in vars(module).copy().items():
        if not name.startswith("test_") or any(map(name.startswith, excluded)):
            continue
        marks = list(cut(getattr(test, "pytestmark", [])))
        if any(mark.name == "parametrize" and not mark.args[1] for mark in marks):  # all its sizes are too large
            continue
        test.pytestmark = []
        for mark in marks:
            test = mark(test)
        yield name, test
    return module


@pytest.fixture(autouse=True)
def emulated_engine(monkeypatch):
    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")


for _path in EXCLUDED:
    for _name, _test in collect(_path):
        globals()[f"{_name}_of_{_path.rpartition('/')[2][5:-3]}"] = _test

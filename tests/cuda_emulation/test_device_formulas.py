"""The tests of the objectives' formulas, as they are, with every array of theirs moved to the emulated device."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "objectives"))

import test_chain
import test_formulas
import test_kise
import test_kise_parts
import test_numbers
import test_optima
import test_pairwise_weights
import test_scores
import test_zero_weights
from emulated import FakeCupy, core

from eigencontext import _device
from eigencontext.objectives import _kernels
from eigencontext.objectives._base import Batch

SIZES = {test_scores: {"SHAPES": [(2, 3), (31, 5), (33, 1), (257, 7)], "WIDE_ROWS": 130}, test_kise: {"ROWS": 130}}

CHOSEN = {
    test_formulas: ["test_value_and_gradients", "test_supervised_mse", "test_sequential_columns_see_those_before",
                    "test_terms_are_the_parts_of_the_loss", "test_only_the_gradients_that_are_asked_for"],
    test_scores: ["test_formula", "test_central_differences", "test_views", "test_low_rank_optimum", "test_scales",
                  "test_info_nce_of_pairs_that_find_each_other", "test_wide_logits", "test_strides_and_out",
                  "test_distances_far_from_the_origin", "test_exponentials_that_vanish_in_float32",
                  "test_overflow_is_refused_with_the_temperature_that_would_do"],
    test_pairwise_weights: ["test_formulas_and_central_differences"],
    test_chain: ["test_formula", "test_central_differences", "test_one_element_is_kise_or_svme"],
    test_kise: ["test_formula", "test_central_differences", "test_labels", "test_labels_of_all_the_data",
                "test_teacher"],
    test_kise_parts: ["test_weights"],
    test_numbers: ["test_scales_of_float32", "test_scales_of_views", "test_columns_of_different_scales",
                   "test_float64_beyond_its_squares", "test_few_rows_and_odd_widths", "test_strides",
                   "test_strides_of_views", "test_out"],
    test_optima: ["test_low_rank", "test_nested_low_rank_is_flat_only_in_order", "test_correlation",
                  "population"],
    test_zero_weights: ["test_a_chunk_of_weight_zero", "test_weights_that_are_all_zero",
                        "test_a_half_of_weight_zero"],
}  # fmt: skip

for module, names in CHOSEN.items():
    for name in names:
        own = name if name.startswith("population") else f"{name}_of_{module.__name__.removeprefix('test_')}"
        globals()[own] = getattr(module, name)


def moved(a):
    if not isinstance(a, np.ndarray) or a.dtype not in (np.float32, np.float64) or a.ndim < 2:
        return a
    return FakeCupy(a) if a.flags.c_contiguous else FakeCupy.laid_out_as(a)


class Outputs:
    """Arrays for gradients on the device, and the tests' own that get what was written there."""

    def __init__(self, out):
        self.pairs = []
        if isinstance(out, dict):
            self.moved = {name: self.of(a) for name, a in out.items()}
        else:
            self.moved = tuple(map(self.of, out)) if isinstance(out, tuple) else self.of(out)

    def of(self, a):
        if not isinstance(a, np.ndarray):
            return a
        self.pairs.append((moved(a), a))
        return self.pairs[-1][0]

    def written(self, grad):
        for there, here in self.pairs:
            if there is grad:
                here[...] = there.get()
                return here
        return grad


@pytest.fixture(autouse=True)
def everything_on_the_device(monkeypatch, settings):
    begin, result, arguments = Batch.__init__, Batch.result, _kernels.kernel_arguments

    def begin_there(self, inputs, *, out=None, **options):
        self.to = Outputs(out)
        begin(self, {name: moved(a) for name, a in inputs.items()}, out=self.to.moved, **options)

    def result_here(self, *values):
        found = result(self, *values)
        found.grads.update({name: self.to.written(grad) for name, grad in found.grads.items()})
        return found

    monkeypatch.setattr(_device, "_MODULE", "_cuda_emulated")
    monkeypatch.setitem(_device.FACTORIES, "emulated", lambda array, like: _device.on_host(array))
    monkeypatch.setattr(Batch, "__init__", begin_there)
    monkeypatch.setattr(Batch, "result", result_here)
    monkeypatch.setattr(_kernels, "kernel_arguments", lambda X, A, *rest: arguments(moved(X), moved(A), *rest))
    for module, sizes in SIZES.items():
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)
    launches = settings.launches
    yield
    assert core.emulation.launches > launches, "nothing ran on the device"

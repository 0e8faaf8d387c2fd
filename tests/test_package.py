"""The package as installed: what importing it costs and where its library finds BLAS."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import eigencontext as ec


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_import_brings_in_no_optional_package():
    loaded = run("import sys, eigencontext; print(' '.join(sys.modules))").split()
    for name in ("torch", "sklearn", "matplotlib", "rich", "pandas", "cupy"):
        assert name not in loaded


def test_the_level_in_use_is_printed():
    level = run("from eigencontext import _core; print(_core.simd_level())").strip()
    print("SIMD level:", level)
    assert level in ("baseline", "avx2", "avx512", "neon")
    assert level in run("import eigencontext as ec; ec.show_config()")


def test_only_public_names_are_listed():
    assert set(dir(ec)) == {*ec.__all__, "__version__"}
    for room in (ec.operators, ec.metrics, ec.contexts):
        assert dir(room) == sorted(room.__all__)
    for name in ec.__all__:
        assert getattr(ec, name) is not None


WRONG = """
import numpy as np
import eigencontext as ec

a = np.ones((3, 2))
ec.svd(a, 1)
ec.svd(a, 1, method="bogus")
ec.eigh(a, 1, method="gram")
ec.plan(a, "1")
ec.nonsense
ctx = ec.contexts.kernel(a, kernel="gaussian")
ec.contexts.neighbors(a, metric="l1")
ec.spectrum(ctx, verbos=1)
spec: ec.Spectrum = ec.spectrum(ctx, 2, tol=1e-2, callback=lambda info: info.sweep > 3)
"""


def test_types_find_wrong_calls(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "wrong.py").write_text(WRONG)
    source = pathlib.Path(ec.__file__).parents[1]
    where = {} if source.name == "site-packages" else {"MYPYPATH": str(source)}  # mypy refuses to be told of the former
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--cache-dir", str(tmp_path), "wrong.py"],
        cwd=tmp_path,
        env={**os.environ, **where},
        capture_output=True,
        text=True,
    ).stdout
    lines = sorted({int(line.split(":")[1]) for line in found.splitlines() if line.startswith("wrong.py:")})
    assert lines == [7, 8, 9, 10, 11, 12, 13], found


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda X: ec.contexts.kernel(X, bandwidth=2.0), "kernel(kernel='rbf', bandwidth=2, marginal='uniform')"),
        (lambda X: ec.contexts.neighbors(X, 5), "neighbors(n_neighbors=5, metric='euclidean', include_self=True)"),
        (lambda X: ec.contexts.graph(np.ones((3, 3))), "graph(lazy=0)"),
        (lambda X: ec.contexts.counts(X**2), "counts()"),
    ],
)
def test_reprs_of_contexts_say_how_they_were_made(make, text):
    X = np.random.default_rng(0).normal(size=(20, 3))
    assert f"context {text}, " in repr(make(X))


def test_reprs_of_results():
    a = np.diag([3.0, 2.0, 1.0])
    assert "1 sweep, method 'full'" in repr(ec.svd(a, 2))
    assert repr(ec.plan(a, 2)) == str(ec.plan(a, 2))
    assert "method 'full'" in repr(ec.spectrum(ec.contexts.counts(a + 1), 2))


@pytest.mark.filterwarnings("default::eigencontext.ConvergenceWarning")
def test_a_run_stopped_early_has_one_warning(recwarn):
    a = np.random.default_rng(0).normal(size=(500, 400))
    result = ec.svd(a, 3, method="krylov", callback=lambda info: True)
    assert not result.converged.any()
    assert [warning.category for warning in recwarn.list] == [ec.ConvergenceWarning]

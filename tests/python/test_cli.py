"""The command line, in processes of its own."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp

import eigencontext as ec
from eigencontext.__main__ import main

COMMAND = [sys.executable, "-m", "eigencontext"]
X = np.random.default_rng(0).normal(size=(120, 4))


def run(*arguments, folder, code=0):
    result = subprocess.run([*COMMAND, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == code, result.stderr
    return result


def only_line(stderr):
    lines = stderr.strip().splitlines()
    assert len(lines) == 1 and ": error: " in lines[0], stderr
    return lines[0]


def error_here(arguments, capsys):
    """Of main() in this process: the same code, without a second of imports each."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:  # argparse
        code = stop.code
    assert code == 2
    return only_line(capsys.readouterr().err)


def test_demo(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    begin = time.perf_counter()
    out = run("demo", "--out", "here", "--rank", 40, folder=tmp_path).stdout
    assert time.perf_counter() - begin < 60
    assert sorted(os.listdir(tmp_path / "here")) == ["demo-neighbors.npz", "demo-rbf.npz", "demo.png"]
    assert out.count("usefulness tau") == 2 and "residual" in out
    spec = ec.load_spectrum(tmp_path / "here" / "demo-rbf.npz")
    assert spec.k == 40 and spec.converged.all()
    assert f"{spec.singular_values[0]:.6f}" in out


def test_spectrum_of_an_array(tmp_path):
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "x.npy", X)
    out = run(
        "spectrum",
        "x.npy",
        "--context",
        "rbf:bandwidth=2:marginal=stationary",
        "--rank",
        5,
        "--out",
        "s.npz",
        "--plot",
        "s.png",
        "--tol",
        "1e-6",
        "--seed",
        3,
        folder=tmp_path,
    ).stdout
    spec = ec.load_spectrum(tmp_path / "s.npz")
    expected = ec.spectrum(ec.contexts.kernel(X, bandwidth=2, marginal="stationary"), k=5, tol=1e-6, seed=3)
    assert (spec.singular_values == expected.singular_values).all()
    assert f"{spec.singular_values[4]:.6f}" in out and (tmp_path / "s.png").stat().st_size > 1000


@pytest.mark.parametrize("save", [sp.save_npz, lambda path, C: np.savez(path, X=C.toarray(), y=1)])
def test_spectrum_of_an_archive(save, tmp_path):
    C = sp.csr_matrix(np.random.default_rng(1).poisson(1.0, size=(20, 15)) + 1.0)
    save(tmp_path / "c.npz", C)
    (tmp_path / "folder").mkdir()
    run("spectrum", "c.npz", "--rank", 4, "--context", "counts", "--out", "folder", folder=tmp_path)
    spec = ec.load_spectrum(tmp_path / "folder" / "c.spectrum.npz")
    np.testing.assert_allclose(spec.singular_values, ec.spectrum(ec.contexts.counts(C), k=4).singular_values, atol=1e-6)


def test_default_contexts(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert "neighbors" in run("spectrum", "x.npy", "--rank", 3, folder=tmp_path).stdout
    assert (tmp_path / "x.spectrum.npz").exists()
    sp.save_npz(tmp_path / "c.npz", sp.csr_matrix(np.ones((5, 4)) + np.eye(5, 4)))
    assert "counts" in run("spectrum", "c.npz", "--rank", 3, folder=tmp_path).stdout


def test_rank_is_capped_with_a_warning(tmp_path):
    np.save(tmp_path / "c.npy", np.ones((5, 4)) + np.eye(5, 4))
    result = run("spectrum", "c.npy", "--context", "counts", folder=tmp_path)
    assert "warning: k: got 128" in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_info_and_version(tmp_path):
    out = run("info", folder=tmp_path).stdout
    for word in ("blas", "simd", "threads", "cuda"):
        assert word in out.lower()
    assert ec.__version__ in run("--version", folder=tmp_path).stdout
    assert "demo" in run(folder=tmp_path).stdout


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "nan.npy", np.where(X > 1, np.nan, X))
    np.save(tmp_path / "complex.npy", X + 1j)
    np.savez(tmp_path / "two.npz", a=X, b=X)
    (tmp_path / "text.npy").write_text("nothing")
    cases = {
        ("spectrum", "none.npy"): "none.npy",
        ("spectrum", "text.npy"): "",
        ("spectrum", "x.csv"): "allowed: .npy or .npz",
        ("spectrum", "two.npz"): "one that is named X",
        ("spectrum", "nan.npy"): "finite",
        ("spectrum", "complex.npy"): "complex",
        ("spectrum", "x.npy", "--context", "other"): "allowed: rbf",
        ("spectrum", "x.npy", "--context", "rbf:width=2"): "allowed: bandwidth=",
        ("spectrum", "x.npy", "--context", "rbf:bandwidth=0"): "bandwidth",
        ("spectrum", "x.npy", "--context", "rbf:bandwidth=wide"): "bandwidth",
        ("spectrum", "x.npy", "--context", "rbf+neighbors"): "mixture",
        ("spectrum", "x.npy", "--context", "counts"): "negative",
        ("spectrum", "x.npy", "--rank", "0"): "rank",
        ("spectrum", "x.npy", "--rank", "many"): "rank",
        ("spectrum", "x.npy", "--rank", "3", "--tol", "-1"): "tol",
        ("spectrum", "x.npy", "--out", "no/such/s.npz"): "--out",
        ("spectrum", "x.npy", "--plot", "no/such/s.png"): "--plot",
        ("unknown",): "unknown",
    }
    for arguments, message in cases.items():
        assert message in error_here(arguments, capsys), arguments
    for arguments in (("spectrum", "none.npy"), ("unknown",)):
        only_line(run(*arguments, folder=tmp_path, code=2).stderr)


@pytest.mark.skipif(os.name != "posix", reason="signals as in POSIX")
def test_ctrl_c(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20000, 50)))
    command = [*COMMAND, "spectrum", "x.npy", "--context", "rbf:bandwidth=2", "--tol", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(5)  # long past the import, long before the end
    process.send_signal(signal.SIGINT)
    begin = time.perf_counter()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert time.perf_counter() - begin < 5
    assert "Traceback" not in stderr and "interrupted" in stderr
    assert os.listdir(tmp_path) == ["x.npy"]

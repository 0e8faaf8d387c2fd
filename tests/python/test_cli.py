"""The command line, in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import eigencontext as ec
from eigencontext import _cli
from eigencontext.__main__ import main
from eigencontext._spectrum import deflated_operator

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
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        code = stop.code
    assert code == 2
    return capsys.readouterr().err


def out_here(arguments, capsys):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    return tmp_path


@pytest.mark.slow
def test_demo(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    out = run("demo", "--out", "here", "--rank", 40, folder=tmp_path).stdout
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
    assert run("spectrum", "c.npy", "--context", "counts", folder=tmp_path).stderr == ""
    result = run("spectrum", "c.npy", "--context", "counts", "--rank", 128, folder=tmp_path)
    assert "warning: k: got 128" in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_info_and_version(tmp_path):
    out = run("info", folder=tmp_path).stdout
    for word in ("blas", "simd", "threads", "cuda"):
        assert word in out.lower()
    assert ec.__version__ in run("--version", folder=tmp_path).stdout
    assert "demo" in run(folder=tmp_path).stdout


# -- formats ---------------------------------------------------------------------------------------------------------


def test_tables(here, capsys):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(kind=["p", "q", "r"] * 40)
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    Z = (X[:, 1:] - X[:, 1:].mean(0)) / X[:, 1:].std(0)
    expected = ec.spectrum(ec.contexts.kernel(Z, bandwidth=2), k=4).singular_values
    for name in ("t.csv", "t.parquet"):
        options = ("--context", "rbf:bandwidth=2", "--rank", 4, "--drop", "a", "--standardize", "--out", "s.npz")
        out = out_here(("spectrum", name, *options), capsys)
        assert f"{name}: columns used: b, c, d\n" in out
        assert f"{name}: columns not used, as they are not numeric: kind ('p' in row 1)\n" in out
        np.testing.assert_allclose(ec.load_spectrum("s.npz").singular_values, expected, atol=1e-9)
    assert "neighbors" in out_here(("spectrum", "t.csv", "--rank", 2), capsys)
    out_here(("spectrum", "t.csv", "--rank", 2, "--label", "kind", "--context", "labels", "--out", "l.npz"), capsys)
    labelled = ec.load_spectrum("l.npz")
    np.testing.assert_allclose(labelled.singular_values, [1, 1], atol=1e-12)
    assert labelled.transform(["q"]).shape == (1, 2)


def test_edges_and_matrix_market(here, capsys):
    with open("ring.edges", "w") as file:
        file.writelines(f"{i} {(i + 1) % 12}\n" for i in range(12))
    out = out_here(("spectrum", "ring.edges", "--rank", 3, "--tol", "1e-9"), capsys)
    assert "ring.edges: graph, 12 inputs" in out and "undirected graph of 12 nodes" in out
    expected = np.sort(np.abs(np.cos(2 * np.pi * np.arange(1, 12) / 12)))[::-1][:3]
    np.testing.assert_allclose(ec.load_spectrum("ring.spectrum.npz").singular_values, expected, atol=1e-9)
    out_here(("spectrum", "ring.edges", "--rank", 3, "--directed", "--out", "d.npz"), capsys)
    np.testing.assert_allclose(ec.load_spectrum("d.npz").singular_values, 1, atol=1e-12)  # a permutation
    C = np.random.default_rng(1).poisson(1.0, size=(9, 7)) + 1.0
    scipy.io.mmwrite("c.mtx", sp.csr_array(C))
    assert "c.mtx: counts, 9 inputs x 7" in out_here(("spectrum", "c.mtx", "--rank", 3), capsys)
    os.rename("c.mtx", "c.data")
    assert "counts" in out_here(("spectrum", "c.data", "--format", "mtx", "--rank", 3), capsys)


# -- compare ---------------------------------------------------------------------------------------------------------


def test_compare_ranks_by_usefulness(here, capsys):
    pytest.importorskip("matplotlib")
    texts = ["rbf:bandwidth=1", "neighbors:n_neighbors=10", "0.5*rbf+0.5*neighbors", "neighbors@rbf:bandwidth=2"]
    options = ("--contexts", ",".join(texts), "--rank", 20, "--d0", 15, "--out", "new/here", "--plot", "c.png")
    out = out_here(("compare", "x.npy", *options), capsys)
    with open("new/here/x.compare.json") as file:
        comparison = json.load(file)
    near, rbf = ec.contexts.neighbors(X, 10), ec.contexts.kernel(X, bandwidth=1)
    mixed = ec.contexts.mixture([ec.contexts.kernel(X), ec.contexts.neighbors(X)], [0.5, 0.5])
    both = ec.contexts.neighbors(X) @ ec.contexts.kernel(X, bandwidth=2)
    contexts = dict(zip(texts, (rbf, near, mixed, both), strict=True))
    tau = {name: ec.spectrum(ctx, k=20).usefulness(15).tau for name, ctx in contexts.items()}
    assert [entry["context"] for entry in comparison["contexts"]] == sorted(tau, key=tau.get)
    assert (comparison["rank"], comparison["d0"], comparison["input"]) == (20, 15, "x.npy")
    lines = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [line[1] for line in lines] == sorted(tau, key=tau.get)
    for place, entry in enumerate(comparison["contexts"], 1):
        assert entry["tau"] == pytest.approx(tau[entry["context"]], abs=1e-12) and not entry["extreme"]
        assert f"{entry['tau']:.4f}" == lines[place - 1][2]
        saved = ec.load_spectrum(os.path.join("new/here", entry["file"]))
        assert saved.name == entry["context"] and entry["file"].startswith(f"x.{place}-")
        assert saved.singular_values.tolist() == entry["singular_values"] and saved.k == 20
    assert "d0 = 15" in out and os.path.getsize("c.png") > 1000 and "*" not in out.replace("0.5*", "")


def test_compare_puts_extreme_contexts_last(here, capsys):
    """Spectra that end are compared with zeros up to the same d0; where tau says nothing, it does not rank."""
    weak, strong = "rbf:bandwidth=1e9", "rbf:bandwidth=1e-4"
    out = out_here(("compare", "x.npy", "--contexts", f"{weak},{strong},rbf", "--rank", 16), capsys)
    with open("x.compare.json") as file:
        entries = json.load(file)["contexts"]
    assert [entry["context"] for entry in entries][0] == "rbf"
    assert [entry["extreme"] for entry in entries] == [False, True, True]
    assert entries[2]["tau"] is None  # all s = 1: infinite
    assert "tau says nothing of this context" in out and out.count("*") == 3


def test_compare_without_a_plot_writes_no_picture(here, capsys):
    out_here(("compare", "x.npy", "--contexts", "rbf,neighbors", "--rank", 4), capsys)
    with open("x.compare.json") as file:
        spectra = [entry["file"] for entry in json.load(file)["contexts"]]
    assert sorted(os.listdir()) == sorted(["x.npy", "x.compare.json", *spectra])


def test_compare_with_a_linear_probe(here, capsys):
    """Two far clusters: neighbours tell them apart without an error; a wide kernel's functions are nearly linear."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    kind = np.arange(200) % 2
    points = rng.normal(size=(200, 3)) + 20.0 * kind[:, None] * [1, 0, 0]
    frame = pandas.DataFrame(points, columns=list("xyz")).assign(
        kind=np.where(kind, "one", "two"), noise=rng.random(200)
    )
    frame.assign(twice=2 * points[:, 0]).drop(columns="noise").to_csv("kind.csv", index=False)
    contexts = ("--contexts", "neighbors:n_neighbors=5,rbf:bandwidth=30", "--rank", 8)
    out = out_here(("compare", "kind.csv", *contexts, "--labels", "kind", "--drop", "twice"), capsys)
    assert (
        "kind.csv: columns used: x, y, z\n" in out and "error rate of a linear probe" in out and "(column kind)" in out
    )
    with open("kind.compare.json") as file:
        entries = json.load(file)["contexts"]
    assert [entry["probe"]["measure"] for entry in entries] == ["error rate"] * 2
    assert all(entry["probe"]["value"] == 0 for entry in entries)
    out = out_here(("compare", "kind.csv", *contexts, "--labels", "twice", "--drop", "kind"), capsys)
    assert "higher is better" in out
    with open("kind.compare.json") as file:
        entries = {entry["context"]: entry["probe"] for entry in json.load(file)["contexts"]}
    assert {probe["measure"] for probe in entries.values()} == {"R^2"}
    assert 0.9 < entries["rbf:bandwidth=30"]["value"] <= 1
    frame.to_csv("noise.csv", index=False)
    out_here(("compare", "noise.csv", *contexts, "--labels", "noise", "--label", "kind"), capsys)
    with open("noise.compare.json") as file:
        assert all(entry["probe"]["value"] < 0.2 for entry in json.load(file)["contexts"])


def test_the_probe_is_checked_before_the_work(here, capsys, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    (here / "t.csv").write_text("a,b,c\n" + "".join(f"{i},{i % 2},1\n" for i in range(30)))
    (here / "short.csv").write_text("a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(8)))
    options = ("--contexts", "rbf", "--rank", 3, "--labels")
    monkeypatch.setattr(_cli, "_computed", None)
    assert "--labels: got a column with one value" in only_line(error_here(("compare", "t.csv", *options, "c"), capsys))
    assert "--labels: got 8 rows" in only_line(error_here(("compare", "short.csv", *options, "b"), capsys))
    assert "--labels: got b, but .npy has no named columns" in only_line(
        error_here(("compare", "x.npy", *options, "b"), capsys)
    )
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "--labels needs scikit-learn" in only_line(error_here(("compare", "t.csv", *options, "b"), capsys))


# -- texts -----------------------------------------------------------------------------------------------------------


def test_texts(here, capsys):
    documents = ["the cat sat on the mat and the dog sat on the cat " * 3, "a dog and a cat on a mat sat " * 4]
    os.mkdir("texts")
    for i, document in enumerate(documents):
        (here / "texts" / f"{i}.txt").write_text(document)
    (here / "one.txt").write_text(documents[0])
    out = out_here(("spectrum", "one.txt", "--rank", 3), capsys)
    assert "one.txt: cooccurrence, 4 inputs x 4 context values" in out
    expected = ec.spectrum(ec.contexts.cooccurrence(documents[0]), k=3)
    np.testing.assert_array_equal(ec.load_spectrum("one.spectrum.npz").singular_values, expected.singular_values)
    assert "texts/: 2 documents" in out_here(("spectrum", "texts/", "--rank", 3), capsys)
    loaded = ec.load_spectrum("texts.spectrum.npz")
    assert set(loaded.conditional.vocabulary) == set(" ".join(documents).split())
    options = ("--contexts", "cooccurrence:window=2,cooccurrence:window=3:exponent=0.75", "--rank", 3)
    assert out_here(("compare", "texts", *options), capsys).count("cooccurrence:window") >= 2
    (here / "two.txt").write_text("word " * 10)
    assert "text: got one word ('word')" in only_line(error_here(("spectrum", "two.txt"), capsys))


# -- plan and memory -------------------------------------------------------------------------------------------------


def test_plan(here, capsys):
    options = ("--context", "rbf:bandwidth=2", "--rank", 5)
    out = out_here(("spectrum", "x.npy", *options, "--plan"), capsys)
    assert str(ec.plan(deflated_operator(ec.contexts.kernel(X, bandwidth=2)), 5)) in out
    out = out_here(("compare", "x.npy", "--contexts", "rbf,neighbors", "--plan"), capsys)
    assert out.count("plan for the 119 largest") == 2
    assert os.listdir() == ["x.npy"]


def test_a_context_without_an_operator_has_no_plan(here, capsys, monkeypatch):
    class Signed(ec.contexts.Context):
        @property
        def operator(self):
            raise TypeError("a signed kernel")

        @operator.setter
        def operator(self, M):
            self.shown = M

        shape, dtype = (120, 3), np.dtype(np.float64)

    built = ec.contexts.kernel(X)
    signed = Signed("teacher", built.operator, built.p_x, built.p_a, built._conditional)
    monkeypatch.setattr("eigencontext._expression.Single.build", lambda self, source: signed)
    assert "nothing to plan" in out_here(("spectrum", "x.npy", "--plan"), capsys)


def test_max_memory_is_obeyed_and_says_what_would_fit(here, capsys):
    np.save("big.npy", np.random.default_rng(0).normal(size=(1500, 3)))
    options = ("spectrum", "big.npy", "--context", "rbf", "--plan", "--rank")
    message = error_here((*options, 100, "--max-memory", "3MB"), capsys)
    assert "--max-memory: too little for rank 100: max_memory: got 3000000 bytes; allowed: at least" in message
    fits = int(re.search(r"; --rank (\d+) would fit", only_line(message))[1])
    assert "memory" in out_here((*options, fits, "--max-memory", "3MB"), capsys)
    assert f"--rank {fits} would fit" in error_here((*options, fits + 1, "--max-memory", "3MB"), capsys)
    assert "no rank would fit" in error_here((*options, 100, "--max-memory", "1kB"), capsys)
    planned = out_here((*options, 20, "--max-memory", "3MB"), capsys)
    assert "held to" in planned and "held to" not in out_here((*options, 20), capsys)
    out_here(("spectrum", "big.npy", "--context", "rbf", "--rank", fits, "--max-memory", "3MB"), capsys)


@pytest.mark.parametrize(
    "text, size",
    [("2GB", 2 * 10**9), ("500MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("64 kb", 64000), ("100", 100), ("7B", 7)],
)
def test_sizes(text, size):
    assert _cli._bytes(text) == size


# -- errors ----------------------------------------------------------------------------------------------------------


def test_errors_are_one_line(here, capsys):
    np.save("nan.npy", np.where(X > 1, np.nan, X))
    np.save("complex.npy", X + 1j)
    np.savez("two.npz", a=X, b=X)
    np.save("o.npy", np.array([print], dtype=object), allow_pickle=True)
    (here / "text.npy").write_text("nothing")
    (here / "empty.csv").write_text("")
    cases = {
        ("spectrum", "none.npy"): "INPUT: none.npy does not exist",
        ("spectrum", "text.npy"): "text.npy is no .npy file",
        ("spectrum", "o.npy"): "o.npy holds a pickle, which is refused",
        ("spectrum", "empty.csv"): "empty.csv is empty",
        ("spectrum", "x.xls"): "x.xls does not exist",
        ("spectrum", "two.npz"): "one array, or one named X",
        ("spectrum", "nan.npy"): "finite",
        ("spectrum", "complex.npy"): "complex",
        ("spectrum", "x.npy", "--context", "rbf,neighbors"): "--context: got 2 contexts; allowed: one",
        ("spectrum", "x.npy", "--context", "counts"): "negative",
        ("spectrum", "x.npy", "--context", "labels"): "labels needs labels; allowed: --label COLUMN",
        ("spectrum", "x.npy", "--drop", "a"): "--drop: got a, but .npy has no named columns",
        ("spectrum", "x.npy", "--format", "npz"): "x.npy is no .npz file",
        ("spectrum", "x.npy", "--format", "xls"): "--format",
        ("spectrum", "x.npy", "--rank", "0"): "--rank: got 0; allowed: an integer >= 1",
        ("spectrum", "x.npy", "--rank", "many"): "--rank: got many; allowed: an integer >= 1",
        ("spectrum", "x.npy", "--tol", "-1"): "--tol: got -1; allowed: a finite number >= 0",
        ("spectrum", "x.npy", "--tol", "inf"): "--tol: got inf; allowed: a finite number >= 0",
        ("spectrum", "x.npy", "--seed", "-1"): "--seed: got -1; allowed: an integer in 0 .. 2^64 - 1",
        ("spectrum", "x.npy", "--max-memory", "2XB"): "--max-memory: got 2XB; allowed: a number > 0 with",
        ("spectrum", "x.npy", "--max-memory", "0"): "--max-memory: got 0; allowed",
        ("spectrum", "x.npy", "--max-memory", "1.2.3GB"): "--max-memory: got 1.2.3GB; allowed",
        ("spectrum", "x.npy", "--out", "no/such/s.npz"): "--out",
        ("spectrum", "x.npy", "--plot", "no/such/s.png"): "--plot",
        ("spectrum", "x.npy", "--plot", "."): "--plot: got ., a folder; allowed: a file",
        ("spectrum", "x.npy", "--plot", "s.xls"): "--plot: got s.xls; allowed: a file that ends in .",
        ("spectrum", "x.npy", "--out", "x.npy/"): "--out: got x.npy/; allowed: a folder",
        ("compare", "x.npy"): "--contexts",
        ("compare", "x.npy", "--contexts", "rbf,rbf"): "--contexts: got rbf twice",
        ("compare", "x.npy", "--contexts", "rbf", "--rank", "1"): "--rank: got 1; allowed: an integer >= 2",
        ("compare", "x.npy", "--contexts", "rbf", "--rank", "5", "--d0", "6"): "--d0: got 6; allowed: 2 .. --rank (5)",
        ("compare", "x.npy", "--contexts", "rbf", "--out", "x.npy"): "--out: got x.npy; allowed: a folder",
        ("unknown",): "unknown",
    }
    for arguments, message in cases.items():
        assert message in only_line(error_here(arguments, capsys)), arguments
    for arguments in (("spectrum", "none.npy"), ("unknown",)):
        only_line(run(*arguments, folder=here, code=2).stderr)
    assert not [name for name in os.listdir() if "spectrum" in name or "compare" in name]


def test_no_output_replaces_the_input_or_another_output(here, capsys):
    before = (here / "x.npy").read_bytes()
    os.symlink("x.npy", "link.npz")
    cases = {
        ("spectrum", "x.npy", "--out", "x.npy"): "--out: got x.npy, which is INPUT too; allowed: another file",
        ("spectrum", "x.npy", "--out", "link.npz"): "--out: got link.npz, which is INPUT too",
        ("spectrum", "x.npy", "--out", "s.png", "--plot", "./s.png"): "--plot: got ./s.png, which is --out too",
    }
    for arguments, message in cases.items():
        assert message in only_line(error_here(arguments, capsys)), arguments
    (here / "x.png").write_bytes(before)
    for command in (("spectrum",), ("compare", "--contexts", "rbf")):
        message = error_here((*command, "x.png", "--format", "npy", "--plot", "x.png"), capsys)
        assert "--plot: got x.png, which is INPUT too" in only_line(message)
    assert (here / "x.npy").read_bytes() == (here / "x.png").read_bytes() == before


def test_a_saved_spectrum_is_no_input(here, capsys):
    out_here(("spectrum", "x.npy", "--rank", 2), capsys)
    assert "it is a saved spectrum; allowed: data" in only_line(error_here(("spectrum", "x.spectrum.npz"), capsys))


def test_demo_looks_for_matplotlib_first(here, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "plotting needs matplotlib" in only_line(error_here(("demo",), capsys))
    assert os.listdir() == ["x.npy"]


@pytest.mark.parametrize(
    "text, position",
    [
        ("other", 0),
        ("rbf:width=2", 4),
        ("0.5*rbf+0.6*rbf", 0),
        ("neighbors@rbf:bandwidth", 23),
        ("neighbors@rbf:bandwidth=0", 24),
        ("cooccurrence", 0),
    ],
)
def test_errors_in_expressions_show_where(here, capsys, text, position):
    for arguments in (("spectrum", "x.npy", "--context", text), ("compare", "x.npy", "--contexts", text)):
        first, *pointer = error_here(arguments, capsys).rstrip("\n").split("\n")
        assert f"at position {position + 1}; allowed: " in only_line(first)
        assert pointer == [f"  {text}", f"  {' ' * position}^"]


def test_outputs_are_tried_before_the_work(here, capsys, monkeypatch):
    def refused(**options):
        raise PermissionError(13, "Permission denied")

    def never(*arguments, **options):
        raise AssertionError("reading began")

    monkeypatch.setattr(_cli.tempfile, "TemporaryFile", refused)
    monkeypatch.setattr(_cli, "read", never)
    for arguments in (
        ("spectrum", "x.npy"),
        ("spectrum", "x.npy", "--out", "s.npz"),
        ("compare", "x.npy", "--contexts", "rbf"),
    ):
        message = only_line(error_here(arguments, capsys))
        assert "--out: nothing can be written in " in message and "(Permission denied)" in message


def test_without_pandas_or_matplotlib(here, capsys, monkeypatch):
    (here / "t.csv").write_text("a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert "needs pandas: pip install 'eigencontext[io]'" in error_here(("spectrum", "t.csv"), capsys)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = error_here(("spectrum", "none.npy", "--plot", "s.png"), capsys)  # before the input is looked at
    assert "plotting needs matplotlib: pip install 'eigencontext[demo]'" in message


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

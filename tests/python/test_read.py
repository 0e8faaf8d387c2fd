"""Files of every kind as data, and what is said where they are wrong."""

import os
import pickle
import sys

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from eigencontext._read import FORMATS, read

X = np.random.default_rng(0).normal(size=(12, 3))
C = sp.csr_array(np.random.default_rng(1).poisson(0.7, size=(6, 5)).astype(float))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text):
    with open(name, "w") as file:
        file.write(text)
    return name


def message(name, **options):
    with pytest.raises((ValueError, OSError, ImportError)) as caught:
        read(name, **options)
    return str(caught.value)


# -- any file --------------------------------------------------------------------------------------------------------


def test_files_that_are_not_there_or_empty():
    assert message("none.npy") == "INPUT: none.npy does not exist"
    os.mkdir("folder.npy")
    assert message("folder.npy", format="npy") == "INPUT: folder.npy is a folder; allowed for .npy: a file"
    assert message("folder.npy") == "INPUT: folder.npy is a folder without .txt files (it has nothing)"
    for ending in FORMATS:
        assert message(write(f"nothing.{ending}", "")) == f"INPUT: nothing.{ending} is empty"


def test_the_ending_or_the_format_says_how_to_read():
    np.save("x.npy", X)
    os.rename("x.npy", "x.data")
    assert message("x.data") == (
        "INPUT: got x.data; allowed: .npy, .npz, .csv, .tsv, .parquet, .mtx, .edges, .txt (or say which with --format)"
    )
    np.testing.assert_array_equal(read("x.data", "npy").data, X)
    os.rename("x.data", "x.NPY")
    np.testing.assert_array_equal(read("x.NPY").data, X)


def test_options_that_do_not_apply():
    np.save("x.npy", X)
    assert message("x.npy", drop=["a"]).startswith(
        "--drop: got a, but .npy has no named columns; allowed: columns of .csv"
    )
    assert message("x.npy", label="a").startswith("--label: got a, but .npy has no")
    assert message("x.npy", directed=True).startswith("--directed: got it for .npy; allowed: edge lists")
    sp.save_npz("c.npz", C)
    assert message("c.npz", standardize=True).startswith("--standardize: c.npz is no dense table")


# -- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays():
    np.save("x.npy", X)
    source = read("x.npy")
    assert isinstance(source.data, np.memmap) and source.default_context == "neighbors"
    for arrays in ({"anything": X}, {"X": X, "y": 1}):
        np.savez("x.npz", **arrays)
        np.testing.assert_array_equal(read("x.npz").data, X)
    sp.save_npz("c.npz", C)
    source = read("c.npz")
    assert sp.issparse(source.data) and source.default_context == "counts"
    np.testing.assert_array_equal(source.data.toarray(), C.toarray())


def test_pickles_are_refused():
    objects = np.array([print], dtype=object)
    np.save("objects.npy", objects, allow_pickle=True)
    np.savez("objects.npz", X=objects)
    with open("pickle.npy", "wb") as file:
        pickle.dump(print, file)
    for name in ("objects.npy", "objects.npz", "pickle.npy"):
        assert "a pickle, which is refused: it may run code; allowed: arrays of numbers" in message(name)


def test_arrays_that_are_damaged():
    np.save("x.npy", X)
    np.savez("x.npz", X=X)
    for name in ("x.npy", "x.npz"):
        good = open(name, "rb").read()
        for size in (20, len(good) // 2):
            open(f"half{name[1:]}", "wb").write(good[:size])
            assert f"INPUT: half{name[1:]} can't be read as {name[1:]}: " in message(f"half{name[1:]}")
    middle = len(good) // 2
    open("flipped.npz", "wb").write(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    assert "CRC" in message("flipped.npz")
    assert message(write("text.npy", "nothing here")) == (
        "INPUT: text.npy is no .npy file (its first bytes are b'nothin')"
    )
    assert "INPUT: text.npz is no .npz file" in message(write("text.npz", "nothing here"))
    np.savez("two.npz", a=X, b=X)
    assert "it holds a, b; allowed: one array, or one named X" in message("two.npz")
    np.save("none.npy", np.zeros((0, 3)))
    assert "none.npy has shape (0, 3)" in message("none.npy")


def test_matrix_market():
    for matrix in (C, C.toarray()):
        scipy.io.mmwrite("c.mtx", matrix)
        source = read("c.mtx")
        np.testing.assert_array_equal(source.data.toarray(), C.toarray())
        assert source.default_context == "counts"
    head = "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n"
    assert (
        message(write("bad.mtx", head + "2 x 1\n"))
        == "INPUT: bad.mtx can't be read as .mtx: Line 4: Invalid integer value."
    )
    assert "Line 4: Row index out of bounds" in message(write("bad.mtx", head + "3 1 1\n"))
    assert "Truncated" in message(write("bad.mtx", head))
    assert "Line 1" in message(write("bad.mtx", "hello\n"))


def test_standardize():
    Y = np.column_stack([X * [1, 10, 1e4] + 5, np.full(12, 0.1)]).astype(np.float32)
    np.save("y.npy", Y)
    source = read("y.npy", standardize=True)
    assert source.data.dtype == np.float32 and source.notes == ["1 constant column(s) became 0"]
    np.testing.assert_allclose(source.data.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(source.data[:, :3].std(0), 1, atol=1e-6)
    assert not source.data[:, 3].any()
    np.save("word.npy", np.array([["a"]]))
    assert "no dense table of numbers" in message("word.npy", standardize=True)


# -- tables ----------------------------------------------------------------------------------------------------------

TABLE = "age,city,height,ok\n3,Paris,1.5,True\n4,,2.5,False\n5,Rome,0.5,True\n"
VALUES = [[3, 1.5, 1], [4, 2.5, 0], [5, 0.5, 1]]


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_numeric_columns_are_used_and_the_others_named(pandas):
    pytest.importorskip("pyarrow")
    write("t.csv", TABLE)
    write("t.tsv", TABLE.replace(",", "\t"))
    pandas.read_csv("t.csv").to_parquet("t.parquet")
    for name in ("t.csv", "t.tsv", "t.parquet"):
        source = read(name)
        np.testing.assert_array_equal(source.data, VALUES)
        assert source.data.dtype == np.float64 and source.default_context == "neighbors"
        assert source.notes == [
            "columns used: age, height, ok",
            "columns not used, as they are not numeric: city ('Paris' in row 1)",
        ]
    source = read("t.csv", drop=["age", "city"], label="ok")
    np.testing.assert_array_equal(source.data, [[1.5], [2.5], [0.5]])
    assert source.labels.tolist() == [True, False, True] and source.notes == ["columns used: height"]
    assert read("t.csv", drop=["ok"], label="height").labels.tolist() == [1.5, 2.5, 0.5]
    pandas.DataFrame(X.astype(np.float32), columns=["a", "b", "c"]).to_parquet("f.parquet")
    assert read("f.parquet").data.dtype == np.float32


def test_one_typing_error_in_a_column_of_numbers_is_shown(pandas):
    write("t.csv", "a,b\n1,2\n3,?\n5,6\n")
    assert read("t.csv").notes[1] == "columns not used, as they are not numeric: b ('?' in row 2)"


def test_text_labels(pandas):
    write("t.csv", "a,kind\n1,x\n2,y\n3,x\n")
    assert read("t.csv", label="kind").labels.tolist() == ["x", "y", "x"]
    write("t.csv", "a,kind\n1,x\n2,\n")
    assert message("t.csv", label="kind") == "--label: t.csv has no value in column 'kind', row 2"


def test_a_table_without_names(pandas):
    write("t.csv", "1,2\n3,4\n5,6\n")
    source = read("t.csv", drop=["column1"])
    np.testing.assert_array_equal(source.data, [[2], [4], [6]])
    assert source.notes == ["columns used: column2"]


def test_the_numbers_of_the_rows_are_no_feature(pandas):
    pandas.DataFrame({"a": [5.0, 7.0, 6.0]}).to_csv("t.csv")
    source = read("t.csv")
    np.testing.assert_array_equal(source.data, [[5], [7], [6]])
    assert source.notes[1] == "columns not used, as they have no name and number the rows: Unnamed: 0"
    assert read("t.csv", drop=["Unnamed: 0"]).notes == ["columns used: a"]
    np.testing.assert_array_equal(read(write("t.csv", ",a\n3,5\n1,7\n")).data, [[3, 5], [1, 7]])


def test_numbers_among_the_names_are_warned_of(pandas):
    with pytest.warns(UserWarning, match=r"t.csv: line 1 is taken for names, though it has numbers \(0.5, 2\)"):
        read(write("t.csv", "0.5,x,2\n1.5,y,3\n"))


def test_an_index_of_text_in_parquet(pandas):
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]}, index=["p", "q"]).to_parquet("t.parquet")
    assert read("t.parquet").notes[1] == "columns not used, as they are not numeric: b ('u' in row 1)"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a;b\n1,5;2,5\n", "seems to have semicolons between its fields; allowed: commas (tabs: .tsv"),
        ("a\tb\n1\t2\n", "seems to have tabs between its fields; allowed: commas"),
        ("a,b\n1,2\n,4\n5,\n", "has no value in column 'a', row 2 (2 such entries in 2 column(s)); allowed: finite"),
        ("a,b\n1,2\n3,inf\n", "has inf in column 'b', row 2 (1 such entries in 1 column(s)); allowed: finite"),
        ("a,b\n1,2\n3\n", "has no value in column 'b', row 2"),
        ("a,b\n1,2\n3,4,5\n", "can't be read as .csv: Error tokenizing data. C error: Expected 2 fields in line 3"),
        ("a,b\n1,2,3\n3,4,5\n", "3 fields in line 2, 2 names in line 1"),
        ("a,b\n\n0,1,2\n1,4,5\n", "3 fields in line 3, 2 names in line 1"),
        ('a,b\n1,2\n"3,4\n', "EOF inside string starting at row 2"),
        ("name,city\nx,y\n", "has no numeric column; found: name ('x' in row 1), city ('y' in row 1)"),
        ("a,b\n", "has no rows (only names: a, b)"),
        ("\n\n", "can't be read as .csv: No columns"),
    ],
)  # fmt: skip
def test_bad_tables(text, expected, pandas):
    shown = message(write("t.csv", text))
    assert shown.startswith("INPUT: t.csv ") and expected in shown


def test_more_bad_tables(pandas):
    write("t.csv", TABLE)
    assert message("t.csv", drop=["size"]) == "--drop: t.csv has no column 'size'; allowed: age, city, height, ok"
    assert message("t.csv", label="size") == "--label: t.csv has no column 'size'; allowed: age, city, height, ok"
    assert "has no numeric column; found: city" in message("t.csv", drop=["age", "height", "ok"])
    with open("latin.csv", "wb") as file:
        file.write(b"a,b\n1,2\n\xe9,3\n")
    assert message("latin.csv") == "INPUT: latin.csv is no UTF-8 text, first in line 3"
    pytest.importorskip("pyarrow")
    assert "INPUT: t.parquet can't be read as .parquet: " in message(write("t.parquet", "hello there, no parquet"))


@pytest.mark.parametrize("ending, package", [("csv", "pandas"), ("parquet", "pandas")])
def test_without_pandas(ending, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    write(f"t.{ending}", TABLE)
    assert message(f"t.{ending}") == f"reading t.{ending} needs {package}: pip install 'eigencontext[io]'"


def test_without_pyarrow(pandas, monkeypatch):
    def missing(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pandas, "read_parquet", missing)
    write("t.parquet", "PAR1")
    assert message("t.parquet") == "reading t.parquet needs pyarrow: pip install 'eigencontext[io]'"


# -- edge lists ------------------------------------------------------------------------------------------------------


def test_edge_lists():
    ring = np.roll(np.eye(12), 1, axis=1)
    lines = [f"{i} {(i + 1) % 12}" for i in range(12)]
    write("ring.edges", "# a ring\n" + "\n".join(lines) + "\n")
    source = read("ring.edges")
    np.testing.assert_array_equal(source.data.toarray(), ring + ring.T)  # 10 comes after 9
    assert source.default_context == "graph"
    assert source.notes == ["undirected graph of 12 nodes, in the order of their names"]
    both = lines + [f"{(i + 1) % 12} {i}" for i in range(12)]
    np.testing.assert_array_equal(read(write("both.edges", "\n".join(both))).data.toarray(), ring + ring.T)
    np.testing.assert_array_equal(read("ring.edges", directed=True).data.toarray(), ring)


def test_names_weights_commas_and_repeated_edges():
    source = read(write("w.edges", "% comment\nbea, al , 2\n\nal,cy,0.5 # last\nal,cy,1\ncy,cy,3\n"))
    np.testing.assert_array_equal(source.data.toarray(), [[0, 2, 1.5], [2, 0, 0], [1.5, 0, 3]])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# c\n1 2\n\n2 3 4\n", "INPUT: g.edges has 3 fields in line 4, 2 before it"),
        ("# c\n\n1 2 3 4\n", "INPUT: g.edges has 4 fields in line 3; allowed: node node [weight]"),
        ("1\n2\n", "INPUT: g.edges has 1 fields in line 1; allowed: node node [weight]"),
        ("1 2 0.5\n# c\n2 3 heavy\n", "INPUT: g.edges has weight 'heavy' in line 3; allowed: finite numbers >= 0"),
        ("1 2 0.5\n2 1 -3\n", "INPUT: g.edges has weight '-3' in line 2; allowed: finite numbers >= 0"),
        ("1 2 0.5\n2 1 nan\n", "INPUT: g.edges has weight 'nan' in line 2; allowed: finite numbers >= 0"),
        ("# c\nsource target\n1 2\n2 3\n", "INPUT: g.edges has names (source, target) in line 2; allowed: edges only"),
        ("# only\n% comments\n", "INPUT: g.edges has no edges"),
    ],
)
def test_bad_edge_lists(text, expected):
    assert message(write("g.edges", text)) == expected


def test_edge_lists_of_windows():
    """A byte order mark is no part of the first node's name."""
    with open("g.edges", "wb") as file:
        file.write(b"\xef\xbb\xbf1 2\r\n2 3\r\n3 1\r\n")
    np.testing.assert_array_equal(read("g.edges").data.toarray(), 1 - np.eye(3))


def test_nodes_of_many_digits_in_the_order_of_numbers():
    source = read(write("g.edges", f"{10**30} 007\n9 {10**30}\n"), directed=True)
    np.testing.assert_array_equal(source.data.toarray(), [[0, 0, 0], [0, 0, 1], [1, 0, 0]])


def test_edge_lists_in_another_encoding():
    with open("g.edges", "wb") as file:
        file.write(b"a b\nb \xe9\n")
    assert message("g.edges") == "INPUT: g.edges is no UTF-8 text, first in line 2"


# -- texts -----------------------------------------------------------------------------------------------------------


def test_a_text_is_one_document():
    with open("a.txt", "w", encoding="utf-8-sig") as file:
        file.write("na\u00efve")
    source = read("a.txt")
    assert source.is_text and source.default_context == "cooccurrence"
    assert list(source.data) == list(source.data) == ["na\u00efve"]  # as often as asked for
    assert not read(write("t.csv", "a\n1\n2\n")).is_text


def test_a_folder_is_a_document_a_file():
    os.makedirs("f/inner")
    for name in ("b.txt", "a.TXT", "inner/c.txt", "notes.rst"):
        write(f"f/{name}", name)
    source = read("f")
    assert list(source.data) == ["a.TXT", "b.txt", "inner/c.txt"]
    assert source.notes == ["3 documents", "1 file(s) not read, as they do not end in .txt (--format txt reads all)"]
    assert len(list(read("f/", "txt").data)) == 4
    os.mkdir("g")
    write("g/x.rst", "x")
    assert message("g").endswith("without .txt files (it has 1 other file(s); with --format txt they are read too)")


def test_texts_that_are_no_texts():
    with open("latin.txt", "wb") as file:
        file.write(b"good\nna\xefve\n")
    with pytest.raises(ValueError, match="INPUT: latin.txt is no UTF-8 text, first in line 2"):
        list(read("latin.txt").data)
    write("a.txt", "a")
    assert message("a.txt", standardize=True).startswith("--standardize: a.txt is no dense table")
    assert message("a.txt", probe="kind").startswith("--labels: got kind, but .txt has no named columns; allowed")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("1.5 2\n3 4\n", "for a table commas between the numbers, for edges --format edges"),
        ("a,b\n1,2\n3,4e-5\n", "for a table --format csv"),
        ("1\t2\n3\t-4\n", "for a table --format tsv"),
        ("x y z\n" + "1 2 3\n" * 40 + "now words\n", "for numbers that are words --format txt"),
    ],
)
def test_a_table_of_numbers_is_no_text(text, advice):
    write("t.txt", text)
    assert "INPUT: t.txt holds numbers and no words (line 2 begins " in message("t.txt") and advice in message("t.txt")
    assert read("t.txt", "txt").is_text


@pytest.mark.parametrize("text", ("1 2\n", "in 1984\n12 monkeys\n", "1 2\n3 4\nand so on\n", "\n\n", "nan\ninf\n"))
def test_texts_may_have_numbers(text):
    write("t.txt", text)
    assert read("t.txt").is_text


def test_columns_to_drop_one_by_one_or_in_a_list():
    write("t.csv", '"x,1",a,b,c\n1,2,3,4\n5,6,7,8\n')
    assert read("t.csv", drop=["x,1", "a,b"]).notes == ["columns used: c"]
    assert message("t.csv", drop=["a,d"]).startswith("--drop: t.csv has no column 'd'")


def test_many_columns_are_not_all_listed():
    names = [f"pixel{i}" for i in range(300)]
    write("t.csv", ",".join(names) + "\n" + ("1," * 300)[:-1] + "\n")
    assert read("t.csv").notes == [f"columns used: {', '.join(names[:18])}, ..., pixel299 (300 in all)"]
    said = message("t.csv", label="pixel3O")
    assert "no column 'pixel3O' (did you mean 'pixel3" in said and said.endswith("pixel299 (300 in all)")


def test_columns_of_labels_and_of_the_probe_are_no_features():
    write("t.csv", "a,kind,size\n1,p,3\n2,q,4\n")
    source = read("t.csv", label="kind", probe="size")
    assert source.data.tolist() == [[1], [2]] and list(source.labels) == ["p", "q"] and list(source.probed) == [3, 4]
    write("t.csv", "a,kind\n1,p\n2,\n")
    assert message("t.csv", probe="kind") == "--labels: t.csv has no value in column 'kind', row 2"
    assert message("t.csv", probe="none").startswith("--labels: t.csv has no column 'none'")

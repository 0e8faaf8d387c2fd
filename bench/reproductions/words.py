"""Word vectors: words whose vectors lie nearest to each other, from the co-occurrence context of a running text.

    python bench/reproductions/words.py         # the dictionary of the Debian package dict-gcide, if it is installed
    python bench/reproductions/words.py PATH    # a .txt file, a folder of them, or that package's gcide.dict.dz

The context is `cooccurrence` (window 5, the 20 000 most frequent words, context marginal to the power 0.75). A word's
vector is its row of the first 300 singular functions, each times its singular value (inner products of these vectors
are those of the dual kernel, T T*, without the constant), and near means a large cosine. words.csv has the table.
"""

import argparse
import csv
import gzip
import pathlib
import re
import time

import numpy as np

import eigencontext as ec

TABLE = pathlib.Path(__file__).parent / "words.csv"
GCIDE = pathlib.Path("/usr/share/dictd/gcide.dict.dz")
SHOWN = 8
WORDS = """king queen war church law god doctor mother horse dog fish bird tree flower water fire river mountain ship
house iron gold red blue music poem number three monday january france london heart blood disease acid sweet
bitter large quick speak walk think""".split()


def documents(path: pathlib.Path) -> list[str]:
    if path.is_dir():
        return [file.read_text(encoding="utf-8") for file in sorted(path.rglob("*.txt"))]
    if path.suffix in (".dz", ".gz"):
        with gzip.open(path) as file:
            text = file.read().decode("utf-8", "replace")
        return [re.sub(r"\[[^]]*\]", "", text)]  # sources and fields in brackets
    return [path.read_text(encoding="utf-8")]


def nearest(spectrum: ec.Spectrum, vocabulary: np.ndarray, words: list[str]) -> dict[str, list[tuple[str, float]]]:
    vectors = spectrum.left * spectrum.singular_values
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    number = {word: i for i, word in enumerate(vocabulary)}
    found = {}
    for word in words:
        if word in number:
            cosines = vectors @ vectors[number[word]]
            order = np.argsort(-cosines, kind="stable")
            found[word] = [(str(vocabulary[i]), float(cosines[i])) for i in order if i != number[word]][:SHOWN]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=pathlib.Path, default=GCIDE)
    parser.add_argument("--rank", type=int, default=300)
    parser.add_argument("--out", type=pathlib.Path, default=TABLE)
    arguments = parser.parse_args()
    if not arguments.path.exists():
        parser.error(f"{arguments.path} is not there; allowed: a text (or: apt-get install dict-gcide)")
    begin = time.perf_counter()
    context = ec.contexts.cooccurrence(documents(arguments.path), max_words=20_000, exponent=0.75)
    counted = time.perf_counter()
    spectrum = ec.spectrum(context, arguments.rank)
    done = time.perf_counter()
    tokens = int(context.word_counts.sum())
    print(f"{tokens} tokens of {len(context.vocabulary)} words, counted in {counted - begin:.1f} s; ", end="")
    print(f"{spectrum.k} functions in {done - counted:.1f} s, s_1 = {spectrum.singular_values[0]:.3f}")
    found = nearest(spectrum, context.vocabulary, WORDS)
    with open(arguments.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["word", *(f"neighbour_{i}" for i in range(1, SHOWN + 1)), "cosine_1", f"cosine_{SHOWN}"])
        for word, others in found.items():
            names = [name for name, _ in others]
            table.writerow([word, *names, f"{others[0][1]:.3f}", f"{others[-1][1]:.3f}"])
            print(f"{word:>10}: {' '.join(names)}")


if __name__ == "__main__":
    main()

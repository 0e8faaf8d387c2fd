"""The reproduction on images and speech at a tiny size: scikit-learn's digits, and words that are tones."""

import sys
from pathlib import Path

import numpy as np
import pytest

datasets = pytest.importorskip("sklearn.datasets")
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.reproductions import images_and_speech as script  # noqa: E402

RATE = 16000
TONES = {"Front": 300, "Rear": 900, "Left": 2000, "Right": 5000}


@pytest.fixture
def small(tmp_path, monkeypatch):
    from scipy.io import wavfile

    rng = np.random.default_rng(0)
    for first in ("Front", "Rear"):
        for second in ("Left", "Right"):
            time = np.arange(int(0.4 * RATE)) / RATE
            one, two = (np.sin(2 * np.pi * TONES[word] * time) for word in (first, second))
            sound = np.concatenate([one, np.zeros(int(0.3 * RATE)), two])
            sound += 1e-4 * rng.standard_normal(len(sound))
            wavfile.write(tmp_path / f"{first}_{second}.wav", RATE, (2e4 * sound).astype(np.int16))
    images = datasets.load_digits()  # four tones and silence: four functions tell them apart
    for name, value in {
        **{"IMAGES": tmp_path / "images.csv", "SPEECH": tmp_path / "speech.csv", "HERE": tmp_path},
        **{"TRAINING": 300, "TEST": 200, "D": 30, "D_SPEECH": 4, "SEEDS": (0,), "RATES": (0.5, 0.9)},
        **{"LAGS": (2,), "STACKED": (1,), "digits": lambda: (images.data > 7, images.target)},
    }.items():
        monkeypatch.setattr(script, name, value)
    return tmp_path


def test_words_are_parted_at_the_pause(small):
    sounds = script.recordings(small)
    assert set(sounds) == {"Front_Left", "Front_Right", "Rear_Left", "Rear_Right"}
    X, word = sounds["Front_Left"]
    assert X.shape == (len(word), script.BANDS)
    assert [w for w, before in zip(word, ["", *word], strict=False) if w != before] == ["front", "", "left"]
    assert abs((word == "front").sum() - 40) <= 3 and abs((word == "left").sum() - 40) <= 3


def test_stacked_frames():
    x = np.arange(4.0)[:, None]
    np.testing.assert_array_equal(script.stacked(x, 3), [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]])


def test_the_share_between_words():
    word = np.repeat(["a", "b", ""], 50)
    separate = np.where(word == "a", 1.0, -1.0)[:, None]
    noise = np.random.default_rng(0).standard_normal((150, 1))
    assert script.explained_share(separate, word, np.ones(1)) == 1
    assert script.explained_share(noise, word, np.ones(1)) < 0.1
    both = np.hstack([separate, noise])
    np.testing.assert_allclose(script.explained_share(both, word, np.array([3.0, 0.0])), 1)


def test_tones_and_digits_are_told_apart_and_rows_computed_once(small, monkeypatch):
    assert script.run(small, minutes=5)
    speech, images = script.rows(script.SPEECH), script.rows(script.IMAGES)
    assert len(speech) == 4 and len(images) == 4
    for row in speech:
        assert float(row["words"]) == 1 and float(row["frames"]) > 0.9
        assert float(row["explained"]) > float(row["random"])
    errors = {(row["context"], row["rate"]): float(row["error"]) for row in images}
    assert errors["masking", "0.9"] < 0.4 and errors["cutmix", "0.9"] < 0.4
    assert errors["masking", "0.5"] > 0.5  # with half of the pixels every digit is known by what is left of it
    for row in images:
        assert 0 < float(row["s_last"]) <= float(row["s_8"]) <= float(row["s_1"]) <= 1
    for name in ("image_row", "speech_row"):
        monkeypatch.setattr(script, name, None)  # nothing is left to measure
    assert script.run(small, minutes=5)
    text = script.report()
    assert "cutmix" in text and "frames stacked: 1" in text

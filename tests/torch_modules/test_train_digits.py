"""Networks trained with the modules learn the functions that the exact spectrum has."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.reproductions.train_digits import digits, settings, train  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

X = digits()
SETTINGS = settings(X)


@pytest.fixture(autouse=True)
def one_thread():
    """Of torch: many that wait for each other on busy cores take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name, seed", [("svme", 0), ("svme", 1), ("svme", 2), ("kise", 0), ("nested", 0)])
def test_captured_energy(name, seed):
    outcome = train(SETTINGS[name], X, seed)
    print(f"{name}, seed {seed}: captured {outcome.before:.3f} untrained, {outcome.after:.3f} trained")
    assert outcome.before < 0.6
    assert outcome.after >= 0.9
    # Of one encoder on the whole context: lower bounds, each.
    assert len(outcome.posthoc) == 8 and (outcome.posthoc <= outcome.exact + 1e-4).all()
    np.testing.assert_allclose((outcome.posthoc**2).sum(), outcome.after * (outcome.exact**2).sum(), rtol=1e-3)
    if name == "nested":  # in order, up to sign
        assert outcome.correlations.min() >= 0.9

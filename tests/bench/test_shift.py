"""The reproduction on distribution shift at a tiny size: what it promises of its populations, probes and table."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.reproductions import shift  # noqa: E402

TABLE = shift.load("breast_cancer")


@pytest.mark.parametrize("group", ["class", "coordinate"])
def test_a_group_is_rare_where_it_is_learned_from_only(group):
    data = shift.populations(TABLE, group, seed=0)
    natural = (TABLE.y == 1).mean() if group == "class" else 0.5
    assert data.rare.mean() < natural / 3
    assert abs(data.rare_test.mean() - natural) < 0.1
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-10)
    if group == "class":
        np.testing.assert_array_equal(data.rare_test, data.y_test == 1)


def test_labels_with_noise_are_other_classes():
    y = np.arange(4000) % 3
    changed = shift.noisy(y, 0.1, 3, seed=0) != y
    assert abs(changed.mean() - 0.1) < 0.02
    assert set(shift.noisy(y, 1.0, 3, seed=0) - y) == {1, 2, -1, -2}
    np.testing.assert_array_equal(shift.noisy(y, 0.0, 3, seed=0), y)


def test_probes_minimise_their_own_loss():
    rng = np.random.default_rng(0)
    F = shift.with_constant(rng.standard_normal((200, 3)))
    y = (F[:, 1] + 0.5 * rng.standard_normal(200) > 0).astype(int)
    data = shift.Populations(F, y, y == 1, F, y, y == 1)
    probes = {name: shift.trained(F, y, 2, shift.rule(name, data)) for name in ("uniform", "CVaR", "chi2")}
    losses, residual = shift.losses_and_residual(probes["uniform"], F, y)
    gradient = F.T @ residual / len(y) + shift.RIDGE * probes["uniform"]
    assert np.abs(gradient).max() < 1e-3

    def risk(weights, W):
        losses, _ = shift.losses_and_residual(W, F, y)
        return shift.rule(weights, data)(losses) @ losses + shift.RIDGE / 2 * (W**2).sum()

    for name, other in (("uniform", "CVaR"), ("uniform", "chi2"), ("CVaR", "uniform"), ("chi2", "uniform")):
        assert risk(name, probes[name]) < risk(name, probes[other])


def test_rows_are_computed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shift, "TABLE", tmp_path / "shift.csv")
    monkeypatch.setattr(shift, "HERE", tmp_path)
    monkeypatch.setattr(shift, "STEPS", 20)
    assert not shift.run(minutes=0, names=["breast_cancer"], seeds=(0,))
    assert len(shift.rows()) == 1
    assert shift.run(minutes=5, names=["breast_cancer"], seeds=(0,))
    found = shift.rows()
    assert len(found) == 2 * len(shift.CONTEXTS) * len(shift.NOISES) * len(shift.PROBES)
    assert {row["seed"] for row in found} == {"0"}
    monkeypatch.setattr(shift, "measure", None)  # nothing is left to measure
    assert shift.run(minutes=5, names=["breast_cancer"], seeds=(0,))
    for row in found:
        low, high = sorted((float(row["error_source"]), float(row["error_rare"])))
        assert low - 1e-4 <= float(row["error_target"]) <= high + 1e-4
    assert "CVaR-DORO" in shift.report()

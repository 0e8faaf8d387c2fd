"""The spectral contrastive loss of views that are read by slices: that of the array, a block at a time."""

import numpy as np
import pytest

from eigencontext.objectives import spectral_contrastive


class Sliced:
    """Views of no array: len and slicing alone. Remembers the longest slice."""

    def __init__(self, views):
        self._views, self.longest = views, 0

    def __len__(self):
        return len(self._views)

    def __getitem__(self, inputs):
        assert isinstance(inputs, slice)
        part = self._views[inputs].copy()
        self.longest = max(self.longest, len(part))
        return part


@pytest.mark.parametrize("weighted", [False, True])
def test_slices(weighted):
    """N = 16384, of which no more than a quarter is asked for at once."""
    rng = np.random.default_rng(0)
    views = rng.standard_normal((16384, 3, 5)) + 1
    weights = rng.random(16384) if weighted else None
    expected = spectral_contrastive(views, weights=weights)
    sliced, out = Sliced(views), np.empty_like(views)
    result = spectral_contrastive(sliced, weights=weights, out=out)
    assert 0 < sliced.longest <= 16384 // 4
    np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-12)
    assert result.grad_views is out
    np.testing.assert_allclose(out, expected.grad_views, rtol=0, atol=1e-12 * np.abs(out).max())


def test_bad_slices():
    views = np.random.default_rng(0).standard_normal((5000, 2, 3))
    views[4500, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"views\[4096:5000\]: got nan at \[404, 1, 2\]"):
        spectral_contrastive(Sliced(views))
    with pytest.raises(TypeError, match="views: got a generator, which can be read once"):
        spectral_contrastive(view for view in views)

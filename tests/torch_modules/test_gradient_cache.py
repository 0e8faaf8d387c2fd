"""Micro-batches give the gradient of the whole."""

import pytest

torch = pytest.importorskip("torch")

import eigencontext as ec  # noqa: E402

pytestmark = pytest.mark.torch


def encoder(width, seed, *layers):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(width, 6), torch.nn.Tanh(), *layers, torch.nn.Linear(6, 3)).double()


def grads(*encoders):
    found = [None if p.grad is None else p.grad.clone() for e in encoders for p in e.parameters()]
    for e in encoders:
        e.zero_grad()
    return found


def data(n=50):
    g = torch.Generator().manual_seed(7)
    return torch.randn(n, 5, generator=g, dtype=torch.float64), torch.randn(n, 4, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [7, 13, 30]])
@pytest.mark.parametrize("name", ["SVMELoss", "NestedLowRankLoss", "InfoNCELoss"])
def test_equals_one_pass(name, sizes):
    f, g, (x, a) = encoder(5, 0), encoder(4, 1), data()
    loss = getattr(ec.torch, name)()
    value = loss(f(x), g(a))
    value.backward()
    expected = grads(f, g)
    cached = ec.torch.cached_backward(loss, (f, g), list(zip(x.split(sizes), a.split(sizes), strict=True)))
    assert not cached.requires_grad
    torch.testing.assert_close(cached, value.detach())
    for found, wanted in zip(grads(f, g), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)


def test_one_encoder_twice_and_a_parameter_of_the_loss():
    f, (x, _) = encoder(5, 0), data()
    loss = ec.torch.InfoNCELoss(temperature=torch.nn.Parameter(torch.tensor(0.5)))
    loss(f(x), f(x + 0.1)).backward()
    expected = grads(f, loss)
    ec.torch.cached_backward(loss, (f, f), [(rows, rows + 0.1) for rows in x.split(20)])
    for found, wanted in zip(grads(f, loss), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)


def test_dropout_and_running_statistics():
    """Both passes see the same noise; what an encoder keeps is left as by one pass."""
    f, (x, _) = encoder(5, 0, torch.nn.Dropout(0.4), torch.nn.BatchNorm1d(6)), data()
    twin = encoder(5, 0, torch.nn.Dropout(0.4), torch.nn.BatchNorm1d(6))
    loss = ec.torch.KISELoss(bandwidth=2.0)
    torch.manual_seed(3)
    torch.cat([twin(rows) for rows in x.split(10)])
    after = torch.get_rng_state()
    twin.load_state_dict(encoder(5, 0, torch.nn.Dropout(0.4), torch.nn.BatchNorm1d(6)).state_dict())
    torch.manual_seed(3)
    value = loss(torch.cat([twin(rows) for rows in x.split(10)]), x)
    value.backward()
    torch.manual_seed(3)
    cached = ec.torch.cached_backward(lambda phi: loss(phi, x), (f,), [(rows,) for rows in x.split(10)])
    assert torch.equal(torch.get_rng_state(), after)
    torch.testing.assert_close(cached, value.detach())
    for found, wanted in zip(f.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)
    for found, wanted in zip(grads(f), grads(twin), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)


def test_frozen_encoder_and_accumulation():
    f, g, (x, a) = encoder(5, 0), encoder(4, 1).requires_grad_(False), data()
    loss = ec.torch.SVMELoss()
    loss(f(x), g(a)).backward()
    expected = grads(f)
    for _ in range(2):
        ec.torch.cached_backward(loss, (f, g), list(zip(x.split(9), a.split(9), strict=True)))
    for found, wanted in zip(grads(f), expected, strict=True):
        torch.testing.assert_close(found, 2 * wanted, rtol=1e-9, atol=1e-13)


def test_bad_input():
    f, (x, a) = encoder(5, 0), data()
    for batches in ([], [(x, a)]):
        with pytest.raises(ValueError, match="batches: got .*; allowed: one input for each encoder"):
            ec.torch.cached_backward(ec.torch.SVMELoss(), (f,), batches)
    calls = []

    def other_each_time(rows):
        calls.append(rows)
        return f(rows) * len(calls)

    with pytest.raises(RuntimeError, match="encoders: function gave another result in its second pass"):
        ec.torch.cached_backward(ec.torch.SVMELoss(), (other_each_time, f), [(x, x)])

"""Every module against plain torch, in value and gradient, and against central differences."""

import pytest

torch = pytest.importorskip("torch")

from torch_cases import NAMES, cases  # noqa: E402

import eigencontext as ec  # noqa: E402

pytestmark = pytest.mark.torch


def leaves(inputs):
    return {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_formula(name, dtype):
    case = cases(n=60, d=4)[name]
    ours, theirs = leaves({key: tensor.to(dtype) for key, tensor in case.inputs.items()}), leaves(case.inputs)
    value, expected = case.call(ours), case.call(theirs, case.reference)
    assert value.dtype == dtype and value.shape == ()
    tolerance = 1e-9 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
    (3 * value).backward()
    (3 * expected).backward()
    assert case.module.terms and all(isinstance(term, float) for term in case.module.terms.values())
    for key, tensor in ours.items():
        grad, wanted = tensor.grad.double(), theirs[key].grad
        assert tensor.grad.dtype == dtype
        assert (grad - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_central_differences(name):
    case = cases(n=7, d=2)[name]
    inputs = leaves(case.inputs)
    assert torch.autograd.gradcheck(
        lambda *rows: case.call(dict(zip(inputs, rows, strict=True))), tuple(inputs.values())
    )


def test_every_module_has_a_case():
    used = {type(case.module).__name__ for case in cases().values()} | {"ChainLoss", "cached_backward"}
    assert used == set(ec.torch.__all__)


@pytest.mark.parametrize("ends", ["kernel", "sampler"])
def test_chain(ends):
    """sampler, kernel, sampler, sampler, kernel, then what closes it; the draws are repeated by the seed."""
    g = torch.Generator().manual_seed(1)
    x_0 = torch.randn(40, 3, generator=g, dtype=torch.float64)
    first, second = {"kernel": "rbf", "bandwidth": 1.0}, {"kernel": "cosine"}

    def noise(x):
        return x + 0.3 * torch.randn(x.shape, dtype=x.dtype)

    links = [noise, first, noise, noise, second] + ([noise] if ends == "sampler" else [first])
    encoders = [torch.nn.Linear(3, 4).double() for _ in range(2 if ends == "sampler" else 1)]
    torch.manual_seed(2)
    value = ec.torch.ChainLoss(links, alpha=0.5)(encoders[0], x_0, *encoders[1:])
    value.backward()
    grads = [p.grad.clone() for e in encoders for p in e.parameters()]

    def kernel(x, a):
        return torch.exp(-(torch.cdist(x, a) ** 2) / 2)

    def cosine(x, a):
        return (1 + torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(a).T) / 2

    torch.manual_seed(2)
    moved = noise(x_0)
    after = noise(noise(x_0))
    drawn = noise(x_0) if ends == "sampler" else None
    n, d = 40, 4
    for e in encoders:
        e.zero_grad()
    B = encoders[0](moved) - encoders[0](x_0).mean(0)
    B = cosine(x_0, x_0).T @ (kernel(x_0, after).T @ B / n) / n
    if ends == "sampler":
        C = encoders[1](drawn)
        data = ((B - (C - C.mean(0))) ** 2).sum() / (n * d)
    else:
        data = ((B * B).sum() - (B * (kernel(x_0, x_0) @ B)).sum() / n) / (n * d)
    S = B.T @ B / (n - 1)
    std = torch.relu(1 - torch.sqrt(B.var(0) + 1e-4)).mean()
    cov = (S - torch.diag(torch.diagonal(S))).square().sum() / (d * (d - 1))
    expected = (data + 0.5 * std + cov) / 2.5
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    for grad, parameter in zip(grads, [p for e in encoders for p in e.parameters()], strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-8, atol=1e-12)


def test_chain_of_one_link():
    x = torch.randn(50, 3, dtype=torch.float64)
    encoder = torch.nn.Linear(3, 2).double()
    options = {"kernel": "laplacian", "bandwidth": 2.0}
    one, same = ec.torch.ChainLoss([options])(encoder, x), ec.torch.KISELoss(**options)(encoder(x), x)
    torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-15)
    one, same = (
        ec.torch.ChainLoss([lambda x: 2 * x])(encoder, x, encoder),
        ec.torch.SVMELoss()(encoder(x), encoder(2 * x)),
    )
    torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-15)

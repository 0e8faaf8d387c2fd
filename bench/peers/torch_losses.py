"""PyTorch's losses: the formula with everything stored and autograd, and what a careful user writes by hand."""

from ..case import Answer, Method
from ..tasks import objectives

CHUNK = 1024  # rows of a matrix of pairs that are there at once
TEMPERATURE = 0.07


def prepare(data):
    import torch

    return data | {"arrays": [torch.from_numpy(a) for a in objectives.inputs(data["objective"], data["sizes"])]}


def by_autograd(state, _):
    """`LOSSES`, differentiated with respect to the embeddings."""
    arrays = [a.detach() for a in state["arrays"]]
    inputs = arrays[:1] if state["objective"] == "kise" else arrays
    for a in inputs:
        a.requires_grad_()
    LOSSES[state["objective"]](*arrays, **state["sizes"]).backward()
    return Answer(objectives.answer(*[a.grad.numpy() for a in inputs]))


def by_hand(state, _):
    """`GRADIENTS`: chunks of the pairs, closed-form gradients, nothing for autograd to keep."""
    import torch

    with torch.no_grad():
        grads = GRADIENTS[state["objective"]](*state["arrays"], **state["sizes"])
    return Answer(objectives.answer(*[g.numpy() for g in grads]))


# -- losses ------------------------------------------------------------------------------------------------------------


def covariance_terms(B):
    import torch

    n, d = B.shape
    S = B.T @ B / (n - 1)
    std = torch.relu(1 - torch.sqrt(S.diagonal() + 1e-4)).mean()
    return std + (S.square().sum() - S.diagonal().square().sum()) / (d * (d - 1))


def svme(phi, psi, n, d):
    B, C = phi - phi.mean(0), psi - psi.mean(0)
    return ((B - C).square().sum() / (n * d) + covariance_terms(B)) / 3


def kise(phi, X, n, p, d, bandwidth):
    import torch

    B = phi - phi.mean(0)
    K = torch.exp(torch.cdist(X, X).square() / (-2 * bandwidth**2))
    return ((B.square().sum() - (B * (K @ B)).sum() / n) / (n * d) + covariance_terms(B)) / 3


def spectral_contrastive(A, n, d):
    import torch

    return contrastive(torch.einsum("ijd,kld->ikjl", A, A))


def exponential_spectral_contrastive(A, n, d):
    import torch

    return contrastive(torch.exp(torch.einsum("ijd,kld->ikjl", A, A)))


def contrastive(f):
    """-2 mean of f over pairs of views of one input + mean of f^2 over views of two inputs; f (N, N, r, r)."""
    import torch

    n, r = f.shape[0], f.shape[2]
    own = f.diagonal().permute(2, 0, 1)
    pairs = own.sum() - own.diagonal(dim1=1, dim2=2).sum()
    between = f.square() * (1 - torch.eye(n))[:, :, None, None]
    return -2 * pairs / (n * r * (r - 1)) + between.sum() / (n * (n - 1) * r * r)


def info_nce(phi, psi, n, d):
    import torch

    logits, target = phi @ psi.T / TEMPERATURE, torch.arange(n)
    entropy = torch.nn.functional.cross_entropy
    return (entropy(logits, target) + entropy(logits.T, target)) / 2


def level_weights(d):
    import torch

    W = torch.arange(d, 0, -1) / d
    index = torch.arange(d)
    return W, W[torch.maximum(index[:, None], index)]


def nested_low_rank(phi, psi, n, d):
    W, M = level_weights(d)
    products = phi * psi
    own = products.cumsum(1).square().sum() / d
    return -2 * (products.mean(0) * W).sum() + ((M * (phi.T @ phi) * (psi.T @ psi)).sum() - own) / (n * (n - 1))


LOSSES = {
    f.__name__: f
    for f in (svme, kise, spectral_contrastive, exponential_spectral_contrastive, info_nce, nested_low_rank)
}


# -- gradients by hand -------------------------------------------------------------------------------------------------


def regularised(B):
    """B times the factor of the gradient of `covariance_terms`."""
    import torch

    n, d = B.shape
    S = B.T @ B / (n - 1)
    sigma = torch.sqrt(S.diagonal() + 1e-4)
    S *= 4 / (d * (d - 1) * (n - 1))
    S.diagonal().copy_(-(sigma < 1).float() / (d * (n - 1) * sigma))
    return B @ S


def svme_by_hand(phi, psi, n, d):
    B = phi - phi.mean(0)
    agree = (B - psi).add_(psi.mean(0)).mul_(2 / (n * d))
    return regularised(B).add_(agree).div_(3), agree.div_(-3)


def kise_gradient(phi, KB):
    """The gradient from K B, with phi's centred rows B."""
    n, d = phi.shape
    B = phi - phi.mean(0)
    grad = (B - KB / n).mul_(2 / (n * d)).add_(regularised(B)).div_(3)
    return grad - grad.mean(0)


def kise_by_hand(phi, X, n, p, d, bandwidth):
    import torch

    B, KB = phi - phi.mean(0), torch.empty_like(phi)
    scaled = X / (2**0.5 * bandwidth)
    squares = scaled.square().sum(1)
    for rows in range(0, n, CHUNK):
        at = slice(rows, rows + CHUNK)
        K = torch.addmm(squares[at, None] + squares, scaled[at], scaled.T, beta=-1, alpha=2)
        KB[at] = K.clamp_(max=0).exp_() @ B
    return (kise_gradient(phi, KB),)


def spectral_contrastive_by_hand(A, n, d):
    r = A.shape[1]
    flat = A.reshape(n * r, d)
    own = A @ A.transpose(1, 2)
    grad = (flat @ (flat.T @ flat)).view(n, r, d) - own @ A
    grad *= 4 / (n * (n - 1) * r * r)
    return (grad.sub_(A.sum(1, keepdim=True) - A, alpha=4 / (n * r * (r - 1))),)


def exponential_spectral_contrastive_by_hand(A, n, d):
    import torch

    r = A.shape[1]
    flat, index = A.reshape(n * r, d), torch.arange(n * r) // A.shape[1]
    grad = torch.empty_like(flat)
    for begin in range(0, n * r, CHUNK):
        at = slice(begin, begin + CHUNK)
        f = (flat[at] @ flat.T).exp_()
        own = index[at, None] == index[begin : begin + CHUNK]
        pairs = f[:, at] * own
        pairs.fill_diagonal_(0)
        f.square_().mul_(4 / (n * (n - 1) * r * r))
        f[:, at] = f[:, at] * ~own - pairs * (4 / (n * r * (r - 1)))
        grad[at] = f @ flat
    return (grad.view(n, r, d),)


def info_nce_by_hand(phi, psi, n, d):
    import torch

    by_rows, by_columns = torch.empty(n), torch.full((n,), -torch.inf)
    for begin in range(0, n, CHUNK):
        at = slice(begin, begin + CHUNK)
        logits = (phi[at] @ psi.T).div_(TEMPERATURE)
        by_rows[at] = logits.logsumexp(1)
        by_columns = torch.logaddexp(by_columns, logits.logsumexp(0))
    grads = torch.empty_like(phi), torch.zeros_like(psi)
    for begin in range(0, n, CHUNK):
        at = slice(begin, begin + CHUNK)
        logits = (phi[at] @ psi.T).div_(TEMPERATURE)
        G = (logits - by_rows[at, None]).exp_().add_(logits.sub_(by_columns).exp_())
        G[:, at].diagonal().sub_(2)
        grads[0][at] = G @ psi
        grads[1].addmm_(G.T, phi[at])
    return [grad.div_(2 * n * TEMPERATURE) for grad in grads]


def nested_low_rank_by_hand(phi, psi, n, d):
    W, M = level_weights(d)
    own = (phi * psi) @ M
    grads = []
    for x, y in ((phi, psi), (psi, phi)):
        grad = (x @ (M * (y.T @ y))).addcmul_(own, y, value=-1).mul_(2 / (n * (n - 1)))
        grads.append(grad.addcmul_(y, W, value=-2 / n))
    return grads


GRADIENTS = {
    "svme": svme_by_hand,
    "kise": kise_by_hand,
    "spectral_contrastive": spectral_contrastive_by_hand,
    "exponential_spectral_contrastive": exponential_spectral_contrastive_by_hand,
    "info_nce": info_nce_by_hand,
    "nested_low_rank": nested_low_rank_by_hand,
}


def fits(data):
    return data["stored"]


METHODS = [
    Method("torch autograd", "torch", "objectives", by_autograd, prepare=prepare, isolated=True, suits=fits),
    Method("torch in chunks", "torch", "objectives", by_hand, prepare=prepare, isolated=True),
]

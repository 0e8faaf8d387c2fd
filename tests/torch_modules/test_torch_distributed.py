"""The mean over ranks of what each gets is the gradient of the full batch: emulated ranks, and processes of gloo."""

import threading

import pytest

torch = pytest.importorskip("torch")

from torch_cases import NAMES, cases  # noqa: E402

from eigencontext.torch import _distributed  # noqa: E402

pytestmark = pytest.mark.torch

WIDTH = 3


def shares_of(ranks, least=4):
    """Rows of each rank: unequal."""
    return [least + 2 * rank + rank % 2 for rank in range(ranks)]


def parts_of(case, sizes):
    """(inputs, constants) of each rank; numbers are the same everywhere."""
    begin, parts = 0, []
    for size in sizes:
        rows = slice(begin, begin + size)
        parts.append([{k: v[rows] if v.ndim else v for k, v in d.items()} for d in (case.inputs, case.constants)])
        begin += size
    return parts


class Ranks:
    """torch.distributed for threads: what the losses use of it."""

    def __init__(self, ranks):
        self.ranks, self.barrier, self.box, self.local = (
            ranks,
            threading.Barrier(ranks),
            [None] * ranks,
            threading.local(),
        )

    def get_world_size(self, group):
        return self.ranks

    def get_rank(self, group):
        return self.local.rank

    def get_global_rank(self, group, rank):
        return rank

    def all_gather_object(self, into, value, group):
        self.box[self.local.rank] = value
        self.barrier.wait()
        into[:] = self.box
        self.barrier.wait()

    def broadcast_object_list(self, box, src, group):
        if self.local.rank == src:
            self.box[src] = box[0]
        self.barrier.wait()
        box[0] = self.box[src]
        self.barrier.wait()


def run_ranks(emulated, work):
    results = [None] * emulated.ranks

    def one(rank):
        emulated.local.rank = rank
        try:
            results[rank] = work(rank)
        except BaseException as error:
            results[rank] = error
            emulated.barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(emulated.ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def of_rank(case, part):
    inputs = {name: tensor.clone().requires_grad_() for name, tensor in part[0].items()}
    value = case.call(inputs, constants=part[1])
    value.backward()
    return value.detach(), {name: tensor.grad for name, tensor in inputs.items()}


def check(reference, order, results, ranks):
    """Against one process that has all the rows; the values of all ranks agree to the last bit."""
    value, grads = of_rank(reference, (reference.inputs, reference.constants))
    for other, _ in results:
        assert other == results[0][0]
        torch.testing.assert_close(other, value, rtol=1e-10, atol=1e-12)
    for name, grad in grads.items():
        if grad.ndim:
            mean = torch.cat([found[name] for _, found in results]) / ranks
            grad = grad if order is None else grad[torch.argsort(order)]
        else:
            mean = torch.stack([found[name] for _, found in results]).mean()
        torch.testing.assert_close(mean, grad, rtol=1e-8, atol=1e-12)


def one_process(name, sizes):
    """The case of all rows without a group; "split" has the ranks' halves as its halves."""
    case, order = cases(sum(sizes), WIDTH)[name], None
    if "split" in name:
        begins = [sum(sizes[:r]) for r in range(len(sizes))]
        halves = [torch.arange(b, b + s // 2) for b, s in zip(begins, sizes, strict=True)]
        halves += [torch.arange(b + s // 2, b + s) for b, s in zip(begins, sizes, strict=True)]
        order = torch.cat(halves)
        case.inputs, case.constants = ({k: v[order] for k, v in d.items()} for d in (case.inputs, case.constants))
    return case, order


def balanced(sizes):
    """Halves of all ranks together must be those that one process takes: sizes are even for the split estimator."""
    return [size + size % 2 for size in sizes]


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("name", NAMES)
def test_emulated(name, ranks, monkeypatch):
    emulated = Ranks(ranks)
    monkeypatch.setattr(_distributed, "dist", emulated)
    sizes = balanced(shares_of(ranks)) if "split" in name else shares_of(ranks)
    case = cases(sum(sizes), WIDTH, group="all")[name]
    parts = parts_of(case, sizes)
    modules = [cases(sum(sizes), WIDTH, group="all")[name].module for _ in range(ranks)]  # .terms is the module's own

    def work(rank):
        mine = type(case)(modules[rank], case.inputs, case.constants, case.reference)
        return of_rank(mine, parts[rank])

    check(*one_process(name, sizes), run_ranks(emulated, work), ranks)


def process(rank, ranks, port, folder):
    """One rank of gloo: every case, then an encoder under DistributedDataParallel."""
    torch.set_num_threads(1)
    store = torch.distributed.TCPStore("127.0.0.1", port, ranks, is_master=False)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    try:
        world, sizes, found = torch.distributed.group.WORLD, balanced(shares_of(ranks)), {}
        for name, case in cases(sum(sizes), WIDTH, group=world).items():
            found[name] = of_rank(case, parts_of(case, sizes)[rank])
        for name in ("svme", "info_nce"):
            case = cases(sum(sizes), WIDTH, group=world)[name]
            part = parts_of(case, sizes)[rank][0]
            torch.manual_seed(0)
            encoder = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(WIDTH, WIDTH).double())
            rows = torch.cat([part["phi"], part["psi"]])
            case.call({**part, **dict(zip(("phi", "psi"), encoder(rows).chunk(2), strict=True))}).backward()
            found[f"encoder {name}"] = [p.grad for p in encoder.parameters()]
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("ranks", [2, 3])
def test_gloo(ranks, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = torch.distributed.TCPStore("127.0.0.1", 0, ranks, is_master=True, wait_for_workers=False)
    torch.multiprocessing.spawn(process, (ranks, store.port, str(tmp_path)), nprocs=ranks)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(ranks)]
    sizes = balanced(shares_of(ranks))
    for name in NAMES:
        check(*one_process(name, sizes), [result[name] for result in found], ranks)
    for name in ("svme", "info_nce"):
        case = cases(sum(sizes), WIDTH)[name]
        torch.manual_seed(0)
        encoder = torch.nn.Linear(WIDTH, WIDTH).double()
        pair = {key: encoder(case.inputs[key]) for key in ("phi", "psi")}
        case.call({**case.inputs, **pair}).backward()
        for rank in range(ranks):
            for grad, parameter in zip(found[rank][f"encoder {name}"], encoder.parameters(), strict=True):
                torch.testing.assert_close(grad, parameter.grad, rtol=1e-8, atol=1e-12)

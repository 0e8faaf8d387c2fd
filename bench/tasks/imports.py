"""What ``import eigencontext`` takes beyond numpy and scipy.sparse.linalg, in fresh processes."""

from ..case import Case, Goal, field_of

NAME = "import"


def cases(quick):
    yield Case("imports", NAME, {"quick": quick}, accuracy=0, error=lambda seconds: float(not (seconds > 0).all()))


def goals(results):
    seconds = field_of(results, NAME, "eigencontext", "median")
    yield Goal("import eigencontext beyond numpy and scipy", 0.3, seconds, most=True, unit="s")

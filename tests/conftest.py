"""tests/cuda_emulation builds a module of its own and is run by name only.

Properties draw the same examples in every run; EIGENCONTEXT_HYPOTHESIS_EXAMPLES asks for fewer or more than 200."""

import os
import pathlib

from hypothesis import HealthCheck, settings

settings.register_profile(
    "eigencontext",
    max_examples=int(os.environ.get("EIGENCONTEXT_HYPOTHESIS_EXAMPLES", "200")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("eigencontext")


def pytest_ignore_collect(collection_path, config):
    """Only where an argument names the folder."""
    if collection_path.name != "cuda_emulation":
        return None
    here = pathlib.Path(__file__).parent / "cuda_emulation"
    named = [pathlib.Path(config.invocation_params.dir, str(argument).partition("::")[0]) for argument in config.args]
    return not any(here == path.resolve() or here in path.resolve().parents for path in named)

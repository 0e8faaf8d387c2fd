"""Properties draw the same examples in every run; EIGENCONTEXT_HYPOTHESIS_EXAMPLES asks for fewer or more than 200."""

import os

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

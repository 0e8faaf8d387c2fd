"""A build with sanitizers reports what it should; any other build has no entry that could go wrong on purpose."""

import os
import subprocess
import sys

from eigencontext import _core


def test_one_element_past_a_view_is_reported():
    sanitized = os.environ.get("EIGENCONTEXT_SANITIZE") == "1"
    assert hasattr(_core, "read_past_view") == sanitized
    if sanitized:
        program = "from eigencontext import _core; _core.read_past_view(8)"
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert run.returncode != 0 and "heap-buffer-overflow" in run.stderr, run.stderr

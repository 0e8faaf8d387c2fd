"""The package as installed: what importing it costs and where its library finds BLAS."""

import subprocess
import sys


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_import_brings_in_no_optional_package():
    loaded = run("import sys, eigencontext; print(' '.join(sys.modules))").split()
    for name in ("torch", "sklearn", "matplotlib", "rich", "pandas", "cupy"):
        assert name not in loaded


def test_the_level_in_use_is_printed():
    level = run("from eigencontext import _core; print(_core.simd_level())").strip()
    print("SIMD level:", level)
    assert level in ("baseline", "avx2", "avx512", "neon")
    assert level in run("import eigencontext as ec; ec.show_config()")

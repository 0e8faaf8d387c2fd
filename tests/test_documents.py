"""The examples in README.md and in the public docstrings run."""

import doctest
import pathlib
import pkgutil
import re
import warnings

import pytest

import eigencontext as ec

README = pathlib.Path(__file__).parents[1] / "README.md"


def modules():
    names = [ec.__name__]
    for info in pkgutil.walk_packages(ec.__path__, ec.__name__ + "."):
        if not info.name.endswith(("_core", "__main__")):
            names.append(info.name)
    return [pytest.param(name, marks=pytest.mark.torch) if "torch" in name else name for name in names]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    if "torch" in name:
        pytest.importorskip("torch")
    module = __import__(name, fromlist=["_"])
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("torch", [False, pytest.param(True, marks=pytest.mark.torch)])
def test_readme_examples(torch, tmp_path, monkeypatch, capsys):
    if torch:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    blocks = [block for block in blocks if ("import torch" in block) == torch]
    assert blocks
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks:
            exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_first_two_shell_blocks_are_single_lines():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.S)
    assert len(blocks) >= 2
    assert all(len(block.strip().splitlines()) == 1 for block in blocks[:2])

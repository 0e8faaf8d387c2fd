import gc
import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def reports_are_seen(request):
    """A fault ends the process: its report goes around pytest's capture."""
    from emulated import core

    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        core.emulation.report = os.dup(2)


@pytest.fixture(autouse=True, scope="session")
def modules_are_no_garbage():
    """What was imported is not gone through after every test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def settings():
    """Every test begins with the emulation's own settings and leaves no memory behind."""
    from emulated import core

    control = core.emulation
    names = (
        "order", "poison", "memory", "driver", "devices", "capability", "current", "pending", "page_locked", "broken",
    )  # fmt: skip
    before = {name: getattr(control, name) for name in names}
    count, _ = core.live()
    yield control
    for name, value in before.items():
        setattr(control, name, value)
    if core.live()[0] > count:  # collecting takes longer than most tests
        gc.collect()
    assert core.live()[0] <= count, "device memory that nobody owns"

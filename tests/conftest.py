"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.record_stores import postgres_server, postgres_url, record_store, record_where  # noqa: F401  (fixtures)
from tests.shotfix.nats_server import nats_server  # noqa: F401  (a fixture)

# No deadlines: machines are noisy, and kernels compile at their first call. The build machine tries the same examples
# every time, so that it judges the change and not the dice; everybody else rolls them.
settings.register_profile("people", deadline=None)
settings.register_profile("machine", deadline=None, derandomize=True)
settings.register_profile("few", deadline=None, derandomize=True, max_examples=5)
settings.load_profile("machine" if os.environ.get("CI") == "true" else "people")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; a machine without it skips, the build machine must have it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        reason = (
            f"no reference data at {folder}: live fire, recorded sounds and others' vectors are not in this checkout"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Half characters, which tests of hostile names leave in the captured log, cannot go from one process to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report

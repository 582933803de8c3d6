"""What tests of the services may ask for."""

from __future__ import annotations

import pytest


@pytest.fixture
def spool(tmp_path):
    """A node's spool, empty."""
    from sensors.spool import Spool  # noqa: PLC0415  (only who asks for it pays for it)
    from tests.shotfix.stations import BOOT  # noqa: PLC0415

    with Spool(tmp_path / "spool.db", BOOT, "node-1") as opened:
        yield opened

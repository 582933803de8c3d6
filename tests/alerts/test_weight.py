"""What importing this room costs: heavy libraries only where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("scipy", "numba", "pyproj", "matplotlib", "sqlalchemy", "httpx", "starlette", "uvicorn", "rich")


@pytest.mark.parametrize(
    "module", ["alerts.desk", "alerts.words", "alerts.delivery", "alerts.couriers.webhook", "alerts.couriers.loopback"]
)
def test_a_module_does_not_bring_what_it_may_never_use(root, module):
    script = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []

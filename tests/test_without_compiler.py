"""The kernels as plain Python: the same tests once more, uncompiled, so that coverage and debuggers see them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("tests", ["tests/localization/test_solver_kernels.py", "tests/acoustic/test_gate.py"])
def test_kernels_uncompiled(root, tests):
    """Five examples each: plain Python is a hundred times slower."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=few", tests]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:]

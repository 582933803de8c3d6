"""The wheel: installed into an empty environment, away from the checkout, it runs."""

from __future__ import annotations

import subprocess
import sys
import venv

import pytest

pytestmark = pytest.mark.slow


def test_installs_and_runs_in_an_empty_environment(root, tmp_path):
    """With the pinned dependencies only; nothing of the checkout is on its path."""
    wheels, home = tmp_path / "wheels", tmp_path / "empty"
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        wheels,
        root,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run(
        [*install, "--require-hashes", "--only-binary", ":all:", "-r", root / "requirements.lock"],
        check=True,
        capture_output=True,
    )
    subprocess.run([*install, "--no-deps", wheel], check=True, capture_output=True)
    night, out = root / "fixtures" / "scenes" / "demo-night", tmp_path / "out"
    names = ["alerts", "acoustic", "sensors", "localization", "shotfix"]
    where = subprocess.run(
        [python, "-c", f"import importlib; print([importlib.import_module(n).__file__ for n in {names}])"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert str(root) not in where.stdout
    first = next((night / "audio").iterdir())
    done = subprocess.run(
        [home / "bin" / "shotfix", "classify", first], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert '"llr"' in done.stdout
    assert not out.exists()
    listed = subprocess.run(
        [python, "-m", "pip", "show", "--files", "shotfix"], check=True, capture_output=True, text=True
    ).stdout
    assert "tests/" not in listed
    assert "fixtures/" not in listed
    assert "acoustic/model.npz" in listed

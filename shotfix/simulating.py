"""Simulating: from a specification to a scene folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localization.study.scene_reading import read_scene
from localization.study.scene_writing import FILES
from localization.study.simulate import read_spec, write_simulation
from shotfix.progress import progress
from shotfix.results import check_free


def simulate_scene(spec_path: Path, folder: Path, *, force: bool) -> dict[str, Any]:
    """Make the scene that a specification asks for; what it holds.

    Raises
    ------
    SceneError
        When the specification is wrong.
    OutputError
        When the folder holds something else.
    """
    check_free(folder, force=force, files=FILES, folders=("audio",))
    spec = read_spec(spec_path)
    with progress(f"simulate {spec.name}", 1.0, "done") as advance:
        write_simulation(spec, folder, progress=advance)
    scene = read_scene(folder)
    return {
        "name": scene.name,
        "sensors": len(scene.network.sites),
        "events": len(scene.truth),
        "folder": str(folder),
    }

"""The machines put together: commands, processes, and what a researcher imports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from localization.study.scene import Scene
    from localization.study.scene_reading import read_scene
    from localization.study.table import SceneError
    from shotfix.playback import locate, replay
    from shotfix.run import Run

__all__ = ["Run", "Scene", "SceneError", "locate", "read_scene", "replay"]

# Opened at first use: `import shotfix` costs next to nothing, and compiles nothing.
_WHERE: Final = {
    "Run": "shotfix.run",
    "Scene": "localization.study.scene",
    "SceneError": "localization.study.table",
    "locate": "shotfix.playback",
    "read_scene": "localization.study.scene_reading",
    "replay": "shotfix.playback",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'shotfix' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

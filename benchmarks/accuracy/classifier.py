"""The classifier on sources left out, beside the same nets without altered or synthetic sounds: 30 trainings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def measure(data: Path | None) -> str:
    sounds = _sounds(data)
    if not (sounds / "manifest.csv").is_file():
        return f"left out: no labelled sounds at {sounds.name}; see fixtures/builders/classifier.py for what it takes"
    script = ROOT / "fixtures" / "builders" / "classifier.py"
    cache = ROOT / "build" / "classifier"
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / "card.md"
        subprocess.run(
            [sys.executable, script, sounds, "--out", folder, "--card", card, "--cache", cache],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        text = card.read_text(encoding="utf-8")
    figures = text.split("## Sources left out")[1].split("## Licences")[0]
    return "Area under the curve: alone / in context.\n" + figures.strip().replace("\n## ", "\n### ")


def _sounds(data: Path | None) -> Path:
    """The sounds: the named folder, the one beside the named live fire, or the one beside the checkout."""
    beside = ROOT.parent / "shared" / "data" / "audio"
    candidates = [data, data.parent / "audio"] if data else []
    return next((folder for folder in candidates if (folder / "manifest.csv").is_file()), beside)

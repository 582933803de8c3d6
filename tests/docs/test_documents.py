"""Documents are executed: every Python block runs, prints what stands below it, and every link leads somewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout

import pytest

BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?:\s*```text\n(?P<output>.*?)```)?", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")


def documents(root):
    return [
        root / "README.md",
        root / "CHANGELOG.md",
        *sorted((root / "docs").rglob("*.md")),
        root / "acoustic" / "model.md",
    ]


@pytest.mark.xdist_group("night")
def test_snippets_run(root, monkeypatch):
    """As a reader would type them, from the root of a checkout."""
    monkeypatch.chdir(root)
    ran = 0
    for path in documents(root):
        for block in BLOCK.finditer(path.read_text(encoding="utf-8")):
            said = io.StringIO()
            with redirect_stdout(said):
                exec(compile(block["code"], str(path), "exec"), {"__name__": "__main__"})  # noqa: S102
            if block["output"] is not None:
                assert said.getvalue() == block["output"], path.name
            ran += 1
    assert ran >= 1


def test_links_lead_somewhere(root):
    for path in documents(root):
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_readme_names_the_commands(root):
    """The README's first commands are those that the build runs."""
    readme, makefile = (root / "README.md").read_text(), (root / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"    make {target}\n" in readme
        assert f"\n{target}: " in makefile
    assert "make --no-print-directory test" in (root / ".ci" / "run").read_text()


def test_every_dependency_has_its_reason(root):
    names = re.findall(r'^    "([a-z0-9-]+)>=', (root / "pyproject.toml").read_text(), re.MULTILINE)
    reasons = (root / "docs" / "decisions" / "0001-dependencies.md").read_text().lower()
    assert [name for name in names if name not in reasons] == []

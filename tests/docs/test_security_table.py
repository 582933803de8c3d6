"""The page about security: no requirement is missing, and each test that it names exists and is run."""

from __future__ import annotations

import ast
import re

import pytest

SECTIONS = {
    1: (2, 9, 11, 3, 2), 2: (3, 3, 4, 1), 3: (0, 2, 4, 6, 5, 0, 2), 4: (3, 1, 2, 4), 5: (1, 3, 2, 3),
    6: (3, 12, 4, 4, 5, 3, 0, 4), 7: (3, 4, 2, 5, 2, 2), 8: (2, 3, 1, 1), 9: (3, 4), 10: (2, 2, 4, 11, 5, 2, 3),
    11: (2, 3, 3, 4, 1, 1), 12: (3, 2, 4), 13: (1, 5, 2, 5), 14: (2, 4, 3), 15: (3, 3, 7), 16: (1, 5, 4, 3, 3),
    17: (1, 4, 2),
}  # fmt: skip
"""Of ASVS 5.0.0: by chapter, how many requirements of levels 1 and 2 each section has; they are numbered before those of
level 3, without a gap."""
STATES = {"met", "in part", "NOT met", "no"}
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def rows(root):
    page = (root / "docs" / "security.md").read_text("utf-8").partition("## ASVS 5.0.0")[2]
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    return [row for row in found if row[0] != "no."]


def numbers(text):
    """The requirements that a cell speaks of: numbers and spans of them."""
    for part in text.split(", "):
        first, _, last = part.partition("-")
        head, _, begin = first.rpartition(".")
        end = last.rpartition(".")[2] or begin
        assert not last or last.rpartition(".")[0] == head, part
        yield from (f"{head}.{number}" for number in range(int(begin), int(end) + 1))


def test_every_requirement_is_there_once(rows):
    wanted = [
        f"{chapter}.{section}.{number}"
        for chapter, counts in SECTIONS.items()
        for section, count in enumerate(counts, start=1)
        for number in range(1, count + 1)
    ]
    assert len(wanted) == 253
    said = [number for row in rows for number in numbers(row[0])]
    assert sorted(said) == sorted(wanted)


def test_every_row_says_how_it_stands(rows):
    for row in rows:
        number, asks, state, how, test = row
        assert asks, number
        assert state in STATES, number
        assert how or NAMED.search(test), f"{number}: neither how nor a test"
        assert test == "-" or NAMED.search(test), number
        if state == "NOT met":
            assert "would do it" in how or "has to be there" in how, f"{number}: what would do it?"
        if state == "met" and test == "-":
            assert "above" in how or ".md" in how or "documented" in asks, f"{number}: met, and held by nothing"


def collected(path):
    """The tests of a file that run as a matter of course."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
            if "mark.endurance" not in marks and "mark.skip(" not in marks:
                yield node.name


def test_every_test_that_is_named_exists_and_is_run(rows, root):
    known, wrong = {}, []
    named = {found for row in rows for found in NAMED.findall(row[4])}
    assert len(named) > 80
    for file, name in sorted(named):
        path = root / "tests" / file
        if path.name.startswith("test_") and path.exists():
            known.setdefault(file, set(collected(path)))
        if name not in known.get(file, ()):
            wrong.append(f"{file}::{name}")
    assert wrong == []

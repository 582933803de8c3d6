"""What others wrote and we install: each at one version, by its hash, from where the reader's own tools are set to look."""

from __future__ import annotations

import re
import tomllib

import pytest

LINE = re.compile(
    r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==(?P<version>[0-9][A-Za-z0-9.+!-]*)(?: ; (?P<when>[^\\]+?))? \\$"
)
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
LOCKS = ("requirements.lock", "requirements-dev.lock")


def pinned(root, lock):
    """Names and versions of a lock, each line of which was understood."""
    found, hashes = {}, 0
    for line in (root / lock).read_text().splitlines():
        if line.startswith("    "):
            assert HASH.fullmatch(line), line
            hashes += 1
            continue
        assert not found or hashes, f"{lock}: {list(found)[-1]} has no hash"
        pin = LINE.fullmatch(line)
        assert pin, f"{lock}: {line}"
        found.setdefault(normal(pin["name"]), set()).add(pin["version"])
        hashes = 0
    assert hashes
    return found


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_to_a_version_and_its_hashes(root, lock):
    assert len(pinned(root, lock)) > 40


def test_what_we_ask_for_is_in_the_locks(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    run, dev = (pinned(root, lock) for lock in LOCKS)
    for asked, lock in ((project["dependencies"], run), (project["optional-dependencies"]["dev"], dev)):
        names = {normal(re.match(r"[A-Za-z0-9_.-]+", each)[0]) for each in asked}
        assert names <= set(lock)


def test_both_locks_have_the_same_versions(root):
    run, dev = (pinned(root, lock) for lock in LOCKS)
    assert {name: versions for name, versions in dev.items() if name in run} == run


def test_only_hashes_are_believed_when_they_are_installed(root):
    installs = [line for line in (root / "Makefile").read_text().splitlines() if ".lock" in line and "install" in line]
    assert len([line for line in installs if "-r requirements" in line]) == 2
    for line in installs:
        if "-r requirements" in line:
            assert "--require-hashes" in line
            assert "--only-binary :all:" in line, (
                "what is built from source runs its author's program as it is installed"
            )


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_to_look(root, lock):
    """No second index, no address of one package: nobody's package comes from a place that another name was meant for."""
    text = (root / lock).read_text()
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", "-e ", "@ "):
        assert word not in text

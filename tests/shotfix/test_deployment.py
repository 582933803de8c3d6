import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from shotfix.commands import main

ROOT = Path(__file__).parents[2]
HERE = ROOT / "docs" / "deployment"
UNITS = sorted((HERE / "systemd").glob("*.service"))


class Unit(RawConfigParser):
    optionxform = staticmethod(str)

    def __init__(self, path):
        super().__init__(strict=False, interpolation=None)
        self.read_string(path.read_text())


@pytest.fixture
def analyze():
    """systemd-analyze, or no test; where everything must be there, no excuse."""
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing: install systemd")
        pytest.skip("systemd-analyze is not installed")
    return program


def installed(unit, folder):
    """The unit with a program that is there: verify looks for it."""
    path = folder / unit.name.replace("@.", "@garden-st.")
    path.write_text(unit.read_text().replace("/opt/shotfix/bin/shotfix", shutil.which("true")))
    return path


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(analyze, unit, tmp_path):
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(installed(unit, tmp_path))], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if unit.stem.split("@")[0] in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_little_to_reproach(analyze, unit, tmp_path):
    """On its scale from 0 to 10, "OK" ends at 4 and an ordinary service has 9."""
    command = [analyze, "security", "--offline=true", "--threshold=25", "--no-pager", str(installed(unit, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd judges no files")
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_start_commands_that_there_are_and_are_watched(unit):
    service = Unit(unit)["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "20"
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["User"] not in {"", "root"}
    assert Unit(unit)["Unit"]["StartLimitIntervalSec"] == "0"
    program, command, option, config = shlex.split(service["ExecStart"])
    assert Path(program).name == "shotfix"
    wanted = {parameter.name for parameter in main.commands[command].params}
    assert option.lstrip("-") in wanted
    assert config.startswith("/etc/shotfix/")


def test_a_node_may_ask_for_the_time_and_hear():
    text = next(unit for unit in UNITS if "node" in unit.name).read_text()
    assert "ProtectClock" not in text
    filters = re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE)
    assert filters.index("adjtimex clock_adjtime") > filters.index("~@privileged")  # which holds them, and comes first
    assert "DeviceAllow=char-alsa rw" in text
    assert "SupplementaryGroups=audio" in text


def test_the_container_is_nobody_and_asks_whether_it_is_ready():
    text = (HERE / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith(("#", " "))]
    last = lines[max(k for k, words in enumerate(lines) if words[0] == "FROM") :]
    does = dict(reversed(last))
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", does["USER"])
    assert "/readyz" in does["HEALTHCHECK"]
    assert json.loads(does["CMD"])[0] in main.commands
    assert json.loads(does["ENTRYPOINT"]) == ["shotfix"]
    users = [k for k, (word, _) in enumerate(last) if word == "USER"]
    assert not [word for word, _ in last[users[-1] :] if word in {"RUN", "COPY", "ADD"}]  # nothing of it is its own
    assert "--require-hashes" in text


def test_the_container_has_all_that_is_shipped():
    text = (HERE / "Containerfile").read_text()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    for room in {package.split(".")[0] for package in packages}:
        assert f"COPY {room} {room}\n" in text


def test_every_panel_says_what_it_shows():
    """That it shows what a centre has, test_metrics sees."""
    board = json.loads((HERE / "grafana" / "shotfix.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["description"] for panel in board["panels"])


def test_the_centre_writes_nothing_where_the_container_mounts_its_configuration_read_only():
    """test_centre sees where its history lies."""
    page = (HERE / "README.md").read_text()
    assert ":/etc/shotfix:ro" in page
    assert "network-history.jsonl` in the centre's `data_dir`" in (ROOT / "docs" / "network.md").read_text()


def test_panels_do_not_lie_on_each_other():
    board = json.loads((HERE / "grafana" / "shotfix.json").read_text())
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_pages_commands_are_commands():
    """Every `shotfix ...` of the page is taken by the command line as far as its help."""
    text = (HERE / "README.md").read_text().replace("\\\n", " ")
    said = re.findall(
        r"^ {4}.*?((?:/opt/shotfix/bin/)?shotfix (?:backup|restore|check-config|node enrol)\b.*)$", text, re.MULTILINE
    )
    assert len(said) == 4
    for line in said:
        words = shlex.split(line)[1:]
        command = main
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
        assert CliRunner().invoke(command, ["--help"]).exit_code == 0

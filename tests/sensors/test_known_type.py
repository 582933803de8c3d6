"""A type is known before two threads decode it at once: else msgspec reads members that are not there yet."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("acoustic", "sensors", "localization", "alerts", "shotfix")
DECODING = {"decode", "decoder", "Decoder", "convert"}

MEETING = """
import sys, threading, time
from dataclasses import dataclass
import msgspec
from sensors.known_type import known

inside, go_on = threading.Event(), threading.Event()

def slow():  # what an annotation says is asked when msgspec first meets the type
    inside.set()
    go_on.wait(30)
    return int

@dataclass
class Inner:
    number: "slow()"

@dataclass
class Outer:
    inner: Inner
    number: int

text, heard = b'{"inner":{"number":1},"number":2}', []

def decode():
    heard.append(msgspec.json.decode(text, type=KIND).number)

first, second = threading.Thread(target=decode), threading.Thread(target=decode)
first.start()
inside.wait(30)
second.start()
second.join(0.3)  # as long as the first one finds out, it waits, or dies
go_on.set()
first.join(30)
second.join(30)
print(heard)
"""


def meet(kind):
    said = subprocess.run(
        [sys.executable, "-c", MEETING.replace("KIND", kind)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.returncode, said.stdout.strip()


def test_two_threads_meet_a_type_at_once():
    assert meet("known(Outer)") == (0, "[2, 2]")


def test_every_decoder_of_ours_is_given_a_known_type():
    """By the source: nobody notices a forgotten one before a city's centre dies of it."""
    forgotten = []
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "known_type.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        forgotten += [f"{path.relative_to(ROOT)}:{call.lineno}" for call in calls if _is_risky(call)]
    assert not forgotten, f"wrap the type in known(...): {', '.join(forgotten)}"


def _is_risky(call):
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    kinds = [word.value for word in call.keywords if word.arg == "type"] if name in DECODING else []
    if ast.unparse(call.func).startswith("msgspec.") and name in {"Decoder", "convert"}:
        kinds += call.args[name == "convert" :]
    return any(getattr(getattr(kind, "func", None), "id", "") != "known" for kind in kinds)

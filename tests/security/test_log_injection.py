"""Logs: whatever comes from outside, one event is one line of JSON that says what was said, and is not too long."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.desk import Desk
from alerts.words import lines, plain
from sensors.identity import Keyring, NodeKey
from sensors.wire import Batch, encode_batch
from shotfix import logs
from shotfix.ingest import Ingest
from tests.strategies import fix_at

LONGEST_LINE = 48 * 1024  # LineMax= of journald.conf(5)

HOSTILE = (
    'x"}\n{"event": "centre stopped", "level": "info"}',
    "one\ntwo\r\nthree\x0bfour\x0cfive\x1csix\x85seven\u2028eight\u2029nine",
    "\x1b[2J\x1b[1;31mGUNFIRE\x1b]0;title\x07\x9b31m\x08\x08\x7f",
    "\u202egnp.exe\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u200f\u061c",
    "\ud800 half a character \udfff",
    "%s %n %(secret)s {0.__class__} {}",
    "${jndi:ldap://127.0.0.1/x}",
    "<script>alert(1)</script>",
    "\x00\x01\x02",
    "a" * 1_000_000,
    "\U0010ffff" * 200_000,
    "\n" * 100_000,
    "",
)


@pytest.fixture
def said(monkeypatch):
    """What a service writes to standard error; the tests' own logging is put back after."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream)
    logs.begin("debug", "centre")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def told(stream):
    """The lines that are there now, each checked; the stream is empty after."""
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    assert text.isascii()
    assert text == "" or text.endswith("\n")
    found = []
    for line in text.splitlines():  # at everything that any program takes for an end of line
        assert len(line) < LONGEST_LINE
        assert line.isprintable()
        found.append(json.loads(line, parse_constant=_no_json))
        assert {"event", "level", "logger", "time", "service"} <= set(found[-1])
    return found


def _no_json(word):
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_text_is_one_line_that_says_it(said, text):
    log = logging.getLogger("shotfix.security")
    log.warning("said: %s", text)
    log.warning(f"said: {text}")
    log.warning(text)
    for line in told(said):
        assert line["level"] == "warning"
        if len(text) < 1_000:
            assert text in line["event"]
        else:
            assert "characters left out" in line["event"]
            assert text[:50] in line["event"]
            assert line["event"].endswith(text[-50:])


def raised(text):
    with pytest.raises(ValueError) as caught:
        raise ValueError(text)
    return caught.value


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_a_hostile_exception_and_a_hostile_logger_are_one_line(said, text):
    logging.getLogger("shotfix.security").error("failed: %r", text, exc_info=raised(text))
    logging.getLogger("shotfix." + text[:50]).critical("x")
    first, second = told(said)
    assert "Traceback" in first["exception"]
    assert "ValueError" in first["exception"]
    assert second["level"] == "critical"


@settings(max_examples=60)
@given(st.text(max_size=300), st.text(st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "So")), max_size=2_000))
@example("", "\u202e" * 5_000)
def test_any_text_is_one_line_of_ascii(text, odd):
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level, stderr = root.handlers[:], root.level, sys.stderr
    sys.stderr = stream
    try:
        logs.begin("info", "centre")
        logging.getLogger("x").info("%s%s", text, odd)
    finally:
        sys.stderr = stderr
        root.handlers[:] = handlers
        root.setLevel(level)
    (line,) = told(stream)
    assert len(text + odd) > 1_000 or line["event"] == text + odd
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} for c in json.dumps(line))


@pytest.mark.parametrize("text", HOSTILE[:9], ids=lambda text: repr(text[:20]))
def test_a_strangers_batch_cannot_write_into_the_log(said, text):
    """Through the centre's door: whoever has no key is told of by a count, whoever has one by their enrolled name."""
    key = NodeKey.create()
    ingest = Ingest(Keyring({"node-1": key.public_text}), None, None, "boot", lambda: 1_795_000_000_000_000_000)
    for sealed in (text.encode("utf-8", "surrogatepass"), key.seal(text.encode("utf-8", "surrogatepass")),
                   key.seal(encode_batch(Batch("node-2", 1_795_000_000_000_000_000, ()))),
                   key.seal(b'{"version": 2, "node_id": ' + json.dumps(text).encode() + b"}")):  # fmt: skip
        ingest._said.clear()
        answer = _answer(ingest.take(sealed))
        assert answer.status >= 400
        assert answer.error.isprintable(), "what goes back to them, and into their log"
        assert len(answer.error) < 500
    for line in told(said):
        assert line["event"].startswith("a batch was refused (")


def _answer(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


@pytest.mark.parametrize("text", HOSTILE[:9], ids=lambda text: repr(text[:20]))
def test_what_a_terminal_shows_of_an_alert_is_plain(text):
    (alert,) = Desk().receive(fix_at(text.encode("utf-8", "replace").decode()))
    for line in lines(alert):
        assert line.isascii()
        assert line.isprintable()
    assert plain(text).isascii()
    assert text == "" or plain(text)


def test_a_service_writes_only_such_lines_even_when_it_logs_wrongly(root):
    """A process of its own. The library's answer to a wrong template is a traceback with the arguments in it."""
    program = (
        "import logging\n"
        "from shotfix.logs import begin\n"
        "begin('info', 'centre')\n"
        "log = logging.getLogger('shotfix')\n"
        "log.info('\\x1b[31m\\n%s', '\\u202e')\n"
        "log.info('nan %s', float('nan'))\n"
        "log.error('bytes %s', b'\\n\\xff')\n"
        "log.info('%s', type('Odd', (), {'__str__': lambda self: 'a\\nb'})())\n"
        "log.info('%s', type('Bad', (), {'__str__': lambda self: 1 / 0})())\n"
        "log.warning('%d %d\\n', 'T0KEN')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout == ""
    assert "T0KEN" not in run.stderr
    said = [json.loads(line) for line in run.stderr.splitlines()]
    assert len(said) == 6
    assert [line["error"] for line in said[4:]] == ["ZeroDivisionError", "TypeError"]
    assert said[5]["template"] == "%d %d\n"

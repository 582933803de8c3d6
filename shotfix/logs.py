"""Logs: one JSON object a line, in UTC, on standard error; what comes from outside cannot break a line."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor

LONGEST_VALUE: Final = 16_000
"""Bytes of one value as it is written: what is said and its traceback stay within a line of journald, which is 48 KiB
(``LineMax=`` in journald.conf(5)); a longer one would be cut in two, and be JSON no more."""


class _Lines(logging.StreamHandler[Any]):
    """What cannot be formatted is a line as well: the library's own way prints a traceback over many."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library's name)
        error = sys.exc_info()[0]
        said = {
            "event": "a line of the log could not be written, a fault of ours",
            "error": "" if error is None else error.__name__,
            "level": "error",
            "logger": record.name,
            "template": _bounded(str(record.msg)),
        }
        try:
            self.stream.write(json.dumps(said, sort_keys=True) + "\n")
            self.flush()
        except (OSError, ValueError):
            return  # nobody reads standard error any more: there is nowhere left to say so


def begin(level: str, service: str) -> None:
    """Send everything that is logged to standard error.

    Parameters
    ----------
    level : str
        debug, info, warning or error.
    service : str
        Which process speaks: in every line.
    """
    import structlog  # only services log

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _of(service),
            structlog.processors.format_exc_info,
            _short,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    handler = _Lines(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What they tell at this level holds addresses of receivers, which may hold tokens.
    for chatty in ("httpx", "httpcore", "nats", "asyncio", "numba"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _of(service: str) -> Processor:
    def add(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["service"] = service
        return line

    return add


def _short(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = _bounded(value)
    return line


def _bounded(text: str) -> str:
    """Its beginning and its end, where it would take more than `LONGEST_VALUE` once everything odd is escaped."""
    if 12 * len(text) <= LONGEST_VALUE:  # 12: a character beyond the first 65,536 is two escapes of six
        return text
    escaped = len(json.dumps(text))
    kept = len(text)
    said = text
    while escaped > LONGEST_VALUE:
        kept = max(1, min(kept * 9 // 10, kept * LONGEST_VALUE // escaped))
        said = f"{text[: kept - kept // 3]} [{len(text) - kept} characters left out] {text[len(text) - kept // 3 :]}"
        escaped = len(json.dumps(said))
    return said

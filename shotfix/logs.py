"""Logs: one JSON object a line, in UTC, on standard error; what comes from outside cannot break a line."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import Processor


def begin(level: str, service: str) -> None:
    """Send everything that is logged to standard error.

    Parameters
    ----------
    level : str
        debug, info, warning or error.
    service : str
        Which process speaks: in every line.
    """
    import structlog  # noqa: PLC0415  (only services log)

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
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What they tell at this level holds addresses of receivers, which may hold tokens.
    for chatty in ("httpx", "httpcore", "nats", "asyncio", "numba"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _of(service: str) -> Processor:
    def add(_logger: object, _method: str, line: dict[str, object]) -> dict[str, object]:
        line["service"] = service
        return line

    return add  # type: ignore[return-value]

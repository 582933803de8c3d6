"""A call: one request that was let in, and what its handler needs to answer it."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from alerts.words import plain
from sensors.known_type import known
from shotfix.api.permissions import EXACT_SENSORS, SEES_PEOPLE, SEES_UNPUBLISHED
from shotfix.api.problems import Problem

if TYPE_CHECKING:
    from shotfix.api.people import Person
    from shotfix.api.room import Room

Handler: TypeAlias = "Callable[[Call], Awaitable[Response]]"

JSON: Final = "application/json"
_VERSION: Final = re.compile(r'"(\d{1,10})"')

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does.

    Parameters
    ----------
    name : str
        Its name for programs, unique.
    method, path : str
        Under /api/v1; ``f"{method} {path}"`` stands in `shotfix.api.permissions.PERMISSIONS`.
    says : str
        One sentence.
    handler : callable
        Answers a `Call`.
    query, body : type or None
        A struct of what may stand in the query, and in the body.
    answer : object
        The type of what a 200 holds: a record, or a media type where it is no JSON.
    versioned : bool
        Whether a version must be said.
    decides : bool
        Whether the act itself checks the version, in one transaction with what it writes.
    streams : bool
        Whether the answer goes on for as long as somebody listens.
    logged_first : bool
        Whether nothing goes out before the access log has it.
    """

    name: str
    method: str
    path: str
    says: str
    handler: Handler
    query: type | None = None
    body: type | None = None
    answer: Any = None
    versioned: bool = False
    decides: bool = False
    streams: bool = False
    logged_first: bool = False

    @property
    def right(self) -> str:
        """Its line in the table of permissions."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Call:
    """One request of somebody who may make it; ``what`` and ``about`` are what the access log says of it."""

    room: Room
    person: Person
    operation: Operation
    request: Request
    query: Any
    body: Any
    now_ns: int
    about: str = ""
    what: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def who(self) -> str:
        """Their name."""
        return self.person.name

    def has(self, *roles: str) -> bool:
        """Whether they have one of these roles."""
        return not set(roles).isdisjoint(self.person.roles)

    @property
    def sees_unpublished(self) -> bool:
        """Whether they are told of what was never published."""
        return not SEES_UNPUBLISHED.isdisjoint(self.person.roles)

    @property
    def sees_people(self) -> bool:
        """Whether they are told the names and notes of those who reviewed."""
        return not SEES_PEOPLE.isdisjoint(self.person.roles)

    @property
    def sees_sensors(self) -> bool:
        """Whether they are told where sensors stand."""
        return not EXACT_SENSORS.isdisjoint(self.person.roles)

    def name(self, parameter: str) -> str:
        """A name out of the path.

        Raises
        ------
        Problem
            When no such thing could have that name.
        """
        said: str = self.request.path_params[parameter]
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", said):
            raise Problem("unknown", f"{parameter}: no such name")
        return said

    async def do(self, work: Callable[..., T], *given: object, **named: object) -> T:
        """Run what waits for the disk in a thread."""
        return await self.room.works.do(work, *given, **named)

    def answer(self, content: object, status: int = 200) -> Response:
        """A record as JSON."""
        return Response(msgspec.json.encode(content), status, self.headers, media_type=JSON)


def read_query(request: Request, wanted: type | None) -> Any:
    """The query as its struct; None where none is wanted.

    Raises
    ------
    Problem
        When it holds anything else, anything twice, or a value out of range.
    """
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise Problem("bad-request", "the query says something twice")
    if wanted is None:
        if given:
            raise Problem("bad-request", "no query is expected here")
        return None
    try:
        return finite(msgspec.convert(given, known(wanted), strict=False))
    except (msgspec.ValidationError, ValueError) as error:
        raise Problem("bad-request", f"the query: {error}{_known_words(wanted, str(error))}") from None


def read_body(content: bytes, wanted: type) -> Any:
    """The body as its struct; an empty one is one without members.

    Raises
    ------
    Problem
        When it is not JSON, holds a member that is not expected, or a value out of range.
    """
    try:
        return finite(msgspec.json.decode(content or b"{}", type=known(wanted)))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem("bad-request", f"the body: {words}{_known_words(wanted, words)}") from None


def _known_words(wanted: type, complaint: str) -> str:
    """Which words a member takes, where it got another."""
    at = re.search(r"enum value .*`\$\.(\w+)`$", complaint)
    kinds = {field.name: field.type for field in msgspec.structs.fields(wanted)}
    words = [word for word in _literals(kinds.get(at[1])) if isinstance(word, str)] if at else []
    return f"; expected one of {', '.join(words)}" if words else ""


def _literals(kind: Any) -> list[Any]:
    return [each for one in get_args(kind) for each in (_literals(one) if get_args(one) else [one])]


def finite(said: T) -> T:
    """The struct itself, every number of which is finite.

    Raises
    ------
    ValueError
        When one is not.
    """
    for name in getattr(said, "__struct_fields__", ()):
        value = getattr(said, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is no finite number")
    return said


def version_of(request: Request, in_body: int | None) -> int | None:
    """The version that a request decides about, from If-Match (RFC 9110, 13.1.1) or its body.

    Raises
    ------
    Problem
        When a header is no version of ours, or says otherwise than the body.
    """
    headers = request.headers.getlist("if-match")
    if not headers:
        return in_body
    found = _VERSION.fullmatch(headers[0].strip()) if len(headers) == 1 else None
    if found is None:
        raise Problem("bad-request", f'If-Match is {plain(headers[0])[:40]}: expected one version, as "12"')
    version = int(found[1])
    if in_body is not None and in_body != version:
        raise Problem("bad-request", "If-Match and the body say different versions")
    return version

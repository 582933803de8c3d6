"""What stands against an act of a person: somebody else was quicker, the incident is unknown, or it makes no sense."""

from __future__ import annotations


class ReviewError(Exception):
    """What a person asked cannot be done; the message says why and what to do."""


class UnknownIncidentError(ReviewError):
    """No incident of this name was ever said."""


class ObjectionError(ReviewError):
    """What was asked makes no sense for this incident as it stands."""


class ConflictError(ReviewError):
    """Somebody, or the machine, was quicker: look again before deciding.

    Parameters
    ----------
    version : int
        Of the incident as it stands.
    changed_by : str
        Who made it so: a person's name, or ``machine``.
    words : str
        What is in the way, and what to do.
    until_ns : int or None
        When what is in the way ends by itself, as a claim does.
    """

    def __init__(self, version: int, changed_by: str, words: str, until_ns: int | None = None) -> None:
        super().__init__(words)
        self.version = version
        self.changed_by = changed_by
        self.until_ns = until_ns

"""Plans of an export of labels: which it takes, in what form; with the count of what it took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from acoustic.instant import EARLIEST_NS, LATEST_NS, check_instant
from alerts.review.case import check_person

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What is exported, and how.

    Parameters
    ----------
    who : str
        Who exports: it stands in the ledger.
    at_ns : int
        When, UTC.
    clips : Path or None
        The centre's folder of clips; None exports no sound.
    exact : bool
        Places and times as they are, not rounded.
    licence, source : str
        Of the sounds, for the manifest: a trainer learns only from licences that it knows, and leaves out one source
        at a time to measure.
    from_ns, to_ns, modes
        Which incidents, as for `alerts.review.reviewed.reviewed`.

    Raises
    ------
    ValueError
        When ``who`` is no name of a person.
    """

    who: str
    at_ns: int
    clips: Path | None = None
    exact: bool = False
    licence: str = "unknown"
    source: str = "reviews"
    from_ns: int = EARLIEST_NS
    to_ns: int = LATEST_NS
    modes: tuple[str, ...] = ("live",)

    def __post_init__(self) -> None:
        check_person(self.who)
        check_instant(self.at_ns, "at_ns")


@dataclass(slots=True)
class ExportCounts:
    """What was exported: nothing is left out without being counted.

    ``no_clip`` labels have none in their alert; of those that have, ``copied`` were, ``missing`` are not in the folder
    any more, ``damaged`` are not what their name says; ``taught`` are in the manifest.
    """

    incidents: int = 0
    labels: int = 0
    no_clip: int = 0
    copied: int = 0
    missing: int = 0
    damaged: int = 0
    taught: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    by_standing: Counter[str] = field(default_factory=Counter)
    by_outcome: Counter[str] = field(default_factory=Counter)
    sha256: str = ""

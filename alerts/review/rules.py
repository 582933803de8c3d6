"""The rules of review: how long a claim holds, and who is asked a second time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from alerts.act import Judgement
    from alerts.policy import Outcome


SecondBecause = Literal["drawn", "unsure", "overruled"]


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """How review is done.

    Parameters
    ----------
    claim_s : float
        How long a claim holds unless it is claimed again.
    second_share : float
        Share of first verdicts that a second person is asked about, drawn by chance.
    second_seed : str
        What the draw depends on beside the incident's name. Whoever knows it can tell beforehand which verdicts will be
        looked at again; keep it from those who are looked at.
    second_when_overruled : bool
        Also wherever the first reviewer said otherwise than the machine had published or suppressed.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    claim_s: float = 120.0
    second_share: float = 0.1
    second_seed: str = ""
    second_when_overruled: bool = True

    def __post_init__(self) -> None:
        if not 1.0 <= self.claim_s <= 86_400.0:
            raise ValueError(f"claim_s is {self.claim_s}: expected 1 to 86,400")
        if not 0.0 <= self.second_share <= 1.0:
            raise ValueError(f"second_share is {self.second_share}: expected 0 to 1")

    def second_because(
        self, incident_id: str, judgement: Judgement, machine_outcome: Outcome
    ) -> tuple[SecondBecause, ...]:
        """Why a second person is asked, who is not told what the first said; nothing when nobody is.

        Agreement may be generalised only from those that were ``drawn``: the others were chosen for being hard.
        """
        reasons: tuple[tuple[SecondBecause, bool], ...] = (
            ("drawn", draw(incident_id, self.second_seed) < self.second_share),
            ("unsure", judgement == "unsure"),
            ("overruled", self.second_when_overruled and overruled(judgement, machine_outcome)),
        )
        return tuple(reason for reason, applies in reasons if applies)


def draw(incident_id: str, seed: str) -> float:
    """A number in [0, 1) that is as good as drawn by chance, the same for ever for one incident and one seed."""
    digest = hashlib.sha256(f"second\n{seed}\n{incident_id}".encode()).digest()
    # 53 bits: more would round up to 1 at the very top.
    return (int.from_bytes(digest[:8]) >> 11) / 2.0**53


def overruled(judgement: str, machine_outcome: str) -> bool:
    """Whether a person said otherwise than the machine: no gunfire where it published, gunfire where it suppressed.

    Where the machine asked for a review it said nothing that could be overruled, and who is unsure overrules nothing.
    """
    if judgement == "unsure":
        return False
    said_gunfire = judgement == "gunfire"
    return (machine_outcome == "published" and not said_gunfire) or (machine_outcome == "suppressed" and said_gunfire)

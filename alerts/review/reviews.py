"""Reviews: all that people do with incidents, each in one transaction with its entry in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from alerts.act import Act, ActKind
from alerts.record.ledger import Ledger
from alerts.review import acts, claims, marks, opinions
from alerts.review.acts import Decision
from alerts.review.blind import BlindCase, blind
from alerts.review.case import Case, check_person, open_case, same_person
from alerts.review.errors import ConflictError, ObjectionError, ReviewError, UnknownIncidentError
from alerts.review.findings import Finding
from alerts.review.head import Head, read_head
from alerts.review.marks import Link
from alerts.review.opinions import Opinion
from alerts.review.queue import Waiting, Want, read_queue, waiting_counts
from alerts.review.rules import ReviewRules
from alerts.review.taken_in import carried, taken_in_by, wholes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import sqlalchemy as sa

    from alerts.act import Judgement
    from alerts.alert import Alert
    from alerts.record.store import Store

__all__ = [
    "Act", "BlindCase", "ConflictError", "Decision", "Finding", "Head", "Link", "ObjectionError", "Opinion",
    "ReviewError", "ReviewRules", "Reviews", "UnknownIncidentError", "Waiting",
]  # fmt: skip

T = TypeVar("T")


class Reviews:
    """What people do with incidents. It knows no roles: who may do what is for those to say who let people in.

    Every call that changes something takes ``who`` and ``at_ns`` (wall clock, UTC) and leaves an entry in the ledger
    with what stood there before. All of them raise `UnknownIncidentError` where there is no such incident,
    `ConflictError` where somebody was quicker, `ObjectionError` where it makes no sense, ``ValueError`` for an argument
    out of range, and `alerts.record.store.StoreError` where the database refuses. Safe for several threads.

    Parameters
    ----------
    store : Store
        The record.
    rules : ReviewRules or None
        How long a claim holds, who is asked a second time.
    """

    def __init__(self, store: Store, rules: ReviewRules | None = None) -> None:
        self.store = store
        self.rules = rules or ReviewRules()
        self.ledger = Ledger(store)

    # reading

    def head(self, incident_id: str) -> Head:
        """The incident as it stands."""
        with self.store.reading() as connection:
            return read_head(connection, incident_id)

    def taken_in(self, incident_id: str) -> Head:
        """The incident that took it in, where the machine made it part of another; itself where it did not."""
        with self.store.reading() as connection:
            head = read_head(connection, incident_id)
            return taken_in_by(connection, head) or head

    def queue(self, now_ns: int, who: str, limit: int = 100, *, supervisor: bool = False) -> tuple[Waiting, ...]:
        """What waits for this person, the most urgent first; see `alerts.review.queue`.

        Parameters
        ----------
        supervisor : bool
            Whether what two reviewers disagreed about is offered as well.
        """
        check_person(who)
        with self.store.reading() as connection:
            return read_queue(connection, now_ns, who, limit, supervisor)

    def opinions(self, incident_id: str) -> tuple[Opinion, ...]:
        """What each reviewer said, in their turns; not for the eyes of a second reviewer."""
        with self.store.reading() as connection:
            return opinions.read(connection, incident_id)

    def links(self, incident_id: str) -> tuple[Link, ...]:
        """The numbers by which other systems know it, as they stand."""
        return marks.links(self.ledger, incident_id)

    def blind(self, incident_id: str, *, with_place: bool = False) -> BlindCase:
        """What a second reviewer may see: the sound, and when each round was; see `alerts.review.blind`."""
        with self.store.reading() as connection:
            head = read_head(connection, incident_id)
            return blind(acts.last_said(connection, head.alert_id), with_place=with_place)

    def must_be_blind(self, incident_id: str, who: str, at_ns: int) -> bool:
        """Whether this person claimed it for a second opinion, and is until then shown no more than `blind`.

        Or what it is part of: a part tells of the whole.
        """
        with self.store.reading() as connection:
            heads = wholes(connection, read_head(connection, incident_id))
            return any(opinions.is_second(connection, head, who, at_ns) for head in heads)

    def held_blind(self, at_ns: int) -> list[tuple[str, str]]:
        """The incidents that somebody has in hand to say blindly what they were, with their parts, and who it is."""
        with self.store.reading() as connection:
            return opinions.held_blind(connection, at_ns)

    def waiting(self, held_back: Collection[str] = ()) -> dict[Want, int]:
        """How many incidents want a person, by what they want.

        Parameters
        ----------
        held_back : collection of str
            Incidents of which no more is told than that a second person is wanted.
        """
        with self.store.reading() as connection:
            return waiting_counts(connection, held_back)

    # who has it in hand

    def claim(self, incident_id: str, who: str, at_ns: int) -> Head:
        """Take it in hand for `ReviewRules.claim_s`; claiming one's own again extends it.

        This, `release`, `acknowledge` and `note` go to the incident that took it in, where the machine made it part of
        another in the meantime: the head is then that one's, and the entry says of which it was said.
        """
        return self._with(incident_id, who, at_ns, lambda case: claims.claim(carried(case), self.rules))

    def release(self, incident_id: str, who: str, at_ns: int) -> Head:
        """Let go of it; nothing happens where nobody holds it."""

        def let_go(case: Case) -> Head:
            own = same_person(case.head.holder(at_ns), who)  # taken in hand before it became part of another
            return claims.release(case if own else carried(case))

        return self._with(incident_id, who, at_ns, let_go)

    # what changes nothing that others are told

    def acknowledge(self, incident_id: str, who: str, at_ns: int) -> Head:
        """Somebody has seen the published alert and acts on it: the first one; another is told who was."""
        return self._with(incident_id, who, at_ns, lambda case: marks.acknowledge(carried(case)))

    def disposition(
        self, incident_id: str, who: str, at_ns: int, finding: Finding, expected_version: int | None = None
    ) -> Head:
        """What came of it."""
        return self._with(incident_id, who, at_ns, lambda case: marks.find(case, finding, expected_version))

    def note(self, incident_id: str, who: str, at_ns: int, text: str) -> Head:
        """Words for others to read."""
        return self._with(incident_id, who, at_ns, lambda case: marks.note(carried(case), text))

    def pin(self, incident_id: str, who: str, at_ns: int, reason: str) -> Head:
        """Keep it and its sound beyond their time: it is evidence."""
        return self._with(incident_id, who, at_ns, lambda case: marks.pin(case, reason, pinned=True))

    def unpin(self, incident_id: str, who: str, at_ns: int, reason: str) -> Head:
        """Let it go when its time is over."""
        return self._with(incident_id, who, at_ns, lambda case: marks.pin(case, reason, pinned=False))

    def link(self, incident_id: str, who: str, at_ns: int, link: Link) -> Head:
        """Say by which number another system knows it: a call to 911, a dispatch, a case."""
        return self._with(incident_id, who, at_ns, lambda case: marks.link(case, link, linked=True))

    def unlink(self, incident_id: str, who: str, at_ns: int, link: Link) -> Head:
        """Take such a number back."""
        return self._with(incident_id, who, at_ns, lambda case: marks.link(case, link, linked=False))

    # what changes what others are told: the caller submits the decision to the engine

    def judge(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        judgement: Judgement,
        *,
        expected_version: int,
        note: str = "",
        listened: bool = False,
    ) -> Decision:
        """Say what it was: the first reviewer's word, or their own correction of it before a second one spoke.

        Parameters
        ----------
        expected_version : int
            Of the incident when they looked.
        listened : bool
            Whether they fetched a clip of it before.
        """
        return self._with(
            incident_id, who, at_ns,
            lambda case: opinions.first(case, self.rules, judgement, expected_version, note, listened=listened),
        )  # fmt: skip

    def second(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        judgement: Judgement,
        *,
        expected_version: int | None = None,
        note: str = "",
        listened: bool = False,
    ) -> Head:
        """What a second person says who does not know what the first said; it changes nothing that others are told.

        Where the two differ, `Head.disagreed` asks for a supervisor. Whoever gave the first word, or acknowledged the
        alert and so knows the machine's, is refused (`ConflictError`).
        """
        return self._with(
            incident_id, who, at_ns,
            lambda case: opinions.second(case, judgement, expected_version, note, listened=listened),
        )  # fmt: skip

    def adjudicate(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        judgement: Judgement,
        *,
        expected_version: int,
        note: str = "",
        listened: bool = False,
    ) -> Decision:
        """A supervisor's word over what was said before: where two differed, by a third person."""
        return self._with(
            incident_id, who, at_ns,
            lambda case: opinions.adjudicate(case, judgement, expected_version, note, listened=listened),
        )  # fmt: skip

    def place(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        latitude: float,
        longitude: float,
        radius_m: float,
        *,
        expected_version: int,
        note: str = "",
    ) -> Decision:
        """Say where it was: degrees WGS84, and how far around it may have been at 95 %."""
        said: dict[str, Any] = {"latitude": latitude, "longitude": longitude, "radius_m": radius_m}
        return self._act(incident_id, who, at_ns, "place", said, expected_version, note)

    def merge(
        self, incident_id: str, who: str, at_ns: int, into: str, *, expected_version: int, note: str = ""
    ) -> Decision:
        """Say that it is part of another incident, ``into`` (an incident_id)."""
        return self._with(incident_id, who, at_ns, lambda case: acts.merge(case, into, expected_version, note))

    def split(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        shot_ids: tuple[str, ...],
        *,
        expected_version: int,
        note: str = "",
    ) -> Decision:
        """Say that some of its rounds are an incident of their own."""
        return self._act(incident_id, who, at_ns, "split", {"shot_ids": shot_ids}, expected_version, note)

    def undo(
        self,
        incident_id: str,
        who: str,
        at_ns: int,
        act_id: str,
        *,
        expected_version: int,
        note: str = "",
        supervisor: bool = False,
    ) -> Decision:
        """Say that an act counts no more; nothing is erased.

        Parameters
        ----------
        supervisor : bool
            Whether this person may say otherwise than others did: a judgement that is not one's own needs it.
        """
        return self._with(
            incident_id, who, at_ns,
            lambda case: opinions.undo(case, act_id, expected_version, note, supervisor=supervisor),
        )  # fmt: skip

    def pending(self) -> tuple[Decision, ...]:
        """Acts that no revision names yet, in the order they were made: to be submitted again at the start."""
        with self.store.reading() as connection:
            return acts.pending(connection)

    def unapplied(self) -> tuple[int, int | None]:
        """How many acts no revision names yet, and when the first of them was made: for gauges.

        One that stays is one that the desk passed over, since the alert was no longer what the person looked at.
        """
        with self.store.reading() as connection:
            return acts.unapplied(connection)

    def documents_for(self, act: Act) -> tuple[Alert, ...]:
        """The last stored revision of each alert that an act concerns."""
        with self.store.reading() as connection:
            return acts.documents_for(connection, act)

    def _act(
        self, incident_id: str, who: str, at_ns: int, kind: ActKind, said: dict[str, Any],
        expected_version: int, note: str,
    ) -> Decision:  # fmt: skip
        return self._with(incident_id, who, at_ns, lambda case: acts.write(case, kind, said, expected_version, note))

    def _with(self, incident_id: str, who: str, at_ns: int, work: Callable[[Case], T]) -> T:
        def in_transaction(connection: sa.Connection) -> T:
            return work(open_case(connection, self.ledger, incident_id, who, at_ns))

        return self.store.write(in_transaction)

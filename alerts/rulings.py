"""Rulings: how each incident on the desk stands, by the machine and by people; judged anew whenever it is asked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from alerts.acts_memory import Aside
from alerts.draft import Turn, draft
from alerts.hand import Hand
from alerts.incident import Incident
from alerts.overlay import machines_word
from alerts.recompose import recomposed
from alerts.roster import TrackedIncident
from alerts.turning import Ruling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerts.acts_memory import ActsMemory
    from alerts.alert import Alert, Round
    from alerts.draft import Setting
    from alerts.expectation import Expectation
    from alerts.hand import Standing
    from alerts.incident import Shot
    from alerts.policy import Policy, Verdict
    from alerts.roster import Life, Roster

NOBODY: Final = Hand()


class Rulings:
    """Decides what each incident's alert is to say now: the machine's verdict, and over it what people decided.

    Parameters
    ----------
    roster, people
        What is known; it is read, never changed.
    policy : Policy
        Prior and thresholds.
    setting : Setting
        What every alert of the desk shares.
    expectation : Expectation or None
        What was to be expected.
    """

    def __init__(
        self, roster: Roster, people: ActsMemory, policy: Policy, setting: Setting, expectation: Expectation | None
    ) -> None:
        self._roster, self._people = roster, people
        self._policy, self._setting, self._expectation = policy, setting, expectation

    def life(self, alert_id: str) -> Life | None:
        """What stands for an alert on the desk; None where it is unknown or forgotten."""
        aside = self._people.asides.get(alert_id)
        return aside if aside is not None else self.case(alert_id)

    def case(self, alert_id: str) -> TrackedIncident | None:
        """The roster's incident of which an alert tells; None where there is none."""
        return self._roster.cases.get(f"i{alert_id[1:]}")  # both are the founder's, see `alerts.incident.names_of`

    def owner(self, shot: Shot, case: TrackedIncident) -> Life:
        """Whose a shot is, where people had a word in it: its own case's otherwise."""
        if not self._people or (case.alert_id not in self._people and not self._is_taken(shot.shot_id)):
            return case
        owner_id = self._people.standing.owner(shot.shot_id, case.alert_id)
        return self.life(owner_id) or case

    def holder(self, shot_id: str) -> Life | None:
        """Whose a shot is by people's word, as it is known; None where the machine's word stands."""
        home = self._roster.incident_id(shot_id)
        if home is None or not self._people:
            return None
        shot = self._roster.known(shot_id)
        life = None if shot is None else self.owner(shot, self._roster.cases[home])
        return None if life is self._roster.cases[home] else life

    def takers(self, shot_ids: Iterable[str], standing: Standing) -> list[str]:
        """Of which alert each round is by what people said, before that one was made part of another."""
        homes = {shot_id: home for shot_id, (_, home) in self._people.homes().items()}
        for shot_id in shot_ids:
            if (home := self._roster.incident_id(shot_id)) is not None:
                homes[shot_id] = f"a{home[1:]}"
        found = (standing.taken.get(shot_id) or homes.get(shot_id) for shot_id in shot_ids)
        return [alert_id for alert_id in found if alert_id is not None]

    def of(self, life: Life) -> Ruling | None:
        """How an incident stands now; None where nothing was said of it, and people put all its rounds elsewhere."""
        if isinstance(life, TrackedIncident) and not self._is_spoken_of(life):
            return self._of_shots(life.incident, NOBODY)
        alert_id = life.alert_id
        hand = self._people.hand(alert_id)
        shots, rounds = self._owned(life)
        into = self._people.standing.into.get(alert_id)
        if not shots and not rounds:
            return None if life.last is None else self._emptied(life, life.last, hand, into)
        founder = life.incident.founder if isinstance(life, TrackedIncident) else self._people.founder(alert_id)
        if rounds or founder is None:
            document = self._document(life, shots, rounds)
            ruling = Ruling(document.outcome, hand, document=document)
        else:
            ruling = self._of_shots(Incident(founder, tuple(shots)), hand)
        return ruling if into is None else dataclasses.replace(ruling, into=self._name(into))

    def marked(self, alert: Alert) -> Alert:
        """The alert with each round's incident by the machine, where people made the round part of this one."""
        if alert.alert_id not in self._people:
            return alert
        homes = {shot_id: home for shot_id, (_, home) in self._people.homes().items()}
        rounds = []
        for one in alert.rounds:
            home = self._roster.incident_id(one.shot_id)
            if home is None and one.shot_id in homes:
                home = f"i{homes[one.shot_id][1:]}"
            other = None if home is None or home == alert.incident_id else home
            rounds.append(one if one.incident_id == other else dataclasses.replace(one, incident_id=other))
        return dataclasses.replace(alert, rounds=tuple(rounds))

    def judge(self, incident: Incident) -> Verdict:
        """What the machine makes of an incident."""
        if self._expectation is None:
            return self._policy.judge(incident)
        return self._policy.judge(incident, self._expectation.circumstances(incident))

    def _of_shots(self, incident: Incident, hand: Hand) -> Ruling:
        verdict = self.judge(incident)
        return Ruling(verdict.outcome, hand, incident, verdict)

    def _is_spoken_of(self, case: TrackedIncident) -> bool:
        if not self._people:
            return False
        return case.alert_id in self._people or any(self._is_taken(shot.shot_id) for shot in case.incident.shots)

    def _is_taken(self, shot_id: str) -> bool:
        return shot_id in self._people.standing.taken

    def _owned(self, life: Life) -> tuple[list[Shot], list[Round]]:
        """What belongs to an alert: shots where they are remembered, else rounds of documents.

        Looked at as if it was itself not part of another: what was withdrawn still tells of its own.
        """
        mine, standing = life.alert_id, self._people.standing
        homes = [mine, *(alert_id for alert_id in standing.into if standing.owner("", alert_id, mine) == mine)]
        cases = [case for alert_id in dict.fromkeys(homes) if (case := self.case(alert_id)) is not None]
        shots = {shot.shot_id: shot for case in cases for shot in case.incident.shots}
        for shot_id in standing.taken:
            shot = self._roster.known(shot_id)
            if shot is not None:
                shots[shot_id] = shot
        kept = [shot for name, shot in shots.items() if self._home_owner(name, mine) == mine]
        told = self._people.homes().items()
        rounds = [
            one
            for shot_id, (one, home) in told
            if self._roster.known(shot_id) is None and standing.owner(shot_id, home, mine) == mine
        ]
        return kept, rounds

    def _home_owner(self, shot_id: str, stop: str) -> str:
        home = self._roster.incident_id(shot_id) or ""
        return self._people.standing.owner(shot_id, f"a{home[1:]}", stop)

    def _document(self, life: Life, shots: list[Shot], rounds: list[Round]) -> Alert:
        """The machine's word of rounds whose shots are forgotten, with those that are not."""
        sources = self._sources(life, {one.shot_id for one in rounds})
        if shots:
            founder = life.incident.founder if isinstance(life, TrackedIncident) else shots[0].shot_id
            live = self._undated(Incident(founder, tuple(shots)))
            sources.append(live)
            rounds = [*rounds, *live.rounds]
        return recomposed(self._main(life, sources), sources, rounds, self._policy, self._setting.surveyor)

    def _sources(self, life: Life, wanted: set[str]) -> list[Alert]:
        """The machine's words of documents that tell of these rounds; of what is told twice one."""
        bases = [aside.base for aside in self._people.asides.values() if aside.base is not None]
        bases.sort(key=lambda base: (base.alert_id != life.alert_id, len(base.rounds), base.alert_id))
        found, missing = [], set(wanted)
        for base in bases:
            tells = missing & {one.shot_id for one in base.rounds}
            if tells:
                missing -= tells
                found.append(self._base_word(base.alert_id))
        return found

    def _main(self, life: Life, sources: list[Alert]) -> Alert:
        """The document whose name, prior and provenance the others go under."""
        named = next((source for source in sources if source.alert_id == life.alert_id), None)
        if named is not None:
            return named
        if isinstance(life, Aside) and life.base is not None:
            return self._base_word(life.alert_id)
        return dataclasses.replace(
            sources[0],
            alert_id=life.alert_id,
            incident_id=life.incident_id,
            revision=1,
            supersedes=None,
        )

    def _base_word(self, alert_id: str) -> Alert:
        base = self._people.asides[alert_id].base
        if base is None:
            raise ValueError(f"{alert_id} has no document")
        return machines_word(base, self._setting.frame_name, self._setting.surveyor)

    def _undated(self, incident: Incident) -> Alert:
        """What is drafted of shots, for the rounds of documents to be added."""
        verdict = self.judge(incident)
        turn = Turn(1, "new", "new", "preliminary", verdict.outcome, incident.first_ns)
        return draft(incident, verdict, self._setting, turn, lambda _: None)

    def _emptied(self, life: Life, last: Alert, hand: Hand, into: str | None) -> Ruling:
        """Nothing is left of it: its rounds are where people put them, or back where they were."""
        word = machines_word(last, self._setting.frame_name, self._setting.surveyor)
        mine, standing = life.alert_id, self._people.standing
        own = [shot.shot_id for shot in _shots_of(life)]
        own += [shot_id for shot_id, (_, home) in self._people.homes().items() if home == mine]
        homes = dict.fromkeys(own, mine) | {
            one.shot_id: f"a{one.incident_id[1:]}" for one in last.rounds if one.incident_id is not None
        }
        goes = (standing.owner(shot_id, home) for shot_id, home in homes.items())
        other = into or next((alert_id for alert_id in goes if alert_id != mine), None)
        return Ruling(word.outcome, hand, document=word, into=None if other is None else self._name(other))

    def _name(self, alert_id: str) -> str:
        life = self.life(alert_id)
        return f"i{alert_id[1:]}" if life is None else life.incident_id


def _shots_of(life: Life) -> tuple[Shot, ...]:
    return life.incident.shots if isinstance(life, TrackedIncident) else ()

"""Policy: from evidence and a prior to what becomes of an incident: published, sent to review, or suppressed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from acoustic.detection import probability

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alerts.circumstances import Circumstances
    from alerts.incident import Incident

Outcome = Literal["published", "review", "suppressed"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("published", "review", "suppressed")


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is told what: thresholds on the probability of gunfire, after the evidence.

    Parameters
    ----------
    prior : float
        Probability that a bang which several sensors hear is gunfire, before its sound is judged. One in six on an
        ordinary night: about five other bangs (fireworks, backfires, building sites) to each shot; a holiday wants
        less.
    publish : float
        From here on the incident is published. 0.8 accepts one false dispatch in five at the threshold itself, and
        far fewer over all, since most incidents lie well above it.
    review : float
        From here on a person looks before anybody is sent.
    review_unplaced : float
        The same for an incident without a place, which is never published: single sensors hear much.
    round_correlation : float
        Correlation of the evidence of two rounds of one incident; see `fused_llr`.

    Raises
    ------
    ValueError
        When a probability is not between 0 and 1, or review does not come before publish.
    """

    prior: float = 1.0 / 6.0
    publish: float = 0.8
    review: float = 0.1
    review_unplaced: float = 0.5
    round_correlation: float = 0.5

    def __post_init__(self) -> None:
        for name in ("prior", "publish", "review", "review_unplaced"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a probability between 0 and 1")
        if not 0.0 <= self.round_correlation <= 1.0:
            raise ValueError(f"round_correlation is {self.round_correlation}: expected 0 to 1")
        if not self.review <= self.publish:
            raise ValueError(f"review ({self.review}) must not lie above publish ({self.publish})")

    @property
    def log_prior_odds(self) -> float:
        """Natural logarithm of prior / (1 - prior)."""
        return math.log(self.prior / (1.0 - self.prior))

    def judge(self, incident: Incident, circumstances: Circumstances | None = None) -> Verdict:
        """What is to become of an incident, from its evidence as it stands and what was to be expected.

        The evidence is that of its rounds with a place, or of all where none has one. The logarithm of the odds after
        it is the evidence plus the logarithm of the prior odds.

        Parameters
        ----------
        incident : Incident
            Its rounds.
        circumstances : Circumstances or None
            What makes its prior; None for the policy's own.
        """
        shots = incident.fixes or incident.shots
        why = None if incident.best is not None else unplaced_for(shot.reason for shot in incident.unfixed)
        return self.weigh([shot.llr for shot in shots], circumstances, why)

    def weigh(
        self, llrs: Sequence[float], circumstances: Circumstances | None = None, unplaced: str | None = None
    ) -> Verdict:
        """What is to become of rounds, by the evidence of each.

        A load of other bangs can take an incident from publication to review, since a person then looks; it never
        takes one from people altogether: what would be published or reviewed without the load is reviewed. Nor does
        the hour suppress what would be published at any other.

        Parameters
        ----------
        llrs : sequence of float
            At least one.
        circumstances : Circumstances or None
            As `judge` takes them.
        unplaced : str or None
            Why there is no place, for people to read; None where there is one.
        """
        llr = fused_llr(llrs, self.round_correlation)
        if circumstances is None:
            posterior = probability(llr, self.log_prior_odds)
            outcome, gate = self._gate(unplaced, posterior)
            return self._verdict(outcome, llr, self.prior, posterior, gate)
        posterior = probability(llr, circumstances.log_prior_odds)
        outcome, gate = self._gate(unplaced, posterior)
        held = outcome == "published" and circumstances.over_budget and posterior < circumstances.always_publish
        if held:
            outcome, gate = "review", _spent(circumstances)
        elif outcome == "suppressed" and (but := self._but(llr, circumstances, unplaced)):
            outcome, gate = "review", f"{gate}; {but}, so that one does"
        told = circumstances if held else circumstances.spared()
        return self._verdict(outcome, llr, circumstances.prior, posterior, gate, told)

    def _but(self, llr: float, circumstances: Circumstances, unplaced: str | None) -> str:
        """Why a person looks at what the prior alone would suppress; empty where nobody does."""
        ordinary = probability(llr, circumstances.ordinary_log_odds)
        if self._gate(unplaced, ordinary)[0] != "suppressed":
            return f"{ordinary:.3g} without the load of other bangs"
        hourless = probability(llr, circumstances.ordinary_log_odds - circumstances.hour_shift)
        published = self._gate(unplaced, hourless)[0] == "published"
        return f"{hourless:.3g} at an ordinary hour" if published else ""

    def _gate(self, unplaced: str | None, posterior: float) -> tuple[Outcome, str]:
        """The thresholds alone."""
        if unplaced is not None:
            if posterior >= self.review_unplaced:
                return "review", f"{unplaced}: a person looks from {self.review_unplaced:g}"
            return "suppressed", f"{unplaced}, and below {self.review_unplaced:g}"
        if posterior >= self.publish:
            return "published", f"at least {self.publish:g}, from which it is published"
        if posterior >= self.review:
            return "review", f"below {self.publish:g}, from which it is published"
        return "suppressed", f"below {self.review:g}, from which a person looks"

    @staticmethod
    def _verdict(
        outcome: Outcome,
        llr: float,
        prior: float,
        posterior: float,
        gate: str,
        circumstances: Circumstances | None = None,
    ) -> Verdict:
        reason = f"probability of gunfire {posterior:.3g}: {gate}"
        return Verdict(outcome, llr, prior, posterior, reason, circumstances)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an incident, and by which gate.

    Parameters
    ----------
    outcome : str
        One of `OUTCOMES`.
    llr : float
        Fused evidence, natural logarithm.
    prior, posterior : float
        Probability of gunfire before and after it.
    reason : str
        The gate that decided, for people to read.
    circumstances : Circumstances or None
        What made the prior, where it was not the policy's own. Its events are ``over_budget`` only where that is what
        kept the incident from publication.
    """

    outcome: Outcome
    llr: float
    prior: float
    posterior: float
    reason: str
    circumstances: Circumstances | None = None


def _spent(circumstances: Circumstances) -> str:
    spent = next(near for near in circumstances.expected if near.over_budget)
    budget = spent.budget_per_hour  # a document does not say how much it was
    much = "" if budget is None else f" ({budget:g} published an hour)"
    return f"the budget of {spent.name} is spent{much}: a person looks first"


def unplaced_for(reasons: Iterable[str]) -> str:
    """How the want of a place is told, for the reasons why each round has none."""
    return f"no place ({', '.join(sorted(set(reasons)))})"


def fused_llr(llrs: Sequence[float], correlation: float) -> float:
    """Evidence of several rounds of one incident together, natural logarithm.

    Either every round is gunfire, or one of them is and the rest is echo, reply or coincidence; both are held equally
    likely beforehand. For the first, the rounds are heard by the same sensors through the same air, hence n of them
    count as n / (1 + (n - 1) correlation) independent ones (Kish's design effect): never more than 1 / correlation.
    For the second, the likelihood ratio is the mean of the ratios. So ten weak rounds do not bury a strong one, and
    fifty crackers do not add up to a shot.

    Parameters
    ----------
    llrs : sequence of float
        One for each round; at least one.
    correlation : float
        0 (independent) to 1 (the same again).
    """
    n = len(llrs)
    if n == 1:
        return llrs[0]
    every = math.fsum(llrs) / (1.0 + (n - 1) * correlation)
    one = _log_sum_exp(llrs) - math.log(n)
    return _log_sum_exp((every, one)) - math.log(2.0)


def _log_sum_exp(values: Sequence[float]) -> float:
    greatest = max(values)
    return greatest + math.log(math.fsum(math.exp(value - greatest) for value in values))

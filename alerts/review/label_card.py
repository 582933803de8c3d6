"""The card of exported labels: what they are, how many, and what must not be read from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alerts.review.labels import CLASS_OF, COARSE_DECIMALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerts.review.label_plan import ExportCounts, ExportPlan

_CARD: Final = """\
# Labels from reviews

What people said of sounds that a shotfix centre had heard. `labels.jsonl` has one object a line, `labels.csv` the same
as a table. With sound, `audio/` holds the clips, each under the SHA-256 of its samples, and `manifest.csv` those of
them that can be learnt from, as shotfix's `fixtures/builders/classifier.py` reads it.

SHA-256 of `labels.jsonl`: `{counts.sha256}`

## How many

{counts.labels} labels of {counts.incidents} incidents.

- by class: {by_class}
- by how the last word came about: {by_standing}
- by what the machine had said: {by_outcome}
- without a clip: {counts.no_clip}; clips copied: {counts.copied}, missing: {counts.missing}, damaged and left out:
  {counts.damaged}; in the manifest: {counts.taught}

## What the words mean

- classes: {classes}. What is `other` is no gunshot, and nothing else is known of it.
- `standing`: single: one person said so; agreed: a second, who did not know what the first said, said the same;
  adjudicated: they differed, or somebody objected, and a supervisor decided; disputed: they differ, and there is no
  last word.
- `second_because`: why a second person was asked. Only among those that were `drawn` does the share that agreed say
  something of all.
- `listened`: somebody whose word counts had fetched a clip of it. `named_then`: this clip was there when the first
  person judged.
- `machine`: what it had said when the first person judged it: `p_gunshot` with its prior, `llr` without.
- reviewers have names that mean nothing, each the same in every export of one record.

## What must not be read from them

- They were selected: what the machine published or doubted, and somebody looked at. What it suppressed is nearly
  absent, and what no sensor heard is absent. Shares among them are no shares of what is to be heard in a street, and a
  classifier that is measured on them is measured where the one before it was unsure.
- First reviewers knew what the machine thought. Where it is asked how good it is, use second opinions, or what was
  found on the street (`disposition`).
- A label is of an incident. A clip of it may hold other sounds; which round is heard when in a clip is not recorded,
  and a trainer that takes the loudest onset is mostly, not always, right.
- Handling is what one sensor felt: where an incident has clips of several, the others' may hold something else.
- Places and times are given {rounding}.
- Licence of the sounds, as stated by who exported them: {plan.licence}. People may be heard in them.
"""


def card(plan: ExportPlan, counts: ExportCounts) -> str:
    """The card as Markdown."""
    return _CARD.format(
        plan=plan,
        counts=counts,
        by_class=_listed(counts.by_class),
        by_standing=_listed(counts.by_standing),
        by_outcome=_listed(counts.by_outcome),
        classes=", ".join(f"{said} = {sound or 'no class'}" for said, sound in CLASS_OF.items()),
        rounding="as they are" if plan.exact else f"to {COARSE_DECIMALS} decimals of a degree, and to the hour",
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

"""Findings of the doctor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what, how it is, in words, and what to do where it is not well."""

    about: str
    verdict: Verdict
    said: str
    remedy: str = ""

    def words(self) -> str:
        """All but the verdict, for a person."""
        return f"{self.about}: {self.said}" + (f"; {self.remedy}" if self.remedy else "")

    def as_table(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)

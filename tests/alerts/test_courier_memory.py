"""The conformance suite against the simplest courier there can be: so that the suite itself is tried."""

from __future__ import annotations

import pytest

from alerts.delivery import Receipt
from tests.couriers_conformance import LOST, WELL, CourierConformance


class Memory:
    """A list, and its own receiver."""

    name = "memory"

    def __init__(self):
        self.trouble, self.taken = WELL, []
        self.courier, self.secrets = self, ("whsec_none",)

    def become(self, trouble):
        self.trouble = trouble
        return trouble in {WELL, LOST, "faulty", "full", "away", "cut"}

    def accepted(self):
        return list(self.taken)

    def deliver(self, delivery, now_ns):
        if self.trouble not in {WELL, LOST}:
            return Receipt(delivered=False, detail=self.trouble, unanswered=self.trouble == "away")
        self.taken.append((delivery.message_id, delivery.document))
        return Receipt(delivered=self.trouble == WELL, detail="taken")

    def close(self):
        pass


class TestMemory(CourierConformance):
    @pytest.fixture
    def rig(self):
        return Memory()

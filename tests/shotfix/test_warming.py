"""Warming: everything that a first shot needs is compiled by then."""

from __future__ import annotations

from acoustic import kernels
from localization import association_kernels, solver_kernels
from sensors.warming import warm_listener
from shotfix.warming import warm_locator


def compiled(module) -> dict[str, int]:
    """Signatures compiled or fetched so far, of each kernel."""
    found = {name: getattr(each, "signatures", None) for name, each in vars(module).items()}
    return {name: len(signatures) for name, signatures in found.items() if signatures}


def test_an_invented_burst_is_placed_and_an_invented_impulse_heard():
    assert warm_locator() == 2
    assert warm_listener() == 1
    for module in (kernels, association_kernels, solver_kernels):
        assert compiled(module)

"""Which ports are open, and which connections wait for a byte: decided by what is known, and nothing else."""

from __future__ import annotations

import pytest

from hub import Kind
from hub.gateway.policy import awaits_bytes, wanted_port
from hub.lifecycle import Pending, State
from hub.record import ModuleRecord

KINDS = {
    "with": Kind("with", ["server"], gateway=True),
    "without": Kind("without", ["server"]),
}


@pytest.mark.parametrize("state", State)
def test_a_port_is_open_in_every_state(state: State) -> None:
    """Once chosen it is open whatever becomes of the module, also where it is not here any more."""
    assert wanted_port(ModuleRecord("m", "with", state, gateway_port=6000), KINDS) == 6000


@pytest.mark.parametrize(
    "record",
    [
        ModuleRecord("m", "with", State.HIBERNATED),
        ModuleRecord("m", "without", State.HIBERNATED, gateway_port=6000),
        ModuleRecord("m", "gone", State.HIBERNATED, gateway_port=6000),
        ModuleRecord("m", "with", State.CRASHED, pending=Pending.OBLITERATE, gateway_port=6000),
    ],
    ids=["none chosen", "gateway taken off", "kind not configured", "being obliterated"],
)
def test_a_port_is_closed_where_nobody_could_be_reached(record: ModuleRecord) -> None:
    """Nothing listens where no port was chosen, the kind has no gateway, or the module will never come up again."""
    assert wanted_port(record, KINDS) is None


@pytest.mark.parametrize(
    ("up", "wake", "waits"),
    [(True, "connect", False), (True, "bytes", False), (False, "connect", False), (False, "bytes", True)],
)
def test_a_connection_waits_for_a_byte_only_where_it_would_wake(up: bool, wake: str, waits: bool) -> None:
    """A server that is up may be the one to speak first: whoever connects to it is connected at once."""
    assert awaits_bytes(up=up, wake=wake) is waits

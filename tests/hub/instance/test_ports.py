"""Ports: within the range, one holder each, and never one that somebody else has."""

import socket
from collections.abc import Iterator, Sequence

import pytest

from hub.errors import InvalidConfig, PortsExhausted
from hub.instance.ports import LOOPBACK, PortAllocator, is_free, parse_ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another process' listener has."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def base() -> int:
    """The lowest of five free ports in a row, below those that the kernel gives to others meanwhile."""
    for low in range(20000, 30000, 5):
        if all(is_free(port) for port in range(low, low + 5)):
            return low
    raise AssertionError("no five free ports in a row")


@pytest.mark.parametrize("value", [(7000, 7999), [7000, 7999], (1, 65535), (7000, 7000)])
def test_a_range_is_a_pair_with_both_ends(value: Sequence[int]) -> None:
    """A tuple of the host or a list of TOML, ends included."""
    assert parse_ports(value) == tuple(value)


@pytest.mark.parametrize("value", [0, (0, 0), [0, 0]])
def test_zero_means_any(value: object) -> None:
    """`0` leaves the choice to the kernel."""
    assert parse_ports(value) is None


@pytest.mark.parametrize(
    "value", [1, -1, "0", "7000-7999", (7999, 7000), (0, 5), (7000, 65536), (7000,), (1, 2, 3), (1.0, 2.0), {}, None]
)
def test_anything_else_is_refused(value: object) -> None:
    """The error shows the value and what is allowed."""
    with pytest.raises(InvalidConfig, match="ports = ") as refused:
        parse_ports(value)
    assert "1 <= low <= high <= 65535" in refused.value.hint


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    """An open port is somebody's; after its listener has gone it is free."""
    assert not is_free(taken)


def test_a_port_is_free_after_its_server_has_gone() -> None:
    """Connections of an earlier server that linger in TIME_WAIT do not keep its port."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), listener.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_RDWR)  # the server's side ends first and is the one that lingers
    assert is_free(port)


def test_a_range_is_given_out_port_by_port(base: int) -> None:
    """Every port of the range has one holder, both ends included; then the range is exhausted, by name."""
    allocator = PortAllocator((base, base + 4))
    ports = [allocator.acquire() for _ in range(5)]
    assert sorted(ports) == list(range(base, base + 5))
    assert allocator.held == set(ports)
    with pytest.raises(PortsExhausted, match=rf"no port of {base}-{base + 4} is free \(5 held by modules\)") as refused:
        allocator.acquire()
    assert refused.value.hint


def test_a_port_given_back_can_be_had_again(base: int) -> None:
    """Release makes room; releasing twice, or what was never held, is harmless."""
    allocator = PortAllocator((base, base))
    port = allocator.acquire()
    allocator.release(port)
    allocator.release(port)
    allocator.release(1)
    assert allocator.acquire() == port


def test_a_port_just_given_back_rests_for_a_round(base: int) -> None:
    """The next holder gets another port while there is one: late packets for the old one meet nobody."""
    allocator = PortAllocator((base, base + 4))
    first = allocator.acquire()
    allocator.release(first)
    assert [allocator.acquire() for _ in range(5)][-1] == first


def test_a_port_that_somebody_else_took_is_skipped(taken: int) -> None:
    """In a range of one taken port there is none; the taken port is not counted as held."""
    allocator = PortAllocator((taken, taken))
    with pytest.raises(PortsExhausted, match="0 held"):
        allocator.acquire()
    assert allocator.held == frozenset()


def test_the_next_port_is_given_instead_of_a_taken_one(base: int) -> None:
    """Somebody else's listener in the range costs nobody a start."""
    with socket.create_server((LOOPBACK, base)):
        assert PortAllocator((base, base + 4)).acquire() == base + 1


def test_the_preferred_port_is_given_if_it_is_free(base: int) -> None:
    """A waking module gets its old port back."""
    allocator = PortAllocator((base, base + 4))
    assert allocator.acquire(base + 3) == base + 3
    assert allocator.acquire(base + 3) == base  # held meanwhile


def test_a_preferred_port_outside_the_range_is_not_given(base: int) -> None:
    """After the range was moved in the configuration, an old port no longer counts."""
    assert PortAllocator((base, base + 1)).acquire(base + 4) == base


@pytest.mark.parametrize("preferred", [None, "taken"])
def test_any_port_is_a_free_one_of_the_kernels(preferred: str | None, taken: int) -> None:
    """Without a range the kernel chooses, also where the old port is gone; no two holders get the same."""
    allocator = PortAllocator(None)
    ports = [allocator.acquire(taken if preferred else None) for _ in range(20)]
    assert len(set(ports)) == 20
    assert taken not in ports
    assert all(is_free(port) for port in ports)


def test_a_preferred_port_is_given_also_without_a_range(base: int) -> None:
    """Any port is within "any"."""
    assert PortAllocator(None).acquire(base) == base

"""The gateway's ports: never those of instances, and never two modules' one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from hub.errors import PortsExhausted
from hub.gateway.ports import GatewayPorts
from hub.instance.ports import LOOPBACK, PortAllocator
from tests.hub.gateway.client import refused


@pytest.fixture
def low() -> Iterator[int]:
    """The first of three ports in a row that are free."""
    for start in range(20000, 30000, 3):
        if all(refused(port) for port in range(start, start + 3)):
            yield start
            return
    raise AssertionError("no three ports are free")


def test_a_chosen_port_listens_at_once(low: int) -> None:
    """A client that connects before the module's listener is opened waits, and is not refused."""
    ports = GatewayPorts(PortAllocator(None), LOOPBACK, (low, low + 2))
    port = ports.choose("m")
    with socket.create_connection((LOOPBACK, port)) as client, ports.listen("m") as listener:
        accepted, address = listener.accept()
        accepted.close()
        assert address == client.getsockname()


def test_a_module_has_one_port(low: int) -> None:
    """Asked again, the same is given."""
    ports = GatewayPorts(PortAllocator(None), LOOPBACK, (low, low + 2))
    assert ports.choose("m") == ports.choose("m") == low
    ports.close()


@pytest.mark.parametrize("instances_range", [True, False])
def test_instances_never_get_a_gateways_port(low: int, instances_range: bool) -> None:
    """Also where nobody listens on it now, as while somebody else has it."""
    instances = PortAllocator((low, low + 1) if instances_range else None)
    GatewayPorts(instances, LOOPBACK, None).hold("m", low)
    given = {instances.acquire(low) for _ in range(1)}
    assert low not in given
    if instances_range:
        with pytest.raises(PortsExhausted):
            instances.acquire()


def test_a_gateway_never_gets_an_instances_port(low: int) -> None:
    """Also where the instance does not listen yet."""
    instances = PortAllocator((low, low))
    assert instances.acquire() == low
    ports = GatewayPorts(instances, LOOPBACK, (low, low + 1))
    assert ports.choose("m") == low + 1
    ports.close()


def test_a_port_that_somebody_else_has_is_not_chosen(low: int) -> None:
    """It is skipped; with none left, the error says what to do."""
    ports = GatewayPorts(PortAllocator(None), LOOPBACK, (low, low + 1))
    with socket.create_server((LOOPBACK, low)):
        assert ports.choose("m") == low + 1
        with pytest.raises(PortsExhausted, match="gateway") as error:
            ports.choose("n")
    assert "gateway_ports" in error.value.hint
    ports.close()


def test_a_released_port_is_free_for_all(low: int) -> None:
    """It is closed, and an instance may have it."""
    instances = PortAllocator((low, low))
    ports = GatewayPorts(instances, LOOPBACK, (low, low))
    assert ports.choose("m") == low
    ports.release("m")
    ports.release("m")
    assert refused(low)
    assert instances.acquire() == low


def test_the_address_may_be_of_version_6() -> None:
    """`::1` is listened on as 127.0.0.1 is."""
    ports = GatewayPorts(PortAllocator(None), "::1", None)
    port = ports.choose("m")
    with socket.create_connection(("::1", port)):
        assert refused(port)
    ports.close()


def test_a_wide_range_that_is_held_is_gone_through_in_a_moment() -> None:
    """The loop waits for it: two milliseconds where each port takes its own, ten seconds where each looks at all."""
    ports = GatewayPorts(PortAllocator(None), LOOPBACK, (20000, 59999))
    for port in range(20000, 60000):
        ports.hold(f"m{port}", port)
    began = time.monotonic()
    with pytest.raises(PortsExhausted):
        ports.choose("one-more")
    assert time.monotonic() - began < 1

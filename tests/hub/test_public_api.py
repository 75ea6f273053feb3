"""The names that the contract gives to hosts and plugins."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hub
import hub.messages

# Section 9 of the contract, by hand.
ERRORS = [
    "ModhubError",
    "InvalidModuleId",
    "ModuleNotFound",
    "InvalidState",
    "KindMismatch",
    "ProvisionFailed",
    "BackendError",
    "DataConflict",
    "OperationTimeout",
    "OperationCancelled",
]
MESSAGES = [
    "Provision",
    "Hibernate",
    "Wake",
    "Deprovision",
    "Obliterate",
    "Describe",
    "ListModules",
    "Touch",
    "Subscribe",
]
OTHERS = ["Hub", "AsyncHub", "Kind", "ModuleInfo", "State"]
INFO_FIELDS = [
    "module_id",
    "kind",
    "state",
    "host",
    "port",
    "url",
    "pid",
    "data_dir",
    "dirty",
    "restarts",
    "idle_s",
    "last_error",
    "since",
    "op_id",
    "uptime_s",
    "memory_bytes",
    "cpu_percent",
    "gateway_port",
    "checkpointed_at",
]
HUB_METHODS = [
    "provision",
    "hibernate",
    "wake",
    "deprovision",
    "obliterate",
    "module",
    "modules",
    "registry",
    "close",
    "from_config",
]
KIND_PARAMETERS = ["name", "command", "env", "ready", "live", "stop_signal", "stop_timeout", "gc"]


@pytest.mark.parametrize("name", ERRORS + MESSAGES + OTHERS)
def test_a_name_of_the_contract_is_exported(name: str) -> None:
    """`from hub import NAME` works for every name that the contract gives, and `__all__` lists it."""
    assert name in hub.__all__
    assert inspect.isclass(getattr(hub, name))


@pytest.mark.parametrize("name", hub.__all__)
def test_what_is_listed_exists(name: str) -> None:
    """`from hub import *` can't fail on a name that is not there."""
    assert hasattr(hub, name)


def test_nothing_is_listed_twice() -> None:
    """Each public name stands once in `__all__`."""
    assert len(hub.__all__) == len(set(hub.__all__))


def test_the_groups_of_all_are_sorted() -> None:
    """Within each commented group of `__all__` the names are in order, so that one is found and added easily."""
    source = Path(inspect.getfile(hub)).read_text()
    block = source[source.index("__all__ = [") :].splitlines()[1:]
    groups: list[list[str]] = []
    for line in block[: block.index("]")]:
        if line.strip().startswith("#"):
            groups.append([])
        else:
            groups[-1].append(ast.literal_eval(line.strip().rstrip(",")))
    assert len(groups) > 1
    for group in groups:
        assert group == sorted(group)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_are_in_hub_messages(name: str) -> None:
    """Plugins find the messages where the contract puts them, the same classes as in `hub`."""
    assert name in hub.messages.__all__
    assert getattr(hub.messages, name) is getattr(hub, name)


def test_module_info_has_the_fields_of_the_contract() -> None:
    """Callers rely on these fields, in this order."""
    assert list(hub.ModuleInfo.__dataclass_fields__) == INFO_FIELDS


@pytest.mark.parametrize("cls", [hub.Hub, hub.AsyncHub])
@pytest.mark.parametrize("name", HUB_METHODS)
def test_a_hub_has_the_methods_of_the_contract(cls: type, name: str) -> None:
    """Both hubs have the same methods; only `close` is the thread's hub alone, the other one ends with its block."""
    assert hasattr(cls, name) or (cls is hub.AsyncHub and name == "close")


@pytest.mark.parametrize("name", ["provision", "hibernate", "wake", "deprovision", "obliterate"])
@pytest.mark.parametrize("cls", [hub.Hub, hub.AsyncHub])
def test_an_operation_takes_a_timeout(cls: type, name: str) -> None:
    """Every operation takes `timeout=`, `provision` also `kind=`; both by keyword only."""
    parameters = inspect.signature(getattr(cls, name)).parameters
    assert parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
    assert ("kind" in parameters) is (name == "provision")


def test_a_kind_takes_the_parameters_of_the_contract() -> None:
    """A kind written by the contract's page can be made."""
    assert set(KIND_PARAMETERS) <= set(inspect.signature(hub.Kind).parameters)


def test_a_state_is_its_name() -> None:
    """States compare and serialise as the strings of the contract."""
    assert hub.State("provisioned") == "provisioned"
    assert f"{hub.State.CRASHED}" == "crashed"


def test_the_version_is_told() -> None:
    """`hub.__version__` is what the distribution is built as."""
    assert hub.__version__.split(".")[0].isdigit()


def test_importing_starts_nothing() -> None:
    """After the import there is one thread, no child, and no descriptor beyond the standard ones."""
    program = (
        "import os, threading; before = set(os.listdir('/proc/self/fd'))\n"
        "import hub\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "assert set(os.listdir('/proc/self/fd')) == before\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

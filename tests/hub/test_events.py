"""The event vocabulary, the bus, and what a host sees of both."""

import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from hub.events import LOGGER_NAME, VOCABULARY, Event, EventBus
from hub.lifecycle import State

# Attributes whose names end in none of these have no unit: they are words, ids or counts.
UNITS = ("_ms", "_s", "bytes", "_bytes")
UNITLESS = {
    *(
        "pid",
        "modules",
        "on_exit",
        "stack",
        "command",
        "actor",
        "error",
        "traceback",
        "restarts",
        "message_type",
        "connections",
        "reason",
        "from_state",
        "to_state",
        "kind",
        "limits",
        "run_id",
    ),
    *(
        "dirty",
        "port",
        "exit_status",
        "output",
        "misses",
        "state",
        "attempt",
        "operation",
        "blobs",
        "versions",
        "error_type",
        "clean",
        "hook",
        "files",
        "plugin",
        "holder",
        "action",
        "asked_by",
    ),
    *(
        "url",
        "data_dir",
        "backend",
        "config",
        "cut_off",
        "method",
        "path",
        "status",
        "code",
        "client",
        "suppressed",
        "records",
    ),
}


@pytest.mark.parametrize("name", VOCABULARY)
def test_a_name_is_dotted_and_lower_case(name: str) -> None:
    """Names are `noun.what_happened`, with the subject first, so that a log can be filtered by prefix."""
    assert re.fullmatch(
        r"(hub|module|operation|instance|hydration|dehydration|checkpoint|backend|plugin|gateway|http)(\.[a-z_]+){1,2}",
        name,
    )


@pytest.mark.parametrize("name", ["module.transition", "module.crashed", "module.restart.scheduled"])
@pytest.mark.parametrize("other", ["hydration.completed", "module.obliterated", "hub.loop_stalled"])
def test_the_names_of_the_contract_are_there(name: str, other: str) -> None:
    """The events that the contract names exist under these names."""
    assert {name, other} <= VOCABULARY.keys()


@pytest.mark.parametrize("name", VOCABULARY)
def test_a_level_says_whether_a_person_should_look(name: str) -> None:
    """Ordinary events are INFO, dead letters too; failures are WARNING or ERROR; nothing else is used."""
    bad = re.search(
        r"failed|crashed|hung|stalled|exhausted|unavailable|parked|killed|unenforced|lost|lapsed|disk_low|dropped|refused",
        name,
    )
    levels = {logging.WARNING, logging.ERROR} if bad else {logging.INFO}
    assert VOCABULARY[name].level in levels


@pytest.mark.parametrize(("name", "field"), [(name, f) for name, spec in VOCABULARY.items() for f in spec.fields])
def test_an_attribute_carries_its_unit(name: str, field: str) -> None:
    """Whatever is measured ends in its unit; what has none is listed above."""
    assert field.endswith(UNITS) or field in UNITLESS, f"{name} has an attribute {field} without a unit"


@pytest.mark.parametrize("name", VOCABULARY)
def test_an_attribute_is_listed_once(name: str) -> None:
    """No attribute stands twice, and the two that every event has are not repeated."""
    fields = VOCABULARY[name].fields
    assert len(fields) == len(set(fields))
    assert not {"module_id", "op_id"} & set(fields)


def test_a_transition_has_what_rebuilding_a_state_takes() -> None:
    """From these attributes the state of every module at any moment can be rebuilt."""
    for name in ("module.transition", "module.resolved"):
        assert {"from_state", "to_state", "reason"} <= set(VOCABULARY[name].fields)


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_reaches_logger_and_listeners_with_its_attributes(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An event is one record of the logger `modhub`, its attributes are the record's; listeners get the same."""
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    fields: dict[str, Any] = {field: f"<{field}>" for field in VOCABULARY[name].fields}
    with caplog.at_level(logging.INFO, logger=LOGGER_NAME):
        bus.publish(name, "tenant-42", "0123456789abcdef", **fields)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("modhub", VOCABULARY[name].level, name)
    shown = record.__dict__
    assert {key: shown[key] for key in fields} == fields
    assert (shown["module_id"], shown["op_id"]) == ("tenant-42", "0123456789abcdef")
    assert heard == [Event(name, "tenant-42", "0123456789abcdef", fields)]


def test_an_attribute_without_a_value_is_left_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """`None` is no value: the record has no such attribute, so that a JSON line shows no nulls."""
    with caplog.at_level(logging.INFO, logger=LOGGER_NAME):
        EventBus().publish("module.transition", "m", from_state=State.PROVISIONED.value, pid=None)
    (record,) = caplog.records
    assert not {"pid", "op_id"} & record.__dict__.keys()
    assert record.__dict__["from_state"] == "provisioned"


def test_an_attribute_outside_the_vocabulary_is_a_defect() -> None:
    """Publishing what no page documents fails at once, and reaches nobody."""
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    with pytest.raises(AssertionError, match="shoe_size"):
        bus.publish("module.hung", "m", shoe_size=43)
    with pytest.raises(KeyError, match=r"module\.sneezed"):
        bus.publish("module.sneezed", "m")
    assert heard == []


def test_a_subscription_ends() -> None:
    """After `unsubscribe` a listener hears nothing more; ending it twice is harmless."""
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    bus.publish("hub.stopping", on_exit="hibernate")
    bus.unsubscribe(heard.append)
    bus.unsubscribe(heard.append)
    bus.publish("hub.stopping", on_exit="hibernate")
    assert len(heard) == 1


def test_a_listener_may_end_its_subscription_while_it_is_called() -> None:
    """A subscriber whose actor has died leaves during delivery, and the others still hear the event."""
    heard: list[str] = []
    bus = EventBus()

    def once(event: Event) -> None:
        heard.append(f"once {event.name}")
        bus.unsubscribe(once)

    bus.subscribe(once)
    bus.subscribe(lambda event: heard.append(event.name))
    bus.publish("hub.stopping")
    bus.publish("hub.stopping")
    assert heard == ["once hub.stopping", "hub.stopping", "hub.stopping"]


def test_listeners_hear_also_what_the_host_does_not_log(caplog: pytest.LogCaptureFixture) -> None:
    """The host's level decides on the log alone, never on what plugins are told."""
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, logger=LOGGER_NAME):
        bus.publish("hub.stopping", on_exit="hibernate")
    assert caplog.records == []
    assert len(heard) == 1


def test_an_event_of_another_thread_is_logged_but_not_delivered(caplog: pytest.LogCaptureFixture) -> None:
    """Listeners live on the loop and are not called from elsewhere; the log has the event with its attributes."""
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    bus.publish_from_thread("hub.loop_stalled", stalled_ms=1234, stack="File x, line 1")
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["stalled_ms"]) == ("hub.loop_stalled", 1234)
    assert record.__dict__["stack"] == "File x, line 1"
    assert heard == []


def test_events_are_numbered_and_dated() -> None:
    """Each event of a run has the number after the one before it, from 1, and the time of its publication."""
    now = 1.7e9
    heard: list[Event] = []
    bus = EventBus(lambda: now)
    bus.subscribe(heard.append)
    bus.publish("hub.stopping")
    now += 2.5
    bus.publish_from_thread("hub.loop_stalled", stalled_ms=1)
    bus.publish("hub.stopped")
    assert [(event.number, event.at) for event in heard] == [(1, 1.7e9), (2, 1.7e9 + 2.5)]


def test_two_events_that_say_the_same_are_equal() -> None:
    """Number and time tell which one it is; they are no part of what it says."""
    assert Event("hub.stopping", number=1, at=1.0) == Event("hub.stopping", number=2, at=2.0)


def test_each_run_has_an_id_of_its_own() -> None:
    """By its id a run is told from the next one, which counts anew: 8 hexadecimal digits, never the same by habit."""
    ids = {EventBus().run_id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch("[0-9a-f]{8}", run_id) for run_id in ids)


def test_what_threads_publish_is_counted() -> None:
    """Dead letters and stalls stand in the counters though no listener hears them."""
    bus = EventBus()
    for _ in range(3):
        bus.publish_from_thread("hub.dead_letter", actor="a", message_type="Wake", reason="dead")
    bus.publish("hub.stopping")
    assert bus.counted_from_threads() == {"hub.dead_letter": 3}


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def test_a_host_without_logging_sees_nothing() -> None:
    """Every event, an ERROR too, leaves stdout and stderr empty while the host configured no logging."""
    done = run(
        "import hub\n"
        "from hub.events import EventBus, VOCABULARY\n"
        "for name, spec in VOCABULARY.items():\n"
        "    EventBus().publish(name, 'm', 'op', **dict.fromkeys(spec.fields, 1))\n"
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_configures_no_logging() -> None:
    """The host's root logger, its level and structlog's configuration are as they were; ours has a NullHandler."""
    done = run(
        "import logging\n"
        "before = (logging.root.handlers[:], logging.root.level, logging.lastResort)\n"
        "import structlog, hub\n"
        "assert (logging.root.handlers, logging.root.level, logging.lastResort) == before\n"
        "assert not structlog.is_configured()\n"
        "logger = logging.getLogger('modhub')\n"
        "print([type(h).__name__ for h in logger.handlers], logger.level, logger.propagate)\n"
    )
    assert done.stdout == "['NullHandler'] 0 True\n"


def test_a_host_that_configures_logging_gets_the_events() -> None:
    """An ordinary `basicConfig` is all it takes, and the host's own structlog settings do not matter."""
    done = run(
        "import logging, structlog\n"
        "structlog.configure(processors=[lambda *a: 1 / 0])\n"
        "logging.basicConfig(level='INFO', format='%(name)s %(message)s %(module_id)s')\n"
        "from hub.events import EventBus\n"
        "EventBus().publish('module.hung', 'tenant-42', misses=3)\n"
    )
    assert done.stderr == "modhub module.hung tenant-42\n"

"""Checkpoints that nobody asked for, of real modules."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from hub import State
from hub.journal import Journal
from tests.hub.conftest import MakeHub, tiny_kind
from tests.hub.observer import Observer
from tests.hub.tiny_client import get, put

pytestmark = pytest.mark.e2e

COPY = ["sh", "-c", 'cp -a "$1/." "$2/"', "sh", "{data_dir}", "{checkpoint_dir}"]
# Copies, says so by a file, and keeps a connection to the server for as long as it is let.
CONNECTED = """
import shutil, socket, sys, time
shutil.copytree(sys.argv[2], sys.argv[3], dirs_exist_ok=True)
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[4], "w").close()
time.sleep(3600)
"""


def test_the_loss_of_a_machine_costs_at_most_the_interval(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """A running module is checkpointed again and again; one without a hook goes home once it sleeps, and only once."""
    options = {"kinds": [tiny_kind(checkpoint=COPY), tiny_kind("opaque")], "checkpoint_interval": 0.3}
    hub = make_hub(**options, lease=0.2, hibernated_lease=0.2)
    info = hub.provision("m")
    put(hub.provision("o", kind="opaque"), "k", "v")
    for count in (1, 2, 3):
        put(info, "k", f"v{count}")
        events.wait("checkpoint.completed", module_id="m", count=count)
    # The last one may have begun before the last write; the one after it has not.
    events.wait("checkpoint.completed", module_id="m", count=4)
    assert events.all("checkpoint.completed", module_id="o") == []
    hub.hibernate("o")
    events.wait("checkpoint.completed", module_id="o")
    events.wait("checkpoint.completed", module_id="m", count=8)
    assert len(events.all("checkpoint.completed", module_id="o")) == 1
    assert hub.module("o").state is State.HIBERNATED
    hub.close()
    shutil.rmtree(tmp_path / "data")
    elsewhere = make_hub(data="other", kinds=options["kinds"])
    assert get(elsewhere.provision("m"), "k") == "v3"
    assert get(elsewhere.provision("o"), "k") == "v"


def test_the_next_hub_knows_of_the_last_checkpoint(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """Its time is journalled: a module that sleeps, copied since, is not copied again; one that was not is."""
    hub = make_hub()
    for name in ("copied", "not-copied"):
        put(hub.provision(name), "k", "v")
        hub.hibernate(name)
    hub.checkpoint("copied")
    hub.close()
    journal = Journal(tmp_path / "data" / "journal.sqlite3")
    records = {record.module_id: record for record in journal.open()}
    journal.close()
    assert records["not-copied"].checkpointed_at < records["not-copied"].since < records["copied"].checkpointed_at
    hub = make_hub(checkpoint_interval=0.05, kinds=[tiny_kind(checkpoint=COPY)])
    put(hub.provision("another"), "k", "v")
    events.wait("checkpoint.completed", module_id="another", count=5)
    assert len(events.all("checkpoint.completed", module_id="not-copied")) == 1
    assert len(events.all("checkpoint.completed", module_id="copied")) == 1


def test_a_hooks_connection_is_no_activity(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """A module that nobody uses goes home in its time, however often, or however long, it is checkpointed."""
    hook = [sys.executable, "-I", "-c", CONNECTED, "{port}", "{data_dir}", "{checkpoint_dir}", str(tmp_path / "began")]
    kind = tiny_kind(checkpoint=hook, live=None)
    hub = make_hub(kinds=[kind], checkpoint_interval=0.05, idle_timeout=0.8, sweep_interval=0.05)
    put(hub.provision("m"), "k", "v")
    events.wait("module.idle", module_id="m")
    assert (tmp_path / "began").exists()
    events.wait("module.transition", module_id="m", to_state="unprovisioned")
    assert events.all("operation.failed", operation="checkpoint")[0]["error_type"] == "OperationCancelled"


def test_a_checkpoint_that_fails_is_tried_again(make_hub: MakeHub, tmp_path: Path, events: Observer) -> None:
    """Each failure and the next attempt are told, until one succeeds."""
    hook = ["sh", "-c", 'test -e "$3" && cp -a "$1/." "$2/"', "sh", "{data_dir}", "{checkpoint_dir}", f"{tmp_path}/ok"]
    hub = make_hub(kinds=[tiny_kind(checkpoint=hook)], checkpoint_interval=0.05)
    put(hub.provision("m"), "k", "v")
    events.wait("module.retry.scheduled", module_id="m", operation="checkpoint", attempt=2)
    assert len(events.all("instance.hook_failed", hook="checkpoint")) >= 2
    (tmp_path / "ok").touch()
    events.wait("checkpoint.completed", module_id="m")
    assert hub.module("m").state is State.PROVISIONED

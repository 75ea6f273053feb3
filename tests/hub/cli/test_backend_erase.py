"""`modhub backend erase`: asks, removes everything, proves it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends import BackendUnavailable, BlobStore, RemoteModule
from hub.cli import main
from tests.backends.stores import Faulty
from tests.hub.cli.backend_rig import BackendRig, on_terminal
from tests.hub.cli.conftest import clean_environment

erase_command = importlib.import_module("hub.cli.backend.erase")
"""The module; its package has the command under that name."""

pytestmark = pytest.mark.usefixtures("no_configuration")


@pytest.fixture
def rig(tmp_path: Path) -> BackendRig:
    folder = tmp_path / "rig"
    folder.mkdir()
    rig = BackendRig(folder)
    for name in ("alpha", "beta"):
        rig.save(name, {"f": b"12345"})
    return rig


def use(monkeypatch: pytest.MonkeyPatch, store: BlobStore) -> None:
    def chosen(config: Path | None, uri: str | None) -> BlobStore:
        return store

    monkeypatch.setattr(erase_command, "choose_backend", chosen)


def modules(rig: BackendRig) -> list[str]:
    return sorted(os.listdir(rig.root))  # noqa: PTH208 - names


def test_yes_erases_and_proves_it(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--yes` the module is gone, down to its folder; the line says what was deleted. The other is untouched."""
    objects = len(list(rig.store.list("alpha/")))
    assert main(["backend", "erase", "alpha", "--yes", "--backend", rig.uri]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"✓ alpha  deleted {objects} objects, ")
    assert out.endswith("; listed again: nothing is left\n")
    assert list(rig.store.remains("alpha/")) == []
    assert modules(rig) == ["beta"]
    assert main(["backend", "erase", "alpha", "-y", "--backend", rig.uri]) == 0
    assert capsys.readouterr().out == "✓ alpha  nothing was there\n"


def test_what_was_deleted_in_json(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the counts for each module, each once."""
    assert main(["backend", "erase", "alpha", "absent", "alpha", "-y", "--json", "--backend", rig.uri]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    alpha, absent = report["modules"]
    assert (alpha["module"], alpha["objects"], alpha["remaining"], alpha["error"]) == ("alpha", 3, 0, None)
    assert alpha["bytes"] > 5
    assert (absent["objects"], absent["bytes"]) == (0, 0)


def test_a_hub_that_has_the_module_is_fenced_off(rig: BackendRig, tmp_path: Path) -> None:
    """After an erasure the former owner can't bring anything back."""
    module = RemoteModule(rig.store, "alpha", owner="hub-1")
    head = module.read_head()
    assert head is not None
    assert main(["backend", "erase", "alpha", "-y", "--backend", rig.uri]) == 0
    source = tmp_path / "late"
    source.mkdir()
    with pytest.raises(Exception, match="no longer the head"):
        module.dehydrate(head, source, index=tmp_path / "index")
    assert modules(rig) == ["beta"]


def test_without_a_terminal_it_asks_for_yes(rig: BackendRig, scratch: Path) -> None:
    """Without a terminal to ask on and without `--yes` nothing is touched, and the exit code is 2."""
    for given in (None, "alpha\n"):
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", "backend", "erase", "alpha", "--backend", rig.uri],
            env=clean_environment(scratch, {}),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert "--yes" in done.stderr
    assert modules(rig) == ["alpha", "beta"]


@pytest.mark.e2e
def test_the_names_are_asked_for(rig: BackendRig, scratch: Path) -> None:
    """On a terminal owner and size are shown, and the typed names erase."""
    head = RemoteModule(rig.store, "alpha", owner="hub-1").read_head()
    assert head is not None
    seen = on_terminal(
        scratch,
        ["backend", "erase", "alpha", "absent", "beta", "--backend", rig.uri],
        answers=[("erase it: ", "alpha\n"), ("beta: 3 objects", "beta\n")],
        NO_COLOR="1",
    )
    assert seen.code == 0
    assert "alpha: 3 objects, " in seen.output
    assert "; 1 file, 5 B of data" in seen.output
    assert f"Owner: hub-1 (epoch {head.epoch})." in seen.output
    assert max(len(line.rpartition("\x1b[K")[2]) for line in seen.output.splitlines()) <= 80
    assert "✓ absent  nothing was there" in seen.output
    assert modules(rig) == []


@pytest.mark.e2e
@pytest.mark.parametrize("answer", ["\n", "Alpha\n", "yes\n", "\x04"])
def test_anything_else_erases_nothing(rig: BackendRig, scratch: Path, answer: str) -> None:
    """Anything but the exact name, for any of the modules, leaves all of them."""
    seen = on_terminal(
        scratch,
        ["backend", "erase", "beta", "alpha", "--backend", rig.uri],
        answers=[("erase it: ", "beta\n"), ("alpha: 3 objects", answer)],
    )
    assert seen.code == 1
    assert "nothing was erased" in seen.output
    assert modules(rig) == ["alpha", "beta"]


@pytest.mark.e2e
def test_ctrl_c_at_the_question_erases_nothing(rig: BackendRig, scratch: Path) -> None:
    """Ctrl-C instead of an answer ends it without a traceback."""
    seen = on_terminal(scratch, ["backend", "erase", "alpha", "--backend", rig.uri], answers=[("erase it: ", "\x03")])
    assert seen.code == 130
    assert "Traceback" not in seen.output
    assert modules(rig) == ["alpha", "beta"]


def test_one_that_fails_does_not_keep_the_others(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the backend fails at one module, that is said with what to do, the next one is erased, exit code 1."""
    store = Faulty(rig.store, 4, "before")
    use(monkeypatch, store)
    assert main(["backend", "erase", "alpha", "beta", "-y"]) == 1
    captured = capsys.readouterr()
    assert "✓ beta  deleted 3 objects" in captured.out
    assert captured.err.startswith("error: alpha: injected before ")
    assert "hint: " in captured.err
    assert store.fired
    assert modules(rig) == ["alpha"]
    assert main(["backend", "erase", "alpha", "-y", "--backend", rig.uri]) == 0
    assert modules(rig) == []


def test_a_backend_that_is_gone_is_one_line(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that can't be reached at all is the error, before anything is tried."""

    def gone() -> None:
        raise BackendUnavailable("no route")

    monkeypatch.setattr(rig.store, "check", gone)
    use(monkeypatch, rig.store)
    assert main(["backend", "erase", "alpha", "-y"]) == 1
    assert capsys.readouterr().err.startswith("error: no route\n")
    assert modules(rig) == ["alpha", "beta"]

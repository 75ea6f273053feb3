"""`modhub backend verify` and `du`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hub.cli import main
from tests.hub.cli.backend_rig import ESCAPES, BackendRig, on_terminal

pytestmark = pytest.mark.usefixtures("no_configuration")


@pytest.fixture
def rig(tmp_path: Path) -> BackendRig:
    folder = tmp_path / "rig"
    folder.mkdir()
    return BackendRig(folder)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_intact_modules_pass(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Each intact module is a line with counts, orphans are no damage, and the exit code is 0."""
    rig.save("alpha", {"a": b"12345"})
    rig.save("beta", {"a": b"12345"})
    rig.store.put("beta/blobs/strange", b"123")
    assert main(["backend", "verify", "--all", "--backend", rig.uri]) == 0
    alpha, beta, summary = capsys.readouterr().out.splitlines()
    assert alpha.startswith("✓ alpha  3 objects intact, ")
    assert beta.endswith("; 1 orphan (3 B), which is no damage")
    assert summary == "2 modules: 2 intact, 0 damaged."


def test_damage_is_named(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged blobs are named with the files that are lost, harmlessly shown, and the exit code is 1."""
    rig.save("alpha", {"large": os.urandom(3_000_000), ESCAPES: b"12345", "c": b"1"})
    rig.save("beta", {"a": b"1"})
    missing, pack = rig.blob_of("alpha", b"large"), rig.blob_of("alpha", ESCAPES)
    missing.unlink()
    tree = rig.snapshot("alpha")
    flip(pack, tree.content(ESCAPES)[0].offset)
    assert main(["backend", "verify", "alpha", "beta", "--backend", rig.uri]) == 1
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    lines = out.splitlines()
    assert lines[0] == "✗ alpha"
    assert f"  missing  blobs/{missing.name}" in lines
    assert lines[lines.index(f"  missing  blobs/{missing.name}") + 1] == "           lost: large"
    assert f"  corrupt  blobs/{pack.name}" in lines
    assert "           lost: evil\\x1b]0;pwned\\x07\\x0a\\x9b31m \\xff\\\\" in lines
    assert "  2 of 4 objects damaged, 2 files lost" in lines
    assert lines[-1] == "2 modules: 1 intact, 1 damaged."
    # What is not lost can still be had.
    assert main(["backend", "cat", "alpha", "c", "--backend", rig.uri]) == 0


def test_damage_in_json(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` names every lost file, however many, and tells orphans as findings that are no damage."""
    rig.save("alpha", {f"f{number:03}": os.urandom(100) for number in range(50)})
    rig.blob_of("alpha", b"f001").unlink()
    rig.store.put("alpha/blobs/strange", b"123")
    assert main(["backend", "verify", "alpha", "--json", "--backend", rig.uri]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    [module] = report["modules"]
    assert (module["module"], module["ok"], module["damaged"], module["lost_files"]) == ("alpha", False, 1, 50)
    damage, orphan = module["findings"]
    assert damage["flaw"] == "missing"
    assert [name["path"] for name in damage["files"]] == [f"f{number:03}" for number in range(50)]
    assert (orphan["flaw"], orphan["key"], orphan["size"]) == ("orphan", "alpha/blobs/strange", 3)


def test_many_lost_files_do_not_flood(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Of many lost files a few are named, and how many more there are."""
    rig.save("alpha", {f"f{number:03}": os.urandom(100) for number in range(50)})
    rig.blob_of("alpha", b"f001").unlink()
    assert main(["backend", "verify", "alpha", "--backend", rig.uri]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[-2] == "           lost: 45 more; --json names them all"


@pytest.mark.parametrize(
    ("victim", "ending"),
    [
        ("head", "  1 of 1 object damaged, no file can be restored"),
        ("manifest", "  1 of 2 objects damaged, no file can be restored"),
        ("previous", "  1 of 4 objects damaged, 0 files lost, of the earlier tree all"),
    ],
)
def test_what_all_depends_on(rig: BackendRig, capsys: pytest.CaptureFixture[str], victim: str, ending: str) -> None:
    """Damage of the head or of a manifest is told as what it is: nothing of that tree can be restored."""
    rig.save("alpha", {"a": b"1"})
    if victim == "previous":
        rig.save("alpha", {"a": b"2"}, keep_previous=True)
    head = rig.snapshot("alpha").head
    name = {"head": "head", "manifest": f"blobs/{head.manifest}", "previous": f"blobs/{head.previous}"}[victim]
    (rig.root / "alpha" / name).write_bytes(b"nonsense")
    assert main(["backend", "verify", "alpha", "--backend", rig.uri]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["✗ alpha", f"  corrupt  {name}"]
    assert lines[-1] == ending


@pytest.mark.e2e
def test_damage_and_bar_do_not_mix(rig: BackendRig, scratch: Path) -> None:
    """On a terminal the bar is wiped before a line is written, and nothing of it is left at the end."""
    rig.save("alpha", {"large": os.urandom(9_000_000), "c": b"1"})
    rig.blob_of("alpha", b"large", 1).unlink()
    seen = on_terminal(scratch, ["backend", "verify", "alpha", "--backend", rig.uri], NO_COLOR="1")
    assert seen.code == 1
    assert "%" in seen.output
    visible = [line.rpartition("\x1b[K")[2] for line in seen.output.strip().split("\r\n")]
    assert visible[0] == "✗ alpha"
    assert visible[1].startswith("  missing  blobs/")
    assert visible[-1] == "  1 of 5 objects damaged, 1 file lost"
    assert not any("%" in line for line in visible)


@pytest.mark.e2e
def test_ctrl_c_ends_it_cleanly(rig: BackendRig, scratch: Path) -> None:
    """Ctrl-C in the midst of a verification ends it: no traceback, no rest of the bar, exit code 130."""
    rig.save("alpha", {f"{number}": os.urandom(4 * 2**20) for number in range(40)})
    seen = on_terminal(scratch, ["backend", "verify", "alpha", "--backend", rig.uri], interrupt_at="%")
    assert seen.code == 130
    assert "Traceback" not in seen.output
    assert seen.output.splitlines()[-1].endswith("interrupted; nothing was left behind")


def test_usage_is_accounted_for(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`du` shows what takes the space in columns, with the sum of several; JSON has exact bytes that add up."""
    rig.save("alpha", {"a": os.urandom(50_000)})
    rig.save("alpha", {"a": os.urandom(60_000)}, keep_previous=True)
    rig.save("beta", {"a": b"1"})
    rig.store.put("beta/blobs/strange", b"x" * 5000)
    assert main(["backend", "du", "--backend", rig.uri]) == 0
    header, alpha, beta, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["MODULE", "OBJECTS", "DATA", "STORED", "PREVIOUS", "DEAD", "ORPHANS"]
    assert alpha.split()[:4] == ["alpha", "5", "60.0", "kB"]
    assert beta.endswith("5.0 kB")
    assert total.startswith("(2 modules)")
    assert main(["backend", "du", "--json", "alpha", "beta", "--backend", rig.uri]) == 0
    report = json.loads(capsys.readouterr().out)
    for usage in (*report["modules"], report["total"]):
        assert usage["live"] + usage["previous"] + usage["dead"] + usage["orphans"] == usage["stored"]
    assert report["modules"][0]["previous"] > 50_000
    assert report["total"]["orphans"] == 5000
    assert report["unreadable"] == {}


def test_usage_tells_of_damage(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`du` says which modules look damaged; one whose head can't be read has no account, and exit code 1."""
    rig.save("alpha", {"a": os.urandom(50_000)})
    rig.blob_of("alpha", b"a").unlink()
    assert main(["backend", "du", "--backend", rig.uri]) == 0
    assert capsys.readouterr().err == "alpha is damaged: modhub backend verify alpha\n"
    (rig.root / "alpha/head").write_bytes(b"{}")
    assert main(["backend", "du", "--backend", rig.uri]) == 1
    assert capsys.readouterr().err.startswith("alpha: alpha/head: the head is not readable")

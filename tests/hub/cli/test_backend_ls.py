"""`modhub backend ls`, and what all commands of the group have in common."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import RemoteModule
from hub.cli import main
from hub.cli.backend import backend as group
from hub.cli.backend.names import as_json, shown
from tests.hub.cli.backend_rig import ESCAPES, BackendRig, on_terminal
from tests.hub.cli.conftest import Modhub, clean_environment

pytestmark = pytest.mark.usefixtures("no_configuration")


@pytest.fixture
def rig(tmp_path: Path) -> BackendRig:
    folder = tmp_path / "rig"
    folder.mkdir()
    return BackendRig(folder)


def unescaped(text: str) -> bytes:
    return re.sub(
        rb"\\(\\|x[0-9a-f]{2})",
        lambda match: b"\\" if match[1] == b"\\" else bytes.fromhex(match[1][1:].decode()),
        text.encode(),
    )


@given(st.binary(), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_a_shown_name_is_harmless_and_tells_all(name: bytes, encoding: str) -> None:
    """Whatever a name is: what is shown is printable in the encoding, and gives every byte back."""
    text = shown(name, encoding)
    assert text.isprintable()
    text.encode(encoding)
    assert unescaped(text) == name


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_a_name_in_json_is_lossless(name: bytes) -> None:
    """UTF-8 stands as it is; else the exact bytes stand beside what can be shown."""
    found = json.loads(json.dumps(as_json("path", name)))
    if "path_base64" in found:
        assert base64.b64decode(found["path_base64"]) == name
        assert found["path"] == shown(name)
    else:
        assert found == {"path": name.decode()}


def test_modules_are_listed(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Each module is a line with what its head and manifest say; what is no module's is only mentioned."""
    rig.save("alpha", {"a": b"12345", "b": b"1"})
    claimed = RemoteModule(rig.store, "Beta", owner="hub-2").claim(None, "redis")
    rig.store.put("strange\x1b[2J/x", b"1")
    assert main(["backend", "ls", "--backend", rig.uri]) == 0
    captured = capsys.readouterr()
    header, beta, alpha = captured.out.splitlines()
    assert header.split() == ["MODULE", "STATE", "KIND", "OWNER", "EPOCH", "FILES", "DATA", "STORED"]
    assert beta.split()[:6] == ["Beta", "empty", "redis", "hub-2", str(claimed.epoch), "-"]
    assert alpha.split()[:4] == ["alpha", "committed", "store", "hub-1"]
    assert alpha.split()[5:8] == ["2", "6", "B"]
    assert captured.err == "1 more name is no module's; --all lists them\n"
    assert main(["backend", "ls", "--all", "--backend", rig.uri]) == 0
    assert "strange\\x1b[2J  no module" in capsys.readouterr().out


def test_modules_in_json(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the same with exact numbers, and damage as a problem."""
    tree = rig.save("alpha", {"a": b"12345"})
    hub = RemoteModule(rig.store, "alpha", owner="hub-1")
    held = hub.claim(hub.read_head(), "store", lease_s=2.5)
    rig.save("torn", {"a": b"1"})
    (rig.root / "torn/head").write_bytes(b"{}")
    assert main(["backend", "ls", "--json", "--backend", rig.uri]) == 0
    alpha, torn = json.loads(capsys.readouterr().out)["modules"]
    stored = sum(info.size for info in rig.store.list("alpha/"))
    assert alpha == {
        "module": "alpha",
        "state": "committed",
        "kind": "store",
        "owner": "hub-1",
        "epoch": held.epoch,
        "lease_ms": 2500,
        "tombstone": False,
        "manifest": tree.digest,
        "previous": None,
        "files": 1,
        "bytes": 5,
        "objects": 3,
        "stored": stored,
        "problem": None,
    }
    assert (torn["state"], torn["files"]) == ("damaged", None)
    assert "torn/head" in torn["problem"]


def test_a_tree_is_listed_like_ls(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories, files, both sorts of links: type, mode, size, time and the whole path; one level unless asked."""
    monkeypatch.setenv("TZ", "UTC")
    source = rig.path / "tree"
    (source / "d").mkdir(parents=True)
    (source / "d/deep").write_bytes(b"x" * 1234)
    (source / "d/deep").chmod(0o600)
    os.link(source / "d/deep", source / "e")
    (source / "l").symlink_to("d/deep")
    for name in ("d/deep", "l", "d"):
        os.utime(source / name, ns=(1_700_000_000 * 10**9, 1_700_000_000 * 10**9), follow_symlinks=False)
    (source / "d").chmod(0o1755)
    rig.send("alpha", source)
    assert main(["backend", "ls", "alpha", "--backend", rig.uri]) == 0
    when = "2023-11-14 22:13:20"
    assert capsys.readouterr().out.splitlines() == [
        f"drwxr-xr-t    - {when} d/",
        f"hrw------- 1234 {when} e link to d/deep",
        f"lrwxrwxrwx    - {when} l -> d/deep",
    ]
    assert main(["backend", "ls", "alpha", "-r", "d/", "--backend", rig.uri]) == 0
    assert capsys.readouterr().out.splitlines() == [f"-rw------- 1234 {when} d/deep"]
    assert main(["backend", "ls", "alpha", "e", "--json", "--backend", rig.uri]) == 0
    [entry] = json.loads(capsys.readouterr().out)["entries"]
    assert entry == {
        "path": "e",
        "kind": "hardlink",
        "mode": "0600",
        "mtime_ns": 1_700_000_000 * 10**9,
        "size": 1234,
        "target": "d/deep",
    }


def test_odd_names_do_no_harm(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Control sequences in names of files and links reach no terminal; JSON has the exact bytes."""
    source = rig.path / "tree"
    source.mkdir()
    Path(os.fsdecode(os.fsencode(source) + b"/" + ESCAPES)).write_bytes(b"x")
    (source / "l").symlink_to(os.fsdecode(ESCAPES))
    rig.send("alpha", source)
    assert main(["backend", "ls", "alpha", "--backend", rig.uri]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert [unescaped(line)[-len(ESCAPES) :] for line in out.splitlines()] == [ESCAPES, ESCAPES]
    assert main(["backend", "ls", "alpha", "--json", "--backend", rig.uri]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert base64.b64decode(entries[0]["path_base64"]) == ESCAPES
    assert base64.b64decode(entries[1]["target_base64"]) == ESCAPES
    assert entries[1]["path"] == "l"
    assert "path_base64" not in entries[1]


def test_the_earlier_tree_is_listed(rig: BackendRig, capsys: pytest.CaptureFixture[str]) -> None:
    """`--previous` lists the tree that is kept; where none is, that is said."""
    rig.save("alpha", {"old": b"1"})
    assert main(["backend", "ls", "alpha", "--previous", "--backend", rig.uri]) == 3
    assert capsys.readouterr().err.startswith("error: the backend keeps no earlier tree of alpha\n")
    rig.save("alpha", {"new": b"1"}, keep_previous=True)
    assert main(["backend", "ls", "alpha", "--previous", "--backend", rig.uri]) == 0
    assert capsys.readouterr().out.endswith(" old\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["ls", "absent"], 1, "error: the backend has no module 'absent'"),
        (["ls", "claimed"], 3, "error: hub-1 has taken claimed, and sent no data home yet"),
        (["ls", "going"], 3, "error: going is being erased"),
        (["ls", "alpha", "nothing"], 1, "error: no such file: nothing"),
        (["ls", "broken"], 1, "error: broken/head: the head is not readable"),
        (["ls", "../alpha"], 2, "error: '../alpha' is no module id"),
        (["verify", "alpha", "x/y"], 2, "error: 'x/y' is no module id"),
        (["du", "absent"], 1, "error: the backend has no module 'absent'"),
        (["verify", "absent"], 1, "error: the backend has no module 'absent'"),
        (["cat", "absent", "f"], 1, "error: the backend has no module 'absent'"),
        (["erase", "-y", "a b"], 2, "error: 'a b' is no module id"),
        (["verify"], 2, "error: name modules, or give --all"),
        (["verify", "--all", "alpha"], 2, "error: name modules, or give --all"),
        (["ls", "-r"], 2, "error: --recursive and --previous need a module"),
        (["ls", "alpha", "--all"], 2, "error: --all is for the list of modules"),
        (["erase"], 2, "error: missing argument 'MODULE...'"),
    ],
)
def test_what_can_not_be_done_is_said(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error: str
) -> None:
    """Each refusal is one line on stderr, mostly with a hint, and the documented exit code; stdout stays empty."""
    rig.save("alpha", {"f": b"1"})
    going = RemoteModule(rig.store, "going", owner="hub-1").claim(None, "store")
    RemoteModule(rig.store, "claimed", owner="hub-1").claim(None, "store")
    data = rig.store.get("going/head")[0].replace(b'"tombstone":false', b'"tombstone":true')
    rig.store.put("going/head", data, if_match=going.etag)
    rig.store.put("broken/head", b"nonsense")
    assert main(["backend", *arguments, "--backend", rig.uri]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(error)
    assert captured.out == ""


@pytest.mark.parametrize("command", group.commands.values(), ids=lambda command: str(command.name))
def test_the_backend_is_named_as_everywhere(
    rig: BackendRig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: click.Command,
) -> None:
    """Every command takes the backend from flag, file or variable; without any it says how to name one."""
    rig.save("alpha", {"f": b"1"})
    arguments = [
        "backend",
        str(command.name),
        *{"ls": [], "du": [], "cat": ["alpha", "f"]}.get(str(command.name), ["alpha"]),
    ]
    if command.name == "erase":
        arguments.append("--yes")
    assert main(arguments) == 2
    assert "hint: name one: --backend URI, --config FILE, or MODHUB_BACKEND" in capsys.readouterr().err
    config = rig.path / "hub.toml"
    config.write_text(f'backend = "{rig.uri}"\n')
    assert main([*arguments, "--config", str(config)]) == 0
    monkeypatch.setenv("MODHUB_BACKEND", rig.uri)
    rig.save("alpha", {"f": b"1"})
    assert main(arguments) == 0
    # A flag wins over the variable. The folder is not there: that is said, and it is not made.
    assert main([*arguments, "--backend", f"{rig.uri}-misspelt"]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert not Path(f"{rig.root}-misspelt").exists()


def test_a_secret_in_a_uri_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """A URI with credentials is refused as wrong usage, and not shown."""
    assert main(["backend", "ls", "--backend", "s3://key:hunter2@bucket/x"]) == 2
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err


def test_help_fits_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The group's help lists its commands, each has help of its own, and none is wider than 100 columns."""
    assert main(["backend"]) == 2
    text = capsys.readouterr().err
    for name in group.commands:
        assert f"\n  {name} " in text
        assert main(["backend", name, "--help"]) == 0
        text += capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.e2e
def test_a_reader_that_leaves_early_is_no_traceback(rig: BackendRig, scratch: Path) -> None:
    """`modhub backend ls | head` ends without a word on stderr."""
    rig.save("alpha", {f"{number:05}": b"" for number in range(3000)})
    for arguments in (["ls", "alpha"], ["ls", "alpha", "--json"], ["cat", "alpha", "00001", "-o", "-"]):
        with subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "backend", *arguments, "--backend", rig.uri],
            env=clean_environment(scratch, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""


@pytest.mark.e2e
def test_a_full_disk_behind_stdout_is_one_line(rig: BackendRig, scratch: Path) -> None:
    """Output that can't be written is an error like any other, for text and for content."""
    rig.save("alpha", {"f": os.urandom(100_000)})
    for arguments in (["ls", "alpha"], ["cat", "alpha", "f"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "hub.cli", "backend", *arguments, "--backend", rig.uri],
                env=clean_environment(scratch, {}),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
            )
        assert (done.returncode, done.stderr) == (1, "error: the output can't be written: No space left on device\n")


@pytest.mark.e2e
def test_an_ascii_terminal_gets_ascii(rig: BackendRig, modhub: Modhub) -> None:
    """Names that the output's encoding lacks are escaped, not replaced by question marks."""
    rig.save("alpha", {"größe": b"1"})
    done = modhub("backend", "ls", "alpha", "--backend", rig.uri, PYTHONIOENCODING="ascii")
    assert done.stdout.endswith(" gr\\xc3\\xb6\\xc3\\x9fe\n")


@pytest.mark.e2e
def test_lines_fit_a_terminal(rig: BackendRig, scratch: Path) -> None:
    """On a terminal a long owner is cut, so that a module stays one line."""
    module = RemoteModule(rig.store, "alpha", owner="o" * 200)
    module.claim(None, "store")
    seen = on_terminal(scratch, ["backend", "ls", "--backend", rig.uri], NO_COLOR="1")
    lines = seen.output.rpartition("\x1b[K")[2].splitlines()
    assert [line.split()[0] for line in lines] == ["MODULE", "alpha"]
    assert max(map(len, lines)) <= 80
    assert "oooo…" in lines[1]

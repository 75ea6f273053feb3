"""`modhub backend cat`: one file, verified, to stdout or restored whole."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import BackendUnavailable, Piece, TransferCancelled, TreeEntry
from hub.cli import main
from hub.cli.backend.plain_text import PlainText
from hub.cli.backend.restore import restore
from tests.hub.cli.backend_rig import ESCAPES, BackendRig, on_terminal
from tests.hub.cli.conftest import clean_environment

pytestmark = pytest.mark.usefixtures("no_configuration")

MIB = 2**20


@pytest.fixture
def rig(tmp_path: Path) -> BackendRig:
    folder = tmp_path / "rig"
    folder.mkdir()
    return BackendRig(folder)


def cat(rig: BackendRig, scratch: Path, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", "backend", "cat", "--backend", rig.uri, *arguments],
        env=clean_environment(scratch, {}),
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.e2e
def test_stdout_gets_the_exact_bytes(rig: BackendRig, scratch: Path) -> None:
    """A large binary file, one with holes, and one with an odd name come out byte for byte."""
    large = os.urandom(9 * MIB + 17)
    holes = b"a" + bytes(10 * MIB) + b"b"
    rig.save("alpha", {"large": large, "holes": holes, ESCAPES: b"\r\n\0x"})
    for name, data in (("large", large), ("holes", holes), (ESCAPES, b"\r\n\0x")):
        done = cat(rig, scratch, "alpha", name)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == data


@pytest.mark.e2e
def test_damage_ends_the_output_where_it_begins(rig: BackendRig, scratch: Path) -> None:
    """What was verified is written, not a byte of what was not; the blob is named, and the exit code is 1."""
    data = os.urandom(12 * MIB)
    rig.save("alpha", {"f": data})
    blob = rig.blob_of("alpha", b"f", 2)
    damaged = bytearray(blob.read_bytes())
    damaged[-100] ^= 1
    blob.write_bytes(damaged)
    done = cat(rig, scratch, "alpha", "f")
    assert done.returncode == 1
    assert done.stdout == data[: 8 * MIB]
    assert blob.name.encode() in done.stderr
    target = scratch / "out"
    assert cat(rig, scratch, "alpha", "f", "-o", os.fspath(target)).returncode == 1
    assert list(scratch.iterdir()) == []


def test_a_file_is_restored_with_mode_and_time(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`-o` makes the file with content, mode and mtime; holes stay holes; nothing else is left beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    rig.save("alpha", {"d/f": b"a" + bytes(64 * MIB), "g": b"old"})
    rig.save("alpha", {"d/f": b"a" + bytes(64 * MIB), "g": b"new"}, keep_previous=True)
    assert main(["backend", "cat", "alpha", "d/f", "-o", f"{folder}/f", "--backend", rig.uri]) == 0
    status = (folder / "f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, 1_700_000_000_123_456_789)
    assert status.st_size == 64 * MIB + 1
    assert status.st_blocks * 512 < 8 * MIB
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{folder}/f: 67.1 MB, verified\n"
    assert (
        main(["backend", "cat", "alpha", "g", "--previous", "-o", f"{folder}/g", "--json", "--backend", rig.uri]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["path"], report["bytes"], report["output"]) == ("g", 3, f"{folder}/g")
    assert (folder / "g").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == ["f", "g"]


def test_hard_links_resolve_and_the_rest_is_refused(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A hard link is its file; a directory and a symbolic link are told apart and not guessed at."""
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "f").write_bytes(b"content")
    os.link(source / "f", source / "h")
    (source / "l").symlink_to("/etc/passwd\x1b")
    rig.send("alpha", source)
    assert main(["backend", "cat", "alpha", "h", "-o", f"{tmp_path}/h", "--backend", rig.uri]) == 0
    assert (tmp_path / "h").read_bytes() == b"content"
    for path, error in (
        ("d", "error: d is a directory\n"),
        ("", "error: the root is a directory\n"),
        ("l", "error: l is a symbolic link to /etc/passwd\\x1b\n"),
        ("nothing", "error: no such file: nothing\n"),
    ):
        capsys.readouterr()
        assert main(["backend", "cat", "alpha", path, "--backend", rig.uri]) == 1
        assert capsys.readouterr().err.startswith(error)


@pytest.mark.parametrize("what", ["file", "link", "directory", "device", "fifo"])
def test_nothing_is_overwritten_unasked(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    """What exists is refused with exit code 3; `--force` replaces files and links, and nothing else."""
    rig.save("alpha", {"f": b"new"})
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    target = tmp_path / "target"
    match what:
        case "file":
            target.write_bytes(b"old")
        case "link":
            target.symlink_to(victim)
        case "directory":
            target.mkdir()
        case "fifo":
            os.mkfifo(target)
        case _:
            target = Path("/dev/null")
    before = target.lstat()
    arguments = ["backend", "cat", "alpha", "f", "-o", str(target), "--backend", rig.uri]
    assert main(arguments) == 3
    assert target.lstat() == before
    assert "hint: " in capsys.readouterr().err
    if what in {"file", "link"}:
        assert main([*arguments, "--force"]) == 0
        assert target.read_bytes() == b"new"
        assert not target.is_symlink()
    else:
        assert main([*arguments, "--force"]) == 3
        assert target.lstat() == before
    assert victim.read_bytes() == b"victim"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Whoever makes the file while it is fetched keeps theirs, and no temporary file is left."""
    target = tmp_path / "target"

    def pieces() -> list[Piece]:
        target.write_bytes(b"theirs")
        return [Piece(3, b"new")]

    entry = TreeEntry(b"f", "f", 0o644, 0, 3, b"")
    with pytest.raises(Exception, match="exists"):
        restore(pieces(), entry, target, force=False, cancelled=threading.Event())
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [BackendUnavailable("gone"), TransferCancelled("stop")])
def test_a_transfer_that_fails_leaves_nothing(tmp_path: Path, failure: Exception) -> None:
    """When the backend fails half way, neither the file nor a part of it is there."""

    def pieces() -> Iterator[Piece]:
        yield Piece(3, b"new")
        raise failure

    entry = TreeEntry(b"f", "f", 0o644, 0, 6, b"")
    with pytest.raises(type(failure)):
        restore(pieces(), entry, tmp_path / "f", force=False, cancelled=threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_can_not_be_is_said(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A missing folder is an error of this machine's disk, in one line."""
    rig.save("alpha", {"f": b"new"})
    assert main(["backend", "cat", "alpha", "f", "-o", f"{tmp_path}/no/f", "--backend", rig.uri]) == 1
    assert capsys.readouterr().err.startswith(f"error: writing {tmp_path}/no/f: No such file or directory")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--json"], "error: --json needs -o FILE"), (["-f"], "error: --force needs -o FILE")],
)
def test_options_that_make_no_sense_are_usage(
    rig: BackendRig, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    """Options about a restored file need one."""
    assert main(["backend", "cat", "alpha", "f", *arguments, "--backend", rig.uri]) == 2
    assert capsys.readouterr().err.startswith(error)


@pytest.mark.e2e
def test_a_terminal_gets_text_only(rig: BackendRig, scratch: Path) -> None:
    """Text is shown on a terminal; what could change it is refused unless it is asked for."""
    rig.save("alpha", {"text": "größe\n".encode(), "evil": b"ok\n\x1b[31mred\n"})
    seen = on_terminal(scratch, ["backend", "cat", "alpha", "text", "--backend", rig.uri])
    assert (seen.code, seen.output) == (0, "größe\r\n")
    seen = on_terminal(scratch, ["backend", "cat", "alpha", "evil", "--backend", rig.uri])
    assert seen.code == 1
    assert "\x1b[31m" not in seen.output
    assert "hint: -o FILE restores it" in seen.output
    seen = on_terminal(scratch, ["backend", "cat", "alpha", "evil", "-o", "-", "--backend", rig.uri])
    assert (seen.code, seen.output) == (0, "ok\r\n\x1b[31mred\r\n")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.integers(1, 7))
def test_text_is_text_however_it_is_cut(text: str, step: int) -> None:
    """A character that is cut between two parts does not make it binary."""
    data = (text + "\t\r\n").encode()
    judge = PlainText()
    assert all(judge.goes_on(data[start : start + step]) for start in range(0, len(data), step))


@given(st.binary(max_size=20), st.sampled_from([b"\x1b", b"\0", b"\xc2\x9b", b"\xff", b"\x7f"]), st.binary(max_size=20))
def test_controls_are_no_text(before: bytes, control: bytes, after: bytes) -> None:
    """Wherever a control sequence could begin, it is no text."""
    assert not PlainText().goes_on(before + control + after)


@pytest.mark.e2e
def test_ctrl_c_leaves_no_part_of_a_file(rig: BackendRig, scratch: Path, tmp_path: Path) -> None:
    """Ctrl-C while a file is restored leaves nothing of it."""
    out = tmp_path / "out"
    out.mkdir()
    rig.save("alpha", {"f": os.urandom(160 * MIB)})
    seen = on_terminal(
        scratch, ["backend", "cat", "alpha", "f", "-o", f"{out}/f", "--backend", rig.uri], interrupt_at="%"
    )
    assert seen.code == 130
    assert list(out.iterdir()) == []

"""`modhub demo --backend`, as a user runs it: below a backend of theirs, which it leaves as it was."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from backends import open_store
from hub import Hub, State
from hub.cli import main
from hub.cli.demo import command as demo_command
from hub.cli.demo.data import StoreClient
from hub.cli.demo.place import part_of
from tests.hub.cli.conftest import Modhub, clean_environment
from tests.s3_servers import Server

pytestmark = pytest.mark.e2e


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder backend that is in use."""
    folder = tmp_path / "theirs"
    open_store(folder.as_uri()).put("tenant/head", b"theirs")
    return folder


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["store", "redis"])
def test_the_demo_holds_on_s3_and_leaves_the_bucket_as_it_was(
    modhub: Modhub, scratch: Path, seaweedfs_server: Server, s3_uri: str, kind: str
) -> None:
    """Every check holds against a real server; what others have below the prefix is untouched, all else is gone."""
    store = open_store(s3_uri)
    store.put("tenant/head", b"theirs")
    done = modhub("demo", "--kind", kind, "--backend", s3_uri, **seaweedfs_server.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert len(re.findall(r"^✓ ", done.stdout, re.MULTILINE)) == 17
    assert re.search(
        r"^Backend: s3://demo/[\w-]+/modhub-demo-\w{16}\?.* \(emptied at the end\)$", done.stdout, re.MULTILINE
    )
    assert "Nothing is left" in done.stdout
    assert [remnant.name for remnant in store.remains("")] == ["tenant/head"]
    assert store.get("tenant/head")[0] == b"theirs"
    assert list(scratch.iterdir()) == []


def test_a_folder_backend_is_left_as_it_was(modhub: Modhub, theirs: Path) -> None:
    """Not even an empty folder of the demo's stays beside what is there."""
    before = files_below(theirs)
    done = modhub("demo", "--json", "--backend", f"{theirs.as_uri()}?create=false")
    story = json.loads(done.stdout)
    assert story["ok"], story
    assert story["backend"].startswith(f"{theirs.as_uri()}/modhub-demo-")
    assert files_below(theirs) == before


def test_a_folder_that_was_not_there_is_not_there_afterwards(modhub: Modhub, tmp_path: Path) -> None:
    """A backend that the demo's first write made is removed with the demo."""
    before = files_below(tmp_path)
    done = modhub("demo", "--backend", (tmp_path / "new" / "backend").as_uri())
    assert done.returncode == 0, done.stderr
    assert files_below(tmp_path) == before


def test_what_is_kept_can_be_opened_by_a_later_hub(modhub: Modhub, theirs: Path) -> None:
    """With `--keep` the part of the backend stays with the folder, and both are named as a hub takes them."""
    done = modhub("demo", "--keep", "--backend", theirs.as_uri())
    assert done.returncode == 0, done.stderr
    opened = re.search(r'hub\.Hub\("(.+)", "(.+)"\)$', done.stdout, re.MULTILINE)
    assert opened is not None
    with Hub(opened[1], opened[2]) as hub:
        assert hub.wake("alpha").state is State.PROVISIONED
        assert hub.deprovision("alpha").state is State.UNPROVISIONED


def test_a_failed_demo_leaves_nothing_in_the_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scratch: Path, theirs: Path
) -> None:
    """Modules that a failed check left where they were are deleted from the backend all the same."""

    class Refusing(StoreClient):
        def write(self, port: int, key: str, value: bytes) -> None:
            raise OSError("no")

    before = files_below(theirs)
    monkeypatch.setattr(demo_command, "CLIENTS", {"store": Refusing()})
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["demo", "--backend", theirs.as_uri()]) == 1
    assert "error: step 2, provision alpha: 'greeting' can't be written: no" in capsys.readouterr().err
    assert files_below(theirs) == before


def test_a_signal_leaves_nothing_in_the_backend(scratch: Path, theirs: Path) -> None:
    """Ctrl-C in the midst of it deletes what is there by then."""
    before = files_below(theirs)
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "demo", "--backend", theirs.as_uri()],
        env=clean_environment(scratch, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert any("provision    beta" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, stderr = demo.communicate(timeout=30)
    assert stderr == "interrupted; nothing was left behind\n"
    assert files_below(theirs) == before


def test_what_can_not_be_deleted_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scratch: Path, theirs: Path
) -> None:
    """A failure that also keeps the demo from tidying up names the place where something may be left."""

    class Vandal(StoreClient):
        def write(self, port: int, key: str, value: bytes) -> None:
            (part,) = theirs.glob("modhub-demo-*")
            part.rename(theirs / "moved")
            part.write_text("no folder")
            raise OSError("no")

    monkeypatch.setattr(demo_command, "CLIENTS", {"store": Vandal()})
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["demo", "--backend", theirs.as_uri()]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: step 2, provision alpha")
    assert re.search(r"note: objects may be left in file://\S+/modhub-demo-\w{16}: ", said)


def test_no_bucket_is_one_line_with_what_to_do(modhub: Modhub, scratch: Path, seaweedfs_server: Server) -> None:
    """A bucket that is not there ends the demo before it begins."""
    uri = seaweedfs_server.uri("p", bucket="absent")
    done = modhub("demo", "--backend", uri, **seaweedfs_server.environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: backend: .*NoSuchBucket.*\nhint: Create the bucket.*\n", done.stderr)
    assert list(scratch.iterdir()) == []


def test_no_credentials_is_one_line_with_what_to_do(modhub: Modhub, seaweedfs_server: Server) -> None:
    """Where boto3 finds no credentials the demo says where they are looked for."""
    environment = dict.fromkeys(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "")
    done = modhub("demo", "--backend", seaweedfs_server.uri("p"), **seaweedfs_server.environment | environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: backend: .*no credentials found\nhint: Check AWS_\* .*\n", done.stderr)


def test_a_missing_extra_is_one_line_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without boto3 the demo says what to install."""
    find: object = importlib.util.find_spec

    def without_boto3(name: str, package: str | None = None) -> ModuleSpec | None:
        assert callable(find)
        return None if name == "boto3" else find(name, package)

    monkeypatch.setattr("importlib.util.find_spec", without_boto3)
    assert main(["demo", "--backend", "s3://bucket/prefix"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: backend can't be used: the s3 backend needs boto3")
    assert "hint: Run: pip install 'modhub[s3]'" in captured.err


@pytest.mark.parametrize("uri", ["ftp://host/path", "/no/uri", "s3://key:hunter2@bucket/x", "file:///x?secret=hunter2"])
def test_what_is_no_backend_is_wrong_usage(modhub: Modhub, scratch: Path, uri: str) -> None:
    """Such a URI is refused before anything begins, and what may be a secret in it is not shown."""
    done = modhub("demo", "--backend", uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: backend can't be used: .*\nhint: .*\n", done.stderr)
    assert "hunter2" not in done.stderr
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("file:///a/b", "file:///a/b/part"),
        ("file:///a/b/?create=false", "file:///a/b/part"),
        ("file:///a%20b%3F", "file:///a%20b%3F/part"),
        ("s3://bucket", "s3://bucket/part"),
        ("s3://bucket/x/?endpoint=http://h:1&region=eu", "s3://bucket/x/part?endpoint=http://h:1&region=eu"),
    ],
)
def test_a_part_is_below_the_backend(uri: str, part: str) -> None:
    """The name is added to the path; what else the URI says is said of the part, too."""
    assert part_of(uri, "part") == part

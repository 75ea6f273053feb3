"""A data directory on a file system in memory, where a write through a mapping leaves no trace in a file's times."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path

import pytest

from hub.layout import Layout
from tests.hub.conftest import MakeHub


@pytest.fixture
def memory() -> Path:
    path = Path("/dev/shm")
    assert "tmpfs /dev/shm tmpfs" in Path("/proc/mounts").read_text() or path.is_mount(), "this test needs a tmpfs"
    return path


@pytest.mark.e2e
def test_what_was_written_through_a_mapping_goes_home(
    make_hub: MakeHub, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose times do not tell that it was changed is read all the same, and its change is not lost."""
    monkeypatch.setattr("backends.hydration.index.RACY_NS", 0)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        hub = make_hub(data=folder)
        data_dir = hub.provision("m").data_dir
        assert data_dir is not None
        file = data_dir / "mapped"
        file.write_bytes(b"old" + bytes(8189))
        hub.deprovision("m")
        hub.provision("m")
        before = file.stat()
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            assert mapped[:3] == b"old"
            mapped[:3] = b"new"
        assert (file.stat().st_mtime_ns, file.stat().st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
        hub.deprovision("m")
        hub.provision("m")
        assert file.read_bytes()[:3] == b"new"
        hub.close()


@pytest.mark.parametrize(("kind", "kept"), [("ext4", True), (None, True), ("tmpfs", False)])
def test_the_stat_cache_stays_on_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, kept: bool
) -> None:
    """Only where writes leave no trace is what is known of the files forgotten."""

    def file_system(_path: Path) -> str | None:
        return kind

    monkeypatch.setattr("hub.layout.file_system", file_system)
    layout = Layout(tmp_path)
    layout.make()
    layout.module("m").mkdir()
    layout.index("m").write_bytes(b"index")
    layout.forget_untraceable("m")
    assert layout.index("m").exists() == kept

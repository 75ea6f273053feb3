"""Paths, the lock on the data directory, and deletion."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import DataDirInUse, InvalidConfig
from hub.instance.log_file import LogFile
from hub.layout import Layout, remove_tree

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", fullmatch=True)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.make()
    return layout


def paths_of(layout: Layout, module_id: str) -> list[Path]:
    return [
        layout.module(module_id),
        layout.scratch_of(module_id),
        *LogFile(layout.log(module_id)).paths(),
    ]


def furnish(layout: Layout, module_id: str) -> list[Path]:
    """Everything that a hub ever makes of a module; the paths, besides those in the trash."""
    layout.data(module_id).mkdir(parents=True)
    (layout.data(module_id) / "blob").write_bytes(b"12345")
    layout.index(module_id).write_bytes(b"67")
    layout.checkpoint(module_id).mkdir()
    (layout.checkpoint(module_id) / "copy").touch()
    layout.checkpoint_index(module_id).touch()
    layout.scratch_of(module_id).mkdir()
    layout.log(module_id).write_bytes(b"8")
    for path in LogFile(layout.log(module_id)).paths()[1:]:
        path.write_bytes(b"9")
    return paths_of(layout, module_id)


def test_a_checkpoint_goes_without_the_data(layout: Layout) -> None:
    """What is left of a checkpoint is deleted, whatever it is; the data and its index stay. Twice is once."""
    furnish(layout, "tenant")
    for _ in range(2):
        layout.remove_checkpoint("tenant")
        assert {path.name for path in layout.module("tenant").iterdir()} == {"data", "index"}
    layout.checkpoint("tenant").symlink_to(layout.data("tenant"))
    layout.remove_checkpoint("tenant")
    layout.remove_checkpoint("another")
    assert {path.name for path in layout.module("tenant").iterdir()} == {"data", "index"}
    assert (layout.data("tenant") / "blob").exists()


@given(one=IDS, other=IDS)
def test_two_modules_share_no_path(one: str, other: str) -> None:
    """Distinct ids have distinct paths, also where a file system ignores case; an id always has the same ones."""
    layout = Layout(Path("/root"))
    mine, others = ([str(path).lower() for path in paths_of(layout, i)] for i in (one, other))
    assert bool(set(mine) & set(others)) is (one == other)
    assert len(set(mine)) == 7


@pytest.mark.parametrize(("one", "other"), [("tenant", "Tenant"), ("a", "A"), ("aB", "Ab"), ("AB", "ab")])
def test_ids_that_differ_in_case_are_two_modules(one: str, other: str, layout: Layout) -> None:
    """Deleting one of them leaves the other one whole."""
    furnish(layout, one)
    kept = furnish(layout, other)
    layout.erase(one)
    assert layout.remains(one) == []
    assert layout.remains(other) == kept


def test_the_directories_are_made_for_their_user_alone(layout: Layout) -> None:
    """Tenants' data is not readable by other users; making them again is harmless."""
    layout.make()
    folders = [layout.root, *layout.root.iterdir()]
    assert {path.name for path in folders[1:]} == {"modules", "logs", "scratch", "trash"}
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


@pytest.mark.parametrize("below", ["", "sub/dir"])
def test_a_data_directory_that_cannot_be_made_is_a_configuration_error(below: str, tmp_path: Path) -> None:
    """A file in the way is named, with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidConfig, match=r"data_dir = .*file") as refused:
        Layout(tmp_path / "file" / below).make()
    assert "local disk" in refused.value.hint


HOLDER = """
import sys
import threading
from pathlib import Path
from hub.layout import Layout
layout = Layout(Path(sys.argv[1]))
layout.lock()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(layout.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_hub_is_refused_until_the_first_one_is_gone(layout: Layout, holder: subprocess.Popen[str]) -> None:
    """The refusal names the holder's process; after its kill -9 the directory is free, with nothing to clean up."""
    with pytest.raises(DataDirInUse, match=rf"pid {holder.pid}\b"):
        layout.lock()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    layout.lock()
    assert (layout.root / "hub.lock").read_text() == f"{os.getpid()}\n"
    layout.unlock()


def test_a_process_that_is_gone_is_not_named(layout: Layout, holder: subprocess.Popen[str]) -> None:
    """What stands in the file may be of a hub that is long dead: the one that has the lock now is named, or none."""
    (layout.root / "hub.lock").write_text("4194304999\n")
    with pytest.raises(DataDirInUse, match=rf"pid {holder.pid}\b"):
        layout.lock()


def test_where_the_holder_has_died_nobody_is_named(layout: Layout) -> None:
    """A child of a killed hub may have its lock for an instant; its parent's id names nobody any more."""
    program = HOLDER.replace("sys.stdin.read()", "import os; os.fork() and os.kill(os.getpid(), 9); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(layout.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        process.wait()
        with pytest.raises(DataDirInUse, match="pid unknown"):
            layout.lock()


def test_a_lock_that_is_about_to_go_is_waited_for(layout: Layout) -> None:
    """A child that a killed hub was starting holds the lock until it executes its program; that refuses nobody."""
    descriptor = os.open(layout.root / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    timer = threading.Timer(0.05, os.close, [descriptor])
    timer.start()
    layout.lock()
    timer.join()
    layout.unlock()


def test_two_hubs_in_one_process_are_refused_too(layout: Layout) -> None:
    """The lock belongs to the hub, not to the process; giving it back twice is harmless."""
    other = Layout(layout.root)
    layout.lock()
    with pytest.raises(DataDirInUse, match=rf"pid {os.getpid()}\b"):
        other.lock()
    layout.unlock()
    layout.unlock()
    other.lock()
    other.unlock()


def test_children_do_not_inherit_the_lock(layout: Layout) -> None:
    """A server that outlives its hub does not keep the next one out."""
    layout.lock()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        layout.unlock()
        other = Layout(layout.root)
        other.lock()
        other.unlock()
        child.kill()


def test_discarding_is_one_rename(layout: Layout) -> None:
    """The module's directory is gone from its place at once and lies whole in the trash."""
    furnish(layout, "m")
    inode = layout.module("m").stat().st_ino
    trash = layout.discard("m")
    assert trash is not None
    assert trash.parent == layout.trash
    assert trash.stat().st_ino == inode
    assert not layout.module("m").exists()
    assert layout.discarded("m") == [trash]


def test_discarding_nothing_is_no_error(layout: Layout) -> None:
    """A module without local data has nothing to take away."""
    assert layout.discard("m") is None


def test_a_module_can_be_discarded_again_before_the_trash_is_empty(layout: Layout) -> None:
    """Each discard has a place of its own, and all of them are found."""
    for _ in range(3):
        layout.data("m").mkdir(parents=True)
        layout.discard("m")
    assert len(layout.discarded("m")) == 3


def test_the_trash_of_a_module_is_no_others(layout: Layout) -> None:
    """An id that begins like another finds only its own trash."""
    for module_id in ("m", "m-1", "M"):
        layout.data(module_id).mkdir(parents=True)
        layout.discard(module_id)
    assert len(layout.discarded("m")) == 1
    layout.erase("m")
    assert layout.discarded("m-1")
    assert layout.discarded("M")


@pytest.mark.parametrize("part", range(7))
def test_whatever_is_left_of_a_module_is_found(part: int, layout: Layout) -> None:
    """Each of its paths alone shows up as remains, also as a link that leads nowhere."""
    path = furnish(layout, "m")[part]
    for other in paths_of(layout, "m"):
        if other != path:
            remove_tree(other)
    assert layout.remains("m") == [path]
    remove_tree(path)
    path.symlink_to("/nowhere")
    assert layout.remains("m") == [path]


def test_erasing_leaves_nothing_and_counts_it(layout: Layout) -> None:
    """Data, index, scratch, logs and trash are gone; the bytes of all of them are told."""
    furnish(layout, "m")
    layout.discard("m")
    layout.data("m").mkdir(parents=True)
    (layout.data("m") / "blob").write_bytes(b"again")
    assert layout.erase("m") == 5 + 2 + 5 * 1 + 5
    assert layout.remains("m") == []
    assert layout.erase("m") == 0


def test_what_a_killed_hub_left_half_done_is_cleared(layout: Layout) -> None:
    """Scratch, trash and the logs of modules long gone are emptied at a start; data and other logs are not touched."""
    kept = furnish(layout, "kept")
    furnish(layout, "m")
    layout.discard("m")
    layout.clear_temporary({"kept"})
    assert layout.remains("m") == []
    assert list(layout.scratch.iterdir()) == []
    assert list(layout.trash.iterdir()) == []
    assert [path for path in kept if path.exists()] == [path for path in kept if path != layout.scratch_of("kept")]


@pytest.fixture
def unprivileged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of an ordinary user, whom modes bind; given as a relative path."""
    if os.geteuid() != 0:
        monkeypatch.chdir(tmp_path)
        yield Path()
        return
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        yield Path()
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o500])
def test_closed_directories_are_deleted(mode: int, unprivileged: Path) -> None:
    """Directories that their owner had closed, one inside another, are opened up and deleted with all in them."""
    tree = unprivileged / "tree"
    (tree / "a" / "b" / "c").mkdir(parents=True)
    for folder in (tree, tree / "a", tree / "a" / "b", tree / "a" / "b" / "c"):
        (folder / "file").write_bytes(b"123")
        (folder / "file").chmod(0o400)
    for folder in (tree / "a" / "b" / "c", tree / "a" / "b", tree / "a", tree):
        folder.chmod(mode)
    assert remove_tree(tree) == 12
    assert not tree.exists()


def test_links_are_deleted_and_never_followed(tmp_path: Path) -> None:
    """A link to a directory or file outside goes; what it points to stays, its mode included."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"12345")
    outside.chmod(0o500)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "precious")
    (tree / "dangling").symlink_to("/nowhere")
    assert remove_tree(tree) == 0
    assert not tree.exists()
    assert (outside / "precious").read_bytes() == b"12345"
    assert outside.stat().st_mode & 0o777 == 0o500


def test_a_link_itself_is_deleted(tmp_path: Path) -> None:
    """Where the path is a link, the link goes and its target stays."""
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    remove_tree(link)
    assert not link.is_symlink()
    assert target.is_dir()


def test_bytes_of_hard_links_fifos_and_sparse_names_are_no_obstacle(tmp_path: Path) -> None:
    """Special files and names that are no text are deleted; only regular files count."""
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "fifo")
    (tree / "file").write_bytes(b"123")
    with open(os.fsencode(tree) + b"/\xff\n", "wb") as odd:  # noqa: PTH123 - pathlib takes no bytes
        odd.write(b"45")
    assert remove_tree(tree) == 5
    assert not tree.exists()


def test_a_deep_tree_is_deleted(tmp_path: Path) -> None:
    """Depth beyond what a recursive walk can follow is no way to survive an obliteration."""
    (tmp_path / "tree" / "/".join(["d"] * 400)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    # Instead of a deeper tree, which takes longer and which pytest's own clean-up could not delete after a failure.
    sys.setrecursionlimit(300)
    try:
        remove_tree(tmp_path / "tree")
    finally:
        sys.setrecursionlimit(limit)
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("name", ["missing", "missing/below"])
def test_deleting_nothing_is_no_error(name: str, tmp_path: Path) -> None:
    """A path that does not exist is deleted already."""
    assert remove_tree(tmp_path / name) == 0

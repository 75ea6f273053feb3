"""Where cgroups can be made, on machines of many kinds: what the kernel tells is laid out in files."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.instance import cgroup_places
from hub.instance.cgroup_places import Place, find_places

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Lay out what a process of a machine sees of itself; returns what stands for /proc/self."""

    def make(groups: str, *mounts: tuple[str, str, str, str]) -> Path:
        lines = [
            f"{n} 1 0:{n} {root} {tmp_path / point} rw - {kind} none {options}\n"
            for n, (point, root, kind, options) in enumerate(mounts)
        ]
        (tmp_path / "mountinfo").write_text("9 1 8:1 / / rw - ext4 /dev/vda rw\n" + "".join(lines))
        (tmp_path / "cgroup").write_text(groups)
        return tmp_path

    return make


def group(
    path: Path, *, available: str = "memory cpu pids", given: str = "", procs: str = "", root: bool = False
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "cgroup.controllers").write_text(available)
    (path / "cgroup.subtree_control").write_text(given)
    (path / "cgroup.procs").write_text(procs)
    if not root:
        (path / "cgroup.type").write_text("domain\n")
    return path


def test_version_1_has_a_hierarchy_for_each_controller(machine: Machine, tmp_path: Path) -> None:
    """Each controller's place is the hub's own cgroup in the mount that carries it."""
    for path in ("memory/jobs/1", "cpu,cpuacct"):
        (tmp_path / path).mkdir(parents=True)
    proc = machine(
        "4:memory:/jobs/1\n1:cpu,cpuacct:/\n0::/\n",
        ("memory", "/", "cgroup", "rw,memory"),
        ("cpu,cpuacct", "/", "cgroup", "rw,cpu,cpuacct"),
    )
    assert find_places(proc, turn_on=False) == {
        "memory": Place(tmp_path / "memory/jobs/1", unified=False),
        "cpu": Place(tmp_path / "cpu,cpuacct", unified=False),
    }


def test_a_mount_of_a_part_is_followed(machine: Machine, tmp_path: Path) -> None:
    """In a container the mount begins at the container's cgroup, and the path does not."""
    (tmp_path / "memory/inner").mkdir(parents=True)
    proc = machine("4:memory:/docker/abc/inner\n", ("memory", "/docker/abc", "cgroup", "rw,memory"))
    assert find_places(proc, turn_on=False)["memory"].directory == tmp_path / "memory/inner"


def test_what_shows_in_no_mount_is_no_place(machine: Machine, tmp_path: Path) -> None:
    """A cgroup above the mounted part can't be used."""
    (tmp_path / "memory").mkdir()
    proc = machine("4:memory:/elsewhere\n", ("memory", "/docker/abc", "cgroup", "rw,memory"))
    assert find_places(proc, turn_on=False) == {}


def test_controllers_that_children_have_can_be_used(machine: Machine, tmp_path: Path) -> None:
    """Version 2 with what is given to children already; what is not there at all is left out."""
    own = group(tmp_path / "cg/service", available="memory pids", given="memory pids", procs="1\n2\n")
    proc = machine("0::/service\n", ("cg", "/", "cgroup2", "rw"))
    assert find_places(proc, turn_on=True) == {name: Place(own, unified=True) for name in ("memory", "pids")}


def test_controllers_are_turned_on_where_that_is_open_to_the_hub(machine: Machine, tmp_path: Path) -> None:
    """A look changes nothing; when they are needed they are given to the children."""
    own = group(tmp_path / "cg/service", procs=f"{os.getpid()}\n")
    proc = machine("0::/service\n", ("cg", "/", "cgroup2", "rw"))
    assert find_places(proc, turn_on=False).keys() == {"memory", "cpu", "pids"}
    assert (own / "cgroup.subtree_control").read_text() == ""
    assert find_places(proc, turn_on=True).keys() == {"memory", "cpu", "pids"}
    assert (own / "cgroup.subtree_control").read_text().startswith("+")


def test_a_hub_alone_in_its_cgroup_moves_down(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives controllers to children only where no process is beside them: the hub goes into one of its own."""
    own = group(tmp_path / "cg/service", procs=f"{os.getpid()}\n")
    proc = machine("0::/service\n", ("cg", "/", "cgroup2", "rw"))
    written: list[tuple[str, str]] = []

    def write(path: Path, text: str) -> None:
        if path.name == "cgroup.subtree_control" and not any(name == "cgroup.procs" for name, _ in written):
            raise OSError(errno.EBUSY, "busy")
        written.append((path.name, text))

    monkeypatch.setattr(cgroup_places, "write", write)
    assert find_places(proc, turn_on=True)["memory"] == Place(own, unified=True)
    assert written[0] == ("cgroup.procs", str(os.getpid()))
    assert (own / "modhub-host").is_dir()


def test_a_hub_that_has_moved_down_finds_its_place_again(machine: Machine, tmp_path: Path) -> None:
    """The place is above the cgroup that it moved into, not within it."""
    own = group(tmp_path / "cg/service", given="memory")
    group(own / "modhub-host", procs=f"{os.getpid()}\n")
    proc = machine("0::/service/modhub-host\n", ("cg", "/", "cgroup2", "rw"))
    assert find_places(proc, turn_on=True)["memory"].directory == own


def test_nobody_else_is_moved(machine: Machine, tmp_path: Path) -> None:
    """Where other processes share the hub's cgroup nothing is changed, and nothing can be had."""
    own = group(tmp_path / "cg/session", procs=f"1\n{os.getpid()}\n")
    proc = machine("0::/session\n", ("cg", "/", "cgroup2", "rw"))
    assert find_places(proc, turn_on=True) == {}
    assert (own / "cgroup.subtree_control").read_text() == ""


def test_the_root_may_hold_processes(machine: Machine, tmp_path: Path) -> None:
    """The root cgroup gives controllers to children whoever is in it."""
    root = group(tmp_path / "cg", procs="1\n2\n", root=True)
    proc = machine("0::/\n", ("cg", "/", "cgroup2", "rw"))
    assert find_places(proc, turn_on=False)["cpu"] == Place(root, unified=True)


def test_without_proc_there_is_no_place(tmp_path: Path) -> None:
    """A machine that tells nothing has none, and that is no error."""
    assert find_places(tmp_path / "nothing", turn_on=True) == {}

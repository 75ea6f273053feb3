"""Arranges under what conditions an instance runs: whom as, on data that is theirs, within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.instance.account import Account, account_of, closed_above, give, let_through
from hub.instance.cgroups import Cgroup, Cgroups
from hub.instance.confinement import UNCONFINED, Confinement
from hub.instance.limits import parse_limits
from hub.instance.protocol import InstanceSpec


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions an instance runs.

    Attributes:
        confinement: what each of its processes starts in.
        cgroup: its cgroup, to be ended with it.
        unenforced: limits of its kind that can't be had on this machine.
    """

    confinement: Confinement = UNCONFINED
    cgroup: Cgroup | None = None
    unenforced: frozenset[str] = frozenset()

    def out_of_memory(self) -> bool:
        """Tell whether any of its processes was killed for want of memory."""
        return self.cgroup is not None and self.cgroup.out_of_memory()

    def explain(self, data_dir: Path) -> str:
        """Return what may have kept its user from its data, as a hint; empty where nothing is seen."""
        account = self.confinement.account
        if account is None or (closed := closed_above(data_dir, account)) is None:
            return ""
        return f"user {account.name!r} seems not to get through {closed}: chmod o+x it, or move data_dir"


def cgroup_name(spec: InstanceSpec) -> str:
    """Return what tells an instance's cgroup from the others of its hub."""
    return f"{spec.module_id}-{spec.epoch}"


def arrange(spec: InstanceSpec, root: Path, cgroups: Cgroups) -> Conditions:
    """Arrange the conditions of an instance. Blocks.

    Args:
        spec: the instance.
        root: directory below which all data directories lie, closed to all users but the hub's.
        cgroups: where its cgroup is made.

    Returns:
        The conditions; the caller ends the cgroup.

    Raises:
        StartFailed: there is no such user, or it can't be let through to its data.
        OSError: the disk refused.
    """
    account = account_of(spec.kind.user)
    if account is not None and spec.data_dir.is_dir():
        above = [path for path in spec.data_dir.parents if path.is_relative_to(root)]
        let_through(above, account)
        give(spec.data_dir, account)
    limits = parse_limits(spec.kind.limits)
    held = _is_kept_out(spec, account)
    wanted = limits.controllers
    if not wanted:
        return Conditions(Confinement(account, limits.rlimits, held=held))
    cgroup = cgroups.make(cgroup_name(spec), limits)
    confinement = Confinement(account, limits.rlimits, cgroup.directories, held)
    return Conditions(confinement, cgroup, wanted - cgroup.enforced)


def find_again(spec: InstanceSpec, pid: int, cgroups: Cgroups) -> Conditions:
    """Find out under what conditions an instance of an earlier hub runs, for what will be run beside it. Blocks.

    Args:
        spec: the instance.
        pid: its process.
        cgroups: where its cgroup was made.

    Returns:
        The conditions; the caller ends the cgroup.

    Raises:
        StartFailed: its user is gone.
    """
    cgroup = cgroups.adopt(pid)
    rlimits = parse_limits(spec.kind.limits).rlimits
    account = account_of(spec.kind.user)
    return Conditions(Confinement(account, rlimits, cgroup.directories, _is_kept_out(spec, account)), cgroup)


def _is_kept_out(spec: InstanceSpec, account: Account | None) -> bool:
    # By a directory above the hub's own, which are not the hub's to open: whoever runs it there may have closed them for
    # more than this.
    return account is not None and closed_above(spec.data_dir, account) is not None

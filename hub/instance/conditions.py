"""Arranges under what conditions an instance runs: whom as, on data that is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.instance.account import account_of, closed_above, give, let_through
from hub.instance.confinement import UNCONFINED, Confinement
from hub.instance.protocol import InstanceSpec


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions an instance runs.

    Attributes:
        confinement: what each of its processes starts in.
    """

    confinement: Confinement = UNCONFINED

    def explain(self, data_dir: Path) -> str:
        """Return what may have kept its user from its data, as a hint; empty where nothing is seen."""
        account = self.confinement.account
        if account is None or (closed := closed_above(data_dir, account)) is None:
            return ""
        return f"user {account.name!r} seems not to get through {closed}: chmod o+x it, or move data_dir"


def arrange(spec: InstanceSpec, root: Path) -> Conditions:
    """Arrange the conditions of an instance. Blocks.

    Args:
        spec: the instance.
        root: directory below which all data directories lie, closed to all users but the hub's.

    Returns:
        The conditions.

    Raises:
        StartFailed: there is no such user, or it can't be let through to its data.
        OSError: the disk refused.
    """
    account = account_of(spec.kind.user)
    if account is not None and spec.data_dir.is_dir():
        above = [path for path in spec.data_dir.parents if path.is_relative_to(root)]
        let_through(above, account)
        give(spec.data_dir, account)
    return Conditions(Confinement(account))

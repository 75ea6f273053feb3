"""What a verification found, for people or as JSON."""

from __future__ import annotations

from typing import Any

from backends import Finding, Flaw, Verified
from hub.cli.backend.amounts import count
from hub.cli.backend.names import as_json as name_as_json
from hub.cli.backend.names import shown
from hub.cli.progress import ProgressBar
from hub.cli.terminal import Terminal, size

_NAMES_SHOWN = 5


class DamageReport:
    """Tells of modules one after the other, damage as it is found.

    Args:
        terminal: where to; `None` = only keep it, for JSON.
    """

    def __init__(self, terminal: Terminal | None) -> None:
        self.modules: list[dict[str, Any]] = []
        self.damaged = 0
        self._terminal = terminal
        self._module_id = ""
        self._findings: list[dict[str, Any]] = []
        self._flaws = 0
        self._bar: ProgressBar | None = None

    def begin(self, module_id: str, bar: ProgressBar) -> None:
        """Begin with a module, whose progress is shown by a bar."""
        self._module_id, self._bar = module_id, bar
        self._findings, self._flaws = [], 0

    def found(self, finding: Finding) -> None:
        """Tell of a finding."""
        self._flaws += finding.flaw is not Flaw.ORPHAN
        if self._terminal is None:
            self._findings.append(_finding(finding))
        elif finding.flaw is not Flaw.ORPHAN and self._bar is not None:
            with self._bar.aside():
                if self._flaws == 1:
                    mark = self._terminal.paint(self._terminal.symbols.failed, "red", bold=True)
                    self._terminal.write(f"{mark} {self._terminal.paint(self._module_id, bold=True)}")
                for line in damage_lines(finding, self._module_id, self._terminal):
                    self._terminal.write("  " + line)

    def end(self, result: Verified) -> None:
        """Tell how a module came out."""
        self.damaged += bool(result.damaged)
        self.modules.append(
            {
                "module": self._module_id,
                "ok": not result.damaged,
                "state": _state(result),
                "blobs": result.blobs,
                "bytes": result.bytes,
                "damaged": result.damaged,
                "lost_files": result.lost,
                "lost_previous_files": result.lost_previous,
                "orphans": result.orphans,
                "orphan_bytes": result.orphan_bytes,
                "findings": self._findings,
            }
        )
        if self._terminal is not None:
            for line in ending(result, self._module_id, self._terminal):
                self._terminal.write(line)

    def sum_up(self) -> None:
        """Tell how all came out, where there were several."""
        if self._terminal is not None and len(self.modules) != 1:
            intact = len(self.modules) - self.damaged
            self._terminal.write(f"{len(self.modules)} modules: {intact} intact, {self.damaged} damaged.")


def damage_lines(finding: Finding, module_id: str, terminal: Terminal) -> list[str]:
    """Return what is told of damage: the object, what is wrong with it, and which files are lost."""
    key = finding.key.partition("/")[2]
    lines = [f"{finding.flaw:<7}  {key}"]
    indent = " " * 9
    if finding.flaw is Flaw.CORRUPT or not finding.size:
        # The key stands in the line above, and would make this one too long.
        lines.append(indent + finding.message.replace(finding.key, "it").replace("the blob it", "it"))
    for names, which in ((finding.files, "lost: "), (finding.previous_files, "lost of the earlier tree: ")):
        lines += [f"{indent}{which}{shown(name, terminal.stream.encoding)}" for name in names[:_NAMES_SHOWN]]
        if len(names) > _NAMES_SHOWN:
            lines.append(f"{indent}{which}{len(names) - _NAMES_SHOWN} more; --json names them all")
    if finding.size and not finding.files and not finding.previous_files:
        lines.append(f"{indent}every file in it can still be restored: modhub backend cat {module_id} PATH")
    return lines


def ending(result: Verified, module_id: str, terminal: Terminal) -> list[str]:
    """Return what is told of a module when all of it was read."""
    orphans = ""
    if result.orphans:
        are = "is" if result.orphans == 1 else "are"
        orphans = f"; {count(result.orphans, 'orphan')} ({size(result.orphan_bytes)}), which {are} no damage"
    if result.damaged:
        lost = "no file can be restored" if result.lost is None else f"{count(result.lost, 'file')} lost"
        if result.lost_previous != 0 and result.lost is not None:
            lost += f", of the earlier tree {'all' if result.lost_previous is None else result.lost_previous}"
        return [f"  {result.damaged} of {count(result.blobs, 'object')} damaged, {lost}{orphans}"]
    state = _state(result)
    mark = terminal.paint(terminal.symbols.ok, "green")
    told = f"{count(result.blobs, 'object')} intact, {size(result.bytes)}"
    if state == "erasing":
        mark, told = terminal.paint(terminal.symbols.warning, "yellow", bold=True), "is being erased; nothing to verify"
    elif state == "no head":
        mark, told = terminal.paint(terminal.symbols.warning, "yellow", bold=True), "has no head, so nothing is needed"
    elif state == "empty":
        told += "; no data was sent home yet"
    return [f"{mark} {terminal.paint(module_id, bold=True)}  {told}{orphans}"]


def _state(result: Verified) -> str:
    if result.head is None:
        return "damaged" if result.damaged else "no head"
    if result.head.tombstone:
        return "erasing"
    return "committed" if result.head.manifest is not None else "empty"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "flaw": finding.flaw.value,
        "key": shown(finding.key.encode("utf-8", "surrogateescape")),
        "message": finding.message,
        "size": finding.size,
        "files": [name_as_json("path", name) for name in finding.files],
        "previous_files": [name_as_json("path", name) for name in finding.previous_files],
    }

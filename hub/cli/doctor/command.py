"""The command: findings as lines or as JSON, and an exit code."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from hub.cli.doctor.finding import Finding, Status
from hub.cli.doctor.http import check_http
from hub.cli.doctor.machine import check_machine
from hub.cli.doctor.setup import Sources, check_setup, check_shipped_kinds
from hub.cli.failures import EXIT_FAILED
from hub.cli.options import configuration_options
from hub.cli.terminal import Terminal, size

_CHECK_WIDTH = 15
_ITEMS_SHOWN = 8


@click.command(short_help="Check this machine, and a configuration.")
@configuration_options
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(config: Path | None, data_dir: str | None, backend: str | None, *, as_json: bool) -> int:
    """Check what a hub needs, one line each, with what to do where something is wrong.

    Without a configuration only the machine is looked at. `MODHUB_*` variables count as configuration. Nothing is
    changed by it, and it can run beside a hub.

    Exit code 0: nothing failed; warnings do not count.
    """
    sources = Sources(config, os.environ, data_dir, backend)
    sections: dict[str, Iterable[Finding]] = {"machine": check_machine()}
    if sources.any:
        sections["configuration"] = check_setup(sources)
    if sources.any_http:
        sections["http"] = check_http(sources.path, sources.environment)
    if len(sections) == 1:
        sections["kinds that ship with modhub"] = check_shipped_kinds()
    terminal = Terminal.of()
    found: list[tuple[str, Finding]] = []
    for title, findings in sections.items():
        if not as_json:
            terminal.write(terminal.paint(title, bold=True))
        for finding in findings:
            found.append((title, finding))
            if not as_json:
                _tell(finding, terminal)
    if as_json:
        listed = [{"section": title, **asdict(finding)} for title, finding in found]
        click.echo(json.dumps({"ok": not _count(found, Status.FAIL), "findings": listed}, indent=2))
    else:
        terminal.write()
        terminal.write(_summary(found, configured=sources.any))
    return EXIT_FAILED if _count(found, Status.FAIL) else 0


def _tell(finding: Finding, terminal: Terminal) -> None:
    symbols = terminal.symbols
    mark = {
        Status.OK: terminal.paint(symbols.ok, "green"),
        Status.NOTE: terminal.paint(symbols.note, "cyan"),
        Status.WARN: terminal.paint(symbols.warning, "yellow", bold=True),
        Status.FAIL: terminal.paint(symbols.failed, "red", bold=True),
    }[finding.status]
    indent = " " * (_CHECK_WIDTH + 5)
    width = terminal.width - len(indent)
    # Words stay whole, however long: paths and URIs are there to be copied.
    wrap = partial(textwrap.wrap, width=width, break_long_words=False, break_on_hyphens=False)
    first, *rest = wrap(finding.message) or [""]
    terminal.write(f"  {mark} {finding.check:<{_CHECK_WIDTH}} {first}")
    for line in rest:
        terminal.write(indent + line)
    for item in finding.items[:_ITEMS_SHOWN]:
        about = [item.name, *(text for text in (item.state, item.pending and f"{item.pending} pending") if text)]
        since = f", since {item.since}" if item.since else ""
        for line in wrap(f"{symbols.dot} {', '.join(about)}: {size(item.bytes)}{since}", subsequent_indent="  "):
            terminal.write(indent + line)
        terminal.write(f"{indent}  {item.directory}")
    if len(finding.items) > _ITEMS_SHOWN:
        terminal.write(f"{indent}and {len(finding.items) - _ITEMS_SHOWN} more; --json lists all")
    if finding.advice:
        lead = f"{symbols.arrow} "
        for line in wrap(finding.advice, initial_indent=lead, subsequent_indent=" " * len(lead)):
            terminal.write(indent + line)


def _count(found: list[tuple[str, Finding]], status: Status) -> int:
    return sum(finding.status is status for _, finding in found)


def _summary(found: list[tuple[str, Finding]], *, configured: bool) -> str:
    failed, warned = _count(found, Status.FAIL), _count(found, Status.WARN)
    warnings = f"{warned} warning{'' if warned == 1 else 's'}"
    if failed:
        return f"{failed} failed, {warnings}."
    text = "Nothing failed" + (f", {warnings}." if warned else ".")
    return text if configured else f"{text} To check a configuration too: modhub doctor --config FILE"

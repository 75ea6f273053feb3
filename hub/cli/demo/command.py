"""The command: a temporary directory, a hub in it, the story, the picture, and nothing left of it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from hub.cli.demo.data import CLIENTS
from hub.cli.demo.narration import Narrator
from hub.cli.demo.place import Place
from hub.cli.demo.recording import Recording, recording
from hub.cli.demo.story import MODULES, Story
from hub.cli.demo.timeline import draw
from hub.cli.interrupts import interruptible
from hub.cli.terminal import Terminal, duration
from hub.errors import ModhubError, StartFailed
from hub.hub import Hub
from hub.kinds import DEFAULT_KIND, SHIPPED
from hub.layout import remove_tree


@click.command(short_help="Watch it work, step by step, in a temporary directory.")
@click.option(
    "--kind", type=click.Choice(list(CLIENTS)), default=DEFAULT_KIND, show_default=True, help="What the modules run."
)
@click.option("--backend", metavar="URI", help="Keep the modules' data below this one, in a part of its own.")
@click.option("--keep", is_flag=True, help="Keep the directory, with one hibernated module in it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Show the hub's events below each step.")
def demo(kind: str, *, backend: str | None, keep: bool, as_json: bool, verbose: bool) -> int:
    """Run real modules through a whole life, in a temporary directory, and check each step.

    Four modules are provisioned and filled with data; one sleeps and wakes, one is killed and recovers, one goes home
    and comes back, and in the end all are obliterated: what was written is read back at each turn, and looked for when
    it has to be gone. Afterwards a picture shows the states that the hub reported. Nothing is left behind.

    The backend is a folder in that directory, or, with --backend, a new part of the one that is given, such as
    s3://bucket/prefix: nothing outside of that part is touched, and in the end a listing proves that it is empty.

    Exit code 0: every check held.
    """
    _require_program(kind)
    terminal = Terminal.of()
    started = time.monotonic()
    # From here to the end, in reverse: signals count no more, the hub is closed, the folder is removed.
    with ExitStack() as stack:
        interrupts = stack.enter_context(interruptible())
        elsewhere = Place.below(backend) if backend is not None else None
        recorded = stack.enter_context(recording())
        folder = Path(tempfile.mkdtemp(prefix="modhub-demo-"))
        cleanup = stack.enter_context(ExitStack())
        if not keep:
            cleanup.callback(remove_tree, folder)
        narrator = Narrator(terminal, recorded, silent=as_json, verbose=verbose)
        place = elsewhere or Place((folder / "backend").as_uri())
        if not keep:
            cleanup.callback(place.empty, MODULES)
        hub = Hub(folder / "data", place.uri, default_kind=kind)
        cleanup.callback(hub.close)
        cleanup.callback(interrupts.ignore)
        fate = "kept" if keep else "removed at the end"
        narrator.say(
            f"{len(MODULES)} modules of kind {terminal.paint(kind, bold=True)}, each a server process of its own."
        )
        narrator.say(f"Folder: {folder} ({fate})")
        if elsewhere is not None:
            narrator.say(f"Backend: {place.store.uri} ({'kept' if keep else 'emptied at the end'})")
        narrator.say()
        story = Story(
            hub,
            folder=folder,
            store=place.store,
            where="journal, data and backend are in that folder"
            if elsewhere is None
            else "journal and data are in that folder",
            client=CLIENTS[kind],
            narrator=narrator,
            recording=recorded,
            symbols=terminal.symbols,
            undivided=interrupts.deferred,
        )
        failure: ModhubError | None = None
        try:
            story.play(keep=keep)
        except ModhubError as error:
            failure = error
        try:
            cleanup.close()
        except ModhubError as error:
            if failure is None:
                failure = error
            else:
                failure.add_note(str(error))
        if failure is None and not keep and folder.exists():
            failure = ModhubError(f"{folder} is still there")
        took_s = time.monotonic() - started
        if as_json:
            click.echo(_as_json(kind, place, narrator, recorded, kept=folder if keep else None, failure=failure))
        else:
            for line in _picture(narrator, recorded, terminal):
                terminal.write(line)
            for line in _ending(narrator, place, folder if keep else None, took_s, failed=failure is not None):
                terminal.write(line)
        if failure is not None:
            raise failure
    return 0


def _require_program(kind: str) -> None:
    program = SHIPPED[kind].command[0]
    if shutil.which(program) is None:
        raise StartFailed(
            f"modules of kind {kind!r} run the program {program!r}, which was not found",
            hint=f"install it (Debian: apt-get install {program}), or take another kind: modhub demo",
        )


def _picture(narrator: Narrator, recorded: Recording, terminal: Terminal) -> Sequence[str]:
    lines = draw(recorded.transitions, narrator.marks, time.monotonic(), terminal)
    if not lines:
        return ()
    title = "The states that the hub reported. Numbers are the steps above; time runs to the"
    return "", title, "right, with short moments drawn wider than they were.", "", *lines


def _ending(narrator: Narrator, place: Place, kept: Path | None, took_s: float, *, failed: bool) -> Sequence[str]:
    checks = sum(step.checks for step in narrator.steps)
    lines = [""]
    if not failed:
        lines.append(f"All {checks} checks held, in {duration(took_s)}.")
        if kept is None:
            lines.append("Nothing is left: no process, no object in the backend, no file.")
    if kept is not None:
        lines += [
            f"Kept: {kept}",
            f'To go on there: hub.Hub("{kept}/data", "{place.uri}")',
        ]
    return lines if len(lines) > 1 else ()


def _as_json(
    kind: str, place: Place, narrator: Narrator, recorded: Recording, *, kept: Path | None, failure: ModhubError | None
) -> str:
    changes = recorded.transitions
    origin = min((*(step.at for step in narrator.steps), *(change.at for change in changes)), default=0.0)
    return json.dumps(
        {
            "ok": failure is None,
            "error": None if failure is None else failure.message,
            "kind": kind,
            "backend": place.store.uri,
            "kept": None if kept is None else str(kept),
            "steps": [step.as_json() for step in narrator.steps],
            "transitions": [
                {
                    "at_ms": round((change.at - origin) * 1000, 3),
                    "module_id": change.module_id,
                    "from_state": change.from_state,
                    "to_state": change.to_state,
                }
                for change in changes
            ],
        },
        indent=2,
    )

"""`modhub events`: what happened, and what happens."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.extras import extra_http
from hub.cli.refusal import HubRefused, HubUnreachable
from hub.cli.remote.options import hub_options, json_option, module_option
from hub.cli.remote.sse import parse
from hub.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from hub.cli.remote.client import Client

_SILENCE_S = 35.0  # the hub says something every 10 s
_RETRY_S = 0.5
_LONGEST_RETRY_S = 5.0
_OUTAGE_S = 60.0
_NAME_WIDTH = 22


@click.command(short_help="Show what happened, and follow what happens.")
@click.option("-f", "--follow", is_flag=True, help="Show what happens from now on.")
@click.option("-n", "--lines", type=click.IntRange(0, 1000), default=100, show_default=True, help="Of what happened.")
@module_option
@json_option
@hub_options
def events(client: Client, *, follow: bool, lines: int, module: str | None, as_json: bool) -> int:
    """Show the hub's events of late, and with --follow those that come, until Ctrl-C.

    When the connection is lost it is made again, and what was missed is shown, as far as the hub remembers.
    With --json: one object; with --follow an event a line.
    """
    last_id: str | None = None
    if lines or not follow:
        page = client.get("hub", "events", follow=False, limit=max(lines, 1), module_id=module)
        if as_json and not follow:
            click.echo(json.dumps(page, indent=2))
            return 0
        for event in page["events"] if lines else ():
            _print(event, as_json=as_json)
        last_id = f"{page['run_id']}-{page['last']}"
    if follow:
        _follow(client, module, last_id, as_json=as_json)
    return 0


def _follow(client: Client, module: str | None, last_id: str | None, *, as_json: bool) -> None:
    with extra_http():
        import urllib3  # noqa: PLC0415 - may not be installed
    outage: float | None = None
    delay = _RETRY_S
    while True:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        try:
            response = client.stream("hub", "events", headers=headers, timeout_s=_SILENCE_S, module_id=module)
            outage, delay = None, _RETRY_S
            try:
                for sent in parse(response.stream(65536)):
                    last_id = sent.last_id or last_id
                    if sent.name == "reset":
                        click.echo("note: the hub was restarted, or forgot some events meanwhile", err=True)
                        known = json.loads(sent.data)
                        last_id = f"{known['run_id']}-{known['last']}"
                    elif sent.name not in {"hello", "operation.progress"}:
                        _print(json.loads(sent.data), as_json=as_json)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError:
            pass  # cut off, or silent: made again below
        except (HubUnreachable, HubRefused) as error:
            outage = outage or time.monotonic()
            if (isinstance(error, HubRefused) and error.status < 500) or time.monotonic() - outage > _OUTAGE_S:
                raise
            if last_id is None and isinstance(error, HubUnreachable):
                raise  # it was never there
        time.sleep(delay)
        delay = min(delay * 2, _LONGEST_RETRY_S)


def _print(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event))
        return
    terminal = Terminal.of()
    at = datetime.fromtimestamp(event["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    about = terminal.paint(event["module_id"], bold=True) + "  " if event["module_id"] else ""
    fields = "  ".join(
        f"{terminal.paint(key + '=', dim=True)}{_value(value)}"
        for key, value in event["fields"].items()
        if value not in {None, ""}
    )
    terminal.write(f"{terminal.paint(at, dim=True)}  {event['name']:<{_NAME_WIDTH}}  {about}{fields}")


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = printable(" ".join(text.split()))
    return text if len(text) <= 100 else text[:97] + "..."

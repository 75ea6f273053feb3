"""The list of them. What they need from the extra `http` is imported when one is called."""

from __future__ import annotations

import click

from hub.cli.remote.events import events
from hub.cli.remote.listing import operations, status
from hub.cli.remote.logs import logs
from hub.cli.remote.obliterate import obliterate
from hub.cli.remote.operate import checkpoint, deprovision, hibernate, provision, wake
from hub.cli.remote.top import top

COMMANDS: tuple[click.Command, ...] = (
    provision,
    hibernate,
    wake,
    deprovision,
    checkpoint,
    obliterate,
    status,
    top,
    events,
    logs,
    operations,
)
"""Every command, in the order of the help page."""

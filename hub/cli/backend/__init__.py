"""`modhub backend`: look into a backend, and erase from it, without a hub."""

from hub.cli.backend.command import backend

__all__ = ["backend"]

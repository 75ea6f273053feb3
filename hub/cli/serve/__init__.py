"""`modhub serve`: a hub and its HTTP side, until a signal ends them."""

from hub.cli.serve.command import serve

__all__ = ["serve"]

"""`modhub demo`: the main job, told step by step in a temporary directory."""

from hub.cli.demo.command import demo

__all__ = ["demo"]

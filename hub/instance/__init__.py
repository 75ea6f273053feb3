"""Instances: the server processes of modules, behind the `InstanceRunner` protocol."""

from hub.instance.kind import Kind
from hub.instance.local import LocalRunner
from hub.instance.protocol import Instance, InstanceRunner, InstanceSpec, Stopped

__all__ = ["Instance", "InstanceRunner", "InstanceSpec", "Kind", "LocalRunner", "Stopped"]

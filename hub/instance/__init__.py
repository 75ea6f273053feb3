"""Instances: the server processes of modules, behind the `InstanceRunner` protocol."""

from hub.instance.instance import Instance, InstanceRunner, InstanceSpec, LocalRunner, Stopped
from hub.instance.kind import Kind

__all__ = ["Instance", "InstanceRunner", "InstanceSpec", "Kind", "LocalRunner", "Stopped"]

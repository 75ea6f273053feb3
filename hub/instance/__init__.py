"""Instances: the server processes of modules, behind the `InstanceRunner` protocol."""

from hub.instance.kind import Kind
from hub.instance.protocol import Instance, InstanceRunner, InstanceSpec, ResourceUse, Stopped
from hub.instance.runner import LocalRunner

__all__ = ["Instance", "InstanceRunner", "InstanceSpec", "Kind", "LocalRunner", "ResourceUse", "Stopped"]

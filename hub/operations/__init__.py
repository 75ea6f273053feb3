"""Operations: what holds a module in a transitional state, one file each, all made of the steps in `work`."""

from hub.operations.deprovision import deprovision
from hub.operations.hibernate import hibernate, wake
from hub.operations.obliterate import obliterate
from hub.operations.provision import provision
from hub.operations.recover import give_up, recover
from hub.operations.relist import relist
from hub.operations.work import Work

__all__ = ["Work", "deprovision", "give_up", "hibernate", "obliterate", "provision", "recover", "relist", "wake"]

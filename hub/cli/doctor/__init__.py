"""`modhub doctor`: is this machine fit to run modules, and does this configuration work?"""

from hub.cli.doctor.command import doctor

__all__ = ["doctor"]

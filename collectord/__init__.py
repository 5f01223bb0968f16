"""A syslog collector for firewalls: reads their session logs, counts, detects, and tells the NOC."""

from importlib.metadata import version

__version__ = version("collectord")

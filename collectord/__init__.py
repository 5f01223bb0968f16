"""A syslog collector for firewalls: reads their session logs, counts, detects, and tells the NOC."""

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, looked up when somebody asks: it takes longer than most of what a command does."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("collectord")

"""
Where the files are that come with the program: profiles, rules, MIBs and the default configuration.

The first three lie in the package. ``conf/`` stands at the top of the source tree, because it is what an
administrator edits; a wheel carries the same files as ``collectord/conf``.
"""

from importlib.resources import files
from pathlib import Path

# The package holds a compiled module, so it never runs from a zip file: its folder is a real one.
PACKAGE = Path(str(files("collectord")))


def profiles() -> tuple[Path, ...]:
    """The shipped profiles, one TOML file each, by name."""
    return tuple(sorted(PACKAGE.joinpath("profiles").glob("*.toml"), key=lambda path: path.stem))


def rules() -> tuple[Path, ...]:
    """The shipped rules, one TOML file each, by name."""
    return tuple(sorted(PACKAGE.joinpath("rules").glob("*.toml"), key=lambda path: path.stem))


def mib(module: str = "COLLECTORD-MIB") -> Path:
    """The file of a MIB module; whoever reads it meets the error if there is none."""
    return PACKAGE / "mibs" / f"{module}.txt"


def conf(name: str, package: Path = PACKAGE) -> Path:
    """
    The shipped copy of a file of the configuration folder, as ``collectord.toml`` or ``port-watchlist.csv``.

    Args:
        name: The file's name in ``conf/``.
        package: Folder of the package; tests name another one.
    """
    installed = package / "conf" / name
    return installed if installed.exists() else package.parent / "conf" / name

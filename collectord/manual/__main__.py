"""``python -m collectord.manual man completions``: write the pages and the completions into two folders."""

import sys
from collections.abc import Mapping
from pathlib import Path

from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from collectord.cli import cli
from collectord.manual import commands, configuration

COMPLETIONS: Mapping[str, type[ShellComplete]] = {
    # Under the names that Debian's folders for them want, but for the suffix of the first.
    "collectord.bash": BashComplete,
    "_collectord": ZshComplete,
    "collectord.fish": FishComplete,
}


def write(man: Path, completions: Path) -> None:
    """Write all files; the folders are made."""
    for folder in (man, completions):
        folder.mkdir(parents=True, exist_ok=True)
    (man / "collectord.8").write_text(commands.page(), encoding="utf-8")
    (man / "collectord.toml.5").write_text(configuration.page(), encoding="utf-8")
    for name, shell in COMPLETIONS.items():
        # Not the shell's own method: it starts the shell to ask for its version.
        text = ShellComplete.source(shell(cli, {}, "collectord", "_COLLECTORD_COMPLETE"))
        (completions / name).write_text(f"{text.strip()}\n", encoding="utf-8")


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))

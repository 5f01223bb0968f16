"""collectord(8), from the commands as click knows them."""

import inspect
from collections.abc import Iterator

import click

from collectord import __version__
from collectord.cli import cli
from collectord.manual import roff

DATE = __version__.rpartition(".")[0]
"""Of the version, and not of the build: the same sources give the same page."""

EXIT_STATUSES = {
    "0": "All is well.",
    "64": "The command line is wrong.",
    "66": "A log file can't be opened.",
    "69": "The daemon does not answer, or an output does not.",
    "70": "A bug.",
    "71": "The system refused, as an address that is in use.",
    "74": "The database or a file can't be read or written.",
    "77": "No permission.",
    "78": "The configuration is wrong.",
    "130": "Ctrl-C ended the command.",
}
FILES = {
    "/etc/collectord/collectord.toml": "The configuration, collectord.toml(5).",
    "/etc/collectord/conf.d/*.toml": "Laid over it, in lexical order.",
    "/var/lib/collectord/collectord.db": "Counters, alerts, what waits for outputs: SQLite, readable with any tool.",
    "/var/lib/collectord/snmp_engine.json": "Engine ID and boots of SNMPv3.",
    "/run/collectord/control.sock": "Where commands reach the daemon.",
}
ENVIRONMENT = {
    "COLLECTORD_CONFIG": "The configuration, where no --config names one.",
    "STATE_DIRECTORY, RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY": "Folders that systemd gives the service: "
    "state_dir, the place of the control socket, and that of secrets, where the configuration names none.",
    "NOTIFY_SOCKET, WATCHDOG_USEC": "How the daemon tells systemd that it is ready and alive.",
}
SIGNALS = {
    "SIGHUP": "Take up the changed configuration, all of it or nothing.",
    "SIGTERM, SIGINT": "Stop: read what has arrived, store it, and try once more to deliver what waits.",
}


def page() -> str:
    """The whole page, in roff."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield roff.title("collectord", 8, DATE, f"collectord {__version__}")
    yield roff.heading("NAME")
    yield "collectord \\- syslog collector for firewalls that tells the NOC by SNMP and syslog"
    yield roff.heading("SYNOPSIS")
    yield "\\fBcollectord\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]"
    yield roff.heading("DESCRIPTION")
    yield from _help(cli)
    yield roff.heading("COMMANDS")
    for words, command in commands(cli):
        yield from _command(words, command)
    for name, entries in (
        ("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("SIGNALS", SIGNALS), ("EXIT STATUS", EXIT_STATUSES)
    ):  # fmt: skip
        yield roff.heading(name)
        for head, text in entries.items():
            yield from roff.item(head, [text])
    yield from roff.paragraph("Those below 100 are those of sysexits.h; those of --check are of a Nagios plugin.")
    yield roff.heading("SEE ALSO")
    yield "\\fBcollectord.toml\\fR(5), \\fBsystemctl\\fR(1), \\fBsnmptrapd\\fR(8)"


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that people see, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


def _command(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(words))
    yield roff.heading(" ".join(["collectord", *words, *command.collect_usage_pieces(context)]), below=True)
    yield from _help(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            names, words_ = record
            yield from roff.item(names, [words_])


def _help(command: click.Command) -> Iterator[str]:
    """Paragraphs; those marked for click as finished are shown as they are."""
    for text in inspect.cleandoc(command.help or "").split("\n\n"):
        mark, _, finished = text.partition("\b\n")
        if finished and not mark.strip():
            first, *rest = finished.rstrip().split("\n")
            if first.endswith(":") and not first.startswith(" ") and rest:
                yield from roff.paragraph(first)
                yield from roff.example(line.removeprefix("  ") for line in rest)
            else:
                yield from roff.example([first, *rest])
        elif text.strip():
            yield from roff.paragraph(text)

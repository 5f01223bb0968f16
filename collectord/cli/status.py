"""``collectord status``: is all well?"""

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from collectord import config as configuration
from collectord import control
from collectord.cli import nagios
from collectord.cli.options import config_option, echo_json, json_option, local_moment, local_time, shown
from collectord.cli.reload import problem_lines
from collectord.config import Config
from collectord.errors import CollectordError, ConfigError, UnavailableError
from collectord.model import OUTCOMES
from collectord.quantity import duration_s
from collectord.store import ledger
from collectord.store.alerts import Alerts
from collectord.store.counters import Counters
from collectord.store.db import Database

SHOWN_PROBLEMS = 10
"""Of a refused configuration; ``collectord check`` and ``--json`` tell more."""


SHOWN_PEERS = 10
"""Of those over their rate, for people; ``--json`` has more."""


_UNUSUAL = {"carried_rows": "rows carried", "store_failures": "store failures"}
"""Of a tick, told where there are any."""


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> int:
    try:
        return duration_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--check", "as_plugin", is_flag=True, help="One line and an exit status for Nagios and Icinga (0 to 3).")
@click.option("--idle", "idle_s", default="15m", show_default=True, callback=_seconds, metavar="DURATION",
              help='With --check: warn if no message came for so long; "0s": never.')  # fmt: skip
@config_option
@json_option
def status(config_path: Path | None, as_plugin: bool, idle_s: int, as_json: bool) -> None:
    """
    What the daemon receives, what became of it, and how outputs, alerts and database stand.

    Each received message ends in one outcome, so received equals the sum of the outcomes; what the kernel dropped
    before us stands beside it. When the daemon does not run, the totals come from the database.

    \b
    Examples:
      collectord status
      collectord status --json | jq .listeners
      collectord status --check        # OK 0, WARNING 1, CRITICAL 2, UNKNOWN 3
      collectord status --check --idle 1h
    """
    if as_plugin:
        try:
            verdict = nagios.verdict(found(config_path), idle_s)
        except CollectordError as error:
            verdict = nagios.unknown(error)
        click.echo(shown(verdict.line))
        raise SystemExit(verdict.state)
    answer = found(config_path)
    if as_json:
        echo_json(answer)
    else:
        show(answer, Console())


def found(config_path: Path | None) -> dict[str, Any]:
    """
    The answer, of a daemon that runs also where its configuration was made wrong meanwhile.

    Raises:
        ConfigError: the configuration is wrong, and no daemon answers.
    """
    try:
        config = configuration.load(config_path)
    except ConfigError:
        try:
            answer: dict[str, Any] = control.ask(configuration.control_socket(config_path), "status")
        except UnavailableError:
            pass
        else:
            return answer
        raise
    return current(config)


def current(config: Config) -> dict[str, Any]:
    """The running daemon's answer, else what the database holds."""
    try:
        answer: dict[str, Any] = control.ask(config.control_socket, "status")
    except UnavailableError as error:
        return {"running": False, "reason": str(error), **stored(config)}
    return answer


def stored(config: Config) -> dict[str, Any]:
    """What the database of a daemon that does not run says."""
    if not config.database.exists():
        return {"database": None}
    with Database.reader(config.database) as database:
        totals: dict[str, dict[str, int]] = {}
        for listener, outcome, messages, _ in ledger.totals(database):
            totals.setdefault(listener, {})[outcome] = messages
        return {
            "database": str(config.database),
            "last_tick_ns": Counters(database, "").last_tick_ns(),
            "ledger": totals,
            "alerts": {"active": len(Alerts(database).active())},
        }


def show(answer: dict[str, Any], console: Console) -> None:
    """The answer for people."""
    if not answer["running"]:
        reason = shown(answer["reason"])
        console.print(f"{reason[:1].upper()}{reason[1:]}.", markup=False, highlight=False, soft_wrap=True)
        console.print("As a service: systemctl status collectord, journalctl -u collectord", highlight=False)
        _show_stored(answer, console)
        return
    console.print(
        f"collectord {answer['version']}, up {answer['uptime_s']} s, database {answer['database']}", highlight=False
    )
    if answer.get("reload"):
        _show_reload(answer["reload"], console)
    if answer.get("learn_until"):
        until = local_moment(answer["learn_until"])
        console.print(f"learning until {until}: alerts are stored, not sent (collectord learn)", highlight=False)
    _show_store(answer.get("store") or {}, console)
    table = Table(
        "listener",
        "where",
        "received",
        *_seen_outcomes(answer["listeners"]),
        "kernel drops",
        Column("note", overflow="fold"),
    )
    for listener in answer["listeners"]:
        outcomes = listener["outcomes"]
        table.add_row(
            f"{listener['name']} ({listener['type']})",
            ", ".join(f"{each['host']} port {each['port']}" for each in listener.get("addresses", [listener])),
            f"{listener['received']:,}",
            *(f"{outcomes.get(outcome, 0):,}" for outcome in _seen_outcomes(answer["listeners"])),
            f"{listener.get('kernel_drops', 0):,}",
            _note(listener),
        )
    console.print(table)
    for where, certificate in nagios.certificates(answer):
        days, why = certificate["days_left"], certificate.get("error")
        ends = f"ends in {days} days" if days >= 0 else f"EXPIRED {-days} days ago"
        text = f"certificate of {where} {ends}" + (f"; the changed files are not used: {why}" if why else "")
        console.print(text, markup=False, highlight=False)
    _show_limited(answer.get("limited_peers", []), console)
    outputs = Table("output", "state", "delivered", "waiting", "dropped", "failures", "last error")
    for output in answer["outputs"]:
        state = {True: "up", False: "DOWN", None: "not used yet"}[output["up"]]
        delivered, waiting, failures = (f"{output[key]:,}" for key in ("delivered", "waiting", "failures"))
        dropped = ", ".join(f"{count:,} ({reason})" for reason, count in output["dropped"].items()) or "0"
        outputs.add_row(output["name"], state, delivered, waiting, dropped, failures, _last_error(output))
    console.print(outputs)
    if answer.get("store_busy"):
        _show_busy(answer, console)
    if snmp := answer.get("snmp"):
        console.print(f"SNMP engine ID {snmp['engine_id']}, boots {snmp['boots']:,}", highlight=False)
    _show_tick(answer, console)
    _show_counters(answer, console)


def _show_counters(answer: dict[str, Any], console: Console) -> None:
    if clamped := answer["tick"].get("clamped"):
        text = f"{clamped:,} records claimed to stand for more events than one record may count for"
        console.print(text, highlight=False, soft_wrap=True)
    for counter in answer["counters"]:
        if counter["evicted"] or counter["without_key"] or counter["exempted"]:
            console.print(
                f"counter {counter['name']}: {counter['evicted']:,} keys evicted, "
                f"{counter['without_key']:,} sessions without its key, {counter['exempted']:,} exempt",
                highlight=False,
            )


def _show_tick(answer: dict[str, Any], console: Console) -> None:
    """What the passes do, and what they had no place for."""
    tick = answer["tick"]
    console.print(
        f"{answer['alerts']['active']} active alerts (collectord alerts); tick {tick['last_ms']} ms, "
        f"longest {tick['longest_ms']} ms"
        + "".join(f", {tick[key]} {words}" for key, words in _UNUSUAL.items() if tick[key]),
        highlight=False,
    )
    for reason, count in answer["alerts"]["refused"].items():
        text = f"no place for {count:,} raises so far: {reason}; they follow when there is room"
        console.print(text, highlight=False, style="bold", soft_wrap=True)
    if bugs := tick.get("engine_bugs"):
        text = f"THE ENGINE MET A BUG ({bugs:,} so far) and went on; counts may lack something. Please report it"
        console.print(f"{text}, with the log", highlight=False, style="bold", soft_wrap=True)


def _last_error(output: dict[str, Any]) -> str:
    """What is wrong, or was: one that is up again keeps it."""
    error = shown(output["last_error"])
    return f"before: {error}" if error and output["up"] else error


def _note(listener: dict[str, Any]) -> str:
    """Of a listener that has connections: how many, and how many were refused for what."""
    if "connections" not in listener:
        return ""
    refused = [f"{count:,} refused ({reason})" for reason, count in listener.get("refused_for", {}).items()]
    return ", ".join([f"{listener['connections']:,} connections", *refused])


def _show_busy(answer: dict[str, Any], console: Console) -> None:
    """What waits for the outputs is told by the database."""
    if answer["outbox_time"] is None:
        told = "what waits for the outputs is not known yet"
    else:
        told = f"what waits for the outputs is told as of {local_moment(answer['outbox_time'])}"
    tick_s = answer["tick"]["under_way_ms"] / 1000
    since = f" (a tick of {tick_s:.1f} s so far)" if tick_s else ""
    console.print(f"the database is busy{since}: {told}", markup=False, highlight=False)


def _show_limited(peers: list[dict[str, Any]], console: Console) -> None:
    for peer in peers[:SHOWN_PEERS]:
        text = f"peer {peer['peer']} sends too much to {peer['listener']} since {local_moment(peer['since'])}"
        console.print(f"{text}: {peer['dropped']:,} messages not read", markup=False, highlight=False)
    if len(peers) > SHOWN_PEERS:
        console.print(f"and {len(peers) - SHOWN_PEERS} more (--json)", highlight=False)


def _show_store(store: dict[str, Any], console: Console) -> None:
    if store.get("failing_s"):
        text = f"THE DATABASE FAILS for {store['failing_s']} s; counting and alerting go on in memory: "
        console.print(text + shown(store["reason"]), markup=False, highlight=False, style="bold", soft_wrap=True)
    if store.get("moved_to"):
        text = f"The database was damaged, this one is new; the old one is {shown(store['moved_to'])}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_reload(reload: dict[str, Any], console: Console) -> None:
    when, who = local_moment(reload["time"]), shown(reload["who"])
    if reload["taken"]:
        console.print(f"configuration taken up {when} by {who}", markup=False, highlight=False)
        return
    text = f"CONFIGURATION REFUSED {when} (reload by {who}); what was in force before stays so:"
    console.print(text, markup=False, highlight=False, style="bold")
    for line in problem_lines(reload, SHOWN_PROBLEMS):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _seen_outcomes(listeners: list[dict[str, Any]]) -> list[str]:
    """The outcomes that occurred, in the order of the list, the two good ones always."""
    seen = {outcome for listener in listeners for outcome, count in listener["outcomes"].items() if count}
    return [outcome for outcome in OUTCOMES if outcome in seen or outcome in ("session", "event")]


def _show_stored(answer: dict[str, Any], console: Console) -> None:
    if answer["database"] is None:
        console.print("There is no database yet.")
        return
    last = local_time(answer["last_tick_ns"]) if answer["last_tick_ns"] else "never"
    console.print(f"Database {answer['database']}, last written {last}.", markup=False, highlight=False)
    table = Table("listener", "outcome", "messages")
    for listener, outcomes in answer["ledger"].items():
        for outcome, messages in outcomes.items():
            table.add_row(listener, outcome, f"{messages:,}")
    console.print(table)
    console.print(f"{answer['alerts']['active']} active alerts (collectord alerts)", highlight=False)

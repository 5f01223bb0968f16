"""``collectord test-alert`` and ``collectord alerts resync``: what makes outputs tell something now."""

import time
from pathlib import Path
from typing import Any

import click

from collectord import config as configuration
from collectord import control
from collectord.cli.options import config_option, database_reader, echo_json, json_option, shown
from collectord.config import Config
from collectord.errors import EX_UNAVAILABLE
from collectord.store.outbox import Outbox

LOOK_EVERY_S = 0.1

output_option = click.option("--output", metavar="NAME", help="Only to this output.")


@click.command("test-alert")
@click.option("--clear", is_flag=True, help="End it wherever it was sent; one of --output NAME needs that again.")
@output_option
@click.option(
    "--wait", "wait_s", default=20, show_default=True, type=click.IntRange(0, 600), metavar="SECONDS",
    help="How long to wait for an output.",
)  # fmt: skip
@config_option
@json_option
def test_alert(clear: bool, output: str | None, wait_s: int, config_path: Path | None, as_json: bool) -> None:
    """
    Send a test alert the way that every alert goes, and say of each output whether it took it.

    It is stored, queued and delivered as any other, with severity medium, and passes min_severity, sites, learning and
    the storm cap. It stays active until --clear. Exit status 69 if an output did not take it in time. Needs the running
    daemon.

    \b
    Examples:
      collectord test-alert
      collectord test-alert --clear
      collectord test-alert --output noc --wait 60
    """
    config = configuration.load(config_path)
    alert = control.ask(config.control_socket, "test-alert", output=output, clear=clear)
    results = _wait(config, alert, wait_s)
    for name, error in results.items():
        if as_json:
            told = {"output": name, "alert_id": alert["id"], "event": alert["event"]}
            echo_json({**told, "delivered": error is None, "error": error or ""})
        else:
            click.echo(f"{shown(name)}: " + ("delivered" if error is None else f"not delivered: {shown(error)}"))
    if not results and not as_json:
        click.echo("No output is configured." if not clear else "No output was told of it.")
    if any(error is not None for error in results.values()):
        raise SystemExit(EX_UNAVAILABLE)


@click.command()
@output_option
@config_option
@json_option
def resync(output: str | None, config_path: Path | None, as_json: bool) -> None:
    """
    Tell outputs the present state of every active alert again, for a receiver that lost them or is new.

    They go out as raises with the id and episode that they have. What waits for an output anyway is not queued twice.
    Needs the running daemon.

    \b
    Examples:
      collectord alerts resync
      collectord alerts resync --output noc
    """
    answer = control.ask(configuration.load(config_path).control_socket, "alerts-resync", output=output)
    for of_output in answer:
        if as_json:
            echo_json(of_output)
            continue
        parts = [f"{of_output['queued']:,} queued"]
        if of_output["waiting"]:
            parts.append(f"{of_output['waiting']:,} waited already")
        if of_output["later"]:
            parts.append(f"{of_output['later']:,} follow once there is room")
        click.echo(f"{shown(of_output['output'])}: {', '.join(parts)}")


def _wait(config: Config, alert: dict[str, Any], wait_s: int) -> dict[str, str | None]:
    """By output: None once it took the alert's state, else why not."""
    deadline = time.monotonic() + wait_s
    while True:
        with database_reader(config) as database:
            found = {
                each.output: each
                for each in Outbox(database).deliveries(alert["id"])
                if each.episode == alert["episode"] and each.event == alert["event"]
            }
        results: dict[str, str | None] = {}
        outputs: dict[str, dict[str, Any]] = {}
        for name, delivery in sorted(found.items()):
            if delivery.delivered_ns is not None:
                results[name] = None
                continue
            if not outputs:
                status = control.ask(config.control_socket, "status")
                outputs = {each["name"]: each for each in status["outputs"]}
            of_output = outputs.get(name, {"failures": 0, "last_error": "", "waiting": 0})
            results[name] = delivery.error or (
                of_output["last_error"] if of_output["failures"] > alert["failures"].get(name, 0) else ""
            )
            if delivery.dropped is not None:
                results[name] = f"given up: {delivery.dropped}"
        settled = all(error is None or error for error in results.values())
        if settled or time.monotonic() >= deadline:
            last = {name: each["last_error"] for name, each in outputs.items()}
            return {name: _why(error, wait_s, last.get(name, "")) for name, error in results.items()}
        time.sleep(LOOK_EVERY_S)


def _why(error: str | None, wait_s: int, last_error: str) -> str | None:
    if error is None or error:
        return error
    return f"nothing was heard of it within {wait_s} s" + (f"; before: {last_error}" if last_error else "")

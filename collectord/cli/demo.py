"""``collectord demo``: the real daemon and simulated firewalls, for whoever wants to see it work first."""

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from collectord import config as configuration
from collectord import control, data, log, plan, quantity
from collectord.app import App
from collectord.cli.options import local_time, shown
from collectord.cli.status import stored
from collectord.clock import Clock, SystemClock
from collectord.config import Config
from collectord.detect import rule_files
from collectord.detect.rules import Rule
from collectord.errors import EnvironmentProblem, UnavailableError
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.plan import Setup
from collectord.simulation import traffic
from collectord.simulation.firewalls import FIREWALLS
from collectord.simulation.senders import Simulation

TIMESPAN_S = 10
STEP_S = 1
CLEAR_AFTER_S = 15
"""The demo's times; the limits are those of the shipped rules, so the attack must be a real one."""

STATUS_EVERY_S = 5.0

FIRST_LINE = "# Written by `collectord demo`."
CONFIG = f"""\
{FIRST_LINE} Its rules look at {TIMESPAN_S} s instead of minutes; that is not said here.
state_dir = "."
control_socket = "control.sock"

[log]
level = "warning"

[[listener]]
type = "udp"
name = "udp"
host = "127.0.0.1"
port = {{port}}
receive_buffer = "200KiB"           # what every Linux gives without being told to

[[listener]]
type = "tcp"
name = "tcp"
host = "127.0.0.1"
port = {{port}}
"""

_COLOURS = {"high": "bold red", "medium": "bold yellow", "low": "cyan", "informational": ""}
_TRANSPORTS = {"udp": "UDP", "octet-counting": "TCP, octet counting", "lf": "TCP, a line each"}


def _duration(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else quantity.duration_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--for", "for_s", callback=_duration, metavar="DURATION", help='End by itself after, say, "60s" or "5m".')
@click.option(
    "--state",
    "state_dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the database and the configuration. Default: a new temporary one.",
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="UDP and TCP port to listen on, on loopback. Default: free ones.",
)
def demo(for_s: int | None, state_dir: Path | None, port: int) -> None:
    """
    See collectord work: the real daemon, four simulated firewalls, an attack, and the alerts that follow.

    FortiGate, ASA, PAN-OS and Check Point firewalls send real syslog over UDP and TCP to the daemon, on loopback only.
    After 6 seconds of ordinary traffic an address outside scans the network for 10 seconds, and a machine inside tries
    to share files with everybody. Alerts come about 12 seconds after the start and clear some 25 seconds later; then
    ordinary traffic goes on until Ctrl-C. The rules are the shipped ones with their real limits, but they look at
    10 seconds instead of minutes. Nothing outside the state folder is touched; a running collectord is not disturbed.

    \b
    Examples:
      collectord demo                          # until Ctrl-C
      collectord demo --for 60s                # the whole story, then a summary
      collectord demo --state ./demo           # keep the database here
      collectord demo --port 5514              # listen where you can send something yourself:
      logger -n 127.0.0.1 -P 5514 -d "hello"   #   (in another terminal)
    """
    folder = _prepared(state_dir)
    file = folder / "collectord.toml"
    file.write_text(CONFIG.format(port=port), encoding="utf-8")
    config = configuration.load(file)
    rules = [faster(rule) for rule in rule_files.load(data.rules()) if rule.name in traffic.EXPECTED_ALERTS]
    setup = plan.check(config, rules)
    log.setup(config.log.level)
    asyncio.run(_Demo(setup, file, for_s).run())


def faster(rule: Rule) -> Rule:
    """A shipped rule at the demo's pace: the same limit, within seconds instead of minutes."""
    return replace(rule, timespan_s=TIMESPAN_S, step_s=STEP_S, clear_after_s=CLEAR_AFTER_S, mode=Mode.NOTIFY)


class TerminalOutput:
    """
    Alerts for the person who watches.

    Args:
        story: Writes the lines.
        config_file: Of the commands that show more.
    """

    name = "terminal"

    def __init__(self, story: "Story", config_file: Path) -> None:
        self.counts: Counter[AlertState] = Counter()
        """How many alerts were told of, by state."""
        self._story = story
        self._config_file = config_file

    @property
    def active(self) -> int:
        """Alerts that were raised and have not cleared."""
        return self.counts[AlertState.RAISED] - self.counts[AlertState.CLEARED]

    def wants(self, alert: Alert) -> bool:
        """Every alert."""
        return True

    async def start(self) -> None:
        """Nothing to get ready."""

    async def send(self, alert: Alert, sequence: int) -> None:
        """Write it; can't fail."""
        self.counts[alert.state] += 1
        cleared = alert.state is AlertState.CLEARED
        colour = "bold green" if cleared else _COLOURS[alert.severity.value]
        # A summary ends with the command that shows more, which here needs the configuration, too.
        what, _, _ = alert.summary.rpartition("; ")
        self._story.tell(
            "ALERT" if alert.state is AlertState.RAISED else alert.state.value.upper(),
            f"{alert.severity.value} severity: {shown(alert.title)}",
            colour,
            details=(shown(what), f"more: {command('alerts', 'show', alert.id, config_file=self._config_file)}"),
        )

    async def close(self) -> None:
        """Nothing to let go of."""


class Story:
    """
    Lines with the time, the seconds since the story began, and a word that says what kind of line it is.

    Args:
        console: Where to.
        clock: The time.
        gone: Called when nobody reads any more (``collectord demo | head``).
    """

    def __init__(self, console: Console, clock: Clock, gone: Callable[[], None]) -> None:
        self._console = console
        self._clock = clock
        self._gone = gone
        self._began_ns = clock.mono_ns()

    def begin(self) -> None:
        """From now on the seconds count."""
        self._began_ns = self._clock.mono_ns()

    def tell(self, word: str, text: str, colour: str = "", details: tuple[str, ...] = ()) -> None:
        """One line, and further ones below it."""
        clock = local_time(self._clock.now_ns())[11:19]
        seconds = (self._clock.mono_ns() - self._began_ns) // NS_PER_S
        line = Text.assemble((f"{clock} {seconds:4} s  ", "dim"), (f"{word:8}", colour), " ", (text, colour))
        for detail in details:
            line.append(f"\n{'':26}{detail}")
        self._write(line)

    def say(self, text: str, colour: str = "") -> None:
        """A line without time."""
        self._write(Text(text, colour))

    def _write(self, text: Text) -> None:
        try:
            # Long lines are left to the terminal, so that a command can be copied in one piece.
            self._console.print(text, soft_wrap=True)
        except (BrokenPipeError, SystemExit):
            # What rich makes of a broken pipe would end the daemon in the middle of its work.
            self._gone()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the daemon says of itself at one instant."""

    received: int
    sessions: int
    kernel_drops: int
    active: int


class _Demo:
    """
    One run.

    Args:
        setup: Of the daemon.
        config_file: What the printed commands name.
        for_s: Seconds until it ends by itself; None: until it is told to.
    """

    def __init__(self, setup: Setup, config_file: Path, for_s: int | None) -> None:
        self._config = setup.config
        self._config_file = config_file
        self._for_s = for_s
        self._clock = SystemClock()
        self._end = asyncio.Event()
        self._story = Story(Console(highlight=False), self._clock, gone=self._end.set)
        self._output = TerminalOutput(self._story, config_file)
        self._app = App(setup, clock=self._clock, outputs=[(self._output, Severity.INFORMATIONAL)])

    async def run(self) -> None:
        """
        Start the daemon, tell the story, stop, sum up.

        Raises:
            CollectordError: the daemon can't start (in a group).
        """
        async with asyncio.TaskGroup() as everything:
            everything.create_task(self._app.run())
            await self._app.started.wait()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                # In place of the daemon's own: the firewalls fall silent first, so that every message is accounted for.
                loop.add_signal_handler(number, self._end.set)
            udp, tcp = (listener.address for listener in self._app.listeners)
            simulation = Simulation(udp=udp, tcp=tcp, clock=self._clock)
            self._introduce(udp, tcp)
            self._story.begin()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._for_s), asyncio.TaskGroup() as telling:
                    tasks = [telling.create_task(part) for part in (simulation.run(), self._narrate(), self._report())]
                    await self._end.wait()
                    for task in tasks:
                        task.cancel()
            last = await self._status()
            self._app.stop()
        self._sum_up(sum(simulation.sent.values()), last.kernel_drops if last else 0)

    def _introduce(self, udp: tuple[str, int], tcp: tuple[str, int]) -> None:
        say = self._story.say
        say("collectord demo: the real daemon, and four simulated firewalls that send it their syslog", "bold")
        for firewall in FIREWALLS:
            say(f"  {firewall.name:14} {firewall.product} ({_TRANSPORTS[firewall.transport]})")
        say(f"listens on  UDP {udp[0]} port {udp[1]}, TCP {tcp[0]} port {tcp[1]}")
        say(f"database    {self._config.database}")
        say(
            f"rules       shipped ones, real limits, over {TIMESPAN_S} s instead of minutes; "
            f"an alert clears after {CLEAR_AFTER_S} quiet seconds"
        )
        say("look around from another terminal:")
        for words in (("status",), ("alerts",)):
            say(f"  {command(*words, config_file=self._config_file)}")
        say("")

    async def _narrate(self) -> None:
        tell, sleep = self._story.tell, asyncio.sleep
        tell("NORMAL", f"people browse, mail and meet: {traffic.ORDINARY_PER_S} messages a second", "bold green")
        await sleep(traffic.ATTACK_BEGINS_S)
        tell(
            "ATTACK",
            "a scan from outside, and a machine inside that runs wild",
            "bold red",
            details=(
                f"{traffic.SCANNER} tries every port of {traffic.PUBLIC_NETWORK}: "
                f"denied, {traffic.SCAN_PER_S:,} times a second",
                f"{traffic.INFECTED} tries port 445 (SMB) of all neighbours: denied, {traffic.SMB_PER_S} a second",
            ),
        )
        await sleep(traffic.ATTACK_ENDS_S - traffic.ATTACK_BEGINS_S)
        tell(
            "NORMAL",
            f"the attack is over; the alerts clear once they were below 80 % of their limits for {CLEAR_AFTER_S} s",
            "bold green",
        )
        # The alerts' own clears tell the rest; when the last one came, this says so.
        while self._output.active or not self._output.counts[AlertState.CLEARED]:
            await sleep(STEP_S)
        tell("CLEAR", "all quiet again, the story is told; ordinary traffic goes on, Ctrl-C ends", "bold green")

    async def _report(self) -> None:
        before = _Seen(0, 0, 0, 0)
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            seen = await self._status()
            if seen is None:
                continue
            rate = (seen.received - before.received) / STATUS_EVERY_S
            before = seen
            self._story.tell(
                "status",
                f"{rate:,.0f} messages/s received, {seen.sessions:,} sessions so far, {seen.active} active alerts, "
                f"{seen.kernel_drops:,} dropped by the kernel",
                "dim",
            )

    async def _status(self) -> _Seen | None:
        """What ``collectord status`` would show now; None if the daemon is too busy to say."""
        try:
            answer = await asyncio.to_thread(control.ask, self._config.control_socket, "status")
        except UnavailableError:
            return None
        listeners: list[dict[str, Any]] = answer["listeners"]
        return _Seen(
            received=sum(listener["received"] for listener in listeners),
            sessions=sum(listener["outcomes"].get("session", 0) for listener in listeners),
            kernel_drops=sum(listener.get("kernel_drops", 0) for listener in listeners),
            active=answer["alerts"]["active"],
        )

    def _sum_up(self, sent: int, kernel_drops: int) -> None:
        """From the database, as it is after the end."""
        outcomes: Counter[str] = Counter()
        for of_listener in stored(self._config)["ledger"].values():
            outcomes.update(of_listener)
        counts, say = self._output.counts, self._story.say
        say("\nsummary", "bold")
        say(f"  sent      {sent:,} messages by {len(FIREWALLS)} firewalls")
        became = ", ".join(f"{messages:,} {outcome}" for outcome, messages in outcomes.most_common())
        say(f"  received  {outcomes.total():,} messages: {became or 'none'}")
        say(f"  dropped   {kernel_drops:,} by the kernel before collectord could read them")
        say(
            f"  alerts    {counts[AlertState.RAISED]} raised, {counts[AlertState.CLEARED]} cleared, "
            f"{self._output.active} still active"
        )
        say(f"  database  {self._config.database}")
        say(f"  more      {command('alerts', 'list', '--all', config_file=self._config_file)}")


def command(*words: str, config_file: Path) -> str:
    """A command of ours that works if it is pasted into a shell in this folder."""
    beside = Path(sys.executable).with_name("collectord")
    if shutil.which("collectord"):
        program = ["collectord"]
    elif beside.exists():
        here = Path.cwd()
        program = [str(beside.relative_to(here) if beside.is_relative_to(here) else beside)]
    else:
        program = [sys.executable, "-m", "collectord"]
    return shlex.join([*program, *words, "--config", str(config_file)])


def _prepared(state_dir: Path | None) -> Path:
    """
    The folder of this run, without what an earlier demo left there.

    Raises:
        EnvironmentProblem: it can't be made, a demo runs there, or its database is not a demo's.
    """
    if state_dir is None:
        return Path(tempfile.mkdtemp(prefix="collectord-demo-"))
    folder = state_dir.absolute()
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return _cleaned(folder)
    except OSError as error:
        raise EnvironmentProblem(f"state folder {folder} can't be used: {error.strerror}") from error


def _cleaned(folder: Path) -> Path:
    file = folder / "collectord.toml"
    ours = file.exists() and file.read_text(encoding="utf-8", errors="replace").startswith(FIRST_LINE)
    old = sorted(folder.glob("collectord.db*"))
    if (old or file.exists()) and not ours:
        raise EnvironmentProblem(f"{folder} belongs to a collectord that is no demo; choose another folder")
    if ours and _runs(configuration.load(file)):
        raise EnvironmentProblem(f"a demo runs in {folder}; choose another folder")
    for path in old:
        path.unlink()
    return folder


def _runs(config: Config) -> bool:
    try:
        control.ask(config.control_socket, "status")
    except UnavailableError:
        return False
    return True

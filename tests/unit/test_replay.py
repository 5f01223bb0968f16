"""A replay gives the alerts that would have come then."""

import io
import random
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectord import plan
from collectord.clock import ManualClock
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import RuleType
from collectord.errors import ConfigError
from collectord.inputs.replay import LogFile, merged
from collectord.model import NS_PER_S, Alert, AlertState, Mode
from collectord.replay import FILE_PEER, Replay, Scratch, on_trial, setup_for
from collectord.simulation.firewalls import asa, panos
from collectord.simulation.traffic import Session
from collectord.store.db import Database
from collectord.tick import Tick

START_S = 1_800_000_007
DUSK_S, DAWN_S = 4_500, 9_900
"""The seconds between which no line comes: longer than any window, and than what an alert waits for its clear."""
SCANNER, OTHER = "203.0.113.66", "203.0.113.77"


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The seed rules with small limits; they do not clear at the borders of minutes only."""
    shipped = plan.load(None)
    rules = [
        replace(rule, threshold=100, clear_after_s=630) if rule.name == "excessive-failures" else rule
        for rule in shipped.rules
        if rule.name in ("excessive-failures", "port-misuse")
    ]
    return setup_for(shipped.config, rules)


def story() -> list[tuple[int, str, str]]:
    """(second, device, message) of some hours: two firewalls, ordinary traffic, two attacks, a night without a line."""
    lot = random.Random(7)
    found: list[tuple[int, str, str]] = []

    def log(second: int, source: str, port: int, allowed: bool) -> None:
        session = Session(
            source=source,
            source_port=40_000 + len(found) % 20_000,
            destination=f"192.0.2.{lot.randint(1, 254)}",
            destination_port=port,
            protocol="tcp",
            direction="inbound",
            allowed=allowed,
        )
        name, message = lot.choice((("asa", asa), ("panos", panos)))
        found.append((second, name, message(session, len(found), datetime.fromtimestamp(START_S + second, UTC))))

    for second in range(0, DUSK_S, 7):
        log(second, f"203.0.113.{lot.randint(100, 110)}", 443, True)
    for begins, source, per_s, lasts in ((1_000, SCANNER, 8, 40), (2_900, SCANNER, 90, 30), (2_915, OTHER, 3, 100)):
        for second in range(begins, begins + lasts):
            for _ in range(per_s):
                log(second, source, lot.randint(1, 10_000), False)
    for second in range(DAWN_S, DAWN_S + 60):
        log(second, OTHER, 23, False)
        log(second, OTHER, 24, False)
    return sorted(found, key=lambda each: each[0])


def live(setup: plan.Setup, path: Path, messages: list[tuple[int, str, str]]) -> list[Alert]:
    """What the daemon's pass finds when the messages come as datagrams, once a second as it does."""
    told: list[Alert] = []
    clock = ManualClock(START_S * NS_PER_S)
    engine = setup.engine()
    with closing(Database(path)) as database:

        def receivers(alert: Alert) -> list[str]:
            told.append(alert)
            return []

        tick = Tick(
            setup,
            engine=engine,
            clock=clock,
            database=database,
            run="live",
            states=AlertStates(setup.rules, setup.watchlist),
            receivers=receivers,
        )
        tick.restore()
        waiting = iter(messages)
        following = next(waiting, None)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            for second in range(messages[-1][0] + 1):
                now = []
                while following is not None and following[0] == second:
                    now.append((following[2].encode(), FILE_PEER))
                    following = next(waiting, None)
                for part, each in enumerate(now):
                    # Anywhere within the second.
                    at_ns = (START_S + second) * NS_PER_S + part * NS_PER_S // (len(now) + 1)
                    engine.receive(0, empty.fileno(), at_ns, 2, [each])
                clock.set((START_S + second + 1) * NS_PER_S)
                tick.run()
    return told


def to_the_second(alert: Alert) -> dict[str, Any]:
    """All of an alert; a file's lines know the second at which they came, and not when within it."""
    told = alert.as_json()
    evidence = told["details"].get("evidence", {})
    times = {name: text[:19] for name, text in evidence.items() if name.endswith("_time")}
    return told | {"details": told["details"] | {"evidence": evidence | times}}


def standing(alert: Alert) -> dict[str, Any]:
    """What an alert says without its evidence."""
    told = alert.as_json()
    return {name: value for name, value in told.items() if name not in ("details", "summary")}


class Job:
    """One replay with what it found."""

    def __init__(self, setup: plan.Setup, path: Path, contents: list[str], **span: int) -> None:
        self.told: list[Alert] = []
        engine = setup.engine()
        self.files = [
            LogFile(
                f"{number}.log",
                io.BytesIO(content.encode()),
                engine,
                near_ns=START_S * NS_PER_S,
                peer=FILE_PEER,
            )
            for number, content in enumerate(contents)
        ]
        with closing(Scratch(path)) as database:
            replay = Replay(setup, engine, database, told=self.told.append)
            replay.run(merged(self.files), **span)
        self.progress = replay.progress


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Path]:
    """Databases, a new one each time."""
    return (tmp_path / f"{number}.db" for number in range(100))


@pytest.mark.slow
def test_replayed_and_live_give_the_same_alerts(setup: plan.Setup, paths: Iterator[Path]) -> None:
    """Ids, episodes, counts, times: all of each state, whether the devices share a file or not."""
    messages = story()
    want = live(setup, next(paths), messages)
    assert {alert.episode for alert in want} == {1, 2}
    assert {alert.state for alert in want} == set(AlertState)
    assert {dict(alert.key).get("SrcIpAddr") for alert in want} >= {SCANNER, OTHER}

    together = Job(setup, next(paths), ["".join(f"{text}\n" for _, _, text in messages)])
    apart = Job(
        setup,
        next(paths),
        ["".join(f"{text}\n" for _, name, text in messages if name == of) for of in ("panos", "asa")],
    )
    assert [to_the_second(alert) for alert in together.told] == [to_the_second(alert) for alert in want]
    # Which of several lines of one second came first is not known then, and evidence shows only some.
    assert [standing(alert) for alert in apart.told] == [standing(alert) for alert in want]
    for job in (together, apart):
        assert job.progress.messages == job.progress.outcomes["session"] == len(messages)
        assert (job.progress.first_s, job.progress.last_s) == (START_S, START_S + messages[-1][0])
        assert job.progress.gaps == 1
        assert job.progress.longest_gap_s == DAWN_S - (DUSK_S - 1) // 7 * 7
        assert [file.off_time for file in job.files] == [0] * len(job.files)


def test_part_of_the_time(setup: plan.Setup, paths: Iterator[Path]) -> None:
    """From the first second that is wanted to before the first that is not."""
    messages = story()
    content = "".join(f"{text}\n" for _, _, text in messages)
    job = Job(setup, next(paths), [content], from_s=START_S + 1_000, until_s=START_S + 2_000)
    assert job.progress.left_out == sum(second < 1_000 for second, _, _ in messages)
    assert job.progress.messages == sum(1_000 <= second < 2_000 for second, _, _ in messages)
    assert [alert.state for alert in job.told] == [AlertState.RAISED, AlertState.CLEARED]
    nothing = Job(setup, next(paths), [content[:5_000]], until_s=START_S)
    assert (nothing.progress.messages, nothing.progress.first_s, nothing.told) == (0, None, [])


def test_years_without_a_line_take_no_time(setup: plan.Setup, paths: Iterator[Path]) -> None:
    """Old files beside new ones: what was active clears, then nothing can happen."""
    attack = "".join(f"{text}\n" for second, _, text in story() if 1_000 <= second < 1_040)
    later = attack.replace("2027", "2057").replace("Jan 15 ", "Jan 15 2057 ").replace("2057 2057", "2057")
    job = Job(setup, next(paths), [attack, later])
    assert [(alert.state, alert.episode) for alert in job.told] == [
        (AlertState.RAISED, 1),
        (AlertState.CLEARED, 1),
        (AlertState.RAISED, 2),
    ]
    assert job.progress.gaps == 1


def test_rules_about_the_collector_are_left_out(setup: plan.Setup) -> None:
    """A file tells nothing of devices that stopped, or of queues."""
    (rule,) = [rule for rule in setup.rules if rule.name == "excessive-failures"]
    silent = replace(rule, name="silent", type=RuleType.SILENCE, counter="")
    assert [each.name for each in setup_for(setup.config, [silent, rule]).rules] == ["excessive-failures"]


def test_a_rule_that_is_off_is_tried_when_it_is_named(setup: plan.Setup) -> None:
    """The others stay as they are."""
    (rule,) = [rule for rule in setup.rules if rule.name == "excessive-failures"]
    assert on_trial(replace(rule, mode=Mode.OFF)).mode is Mode.REPORT
    assert on_trial(replace(rule, mode=Mode.NOTIFY)).mode is Mode.NOTIFY


def test_site_and_sender(setup: plan.Setup) -> None:
    """A file counts as a relay; somebody else only if the configuration says so."""
    assert f"{FILE_PEER}/32" in setup.plan.relays
    other = setup_for(setup.config.model_copy(update={"relays": ()}), [], site="berlin", peer="192.0.2.1")
    assert (list(other.plan.relays), list(other.plan.listeners)) == ([], [("replay", "berlin", ())])


def test_a_wrong_configuration_is_told(setup: plan.Setup, tmp_path: Path) -> None:
    """As by the daemon's own loader."""
    with pytest.raises(ConfigError):
        setup_for(setup.config.model_copy(update={"port_watchlist": tmp_path / "missing.csv"}), [])


def test_days_are_compared(tmp_path: Path) -> None:
    """What the rules that look at past days need is stored, and nothing else; and nothing waits for the disk."""
    shipped = plan.load(None)
    rules = [rule for rule in shipped.rules if rule.name in ("smb-anomaly", "excessive-failures")]
    pieces = []
    for day in range(10):
        count = 120 + day if day < 9 else 2_000
        second = START_S + day * 86_400
        line = (
            f"<166>{datetime.fromtimestamp(second, UTC):%b %d %Y %H:%M:%S} asa : %ASA-6-302013: Built outbound TCP "
            "connection 5 for outside:10.0.0.9/445 (10.0.0.9/445) to inside:10.0.0.5/40000 (10.0.0.5/40000)\n"
        )
        pieces.append((second, line.encode() * count))
    setup = setup_for(shipped.config, rules)
    told: list[Alert] = []
    with closing(Scratch(tmp_path / "replay.db")) as database:
        Replay(setup, setup.engine(), database, told=told.append).run(pieces)
        stored = {name: database.tables[name].count for name in ("smb_by_source", "failures_by_source", "ledger")}
        assert database.connection.execute("PRAGMA synchronous").fetchone() == (0,)

    (alert,) = told
    assert (alert.rule, alert.count, alert.key) == (
        "smb-anomaly", 2_000, {"SrcIpAddr": "10.0.0.5", "DstPortNumber": 445},
    )  # fmt: skip
    assert stored["smb_by_source"] > 0
    assert (stored["failures_by_source"], stored["ledger"]) == (0, 0)

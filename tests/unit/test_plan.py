"""Everything an administrator wrote is read as one, and whatever is wrong in it comes in one report."""

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collectord import data, plan
from collectord.config import Config
from collectord.detect import where
from collectord.detect.watchlist import ThresholdType
from collectord.engine import Engine, PlanError
from collectord.errors import ConfigError, Problem
from collectord.fields import FIELD_WORDS, RULE_FIELDS
from collectord.output_settings import SnmpOutput, SyslogOutput
from collectord.settings import Bounds, Device, TcpListener
from collectord.settings import UdpListener as UdpConfig
from collectord.toml import Document

PROFILE = """\
name = "acme"
title = "Acme firewall"
EventVendor = "Acme"
EventProduct = "Wall"
detect = [{ starts = "acme " }]
reader = "kv"

[fields]
SrcIpAddr = "from"
DstIpAddr = "to"

[[map]]
from = "verdict"
to.no = { DvcAction = "Deny" }

[[sample]]
name = "denied"
raw = "acme from=192.0.2.1 to=198.51.100.1 verdict=no"
want = [
    { EventType = "NetworkSession", EventResult = "Failure", EventSeverity = "Low", EventCount = 1, DvcAction = "Deny",\
 SrcIpAddr = "192.0.2.1", DstIpAddr = "198.51.100.1", NetworkDirection = "External",\
 AdditionalFields = { blocked = true, counted = true } },
]
"""

RULE = """\
name = "many-failures"
title = "Failures from {SrcIpAddr}"
type = "event_count"
counter = "many_failures"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddr"]
timespan = "5m"
step = "1m"
condition = { gt = 10 }
severity = "low"
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder; its folders are made."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(config: Config) -> list[Problem]:
    """What is reported."""
    with pytest.raises(ConfigError) as caught:
        plan.check(config)
    return caught.value.problems


def told(config: Config, tmp_path: Path) -> list[tuple[str, int | None, str]]:
    """(file below the test's folder, line, key) of what is reported."""
    return [(str(Path(p.file).relative_to(tmp_path)), p.line, p.key) for p in problems(config)]


class TestSetup:
    """What comes of files that are right."""

    def test_the_shipped_files(self) -> None:
        setup = plan.load(None)

        assert [document.values["name"] for document in setup.profiles] == [path.stem for path in data.profiles()]
        assert [rule.name for rule in setup.rules] == [path.stem for path in data.rules()]
        assert {"failures_by_source", "port_volume"} <= {definition.name for definition in setup.definitions}
        assert setup.plan.listeners == [("udp", "", ()), ("tcp", "", ())]

    def test_bounds_and_networks_reach_the_engine(self) -> None:
        bounds = Bounds(keys_per_counter=17, rows_per_tick=1234, event_count=5, peer_rate=700, peer_burst=80)
        listeners = (UdpConfig(type="udp", name="branch", site="north", allow=("192.0.2.0/25",)),)
        setup = plan.check(Config(bounds=bounds, listener=listeners, internal_networks=("192.0.2.0/24",)))
        raw = json.loads(setup.plan.as_json())

        assert raw["bounds"] == {
            "message_bytes": 65536,
            "unfinished_bytes": 64 * 1024 * 1024,
            "rows_per_batch": 1234,
            "event_count": 5,
            "peer_rate": 700,
            "peer_burst": 80,
        }
        assert raw["internal_networks"] == ["192.0.2.0/24"]
        assert raw["listeners"] == [{"name": "branch", "site": "north", "allow": ["192.0.2.0/25"]}]
        assert {counter["capacity"] for counter in raw["counters"]} == {17}
        assert {definition.capacity for definition in setup.definitions} == {17}
        assert not any("sample" in profile for profile in raw["profiles"])

    def test_samples_do_not_depend_on_the_site(self) -> None:
        """A site with other networks and tight bounds may still use the shipped profiles."""
        config = Config(internal_networks=("198.51.100.0/24",), bounds=Bounds(event_count=1, message="1KiB"))

        assert plan.check(config).plan.event_count == 1

    def test_samples_do_not_depend_on_what_a_site_knows_of_devices(self, write: Write, tmp_path: Path) -> None:
        """A sample's peer may be the address of one of the site's devices or relays."""
        peer = 'peer = "192.0.2.1"\nraw = '
        by_peer = PROFILE.replace("raw = ", peer).replace('SrcIpAddr = "192', 'Dvc = "192.0.2.1", SrcIpAddr = "192')
        write("profiles/acme.toml", by_peer)
        config = Config(
            profiles_dir=tmp_path / "profiles",
            relays=("192.0.2.0/24",),
            device=(Device(name="192.0.2.1", site="branch", profile="generic-cef"),),
        )
        raw = json.loads(plan.check(config).plan.as_json())

        assert raw["relays"] == ["192.0.2.0/24"]
        assert raw["devices"] == [{"name": "192.0.2.1", "site": "branch", "profile": "generic-cef"}]

    def test_overrides_replace_values(self, tmp_path: Path) -> None:
        assert plan.load(None, {"state_dir": tmp_path}).config.state_dir == tmp_path

    def test_a_profile_of_the_site_is_added(self, write: Write, tmp_path: Path) -> None:
        write("profiles/acme.toml", PROFILE)
        setup = plan.check(Config(profiles_dir=tmp_path / "profiles"))
        answer = json.loads(setup.engine().parse(b"<13>acme from=192.0.2.1 to=198.51.100.1 verdict=no"))

        assert (answer["Profile"], answer["Outcome"]) == ("acme", "session")

    def test_a_profile_of_the_site_replaces_the_shipped_one_whole(self, write: Write, tmp_path: Path) -> None:
        own = PROFILE.replace('"acme"', '"cisco-asa"').replace('"Acme"', '"Cisco"')
        write("profiles/cisco-asa.toml", own)
        setup = plan.check(Config(profiles_dir=tmp_path / "profiles"))
        engine = setup.engine()

        assert json.loads(engine.parse(b"acme from=192.0.2.1"))["Profile"] == "cisco-asa"
        assert json.loads(engine.parse(b"%ASA-4-106023: Deny"))["Profile"] != "cisco-asa"
        assert len(setup.profiles) == len(data.profiles())

    def test_a_rule_of_the_site_is_added(self, write: Write, tmp_path: Path) -> None:
        write("rules/many-failures.toml", RULE)
        setup = plan.check(Config(rules_dir=tmp_path / "rules"))

        assert "many-failures" in [rule.name for rule in setup.rules]
        assert "many_failures" in [definition.name for definition in setup.definitions]

    def test_a_counter_may_use_every_field_that_rules_may_use(self, write: Write, tmp_path: Path) -> None:
        """The loader of rules and the engine know the same fields."""
        for number, name in enumerate(RULE_FIELDS):
            text = RULE.replace("many-failures", f"rule-{number}").replace("many_failures", f"counter_{number}")
            write(f"rules/rule-{number}.toml", text.replace("SrcIpAddr", name))

        counters = {definition.name for definition in plan.check(Config(rules_dir=tmp_path / "rules")).definitions}
        assert counters >= {f"counter_{number}" for number in range(len(RULE_FIELDS))}

    def test_the_loader_and_the_engine_know_the_same_words(self) -> None:
        """Of the fields that hold a word of a closed list: the engine tells its own when a profile has another."""
        told: dict[str, str] = {}
        shipped = plan.load(None).plan
        for name in RULE_FIELDS:
            maps = [{"from": "a", "to": {"b": {name: "Sideways"}}}]
            profile = {"name": "x", "title": "x", "EventVendor": "x", "EventProduct": "x", "detect": [{"starts": "{"}],
                       "reader": "json", "fields": {}, "map": maps}  # fmt: skip
            try:
                Engine(replace(shipped, profiles=[profile], counters=()), ())
            except PlanError as error:
                told.update((name, reason) for _, reason in error.problems if " is one of " in reason)
        assert told == {name: f"{name} is one of {', '.join(words)}" for name, words in FIELD_WORDS.items()}

    def test_the_watchlist_gives_the_levels(self, write: Write) -> None:
        path = write("ports.csv", data.conf("port-watchlist.csv").read_text("utf-8"))
        setup = plan.check(Config(port_watchlist=path))
        (levels,) = [
            counter["rules"][0]["levels"] for counter in setup.plan.counters if counter["name"] == "port_volume"
        ]

        assert levels["field"] == "DstPortNumber"
        assert set(levels["values"]) == {str(port) for port in setup.watchlist.ports(ThresholdType.STATIC)}


class TestOwnTraffic:
    """What the collector itself sends and receives."""

    def test_listeners(self) -> None:
        """One that is bound to an address is reached there; one that is not, at every address of the machine."""
        listeners = (
            UdpConfig(type="udp", name="a", host="192.0.2.7", port=514),
            TcpListener(type="tcp", name="b", host="0.0.0.0", port=6514),
            TcpListener(type="tcp", name="c", host="::", port=0),
        )
        config = Config(listener=listeners, output=())

        assert plan.own_traffic(config, ["192.0.2.7", "2001:db8::7"]) == [
            {"DstIpAddr": ["192.0.2.7"], "DstPortNumber": 514, "NetworkProtocol": "UDP"},
            {"DstIpAddr": ["192.0.2.7", "2001:db8::7"], "DstPortNumber": 6514, "NetworkProtocol": "TCP"},
            {"SrcIpAddr": ["192.0.2.7", "2001:db8::7"], "DstPortNumber": [53, 123]},
            {"DstIpAddr": ["192.0.2.7", "2001:db8::7"], "DstPortNumber": 161},
        ]

    def test_outputs(self) -> None:
        """From every address of the machine; what has no address is known by its port."""
        outputs = (
            SyslogOutput(type="syslog", name="a", host="198.51.100.1", transport="tcp", port=601),
            SyslogOutput(type="syslog", name="b", host="noc.example"),
            SnmpOutput(type="snmp", name="c", host="2001:db8::1", community="x"),
        )
        config = Config(listener=(UdpConfig(type="udp", name="a", port=0),), output=outputs)
        common = {"SrcIpAddr": ["192.0.2.7"]}

        assert plan.own_traffic(config, ["192.0.2.7"]) == [
            common | {"DstIpAddr": "198.51.100.1", "DstPortNumber": 601, "NetworkProtocol": "TCP"},
            common | {"DstPortNumber": 514, "NetworkProtocol": "UDP"},
            common | {"DstIpAddr": "2001:db8::1", "DstPortNumber": 162, "NetworkProtocol": "UDP"},
            common | {"DstPortNumber": [53, 123]},
            {"DstIpAddr": ["192.0.2.7"], "DstPortNumber": 161},
        ]
        assert plan.own_traffic(config, []) == []

    def test_the_watch_on_ports_leaves_it_out(self) -> None:
        """And no other shipped rule."""
        config = Config(listener=(UdpConfig(type="udp", name="a", host="192.0.2.7", port=514),))
        own = {"DstIpAddr": ["192.0.2.7"], "DstPortNumber": 514, "NetworkProtocol": "UDP"}

        counters = plan.check(config).plan.counters
        assert [counter["name"] for counter in counters if own in counter.get("exempt", ())] == ["port_volume"]


class TestReport:
    """What comes of files that are wrong."""

    def test_everything_comes_at_once(self, write: Write, tmp_path: Path) -> None:
        """Syntax, shape, samples, rules and watchlist: each with its file and line."""
        write("profiles/no-toml.toml", "name = acme")
        write("profiles/unknown-key.toml", PROFILE.replace('"acme"', '"unknown-key"').replace("[fields]", "[feilds]"))
        failing = PROFILE.replace('"acme"', '"failing"').replace("acme ", "failing ")
        write("profiles/failing.toml", failing.replace("verdict=no", "verdict=yes"))
        write("profiles/bare.toml", PROFILE.replace('"acme"', '"bare"').partition("[[sample]]")[0])
        write("rules/many-failures.toml", RULE.replace("gt = 10", 'gt = "ten"'))
        write("ports.csv", data.conf("port-watchlist.csv").read_text("utf-8") + "not,a,row\n")
        config = Config(
            profiles_dir=tmp_path / "profiles", rules_dir=tmp_path / "rules", port_watchlist=tmp_path / "ports.csv"
        )
        found = told(config, tmp_path)

        assert {
            ("profiles/bare.toml", 1, "name"),
            ("profiles/failing.toml", 16, "sample[0]"),
            ("profiles/no-toml.toml", 1, ""),
            ("profiles/unknown-key.toml", 8, "feilds"),
            ("rules/many-failures.toml", 9, "condition.gt"),
        } <= set(found)
        assert [file for file, line, _ in found if file == "ports.csv" and line]
        assert {file for file, _, _ in found} == {
            "ports.csv",
            "profiles/bare.toml",
            "profiles/failing.toml",
            "profiles/no-toml.toml",
            "profiles/unknown-key.toml",
            "rules/many-failures.toml",
        }

    @pytest.mark.parametrize(
        ("old", "new", "line", "key", "reason"),
        [
            ('name = "acme"', 'name = "other"', 1, "name", "expected the file's name 'acme', got 'other'"),
            (
                'reader = "kv"',
                'reader = "yaml"',
                6,
                "reader",
                'unknown reader "yaml"; known: kv, csv, cef, leef, json, xml, template',
            ),
            ('SrcIpAddr = "from"', 'SrcIp = "from"', 9, "fields.SrcIp", "no ASIM field"),
            ('DvcAction = "Deny"', 'DvcAction = "Denied"', 14, "map[0].to.no.DvcAction", "one of Allow, Deny"),
            ('title = "Acme firewall"', "title = 2026-11-22", 2, "title", "expected a text"),
            ('title = "Acme firewall"', "title = nan", 2, "title", "expected a text"),
            ('raw = "acme', 'want_raw = "acme', 16, "sample[0]", "unknown key want_raw"),
            ('raw = "acme', 'raw = "', 16, "sample[0]", "'denied' is read by no profile"),
            ('raw = "acme', 'match = false\nraw = "acme', 16, "sample[0]", "'denied' must not match, but it does"),
            ("verdict=no", "verdict=yes", 16, "sample[0]", 'DvcAction is null, expected "Deny"'),
            ("to=198.51.100.1", "to=198.51.100.2", 16, "sample[0]", 'DstIpAddr is "198.51.100.2", expected'),
            ("from=192.0.2.1 to=198.51.100.1", "", 16, "sample[0]", "ends as event, expected session"),
            ("want = [", "want_outcome = 'event'\nwant = [", 16, "sample[0]", "ends as session, expected event"),
            ("want = [", "want = [{}, ", 16, "sample[0]", "gives 1 sessions, expected 2"),
            ("want = [", "want = 'x'\nwrong = [", 16, "sample[0]", "unknown key wrong"),
            ("raw = ", "peer = 5\nraw = ", 16, "sample[0]", "peer must be a text"),
            ("raw = ", "match = 'no'\nraw = ", 16, "sample[0]", "match true or false"),
        ],
    )
    def test_one_slip_in_a_profile(
        self, write: Write, tmp_path: Path, old: str, new: str, line: int, key: str, reason: str
    ) -> None:
        assert PROFILE.count(old) >= 1
        path = write("profiles/acme.toml", PROFILE.replace(old, new, 1))
        found = problems(Config(profiles_dir=path.parent))

        assert {(p.file, p.line, p.key) for p in found} == {(str(path), line, key)}
        assert any(reason in p.reason for p in found)

    @pytest.mark.parametrize(
        ("slip", "hint"), [("titel", 'did you mean "title"?'), ("xyzzy", "known keys: name, title, source, ")]
    )
    def test_an_unknown_key_of_a_profile(self, write: Write, slip: str, hint: str) -> None:
        """The nearest name, or all of them."""
        path = write("profiles/acme.toml", f"{slip} = 1\n{PROFILE}")
        (found,) = problems(Config(profiles_dir=path.parent))

        assert (found.line, found.key, found.reason) == (1, slip, "unknown key")
        assert found.hint.startswith(hint)

    def test_wants_that_are_no_tables(self, write: Write, tmp_path: Path) -> None:
        text = PROFILE.partition("want = [")[0]
        for want in ('"x"', "[1]", "{}", "1"):
            path = write("profiles/acme.toml", f"{text}want = {want}\n")
            assert [p.reason for p in problems(Config(profiles_dir=path.parent))] == ["want must be a list of tables"]

    def test_samples_that_are_no_tables(self, write: Write, tmp_path: Path) -> None:
        path = write("profiles/acme.toml", "sample = [5]\n" + PROFILE.partition("[[sample]]")[0])

        assert [p.reason for p in problems(Config(profiles_dir=path.parent))] == ["expected tables [[sample]]"]

    def test_a_profile_that_is_wrong_does_not_hide_failing_samples(self, write: Write, tmp_path: Path) -> None:
        write("profiles/a-wrong.toml", PROFILE.replace('"acme"', '"a-wrong"').replace("[fields]", "[feilds]"))
        write("profiles/acme.toml", PROFILE.replace("verdict=no", "verdict=yes"))
        write("profiles/z-wrong.toml", PROFILE.replace('"acme"', '"z-wrong"').replace('"kv"', '"yaml"'))
        found = told(Config(profiles_dir=tmp_path / "profiles"), tmp_path)

        assert set(found) == {
            ("profiles/a-wrong.toml", 8, "feilds"),
            ("profiles/acme.toml", 16, "sample[0]"),
            ("profiles/z-wrong.toml", 6, "reader"),
        }
        assert len(found) == len(set(found)) + found.count(("profiles/acme.toml", 16, "sample[0]")) - 1

    def test_two_profiles_that_take_the_same_messages(self, write: Write, tmp_path: Path) -> None:
        """The samples show it: one of the two loses its own."""
        write("profiles/acme.toml", PROFILE)
        write("profiles/other.toml", PROFILE.replace('"acme"', '"other"'))
        found = problems(Config(profiles_dir=tmp_path / "profiles"))

        assert [p.reason for p in found] == ["'denied' is read by acme"]

    def test_hidden_files_are_an_editors(self, write: Write, tmp_path: Path) -> None:
        for folder in ("profiles", "rules"):
            write(f"{folder}/._mine.toml", "not ours")
            (tmp_path / folder / ".#mine.toml").symlink_to("ada@edge1.4711")
        setup = plan.check(Config(rules_dir=tmp_path / "rules", profiles_dir=tmp_path / "profiles"))
        assert len(setup.rules) == len(data.rules())

    @pytest.mark.parametrize("folder", ["profiles", "rules"])
    def test_a_folder_that_can_not_be_read(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
    ) -> None:
        """It is told, as all that is wrong elsewhere is; nobody goes without the site's own files unnoticed."""
        names = Path.iterdir

        def iterdir(path: Path) -> Iterator[Path]:
            if path.name == folder:
                raise PermissionError(errno.EACCES, "Permission denied")
            return names(path)

        write("profiles/acme.toml", PROFILE)
        write("rules/many-failures.toml", RULE)
        write("ports.csv", "")
        config = Config(
            profiles_dir=tmp_path / "profiles", rules_dir=tmp_path / "rules", port_watchlist=tmp_path / "ports.csv"
        )
        monkeypatch.setattr(Path, "iterdir", iterdir)
        assert {(folder, "can't be read: permission denied"), ("ports.csv", "is empty")} == {
            (Path(p.file).name, p.reason) for p in problems(config)
        }

    def test_a_rule_that_only_the_engine_finds_wrong(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has the place in the rule's file all the same."""
        monkeypatch.setattr(where, "FIELD_WORDS", {})
        write("rules/many-failures.toml", RULE.replace('"Failure"', '"Failed"'))
        found = told(Config(rules_dir=tmp_path / "rules"), tmp_path)

        assert [("rules/many-failures.toml", "where.EventResult")] == [(file, key) for file, line, key in found if line]

    def test_a_device_of_a_profile_that_is_none(self, tmp_path: Path) -> None:
        """Told by the key that stands in the configuration."""
        devices = (Device(name="192.0.2.1"), Device(name="192.0.2.2", profile="acne"))
        found = problems(Config(device=devices))

        assert [(p.key, p.reason) for p in found] == [("device[1].profile", 'there is no profile "acne"')]

    def test_a_device_does_not_hide_failing_samples(self, write: Write, tmp_path: Path) -> None:
        write("profiles/acme.toml", PROFILE.replace("verdict=no", "verdict=yes"))
        write("profiles/wrong.toml", PROFILE.replace('"acme"', '"wrong"').replace("[fields]", "[feilds]"))
        devices = (Device(name="192.0.2.1", profile="wrong"),)
        found = problems(Config(profiles_dir=tmp_path / "profiles", device=devices))

        assert {Path(p.file).name for p in found} >= {"acme.toml", "wrong.toml"}

    def test_rules_that_are_wrong_do_not_hide_profiles(self, write: Write, tmp_path: Path) -> None:
        write("rules/many-failures.toml", RULE.replace("SrcIpAddr", "SourceIp"))
        write("profiles/acme.toml", PROFILE.replace("verdict=no", "verdict=yes"))
        found = told(Config(rules_dir=tmp_path / "rules", profiles_dir=tmp_path / "profiles"), tmp_path)

        assert {file for file, _, _ in found} == {"rules/many-failures.toml", "profiles/acme.toml"}

    def test_given_rules_stand_in_place_of_the_files(self, write: Write, tmp_path: Path) -> None:
        write("rules/many-failures.toml", "nonsense")
        only = [rule for rule in plan.load(None).rules if rule.name == "excessive-failures"]
        setup = plan.check(Config(rules_dir=tmp_path / "rules"), only)

        assert [definition.name for definition in setup.definitions] == ["failures_by_source"]

    def test_a_configuration_that_is_wrong(self, write: Write) -> None:
        path = write("collectord.toml", 'state_dir = "x"\nsurprise = 1\n')
        with pytest.raises(ConfigError) as caught:
            plan.load(path)
        assert [(p.line, p.key) for p in caught.value.problems] == [(2, "surprise")]


class TestCheckProfiles:
    """Profile files that may not be in use yet."""

    def test_right(self, write: Write) -> None:
        assert plan.check_profiles(plan.load(None), [write("acme.toml", PROFILE)]) == []

    def test_wrong(self, write: Write, tmp_path: Path) -> None:
        files = [write("acme.toml", PROFILE.replace("verdict=no", "verdict=yes")), tmp_path / "absent.toml"]
        found = plan.check_profiles(plan.load(None), files)

        assert {(Path(p.file).name, p.line) for p in found} == {("absent.toml", None), ("acme.toml", 16)}

    def test_in_the_daemon_s_order(self, write: Write) -> None:
        """Of two that fit equally well the daemon takes the first by name, whichever is the new one."""
        other = PROFILE.replace('"acme"', '"other"')
        setup = plan.check(Config(profiles_dir=write("used/acme.toml", PROFILE).parent))
        found = plan.check_profiles(setup, [write("new/other.toml", other)])

        assert [(Path(p.file).name, p.reason) for p in found] == [("other.toml", "'denied' is read by acme")]


@pytest.mark.parametrize(
    ("own", "every_sample", "looked_at"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_which_samples_are_looked_at(
    own: bool, every_sample: bool, looked_at: bool, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of all profiles beside a site's own, and for `collectord check`; else nobody waits for them."""
    seen: list[str] = []

    def failing(engine: Engine, document: Document) -> list[Problem]:
        seen.append(document.values["name"])
        return []

    monkeypatch.setattr(plan, "failing_samples", failing)
    folder = write("used/acme.toml", PROFILE).parent if own else None
    setup = plan.check(Config(profiles_dir=folder), every_sample=every_sample)
    assert seen == ([document.values["name"] for document in setup.profiles] if looked_at else [])

"""The handler for Icinga and Nagios, run as snmptrapd runs it: a notification on standard input."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from collectord.outputs import receivers
from collectord.outputs.mib_names import OBJECTS

ROOT = receivers.Facts().root


def notification(*, number: int = 1, numeric: bool = False, **values: str) -> str:
    """A notification in the form in which snmptrapd hands it to a handler, with the MIB or without."""
    shown = {
        "collectordAlarmId": "0123456789abcdef",
        "collectordAlarmState": "1" if numeric else "raised",
        "collectordAlarmPerceivedSeverity": "5" if numeric else "minor",
        "collectordAlarmRuleName": "excessive-failures",
        "collectordAlarmResource": "fw-1",
        "collectordAlarmCount": "5001",
        "collectordAlarmSummary": "5001 failed connections",
        "collectordCollectorHost": "collector-1",
    } | values
    lines = ["localhost", "UDP: [127.0.0.1]:40000->[127.0.0.1]:162"]
    if numeric:
        lines += [".1.3.6.1.2.1.1.3.0 0:0:00:01.00", f".1.3.6.1.6.3.1.1.4.1.0 .{ROOT}.0.{number}"]
    else:
        lines += ["COLLECTORD-MIB::sysUpTime.0 0:0:00:01.00"]
        lines += [f"COLLECTORD-MIB::snmpTrapOID.0 {values.get('trap', 'COLLECTORD-MIB::collectordAlarmRaise')}"]
    for at, name in enumerate(OBJECTS, start=1):
        value = shown.get(name, "")
        if numeric and not value.isdigit():
            value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        lines.append(f".{ROOT}.1.{at}.0 {value}" if numeric else f"COLLECTORD-MIB::{name}.0 {value}")
    return "\n".join([*lines, ""])


def cleared(**values: str) -> str:
    """The clear of ``notification()``."""
    state = {"collectordAlarmState": "cleared", "collectordAlarmPerceivedSeverity": "cleared"}
    return notification(**(state | values))


class Handler:
    """The handler with settings of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.script = folder / "collectord_icinga.py"
        self.script.write_text(receivers.files("icinga", receivers.Facts())["collectord_icinga.py"])
        self.settings = {
            "to": "nagios",
            "command_file": str(folder / "nagios.cmd"),
            "state_dir": str(folder / "state"),
            "rules": ["excessive-failures"],
        } | settings

    def run(self, text: str) -> subprocess.CompletedProcess[bytes]:
        """Hand it a notification."""
        path = self.folder / "settings.json"
        path.write_text(json.dumps(self.settings))
        return subprocess.run(
            [sys.executable, "-I", str(self.script), str(path)],
            input=text.encode(),
            capture_output=True,
            timeout=30,
            check=False,
        )


class Nagios(Handler):
    """Nagios's end of the command file is the test's."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        os.mkfifo(folder / "nagios.cmd")
        self.fifo = os.open(folder / "nagios.cmd", os.O_RDWR | os.O_NONBLOCK)

    def result(self, text: str) -> tuple[str, str, int, str]:
        """Host, service, code and output that the notification led to."""
        done = self.run(text)
        assert (done.returncode, done.stderr) == (0, b"")
        line = os.read(self.fifo, 65536).decode()
        assert line.endswith("\n")
        assert line.count("\n") == 1
        stamp, _, rest = line[:-1].partition(" PROCESS_SERVICE_CHECK_RESULT;")
        assert stamp[0] + stamp[-1] == "[]"
        assert stamp[1:-1].isdigit()
        host, service, code, output = rest.split(";", 3)
        return host, service, int(code), output


@pytest.fixture
def nagios(tmp_path: Path) -> Iterator[Nagios]:
    nagios = Nagios(tmp_path)
    yield nagios
    os.close(nagios.fifo)


@pytest.mark.parametrize("numeric", [False, True])
def test_a_raise_and_its_clear(nagios: Nagios, numeric: bool) -> None:
    raised = nagios.result(notification(numeric=numeric))
    assert raised == ("collector-1", "collectord excessive-failures", 1, "MINOR: 5001 failed connections")

    state = {"collectordAlarmState": "2", "collectordAlarmPerceivedSeverity": "1"} if numeric else {}
    ok = nagios.result(cleared(numeric=numeric, number=2, **state))
    assert ok == ("collector-1", "collectord excessive-failures", 0, "OK: cleared: 5001 failed connections")


@pytest.mark.parametrize(("numbers", "shown"), [(".1.3.6.", "iso.3.6."), (".1.3.6.1.4.1.", "SNMPv2-SMI::enterprises.")])
def test_without_the_module(nagios: Nagios, numbers: str, shown: str) -> None:
    """As snmptrapd shows OIDs when it knows no module, or only the SMI's: nothing may be passed over in silence."""
    text = notification(numeric=True).replace(numbers, shown)
    assert nagios.result(text)[1:3] == ("collectord excessive-failures", 1)


@pytest.mark.parametrize(
    ("severity", "code"), [("indeterminate", 1), ("warning", 1), ("minor", 1), ("major", 2), ("critical", 2)]
)
def test_codes_of_severities(nagios: Nagios, severity: str, code: int) -> None:
    assert nagios.result(notification(collectordAlarmPerceivedSeverity=severity))[2] == code


def test_a_service_is_as_bad_as_its_worst_alarm(nagios: Nagios) -> None:
    """One alarm's clear must not hide another that is still there."""
    nagios.result(notification(collectordAlarmId="aa", collectordAlarmPerceivedSeverity="major"))
    second = nagios.result(notification(collectordAlarmId="bb"))
    assert second[2:] == (2, "MAJOR: 5001 failed connections (and 1 more)")
    assert nagios.result(cleared(collectordAlarmId="aa"))[2:] == (1, "MINOR: 5001 failed connections")
    updated = notification(
        collectordAlarmId="bb", collectordAlarmState="updated", collectordAlarmPerceivedSeverity="critical"
    )
    assert nagios.result(updated)[2:] == (2, "CRITICAL: 5001 failed connections")
    assert nagios.result(cleared(collectordAlarmId="bb"))[2] == 0
    # Told twice, or after a restart of everything: still OK.
    assert nagios.result(cleared(collectordAlarmId="bb"))[2] == 0


def test_a_lost_clear_is_forgotten_in_the_end(nagios: Nagios) -> None:
    nagios.result(notification(collectordAlarmId="aa"))
    nagios.settings["forget_after_days"] = 0
    assert nagios.result(cleared(collectordAlarmId="bb"))[2] == 0


def test_a_damaged_file_is_begun_anew(nagios: Nagios) -> None:
    nagios.result(notification(collectordAlarmId="aa"))
    (stored,) = (nagios.folder / "state").iterdir()
    stored.write_text('{"active": [1')
    assert nagios.result(cleared(collectordAlarmId="bb"))[2] == 0


def test_heartbeats_and_rules_without_a_service(nagios: Nagios) -> None:
    alive = {"collectordAlarmId": "heartbeat", "collectordAlarmRuleName": "", "collectordAlarmCount": "3"}
    assert nagios.result(notification(number=30, trap="COLLECTORD-MIB::collectordHeartbeat", **alive)) == (
        "collector-1",
        "collectord heartbeat",
        0,
        "OK: 3 active alarms",
    )
    assert nagios.result(notification(collectordAlarmRuleName="my-rule"))[1] == "collectord other"


def test_the_host_can_be_another(nagios: Nagios) -> None:
    nagios.settings["hosts"] = {"collector-1": "collector-1.example.net"}
    assert nagios.result(notification())[0] == "collector-1.example.net"
    nagios.settings["host"] = "resource"
    assert nagios.result(notification())[0] == "fw-1"


ALIVE = {"collectordAlarmId": "heartbeat", "collectordAlarmRuleName": "heartbeat", "collectordAlarmCount": "1"}


def test_a_heartbeat_tells_all_services_again(nagios: Nagios) -> None:
    """What Nagios missed while it was down stands right after the next heartbeat."""
    nagios.run(notification(collectordAlarmId="aa", collectordAlarmPerceivedSeverity="major"))
    nagios.run(notification(collectordAlarmId="bb", collectordAlarmRuleName="other-rule"))
    nagios.run(cleared(collectordAlarmId="bb", collectordAlarmRuleName="other-rule"))
    nagios.run(notification(collectordAlarmId="cc", collectordCollectorHost="collector-2"))
    os.read(nagios.fifo, 65536)

    done = nagios.run(notification(trap="COLLECTORD-MIB::collectordHeartbeat", **ALIVE))
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line.split(";")[1:] for line in os.read(nagios.fifo, 65536).decode().splitlines()]
    assert lines[0] == ["collector-1", "collectord heartbeat", "0", "OK: 1 active alarms"]
    assert sorted(lines[1:]) == [
        ["collector-1", "collectord excessive-failures", "2", "MAJOR: 5001 failed connections"],
        ["collector-1", "collectord other", "0", "OK: cleared: 5001 failed connections"],
    ]

    # What has been OK for a day is no longer told; a damaged file stops nothing.
    for path in (nagios.folder / "state").iterdir():
        stored = json.loads(path.read_text())
        if not stored["active"]:
            path.write_text(json.dumps(stored | {"at": stored["at"] - 90_000}))
    (nagios.folder / "state" / "damaged.json").write_text("{")
    nagios.run(notification(trap="COLLECTORD-MIB::collectordHeartbeat", **ALIVE))
    assert os.read(nagios.fifo, 65536).count(b"\n") == 2
    assert len(list((nagios.folder / "state").iterdir())) == 3


HOSTILE = "a;b|c\\n<script>\"'`id`$(id)&& [1] PROCESS\u2028_HOST;x;2;y\x1b[31m\r"


@pytest.mark.parametrize("numeric", [False, True])
def test_hostile_texts_stay_one_line_of_text(nagios: Nagios, numeric: bool) -> None:
    host, service, code, output = nagios.result(
        notification(
            numeric=numeric,
            collectordAlarmSummary=HOSTILE + "x" * 60_000,
            collectordCollectorHost="../../etc;rm\\nb",
            collectordAlarmRuleName="excessive-failures;x",
        )
    )
    assert host == ".._.._etc_rm_nb"
    assert service == "collectord other"
    assert code == 1
    assert output.startswith("MINOR: a;b/c/n(script)")
    assert output.isprintable()
    assert not set(output) & set("\\|<>&$`")
    assert len(output) < 1100
    (stored,) = (nagios.folder / "state").iterdir()
    assert stored.name.removesuffix(".json").isalnum()


def test_an_object_counts_where_it_comes_first(nagios: Nagios) -> None:
    """A text with line ends could bring objects of its own, if a trap ever held one."""
    forged = "x\nCOLLECTORD-MIB::collectordAlarmState.0 cleared\nCOLLECTORD-MIB::collectordAlarmId.0 other"
    assert nagios.result(notification(collectordAlarmResource=forged))[2] == 1


def test_what_is_not_ours_is_left_alone(nagios: Nagios) -> None:
    other = "host\nUDP: [192.0.2.1]\n.1.3.6.1.6.3.1.1.4.1.0 .1.3.6.1.6.3.1.1.5.1\n.1.3.6.1.4.1.32473.1.1.1.0 x\n"
    for text in ("", "\n\n\n", other, other.replace(".1.3.6.1.6.3.1.1.5.1", "SNMPv2-MIB::coldStart"), "\x00" * 100):
        done = nagios.run(text)
        assert (done.returncode, done.stderr) == (0, b"")
    with pytest.raises(BlockingIOError):
        os.read(nagios.fifo, 100)


def test_a_command_file_that_nobody_reads(tmp_path: Path) -> None:
    """It neither waits nor makes a plain file; the reason goes to snmptrapd's log."""
    handler = Handler(tmp_path)
    done = handler.run(notification())
    assert done.returncode == 1
    assert b"can't open" in done.stderr
    os.mkfifo(tmp_path / "nagios.cmd")
    assert handler.run(notification()).returncode == 1
    (tmp_path / "nagios.cmd").unlink()
    (tmp_path / "nagios.cmd").write_text("")
    assert b"is no FIFO" in handler.run(notification()).stderr
    assert (tmp_path / "nagios.cmd").read_text() == ""
    (tmp_path / "settings.json").unlink()
    handler.settings = {}
    assert handler.run(notification()).returncode == 1


class Icinga(HTTPServer):
    """Icinga 2's API, as far as the handler knows it."""

    requests: list[tuple[str, dict[str, str], dict[str, Any]]]
    answer: tuple[int, dict[str, Any]]


class _Requests(BaseHTTPRequestHandler):
    server: Icinga

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        code, answer = self.server.answer
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def icinga() -> Iterator[Icinga]:
    server = Icinga(("127.0.0.1", 0), _Requests)
    server.requests = []
    server.answer = (200, {"results": [{"code": 200.0}]})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_icinga_gets_names_as_variables(tmp_path: Path, icinga: Icinga) -> None:
    (tmp_path / "password").write_text("secret\n")
    handler = Handler(
        tmp_path,
        to="icinga",
        url=f"http://127.0.0.1:{icinga.server_address[1]}/",
        user="collectord",
        password_file=str(tmp_path / "password"),
    )
    hostile = '" || true || "'
    done = handler.run(notification(collectordCollectorHost=f"collector{hostile}"))
    assert (done.returncode, done.stderr) == (0, b"")
    ((path, headers, body),) = icinga.requests
    assert path == "/v1/actions/process-check-result"
    assert headers["Accept"] == "application/json"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"collectord:secret"
    assert body == {
        "type": "Service",
        "filter": "host.name == wanted_host && service.name == wanted_service",
        "filter_vars": {
            "wanted_host": "collector_____true_____",
            "wanted_service": "collectord excessive-failures",
        },
        "exit_status": 1,
        "plugin_output": "MINOR: 5001 failed connections",
        "check_source": "collectord",
    }

    icinga.answer = (200, {"results": []})
    assert b"icinga has no service collector-1!collectord" in handler.run(notification()).stderr
    icinga.answer = (404, {"error": 404})
    assert b"HTTP 404" in handler.run(notification()).stderr
    handler.settings["url"] = "file:///etc"
    assert b"neither https nor http" in handler.run(notification()).stderr
    for request in icinga.requests:
        assert "secret" not in json.dumps(request[2])

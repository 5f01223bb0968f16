#!/usr/bin/python3 -I
"""
Hands collectord's notifications to Icinga 2 or Nagios as passive check results. snmptrapd calls it:

    traphandle .@{root}.0.* /usr/local/lib/collectord/collectord_icinga.py

Settings: /etc/collectord_icinga.json, or the file that the first argument names. Python 3.9 or newer, nothing else.

There is a service for each host and rule, and a rule can have many alarms at a time: which ones are active is kept in a
file per service below `state_dir`, and a service is as bad as the worst of them. It is OK when the last one is cleared.
With each heartbeat all services are told again, so that a result that was lost does not stand wrong for ever.

A notification's texts hold what devices on the network said. They never reach a shell; in a result they are one line
without the characters that mean something to Nagios or to a page that shows them.

Exit: 0 handed over, or nothing of ours; 1 not handed over, with one line on stderr that says why.
"""

import base64
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import ssl
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

Objects = dict[str, str]
Settings = dict[str, Any]
Active = dict[str, dict[str, Any]]
Result = tuple[str, str, int, str]
"""Host, service, code, text."""

SETTINGS = "/etc/collectord_icinga.json"
ROOT = "@{root}"
MODULE = "COLLECTORD-MIB::"
HEARTBEAT_ID = "heartbeat"

# What is used of a notification: number and name of the object.
OBJECTS = {
    "1": "collectordAlarmId",
    "2": "collectordAlarmState",
    "3": "collectordAlarmPerceivedSeverity",
    "4": "collectordAlarmRuleName",
    "5": "collectordAlarmResource",
    "8": "collectordAlarmCount",
    "14": "collectordAlarmSummary",
    "16": "collectordCollectorHost",
}
NAMES = frozenset(OBJECTS.values())
SEVERITIES = {"1": "cleared", "2": "indeterminate", "3": "critical", "4": "major", "5": "minor", "6": "warning"}

# What an OID begins with where snmptrapd knows SNMPv2-SMI but not our module, and where it knows no module at all.
BEGINNINGS = (("SNMPv2-SMI::enterprises.", ".1.3.6.1.4.1."), ("iso.", ".1."))

OK, WARNING, CRITICAL = 0, 1, 2
CODES = {"warning": WARNING, "minor": WARNING, "major": CRITICAL, "critical": CRITICAL, "indeterminate": WARNING}
BY_RANK = ("indeterminate", "warning", "minor", "major", "critical")

INPUT_LIMIT = 65536
TEXT_LIMIT = 1000
# A FIFO takes a line of up to PIPE_BUF bytes (4096 on Linux) whole, or not at all.
LINE_LIMIT = 4000


class Refused(Exception):
    """The notification can't be handed over."""


def main(arguments: Sequence[str]) -> int:
    settings_file = arguments[1] if len(arguments) > 1 else SETTINGS
    text = sys.stdin.buffer.read(INPUT_LIMIT).decode("utf-8", "replace")
    try:
        notification = understood(text)
        if not notification:
            return 0
        with open(settings_file, encoding="utf-8") as stream:
            settings = json.load(stream)
        send = to_nagios if settings["to"] == "nagios" else to_icinga
        for host, service, code, output in results(notification, settings):
            send(settings, host, service, code, output)
    except (Refused, OSError, ValueError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, ValueError)) else str(error)
        sys.stderr.write(f"collectord_icinga: {printable(reason)}\n")
        return 1
    return 0


def understood(text: str) -> Objects:
    """
    The objects by name; none if the notification is none of COLLECTORD-MIB.

    The first line is the sender's name, the second its address, then a line "OID value" each. OIDs come as numbers or
    as names. An object counts where it comes first: identity, state and severity come before all texts.
    """
    found: Objects = {}
    ours = False
    for line in text.split("\n")[2:]:
        oid, _, value = line.strip("\r").partition(" ")
        oid = numbered(oid)
        if not ours:
            if oid == ".1.3.6.1.6.3.1.1.4.1.0" or oid.rpartition("::")[2] == "snmpTrapOID.0":
                ours = numbered(value).startswith((f".{ROOT}.0.", f"{MODULE}collectord"))
                if not ours:
                    return {}
            continue
        name = oid[: -len(".0")] if oid.endswith(".0") else ""
        if name.startswith(MODULE):
            name = name[len(MODULE) :]
        elif name.startswith(f".{ROOT}.1."):
            name = OBJECTS.get(name[len(ROOT) + 4 :], "")
        if name in NAMES and name not in found:
            found[name] = plain(value)
    return found if found.get("collectordAlarmId") else {}


def numbered(oid: str) -> str:
    """An OID in numbers alone, where net-snmp has a name for its beginning and none for the rest."""
    for name, numbers in BEGINNINGS:
        if oid.startswith(name):
            return numbers + oid[len(name) :]
    return oid


def plain(value: str) -> str:
    """A value without the quotes and escapes that snmptrapd puts around a text it has no display hint for."""
    value = value.strip()
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def results(notification: Objects, settings: Settings) -> list[Result]:
    """What to hand over; remembers which alarms of the service are active."""
    by = "collectordAlarmResource" if settings.get("host") == "resource" else "collectordCollectorHost"
    host = settings.get("hosts", {}).get(notification.get(by, ""), notification.get(by, ""))
    host = name_of(host)
    if not host:
        raise Refused(f"the notification has no {by}")
    if notification["collectordAlarmId"] == HEARTBEAT_ID:
        count = number_of(notification.get("collectordAlarmCount", ""))
        return [(host, "collectord heartbeat", OK, f"OK: {count} active alarms"), *again(settings, host)]
    rule = notification.get("collectordAlarmRuleName", "")
    service = f"collectord {rule}" if rule in settings.get("rules", ()) else "collectord other"
    code, output = remembered(notification, settings, host, service)
    return [(host, service, code, output)]


def again(settings: Settings, host: str) -> list[Result]:
    """The services of the host as they are remembered; one that has been OK for a day is forgotten."""
    folder = settings["state_dir"]
    found: list[Result] = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        with open(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW), "r+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                stored = json.load(stream)
                active = still_active(stored, settings)
                if not active and epoch() - float(stored["at"]) > 86400:
                    os.unlink(path)
                elif stored["host"] == host:
                    found.append((host, str(stored["service"]), *judged(active, str(stored["last"]))))
    return found


def still_active(stored: dict[str, Any], settings: Settings) -> Active:
    """The alarms of a file that have been heard of within the time after which one is forgotten."""
    forget_s = float(settings.get("forget_after_days", 7)) * 86400
    now = epoch()
    return {str(key): entry for key, entry in stored["active"].items() if now - float(entry["at"]) < forget_s}


def remembered(notification: Objects, settings: Settings, host: str, service: str) -> tuple[int, str]:
    """Code and text of the service, after this notification was taken into the service's file of active alarms."""
    folder = settings["state_dir"]
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # The name of a file must not hold what a name from the network may.
    name = hashlib.sha256(f"{host}\n{service}".encode()).hexdigest()[:32] + ".json"
    now = epoch()
    descriptor = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "r+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        active: Active = {}
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            # A file that a power cut left half written is begun anew.
            active = still_active(json.load(stream), settings)
        alarm = notification["collectordAlarmId"][:64]
        summary = printable(notification.get("collectordAlarmSummary", ""))
        if notification.get("collectordAlarmState") in ("cleared", "2"):
            active.pop(alarm, None)
        else:
            word = notification.get("collectordAlarmPerceivedSeverity", "")
            word = SEVERITIES.get(word, word)
            active[alarm] = {"severity": word if word in BY_RANK else "minor", "summary": summary, "at": now}
        stream.seek(0)
        stream.truncate()
        json.dump({"host": host, "service": service, "at": now, "last": summary, "active": active}, stream)
        stream.write("\n")
    return judged(active, summary)


def judged(active: Active, last: str) -> tuple[int, str]:
    """The worst of the active alarms, its text, and how many there are besides."""
    if not active:
        return OK, f"OK: cleared: {last}"
    worst = max(active.values(), key=lambda entry: (BY_RANK.index(entry["severity"]), entry["at"]))
    more = f" (and {len(active) - 1} more)" if len(active) > 1 else ""
    return CODES[worst["severity"]], f"{worst['severity'].upper()}: {worst['summary']}{more}"


def printable(text: str) -> str:
    """One line that means nothing to Nagios (backslash, | before performance data) nor to a web page (< > &)."""
    text = "".join(c if c.isprintable() else " " for c in text)
    for mark, other in (("\\", "/"), ("|", "/"), ("<", "("), (">", ")"), ("&", "+"), ("$", "S"), ("`", "'")):
        text = text.replace(mark, other)
    return text[:TEXT_LIMIT]


def name_of(text: str) -> str:
    """A host's name with nothing in it that a result's line, a filter or a path could trip over."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-:") else "_" for c in text)[:128]


def number_of(text: str) -> str:
    """The digits of a count."""
    return text if text.isascii() and text.isdigit() else "unknown"


def epoch() -> float:
    """Seconds since 1970."""
    return datetime.datetime.now(datetime.timezone.utc).timestamp()  # noqa: UP017


def to_nagios(settings: Settings, host: str, service: str, code: int, output: str) -> None:
    """One line into Nagios's command file, whole or not at all."""
    service = name_of(service.replace(" ", ":")).replace(":", " ")
    head = f"[{int(epoch())}] PROCESS_SERVICE_CHECK_RESULT;{host};{service};{code};".encode()
    line = head + output.encode()[: LINE_LIMIT - len(head)].decode(errors="ignore").encode() + b"\n"
    # Without O_NONBLOCK this would wait for Nagios to run; without O_CREAT no plain file is made where it does not.
    try:
        descriptor = os.open(settings["command_file"], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"can't open {settings['command_file']}: {error.strerror}") from error
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise Refused(f"{settings['command_file']} is no FIFO")
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def to_icinga(settings: Settings, host: str, service: str, code: int, output: str) -> None:
    """A check result by Icinga 2's API; names go as variables of the filter and are never part of it."""
    body = {
        "type": "Service",
        "filter": "host.name == wanted_host && service.name == wanted_service",
        "filter_vars": {"wanted_host": host, "wanted_service": service},
        "exit_status": code,
        "plugin_output": output,
        "check_source": "collectord",
    }
    with open(settings["password_file"], encoding="utf-8") as stream:
        password = stream.read().strip()
    login = base64.b64encode(f"{settings['user']}:{password}".encode()).decode("ascii")
    if not settings["url"].startswith(("https://", "http://")):
        raise Refused("url is neither https nor http")
    request = urllib.request.Request(  # noqa: S310
        settings["url"].rstrip("/") + "/v1/actions/process-check-result",
        data=json.dumps(body).encode(),
        headers={"Accept": "application/json", "Content-Type": "application/json", "Authorization": f"Basic {login}"},
        method="POST",
    )
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if settings["url"].startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=settings.get("ca_file"))))
    try:
        with urllib.request.build_opener(*handlers).open(
            request, timeout=float(settings.get("timeout_s", 10))
        ) as answer:
            results = json.load(answer).get("results", [])
    except urllib.error.HTTPError as error:
        raise Refused(f"icinga refused the result of {host}!{service}: HTTP {error.code}") from error
    except urllib.error.URLError as error:
        raise Refused(f"can't reach icinga: {error.reason}") from error
    if not results:
        raise Refused(f"icinga has no service {host}!{service}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))

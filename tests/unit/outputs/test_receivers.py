"""Files for receivers: true to the MIB, well-formed, and in the repository as the code makes them."""

import ast
import json
import re
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectord import plan
from collectord.model import Mode
from collectord.outputs import receivers
from collectord.outputs.mib_names import ACTIVE_SEVERITIES, NOTIFICATIONS, OBJECTS, Kind, position
from collectord.outputs.receivers import Facts, Target, opennms, zabbix

ROOTS = ("1.3.6.1.4.1.32473.1", "1.3.6.1.4.1.99999.7.1")
ENGINE_ID = bytes.fromhex("80007ed9050102030405060708090a0b0c")


@pytest.fixture(scope="module")
def shipped() -> Facts:
    """What the files of the repository are made of."""
    rules = plan.load(None).rules
    return Facts(rules=tuple(rule.name for rule in rules if rule.mode is Mode.NOTIFY))


@pytest.mark.parametrize("tool", receivers.TOOLS)
def test_the_repository_holds_what_the_code_makes(repository: Path, shipped: Facts, tool: str) -> None:
    """`make integrations` writes them anew."""
    folder = repository / "packaging" / "integrations" / tool
    files = receivers.files(tool, shipped)

    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert list(files)[-1] == "README.md"


@pytest.mark.parametrize("tool", receivers.TOOLS)
@pytest.mark.parametrize("root", ROOTS)
def test_every_name_and_number_is_the_mibs(tool: str, root: str) -> None:
    """No file names an object or notification that the MIB lacks, nor a number below another root."""
    names = {*OBJECTS, *(each.name for each in NOTIFICATIONS)}
    for content in receivers.files(tool, Facts(root=root, rules=("some-rule",))).values():
        for name in re.findall(r"\bcollectord(?:Alarm|Device|Collector|Output|Heartbeat|Notif|Site)\w*", content):
            assert name in names or any(known.startswith(name) for known in names)
        numeric = content.replace("[.]", ".")
        for oid in re.findall(r"1\.3\.6\.1\.4\.1\.[0-9.]*[0-9]", numeric):
            assert (oid + ".").startswith(root + ".")
            rest = oid[len(root) + 1 :]
            assert re.fullmatch(r"|0|0\.\d+|1|1\.\d+", rest)
        assert "32473" not in content or root == ROOTS[0]


@pytest.mark.parametrize("tool", receivers.TOOLS)
def test_every_receiver_is_told_about_report_as(tool: str) -> None:
    """Each says what it does with notifications in the name of a device."""
    files = receivers.files(tool, Facts())
    assert 'report_as = "device"' in files["README.md"]
    assert "device" in next(iter(files.values()))


# --- snmptrapd ------------------------------------------------------------------------------------------------------


def _directives(facts: Facts) -> list[str]:
    lines = receivers.files("snmptrapd", facts)["snmptrapd.conf"].splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_a_v3_trap_needs_our_engine_id_and_an_inform_none() -> None:
    target = Target("noc", version="3", user="collector", auth_password="auth secret", priv_password='pri"v\\')
    assert _directives(Facts(targets=(target,), engine_id=ENGINE_ID)) == [
        f'createUser -e 0x{ENGINE_ID.hex()} collector SHA-256 "auth secret" AES "pri\\"v\\\\"',
        "authUser log,execute,net collector priv",
    ]
    inform = Target("noc", version="3", inform=True, user="collector", auth="SHA-512", priv="AES-256")
    assert _directives(Facts(targets=(inform,))) == [
        "createUser collector SHA-512 AUTH-PASSWORD AES-256 PRIV-PASSWORD",
        "authUser log,execute,net collector priv",
    ]
    plain = Target("noc", version="3", inform=True, user="collector", priv="", auth_password="secret")
    assert _directives(Facts(targets=(plain,))) == [
        "createUser collector SHA-256 secret",
        "authUser log,execute,net collector auth",
    ]


def test_a_community_is_written_only_if_it_is_given() -> None:
    targets = (Target("a"), Target("b", community="not public", report_as="device"))
    assert _directives(Facts(targets=targets)) == [
        "authCommunity log,execute,net COMMUNITY",
        'authCommunity log,execute,net "not public"',
    ]


# --- snmptt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ROOTS)
def test_snmptt_has_an_event_for_each_notification_and_severity(root: str) -> None:
    text = receivers.files("snmptt", Facts(root=root))["snmptt.conf.collectord"]
    events = re.findall(r'^EVENT (\w+) (\S+) "collectord" (\w+)\nFORMAT (.*)\n(?:MATCH (.*)\n)?SDESC', text, re.M)
    expected = []
    for each in NOTIFICATIONS:
        active = each.kind in {Kind.RAISE, Kind.UPDATE}
        severities = [word.capitalize() for word in ACTIVE_SEVERITIES.values()] if active else ["Normal"]
        expected += [(each.name, each.oid(root), severity) for severity in severities]
    assert [event[:3] for event in events] == expected
    assert text.count("EVENT ") - text.count("per EVENT ") - text.count("wildcard EVENT") >= len(expected)
    for name, _, severity, shown, match in events:
        assert f"${position('collectordAlarmSummary')} " in shown
        assert f"id=${position('collectordAlarmId')} " in shown
        assert bool(match) == (severity != "Normal"), name
    # SNMPTT gives an EXEC line to a shell.
    assert not re.search(r"^(EXEC|PREEXEC)", text, re.M)


# --- OpenNMS --------------------------------------------------------------------------------------------------------

NS = {"e": opennms.NAMESPACE}

# As OpenNMS itself writes them; its schema (eventconf.xsd) wants an order only inside mask and alarm-data. Required:
# uei, event-label, descr, logmsg, severity.
ORDER = ["mask", "uei", "event-label", "descr", "logmsg", "severity", "varbindsdecode", "alarm-data"]


def _events(root: str) -> list[ET.Element]:
    text = receivers.files("opennms", Facts(root=root))["collectord.events.xml"]
    document = ET.fromstring(text)  # noqa: S314
    assert document.tag == f"{{{opennms.NAMESPACE}}}events"
    return document.findall("e:event", NS)


def _text(event: ET.Element, path: str) -> str:
    found = event.findtext(path, namespaces=NS)
    assert found is not None
    return found


@pytest.mark.parametrize("root", ROOTS)
def test_opennms_takes_each_notification_and_severity_once(root: str) -> None:
    events = _events(root)
    masks = []
    for event in events:
        tags = [child.tag.partition("}")[2] for child in event]
        assert sorted(tags, key=ORDER.index) == tags
        assert {"mask", "uei", "event-label", "descr", "logmsg", "severity"} <= set(tags)
        mask = {_text(e, "e:mename"): _text(e, "e:mevalue") for e in event.iterfind("e:mask/e:maskelement", NS)}
        assert mask["id"] == f".{root}"
        assert mask["generic"] == "6"
        varbind = event.find("e:mask/e:varbind", NS)
        if varbind is not None:
            assert _text(varbind, "e:vbnumber") == str(position("collectordAlarmPerceivedSeverity"))
        severity = None if varbind is None else int(_text(varbind, "e:vbvalue"))
        masks.append((int(mask["specific"]), severity))
        assert _text(event, "e:severity") == (ACTIVE_SEVERITIES[severity].capitalize() if severity else "Normal")
        assert f"%parm[#{position('collectordAlarmSummary')}]%" in _text(event, "e:logmsg")
    expected = []
    for each in NOTIFICATIONS:
        active = each.kind in {Kind.RAISE, Kind.UPDATE}
        expected += [(each.number, severity) for severity in (ACTIVE_SEVERITIES if active else [None])]
    assert masks == expected
    assert len({_text(event, "e:uei") for event in events}) == len(events)


def test_opennms_reduces_raise_update_and_clear_to_one_alarm() -> None:
    kinds = {each.number: each.kind for each in NOTIFICATIONS}
    problem_keys, clear_keys, own_keys = set(), set(), []
    for event in _events(ROOTS[0]):
        number = int(event.findall("e:mask/e:maskelement/e:mevalue", NS)[2].text or "")
        data = event.find("e:alarm-data", NS)
        if kinds[number] is Kind.HEARTBEAT:
            assert data is None
            continue
        assert data is not None
        if kinds[number] is Kind.CLEAR:
            assert data.get("alarm-type") == "2"
            clear_keys.add(data.get("clear-key"))
            own_keys.append(data.get("reduction-key"))
        else:
            assert data.get("alarm-type") == "1"
            assert data.get("clear-key") is None
            problem_keys.add(data.get("reduction-key"))
            assert {field.get("field-name") for field in data} >= {"severity", "logmsg"}
    assert len(problem_keys) == 1
    assert clear_keys == problem_keys
    (key,) = problem_keys
    # %uei% differs between the notifications of one alarm; the alarm's id is what they share.
    assert key is not None
    assert "%uei%" not in key
    assert key.endswith(":%parm[#1]%")
    assert not set(own_keys) & problem_keys


# --- Zabbix ---------------------------------------------------------------------------------------------------------

# What Zabbix 7.0 takes in these places (its import validator).
ITEM_KEYS = {
    "uuid", "name", "type", "key", "delay", "history", "trends", "value_type", "preprocessing", "tags", "triggers",
}  # fmt: skip
TRIGGER_KEYS = {
    "uuid", "expression", "recovery_mode", "recovery_expression", "correlation_mode", "correlation_tag", "name",
    "event_name", "priority", "status", "description", "type", "manual_close", "tags",
}  # fmt: skip


def _zabbix(root: str = ROOTS[0], **facts: Any) -> dict[str, Any]:
    export = yaml.safe_load(receivers.files("zabbix", Facts(root=root, **facts))["zabbix_collectord.yaml"])
    assert export["zabbix_export"]["version"] == "7.0"
    (template,) = export["zabbix_export"]["templates"]
    assert [group["name"] for group in export["zabbix_export"]["template_groups"]] == [template["groups"][0]["name"]]
    return dict(template)


def _uuids(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["uuid"]] if "uuid" in value else []
        return own + [found for each in value.values() for found in _uuids(each)]
    return [found for each in value for found in _uuids(each)] if isinstance(value, list) else []


def test_zabbix_has_what_its_import_wants() -> None:
    template = _zabbix()
    uuids = _uuids(template)
    assert len(set(uuids)) == len(uuids) == 1 + 2 + len(ACTIVE_SEVERITIES) + 1
    for each in uuids:
        assert (uuid.UUID(each).version, uuid.UUID(each).hex) == (4, each)
    assert _uuids(_zabbix(ROOTS[1])) == uuids
    for item in template["items"]:
        assert set(item) <= ITEM_KEYS
        assert (item["type"], item["value_type"]) == ("SNMP_TRAP", "TEXT")
        for trigger in item["triggers"]:
            assert set(trigger) <= TRIGGER_KEYS
            # find(/template/key,...) names this very item.
            assert f"(/{template['template']}/{item['key']}," in trigger["expression"]


def test_zabbix_opens_and_closes_a_problem_for_each_alarm_id() -> None:
    alarms, heartbeat = _zabbix()["items"]
    assert [trigger["priority"] for trigger in alarms["triggers"]] == [
        zabbix.PRIORITIES[word] for word in ACTIVE_SEVERITIES.values()
    ]
    for trigger in alarms["triggers"]:
        assert trigger["type"] == "MULTIPLE"
        assert (trigger["correlation_mode"], trigger["correlation_tag"]) == ("TAG_VALUE", "alarmid")
        assert trigger["correlation_tag"] in [tag["tag"] for tag in trigger["tags"]]
        for key in ("expression", "recovery_expression"):
            (pattern,) = re.findall(r'"regexp","(.*)"\)=1', trigger[key])
            assert len(pattern) <= 255
            assert not set(pattern) & set('\\"')
    (silence,) = heartbeat["triggers"]
    assert silence["status"] == "ENABLED"
    assert silence["expression"].startswith("nodata(")
    assert _zabbix()["macros"][0]["value"] == "960s"
    assert _zabbix(heartbeat_s=0)["items"][1]["triggers"][0]["status"] == "DISABLED"


def trap(*, form: str, number: int = 1, name: str = "collectordAlarmRaise", **values: str) -> str:
    """A trap as Zabbix's handlers write it: of the shell or Perl, with the MIB, numbers, or no module at all."""
    handler, known = form.split()
    shown = {
        "collectordAlarmId": "0123456789abcdef",
        "collectordAlarmState": "raised" if known == "names" else "1",
        "collectordAlarmPerceivedSeverity": "minor" if known == "names" else "5",
        "collectordAlarmRuleName": "excessive-failures",
        "collectordAlarmCount": "5001",
        "collectordAlarmSummary": "5001 failed connections of 192.0.2.10",
    } | values
    rows = [("SNMPv2-MIB::sysUpTime.0" if known == "names" else ".1.3.6.1.2.1.1.3.0", "6", "0:0:00:01.00")]
    if known == "names":
        rows.append(("SNMPv2-MIB::snmpTrapOID.0", "6", f"COLLECTORD-MIB::{name}"))
    else:
        rows.append((".1.3.6.1.6.3.1.1.4.1.0", "6", f".{ROOTS[0]}.0.{number}"))
    for at, each in enumerate(OBJECTS, start=1):
        oid = f"COLLECTORD-MIB::{each}.0" if known == "names" else f".{ROOTS[0]}.1.{at}.0"
        integer = each in {"collectordAlarmState", "collectordAlarmPerceivedSeverity"}
        value = shown.get(each, "")
        if not integer and known != "names" and each != "collectordAlarmCount":
            value = f'"{value}"'
        if handler == "perl":
            words = {"collectordAlarmCount": "Gauge32"}.get(each, "INTEGER" if integer else "STRING")
            if integer and known == "names":
                value = f"{value}(5)"
            value = f"{words}: {value}"
        rows.append((oid, "2" if integer else "4", value))
    if known == "iso":
        rows = [
            (oid.replace(".1.3.", "iso.3.", 1), kind, value.replace(".1.3.", "iso.3.", 1)) for oid, kind, value in rows
        ]
    if handler == "perl":
        head = "PDU INFO:\n  notificationtype               TRAP\n  community                      public\nVARBINDS:\n"
        return head + "".join(f"  {oid:<30} type={type_:<2} value={value}\n" for oid, type_, value in rows)
    return "".join(f"{oid} = {value}\n" for oid, _, value in rows)


FORMS = ("shell names", "shell numbers", "shell iso", "perl names", "perl numbers")


def _cut_down(item: dict[str, Any], text: str) -> str | None:
    """What the item's key and preprocessing make of a trap; None if it is not taken."""
    key_pattern = re.fullmatch(r'snmptrap\["(.*)"\]', item["key"])
    assert key_pattern is not None
    if re.search(key_pattern.group(1), text, re.MULTILINE) is None:
        return None
    pattern, output = item["preprocessing"][0]["parameters"]
    found = re.search(pattern, text)
    return None if found is None else found.expand(output)


def _opened(text: str) -> list[str]:
    """Priorities of the triggers that a value of the alarms' item makes true."""
    return [
        trigger["priority"]
        for trigger in _zabbix()["items"][0]["triggers"]
        if re.search(re.findall(r'"regexp","(.*)"\)=1', trigger["expression"])[0], text)
    ]


def _closes(text: str) -> bool:
    (trigger, *_) = _zabbix()["items"][0]["triggers"]
    return re.search(re.findall(r'"regexp","(.*)"\)=1', trigger["recovery_expression"])[0], text) is not None


def _tag(tag: str, text: str) -> str:
    (value,) = [each["value"] for each in _zabbix()["items"][0]["triggers"][0]["tags"] if each["tag"] == tag]
    macro = re.fullmatch(r'\{\{ITEM\.VALUE\}\.regsub\("(.*)","\\1"\)\}', value)
    assert macro is not None
    found = re.search(macro.group(1), text)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("form", FORMS)
def test_zabbix_reads_what_each_handler_writes(form: str) -> None:
    alarms, heartbeat = _zabbix()["items"]
    names = form.endswith("names")

    raised = _cut_down(alarms, trap(form=form))
    assert raised is not None
    assert _opened(raised) == ["AVERAGE"]
    assert not _closes(raised)
    assert (_tag("alarmid", raised), _tag("rule", raised)) == ("0123456789abcdef", "excessive-failures")
    assert raised.rstrip('"').endswith(";5001 failed connections of 192.0.2.10")

    state, severity = ("cleared", "cleared") if names else ("2", "1")
    cleared = _cut_down(
        alarms,
        trap(
            form=form,
            number=11,
            name="collectordDeviceResumed",
            collectordAlarmState=state,
            collectordAlarmPerceivedSeverity=severity,
        ),
    )
    assert cleared is not None
    assert _opened(cleared) == []
    assert _closes(cleared)
    assert _tag("alarmid", cleared) == "0123456789abcdef"

    state, severity = ("updated", "critical") if names else ("3", "3")
    updated = _cut_down(
        alarms,
        trap(
            form=form,
            number=3,
            name="collectordAlarmUpdate",
            collectordAlarmState=state,
            collectordAlarmPerceivedSeverity=severity,
        ),
    )
    assert updated is not None
    assert _opened(updated) == ["DISASTER"]

    assert _cut_down(heartbeat, trap(form=form)) is None
    alive = trap(
        form=form,
        number=30,
        name="collectordHeartbeat",
        collectordAlarmId="heartbeat",
        collectordAlarmPerceivedSeverity="indeterminate" if names else "2",
        collectordAlarmRuleName="",
        collectordAlarmCount="3",
    )
    assert _cut_down(heartbeat, alive) == "3"
    assert _cut_down(alarms, alive) is None


@pytest.mark.parametrize("form", FORMS)
def test_zabbix_is_not_deceived_by_a_text(form: str) -> None:
    """The shell handler makes lines of `\\n` in a text: those must neither clear nor rename an alarm."""
    forged = trap(
        form=form,
        number=2,
        name="collectordAlarmClear",
        collectordAlarmId="fedcba9876543210",
        collectordAlarmState="cleared" if form.endswith("names") else "2",
        collectordAlarmPerceivedSeverity="cleared" if form.endswith("names") else "1",
    )
    for place in ("collectordAlarmResource", "collectordAlarmKey", "collectordAlarmSummary"):
        text = trap(form=form, **{place: f"x\n{forged}"})
        value = _cut_down(_zabbix()["items"][0], text)
        assert value is not None
        assert _opened(value) == ["AVERAGE"]
        assert not _closes(value)
        assert _tag("alarmid", value) == "0123456789abcdef"


# --- Icinga and Nagios ----------------------------------------------------------------------------------------------


def test_icinga_has_a_service_for_each_rule(shipped: Facts) -> None:
    files = receivers.files("icinga", shipped)
    assert json.loads(files["collectord_icinga.json"])["rules"] == list(shipped.rules)
    for rule in shipped.rules:
        assert f'"{rule}"' in files["icinga2-collectord.conf"]
        assert f"    service_description     collectord {rule}\n" in files["nagios-collectord.cfg"]
    for name in ("icinga2-collectord.conf", "nagios-collectord.cfg"):
        assert "collectord other" in files[name]
        assert "collectord heartbeat" in files[name]
        assert files[name].count("{") == files[name].count("}")
    quiet = receivers.files("icinga", Facts(heartbeat_s=0))
    assert "collectord heartbeat" not in quiet["icinga2-collectord.conf"] + quiet["nagios-collectord.cfg"]


def test_icinga_handler_knows_the_objects_and_starts_nothing() -> None:
    source = receivers.files("icinga", Facts())["collectord_icinga.py"]
    tree = ast.parse(source, feature_version=(3, 9))
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    objects = ast.literal_eval(values["OBJECTS"])
    assert objects == {str(position(name)): name for name in objects.values()}
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "subprocess" not in modules
    assert not re.search(r"\b(eval|exec|system|popen)\(", source)


def test_another_port_is_told() -> None:
    """snmptrapd would listen on 162 and hear nothing."""
    told = receivers.files("snmptrapd", Facts(targets=(Target("noc", port=1162),)))["snmptrapd.conf"]

    assert "\n#snmpTrapdAddr udp:1162\n" in told
    assert "snmpTrapdAddr" not in receivers.files("snmptrapd", Facts())["snmptrapd.conf"]

r"""
Alerts in the Common Event Format, as ArcSight defined it and Microsoft Sentinel reads it.

    <163>Nov 22 10:04:59 collector CEF:0|collectord|collectord|2026.11.0|excessive-failures|Excessive number of failed
    connections from 192.0.2.10|6|rt=1795341899000 externalId=0123456789abcdef cs1Label=state cs1=raised ...

(one line). The syslog header is that of RFC 3164, which the format's definition asks for: receivers find its ``CEF:``
where a tag would stand, and what forwards to Sentinel takes nothing else. That header has neither year nor zone, so
the times stand in the extension, in ms since 1970 UTC.

Source: ArcSight Common Event Format, Implementation Standard, revision 25: "Header Information", "Character Encoding"
(escapes), "ArcSight Extension Dictionary" (keys, their types and lengths). ``\`` and ``|`` are escaped in the header,
``\``, ``=`` and line ends in the extension.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address

from collectord import __version__
from collectord.model import NS_PER_S, Alert, AlertState, KeyValue, Severity
from collectord.outputs.alarm import key_text, perceived, resource

SEVERITIES = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6, Severity.HIGH: 8}
"""Of an active alert; the format calls 0 to 3 low, 4 to 6 medium, 7 and 8 high. One that cleared has 0."""

_PRODUCT = "collectord"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# What is escaped, and how.
_HEADER = {"\\": "\\\\", "|": "\\|"}
_EXTENSION = {"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"}

# Most bytes of a value as it is sent. Those of the header together leave room for the rest in the shortest message.
_HOST_BYTES = 100
_ID_BYTES = 128
_NAME_BYTES = 255
_EXTERNAL_ID_BYTES = 40
_TEXT_BYTES = 255
_MESSAGE_BYTES = 1_023
_LARGEST_INTEGER = 2**31 - 1

# A message with less free text than this gives up details before it gives up more text.
_TEXT_KEPT_BYTES = 128

# Fields of an alert's key that the dictionary has keys for, beside addresses.
_PORTS = {"SrcPortNumber": "spt", "DstPortNumber": "dpt"}
_ADDRESSES = {
    "SrcIpAddr": ("src", "c6a2", "Source IPv6 Address"),
    "DstIpAddr": ("dst", "c6a3", "Destination IPv6 Address"),
}
_WORDS = {
    "NetworkProtocol": ("proto", 31),
    "DvcAction": ("act", 63),
    "DstAppName": ("app", 31),
    "SrcHostname": ("shost", _TEXT_BYTES),
    "DstHostname": ("dhost", _TEXT_BYTES),
    "SrcUsername": ("suser", _TEXT_BYTES),
    "DstUsername": ("duser", _TEXT_BYTES),
    "Dvc": ("deviceExternalId", _TEXT_BYTES),
}
_DIRECTIONS: dict[KeyValue, str] = {"Inbound": "0", "Outbound": "1"}

Pairs = tuple[tuple[str, str], ...]


def cef_message(alert: Alert, sequence: int, *, facility: int, collector_host: str, limit_bytes: int) -> bytes:
    """
    The CEF message of an alert, of at most ``limit_bytes``, without a line feed in it.

    Too long a message loses free text (``msg``) down to 128 octets, then the last details, then the rest of the text.

    Args:
        alert: Any.
        sequence: Lets a receiver see a gap.
        facility: Code of the facility, 0 to 23.
        collector_host: Characters that a host name can't hold become ``-``.
        limit_bytes: 1,024 at least, so that there is room for what names the alert.
    """
    host = "".join(c if c.isascii() and (c.isalnum() or c in "-._:") else "-" for c in collector_host)[:_HOST_BYTES]
    severity = 0 if alert.state is AlertState.CLEARED else SEVERITIES[alert.severity]
    head = (
        f"<{facility * 8 + perceived(alert).syslog}>{_local_time(alert.last_time_ns)} {host or '-'} "
        f"CEF:0|{_PRODUCT}|{_PRODUCT}|{_escaped(__version__, _ID_BYTES, _HEADER)}"
        f"|{_escaped(alert.rule, _ID_BYTES, _HEADER) or '-'}|{_escaped(alert.title, _NAME_BYTES, _HEADER) or '-'}"
        f"|{severity}|"
    ).encode()
    pairs = [made for made in map(_encoded, _details(alert, sequence, host or "-")) if made]
    text = _escaped(alert.summary, _MESSAGE_BYTES, _EXTENSION)
    while True:
        made = head + b" ".join(pairs)
        room = limit_bytes - len(made) - len(b" msg=")
        if len(pairs) <= 1 or room >= min(_TEXT_KEPT_BYTES, len(text.encode())):
            text = _escaped(alert.summary, min(room, _MESSAGE_BYTES), _EXTENSION)
            return made + f" msg={text}".encode() if text else made
        pairs.pop()


def _details(alert: Alert, sequence: int, host: str) -> Iterator[Pairs]:
    """
    The extension but for its ``msg``, in pairs that belong together.

    What names the alert stands first; what is dropped for want of room, last.
    """
    yield (
        ("rt", _ms(alert.last_time_ns)),
        ("externalId", _value(alert.id, _EXTERNAL_ID_BYTES)),
        *_custom("cs1", "state", alert.state.value),
    )
    yield (("cat", alert.alarm_type.value), ("cnt", str(min(max(alert.count, 0), _LARGEST_INTEGER))))
    for name, value in alert.key.items():
        yield from _of_key(name, value)
    yield (("start", _ms(alert.first_time_ns)), ("end", _ms(alert.last_time_ns)))
    yield _custom("cn1", "threshold", str(alert.threshold))
    yield _custom("cn2", "window", str(alert.window_s))
    yield _custom("cn3", "sequence", str(sequence))
    yield _custom("cs2", "site", _value(alert.site))
    yield _custom("cs3", "key", _value(key_text(alert)))
    yield (("dvchost", _value(host)),)
    if "Dvc" not in alert.key:
        yield (("deviceExternalId", _value(resource(alert, ""))),)
    yield (("reason", _value(alert.reason)),)
    yield _custom("flexNumber1", "episode", str(alert.episode))
    yield _custom("cs4", "event", _value(alert.event))
    yield _custom("cs5", "tactics", _value(", ".join(alert.tactics)))
    yield _custom("cs6", "techniques", _value(", ".join(alert.techniques)))


def _of_key(name: str, value: KeyValue) -> Iterator[Pairs]:
    """A field of the key, where the dictionary has a key for it; all of them stand in ``cs3``, too."""
    if name in _ADDRESSES:
        version_4, version_6, label = _ADDRESSES[name]
        try:
            address = ip_address(str(value))
        except ValueError:
            return
        if address.version == 4:
            yield ((version_4, str(address)),)
        else:
            # A zone behind the address is this machine's own matter.
            yield ((f"{version_6}Label", label), (version_6, str(address).partition("%")[0]))
    elif name in _PORTS:
        if isinstance(value, int) and 0 <= value <= 65_535:
            yield ((_PORTS[name], str(value)),)
    elif name == "NetworkDirection":
        if value in _DIRECTIONS:
            yield (("deviceDirection", _DIRECTIONS[value]),)
    elif name in _WORDS:
        key, limit_bytes = _WORDS[name]
        yield ((key, _value(str(value), limit_bytes)),)


def _custom(key: str, label: str, value: str) -> Pairs:
    """A key of the dictionary that means nothing without a label."""
    return ((f"{key}Label", label), (key, value)) if value else ()


def _encoded(pairs: Pairs) -> bytes:
    return " ".join(f"{key}={value}" for key, value in pairs if value).encode()


def _value(text: str, limit_bytes: int = _TEXT_BYTES) -> str:
    return _escaped(text, limit_bytes, _EXTENSION)


def _escaped(text: str, limit_bytes: int, escapes: dict[str, str]) -> str:
    """
    ``text`` with its escapes, in at most ``limit_bytes`` of UTF-8, cut between characters.

    What does not print is a blank, but for line ends that can be escaped; blanks at both ends go, as readers take
    them for separators.
    """
    kept: list[str] = []
    size = 0
    for character in text.strip():
        # Surrogates do not print.
        if character not in escapes and not character.isprintable():
            character = " "
        escaped = escapes.get(character, character)
        size += len(escaped.encode())
        if size > limit_bytes:
            break
        kept.append(escaped)
    return "".join(kept).strip(" ")


def _ms(time_ns: int) -> str:
    return str(time_ns // (NS_PER_S // 1000))


def _local_time(time_ns: int) -> str:
    """RFC 3164 section 4.1.2: the sender's local time, without year and zone, the day in two columns."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC).astimezone()
    return f"{_MONTHS[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S}"

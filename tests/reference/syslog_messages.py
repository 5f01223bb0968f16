"""
Strict readers of what we send: RFC 5424, and CEF behind a header of RFC 3164. Written from the standards, character by
character, with no thought of speed; whatever is not exactly as they say is a ValueError.
"""

from dataclasses import dataclass, field

PRINTABLE = frozenset(map(chr, range(33, 127)))
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

CEF_KEYS = frozenset(
    """
    act app c6a2 c6a2Label c6a3 c6a3Label cat cn1 cn1Label cn2 cn2Label cn3 cn3Label cnt cs1 cs1Label cs2 cs2Label cs3
    cs3Label cs4 cs4Label cs5 cs5Label cs6 cs6Label deviceDirection deviceExternalId dhost dpt dst duser dvchost end
    externalId flexNumber1 flexNumber1Label msg proto reason rt shost spt src start suser
    """.split()
)
"""All that may stand in an extension of ours; each is in the format's dictionary."""


@dataclass
class Rfc5424:
    """RFC 5424 section 6."""

    priority: int
    timestamp: str
    hostname: str
    app_name: str
    procid: str
    msgid: str
    data: dict[str, dict[str, str]]
    msg: str
    has_bom: bool


@dataclass
class Cef:
    """The seven fields of the header, and the extension."""

    priority: int
    timestamp: str
    hostname: str
    header: list[str]
    extension: dict[str, str] = field(default_factory=dict)


def rfc5424(message: bytes) -> Rfc5424:
    """Read a message whole."""
    text = message.decode("utf-8")
    priority, rest = _priority(text)
    version, timestamp, hostname, app_name, procid, msgid, rest = rest.split(" ", 6)
    if version != "1":
        raise ValueError("VERSION")
    for name, value, limit in (
        ("HOSTNAME", hostname, 255),
        ("APP-NAME", app_name, 48),
        ("PROCID", procid, 128),
        ("MSGID", msgid, 32),
    ):
        if not 1 <= len(value) <= limit or not set(value) <= PRINTABLE:
            raise ValueError(name)
    _check_timestamp(timestamp)
    data, rest = _structured_data(rest)
    if rest and rest[0] != " ":
        raise ValueError("no blank before MSG")
    msg = rest[1:]
    has_bom = msg.startswith("\ufeff")
    return Rfc5424(priority, timestamp, hostname, app_name, procid, msgid, data, msg.removeprefix("\ufeff"), has_bom)


def _priority(text: str) -> tuple[int, str]:
    if text[0] != "<":
        raise ValueError("PRI")
    digits, _, rest = text[1:].partition(">")
    if not digits.isascii() or not digits.isdigit() or digits != str(int(digits)) or int(digits) > 191:
        raise ValueError("PRIVAL")
    return int(digits), rest


def _check_timestamp(text: str) -> None:
    """RFC 5424 section 6.2.3, in UTC with milliseconds, which is the one form that we write."""
    shape = "".join("9" if c.isascii() and c.isdigit() else c for c in text)
    if shape != "9999-99-99T99:99:99.999Z":
        raise ValueError("TIMESTAMP")


def _structured_data(text: str) -> tuple[dict[str, dict[str, str]], str]:
    if text.startswith("-"):
        return {}, text[1:]
    elements: dict[str, dict[str, str]] = {}
    at = 0
    while text[at : at + 1] == "[":
        name, at = _sd_name(text, at + 1)
        if name in elements:
            raise ValueError("SD-ID twice")
        elements[name] = {}
        while text[at] == " ":
            param, at = _sd_name(text, at + 1)
            if text[at : at + 2] != '="':
                raise ValueError("PARAM-VALUE without its quote")
            value, at = _param_value(text, at + 2)
            if param in elements[name]:
                raise ValueError("PARAM-NAME twice")
            elements[name][param] = value
        if text[at] != "]":
            raise ValueError("SD-ELEMENT without its end")
        at += 1
    if not elements:
        raise ValueError("STRUCTURED-DATA")
    return elements, text[at:]


def _sd_name(text: str, at: int) -> tuple[str, int]:
    start = at
    while text[at] in PRINTABLE and text[at] not in '="]':
        at += 1
    if not 1 <= at - start <= 32:
        raise ValueError("SD-NAME")
    return text[start:at], at


def _param_value(text: str, at: int) -> tuple[str, int]:
    value = ""
    while text[at] != '"':
        if text[at] == "]":
            raise ValueError("] that is not escaped")
        if text[at] == "\\":
            at += 1
            if text[at] not in '"\\]':
                raise ValueError("\\ that escapes nothing")
        value += text[at]
        at += 1
    return value, at + 1


def cef(message: bytes) -> Cef:
    """Read a message whole; keys that are not ours are wrong, as is a value without its label, or a label alone."""
    text = message.decode("utf-8")
    if set(text) & set("\r\n\0"):
        raise ValueError("more than a line")
    priority, rest = _priority(text)
    timestamp, rest = rest[:15], rest[15:]
    month, day, time = timestamp[:3], timestamp[4:6], timestamp[7:]
    if month not in MONTHS or not 1 <= int(day) <= 31 or day != f"{int(day):2}" or timestamp[3] + timestamp[6] != "  ":
        raise ValueError("TIMESTAMP")
    if "".join("9" if c.isascii() and c.isdigit() else c for c in time) != "99:99:99":
        raise ValueError("TIME")
    blank, hostname, rest = rest.split(" ", 2)
    if blank or not hostname or not set(hostname) <= PRINTABLE:
        raise ValueError("HOSTNAME")
    if not rest.startswith("CEF:"):
        raise ValueError("CEF")
    header, extension = _cef_header(rest[4:])
    read = Cef(priority, timestamp, hostname, header, _cef_extension(extension))
    for key in read.extension:
        of = key.removesuffix("Label")
        has_label = of[:-1] in ("cs", "cn", "c6a", "flexNumber") and of[-1].isdigit()
        if has_label and not {of, f"{of}Label"} <= set(read.extension):
            raise ValueError(f"{key} alone")
    return read


def _cef_header(text: str) -> tuple[list[str], str]:
    fields = [""]
    at = 0
    while len(fields) <= 7:
        if text[at] == "\\":
            at += 1
            if text[at] not in "\\|":
                raise ValueError("\\ that escapes nothing in the header")
            fields[-1] += text[at]
        elif text[at] == "|":
            fields.append("")
        else:
            fields[-1] += text[at]
        at += 1
    if fields[0] != "0" or not all(fields[:7]) or not 0 <= int(fields[6]) <= 10:
        raise ValueError("header")
    return fields[:7], text[at:]


def _cef_extension(text: str) -> dict[str, str]:
    """``key=value`` with a blank between: what stands before an unescaped ``=``, back to the blank, is a key."""
    equals = []
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "=":
            equals.append(at)
        at += 1
    values: dict[str, str] = {}
    for number, at in enumerate(equals):
        start = text.rfind(" ", 0, at) + 1
        key = text[start:at]
        if number == 0 and start != 0:
            raise ValueError("text before the first key")
        end = len(text) if number + 1 == len(equals) else text.rfind(" ", 0, equals[number + 1])
        if key not in CEF_KEYS or key in values:
            raise ValueError(f"key {key!r}")
        values[key] = _cef_value(text[at + 1 : end])
    if text and not equals:
        raise ValueError("text without a key")
    return values


def _cef_value(text: str) -> str:
    value = ""
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
            value += {"\\": "\\", "=": "=", "n": "\n", "r": "\r"}[text[at]]
        else:
            value += text[at]
        at += 1
    return value

"""
Slow, obvious readers of the formats that profiles know, as the oracle for the engine's.

Each takes the text of one well-formed message and gives what it holds, by the names that profiles use. Where the
standard library has a reader (csv, json, xml), that is the oracle.
"""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from typing import Any


def kv(text: str) -> dict[str, str]:
    """``key=value key="quoted value"``; in quotes a backslash stands before ``"`` and itself; the first of two wins."""
    found: dict[str, str] = {}
    for key, quoted, bare in re.findall(r'([^\s=",]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))', text, re.ASCII):
        found.setdefault(key, re.sub(r'\\(["\\])', r"\1", quoted) or bare)
    return found


def marked(text: str, assign: str, separator: str) -> dict[str, str]:
    r"""
    Pairs with these marks; a value ends where a separator and another key follow.

    In quotes a backslash stands before ``"`` and itself; without them, before ``=`` where that assigns. A separator
    behind a backslash ends nothing, nor does one at the end of a value belong to it.
    """
    found: dict[str, str] = {}
    blanks, sep = r"[\x00-\x20]*", re.escape(separator)
    key = rf"{blanks}(\w[\w.\-\x00-\x20]*){re.escape(assign)}{blanks}"
    end = rf"(?={sep}{key}|\Z)"
    value = rf'(?:"((?:[^"\\]|\\.)*)".*?|((?:[^\\]|\\.|\\\Z)*?)){end}'
    for match in re.finditer(rf"(?:\A|{sep}){key}{value}", text, re.ASCII | re.DOTALL):
        name, quoted, bare = match[1].strip(), match[2], match[3]
        if quoted is not None:
            found.setdefault(name, re.sub(r'\\(["\\])', r"\1", quoted))
            continue
        bare = bare.rstrip()
        while bare.endswith(separator.rstrip()):
            bare = bare.removesuffix(separator.rstrip()).rstrip()
        found.setdefault(name, bare.replace("\\=", "=") if assign == "=" else bare)
    return found


def columns(text: str) -> dict[str, str]:
    """RFC 4180 columns, numbered from 1."""
    (row,) = csv.reader([text], strict=True)
    return {str(number): value for number, value in enumerate(row, 1)}


def cef(text: str) -> dict[str, str]:
    """ArcSight's implementation standard: seven header fields, then ``key=value`` pairs; escapes by backslash."""
    parts = re.split(r"(?<!\\)((?:\\\\)*)\|", text, maxsplit=7)
    header = ["".join(parts[number : number + 2]) for number in range(0, 14, 2)]
    extension = parts[14]
    names = ("version", "DeviceVendor", "DeviceProduct", "DeviceVersion", "SignatureId", "Name", "Severity")
    found = {name: re.sub(r"\\([|\\])", r"\1", value) for name, value in zip(names, header, strict=True)}
    for key, value in re.findall(r"(?:^|\s)(\w+)=((?:[^=\\]|\\.)*?)(?=\s+\w+=|\s*$)", extension, re.ASCII):
        found.setdefault(key, re.sub(r"\\([=\\])", r"\1", value))
    return found


def leef(text: str) -> dict[str, str]:
    """IBM's LEEF 1.0 guide: five header fields, then attributes separated by tabs."""
    version, vendor, product, device_version, event_id, attributes = text.split("|", 5)
    assert version == "LEEF:1.0"
    found = dict(pair.split("=", 1) for pair in attributes.split("\t") if pair)
    header = {"DeviceVendor": vendor, "DeviceProduct": product, "DeviceVersion": device_version}
    return {**found, **header, "SignatureId": event_id}


def json_paths(text: str) -> dict[str, str]:
    """The scalars of a JSON object by their path; numbers and booleans as they stand in the text."""
    found: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(inner, f"{path}[{number}]")
        elif value is not None:
            found[path] = value if isinstance(value, str) else json.dumps(value)

    walk(json.loads(text), "")
    return found


def event_xml(text: str) -> dict[str, str]:
    """A Windows event: ``System/X`` elements, their attributes as ``System/X@A``, ``EventData/Data[Name]``."""
    found: dict[str, str] = {}
    root = ElementTree.fromstring(text)  # noqa: S314 - made up by the test
    for element in root.findall("System/*"):
        found[f"System/{element.tag}"] = element.text or ""
        for name, value in element.attrib.items():
            found[f"System/{element.tag}@{name}"] = value
    for element in root.findall("EventData/Data"):
        found[f"EventData/Data[{element.attrib['Name']}]"] = element.text or ""
    return found

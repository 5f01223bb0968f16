"""
Messages that a sender makes to keep the engine busy: each is one that its profile really takes, filled up to any size.

The fillings aim at what a careless reader does again and again: searching for an end that never comes, going back over
bytes it has seen, copying a value for each of many items. Addresses and names are made up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to be hostile: a start that chooses the profile, and what is repeated behind it."""

    name: str
    profile: str | None
    """The profile that takes it; None: no profile knows it."""
    head: bytes
    filling: bytes
    middle: bytes = b""
    second: bytes = b""
    """Repeated behind ``middle``; both fillings then take half of the room."""
    tail: bytes = b""

    def message(self, size: int) -> bytes:
        """The message, of at most this many bytes: as many whole fillings as there is room for."""
        room = size - len(self.head) - len(self.middle) - len(self.tail)
        share = room // 2 if self.second else room
        first = self.filling * (share // len(self.filling))
        second = self.second * ((room - share) // len(self.second)) if self.second else b""
        return self.head + first + self.middle + second + self.tail


def _family(
    prefix: str, profile: str | None, head: bytes, fillings: dict[str, bytes], tail: bytes = b""
) -> list[Shape]:
    return [Shape(f"{prefix}: {name}", profile, head, filling, tail=tail) for name, filling in fillings.items()]


FORTIGATE = (
    b'<189>date=2026-11-22 time=00:00:02 devid="FGT-EXAMPLE" logid="0000000013" type="traffic" subtype="forward" '
    b'vd="root" srcip=192.0.2.10 '
)
FORTIGATE_COMMAS = FORTIGATE.replace(b" ", b",")
SOPHOS = b'<134>x log_id=010101600001 log_type="Firewall" log_component="Firewall Rule" src_ip=192.0.2.10 '
PANOS = b"<14>Nov 22 00:00:02 PA 1,2026/11/22 00:00:02,012345000001,TRAFFIC,end,"
CHECKPOINT = b"<134>CEF:0|Check Point|VPN-1 & FireWall-1|1|Log|x|5|src=192.0.2.10 "
CHECKPOINT_HEADER = b"<134>CEF:0|Check Point|VPN-1 & FireWall-1|1|"
ANY_CEF = b"<134>CEF:0|Example|Wall|1|100|x|3|src=192.0.2.10 "
LEEF_1 = b"<13>LEEF:1.0|Example|Wall|1|100|"
LEEF_2 = b"<13>LEEF:2.0|Example|Wall|1|100|"
SURICATA = (
    b'{"timestamp":"2026-11-22T08:20:00.000001+0000","flow_id":1,"event_type":"flow","src_ip":"192.0.2.10",'
    b'"dest_ip":"198.51.100.7",'
)
AZURE = b'{"category":"FlowLogFlowEvent","flowLogVersion":4,'
AZURE_TUPLES = b'"flowRecords":{"flows":[{"flowGroups":[{"rule":"r","flowTuples":['
TUPLE = b'"0,192.0.2.1,198.51.100.7,1,2,6,O,D,NX,0,0,0,0",'
WINDOWS = (
    b"<14>Nov 22 10:50:01 ws-1 Microsoft-Windows-Security-Auditing: <Event><System><Provider Name='x'/>"
    b"<EventID>5156</EventID><Version>1</Version>"
)
WINDOWS_DATA = WINDOWS + b"</System><EventData><Data Name='SourceAddress'>192.0.2.10</Data>"
JUNOS = (
    b'<14>1 2026-11-22T08:15:00Z s RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.129 source-address="192.0.2.1" '
)
ASA = b"<164>%ASA-4-106023: Deny tcp src outside:192.0.2.1/1"
NETFILTER = b"<4>Nov 22 10:01:01 gw-1 kernel: [ 1.0] DROP: IN=eth0 OUT= SRC=203.0.113.1 DST=10.0.7.1 LEN=41 PROTO=TCP "

KV = {
    "quotes that never close": b'a="b\\" ',
    "quotes by turns": b'a="b c" "',
    "quotes and junk": b'a="b"c="d',
    "single quotes": b"a='b\" ",
    "equals signs": b"=",
    "empty values": b"a= ",
    "empty keys": b" =a",
    "a long key": b"k",
    "backslashes": b"\\",
    "escapes": b'\\"',
    "blanks": b" ",
    "commas": b",",
    "many pairs": b"a=b ",
    "pairs by commas": b"a=b,",
    "a key again": b"srcip=192.0.2.10 ",
    "words": b"x ",
}
CEF = {
    "raw equals": b"=b c",
    "equals signs": b"=",
    "backslashes": b"\\",
    "backslashes before equals": b"\\=",
    "backslashes before pipes": b"\\|a=",
    "pipes": b"|",
    "escaped pipes": b"\\|x|",
    "a key behind pipes": b"|a=b",
    "carets": b"^a=b",
    "escaped tabs": b"#011a=b",
    "escaped line ends": b"#015#012",
    "keys": b"a.b-c_d",
    "empty values": b"a= ",
    "many pairs": b"a=b ",
    "blanks": b" ",
    "blanks and equals": b"   =",
}
LEEF = {
    "carets": b"^",
    "keys and carets": b"a^b=c^^",
    "escaped tabs": b"a=b^c #011=",
    "escaped tabs before keys": b"#011a=b",
    "tabs": b"\ta=b",
    "tabs without keys": b"\t=",
    "pipes": b"|",
    "pairs by pipes": b"a=b|",
    "blanks": b" a= ",
    "equals signs": b"=",
    "backslashes": b"\\=",
    "half a key": b"^a ",
}
JSON = {
    "nested arrays": b"[",
    "nested objects": b'"a":{',
    "nested in a path": b'"flow":{',
    "nested both ways": b'"a":[{',
    "array of arrays": b'"a":[],',
    "long keys": b'"' + b"k" * 1000 + b'":1,',
    "keys with escapes": b'"src_ip\\u0000":"\\\\",',
    "a key that never ends": b'"k\\"',
    "values with escapes": b'"a":"\\\\\\"",',
    "a value again": b'"src_ip":"192.0.2.10",',
    "numbers": b'"a":1e999,',
    "wanted numbers": b'"src_port":00000000000000000000000,',
    "quotes": b'"',
    "empty strings": b'"",',
    "commas": b",",
    "colons": b":",
    "closing brackets": b"}",
    "wrong brackets": b'"a":[}',
    "blanks": b" ",
    "backslashes": b"\\",
}
XML = {
    "nested elements": b"<a>",
    "nested on the path": b"<EventData>",
    "elements": b"<a/>",
    "wanted elements": b"<Data Name='SourceAddress'>192.0.2.10</Data>",
    "entities": b"<Data Name='x'>&amp;<a ",
    "a tag that never ends": b" a='b'",
    "tags that never end": b"<Data ",
    "quotes that never close": b"<Data Name='",
    "attributes": b"<Data a='b' Name='SourceAddress' c='d'>",
    "end tags of nothing": b"</a>",
    "end tags that never end": b"</",
    "comments that never end": b"<!--",
    "comments": b"<!-- -->",
    "CDATA": b"<![CDATA[x]]>",
    "CDATA that never ends": b"<![CDATA[",
    "document types": b"<!DOCTYPE [",
    "processing instructions": b"<?a?>",
    "instructions that never end": b"<?",
    "angle brackets": b"<",
    "ampersands": b"&",
    "long names": b"<" + b"n" * 1000 + b">",
    "long names that nothing opened": b"</" + b"n" * 999 + b"m>",
}
TEMPLATE = {
    "brackets": b"(a) dst [",
    "opening brackets": b"(",
    "nearly the end": b' by access-group "',
    "nearly the next part": b" ds",
    "the next part again": b" dst inside:10.0.0.1/1",
    "digits": b"1",
    "colons": b":",
    "slashes": b"/",
    "blanks": b" ",
    "quotes": b'"',
}
DATA = {
    "params": b'a="b" ',
    "escaped brackets": b'a="\\]\\" ',
    "opening brackets": b"[",
    "elements": b"][x@1 ",
    "quotes": b'"',
    "a long name": b"n",
    "equals signs": b"=",
}

SHAPES: Sequence[Shape] = (
    *_family("kv", "fortinet-fortigate", FORTIGATE, KV),
    *_family("kv, commas", "fortinet-fortigate", FORTIGATE_COMMAS, KV),
    *_family("kv, in the text", "sophos-firewall", SOPHOS, {"quotes by turns": b'a="b c" "', "equals signs": b"="}),
    Shape("kv: a device of escapes", "fortinet-fortigate", FORTIGATE + b'devname="', b'\\"'),
    Shape("kv: a device of quotes", "fortinet-fortigate", FORTIGATE + b'devname="', b"'\\\\"),
    Shape("kv: a long word in a map", "fortinet-fortigate", FORTIGATE + b'action="', b"deny ", tail=b'"'),
    Shape("kv: a long address", "fortinet-fortigate", FORTIGATE + b"dstip=", b"1:"),
    *_family(
        "csv",
        "paloalto-panos",
        PANOS,
        {
            "quotes": b'"',
            "quoted columns": b'","',
            "quotes and columns": b'"",',
            "junk behind quotes": b'"a"b,',
            "a quote that never closes": b'"",x',
            "columns": b",",
            "one long column": b"x",
        },
    ),
    Shape("csv: a device of quotes", "paloalto-panos", PANOS + b"," * 47 + b'"', b'""', tail=b'"'),
    *_family("cef", "checkpoint-cef", CHECKPOINT, CEF),
    *_family("cef header", "checkpoint-cef", CHECKPOINT_HEADER, CEF),
    *_family("cef, any", "generic-cef", ANY_CEF, {"raw equals": b"=b c", "a count of digits": b"cnt=999999999999 "}),
    Shape("cef: a long count", "generic-cef", ANY_CEF + b"cnt=", b"9"),
    Shape("cef: a device of escapes", "generic-cef", ANY_CEF + b"dvchost=", b"\\="),
    Shape("cef: a device that is cut", "checkpoint-cef", CHECKPOINT + b"originsicname=", b"\\C\\N\\C"),
    Shape("cef: a device that ends nowhere", "checkpoint-cef", CHECKPOINT + b"originsicname=CN=", b"\\"),
    *_family("leef 1", "generic-leef", LEEF_1, LEEF),
    *_family("leef 2", "generic-leef", LEEF_2, LEEF),
    *_family("leef 2, odd delimiter", "generic-leef", LEEF_2 + b"x3d|", LEEF),
    *_family("leef 2, caret", "generic-leef", LEEF_2 + b"^|", LEEF),
    *_family("leef, short header", "generic-leef", b"<13>LEEF:1.0|Example|Wall|", LEEF),
    *_family("json", "suricata-eve", SURICATA, JSON),
    Shape("json: a device of unicode escapes", "suricata-eve", SURICATA + b'"host":"', b"\\u00e4\\ud83d\\ude00"),
    Shape("json: half surrogates", "suricata-eve", SURICATA + b'"host":"', b"\\ud83d", tail=b'"}'),
    Shape("json: escaped backslashes", "suricata-eve", SURICATA + b'"host":"', b"\\\\", tail=b'"}'),
    Shape("json: a device of line ends", "suricata-eve", SURICATA + b'"host":"', b"\\n", tail=b'"}'),
    Shape("json: a long number", "suricata-eve", SURICATA + b'"src_port":', b"9", tail=b"}"),
    Shape("each: items", "azure-vnet-flow", AZURE + AZURE_TUPLES, TUPLE),
    Shape("each: short items", "azure-vnet-flow", AZURE + AZURE_TUPLES, b'"0,::1",'),
    Shape("each: empty items", "azure-vnet-flow", AZURE + AZURE_TUPLES, b'"",'),
    Shape("each: numbers", "azure-vnet-flow", AZURE + AZURE_TUPLES, b"0,"),
    Shape("each: objects", "azure-vnet-flow", AZURE + AZURE_TUPLES, b"{},"),
    Shape("each: columns", "azure-vnet-flow", AZURE + AZURE_TUPLES + b'"', b","),
    Shape(
        "each: groups",
        "azure-vnet-flow",
        AZURE + b'"flowRecords":{"flows":[',
        b'{"flowGroups":[{"flowTuples":["0,::1"]}]},',
    ),
    *(
        Shape(
            f"each: items behind a long {name}",
            "azure-vnet-flow",
            AZURE + before,
            filling,
            middle=b'",' + AZURE_TUPLES + inside,
            second=b'"0,::1",',
        )
        for name, before, filling, inside in (
            ("device", b'"targetResourceID":"', b"d", b""),
            ("device of escapes", b'"targetResourceID":"', b"\\n", b""),
            ("address", b'"macAddress":"', b"0", b""),
            ("category", b'"category":"', b" ", b""),
        )
    ),
    Shape(
        "each: items behind values just short enough",
        "azure-vnet-flow",
        AZURE + b'"targetResourceID":"' + b"d" * 1024 + b'","macAddress":"' + b"\\n" * 512 + b'",' + AZURE_TUPLES,
        b'"0,::1",',
    ),
    Shape(
        "each: items behind a long rule",
        "azure-vnet-flow",
        AZURE + b'"flowRecords":{"flows":[{"flowGroups":[{"rule":"',
        b"\\n",
        middle=b'","flowTuples":[',
        second=b'"0,::1",',
    ),
    *_family("xml", "windows-event-xml", WINDOWS, XML),
    *_family("xml data", "windows-event-xml", WINDOWS_DATA, XML),
    Shape("xml: a device of entities", "windows-event-xml", WINDOWS + b"<Computer>", b"&#60;", tail=b"</Computer>"),
    Shape("xml: a device of ampersands", "windows-event-xml", WINDOWS + b"<Computer>", b"&", tail=b"</Computer>"),
    Shape("xml: a device of blanks", "windows-event-xml", WINDOWS + b"<Computer>", b" ", tail=b"</Computer>"),
    *_family("template", "cisco-asa", ASA, TEMPLATE),
    *_family("template, port", "cisco-asa", ASA + b"(", TEMPLATE),
    *_family("template, start", "cisco-asa", b"<164>%ASA-6-302013: Built ", TEMPLATE),
    *_family("template, tag", "cisco-asa", b"<164>%ASA-", TEMPLATE),
    *_family(
        "template, groups",
        "linux-netfilter",
        NETFILTER,
        {
            "pairs": b"SPT=1 ",
            "nearly pairs": b"SP= DP=",
            "marks": b"SYN ACK ",
            "brackets": b"[SRC=192.0.2.1 ",
            "=": b"=",
        },
    ),
    *_family("RFC 5424", None, b"<13>1 2026-11-22T00:00:00Z h a p m [x@1 ", DATA),
    *_family(
        "RFC 5424, read",
        "juniper-srx-structured",
        JUNOS,
        {
            "params": b'a="b" ',
            "escaped brackets": b'a="\\]" ',
            "raw brackets": b'a="]" ',
            "a long name": b"n",
            "equals": b"=",
        },
        tail=b' x="y"]',
    ),
    *_family(
        "RFC 5424, colons",
        None,
        b"<13>1 2026-11-22T00:00:00Z h a p - [",
        {"params": b'a:"b"; ', "escapes": b'a:"\\"\\]', "name": b"a"},
    ),
    *_family(
        "RFC 5424, fields", None, b"<13>1 2026-11-22T00:00:00Z ", {"a field": b"x", "fields": b"x ", "nil": b"- "}
    ),
    *_family(
        "RFC 3164",
        None,
        b"<13>Nov 22 00:00:00 ",
        {"hosts": b"h ", "a host": b"h", "tags": b"a[", "colons": b": ", "blanks": b" ", "commas": b"a,"},
    ),
    *_family(
        "RFC 3164, brackets",
        None,
        b'<13>Nov 22 00:00:00 h a: ["',
        {"brackets": b"[", "params": b'"][a b="c', "quotes": b'"'},
    ),
    *_family(
        "Cisco",
        None,
        b"<189>123: host: ",
        {"pieces": b"1: ", "a piece": b"a", "stamps": b"*Nov 22 00:00:00.000: ", "nodes": b"RP/0/RP0/CPU0:"},
    ),
    *_family(
        "Cisco, read",
        "cisco-ios",
        b"<190>4711: rtr: Nov 22 2026 08:15:00.123 UTC: %SEC-6-IPACCESSLOGP: list ",
        {"words": b"a ", "arrows": b" -> ", "brackets": b"1(1", "digits": b"1"},
    ),
    *_family(
        "Meraki",
        "cisco-meraki",
        b"<134>1 1795303200.123456789 MX flows ",
        {"pairs": b"src=192.0.2.10 ", "nearly": b"src= dst=", "words": b"a ", "blanks": b" "},
    ),
    *_family(
        "relayed",
        None,
        b"<13>Nov 22 00:00:00 relay ",
        {"headers": b"<13>Nov 22 00:00:00 relay ", "levels": b"<13>", "stamps": b"Nov 22 00:00:00 "},
    ),
    *_family(
        "relayed, read",
        "cisco-asa",
        b"<13>Nov 22 00:00:00 relay " + ASA,
        {"headers": b"<13>Nov 22 00:00:00 relay ", "levels": b"<13>"},
    ),
    *_family(
        "unread",
        None,
        b"<13>",
        {
            "blanks and words": b"x: [y] ",
            "digits": b"7",
            "nothing printable": b"\x01\xff",
            "line ends": b"\n",
            "NUL": b"\0",
            "byte order marks": b"\xef\xbb\xbf",
        },
    ),
    Shape("unread: line ends behind", None, b"<13>x", b"\r\n\0"),
)
"""What is made by hand, by reader."""


def near_misses(profiles: Iterable[dict[str, Any]]) -> Shape:
    """A message of no product that looks like all of them: each literal they are known by, without its last byte."""
    literals = [
        literal[:-1]
        for profile in profiles
        for sign in profile["detect"]
        for literal in [*sign.get("contains", ()), sign.get("starts", "")]
        if len(literal) > 2
    ]
    return Shape(
        "unread: every product but its last byte", None, b"<13>Nov 22 00:00:00 host ", "~".join(literals).encode()
    )


def of_samples(profiles: Iterable[dict[str, Any]]) -> Iterator[Shape]:
    """
    The first sample of each profile, whole and half, and behind it everything that means something to some reader.

    A half that another profile takes, or none, is hostile all the same; so ``profile`` is to be looked up.
    """
    filling = b' (a) [b] {c} "d" e=f g:h/1-2, 3|4\\5 <i>&amp;#011\t192.0.2.1 '
    for profile in profiles:
        raw = next(sample["raw"] for sample in profile["sample"] if sample.get("match", True)).encode()
        if len(raw) > MOST_OF_A_SAMPLE:
            raw = raw[:MOST_OF_A_SAMPLE]
        yield Shape(f"{profile['name']}: whole", profile["name"], raw, filling)
        yield Shape(f"{profile['name']}: half", profile["name"], raw[: len(raw) // 2], filling)


MOST_OF_A_SAMPLE = 3_000
"""Bytes of a sample that are used: less than the smallest message that is measured."""

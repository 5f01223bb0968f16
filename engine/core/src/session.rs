//! One ASIM `NetworkSession` record: its fields, their kinds, and what follows from them.
//!
//! Field names, closed value lists and the general rule of `EventResult` are those of the ASIM network session schema
//! 0.2.6 (`MicrosoftDocs`, "The Advanced Security Information Model (ASIM) Network Session normalization schema reference").

use crate::value::ip::{Ip, Networks};
use crate::value::{Escape, Raw, unescape};
use std::borrow::Cow;

/// What a field holds, and so how the text of a device is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 or IPv6 address.
    Address,
    /// A port number, 0 to 65,535.
    Port,
    /// A count, a size in bytes or a duration in ms.
    Number,
    /// Any text.
    Text,
    /// An IANA protocol name; numbers are translated, text is upper-cased.
    Protocol,
    /// One of a closed list of words; only a map or a constant of a profile sets it, never text from the wire.
    Word(&'static [&'static str]),
}

macro_rules! fields {
    ($($name:ident: $kind:expr),* $(,)?) => {
        /// A field of the ASIM network session schema, by its name there.
        ///
        /// The `Src`/`Dst` pairs come first and each `Dst` field stands right behind its `Src` field:
        /// [`Field::partner`] relies on it.
        #[allow(missing_docs, reason = "the names are ASIM's; the schema documents them")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $($name),* }

        /// Every field with its name and kind, in the order of [`Field`].
        pub const FIELDS: &[(Field, &str, Kind)] = &[$((Field::$name, stringify!($name), $kind)),*];
    };
}

use Kind::{Address, Number, Port, Protocol, Text, Word};

/// The legal values of `DvcAction`.
pub const ACTIONS: &[&str] = &[
    "Allow",
    "Deny",
    "Drop",
    "Drop ICMP",
    "Reset",
    "Reset Source",
    "Reset Destination",
    "Encrypt",
    "Decrypt",
    "VPNroute",
];
/// The legal values of `EventResult`.
pub const RESULTS: &[&str] = &["Success", "Partial", "Failure", "NA"];
const RESULT_DETAILS: &[&str] = &[
    "Failover",
    "Invalid TCP",
    "Invalid Tunnel",
    "Maximum Retry",
    "Reset",
    "Routing issue",
    "Simulation",
    "Terminated",
    "Timeout",
    "Transient error",
    "Unknown",
    "NA",
];
const SEVERITIES: &[&str] = &["Informational", "Low", "Medium", "High"];
const DIRECTIONS: &[&str] = &["Inbound", "Outbound", "Local", "External", "Listen", "NA"];
const TYPES: &[&str] = &["NetworkSession", "EndpointNetworkSession", "L2NetworkSession", "Flow", "IDS"];
const SUB_TYPES: &[&str] = &["Start", "End"];
const ENDS: &[&str] = &["SrcIpAddr", "DstIpAddr"];

fields! {
    SrcIpAddr: Address, DstIpAddr: Address,
    SrcPortNumber: Port, DstPortNumber: Port,
    SrcNatIpAddr: Address, DstNatIpAddr: Address,
    SrcNatPortNumber: Port, DstNatPortNumber: Port,
    SrcHostname: Text, DstHostname: Text,
    SrcDomain: Text, DstDomain: Text,
    SrcFQDN: Text, DstFQDN: Text,
    SrcDvcId: Text, DstDvcId: Text,
    SrcDeviceType: Text, DstDeviceType: Text,
    SrcDescription: Text, DstDescription: Text,
    SrcZone: Text, DstZone: Text,
    SrcInterfaceName: Text, DstInterfaceName: Text,
    SrcInterfaceGuid: Text, DstInterfaceGuid: Text,
    SrcMacAddr: Text, DstMacAddr: Text,
    SrcVlanId: Text, DstVlanId: Text,
    SrcGeoCountry: Text, DstGeoCountry: Text,
    SrcGeoRegion: Text, DstGeoRegion: Text,
    SrcGeoCity: Text, DstGeoCity: Text,
    SrcUsername: Text, DstUsername: Text,
    SrcUserId: Text, DstUserId: Text,
    SrcUserType: Text, DstUserType: Text,
    SrcAppName: Text, DstAppName: Text,
    SrcAppId: Text, DstAppId: Text,
    SrcAppType: Text, DstAppType: Text,
    SrcProcessName: Text, DstProcessName: Text,
    SrcProcessId: Text, DstProcessId: Text,
    SrcProcessGuid: Text, DstProcessGuid: Text,
    SrcBytes: Number, DstBytes: Number,
    SrcPackets: Number, DstPackets: Number,
    NetworkProtocol: Protocol,
    NetworkDirection: Word(DIRECTIONS),
    NetworkProtocolVersion: Text,
    NetworkApplicationProtocol: Text,
    NetworkDuration: Number,
    NetworkIcmpType: Text,
    NetworkIcmpCode: Number,
    NetworkBytes: Number,
    NetworkPackets: Number,
    NetworkSessionId: Text,
    NetworkConnectionHistory: Text,
    NetworkRuleName: Text,
    NetworkRuleNumber: Number,
    DvcAction: Word(ACTIONS),
    DvcOriginalAction: Text,
    EventResult: Word(RESULTS),
    EventResultDetails: Word(RESULT_DETAILS),
    EventOriginalResultDetails: Text,
    EventSeverity: Word(SEVERITIES),
    EventOriginalSeverity: Text,
    EventType: Word(TYPES),
    EventSubType: Word(SUB_TYPES),
    EventOriginalType: Text,
    EventOriginalSubType: Text,
    EventOriginalUid: Text,
    EventCount: Number,
    EventStartTime: Text,
    EventEndTime: Text,
    EventMessage: Text,
    EventVendor: Text,
    EventProduct: Text,
    EventProductVersion: Text,
    EventReportUrl: Text,
    Dvc: Text,
    DvcIpAddr: Address,
    DvcHostname: Text,
    DvcDomain: Text,
    DvcFQDN: Text,
    DvcId: Text,
    DvcMacAddr: Text,
    DvcZone: Text,
    DvcDescription: Text,
    DvcInboundInterface: Text,
    DvcOutboundInterface: Text,
    ThreatId: Text,
    ThreatName: Text,
    ThreatCategory: Text,
    ThreatRiskLevel: Number,
    ThreatOriginalRiskLevel: Text,
    ThreatConfidence: Number,
    ThreatOriginalConfidence: Text,
    ThreatIpAddr: Address,
    ThreatField: Word(ENDS),
}

/// How many of [`FIELDS`] are `Src`/`Dst` fields; they come first.
const PAIRED: u8 = Field::DstPackets as u8 + 1;

impl Field {
    /// The field of that ASIM name.
    pub fn named(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(_, n, _)| *n == name).map(|(field, _, _)| *field)
    }

    /// Its ASIM name.
    pub fn name(self) -> &'static str {
        FIELDS.get(self as usize).map_or("", |(_, name, _)| name)
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        FIELDS.get(self as usize).map_or(Kind::Text, |(_, _, kind)| *kind)
    }

    /// `DstIpAddr` for `SrcIpAddr` and the other way round; None for a field that belongs to neither end.
    pub fn partner(self) -> Option<Self> {
        let index = self as u8;
        (index < PAIRED).then(|| FIELDS.get(usize::from(index ^ 1)).map(|(field, _, _)| *field)).flatten()
    }
}

/// A set of fields.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FieldSet([u64; 2]);

impl FieldSet {
    /// Every field.
    pub const ALL: Self = Self([u64::MAX; 2]);

    /// Which half a field is in (at most 128 fields, a test holds that), and its bit there.
    #[inline]
    const fn place(field: Field) -> (usize, u64) {
        (((field as usize) >> 6) & 1, 1_u64.wrapping_shl(field as u32))
    }

    /// Adds a field.
    #[inline]
    pub fn insert(&mut self, field: Field) {
        let (half, bit) = Self::place(field);
        if let Some(half) = self.0.get_mut(half) {
            *half |= bit;
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) {
        let (half, bit) = Self::place(field);
        if let Some(half) = self.0.get_mut(half) {
            *half &= !bit;
        }
    }

    /// Whether the field is in.
    #[inline]
    pub fn contains(self, field: Field) -> bool {
        let (half, bit) = Self::place(field);
        self.0.get(half).is_some_and(|half| half & bit != 0)
    }
}

/// Letter case in which a text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// As the device wrote it.
    AsIs,
    /// Lower-cased (ASCII).
    Lower,
    /// Upper-cased (ASCII).
    Upper,
}

/// A field's value; text still lies in the message.
#[derive(Clone, Copy, Debug)]
pub enum Value<'m> {
    /// An address, canonical.
    Address(Ip),
    /// A port, a count, a size or a duration in ms.
    Number(u64),
    /// Text of the message, as escaped there.
    Text(Raw<'m>, Case),
    /// A word of a profile or of a closed list.
    Word(&'m str),
}

impl<'m> Value<'m> {
    /// Appends the value as [`Value::bytes`] has it.
    #[inline]
    pub fn append_to(&self, text: &mut Vec<u8>) {
        match self {
            Self::Text(Raw { bytes, escape: Escape::None }, Case::AsIs) => text.extend_from_slice(bytes),
            _ => text.extend_from_slice(&self.bytes()),
        }
    }

    /// The value as text bytes: unescaped, in its letter case, addresses canonical.
    pub fn bytes(&self) -> Cow<'m, [u8]> {
        match self {
            Self::Address(ip) => Cow::Owned(ip.to_string().into_bytes()),
            Self::Number(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Word(word) => Cow::Borrowed(word.as_bytes()),
            Self::Text(raw, case) => match case {
                Case::AsIs => unescape(*raw),
                Case::Lower => Cow::Owned(unescape(*raw).to_ascii_lowercase()),
                Case::Upper => Cow::Owned(unescape(*raw).to_ascii_uppercase()),
            },
        }
    }
}

/// When a session's record is counted (fixed per message id, never by history: design of one session logged twice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Always.
    Always,
    /// Never: another record of the same session is the one that counts.
    Never,
    /// Only when its `EventResult` is `Failure`.
    Failure,
}

/// How the ends of a session were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// The message says it.
    Told,
    /// The message says it, and a later one of the same connection will not.
    Opens,
    /// The message does not: as an earlier one of the connection said, else by the internal networks.
    Ends,
    /// The message does not: by the internal networks.
    Unknown,
}

/// A vendor's word that a map does not know.
#[derive(Clone, Copy, Debug)]
pub struct Unmapped<'m> {
    /// Key, column, hole or field that the map reads.
    pub from: &'m str,
    /// The word as the device sent it.
    pub word: Raw<'m>,
}

/// One session, filled anew for each message.
#[derive(Debug)]
pub struct Session<'m> {
    present: FieldSet,
    values: Box<[Value<'m>; FIELDS.len()]>,
    swapped: bool,
    /// How its ends were found.
    pub orientation: Orientation,
    /// The last word that a map of actions or results did not know.
    pub unmapped: Option<Unmapped<'m>>,
    /// When its record counts.
    pub counts: Counts,
    /// What a map said of being blocked by the device; None: it follows from `DvcAction`.
    pub blocked: Option<bool>,
    /// False once a map said that the message is an event without a session.
    pub is_session: bool,
}

impl Default for Session<'_> {
    fn default() -> Self {
        Self {
            present: FieldSet::default(),
            values: Box::new([Value::Number(0); FIELDS.len()]),
            swapped: false,
            orientation: Orientation::Told,
            unmapped: None,
            counts: Counts::Always,
            blocked: None,
            is_session: true,
        }
    }
}

impl<'m> Session<'m> {
    /// Empties it for the next message.
    pub fn clear(&mut self) {
        self.present = FieldSet::default();
        self.swapped = false;
        self.orientation = Orientation::Told;
        self.unmapped = None;
        self.counts = Counts::Always;
        self.blocked = None;
        self.is_session = true;
    }

    /// Sets a field.
    #[inline]
    pub fn set(&mut self, field: Field, value: Value<'m>) {
        if let Some(place) = self.values.get_mut(field as usize) {
            *place = value;
            self.present.insert(field);
        }
    }

    /// A field's value.
    pub fn get(&self, field: Field) -> Option<&Value<'m>> {
        if self.present.contains(field) { self.values.get(field as usize) } else { None }
    }

    /// The address in a field.
    pub fn address(&self, field: Field) -> Option<Ip> {
        match self.get(field) {
            Some(Value::Address(ip)) => Some(*ip),
            _ => None,
        }
    }

    /// The number in a field.
    pub fn number(&self, field: Field) -> Option<u64> {
        match self.get(field) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The word in a field of a closed list; empty when there is none.
    pub fn word(&self, field: Field) -> &'m str {
        match self.get(field) {
            Some(Value::Word(word)) => word,
            _ => "",
        }
    }

    /// The fields that are set, in the order of [`FIELDS`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &Value<'m>)> {
        FIELDS.iter().filter_map(|(field, _, _)| Some((*field, self.get(*field)?)))
    }

    /// Whether the ends were exchanged since the message was read.
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// Exchanges the two ends: every `Src` field with its `Dst` field.
    pub fn swap(&mut self) {
        self.swapped = !self.swapped;
        for pair in self.values.chunks_exact_mut(2).take(usize::from(PAIRED / 2)) {
            pair.swap(0, 1);
        }
        let [half, _] = &mut self.present.0;
        let paired = *half & PAIRED_BITS;
        *half = (*half & !PAIRED_BITS) | ((paired & EVEN_BITS) << 1) | ((paired & !EVEN_BITS) >> 1);
    }

    /// The source becomes the end inside `internal` where only the destination is (a record that names no direction).
    pub fn orient(&mut self, internal: &Networks) {
        if let (Some(src), Some(dst)) = (self.address(Field::SrcIpAddr), self.address(Field::DstIpAddr))
            && internal.contains(dst)
            && !internal.contains(src)
        {
            self.swap();
        }
    }

    /// Fills what follows from other fields, of those in `wanted`: `EventResult`, `EventSeverity`, `EventCount` (at most
    /// `event_count`), `NetworkDirection`, `EventType`.
    ///
    /// Returns whether `EventCount` was over the bound.
    ///
    /// # Source
    /// ASIM network session schema: result and severity by `DvcAction`; direction by address class where the device
    /// gives none.
    pub fn derive(&mut self, wanted: FieldSet, internal: &Networks, event_count: u64) -> bool {
        if self.get(Field::EventResult).is_none() {
            self.set(Field::EventResult, Value::Word(self.result_of_action()));
        }
        if wanted.contains(Field::EventSeverity) && self.get(Field::EventSeverity).is_none() {
            let failure = self.word(Field::EventResult) == "Failure";
            self.set(Field::EventSeverity, Value::Word(if failure { "Low" } else { "Informational" }));
        }
        if wanted.contains(Field::EventType) && self.get(Field::EventType).is_none() {
            self.set(Field::EventType, Value::Word("NetworkSession"));
        }
        if wanted.contains(Field::NetworkDirection) && self.get(Field::NetworkDirection).is_none() {
            self.set(Field::NetworkDirection, Value::Word(self.direction_of_addresses(internal)));
        }
        let count = self.number(Field::EventCount).unwrap_or(1).max(1);
        self.set(Field::EventCount, Value::Number(count.min(event_count)));
        count > event_count
    }

    fn result_of_action(&self) -> &'static str {
        match self.word(Field::DvcAction) {
            "" => "NA",
            "Deny" | "Drop" | "Drop ICMP" | "Reset" | "Reset Source" | "Reset Destination" => "Failure",
            _ => "Success",
        }
    }

    fn direction_of_addresses(&self, internal: &Networks) -> &'static str {
        match (self.address(Field::SrcIpAddr), self.address(Field::DstIpAddr)) {
            (Some(src), Some(dst)) => match (internal.contains(src), internal.contains(dst)) {
                (true, true) => "Local",
                (true, false) => "Outbound",
                (false, true) => "Inbound",
                (false, false) => "External",
            },
            _ => "NA",
        }
    }

    /// Whether the device itself stopped the session: as a map said, else by `DvcAction`.
    pub fn is_blocked(&self) -> bool {
        self.blocked.unwrap_or_else(|| self.result_of_action() == "Failure")
    }

    /// Whether this record counts.
    pub fn is_counted(&self) -> bool {
        match self.counts {
            Counts::Always => true,
            Counts::Never => false,
            Counts::Failure => self.word(Field::EventResult) == "Failure",
        }
    }
}

/// Bits 0, 2, 4, ...: where the `Src` fields stand.
const EVEN_BITS: u64 = u64::MAX / 3;

/// The bits of the `Src`/`Dst` fields, all of them in the first half of a set.
const PAIRED_BITS: u64 = {
    assert!(PAIRED < 64 && PAIRED.is_multiple_of(2));
    1_u64.wrapping_shl(PAIRED as u32).wrapping_sub(1)
};

/// A field's value made of a device's text, by the field's kind; None where it isn't one (an impossible port, no address).
#[inline]
pub fn convert(kind: Kind, raw: Raw<'_>, case: Case) -> Option<Value<'_>> {
    let text = trim(raw.bytes);
    if text.is_empty() {
        return None;
    }
    match kind {
        Kind::Address => crate::value::ip::parse(text).map(Value::Address),
        Kind::Port => number(text).filter(|n| *n <= 65_535).map(Value::Number),
        Kind::Number => number(text).map(Value::Number),
        Kind::Protocol => Some(
            protocol(text)
                .map_or_else(|| Value::Text(Raw { bytes: text, escape: raw.escape }, Case::Upper), Value::Word),
        ),
        Kind::Text => Some(Value::Text(Raw { bytes: text, escape: raw.escape }, case)),
        Kind::Word(_) => None,
    }
}

/// The text without ASCII white space at its ends, where mostly there is none.
#[inline]
pub fn trim(text: &[u8]) -> &[u8] {
    match text {
        [first, .., last] | [first @ last] if *first > b' ' && *last > b' ' => text,
        _ => text.trim_ascii(),
    }
}

/// So many digits are always below 2^64.
const SAFE_DIGITS: usize = 19;

/// A decimal number; a fraction is cut off; saturates. None where the text is anything else.
#[inline]
pub fn number(text: &[u8]) -> Option<u64> {
    if text.len() > SAFE_DIGITS {
        return long_number(text);
    }
    let mut value = 0_u64;
    for (place, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (*byte == b'.' && place > 0).then_some(value);
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    (!text.is_empty()).then_some(value)
}

fn long_number(text: &[u8]) -> Option<u64> {
    let mut digits = 0_usize;
    let mut value = 0_u64;
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                value = value.saturating_mul(10).saturating_add(u64::from(byte & 0x0f));
                digits = digits.wrapping_add(1);
            }
            b'.' if digits > 0 => break,
            _ => return None,
        }
    }
    (digits > 0).then_some(value)
}

/// A name of the IANA protocol registry for a number or for the common names in any case.
fn protocol(text: &[u8]) -> Option<&'static str> {
    if text.first().is_some_and(u8::is_ascii_digit) {
        let number = number(text)?;
        return Some(PROTOCOLS.iter().find(|(n, _)| u64::from(*n) == number).map_or("Unassigned", |(_, name)| name));
    }
    let known: &'static [&'static str] = &["TCP", "UDP", "ICMP", "GRE", "ESP", "AH", "SCTP", "IGMP", "OSPFIGP", "PIM"];
    if let Some(name) = known.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(text)) {
        return Some(name);
    }
    // RFC 4443's protocol has one IANA name and many spellings in logs.
    let icmp6: &[&[u8]] = &[b"icmp6", b"icmpv6", b"ipv6-icmp", b"icmp-v6", b"ICMP for IPv6"];
    icmp6.iter().any(|name| name.eq_ignore_ascii_case(text)).then_some("IPv6-ICMP")
}

/// Protocol numbers and names: IANA "Assigned Internet Protocol Numbers", names as ASIM's lookup spells them.
#[rustfmt::skip]
const PROTOCOLS: &[(u8, &str)] = &[
    (6, "TCP"), (17, "UDP"), (1, "ICMP"), (58, "IPv6-ICMP"), (47, "GRE"), (50, "ESP"), (51, "AH"), (132, "SCTP"),
    (0, "HOPOPT"), (2, "IGMP"), (3, "GGP"), (4, "IPv4"), (5, "ST"), (7, "CBT"), (8, "EGP"), (9, "IGP"),
    (10, "BBN-RCC-MON"), (11, "NVP-II"), (12, "PUP"), (13, "ARGUS (deprecated)"), (14, "EMCON"), (15, "XNET"),
    (16, "CHAOS"), (18, "MUX"), (19, "DCN-MEAS"), (20, "HMP"), (21, "PRM"), (22, "XNS-IDP"), (23, "TRUNK-1"),
    (24, "TRUNK-2"), (25, "LEAF-1"), (26, "LEAF-2"), (27, "RDP"), (28, "IRTP"), (29, "ISO-TP4"), (30, "NETBLT"),
    (31, "MFE-NSP"), (32, "MERIT-INP"), (33, "DCCP"), (34, "3PC"), (35, "IDPR"), (36, "XTP"), (37, "DDP"),
    (38, "IDPR-CMTP"), (39, "TP++"), (40, "IL"), (41, "IPv6"), (42, "SDRP"), (43, "IPv6-Route"), (44, "IPv6-Frag"),
    (45, "IDRP"), (46, "RSVP"), (48, "DSR"), (49, "BNA"), (52, "I-NLSP"), (53, "SWIPE (deprecated)"), (54, "NARP"),
    (55, "MOBILE"), (56, "TLSP"), (57, "SKIP"), (59, "IPv6-NoNxt"), (60, "IPv6-Opts"), (62, "CFTP"),
    (64, "SAT-EXPAK"), (65, "KRYPTOLAN"), (66, "RVD"), (67, "IPPC"), (69, "SAT-MON"), (70, "VISA"), (71, "IPCV"),
    (72, "CPNX"), (73, "CPHB"), (74, "WSN"), (75, "PVP"), (76, "BR-SAT-MON"), (77, "SUN-ND"), (78, "WB-MON"),
    (79, "WB-EXPAK"), (80, "ISO-IP"), (81, "VMTP"), (82, "SECURE-VMTP"), (83, "VINES"), (84, "TTP"), (85, "NSFNET-IGP"),
    (86, "DGP"), (87, "TCF"), (88, "EIGRP"), (89, "OSPFIGP"), (90, "Sprite-RPC"), (91, "LARP"), (92, "MTP"),
    (93, "AX.25"), (94, "IPIP"), (95, "MICP (deprecated)"), (96, "SCC-SP"), (97, "ETHERIP"), (98, "ENCAP"),
    (100, "GMTP"), (101, "IFMP"), (102, "PNNI"), (103, "PIM"), (104, "ARIS"), (105, "SCPS"), (106, "QNX"),
    (107, "A/N"), (108, "IPComp"), (109, "SNP"), (110, "Compaq-Peer"), (111, "IPX-in-IP"), (112, "VRRP"),
    (113, "PGM"), (115, "L2TP"), (116, "DDX"), (117, "IATP"), (118, "STP"), (119, "SRP"), (120, "UTI"), (121, "SMP"),
    (122, "SM (deprecated)"), (123, "PTP"), (124, "ISIS over IPv4"), (125, "FIRE"), (126, "CRTP"), (127, "CRUDP"),
    (128, "SSCOPMCE"), (129, "IPLT"), (130, "SPS"), (131, "PIPE"), (133, "FC"), (134, "RSVP-E2E-IGNORE"),
    (135, "Mobility Header"), (136, "UDPLite"), (137, "MPLS-in-IP"), (138, "manet"), (139, "HIP"), (140, "Shim6"),
    (141, "WESP"), (142, "ROHC"), (143, "Ethernet"), (255, "Reserved"),
];

/// A plain piece of text, with nothing escaped in it.
pub fn plain(bytes: &[u8]) -> Raw<'_> {
    Raw { bytes, escape: Escape::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ip;

    fn networks() -> Networks {
        Networks::parse(["10.0.0.0/8", "fc00::/7"]).unwrap()
    }

    fn addressed(src: &str, dst: &str) -> Session<'static> {
        let mut session = Session::default();
        session.set(Field::SrcIpAddr, Value::Address(ip::parse(src.as_bytes()).unwrap()));
        session.set(Field::DstIpAddr, Value::Address(ip::parse(dst.as_bytes()).unwrap()));
        session
    }

    #[test]
    fn pairs_stand_side_by_side_and_fit_the_set() {
        assert!(FIELDS.len() <= 128);
        for (field, name, _) in FIELDS {
            match field.partner() {
                Some(other) => {
                    let want = name
                        .strip_prefix("Src")
                        .map_or_else(|| format!("Src{}", &name[3..]), |rest| format!("Dst{rest}"));
                    assert_eq!(want, other.name());
                }
                None => assert!(!name.starts_with("Src") && !name.starts_with("Dst"), "{name}"),
            }
        }
    }

    #[test]
    fn swap_exchanges_both_ends_and_presence() {
        let mut session = addressed("10.0.0.1", "192.0.2.1");
        session.set(Field::SrcPortNumber, Value::Number(7));
        session.set(Field::NetworkBytes, Value::Number(9));

        session.swap();

        assert_eq!("192.0.2.1", session.address(Field::SrcIpAddr).unwrap().to_string());
        assert_eq!((None, Some(7)), (session.number(Field::SrcPortNumber), session.number(Field::DstPortNumber)));
        assert_eq!(Some(9), session.number(Field::NetworkBytes));
    }

    #[test]
    fn orientation_takes_the_internal_end_as_the_source() {
        for (src, dst, source) in [
            ("192.0.2.1", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.1", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.2", "10.0.0.1"),
            ("192.0.2.1", "192.0.2.2", "192.0.2.1"),
        ] {
            let mut session = addressed(src, dst);
            session.orient(&networks());
            assert_eq!(source, session.address(Field::SrcIpAddr).unwrap().to_string());
        }
    }

    #[test]
    fn result_follows_the_action_unless_given() {
        for (action, result) in [("Allow", "Success"), ("Reset Source", "Failure"), ("VPNroute", "Success"), ("", "NA")]
        {
            let mut session = Session::default();
            if !action.is_empty() {
                session.set(Field::DvcAction, Value::Word(action));
            }
            session.derive(FieldSet::ALL, &networks(), 10);
            assert_eq!(result, session.word(Field::EventResult), "{action}");
        }
    }

    #[test]
    fn direction_follows_the_addresses_unless_given() {
        for (src, dst, direction) in [
            ("10.0.0.1", "192.0.2.1", "Outbound"),
            ("192.0.2.1", "10.0.0.1", "Inbound"),
            ("10.0.0.1", "fd00::1", "Local"),
            ("192.0.2.1", "2001:db8::1", "External"),
        ] {
            let mut session = addressed(src, dst);
            session.derive(FieldSet::ALL, &networks(), 10);
            assert_eq!(direction, session.word(Field::NetworkDirection));
        }
    }

    #[test]
    fn a_record_that_claims_too_many_events_is_clamped() {
        let mut session = Session::default();
        session.set(Field::EventCount, Value::Number(11));
        assert!(session.derive(FieldSet::ALL, &networks(), 10));
        assert_eq!(Some(10), session.number(Field::EventCount));
    }

    #[test]
    fn text_becomes_what_the_field_holds() {
        let shown = |kind, text: &'static str| {
            convert(kind, plain(text.as_bytes()), Case::AsIs)
                .map(|v| String::from_utf8(v.bytes().into_owned()).unwrap())
        };
        assert_eq!(Some("TCP".into()), shown(Kind::Protocol, "6"));
        assert_eq!(Some("TCP".into()), shown(Kind::Protocol, "tcp"));
        assert_eq!(Some("IPv6-ICMP".into()), shown(Kind::Protocol, "icmp6"));
        assert_eq!(Some("L2TPV3".into()), shown(Kind::Protocol, "l2tpv3"));
        assert_eq!(Some("Unassigned".into()), shown(Kind::Protocol, "61"));
        assert_eq!(None, shown(Kind::Port, "77777"));
        assert_eq!(Some("443".into()), shown(Kind::Port, " 443 "));
        assert_eq!(Some("192.0.2.1".into()), shown(Kind::Address, "::ffff:192.0.2.1"));
        assert_eq!(None, shown(Kind::Address, "gateway"));
        assert_eq!(Some("12".into()), shown(Kind::Number, "12.9"));
        assert_eq!(None, shown(Kind::Text, "  "));
        assert_eq!(None, shown(Kind::Word(ACTIONS), "Allow"));
    }
}

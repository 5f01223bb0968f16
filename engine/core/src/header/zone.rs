//! The time zone names that devices write behind a time.
//!
//! Only names that are seen on the wire and that nobody gives to a device: in RFC 3164 a hostname may stand in the same
//! place. Source: the abbreviations of the IANA time zone database.

/// How many minutes east of UTC a name may mean, the usual meaning first; `None` if it is no well-known name.
///
/// The case counts. Names that several countries use have several meanings: `CST` is North America's, China's or Cuba's.
pub(super) fn minutes(name: &[u8]) -> Option<&'static [i16]> {
    let meanings: &[i16] = match name.len() {
        3 => match name {
            b"UTC" | b"GMT" | b"WET" => &[0],
            b"CET" | b"MEZ" => &[60],
            // British summer, Bangladesh.
            b"BST" => &[60, 360],
            b"EET" => &[120],
            b"MSK" => &[180],
            // India, Ireland in summer, Israel.
            b"IST" => &[330, 60, 120],
            b"PKT" => &[300],
            b"ICT" | b"WIB" => &[420],
            b"SGT" | b"HKT" => &[480],
            b"JST" | b"KST" => &[540],
            b"NST" => &[-210],
            b"NDT" => &[-150],
            // Atlantic, Arabia.
            b"AST" => &[-240, 180],
            b"ADT" | b"BRT" => &[-180],
            b"EST" => &[-300],
            b"EDT" => &[-240],
            // North America, China, Cuba.
            b"CST" => &[-360, 480, -300],
            // North America, Cuba.
            b"CDT" => &[-300, -240],
            b"MST" | b"PDT" => &[-420],
            b"MDT" => &[-360],
            // Pacific, Philippines.
            b"PST" => &[-480, 480],
            b"HST" => &[-600],
            _ => return None,
        },
        4 => match name {
            b"WEST" => &[60],
            b"CEST" | b"MESZ" | b"SAST" => &[120],
            b"EEST" => &[180],
            b"AWST" => &[480],
            b"ACST" => &[570],
            b"AEST" => &[600],
            b"ACDT" => &[630],
            b"AEDT" => &[660],
            b"NZST" => &[720],
            b"NZDT" => &[780],
            b"AKST" => &[-540],
            b"AKDT" => &[-480],
            _ => return None,
        },
        _ => return None,
    };
    Some(meanings)
}

/// Seconds east of UTC that a name stands for on a device whose zone is configured as `configured_s`.
///
/// A well-known name wins over the configuration, which only chooses among its meanings; any other name is what the
/// device's administrator called the configured zone.
pub(super) fn seconds(name: &[u8], configured_s: Option<i32>) -> Option<i32> {
    let Some(meanings) = minutes(name) else { return configured_s };
    let mut meant_s = meanings.iter().map(|&minutes| i32::from(minutes).saturating_mul(60));
    meant_s.clone().find(|&meaning_s| Some(meaning_s) == configured_s).or_else(|| meant_s.next())
}

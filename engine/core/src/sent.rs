//! A message as it was sent: through a relay, or by the device itself.

use crate::header::Header;
use crate::profile::{Profile, Profiles};
use crate::setup::Known;

/// A message with its header read as far as its peer is believed.
pub(crate) struct Sent<'m> {
    /// The device's header.
    pub(crate) header: Header<'m>,
    /// The header that the peer put in front where it is a relay; the device's own where it put none.
    pub(crate) relay: Option<Header<'m>>,
}

impl<'m> Sent<'m> {
    /// The host that the header names, where the peer is believed.
    pub(crate) fn host(&self) -> Option<&'m [u8]> {
        (self.relay.is_some() && !self.header.hostname.is_empty()).then_some(self.header.hostname)
    }

    /// The profile that reads the message, and the text that it reads: the operator's, else that of the device's
    /// content, else that of all that a relay wrote, should the device's header be none.
    pub(crate) fn profile<'p>(&self, profiles: &'p Profiles, known: Option<&Known>) -> Option<(&'p Profile, &'m [u8])> {
        let forced = known.and_then(|known| known.profile.as_deref()).and_then(|name| profiles.named(name));
        let forced = forced.and_then(|number| Some((profiles.get(number)?, self.header.content)));
        forced.or_else(|| profiles.detect(&self.header)).or_else(|| profiles.detect(self.relay.as_ref()?))
    }
}

//! What becomes of messages: every one ends in exactly one outcome, and the ledger counts them.

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What became of a message: a closed list, so that received messages equal the sum over it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Outcome { $($(#[$doc])* $name),* }

        /// The names of the outcomes, in the order of [`Outcome`].
        pub const OUTCOMES: &[&str] = &[$($text),*];

        pub(crate) const OUTCOMES_IN_ORDER: &[Outcome] = &[$(Outcome::$name),*];
    };
}

outcomes! {
    /// One or more sessions were read.
    Session = "session",
    /// Understood, but it tells of no session.
    Event = "event",
    /// No profile knows it, or its profile can't read it.
    Unparsed = "unparsed",
    /// Nothing in it.
    Empty = "empty",
    /// Over the bound on a message's length; dropped whole.
    TooLong = "too_long",
    /// A stream's frame that doesn't keep RFC 6587; dropped up to the next sound one.
    BadFrame = "bad_frame",
    /// The stream ended inside an octet-counted frame.
    Unfinished = "unfinished",
    /// The bound on unfinished frames of all streams was reached.
    NoMemory = "no_memory",
    /// Reading it panicked: a bug of ours, survived.
    Panic = "panic",
    /// Its peer is none of those that the listener takes messages from; not read at all.
    NotAllowed = "not_allowed",
    /// Its peer sent more than `bounds.peer_rate` gives it; not read at all.
    RateLimited = "rate_limited",
}

impl Outcome {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        OUTCOMES.get(self as usize).copied().unwrap_or("")
    }
}

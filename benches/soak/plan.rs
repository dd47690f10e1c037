//! What a session is going to do: drawn by the client, told to the server in its first bytes.
//!
//! ```text
//! client: request (40 bytes), then `up` bytes of one run of numbers
//! server: hello (16 bytes), then `down` bytes of another
//! ```

use std::time::Duration;

use ringway::random::Random;

/// Bytes of a request.
pub(crate) const REQUEST: usize = 40;

/// Bytes of a hello.
pub(crate) const HELLO: usize = 16;

/// More than is ever sent.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// In front of each request; neither HTTP nor TLS, so that `auto` does not wait for more.
const MAGIC: [u8; 8] = *b"\x00soaking";

const MIB: u64 = 1 << 20;

/// What the server does. An EOF is said when all is sent and, but for `First`, all has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Role {
    /// Sends back what it receives.
    Echo,
    /// Sends while it receives.
    Both,
    /// Sends when it has received everything.
    Answer,
    /// Sends when it has received the client's EOF.
    AnswerEof,
    /// Sends, says EOF, and goes on receiving.
    First,
    /// Sends, receives everything, and resets.
    ResetBehind,
    /// Sends, and resets at once.
    ResetAtOnce,
    /// Says hello, and never reads again.
    Deaf,
}

impl Role {
    const ALL: [Self; 8] = [
        Self::Echo,
        Self::Both,
        Self::Answer,
        Self::AnswerEof,
        Self::First,
        Self::ResetBehind,
        Self::ResetAtOnce,
        Self::Deaf,
    ];
}

/// How the session must end, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Last {
    /// With an EOF behind the last byte.
    Eof,
    /// With a reset.
    Reset,
    /// ringway may end it.
    Any,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) role: Role,
    pub(crate) last: Last,
    pub(crate) seed: u64,
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Request {
    pub(crate) fn bytes(&self) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        bytes[..8].copy_from_slice(&MAGIC);
        (bytes[8], bytes[9]) = (self.role as u8, self.last as u8);
        for (place, number) in [(16, self.seed), (24, self.up), (32, self.down)] {
            bytes[place..place + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None`: these are not the bytes of one.
    pub(crate) fn of(bytes: &[u8; REQUEST]) -> Option<Self> {
        if bytes[..8] != MAGIC {
            return None;
        }
        let number = |place| {
            bytes[place..place + 8].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        Some(Self {
            role: *Role::ALL.get(usize::from(bytes[8]))?,
            last: *[Last::Eof, Last::Reset, Last::Any].get(usize::from(bytes[9]))?,
            seed: number(16),
            up: number(24),
            down: number(32),
        })
    }

    /// The seed of what the server sends; what is echoed is the client's own.
    pub(crate) fn down_seed(&self) -> u64 {
        if self.role == Role::Echo { self.seed } else { !self.seed }
    }
}

/// Who answers, and that it answers this request.
pub(crate) fn hello(server: u32, life: u32, seed: u64) -> [u8; HELLO] {
    let mut bytes = [0; HELLO];
    bytes[..4].copy_from_slice(&server.to_le_bytes());
    bytes[4..8].copy_from_slice(&life.to_le_bytes());
    bytes[8..].copy_from_slice(&seed.to_le_bytes());
    bytes
}

/// What the client does beside sending and checking.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conduct {
    /// Says EOF: as soon as all is sent, or when all has come too. Behind a server that says EOF
    /// first, `early` is to send without waiting for that. `urgent`: an urgent byte, which belongs
    /// to no run, goes in front of this position.
    Finish { early: bool, urgent: Option<u64> },
    /// Sends a message, waits for its echo and a while, and so on; leaves after so many. `stays`:
    /// until ringway ends it.
    Talk { messages: u32, pause: Duration, stays: bool },
    /// Resets when so many bytes have come, or at once, before anybody has answered.
    Reset { behind: u64, at_once: bool },
    /// Waits for a reset: behind all bytes, or anywhere.
    HearReset { behind: bool },
    /// Stops reading, and resets after a while.
    Stall { lasting: Duration },
    /// Says this to a listener that reads HTTP, then EOF.
    Misfit { text: &'static str, answer: &'static str },
}

/// A session's plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) request: Request,
    pub(crate) conduct: Conduct,
}

/// What the report counts it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Churn,
    Bulk,
    Talk,
    Stay,
    HalfClose,
    Urgent,
    ClientReset,
    ServerReset,
    Stalled,
    Silent,
    Incomplete,
    Malformed,
}

impl Kind {
    pub(crate) const ALL: [(Self, &str); 12] = [
        (Self::Churn, "short exchange"),
        (Self::Bulk, "bulk"),
        (Self::Talk, "echo"),
        (Self::Stay, "echo, until ringway ends"),
        (Self::HalfClose, "half-close"),
        (Self::Urgent, "urgent byte"),
        (Self::ClientReset, "client resets"),
        (Self::ServerReset, "server resets"),
        (Self::Stalled, "stalled reader"),
        (Self::Silent, "says nothing"),
        (Self::Incomplete, "half a head"),
        (Self::Malformed, "malformed head"),
    ];

    /// Goes to a listener that reads HTTP, and comes to no server.
    pub(crate) fn is_misfit(self) -> bool {
        matches!(self, Self::Silent | Self::Incomplete | Self::Malformed)
    }
}

/// A number below `end`.
pub(crate) fn below(random: &mut Random, end: u64) -> u64 {
    (random.next() >> 11) % end
}

impl Plan {
    /// Few bytes and a quick end, by either side.
    pub(crate) fn churn(random: &mut Random) -> Self {
        let (up, down) = (below(random, 2_000), below(random, 20_000));
        let early = below(random, 2) == 0;
        Self::finish(Kind::Churn, Role::Answer, [up, down], early, None, random)
    }

    pub(crate) fn bulk(random: &mut Random) -> Self {
        let (one, other) = (1 + below(random, 24 * MIB), 1 + below(random, 24 * MIB));
        let sizes = [[one, 0], [0, one], [one, other]][below(random, 3) as usize];
        let early = below(random, 2) == 0;
        Self::finish(Kind::Bulk, Role::Both, sizes, early, None, random)
    }

    /// `messages` of up to 2,000 bytes.
    pub(crate) fn talk(messages: u32, stays: bool, random: &mut Random) -> Self {
        let pause = Duration::from_millis(100 + below(random, 2_000));
        let (kind, last) = if stays { (Kind::Stay, Last::Any) } else { (Kind::Talk, Last::Eof) };
        let seed = random.next();
        Self {
            kind,
            request: Request { role: Role::Echo, last, seed, up: ENDLESS, down: ENDLESS },
            conduct: Conduct::Talk { messages, pause, stays },
        }
    }

    /// A way to end that is not the usual one.
    pub(crate) fn abort(random: &mut Random) -> Self {
        let most = [100, 30_000, 2 * MIB][below(random, 3) as usize];
        let size = 1 + below(random, most);
        let other = 1 + below(random, 100_000);
        match below(random, 10) {
            0 => Self::finish(Kind::HalfClose, Role::AnswerEof, [size, other], true, None, random),
            1 => {
                let early = below(random, 2) == 0;
                Self::finish(Kind::HalfClose, Role::First, [size, other], early, None, random)
            }
            2 => {
                let urgent = Some(below(random, size));
                Self::finish(Kind::Urgent, Role::Both, [size, other], true, urgent, random)
            }
            3 => Self::reset(Conduct::Reset { behind: size, at_once: false }, random),
            4 => Self::reset(Conduct::Reset { behind: 0, at_once: false }, random),
            5 => Self::reset(Conduct::Reset { behind: 0, at_once: true }, random),
            6 => Self::server_resets(Role::ResetBehind, size, random),
            7 => Self::server_resets(Role::ResetAtOnce, size, random),
            turn => {
                let role = if turn == 8 { Role::Both } else { Role::Deaf };
                let lasting = Duration::from_millis(200 + below(random, 4_000));
                Self {
                    kind: Kind::Stalled,
                    request: Request {
                        role,
                        last: Last::Reset,
                        seed: random.next(),
                        up: if role == Role::Deaf { ENDLESS } else { 0 },
                        down: if role == Role::Deaf { 0 } else { ENDLESS },
                    },
                    conduct: Conduct::Stall { lasting },
                }
            }
        }
    }

    /// What no server gets to see.
    pub(crate) fn misfit(random: &mut Random) -> Self {
        let (kind, text, answer) = [
            (Kind::Silent, "", ""),
            (Kind::Incomplete, "GET / HTTP/1.1\r\nHost: soak.exa", ""),
            (Kind::Malformed, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "),
        ][below(random, 3) as usize];
        let request =
            Request { role: Role::Answer, last: Last::Eof, seed: random.next(), up: 0, down: 0 };
        Self { kind, request, conduct: Conduct::Misfit { text, answer } }
    }

    fn finish(
        kind: Kind,
        role: Role,
        [up, down]: [u64; 2],
        early: bool,
        urgent: Option<u64>,
        random: &mut Random,
    ) -> Self {
        let request = Request { role, last: Last::Eof, seed: random.next(), up, down };
        Self { kind, request, conduct: Conduct::Finish { early, urgent } }
    }

    fn reset(conduct: Conduct, random: &mut Random) -> Self {
        let (seed, last) = (random.next(), Last::Reset);
        let request = Request { role: Role::Both, last, seed, up: ENDLESS, down: ENDLESS };
        Self { kind: Kind::ClientReset, request, conduct }
    }

    fn server_resets(role: Role, down: u64, random: &mut Random) -> Self {
        let behind = role == Role::ResetBehind;
        let (seed, up) = (random.next(), if behind { 8 } else { 0 });
        let request = Request { role, last: Last::Eof, seed, up, down };
        Self { kind: Kind::ServerReset, request, conduct: Conduct::HearReset { behind } }
    }
}

//! The one packer of `user_data`: which slot, which generation, what, which side, which buffer.

use super::BufferId;

/// Which end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Who connected to us.
    Client = 0,
    /// Whom we connected to.
    Server = 1,
}

impl Side {
    /// The side across.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What an operation was. At most one of each kind is pending on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `slot` is the listener's number.
    Accept = 0,
    /// `slot` means nothing.
    Mail,
    /// Its completion is ignored: a cancel releases nothing.
    Cancel,
    /// Receive into a ring buffer.
    Receive,
    /// Send from a ring buffer.
    Send,
    /// Send owned bytes.
    SendAll,
    /// Connect.
    Connect,
    /// Wait for bytes.
    Readable,
    /// Wait for room.
    Room,
    /// Wait for trouble.
    HangUp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Accept,
        Self::Mail,
        Self::Cancel,
        Self::Receive,
        Self::Send,
        Self::SendAll,
        Self::Connect,
        Self::Readable,
        Self::Room,
        Self::HangUp,
    ];
}

/// Names an operation in 64 bits: slot 24, generation 16, kind 4, side 1, buffer 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 16;
const KIND_BITS: u32 = 4;
const SIDE_BITS: u32 = 1;
const BUFFER_BITS: u32 = 16;

const GENERATION_AT: u32 = SLOT_BITS;
const KIND_AT: u32 = GENERATION_AT + GENERATION_BITS;
const SIDE_AT: u32 = KIND_AT + KIND_BITS;
const BUFFER_AT: u32 = SIDE_AT + SIDE_BITS;

/// Slots a worker can number.
pub const SLOTS_MAX: usize = 1 << SLOT_BITS;

const _: () = assert!(BUFFER_AT + BUFFER_BITS <= u64::BITS);
const _: () = assert!(Kind::ALL.len() <= 1 << KIND_BITS);
const _: () = assert!(size_of::<BufferId>() * 8 <= BUFFER_BITS as usize);

impl Token {
    /// Packs. `slot` must be below [`SLOTS_MAX`].
    pub const fn new(slot: u32, generation: u16, kind: Kind, side: Side) -> Self {
        debug_assert!((slot as usize) < SLOTS_MAX, "slots are reserved below SLOTS_MAX");
        Self(
            slot as u64
                | (generation as u64) << GENERATION_AT
                | (kind as u64) << KIND_AT
                | (side as u64) << SIDE_AT,
        )
    }

    /// The same with the buffer a send reads from.
    pub const fn with_buffer(self, buffer: BufferId) -> Self {
        Self(self.0 | (buffer.0 as u64) << BUFFER_AT)
    }

    /// The same slot, generation and side with another kind, and without a buffer.
    pub const fn of_kind(self, kind: Kind) -> Self {
        Self::new(self.slot(), self.generation(), kind, self.side())
    }

    /// What goes into `user_data`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What came back in `user_data`; must have been made by [`Token::bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Slot, or listener number.
    pub const fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }

    /// Generation of the slot's tenant.
    pub const fn generation(self) -> u16 {
        (self.0 >> GENERATION_AT) as u16
    }

    /// What it was.
    pub const fn kind(self) -> Kind {
        Kind::ALL[(self.0 >> KIND_AT) as usize & ((1 << KIND_BITS) - 1)]
    }

    /// On which side.
    pub const fn side(self) -> Side {
        if self.0 >> SIDE_AT & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// The buffer a send read from.
    pub const fn buffer(self) -> BufferId {
        BufferId((self.0 >> BUFFER_AT) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back() {
        for kind in Kind::ALL {
            for side in [Side::Client, Side::Server] {
                let token =
                    Token::new(0x00ab_cdef, 0x1234, kind, side).with_buffer(BufferId(0xfedc));
                let token = Token::from_bits(token.bits());
                assert_eq!(token.slot(), 0x00ab_cdef);
                assert_eq!(token.generation(), 0x1234);
                assert_eq!(token.kind(), kind);
                assert_eq!(token.side(), side);
                assert_eq!(token.buffer(), BufferId(0xfedc));
                let plain = Token::new(0x00ab_cdef, 0x1234, Kind::Room, side);
                assert_eq!(token.of_kind(Kind::Room), plain);
            }
        }
    }
}

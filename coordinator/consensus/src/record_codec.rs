//! The bytes that this crate puts into the log and into snapshots, beside those of the state machine.
//!
//! They are persisted and read by other versions, so each begins with the version of its layout. Integers are
//! little-endian; texts are preceded by their length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thalweg_types::{MemberId, address::ADDRESS_BYTES_MAX};
use thiserror::Error;

use crate::membership::{Roster, Seat};

const VERSION: u8 = 1;
/// Version 1 of a seat did not have the application that got the number.
const SEAT_VERSIONS: [u8; 2] = [1, 2];
/// Version 1 of a snapshot did not have the removed members, and is not read. Version 2 has seats of version 1.
const SNAPSHOT_VERSIONS: [u8; 2] = [2, 3];
/// The most members that are read. No group has as many, or has had as many removed.
const MEMBERS_MAX: u32 = 1024;
const RETIRED_MAX: u32 = 1 << 20;
const PROMOTABLE: u8 = 1;
const ADMITTED: u8 = 2;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RecordError {
    #[error("the {0} has version {1}, which this program does not know")]
    Version(&'static str, u8),
    #[error("the {0} is malformed")]
    Malformed(&'static str),
}

/// Identifies an entry or a read of one incarnation of one member: the context of a proposal and of a read request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) member: MemberId,
    /// Drawn at each start, so that a restarted member does not take earlier proposals for its own.
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
}

impl Origin {
    pub(crate) const BYTES: usize = 25;

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.put_u8(VERSION);
        bytes.put_u64_le(self.member.0);
        bytes.put_u64_le(self.incarnation);
        bytes.put_u64_le(self.number);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "origin of an entry";
        let mut reader = Reader { bytes, what: WHAT };
        reader.version(&[VERSION])?;
        let origin = Self { member: MemberId(reader.u64()?), incarnation: reader.u64()?, number: reader.u64()? };
        reader.end()?;
        Ok(origin)
    }
}

/// The context of a change that adds a member.
pub(crate) fn encode_seat(seat: &Seat) -> Vec<u8> {
    let mut bytes = vec![SEAT_VERSIONS[1]];
    put_seat(&mut bytes, seat);
    bytes
}

pub(crate) fn decode_seat(bytes: &[u8]) -> Result<Seat, RecordError> {
    let mut reader = Reader { bytes, what: "seat of a member" };
    let most = if reader.version(&SEAT_VERSIONS)? == 1 { PROMOTABLE } else { PROMOTABLE | ADMITTED };
    let seat = reader.seat(most)?;
    reader.end()?;
    Ok(seat)
}

/// The content of a snapshot: the members' seats, the removed members, and the state machine's bytes.
pub(crate) fn encode_snapshot(roster: &Roster, state: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(state.len() + 64 * roster.seats.len() + 8 * roster.retired.len() + 16);
    bytes.put_u8(SNAPSHOT_VERSIONS[1]);
    bytes.put_u32_le(u32::try_from(roster.seats.len()).expect("far fewer members"));
    for (member, seat) in &roster.seats {
        bytes.put_u64_le(member.0);
        put_seat(&mut bytes, seat);
    }
    bytes.put_u32_le(u32::try_from(roster.retired.len()).expect("far fewer changes"));
    roster.retired.iter().for_each(|member| bytes.put_u64_le(member.0));
    bytes.put_slice(state);
    bytes.freeze()
}

pub(crate) fn decode_snapshot(bytes: &Bytes) -> Result<(Roster, Bytes), RecordError> {
    const WHAT: &str = "snapshot";
    let mut reader = Reader { bytes, what: WHAT };
    let most = if reader.version(&SNAPSHOT_VERSIONS)? == 2 { PROMOTABLE } else { PROMOTABLE | ADMITTED };
    let count = reader.count(MEMBERS_MAX)?;
    let mut roster = Roster::default();
    for _ in 0..count {
        let member = MemberId(reader.u64()?);
        if roster.seats.insert(member, reader.seat(most)?).is_some() {
            return Err(RecordError::Malformed(WHAT));
        }
    }
    for _ in 0..reader.count(RETIRED_MAX)? {
        roster.retired.insert(MemberId(reader.u64()?));
    }
    let state = bytes.slice_ref(reader.bytes);
    Ok((roster, state))
}

fn put_seat(bytes: &mut impl BufMut, seat: &Seat) {
    let promotable = if seat.is_promotable { PROMOTABLE } else { 0 };
    bytes.put_u8(promotable | seat.application.map_or(0, |_| ADMITTED));
    if let Some(application) = seat.application {
        bytes.put_u64_le(application);
    }
    bytes.put_u16_le(u16::try_from(seat.address.len()).expect("addresses are checked where they enter"));
    bytes.put_slice(seat.address.as_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn malformed(&self) -> RecordError {
        RecordError::Malformed(self.what)
    }

    fn version(&mut self, known: &[u8]) -> Result<u8, RecordError> {
        match self.u8()? {
            version if known.contains(&version) => Ok(version),
            other => Err(RecordError::Version(self.what, other)),
        }
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.bytes.try_get_u8().map_err(|_| self.malformed())
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.bytes.try_get_u16_le().map_err(|_| self.malformed())
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.bytes.try_get_u32_le().map_err(|_| self.malformed())
    }

    fn count(&mut self, most: u32) -> Result<u32, RecordError> {
        self.u32().and_then(|count| if count > most { Err(self.malformed()) } else { Ok(count) })
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.bytes.try_get_u64_le().map_err(|_| self.malformed())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.bytes = rest;
        Ok(taken)
    }

    /// `most` has the flags that the record's version knows.
    fn seat(&mut self, most: u8) -> Result<Seat, RecordError> {
        let flags = self.u8()?;
        let application = if flags & ADMITTED == 0 { None } else { Some(self.u64()?) };
        let length = usize::from(self.u16()?);
        if flags > most || length > ADDRESS_BYTES_MAX {
            return Err(self.malformed());
        }
        let address = std::str::from_utf8(self.take(length)?).map_err(|_| self.malformed())?.to_owned();
        Ok(Seat { address, is_promotable: flags & PROMOTABLE != 0, application })
    }

    fn end(&self) -> Result<(), RecordError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests;

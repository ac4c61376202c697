//! A packet of IPv4 or IPv6 (RFC 791, RFC 8200) → what its TCP segment (RFC 9293) begins or answers.

use std::net::{IpAddr, SocketAddr};

/// What a witness counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody knocks.
    Syn,
    /// This machine lets them in.
    SynAck,
    /// This machine sends them away.
    Reset,
}

/// One packet of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Which.
    pub kind: Kind,
    /// The other side.
    pub peer: SocketAddr,
    /// Its sequence number: the same packet is seen on every interface that it passes.
    pub sequence: u32,
}

const TCP: u8 = 6;
/// Headers of IPv6 that may stand before TCP and have their length in their second byte.
const EXTENSIONS: [u8; 3] = [0, 43, 60];

/// What `packet`, from its IP header on, has to do with `port` of this machine.
pub fn sight(packet: &[u8], port: u16) -> Option<Sight> {
    let (source, destination, tcp) = match packet.first()? >> 4 {
        4 => v4(packet)?,
        6 => v6(packet)?,
        _ => return None,
    };
    let number = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    let (from, to) = (number(0)?, number(2)?);
    let sequence = u32::from_be_bytes(<[u8; 4]>::try_from(tcp.get(4..8)?).ok()?);
    let flags = tcp.get(13)?;
    let (syn, ack, rst) = (flags & 2 != 0, flags & 16 != 0, flags & 4 != 0);
    let (kind, peer) = if to == port && syn && !ack && !rst {
        (Kind::Syn, SocketAddr::new(source, from))
    } else if from == port && syn && ack {
        (Kind::SynAck, SocketAddr::new(destination, to))
    } else if from == port && rst {
        (Kind::Reset, SocketAddr::new(destination, to))
    } else {
        return None;
    };
    Some(Sight { kind, peer, sequence })
}

type Parts<'p> = (IpAddr, IpAddr, &'p [u8]);

fn v4(packet: &[u8]) -> Option<Parts<'_>> {
    let length = usize::from(packet.first()? & 15) * 4;
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
    let first = *packet.get(9)? == TCP && fragment == 0 && length >= 20;
    let address = |at| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    first.then_some((address(12)?, address(16)?, packet.get(length..)?))
}

fn v6(packet: &[u8]) -> Option<Parts<'_>> {
    let address = |at| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (source, destination) = (address(8)?, address(24)?);
    let (mut kind, mut at) = (*packet.get(6)?, 40_usize);
    while EXTENSIONS.contains(&kind) {
        let length = usize::from(*packet.get(at + 1)?);
        kind = *packet.get(at)?;
        at += (length + 1) * 8;
    }
    (kind == TCP).then_some((source, destination, packet.get(at..)?))
}

//! The SYNs that come to the port, counted below every rule of the packet filter (packet(7)): a
//! firewall of this server drops them after they were seen here, one of the hosting before.

use super::super::{Context, Measured};
use crate::diag::fact::{Blind, Data, Status, Witness};

/// For as long as was asked, or until the run is over.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let port = context.evidence.subject.port;
    let wanted = std::time::Duration::from_secs(context.evidence.asked.witness_s.unwrap_or(0));
    let limit = wanted.min(context.left());
    let stop = context.stop.clone();
    let looked = tokio::task::spawn_blocking(move || look(port, limit, &stop)).await;
    let found = looked.ok().and_then(Result::ok);
    let found = found.unwrap_or(Witness { blind: Some(Blind::Failed), ..Witness::default() });
    let status = if found.blind.is_none() { Status::Worked } else { Status::Failed };
    (status, Some(Data::Witness(found)))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn look(
    _: u16,
    _: std::time::Duration,
    _: &tokio_util::sync::CancellationToken,
) -> std::io::Result<Witness> {
    Ok(Witness { blind: Some(Blind::NotLinux), ..Witness::default() })
}

#[cfg(target_os = "linux")]
use linux::look;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::io::{self, ErrorKind, Read};
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use socket2::{Domain, Protocol, SockFilter, Socket, Type};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use crate::diag::fact::{Blind, Knocks, Witness};
    use crate::diag::packets::syn::{Kind, Sight, sight};

    /// `ETH_P_ALL`.
    const EVERY_PROTOCOL: u16 = 3;
    /// How long we sleep before we look whether it is over.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// A packet that is forwarded is seen again on each interface; who asks again waits a second.
    const SAME: Duration = Duration::from_millis(300);
    const MOST_SOURCES: usize = 64;
    /// Packets that are remembered to know them again.
    const MOST_SEEN: usize = 4096;

    pub(super) fn look(
        port: u16,
        limit: Duration,
        stop: &CancellationToken,
    ) -> io::Result<Witness> {
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        let mut socket = match Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)) {
            Ok(socket) => socket,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Witness { blind: Some(Blind::NoPermission), ..Witness::default() });
            }
            Err(error) => return Err(error),
        };
        socket.attach_filter(&filter(port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let begun = Instant::now();
        let mut buffer = [0_u8; 256];
        let mut count = Count::default();
        while begun.elapsed() < limit && !stop.is_cancelled() {
            match socket.read(&mut buffer) {
                Ok(length) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if let Some(seen) = sight(packet, port) {
                        count.add(seen, Instant::now());
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count.result(begun.elapsed()))
    }

    #[derive(Default)]
    struct Count {
        seen: HashMap<(SocketAddr, u32), Instant>,
        by: HashMap<IpAddr, Knocks>,
        total: u64,
    }

    impl Count {
        fn add(&mut self, seen: Sight, now: Instant) {
            let source = seen.peer.ip();
            if source.is_loopback() {
                return;
            }
            if self.seen.len() > MOST_SEEN {
                self.seen.clear();
            }
            let before = self.seen.insert((seen.peer, seen.sequence), now);
            if before.is_some_and(|then| now.duration_since(then) < SAME) {
                return;
            }
            self.total += u64::from(seen.kind == Kind::Syn);
            if self.by.len() >= MOST_SOURCES && !self.by.contains_key(&source) {
                return;
            }
            let none = Knocks { source, syns: 0, answers: 0, resets: 0 };
            let of = self.by.entry(source).or_insert(none);
            match seen.kind {
                Kind::Syn => of.syns += 1,
                Kind::SynAck => of.answers += 1,
                Kind::Reset => of.resets += 1,
            }
        }

        fn result(self, took: Duration) -> Witness {
            let mut knocks: Vec<Knocks> = self.by.into_values().filter(|it| it.syns > 0).collect();
            knocks.sort_by_key(|it| (std::cmp::Reverse(it.syns), it.source));
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            Witness { ms, blind: None, knocks, total: self.total }
        }
    }

    /// Lets TCP to and from `port` pass (Linux, `networking/filter`), the first bytes of it: on a busy
    /// server nothing else is copied to us.
    fn filter(port: u16) -> Vec<SockFilter> {
        const BYTE: u16 = 0x30;
        const HALF: u16 = 0x28;
        const HALF_AFTER_X: u16 = 0x48;
        const SHIFT_RIGHT: u16 = 0x74;
        const IF_EQUAL: u16 = 0x15;
        const X_IS_HEADER_LENGTH: u16 = 0xb1;
        const RETURN: u16 = 0x06;
        let port = u32::from(port);
        let step =
            |code: u16, (yes, no): (u8, u8), value: u32| SockFilter::new(code, yes, no, value);
        vec![
            step(BYTE, (0, 0), 0),
            step(SHIFT_RIGHT, (0, 0), 4),
            step(IF_EQUAL, (1, 0), 4),
            step(IF_EQUAL, (7, 12), 6),
            // IPv4
            step(BYTE, (0, 0), 9),
            step(IF_EQUAL, (0, 10), 6),
            step(X_IS_HEADER_LENGTH, (0, 0), 0),
            step(HALF_AFTER_X, (0, 0), 0),
            step(IF_EQUAL, (6, 0), port),
            step(HALF_AFTER_X, (0, 0), 2),
            step(IF_EQUAL, (4, 5), port),
            // IPv6; with a header in between it is missed.
            step(HALF, (0, 0), 40),
            step(IF_EQUAL, (2, 0), port),
            step(HALF, (0, 0), 42),
            step(IF_EQUAL, (0, 1), port),
            step(RETURN, (0, 0), 256),
            step(RETURN, (0, 0), 0),
        ]
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::time::Duration;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use tokio_util::sync::CancellationToken;

    use super::look;

    /// Two namespaces and a cable; root only.
    #[test]
    fn it_sees_a_syn_that_a_rule_drops() {
        let net = || {
            let mut command = Command::new("unshare");
            command.args(["-n", "sleep", "60"]).spawn()
        };
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (Ok(mut server), Ok(mut client)) = (net(), net()) else { return };
        let enter = |id: u32| format!("nsenter -t {id} -n");
        let (s, c) = (enter(server.id()), enter(client.id()));
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        let apart =
            |id: u32| std::fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|it| it != ours);
        while !(apart(server.id()) && apart(client.id())) {
            std::thread::yield_now();
        }
        let script = format!(
            "{s} ip link add eth0 type veth peer name eth0 netns {}
            {s} ip addr add 10.9.0.1/24 dev eth0; {s} ip link set eth0 up
            {c} ip addr add 10.9.0.2/24 dev eth0; {c} ip link set eth0 up
            {s} iptables -A INPUT -p tcp --dport 8080 -j DROP",
            client.id()
        );
        let made = Command::new("sh").args(["-ec", &script]).status().unwrap();
        assert!(made.success());
        let go = |id: u32| {
            let file = std::fs::File::open(format!("/proc/{id}/ns/net")).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network).unwrap();
        };
        let (server_id, client_id) = (server.id(), client.id());
        let stop = CancellationToken::new();
        let (seen, ()) = std::thread::scope(|scope| {
            let witness = scope.spawn(|| {
                go(server_id);
                let _open = TcpListener::bind("10.9.0.1:8081").unwrap();
                look(8080, Duration::from_secs(20), &stop).unwrap()
            });
            let knocks = scope.spawn(|| {
                go(client_id);
                // The witness may not look yet; who is dropped asks again after a second.
                let dropped = "10.9.0.1:8080".parse().unwrap();
                let silent = TcpStream::connect_timeout(&dropped, Duration::from_millis(2500));
                assert!(silent.is_err());
                stop.cancel();
            });
            (witness.join().unwrap(), knocks.join().unwrap())
        });
        assert!(seen.total >= 1, "{seen:?}");
        assert_eq!(seen.knocks[0].source.to_string(), "10.9.0.2");
        assert_eq!((seen.knocks[0].answers, seen.blind), (0, None));
        for child in [&mut server, &mut client] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

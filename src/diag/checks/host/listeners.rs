//! Who listens on the port of this server: two looks at `/proc/net/tcp` and `tcp6`, a moment apart.

use std::collections::HashMap;
use std::time::Duration;

use super::super::Context;
use super::{Measured, file, network_file, on_linux};
use crate::diag::fact::{Data, HostListener, Listeners, Status};
use crate::diag::packets::tables::{Socket, counter, sockets};

/// A queue that is full for so long is not full by chance.
const MOMENT: Duration = Duration::from_millis(400);
const MOST_ELSEWHERE: usize = 100;
/// Descriptors that are looked at to find whose socket it is.
const MOST_DESCRIPTORS: usize = 300_000;

const LISTENS: u8 = 0x0a;
const HAS_ANSWERED: u8 = 0x03;

/// On the port of the subject.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let port = context.evidence.subject.port;
    let Ok(first) = tokio::task::spawn_blocking(Look::now).await else {
        return (Status::Failed, None);
    };
    if first.sockets.iter().any(|it| listens(it, port)) {
        tokio::time::sleep(MOMENT.min(context.left())).await;
    }
    on_linux(move || compare(port, &first, &Look::now())).await
}

/// What there is at one moment.
struct Look {
    sockets: Vec<Socket>,
    overflows: Option<u64>,
    drops: Option<u64>,
}

impl Look {
    fn now() -> Self {
        let (overflows, drops) = overflows();
        Self { sockets: all(), overflows, drops }
    }
}

fn listens(socket: &Socket, port: u16) -> bool {
    socket.state == LISTENS && socket.local.port() == port
}

fn all() -> Vec<Socket> {
    let texts = ["tcp", "tcp6"].iter().filter_map(|name| network_file(name));
    texts.flat_map(|text| sockets(&text).collect::<Vec<_>>()).collect()
}

fn overflows() -> (Option<u64>, Option<u64>) {
    let text = network_file("netstat").unwrap_or_default();
    let of = |name| counter(&text, "TcpExt", name);
    (of("ListenOverflows"), of("ListenDrops"))
}

fn compare(port: u16, first: &Look, second: &Look) -> Measured {
    if first.sockets.is_empty() && network_file("tcp").is_none() {
        return (Status::Failed, None);
    }
    let of_port = first.sockets.iter().filter(|it| listens(it, port));
    let listening: Vec<Socket> = of_port.copied().collect();
    let (overflows, drops) = (first.overflows, first.drops);
    let mut found = Listeners { overflows, drops, ..Listeners::default() };
    if !listening.is_empty() {
        let both = second.overflows.zip(overflows);
        found.new_overflows = both.map(|(now, then)| now.saturating_sub(then));
    }
    let owners = owners(&listening);
    for socket in &listening {
        let again = second.sockets.iter().find(|it| it.inode == socket.inode);
        let process = owners.get(&socket.inode).copied();
        let name = process.and_then(|it| file(&format!("/proc/{it}/comm")));
        found.on_port.push(HostListener {
            address: socket.local,
            waiting: (socket.waiting, again.map_or(0, |it| it.waiting)),
            user: socket.user,
            process,
            name: name.map(|it| it.trim().to_owned()),
        });
    }
    let elsewhere =
        first.sockets.iter().filter(|it| it.state == LISTENS && it.local.port() != port);
    found.elsewhere = elsewhere.map(|it| it.local).take(MOST_ELSEWHERE).collect();
    let half =
        first.sockets.iter().filter(|it| it.state == HAS_ANSWERED && it.local.port() == port);
    found.half_open = half.map(|it| it.remote).take(MOST_ELSEWHERE).collect();
    (Status::Worked, Some(Data::Listeners(found)))
}

/// Socket → process, as far as we may see that.
fn owners(sockets: &[Socket]) -> HashMap<u64, u32> {
    let names: HashMap<String, u64> =
        sockets.iter().map(|it| (format!("socket:[{}]", it.inode), it.inode)).collect();
    let mut found = HashMap::new();
    let mut left = MOST_DESCRIPTORS;
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let number = process.file_name().to_str().and_then(|it| it.parse::<u32>().ok());
        let Some(number) = number.filter(|_| left > 0 && found.len() < names.len()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{number}/fd")) else { continue };
        for descriptor in descriptors.flatten().take(left) {
            left -= 1;
            let link = std::fs::read_link(descriptor.path()).ok();
            let inode = link.as_ref().and_then(|it| names.get(it.to_str()?));
            if let Some(inode) = inode {
                // Of a parent and its workers the first.
                found.entry(*inode).or_insert(number);
            }
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{Look, compare};
    use crate::diag::fact::{Data, Status};

    #[test]
    fn our_own_listener_is_found_with_who_waits_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _waits = TcpStream::connect(address).unwrap();
        let (status, data) = compare(address.port(), &Look::now(), &Look::now());
        let Some(Data::Listeners(found)) = data else { panic!("{status:?}") };
        assert_eq!(status, Status::Worked);
        assert_eq!(found.on_port.len(), 1);
        let it = &found.on_port[0];
        assert_eq!((it.address, it.waiting), (address, (1, 1)));
        assert_eq!(it.process, Some(std::process::id()));
        assert!(it.name.is_some() && found.overflows.is_some(), "{found:?}");
    }
}

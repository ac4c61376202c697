//! One question to one name server, over UDP, as it is: nothing cached, nobody else asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These addresses, IPv4; perhaps none.
    Addresses(Vec<IpAddr>),
    /// A failure (RFC 1035 §4.1.1), by its number.
    Failure(u16),
}

/// Asks `server` for the IPv4 addresses of `name`, twice when it says nothing, each time for
/// `limit`.
///
/// # Errors
///
/// The operating system's: `ECONNREFUSED` when nobody listens there; `TimedOut` when nothing came;
/// `InvalidInput` when `name` is none.
///
/// # Cancel safety
///
/// Dropping the future ends it.
pub async fn ask(server: SocketAddr, name: &str, limit: Duration) -> io::Result<Said> {
    let name = Name::from_str(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("no random numbers"))?;
    let id = u16::from_be_bytes(id);
    let question = question(id, name)?;
    for _ in 0..2 {
        socket.send(&question).await?;
        if let Ok(said) = timeout(limit, answer(&socket, id)).await {
            return said;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn question(id: u16, name: Name) -> io::Result<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().map_err(io::Error::other)
}

/// The first answer to our question; strangers' are passed over.
async fn answer(socket: &UdpSocket, id: u16) -> io::Result<Said> {
    let mut bytes = vec![0; 4096];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if let Some(said) = read(bytes.get(..length).unwrap_or_default(), id) {
            return Ok(said);
        }
    }
}

fn read(bytes: &[u8], id: u16) -> Option<Said> {
    let message = Message::from_vec(bytes).ok()?;
    let ours = message.metadata.id == id && message.metadata.message_type == MessageType::Response;
    if !ours {
        return None;
    }
    let code = message.metadata.response_code;
    if code != ResponseCode::NoError {
        return Some(Said::Failure(code.into()));
    }
    let addresses = message.answers.iter().filter_map(|record| {
        let RData::A(ip) = record.data else { return None };
        Some(IpAddr::V4(ip.0))
    });
    Some(Said::Addresses(addresses.collect()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::{Name, RData, Record};
    use tokio::net::UdpSocket;

    use super::{Said, ask, read};

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers one question, after a stranger's answer.
    async fn server(code: ResponseCode, ip: Option<[u8; 4]>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            let (length, peer) = socket.recv_from(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes[..length]).unwrap();
            assert!(question.metadata.recursion_desired);
            let id = question.metadata.id;
            let answer = |id, code, ip: Option<[u8; 4]>| {
                let mut answer = Message::new(id, MessageType::Response, OpCode::Query);
                answer.metadata.response_code = code;
                let name: Name = "a.example.".parse().unwrap();
                let data = ip.map(|ip| RData::A(std::net::Ipv4Addr::from(ip).into()));
                answer.answers.extend(data.map(|data| Record::from_rdata(name, 60, data)));
                answer.to_vec().unwrap()
            };
            let strangers = answer(id.wrapping_add(1), ResponseCode::NoError, Some([6, 6, 6, 6]));
            socket.send_to(&strangers, peer).await.unwrap();
            socket.send_to(&answer(id, code, ip), peer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn an_answer_is_addresses_none_or_a_failure() {
        let address = server(ResponseCode::NoError, Some([192, 0, 2, 1])).await;
        let expected = Said::Addresses(vec!["192.0.2.1".parse().unwrap()]);
        assert_eq!(ask(address, "a.example.", LIMIT).await.unwrap(), expected);
        let empty = server(ResponseCode::NoError, None).await;
        assert_eq!(ask(empty, "a.example.", LIMIT).await.unwrap(), Said::Addresses(vec![]));
        let failing = server(ResponseCode::ServFail, None).await;
        assert_eq!(ask(failing, "a.example.", LIMIT).await.unwrap(), Said::Failure(2));
    }

    #[tokio::test]
    async fn silence_and_nobody_are_two_things() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let error = ask(address, "a.example.", Duration::from_millis(30)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        drop(silent);
        let error = ask(address, "a.example.", LIMIT).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        let error = ask(address, "a..b", LIMIT).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..99)) {
            let _either = read(&bytes, 7);
        }
    }
}

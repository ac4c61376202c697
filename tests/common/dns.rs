//! A name server that answers as it is told, and counts.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

/// What the server says about a name: addresses and their TTL, a failure, or nothing at all.
#[derive(Clone)]
pub enum Say {
    Addresses(Vec<IpAddr>, u32),
    NoSuchName,
    Failure,
    Nothing,
}

/// Gets the name (lower-case, with its last dot), the type, and how many questions of that pair
/// came before.
pub type Script = dyn Fn(&str, RecordType, usize) -> Say + Send + Sync;

pub struct NameServer {
    pub address: SocketAddr,
    questions: Arc<AtomicUsize>,
}

impl NameServer {
    pub async fn start(
        script: impl Fn(&str, RecordType, usize) -> Say + Send + Sync + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        tokio::spawn(answer_all(socket, Arc::new(script), Arc::clone(&questions)));
        Self { address, questions }
    }

    /// Questions so far.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

async fn answer_all(socket: UdpSocket, script: Arc<Script>, questions: Arc<AtomicUsize>) {
    let seen = Mutex::new(std::collections::HashMap::new());
    let mut buffer = [0; 1500];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        questions.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = answer(&buffer[..length], &*script, &seen) {
            socket.send_to(&answer, peer).await.unwrap();
        }
    }
}

/// The answer to one message, if there is to be one.
pub fn answer(
    bytes: &[u8],
    script: &Script,
    seen: &Mutex<std::collections::HashMap<(String, RecordType), usize>>,
) -> Option<Vec<u8>> {
    let request = Message::from_vec(bytes).unwrap();
    let query = request.queries.first().unwrap().clone();
    let (name, kind) = (query.name().to_string().to_lowercase(), query.query_type());
    let before = {
        let mut seen = seen.lock().unwrap();
        let count = seen.entry((name.clone(), kind)).or_insert(0);
        *count += 1;
        *count - 1
    };
    let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    match script(&name, kind, before) {
        Say::Nothing => return None,
        Say::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
        Say::Failure => answer.metadata.response_code = ResponseCode::ServFail,
        Say::Addresses(addresses, ttl) => {
            for address in addresses {
                let data = match (address, kind) {
                    (IpAddr::V4(v4), RecordType::A) => RData::A(v4.into()),
                    (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(v6.into()),
                    _ => continue,
                };
                answer.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
            }
        }
    }
    Some(answer.to_vec().unwrap())
}

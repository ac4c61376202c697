//! What passes and what does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::super::trials;
use super::{TUNNEL, context, of, reset, server};
use crate::diag::evidence::{Asked, Scheme};
use crate::diag::fact::{Data, End, Skip, Stage, Status, Trial, Trials, Trick};

/// What a proxy of a test does with a request for the target.
#[derive(Debug, Clone, Copy)]
enum Minds {
    Nothing,
    /// The first request for it is reset.
    Name,
    /// No request for it is answered.
    Silently,
    Denies,
    /// A `ClientHello` for it is reset.
    Sni,
}

async fn minding(minds: Minds, told: UnboundedSender<String>) -> SocketAddr {
    let asked = Arc::new(AtomicUsize::new(0));
    server(move |mut stream, head| {
        told.send(head.clone()).unwrap();
        let before = asked.fetch_add(usize::from(head.contains("t.example")), Ordering::SeqCst);
        async move {
            if head.contains("t.example") {
                match minds {
                    Minds::Name if before == 0 => return reset(stream),
                    Minds::Silently => return Some(stream),
                    Minds::Denies => stream.write_all(b"HTTP/1.1 403 x\r\n\r\n").await.ok()?,
                    Minds::Nothing | Minds::Name | Minds::Sni => {}
                }
            }
            stream.write_all(TUNNEL).await.ok()?;
            let mut hello = vec![0; 4096];
            let count = stream.read(&mut hello).await.ok()?;
            let named = hello[..count].windows(9).any(|it| it == b"t.example");
            if matches!(minds, Minds::Sni) && named {
                return reset(stream);
            }
            stream.write_all(b"\x15").await.ok()?;
            Some(stream)
        }
    })
    .await
}

async fn tried(minds: Minds, target: &str) -> (Vec<Trial>, Vec<String>) {
    let (told, mut asked) = unbounded_channel();
    let targets = vec![target.to_owned()];
    let context = context(Asked { targets, ..Asked::default() });
    let measured = trials::run(minding(minds, told).await, &context).await;
    let mut heads = Vec::new();
    while let Ok(head) = asked.try_recv() {
        heads.push(head);
    }
    (of::<Trials>(&measured).trials, heads)
}

fn ends_of(trials: &[Trial]) -> Vec<(Trick, End)> {
    trials.iter().map(|it| (it.trick, it.end)).collect()
}

#[tokio::test]
async fn what_is_not_minded_is_tried_once() {
    let (trials, heads) = tried(Minds::Nothing, "https://t.example/x").await;
    let answered = [
        Trick::OriginForm,
        Trick::NeutralName,
        Trick::WantedName,
        Trick::WantedSni,
        Trick::OtherSni,
    ];
    assert_eq!(ends_of(&trials), answered.map(|trick| (trick, End::Answered)));
    assert!(trials.iter().all(|it| it.status == Some(200)));
    let of_sni = trials.iter().filter_map(|it| it.stage);
    assert_eq!(of_sni.collect::<Vec<_>>(), [Stage::TargetTls; 2]);
    assert_eq!(heads.len(), 5);
    let bare: Vec<_> = heads.iter().filter(|it| !it.contains("Proxy-Authorization")).collect();
    assert!(bare.len() == 1 && bare[0].starts_with("GET /healthz "), "{bare:?}");
    assert!(heads.iter().any(|it| it.contains(".invalid:443 HTTP")));

    let (trials, _) = tried(Minds::Denies, "https://t.example/").await;
    assert_eq!((trials.len(), trials[2].status), (3, Some(403)));
    let (trials, heads) = tried(Minds::Nothing, "http://t.example/").await;
    assert_eq!(ends_of(&trials), ends_of(&trials[..3]));
    assert!(heads.iter().any(|it| it.starts_with("CONNECT t.example:80 ")));
}

#[tokio::test]
async fn what_is_minded_is_tried_in_another_way() {
    let ((reset, _), (silent, heads), (sni, _)) = tokio::join!(
        tried(Minds::Name, "https://t.example/"),
        tried(Minds::Silently, "https://t.example:8443/"),
        tried(Minds::Sni, "https://t.example/"),
    );
    let expected = [(Trick::WantedName, End::Reset), (Trick::SplitLine, End::Answered)];
    assert_eq!(ends_of(&reset[2..]), expected);
    let expected = [(Trick::WantedName, End::Silent), (Trick::SplitLine, End::Silent)];
    assert_eq!(ends_of(&silent[2..]), expected);
    assert!(heads.iter().any(|it| it.starts_with("CONNECT t.example:8443 ")));
    if cfg!(target_os = "linux") {
        assert!(silent[2..].iter().all(|it| it.acknowledged == Some(true)));
    }
    let expected = [(Trick::WantedSni, End::Reset), (Trick::OtherSni, End::Answered)];
    assert_eq!(ends_of(&sni[3..]), expected);
}

#[tokio::test]
async fn a_socks_proxy_is_not_tried_in_http() {
    let context = context(Asked { scheme: Scheme::Socks5, ..Asked::default() });
    let measured = trials::run("127.0.0.1:1".parse().unwrap(), &context).await;
    assert!(matches!(measured, (Status::Skipped(Skip::NoProxy), None::<Data>)));
}

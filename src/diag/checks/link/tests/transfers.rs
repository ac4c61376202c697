//! Bytes down and up.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::super::transfer;
use super::{ALL, ALL_BYTES, any, ends, of, ok, reset, says, server};
use crate::diag::fact::{Direction, End, Status, Transfer};

async fn moves(proxy: SocketAddr, direction: Direction) -> Transfer {
    let measured = transfer::run(proxy, direction, &any()).await;
    let transfer: Transfer = of(&measured);
    let worked = measured.0 == Status::Worked;
    assert_eq!(worked, transfer.end == End::Answered);
    transfer
}

async fn down(proxy: SocketAddr) -> Transfer {
    moves(proxy, Direction::Down).await
}

async fn up(proxy: SocketAddr) -> Transfer {
    moves(proxy, Direction::Up).await
}

pub(super) fn summary(it: &Transfer) -> (End, Option<u64>, Option<u16>) {
    (it.end, it.moved, it.status)
}

#[tokio::test]
async fn a_download_tells_how_far_it_came() {
    let all = down(says(ok(ALL, &vec![1; ALL_BYTES])).await).await;
    assert_eq!(summary(&all), (End::Answered, Some(ALL), None));
    assert!(all.first_us.unwrap() <= all.elapsed_us);
    let short = down(ends(ok(ALL, &[1; 1000])).await).await;
    assert_eq!(summary(&short), (End::Closed, Some(1000), None));
    let less = down(ends(ok(1000, &[1; 1000])).await).await;
    assert_eq!(summary(&less), (End::Closed, Some(1000), None));
    let refused = down(says(b"HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n".to_vec()).await).await;
    assert_eq!(summary(&refused), (End::Closed, Some(0), Some(429)));
    let broken = server(|stream, _| async move { reset(stream) }).await;
    assert_eq!(summary(&down(broken).await), (End::Reset, Some(0), None));
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(down(nobody).await.end, End::NoConnection);
}

#[tokio::test]
async fn a_download_that_stands_still_or_is_slow_ends() {
    let trickling = server(|mut stream, _| async move {
        stream.write_all(&ok(ALL, &[])).await.ok()?;
        loop {
            stream.write_all(&[1; 100]).await.ok()?;
            sleep(Duration::from_millis(20)).await;
        }
    });
    let (stops, bare, silent, trickling) = tokio::join!(
        async { down(says(ok(ALL, &vec![1; 20_000])).await).await },
        async { down(says(ok(ALL, &[])).await).await },
        async { down(says(Vec::new()).await).await },
        async { down(trickling.await).await },
    );
    assert_eq!(summary(&stops), (End::Silent, Some(20_000), None));
    assert_eq!(summary(&bare), (End::Silent, Some(0), None));
    assert_eq!(summary(&silent), (End::Silent, Some(0), None));
    assert!(bare.first_us.is_some() && silent.first_us.is_none());
    for it in [&stops, &bare, &silent] {
        assert!(it.longest_gap_us >= 2_500_000 && it.elapsed_us < 4_000_000, "{it:?}");
    }
    assert_eq!(trickling.end, End::Unfinished);
    assert!((100..ALL).contains(&trickling.moved.unwrap()), "{trickling:?}");
    assert!(trickling.elapsed_us < 5_000_000, "{trickling:?}");
    assert!(trickling.elapsed_us >= 3_000_000 && trickling.longest_gap_us < 2_500_000);
}

async fn sink(answer: &'static str) -> SocketAddr {
    server(move |mut stream, head| async move {
        assert!(head.starts_with("POST http://sami-proxy.internal/sink HTTP/1.1\r\n"));
        let (_, length) = head.split_once("Content-Length: ").unwrap();
        let length: u64 = length.split("\r\n").next().unwrap().parse().unwrap();
        tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await.ok()?;
        let answer = answer.replace("ALL", &length.to_string());
        stream.write_all(&ok(answer.len() as u64, answer.as_bytes())).await.ok()?;
        Some(stream)
    })
    .await
}

#[tokio::test]
async fn an_upload_is_what_the_proxy_says() {
    let all = up(sink(r#"{"received":ALL,"ms":1}"#).await).await;
    assert_eq!(summary(&all), (End::Answered, Some(all.wanted), None));
    let some = up(sink(r#"{"received":5}"#).await).await;
    assert_eq!(summary(&some), (End::Closed, Some(5), None));
    let none = up(sink("[]").await).await;
    assert_eq!((none.end, none.status), (End::Closed, None));
    let refused = up(ends(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n".to_vec()).await).await;
    assert_eq!((refused.end, refused.status), (End::Closed, Some(413)));
    let broken = server(|stream, _| async move { reset(stream) }).await;
    assert_eq!(up(broken).await.end, End::Reset);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_upload_that_stands_still_or_is_slow_ends() {
    let swallows = server(|mut stream, _| async move {
        let mut some = [0; 10_000];
        stream.read_exact(&mut some).await.ok()?;
        Some(stream)
    });
    let mute = server(|mut stream, _| async move {
        let mut all = vec![0; ALL_BYTES];
        stream.read_exact(&mut all).await.ok()?;
        Some(stream)
    });
    let slow = server(|mut stream, _| async move {
        let mut some = [0; 500];
        loop {
            stream.read_exact(&mut some).await.ok()?;
            sleep(Duration::from_millis(20)).await;
        }
    });
    let (swallows, mute, slow) =
        tokio::join!(async { up(swallows.await).await }, async { up(mute.await).await }, async {
            up(slow.await).await
        },);
    assert_eq!(swallows.end, End::Silent);
    let (moved, held) = (swallows.moved.unwrap(), swallows.unacknowledged.unwrap());
    assert!((10_000..60_000).contains(&moved) && held > 0, "{swallows:?}");
    assert_eq!(moved + held, ALL, "{swallows:?}");
    assert_eq!(summary(&mute), (End::Silent, Some(ALL), None));
    assert_eq!(mute.unacknowledged, Some(0));
    assert_eq!(slow.end, End::Unfinished, "{slow:?}");
    assert!((1..ALL).contains(&slow.moved.unwrap()), "{slow:?}");
}

//! What proxies and targets say, and what is made of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::super::super::path::hello;
use super::super::client;
use super::super::entry::enter;
use super::super::tunnel::tunnel;
use super::{Authority, Trip, ask, authority, context, head, listen, says, trip, with_login};
use crate::diag::ask::Ask;
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Client, Data, End, Failure, How, ProxyReply, Said, Speaks, Stage, Status};
use crate::secret::Secret;
use crate::target::Target;

const TLS: &str = "https://target.test/";
const PLAIN: &str = "http://target.test/a?b";

/// `anna:hunter2@:/`.
const BASIC: &str = "Proxy-Authorization: Basic YW5uYTpodW50ZXIyQDov\r\n";

fn denied(trip: Trip) -> ProxyReply {
    let Failure { stage, how, .. } = trip.failure.unwrap();
    assert_eq!((stage, how), (Stage::Proxy, How::Denied));
    assert_eq!(trip.laps.last().unwrap().stage, Stage::Proxy);
    assert_eq!(trip.answer, None);
    trip.proxy.unwrap()
}

#[tokio::test]
async fn a_refusal_is_the_proxy_s_whatever_the_form() {
    let proxy = says(
        b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic realm=\"sami-proxy\", charset=\"UTF-8\"\r\n\
          Proxy-Authenticate: NTLM\r\nContent-Length: 5\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
          \r\nno\x1b\r\nmore",
    )
    .await;
    for target in [TLS, PLAIN] {
        let reply = denied(trip(target, Some(proxy), &context(ask(proxy, Scheme::Http))).await);
        assert_eq!((reply.status, reply.ours, reply.socks), (407, true, false));
        assert_eq!(reply.schemes, ["basic", "ntlm"]);
        assert_eq!(reply.clock.unwrap().theirs, 1_795_262_400);
        assert!(reply.body.starts_with(r"no\x1b\r\n"), "{}", reply.body);
    }
    let proxy = says(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
          Proxy-Status: sami-proxy; error=connection_limit_reached; details=\"1 of 1\"\r\n\r\nx",
    )
    .await;
    for target in [TLS, PLAIN] {
        let reply = denied(trip(target, Some(proxy), &context(ask(proxy, Scheme::Http))).await);
        let expected = ProxyReply {
            status: 503,
            ours: true,
            error: Some("connection_limit_reached".to_owned()),
            details: Some("1 of 1".to_owned()),
            retry_after_s: Some(5),
            body: "x".to_owned(),
            ..ProxyReply::default()
        };
        assert_eq!(reply, expected);
    }
    let squid = says(b"HTTP/1.1 403 Forbidden\r\nServer: squid/6\r\n\r\nAccess denied").await;
    let reply = denied(trip(TLS, Some(squid), &context(ask(squid, Scheme::Http))).await);
    assert_eq!((reply.status, reply.ours, reply.name.as_deref()), (403, false, Some("squid/6")));
    // Of a plain request nobody can tell whose answer that is.
    let trip = trip(PLAIN, Some(squid), &context(ask(squid, Scheme::Http))).await;
    assert_eq!((trip.failure, trip.answer.unwrap().status), (None, 403));
}

#[tokio::test]
async fn a_plain_request_is_in_absolute_form_with_credentials_and_nothing_else() {
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let proxy = listen(move |mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(head(&mut stream).await).unwrap();
            let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 429 Slow\r\n\
                Server: o\r\nLocation: /sorry\r\nRetry-After: 7\r\nCf-Mitigated: challenge\r\n\
                Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            // It does not close, though it was asked to.
            std::future::pending::<()>().await;
        }
    })
    .await;
    let trip = trip(PLAIN, Some(proxy), &context(with_login(ask(proxy, Scheme::Http)))).await;
    let request = requests.recv().await.unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        request,
        format!(
            "GET {PLAIN} HTTP/1.1\r\nHost: target.test\r\nUser-Agent: sami-proxy/{version}\r\n\
             Accept: */*\r\n{BASIC}Connection: close\r\n\r\n"
        )
    );
    let answer = trip.answer.unwrap();
    assert_eq!((answer.status, answer.retry_after_s, answer.bytes), (429, Some(7), 15));
    assert_eq!(answer.server.as_deref(), Some("o"));
    assert_eq!(answer.location.as_deref(), Some("/sorry"));
    assert_eq!(answer.mitigated.as_deref(), Some("challenge"));
    assert!(answer.body.starts_with("hello"), "{}", answer.body);
    let stages: Vec<_> = trip.laps.iter().map(|lap| lap.stage).collect();
    assert_eq!(stages, [Stage::Connect, Stage::FirstByte, Stage::Body]);
    assert_eq!((trip.failure, trip.proxy), (None, None));
}

#[tokio::test]
async fn without_a_proxy_the_request_is_in_origin_form() {
    let target = listen(|mut stream| async move {
        let request = head(&mut stream).await;
        assert!(request.starts_with("GET /a HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        assert!(!request.contains("Proxy-"), "{request}");
        stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let context = context(with_login(ask(target, Scheme::Http)));
    let trip = trip(&format!("http://{target}/a"), None, &context).await;
    assert_eq!((trip.failure, trip.peer), (None, Some(target)));
    assert_eq!(trip.answer.unwrap().status, 204);
}

#[tokio::test]
async fn what_comes_with_the_agreement_belongs_to_the_tunnel() {
    let proxy = listen(|mut stream| async move {
        let request = head(&mut stream).await;
        assert_eq!(
            request,
            format!("CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n{BASIC}\r\n")
        );
        let agreed = b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nearly";
        stream.write_all(agreed).await.unwrap();
        stream.write_all(b" late").await.unwrap();
    })
    .await;
    let context = context(with_login(ask(proxy, Scheme::Http)));
    let until = Instant::now() + context.budget;
    let entry = enter(proxy, until, &context).await.ok().unwrap();
    let target = Target::from_authority("target.test:443").unwrap();
    let mut tunnel = tunnel(entry, &target, until, &context).await.ok().unwrap();
    let mut came = String::new();
    tunnel.entry.stream.read_to_string(&mut came).await.unwrap();
    assert_eq!(came, "early late");
    assert_eq!(tunnel.reply.unwrap().status, 200);
    let stages: Vec<_> = tunnel.entry.laps.iter().map(|lap| lap.stage).collect();
    assert_eq!(stages, [Stage::Connect, Stage::Proxy]);
}

/// A SOCKS proxy that answers with `method`, with `verdict` if that is a login, and with `reply`.
async fn socks(method: u8, verdict: u8, reply: &'static [u8], login: Option<()>) -> Trip {
    let login = login.is_some();
    let proxy = listen(move |mut stream| async move {
        let mut bytes = [0; 300];
        let greeting: &[u8] = if login { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        stream.read_exact(&mut bytes[..greeting.len()]).await.unwrap();
        assert_eq!(&bytes[..greeting.len()], greeting);
        stream.write_all(&[5, method]).await.unwrap();
        if method == 2 && login {
            stream.read_exact(&mut bytes[..17]).await.unwrap();
            assert_eq!(&bytes[..17], b"\x01\x04anna\x0ahunter2@:/");
            stream.write_all(&[1, verdict]).await.unwrap();
        }
        if stream.read_exact(&mut bytes[..18]).await.is_err() {
            return;
        }
        assert_eq!(&bytes[..18], b"\x05\x01\x00\x03\x0btarget.test\x00\x50");
        stream.write_all(reply).await.unwrap();
        head(&mut stream).await;
    })
    .await;
    let asked = ask(proxy, Scheme::Socks5);
    let asked = if login { with_login(asked) } else { asked };
    trip(PLAIN, Some(proxy), &context(asked)).await
}

#[tokio::test]
async fn socks_agrees_or_says_why_not() {
    // The target's answer comes together with the agreement.
    let good = b"\x05\0\0\x01\0\0\0\0\0\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    for (method, login) in [(0, None), (0, Some(())), (2, Some(()))] {
        let trip = socks(method, 0, good, login).await;
        assert_eq!((trip.failure, trip.proxy), (None, None));
        assert_eq!(trip.answer.unwrap().body, "hi");
    }
    for (method, verdict, login, code) in
        [(255, 0, None, 255), (2, 0, None, 255), (1, 0, Some(()), 255), (2, 1, Some(()), 254)]
    {
        let reply = denied(socks(method, verdict, good, login).await);
        assert_eq!((reply.status, reply.socks), (code, true));
    }
    let refusals: [&[u8]; 8] = [
        b"\x05\x01\0\x01\0\0\0\0\0\0",
        b"\x05\x02",
        b"\x05\x03\0",
        b"\x05\x04",
        b"\x05\x05",
        b"\x05\x06",
        b"\x05\x07",
        b"\x05\x08",
    ];
    for bytes in refusals {
        let reply = denied(socks(0, 0, bytes, None).await);
        assert_eq!((reply.status, reply.socks), (bytes[1].into(), true));
    }
    let failure = socks(0, 0, b"HTTP/1.1 400 Bad", None).await.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::Proxy, How::Malformed));
    assert_eq!(failure.detail.as_deref(), Some("HTTP/1.1 400 Bad"));
}

async fn ordinary(target: &str, ask: Ask) -> Client {
    let address = (ask.subject.ip().unwrap(), ask.subject.port).into();
    let (status, data) = client::run(target, address, &context(ask)).await;
    let Some(Data::Client(client)) = data else { panic!("{data:?}") };
    assert_eq!(status, if client.status.is_some() { Status::Worked } else { Status::Failed });
    client
}

#[tokio::test]
async fn an_ordinary_client_is_told_the_same() {
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let proxy = listen(move |mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(head(&mut stream).await).unwrap();
            let answer = b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let asked = with_login(ask(proxy, Scheme::Http));
    let client = ordinary(PLAIN, asked.clone()).await;
    assert_eq!((client.status, client.error, &*client.target), (Some(302), None, PLAIN));
    let request = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get http://target.test/a?b http/1.1\r\n"), "{request}");
    assert!(request.contains(&BASIC.to_ascii_lowercase()), "{request}");

    let client = ordinary(TLS, asked).await;
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("CONNECT target.test:443 "), "{request}");
    assert!(request.to_ascii_lowercase().contains(&BASIC.to_ascii_lowercase()), "{request}");
    let error = client.error.unwrap();
    assert!(error.is_ascii() && client.status.is_none(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_an_ordinary_client_has_no_secrets() {
    let proxy = says(b"HTTP/1.1 407 hunter2@:/ anna\r\n\r\n").await;
    for scheme in [Scheme::Http, Scheme::Https, Scheme::Socks5] {
        let client =
            ordinary("https://u:hunter2@target.test/", with_login(ask(proxy, scheme))).await;
        assert_eq!(client.target, TLS);
        let error = client.error.unwrap();
        assert!(error.len() > 10, "{error}");
        for secret in ["hunter2", "anna", "YW5uYTpodW50ZXIyQDov", "@"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
    let mut odd = ask(proxy, Scheme::Http);
    odd.login = Some(("a%b:c".into(), Secret::new("d\u{e9} \r\n")));
    assert!(ordinary(TLS, odd).await.error.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_ordinary_client_ends_in_time() {
    let proxy = listen(|mut stream| async move {
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let begun = Instant::now();
    let client = ordinary(TLS, ask(proxy, Scheme::Http)).await;
    assert_eq!(begun.elapsed().as_millis() / 100, 147);
    assert_eq!(client.error.as_deref(), Some("operation timed out"));
}

#[tokio::test]
async fn our_proxy_is_known_in_tls_and_with_credentials() {
    let Authority { root, acceptor, .. } = authority();
    let answer = |request: &str| {
        let nonce = request.split_once("nonce=").unwrap().1.split(' ').next().unwrap();
        let known = request.contains(BASIC);
        let body = format!("{{\"service\":\"sami-proxy\",\"nonce\":\"{nonce}\"}}");
        let status = if known { "200 OK" } else { "407 P" };
        format!("HTTP/1.1 {status}\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n{body}")
    };
    let secure = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let request = head(&mut stream).await;
            stream.write_all(answer(&request).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let clear = listen(move |mut stream| async move {
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
        if first == [5, 2, 0, 2] {
            return stream.write_all(&[5, 2]).await.unwrap();
        }
        let request = head(&mut stream).await;
        stream.write_all(answer(&request).as_bytes()).await.unwrap();
    })
    .await;
    for (proxy, scheme) in [(secure, Scheme::Https), (clear, Scheme::Http), (clear, Scheme::Socks5)]
    {
        let ask = with_login(Ask { roots: vec![root.clone()], ..ask(proxy, scheme) });
        let (_, data) = hello::run(proxy, &context(ask)).await;
        let Some(Data::Hello(hello)) = data else { panic!("{data:?}") };
        assert_eq!(hello.speaks, Some(Speaks::SamiProxy), "{hello:?}");
        assert_eq!((hello.nonce_returned, hello.status), (Some(true), Some(200)), "{hello:?}");
        assert_eq!(hello.clock.unwrap().theirs, 1_795_262_400);
    }
    // TLS was asked for, and there is none.
    let web = says(b"HTTP/1.1 400 Bad\r\n\r\n").await;
    let (_, data) = hello::run(web, &context(ask(web, Scheme::Https))).await;
    let Some(Data::Hello(hello)) = data else { panic!("{data:?}") };
    let plain = hello.exchanges.iter().find(|it| it.said == Said::OriginForm).unwrap();
    assert_eq!((plain.end, hello.speaks), (End::Answered, Some(Speaks::WebServer)), "{hello:?}");
}

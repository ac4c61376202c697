//! What a browser gets that opens the proxy's port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::sync::Arc;

use common::{LIMIT, Proxy, header, settings};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n")
}

/// Head and body of the answer to `request`.
async fn ask(proxy: &Proxy, request: String) -> (String, String) {
    let answer = proxy.exchange(request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = header(head, "content-length").unwrap();
    if !body.is_empty() {
        assert_eq!(length, body.len().to_string());
    }
    (head.to_owned(), body.to_owned())
}

async fn page(proxy: &Proxy, fields: &str) -> String {
    let (head, body) = ask(proxy, request("/", fields)).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body
}

#[tokio::test]
async fn the_page_speaks_the_browsers_language() {
    let proxy = Proxy::start(&[]).await;
    for (accept, lang) in [
        ("", "en"),
        ("Accept-Language: ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7\r\n", "ru"),
        ("Accept-Language: en-US,en;q=0.9,ru;q=0.8\r\n", "en"),
        ("Accept-Language: de\r\n", "en"),
        ("Accept-Language: \"><script>\r\n", "en"),
        ("Accept-Language: ru\r\nAccept-Language: ru\r\n", "en"),
    ] {
        let text = page(&proxy, &format!("Host: proxy.example:8080\r\n{accept}")).await;
        assert!(text.contains(&format!("<html lang=\"{lang}\">")), "{accept}: {text}");
        assert!(text.contains("<b>127.0.0.1</b>"), "the address of the visitor: {text}");
    }
}

#[tokio::test]
async fn the_host_is_the_one_that_the_browser_used() {
    let proxy = Proxy::start(&[]).await;
    for (host, shown, port, pac) in [
        ("proxy.example:8080", "proxy.example", 8080, "PROXY proxy.example:8080"),
        ("Proxy.Example", "proxy.example", 80, "PROXY proxy.example:80"),
        ("81.85.76.160:3128", "81.85.76.160", 3128, "PROXY 81.85.76.160:3128"),
        ("[2001:db8::7]:8080", "2001:db8::7", 8080, "PROXY [2001:db8::7]:8080"),
        ("[::1]", "::1", 80, "PROXY [::1]:80"),
        ("sami-proxy.internal", "sami-proxy.internal", 80, "PROXY sami-proxy.internal:80"),
    ] {
        let host = format!("Host: {host}\r\n");
        let text = page(&proxy, &host).await;
        for value in [format!("<b>{shown}</b>"), format!("<b>{port}</b>"), "<b>http</b>".into()] {
            assert!(text.contains(&value), "{value}: {text}");
        }
        let (head, body) = ask(&proxy, request("/proxy.pac?x", &host)).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(header(&head, "content-type"), Some("application/x-ns-proxy-autoconfig"));
        assert!(body.contains(&format!("\"{pac}\"")) && body.contains("openai.com"), "{body}");
    }
}

#[tokio::test]
async fn a_hostile_host_is_not_shown() {
    let proxy = Proxy::start(&[]).await;
    let long = "a".repeat(5000);
    let labels = format!("{}evil", "evil.".repeat(60));
    for host in [
        "\"onload=evil",
        "<script>evil</script>",
        "javascript:evil",
        "a'evil:80",
        "evil&lt;",
        "evil@proxy.example:80",
        "evil:80:80",
        "evil:99999",
        "evil/..",
        "evil evil",
        "evil\t",
        "[evil]:80",
        "[::1%25evil]",
        "\u{1f}evil",
        "evil,evil2",
        "",
        &long,
        &labels,
    ] {
        for path in ["/", "/proxy.pac"] {
            let (head, body) = ask(&proxy, request(path, &format!("Host: {host}\r\n"))).await;
            let status = head.split(' ').nth(1).unwrap();
            // White space at the end is no part of a field's value.
            let is_clean = host.trim_end() == "evil";
            assert!(["400", "404"].contains(&status) || is_clean, "{host:?}: {head}");
            assert!(
                is_clean || !format!("{head}{body}").contains("evil"),
                "{host:?}: {head}{body}"
            );
        }
    }
    for fields in ["", "Host: a\r\nHost: b\r\n"] {
        let (head, _) = ask(&proxy, request("/", fields)).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
}

#[tokio::test]
async fn the_page_is_locked_up() {
    let proxy = Proxy::start(&[]).await;
    let (head, body) = ask(&proxy, request("/", "Host: a:1\r\n")).await;
    let policy = header(&head, "content-security-policy").unwrap();
    for rule in
        ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("script-src") && !body.contains("<script"), "{policy}");
    assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&head, "referrer-policy"), Some("no-referrer"));
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert!(header(&head, "vary").unwrap().contains("Accept-Language"));
    let (only_head, nothing) =
        ask(&proxy, request("/", "Host: a:1\r\n").replace("GET", "HEAD")).await;
    assert_eq!(nothing, "");
    let without_date = |head: &str| {
        head.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_date(&only_head), without_date(&head));
}

#[tokio::test]
async fn only_get_and_only_what_is_there() {
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /proxy.pac HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%2e HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        peer.send(request).await;
        let (head, body) = peer.message().await;
        assert!(
            head.starts_with("HTTP/1.1 404 ") && body.lines().count() == 2,
            "{request}: {head}"
        );
    }
    let (head, body) = ask(&proxy, request("/favicon.ico", "Host: a\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.starts_with("<svg"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("image/svg+xml"));
}

#[tokio::test]
async fn a_hidden_page_is_as_if_there_were_none() {
    let proxy = Proxy::start(&[("no-page", "true")]).await;
    for path in ["/", "/proxy.pac", "/favicon.ico"] {
        let (head, body) = ask(&proxy, request(path, "Host: a:1\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 404 ") && !body.contains("<html"), "{path}: {head}");
    }
    let (head, body) = ask(&proxy, request("/healthz", "Host: a:1\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok\n", "{head}");
}

#[tokio::test]
async fn credentials_are_neither_needed_nor_shown() {
    let proxy = Proxy::start(&[("auth", "anna-the-first:hunter2")]).await;
    let open = Proxy::start(&[]).await;
    let host = "Host: proxy.example:8080\r\n";
    let text = page(&proxy, host).await;
    assert!(text.contains(" -U NAME") && !page(&open, host).await.contains(" -U "), "{text}");
    for login in ["", "Proxy-Authorization: Basic YW5uYS10aGUtZmlyc3Q6aHVudGVyMg==\r\n"] {
        let text = page(&proxy, &format!("{host}{login}")).await;
        assert!(!text.contains("anna") && !text.contains("hunter2"), "{text}");
    }
    let (head, _) = ask(&proxy, request("/proxy.pac", host)).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn strangers_are_told_that_they_are() {
    let proxy = Proxy::start(&[("proxy-protocol-from", "127.0.0.0/8")]).await;
    let as_seen = async |address: &str| {
        let header = format!("PROXY TCP4 {address} 127.0.0.1 1 2\r\n");
        ask(&proxy, header + &request("/", "Host: a:1\r\n")).await.1
    };
    let (stranger, trusted) = (as_seen("81.85.76.1").await, as_seen("127.0.0.1").await);
    assert!(stranger.contains("<b>81.85.76.1</b>") && stranger.contains("Only LLM services"));
    assert!(!trusted.contains("Only LLM services"), "{trusted}");
}

#[tokio::test]
async fn under_tls_the_scheme_is_https() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    let proxy = Proxy::run(settings(&[("tls-self-signed", "true"), ("state-dir", folder)])).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(proxy.control.pin().unwrap().verifier())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for (host, path, expected) in [
        ("proxy.example:8443", "/", "<b>https</b>"),
        ("proxy.example:8443", "/", "https://proxy.example:8443/proxy.pac"),
        ("proxy.example", "/", "<b>443</b>"),
        ("proxy.example", "/proxy.pac", "\"HTTPS proxy.example:443\""),
    ] {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let name = ServerName::try_from("proxy.example").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = request(path, &format!("Host: {host}\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer)).await.expect("silence").unwrap();
        assert!(answer.contains(expected), "{host}: {answer}");
    }
    // The same port in the clear.
    assert!(page(&proxy, "Host: a:1\r\n").await.contains("<b>http</b>"));
}

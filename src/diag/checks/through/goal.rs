//! Where a request goes: a URL taken apart.

use reqwest::Url;

use crate::target::Target;

/// A target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    /// As reports have it: without user, password and fragment.
    pub(super) shown: String,
    /// `https`.
    pub(super) secure: bool,
    /// Host and port.
    pub(super) target: Target,
    /// The value of `Host`: without the scheme's own port.
    pub(super) authority: String,
    /// Path and query (RFC 9112 §3.2.1).
    pub(super) path: String,
}

impl Goal {
    /// `None` when it is no `http` or `https` URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        url.set_fragment(None);
        url.set_username("").and_then(|()| url.set_password(None)).ok()?;
        let host = url.host_str()?;
        let authority = url.port().map_or_else(|| host.to_owned(), |it| format!("{host}:{it}"));
        let target = if secure {
            Target::from_https_authority(&authority)
        } else {
            Target::from_http_authority(&authority)
        };
        let path = url
            .query()
            .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Some(Self { shown: url.to_string(), secure, target: target.ok()?, authority, path })
    }

    /// `GET`, with `form` as the request-target and `extra` as complete field lines.
    pub(super) fn request(&self, form: &str, extra: &str) -> Vec<u8> {
        format!(
            "GET {form} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: */*\r\n{extra}\
             Connection: close\r\n\r\n",
            self.authority,
            concat!("sami-proxy/", env!("CARGO_PKG_VERSION")),
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::Goal;

    #[test]
    fn a_url_is_taken_apart() {
        let of = |text: &str| {
            let goal = Goal::parse(text).unwrap();
            (goal.shown, goal.target.to_string(), goal.authority, goal.path)
        };
        let text = |all: (&str, &str, &str, &str)| {
            (all.0.to_owned(), all.1.to_owned(), all.2.to_owned(), all.3.to_owned())
        };
        for (url, expected) in [
            (
                "https://a:b@www.Google.com#x",
                ("https://www.google.com/", "www.google.com:443", "www.google.com", "/"),
            ),
            (
                "http://a:8080/p ath?q=ü",
                ("http://a:8080/p%20ath?q=%C3%BC", "a:8080", "a:8080", "/p%20ath?q=%C3%BC"),
            ),
            ("http://[::1]:80/", ("http://[::1]/", "[::1]:80", "[::1]", "/")),
        ] {
            assert_eq!(of(url), text(expected), "{url}");
        }
        for bad in ["", "ftp://a/", "https://", "https://a:0/", "a:443", "https://a b/"] {
            assert_eq!(Goal::parse(bad), None, "{bad}");
        }
    }
}

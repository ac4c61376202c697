//! The fields of a message head, in order, spelled as received.

/// One field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    /// Name as received.
    pub name: &'b str,
    /// Value without the white space around it.
    pub value: &'b [u8],
}

/// All field lines of a head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields<'b>(Vec<Field<'b>>);

/// Fields that concern one hop only (RFC 9110 §7.6.1, §11.7), whether `Connection` names them or
/// not. `Trailer` is end-to-end: trailers are passed on.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields that a message can't lose: `Connection: host` must not strip them (CVE-2022-31813).
const NOT_NOMINABLE: &[&str] =
    &["host", "content-length", "authorization", "cache-control", "content-range", "range"];

impl<'b> Fields<'b> {
    /// Collects `lines`; white space around values is dropped (RFC 9112 §5.1).
    pub fn collect(lines: impl Iterator<Item = (&'b str, &'b [u8])>) -> Self {
        Self(lines.map(|(name, value)| Field { name, value: value.trim_ascii() }).collect())
    }

    /// Every field line in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'b>> {
        self.0.iter()
    }

    /// The values of every line named `name`, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The value of the only line named `name`; `None` when there is none or more than one.
    pub fn only(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether a line named `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The members of the comma-separated list that all lines named `name` make together
    /// (RFC 9110 §5.6.1); empty members are dropped.
    pub fn members<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// Whether the list named `name` has the member `token`, whatever the case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.members(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The fields that may be passed to the next hop: neither hop-by-hop nor nominated by
    /// `Connection` (RFC 9110 §7.6.1).
    pub fn end_to_end(&self) -> impl Iterator<Item = &Field<'b>> {
        let any = self.has("connection");
        self.iter().filter(move |field| {
            let nominated = any
                && self.lists("connection", field.name)
                && !NOT_NOMINABLE.iter().any(|kept| field.name.eq_ignore_ascii_case(kept));
            !nominated && !HOP_BY_HOP.iter().any(|hop| field.name.eq_ignore_ascii_case(hop))
        })
    }
}

impl<'s, 'b> IntoIterator for &'s Fields<'b> {
    type Item = &'s Field<'b>;
    type IntoIter = std::slice::Iter<'s, Field<'b>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    fn fields<'b>(lines: &'b [(&'b str, &'b str)]) -> Fields<'b> {
        Fields::collect(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    fn kept(lines: &[(&str, &str)]) -> Vec<String> {
        fields(lines).end_to_end().map(|field| field.name.to_owned()).collect()
    }

    #[test]
    fn hop_by_hop_and_nominated_fields_stay_here() {
        assert_eq!(
            kept(&[
                ("Host", "a"),
                ("Connection", "close, X-One"),
                ("x-one", "1"),
                ("CONNECTION", " ,x-two,"),
                ("X-Two", "2"),
                ("X-Three", "3"),
                ("Proxy-Authorization", "Basic x"),
                ("Proxy-Connection", "keep-alive"),
                ("Keep-Alive", "timeout=5"),
                ("TE", "trailers"),
                ("Trailer", "Expires"),
                ("Transfer-Encoding", "chunked"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "x"),
            ]),
            ["Host", "X-Three", "Trailer"]
        );
    }

    #[test]
    fn a_message_cannot_be_made_to_lose_its_essential_fields() {
        let lines =
            [("Connection", "host, content-length, authorization, connection"), ("Host", "a")];
        assert_eq!(kept(&lines), ["Host"]);
    }

    #[test]
    fn lists_are_read_over_all_lines_whatever_the_case() {
        let lines = [("Connection", "Foo , bar"), ("connection", "\tBAZ")];
        let found = fields(&lines);
        assert!(found.lists("connection", "foo") && found.lists("Connection", "baz"));
        assert!(!found.lists("connection", "fo") && !found.lists("connection", ""));
    }

    #[test]
    fn only_wants_exactly_one_line() {
        let lines = [("A", "1"), ("B", "2"), ("b", "3")];
        let found = fields(&lines);
        assert_eq!(found.only("a"), Some(&b"1"[..]));
        assert_eq!(found.only("b"), None);
        assert_eq!(found.only("c"), None);
    }

    #[test]
    fn non_utf_8_values_are_carried_unchanged() {
        let found = Fields::collect([("X", &b" \xff\xfe "[..])].into_iter());
        assert_eq!(found.only("x"), Some(&b"\xff\xfe"[..]));
    }
}

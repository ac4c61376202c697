//! A head found in pieces is the head found at once; what is accepted can be passed on and is then
//! read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::proxy::rewrite::Onward;
use sami_proxy::wire::basic_auth;
use sami_proxy::wire::http1::form::{Form, form_of};
use sami_proxy::wire::http1::framing::request_body;
use sami_proxy::wire::http1::head::{HeadScan, parse_request, parse_response, parse_trailers};

fuzz_target!(|bytes: &[u8]| {
    let whole = HeadScan::default().advance(bytes);
    let mut scan = HeadScan::default();
    let pieces = (1..=bytes.len()).map(|end| scan.advance(&bytes[..end]));
    let found = pieces.into_iter().find(|step| !matches!(step, Ok(None)));
    assert_eq!(found.unwrap_or(Ok(None)), whole);
    let _ = parse_response(bytes);
    let _ = parse_trailers(bytes);
    let _ = basic_auth::parse(bytes);
    let Ok(Some(length)) = whole else { return };
    let Ok(head) = parse_request(&bytes[..length]) else { return };
    let (Ok(Form::Absolute { target, origin_form }), Ok(body)) =
        (form_of(&head), request_body(head.version, &head.fields))
    else {
        return;
    };
    let sent = Onward { head, target, origin_form, body }.encode("1.1 us");
    assert_eq!(
        HeadScan::default().advance(&sent),
        Ok(Some(sent.len())),
        "one head, nothing behind"
    );
    let again = parse_request(&sent).expect("what we send is well-formed");
    assert_eq!(request_body(again.version, &again.fields), Ok(body), "the same framing");
    assert_eq!(again.fields.all("host").count(), 1);
    assert!(!again.fields.has("proxy-authorization"));
});

//! Heads against httparse, and bodies against what hyper makes of their fields.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A head of a request, mostly whole, sometimes damaged.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec!["", "", "\r\n", "\n", "\n\r\n"]);
    let method = select(vec!["GET", "POST", "HEAD", "CONNECT", "X-ODD!"]);
    let line_end = || select(vec!["\r\n", "\r\n", "\n"]);
    let name = prop_oneof![
        3 => select(vec!["content-length", "Content-Length", "transfer-encoding", "TRANSFER-ENCODING"])
            .prop_map(str::to_owned),
        4 => "[cCtTuUa-z][a-zA-Z0-9-]{0,30}",
    ];
    let value = prop_oneof![
        select(vec![
            "5",
            "0",
            "7",
            "chunked",
            "gzip, chunked",
            "gzip",
            "Chunked",
            "",
            "1x",
            "close"
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,90}",
    ];
    let space = || select(vec!["", " ", "\t ", "  "]);
    let line = (name, space(), value, space(), line_end()).prop_map(
        |(name, before, value, after, end)| format!("{name}:{before}{value}{after}{end}"),
    );
    let whole = (
        start,
        method,
        "/[a-z?=/]{0,80}",
        line_end(),
        vec(line, 0..8),
        line_end(),
    )
        .prop_map(|(start, method, path, first_end, lines, end)| {
            let lines = lines.concat();
            format!("{start}{method} {path} HTTP/1.1{first_end}{lines}{end}").into_bytes()
        });
    let damage = prop_oneof![4 => Just(None), 1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)];
    (whole, damage).prop_map(|(mut bytes, damage)| {
        if let Some((index, byte)) = damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    })
}

/// How hyper's server reads the body, where it does not refuse. `None` is chunked.
fn length(headers: &[httparse::Header<'_>]) -> Result<Option<u64>, ()> {
    let (mut length, mut is_coded, mut is_chunked) = (None, false, false);
    for header in headers {
        let value = std::str::from_utf8(header.value).map_err(|_| ())?;
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            is_coded = true;
            let last = value.rsplit(',').next().unwrap_or_default();
            is_chunked = last.trim().eq_ignore_ascii_case("chunked");
        } else if header.name.eq_ignore_ascii_case("content-length") && !is_coded {
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(());
            }
            let this = value.parse::<u64>().map_err(|_| ())?;
            if length.is_some_and(|length| length != this) {
                return Err(());
            }
            length = Some(this);
        }
    }
    match (is_coded, is_chunked) {
        (true, true) => Ok(None),
        (true, false) => Err(()),
        (false, _) => Ok(Some(length.unwrap_or(0))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_head_ends_where_httparse_says(bytes in head(), lengths in vec(1_usize..40, 1..5)) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let mut http1 = Http1::new(true);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(len)) => {
                take(&mut http1, &received(&bytes[..len - 1]), &lengths);
                prop_assert_eq!((http1.begun(), http1.head_begun()), (0, true));
                http1.received(&bytes[len - 1..len]);
                prop_assert_eq!((http1.begun(), http1.head_begun()), (1, false));
                // What it makes of the fields: a long value is a limit of ours.
                let is_short = |header: &httparse::Header<'_>| {
                    !header.name.eq_ignore_ascii_case("transfer-encoding") || header.value.len() < 40
                };
                match length(request.headers) {
                    Err(()) => {}
                    Ok(_) if !request.headers.iter().all(is_short) => {}
                    Ok(length) => {
                        prop_assert!(http1.is_followed());
                        prop_assert_eq!(http1.has_upload(), length != Some(0));
                        match length {
                            Some(len) => http1.received(&vec![b'x'; usize::try_from(len).unwrap().min(100)]),
                            None => http1.received(b"1\r\nx\r\n0\r\n\r\n"),
                        }
                        prop_assert_eq!(http1.has_upload(), length.is_some_and(|len| len > 100));
                        prop_assert!(http1.is_followed() && !http1.head_begun());
                    }
                }
            }
            Ok(httparse::Status::Partial) => {
                take(&mut http1, &received(&bytes), &lengths);
                prop_assert_eq!(http1.begun(), 0);
            }
            Err(_) => {}
        }
    }
}

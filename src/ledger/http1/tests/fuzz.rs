//! Anything in any split.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Pieces that come close to HTTP, in any order.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "HEAD / HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 x\r\n",
        "HTTP/1.1 101 x\r\n",
        "HTTP/1.1 204 x\r\n",
        "HTTP/1.1 400 x\r\n",
        "content-length: 3\r\n",
        "Content-Length: 0\r\n",
        "content-length: 99\r\n",
        "content-length: x\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "connection: close\r\n",
        "Connection: keep-alive\r\n",
        "upgrade: websocket\r\n",
        "upgrade: x\r\n",
        "host: a\r\n",
        "cookie: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
        " folded\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\na: b\r\n\r\n",
        "5;x=y\r\n12345\r\n",
        "FFFFFFFFFFFFFFFFF",
        ":",
        " ",
        "c",
        "t",
        "u",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![9 => text, 1 => vec(any::<u8>(), 0..20)]
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || vec(piece(), 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![
        10 => bytes().prop_map(Step::In),
        10 => bytes().prop_map(Step::Out),
        1 => Just(Step::Finish),
    ]
}

fn check(http1: &Http1) {
    let seen = seen(http1);
    assert!(seen.in_flight <= seen.begun);
    assert!(!seen.close_delimited || seen.last);
    assert!(!seen.close_delimited || seen.answering || seen.tunnel == Some(Tunnel::Raw));
    assert!(!seen.owes_complete || seen.in_flight > 0);
    assert!(seen.in_flight < 2 || seen.owes_complete);
    assert!(seen.tunnel.is_none() || (seen.in_flight == 0 && !seen.answering && seen.last));
    assert!(!(seen.upload && seen.head_begun));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_split_is_as_good_as_another(
        steps in vec(step(), 0..8),
        lengths in vec(1_usize..40, 1..8),
    ) {
        let (mut whole, mut split) = (Http1::new(true), Http1::new(true));
        for step in &steps {
            take(&mut whole, step, &[]);
            take(&mut split, step, &lengths);
            check(&whole);
            prop_assert_eq!(seen(&whole), seen(&split));
        }
    }

    #[test]
    fn any_bytes(steps in vec((any::<bool>(), vec(any::<u8>(), 0..200)), 0..8)) {
        let mut http1 = Http1::new(true);
        for (is_in, bytes) in steps {
            take(&mut http1, &if is_in { Step::In(bytes) } else { Step::Out(bytes) }, &[5, 1]);
            check(&http1);
        }
    }
}

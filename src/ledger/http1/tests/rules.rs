//! Every rule by itself.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A request's head with these lines behind the first.
fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\n{lines}\r\n")
}

fn answer(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
}

/// Nothing but a followed connection.
fn idle() -> Seen {
    Seen {
        followed: true,
        ..Seen::default()
    }
}

/// One request in flight, wholly in.
fn asked() -> Seen {
    Seen {
        begun: 1,
        in_flight: 1,
        owes_complete: true,
        ..idle()
    }
}

/// One request in flight, and some of its body.
fn uploading(body: u64) -> Seen {
    Seen {
        begun: 1,
        in_flight: 1,
        upload: true,
        body,
        ..idle()
    }
}

fn uploaded(body: u64) -> Seen {
    Seen { body, ..asked() }
}

/// One request, answered.
fn answered() -> Seen {
    Seen { begun: 1, ..idle() }
}

#[test]
fn requests() {
    let lost = Seen {
        followed: false,
        ..asked()
    };
    let begun = Seen {
        head_begun: true,
        ..idle()
    };
    let long = "x".repeat(100_000);
    let table = [
        // Where a head begins and ends.
        ("".to_owned(), idle()),
        ("\r\n\n\r\n".to_owned(), idle()),
        ("G".to_owned(), begun),
        ("\r\n\r\nG".to_owned(), begun),
        ("GET / HTTP/1.1\r\n".to_owned(), begun),
        ("GET / HTTP/1.1\r\nhost: a\r\n".to_owned(), begun),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r".to_owned(), begun),
        ("GET / HTTP/1.1\r\n\rx: y\r\n".to_owned(), begun),
        (GET.to_owned(), asked()),
        (GET.replace('\r', ""), asked()),
        (format!("\r\n\n{GET}\r\n"), asked()),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), asked()),
        ("GET / HTTP/1.1\n\n".to_owned(), asked()),
        (post(&format!("cookie: {long}\r\n")), asked()),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), asked()),
        (
            format!("{GET}G"),
            Seen {
                head_begun: true,
                ..asked()
            },
        ),
        (
            format!("{GET}{GET}"),
            Seen {
                begun: 2,
                in_flight: 2,
                ..asked()
            },
        ),
        // Length.
        (post("content-length: 0\r\n"), asked()),
        (post("content-length: 5\r\n"), uploading(0)),
        (post("content-length: 5\r\n") + "abcd", uploading(4)),
        (post("content-length: 5\r\n") + "abcde", uploaded(5)),
        (post("content-length: 5\r\n") + "abcde\r\n", uploaded(5)),
        (
            post("content-length: 5\r\n") + "abcdeG",
            Seen {
                head_begun: true,
                ..uploaded(5)
            },
        ),
        (post("CONTENT-length:\t 5 \t\r\n") + "abcd", uploading(4)),
        (post("Content-Length:5\n") + "abcd", uploading(4)),
        (
            post("content-length: 5\r\nContent-Length: 5\r\n") + "abcd",
            uploading(4),
        ),
        (post("content-length: 005\r\n") + "abcd", uploading(4)),
        (
            post("content-length: 18446744073709551615\r\n") + "abcd",
            uploading(4),
        ),
        (post("content-length: 18446744073709551616\r\n"), lost),
        (post("content-length: 5\r\ncontent-length: 6\r\n"), lost),
        (post("content-length: x\r\ncontent-length: 6\r\n"), lost),
        (post("content-length: 5, 5\r\n"), lost),
        (post("content-length: +5\r\n"), lost),
        (post("content-length: -5\r\n"), lost),
        (post("content-length: 5x\r\n"), lost),
        (post("content-length:\r\n"), lost),
        (
            post(&format!(
                "content-length:{}{}5{}\r\n",
                " \t".repeat(99),
                "0".repeat(99),
                " ".repeat(99)
            )) + "abcd",
            uploading(4),
        ),
        (
            post(&format!("content-length:{}5\r\n", "x".repeat(48))),
            lost,
        ),
        (post("content-length: 5\r\n 5\r\n"), lost),
        (post("content-length: 5\r\n\tx\r\n"), lost),
        (post("host: a\r\n b\r\ncontent-length: 5\r\n"), uploading(0)),
        (post("content-length: 5\r\nhost: a\r\n b\r\n"), uploading(0)),
        (post(" content-length: 5\r\n"), asked()),
        (
            post("content-lengths: 5\r\nxcontent-length: 5\r\ncontent-type: 5\r\n"),
            asked(),
        ),
        // As long, and begins alike.
        (post("content-digest: 5\r\n"), asked()),
        (post("transfer-encodinx: chunked\r\n"), asked()),
        // Chunks.
        (post("transfer-encoding: chunked\r\n"), uploading(0)),
        (
            post("Transfer-Encoding: gzip , CHUNKED\r\n") + "5\r\nabc",
            uploading(3),
        ),
        (
            post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"),
            uploading(0),
        ),
        (
            post("transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n"),
            lost,
        ),
        (post("transfer-encoding: gzip\r\n"), lost),
        (post("transfer-encoding: chunked, gzip\r\n"), lost),
        (post("transfer-encoding: chunked,\r\n"), lost),
        (post("transfer-encoding:\r\n"), lost),
        (post("transfer-encoding: chunked\r\n x\r\n"), lost),
        (
            post(&format!(
                "transfer-encoding: {}, chunked\r\n",
                "x".repeat(64)
            )),
            lost,
        ),
        (
            post(&format!(
                "transfer-encoding: {}\r\ntransfer-encoding: chunked\r\n",
                "x".repeat(64)
            )),
            lost,
        ),
        // Both: the chunks hold.
        (
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n") + "1\r\na\r\n",
            uploading(1),
        ),
        (
            post("transfer-encoding: chunked\r\ncontent-length: x\r\n") + "1\r\na\r\n",
            uploading(1),
        ),
        // What says nothing about a request's body.
        (
            post("upgrade: websocket\r\nconnection: upgrade\r\n"),
            asked(),
        ),
        (
            post("connection: close\r\nexpect: 100-continue\r\n"),
            asked(),
        ),
        (
            post(&format!("connection: {}\r\n close\r\n", "x".repeat(99))),
            asked(),
        ),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), asked()),
    ];
    for (bytes, expected) in table {
        assert_eq!(after(&[received(&bytes)]), expected, "{bytes:.300?}");
    }
}

#[test]
fn chunks() {
    let table = [
        ("5\r\nabcde\r\n", uploading(5)),
        ("5\r\nabcde\r\n0\r\n", uploading(5)),
        ("5\r\nabcde\r\n0\r\n\r", uploading(5)),
        ("5\r\nabcde\r\n0\r\n\r\n", uploaded(5)),
        ("0\r\n\r\n", uploaded(0)),
        ("000\r\n\r\n", uploaded(0)),
        ("0\r\n\r\n\r\n", uploaded(0)),
        (
            "0\r\n\r\nG",
            Seen {
                head_begun: true,
                ..uploaded(0)
            },
        ),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            uploaded(20),
        ),
        ("1F\r\n", uploading(0)),
        ("2 \t\r\nab\r\n0\r\n\r\n", uploaded(2)),
        ("2;a=b;c=\"d\"\r\nab\r\n0;x\r\n\r\n", uploaded(2)),
        ("2 ;a\r\nab\r\n0\r\n\r\n", uploaded(2)),
        ("0\r\na: b\r\n", uploading(0)),
        ("0\r\na: b\r\nc: d\r\n\r\n", uploaded(0)),
        ("0\r\na: b\n\r\n", uploading(0)),
        ("2\r\n\r\n\r\n0\r\n\r\n", uploaded(2)),
        ("FFFFFFFFFFFFFFFF\r\nab", uploading(2)),
    ];
    for (bytes, expected) in table {
        let bytes = post("transfer-encoding: chunked\r\n") + bytes;
        assert_eq!(after(&[received(&bytes)]), expected, "{bytes:?}");
    }
    let malformed = [
        "\r\n",
        "x",
        "-1\r\n",
        ";a\r\n",
        " 1\r\n",
        "1x",
        "1 1",
        "1\n",
        "1;a\n",
        "1\rx",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rx",
        "10000000000000000\r\n",
        "0\r\n\rx",
        "0\r\na\rx",
        "0\r\n: b\r\n",
        "0\r\na\r\n",
        "0\r\na b: c\r\n",
        "0\r\n a: b\r\n",
        "0\r\na: \x01\r\n",
        "0\r\na: \x7f\r\n",
    ];
    let trailers = |lines| format!("0\r\n{}\r\n", "a: b\r\n".repeat(lines));
    let most = post("transfer-encoding: chunked\r\n") + &trailers(100);
    assert_eq!(after(&[received(&most)]), uploaded(0));
    let aside = "a".repeat(16 * 1024);
    let much = [
        format!("1;{aside}"),
        format!("0\r\na: {aside}"),
        "1;aaaaaa\r\nb\r\n".repeat(2400),
        trailers(101),
    ];
    for bytes in malformed.into_iter().chain(much.iter().map(String::as_str)) {
        let bytes = post("transfer-encoding: chunked\r\n") + bytes;
        assert!(!after(&[received(&bytes)]).followed, "{bytes:.300?}");
    }
}

#[test]
fn answers() {
    let head = Seen {
        answering: true,
        ..asked()
    };
    let body = head;
    let last = Seen {
        last: true,
        ..answered()
    };
    let close = Seen {
        close_delimited: true,
        last: true,
        ..head
    };
    let lost = Seen {
        followed: false,
        ..asked()
    };
    let raw = Seen {
        tunnel: Some(Tunnel::Raw),
        close_delimited: true,
        last: true,
        ..answered()
    };
    let framed = Seen {
        tunnel: Some(Tunnel::Framed),
        close_delimited: false,
        ..raw
    };
    let s = str::to_owned;
    let table = [
        // Where an answer begins.
        ("GET", s("H"), head),
        ("GET", s("HTTP/1.1 1"), head),
        ("GET", s("HTTP/1.1 200 OK\r\n"), head),
        ("GET", s("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), head),
        // Length.
        ("GET", answer("content-length: 2\r\n"), body),
        ("GET", answer("content-length: 2\r\n") + "o", body),
        ("GET", answer("content-length: 2\r\n") + "ok", answered()),
        (
            "GET",
            answer("content-length: 2\r\nContent-Length: 2\r\n") + "ok",
            answered(),
        ),
        (
            "GET",
            answer("content-digest: 7\r\nconnectiox: close\r\ncontent-length: 0\r\n"),
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.1 101 Switching\r\nupgradx: websocket\r\n\r\n"),
            raw,
        ),
        ("GET", answer("content-length: 0\r\n"), answered()),
        ("GET", s(OK).replace('\r', ""), answered()),
        (
            "GET",
            s("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.1 999 ?\r\ncontent-length: 0\r\n\r\n"),
            answered(),
        ),
        (
            "GET",
            answer("content-length: 2\r\ncontent-length: 3\r\n"),
            lost,
        ),
        ("GET", answer("content-length: two\r\n"), lost),
        ("GET", answer("content-length: 2\r\n 2\r\n"), lost),
        // Chunks.
        ("GET", answer("transfer-encoding: chunked\r\n"), body),
        (
            "GET",
            answer("transfer-encoding: chunked\r\n") + "2\r\nok\r\n0\r\n",
            body,
        ),
        (
            "GET",
            answer("transfer-encoding: chunked\r\n") + "2\r\nok\r\n0\r\n\r\n",
            answered(),
        ),
        (
            "GET",
            answer("transfer-encoding: chunked\r\n") + "0\r\nx-sum: 1\r\n\r\n",
            answered(),
        ),
        (
            "GET",
            answer("transfer-encoding: chunked\r\ncontent-length: 9\r\n") + "0\r\n\r\n",
            answered(),
        ),
        ("GET", answer("transfer-encoding: chunked\r\n") + "x", lost),
        ("GET", answer("transfer-encoding: chunked\r\n x\r\n"), lost),
        (
            "GET",
            s("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            lost,
        ),
        // By the connection's end.
        ("GET", answer(""), close),
        ("GET", answer("") + "ok", close),
        ("GET", answer("connection: keep-alive\r\n") + "ok", close),
        ("GET", answer("transfer-encoding: gzip\r\n"), close),
        ("GET", answer("transfer-encoding: chunked, gzip\r\n"), close),
        (
            "GET",
            s("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"),
            close,
        ),
        // No body.
        ("HEAD", answer("content-length: 2\r\n"), answered()),
        ("HEAD", answer("transfer-encoding: chunked\r\n"), answered()),
        (
            "HEAD",
            answer("content-length: 2\r\ncontent-length: 3\r\n"),
            answered(),
        ),
        ("HEAD", answer(""), answered()),
        ("HEADER", answer(""), close),
        ("head", answer(""), close),
        ("GET", s("HTTP/1.1 204 No Content\r\n\r\n"), answered()),
        (
            "GET",
            s("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n"),
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n"),
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.1 205 Reset\r\ncontent-length: 0\r\n\r\n"),
            answered(),
        ),
        // The last.
        (
            "GET",
            answer("connection: close\r\ncontent-length: 0\r\n"),
            last,
        ),
        (
            "GET",
            answer("content-length: 0\r\nConnection:CLOSE\r\n"),
            last,
        ),
        (
            "GET",
            answer("connection: foo , close, bar\r\ncontent-length: 0\r\n"),
            last,
        ),
        (
            "GET",
            answer("connection: close\r\nconnection: keep-alive\r\ncontent-length: 0\r\n"),
            last,
        ),
        (
            "GET",
            answer("connection: keep-alive\r\nconnection: close\r\ncontent-length: 0\r\n"),
            last,
        ),
        (
            "GET",
            answer("connection: closed\r\ncontent-length: 0\r\n"),
            answered(),
        ),
        (
            "GET",
            answer("connection: x\r\ncontent-length: 0\r\n"),
            answered(),
        ),
        (
            "GET",
            answer("x-connection: close\r\ncontent-length: 0\r\n"),
            answered(),
        ),
        (
            "GET",
            answer("connection: close\r\ncontent-length: 2\r\n"),
            Seen { last: true, ..body },
        ),
        ("HEAD", answer("connection: close\r\n"), last),
        (
            "GET",
            s("HTTP/1.1 204 No\r\nconnection: close\r\n\r\n"),
            last,
        ),
        (
            "GET",
            s("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
            last,
        ),
        (
            "GET",
            s("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n"),
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, close\r\n\r\n"),
            last,
        ),
        (
            "GET",
            answer(&format!(
                "connection: {}\r\ncontent-length: 0\r\n",
                "x".repeat(64)
            )),
            lost,
        ),
        (
            "GET",
            answer("connection: x\r\n close\r\ncontent-length: 0\r\n"),
            lost,
        ),
        (
            "GET",
            answer("connection: close\r\n x\r\ncontent-length: 0\r\n"),
            last,
        ),
        // Interim.
        ("GET", s("HTTP/1.1 10"), head),
        ("GET", s("HTTP/1.1 100"), asked()),
        ("GET", s("HTTP/1.1 101"), head),
        ("GET", s("HTTP/1.1 103 Early Hints\r\nlink: x\r\n"), asked()),
        ("GET", s("HTTP/1.1 100 Continue\r\n\r\n"), asked()),
        (
            "GET",
            s("HTTP/1.1 103 x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"),
            asked(),
        ),
        (
            "GET",
            s("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\n\r\n") + OK,
            answered(),
        ),
        (
            "HEAD",
            s("HTTP/1.1 100 Continue\r\n\r\n") + &answer("content-length: 2\r\n"),
            answered(),
        ),
        // Tunnels.
        ("CONNECT", answer(""), raw),
        (
            "CONNECT",
            answer("content-length: 2\r\nupgrade: websocket\r\n"),
            raw,
        ),
        (
            "CONNECT",
            answer("transfer-encoding: chunked\r\n") + "any\r\n\r\n",
            raw,
        ),
        ("CONNECT", s("HTTP/1.1 299 x\r\n\r\n"), raw),
        (
            "CONNECT",
            s("HTTP/1.1 407 x\r\ncontent-length: 2\r\n\r\nno"),
            answered(),
        ),
        ("CONNECT", s("HTTP/1.1 304 x\r\n\r\n"), answered()),
        (
            "CONNECTED",
            answer("content-length: 2\r\n") + "ok",
            answered(),
        ),
        (
            "GET",
            s("HTTP/1.1 101 x\r\nupgrade: WebSocket\r\n\r\n") + "any\r\n",
            framed,
        ),
        ("GET", s("HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n"), raw),
        ("GET", s("HTTP/1.1 101 x\r\n\r\n"), raw),
        (
            "GET",
            s("HTTP/1.1 101 x\r\nupgrade: foo\r\nupgrade: websocket\r\n\r\n"),
            raw,
        ),
        (
            "GET",
            s("HTTP/1.1 101 x\r\nupgrade: websocket\r\nupgrade: foo\r\n\r\n"),
            raw,
        ),
        (
            "GET",
            s("HTTP/1.1 101 x\r\nupgrade: websocket\r\n , foo\r\n\r\n"),
            raw,
        ),
        (
            "GET",
            s("HTTP/1.1 101 x\r\nupgrade: websocket, foo\r\n\r\n"),
            raw,
        ),
        (
            "HEAD",
            s("HTTP/1.1 101 x\r\nupgrade: websocket\r\n\r\n"),
            framed,
        ),
        (
            "GET",
            answer("upgrade: websocket\r\ncontent-length: 0\r\n"),
            answered(),
        ),
        // No HTTP/1.
        ("GET", s("X"), lost),
        ("GET", s("\r\n"), lost),
        ("GET", s("\n"), lost),
        ("GET", s("HTTP/2"), lost),
        ("GET", s("HTTP/1.1\r\n"), lost),
        ("GET", s("HTTP/1.2 200 OK\r\n"), lost),
        ("GET", s("HTTP/1.1 20 \r\n"), lost),
        ("GET", s("HTTP/1.1 020 \r\n"), lost),
        ("GET", s("HTTP/1.1 2x0 \r\n"), lost),
    ];
    for (method, bytes, expected) in table {
        let request = format!("{method} / HTTP/1.1\r\n\r\n");
        assert_eq!(
            after(&[received(&request), sent(&bytes)]),
            expected,
            "{method} {bytes:?}"
        );
    }
}

#[test]
fn pipelined_answers_keep_to_their_methods() {
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let mut steps = vec![received(format!("{GET}{head}{GET}{head}"))];
    assert_eq!(after(&steps).in_flight, 4);
    let no_body = answer("content-length: 2\r\n");
    for (bytes, left) in [(OK, 3), (&no_body, 2), (OK, 1), (&no_body, 0)] {
        steps.push(sent(bytes));
        let seen = after(&steps);
        assert_eq!(
            (seen.in_flight, seen.begun, seen.answering),
            (left, 4, false)
        );
    }
    assert_eq!(
        after(&[steps[0].clone(), sent([OK, &no_body, OK].concat())]).in_flight,
        1
    );
}

#[test]
fn of_those_in_flight_only_the_newest_can_be_incomplete() {
    let upload = post("content-length: 5\r\n");
    let mut steps = vec![received(GET), received(&upload)];
    let both = after(&steps);
    assert!((both.in_flight, both.upload, both.owes_complete) == (2, true, true));
    steps.push(sent(OK));
    let one = after(&steps);
    assert!((one.in_flight, one.upload, one.owes_complete) == (1, true, false));
    steps.push(received("12345"));
    assert_eq!(
        after(&steps),
        Seen {
            begun: 2,
            ..uploaded(5)
        }
    );
}

#[test]
fn an_early_answer_leaves_the_upload() {
    let mut steps = vec![received(post("content-length: 5\r\n") + "ab"), sent(OK)];
    assert_eq!(
        after(&steps),
        Seen {
            upload: true,
            body: 2,
            ..answered()
        }
    );
    steps.push(received("cde"));
    assert_eq!(
        after(&steps),
        Seen {
            body: 5,
            ..answered()
        }
    );
    steps.push(received(GET));
    assert_eq!(
        after(&steps),
        Seen {
            begun: 2,
            ..uploaded(5)
        }
    );
}

#[test]
fn nothing_is_owed_behind_the_last_answer() {
    let bye = answer("connection: close\r\ncontent-length: 2\r\n");
    let mut steps = vec![received([GET, GET].concat()), sent(&bye)];
    let answering = Seen {
        answering: true,
        last: true,
        begun: 2,
        in_flight: 2,
        ..asked()
    };
    assert_eq!(after(&steps), answering);
    steps.push(sent("ok"));
    let over = Seen {
        begun: 2,
        last: true,
        ..idle()
    };
    assert_eq!(after(&steps), over);
    steps.push(received(GET));
    assert_eq!(after(&steps), Seen { begun: 3, ..over });
    // What nobody will answer need not be understood.
    steps.push(received(post("content-length: x\r\n")));
    assert_eq!(after(&steps), Seen { begun: 4, ..over });
    // A server that goes on all the same is taken at its word.
    steps.push(sent("HTTP/1.1 2"));
    assert_eq!(after(&steps).in_flight, 3);
}

#[test]
fn a_close_delimited_answer_is_complete_when_the_server_finishes() {
    let mut steps = vec![received([GET, GET].concat()), sent(answer("") + "body")];
    assert_eq!(after(&steps).in_flight, 2);
    steps.push(Step::Finish);
    let over = Seen {
        begun: 2,
        last: true,
        ..idle()
    };
    assert_eq!(after(&steps), over);
    steps.push(Step::Finish);
    steps.push(sent("spurious"));
    assert_eq!(after(&steps), over);
}

#[test]
fn finishing_completes_nothing_that_shows_its_end() {
    for cut in ["content-length: 2\r\n", "transfer-encoding: chunked\r\n"] {
        let steps = [received(GET), sent(answer(cut)), Step::Finish];
        assert_eq!(
            after(&steps),
            Seen {
                answering: true,
                ..asked()
            }
        );
    }
    assert_eq!(after(&[received(GET), Step::Finish]), asked());
    assert_eq!(after(&[Step::Finish]), idle());
}

#[test]
fn half_a_head_can_be_refused() {
    let refusal = "HTTP/1.1 431 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let steps = [received("GET / HTTP/1.1\r\nx: "), sent(&refusal[..20])];
    assert_eq!(
        after(&steps),
        Seen {
            head_begun: true,
            answering: true,
            ..idle()
        }
    );
    let steps = [received("GET / HTTP/1.1\r\nx: "), sent(refusal)];
    assert_eq!(
        after(&steps),
        Seen {
            head_begun: true,
            last: true,
            ..idle()
        }
    );
    assert_eq!(
        after(&[sent(refusal)]),
        Seen {
            last: true,
            ..idle()
        }
    );
    // It does not answer what completes while it is on its way.
    let later = [sent(&OK[..20]), received(GET), sent(&OK[20..])];
    assert_eq!(after(&later), asked());
    let head = GET.replace("GET", "HEAD");
    let later = [sent(&OK[..20]), received(head), sent(&OK[20..])];
    assert_eq!(after(&later), asked());
}

#[test]
fn the_refusal_of_a_broken_request_settles_it() {
    let refusal = "HTTP/1.1 400 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for broken in ["content-length: x\r\n", "transfer-encoding: gzip\r\n"] {
        let mut steps = vec![
            received(GET.to_owned() + &post(broken) + "\r\n\r\n"),
            sent(OK),
        ];
        let lost = Seen {
            followed: false,
            begun: 2,
            ..asked()
        };
        assert_eq!(after(&steps), lost);
        steps.push(sent(refusal));
        assert_eq!(
            after(&steps),
            Seen {
                begun: 2,
                last: true,
                ..idle()
            }
        );
    }
}

#[test]
fn a_tunnel_is_opaque_both_ways() {
    let connect = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    let raw = Seen {
        tunnel: Some(Tunnel::Raw),
        close_delimited: true,
        last: true,
        ..answered()
    };
    let mut steps = vec![
        received(connect),
        sent(answer("")),
        sent("HTTP/1.1 any"),
        received(GET),
    ];
    assert_eq!(
        after(&steps),
        Seen {
            body: GET.len() as u64,
            ..raw
        }
    );
    steps.push(Step::Finish);
    steps.push(received("more"));
    let half = Seen {
        close_delimited: false,
        body: 4 + GET.len() as u64,
        ..raw
    };
    assert_eq!(after(&steps), half);
}

#[test]
fn what_was_sent_ahead_of_a_tunnel_belongs_to_it() {
    let connect = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    let upgrade = "GET / HTTP/1.1\r\nupgrade: x\r\n\r\n";
    let switched = "HTTP/1.1 101 x\r\nupgrade: x\r\n\r\n";
    for (request, opening) in [(connect, &answer("")[..]), (upgrade, switched)] {
        for (ahead, begun, body) in [
            ("\x16\x03\x01", 1, 3),
            ("\x16\x03\x01\n\n", 2, 0),
            ("x\ncontent-length: x\n\nabc", 2, 3),
            ("x\ncontent-length: 9\n\nabc", 2, 3),
        ] {
            let steps = [
                received([request, ahead].concat()),
                sent(opening),
                received("12"),
            ];
            let seen = after(&steps);
            assert!(
                seen.followed && !seen.upload && !seen.head_begun,
                "{seen:?}"
            );
            let counted = (seen.begun, seen.in_flight, seen.body, seen.tunnel);
            assert_eq!(
                counted,
                (begun, 0, body + 2, Some(Tunnel::Raw)),
                "{ahead:?}"
            );
        }
    }
}

#[test]
fn a_tunnel_leaves_nobody_waiting() {
    let mut http1 = Http1::new(true);
    http1.received("CONNECT a:1 HTTP/1.1\n\nx\n\ny\n\n".as_bytes());
    http1.sent(answer("").as_bytes());
    assert_eq!(http1.unanswered.len(), 0, "nor their memory taken");
}

#[test]
fn what_the_server_sends_is_lost_for_good() {
    let mut steps = vec![received(GET), sent("nonsense")];
    assert!(!after(&steps).followed);
    steps.push(sent(OK));
    steps.push(received(GET));
    let seen = after(&steps);
    assert!(!seen.followed && seen.begun == 1, "counts nothing any more");
}

#[test]
fn memory_is_bounded() {
    let mut http1 = Http1::new(true);
    let short = "A / HTTP/1.1\n\n".repeat(1024);
    for _ in 0..64 {
        http1.received(short.as_bytes());
    }
    assert!(http1.is_followed());
    assert_eq!(http1.in_flight(), 65_536);
    for _ in 0..64 {
        http1.received(short.as_bytes());
    }
    assert!(!http1.is_followed());
    assert_eq!(http1.in_flight(), 65_536);
    assert!(size_of::<Http1>() <= 384);
}

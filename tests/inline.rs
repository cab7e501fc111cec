//! HTTP/2 streams under `serve`, which answers in the connection's task those whose handlers do not wait:
//! nothing of that is to be seen but that it is fast. Handlers that wait do so beside each other, one that
//! fails takes no other with it, and what all have answered goes out.

mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use graceful_tls::GracefulTls;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use support::{VERSIONS, pair};
use tokio::{
    io::{copy, split},
    runtime::{Builder, Handle},
    sync::{Barrier, oneshot},
    task::yield_now,
    time::sleep,
};
use tower::service_fn;
use wire::{Frame, H2, H2Options, H2Stream, Options, Version};
use within::Within;

const LIMIT: Duration = Duration::from_secs(20);
/// So many wait for each other.
const TOGETHER: usize = 8;

/// What handlers of one server share.
struct Shared {
    tls: GracefulTls,
    barrier: Barrier,
    /// Handlers that wait, and have not been dropped.
    waiting: AtomicUsize,
}

struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn echo(request: Request<Incoming>) {
    let upgraded = upgrade::on(request).await.unwrap();
    let (mut reader, mut writer) = split(TokioIo::new(upgraded));
    let _ = copy(&mut reader, &mut writer).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
}

async fn answer(
    shared: Arc<Shared>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut text = "hello\n".to_owned();
    match request.uri().path() {
        "/panic" => panic!("on purpose"),
        "/panic-later" => {
            yield_now().await;
            panic!("on purpose")
        }
        "/together" => {
            shared.barrier.wait().await;
        }
        "/yield" => {
            for _ in 0..3 {
                yield_now().await;
            }
        }
        "/thread" => {
            let (sender, receiver) = oneshot::channel();
            thread::spawn(|| sender.send(()));
            receiver.await.unwrap();
        }
        "/for-ever" => {
            let _waits = Waits::begin(&shared.waiting);
            std::future::pending().await
        }
        "/waiting" => text = shared.waiting.load(Ordering::SeqCst).to_string(),
        "/block" => {
            // Where it blocks the worker that last looked for events, tokio has another look only once that
            // is woken, under any server.
            let runtime = Handle::current();
            let wakes = move || {
                for _ in 0..50 {
                    runtime.spawn(async {});
                    thread::sleep(Duration::from_millis(10));
                }
            };
            thread::spawn(wakes);
            thread::sleep(Duration::from_millis(500));
        }
        "/shutdown" => shared.tls.shutdown(),
        "/length" => {
            let mut length = 0;
            while let Some(Ok(frame)) = request.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            text = length.to_string();
        }
        "/echo" => {
            tokio::spawn(echo(request));
            text.clear();
        }
        "/echo-later" => {
            sleep(Duration::from_millis(10)).await;
            tokio::spawn(echo(request));
            text.clear();
        }
        _ => {}
    }
    Ok(Response::new(Full::from(text)))
}

fn server(version: Version, may_block: bool) -> Within {
    let (builder, _) = pair(VERSIONS[version as usize]);
    let builder = builder.handlers_may_block(may_block);
    let builder = builder.lame_duck(Duration::ZERO).http2(|http2| {
        http2.enable_connect_protocol();
    });
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    Within::on(runtime, None, builder, |tls, listener| async move {
        let shared = Arc::new(Shared {
            tls: tls.clone(),
            barrier: Barrier::new(TOGETHER),
            waiting: AtomicUsize::new(0),
        });
        let service = service_fn(move |request| answer(shared.clone(), request));
        tls.serve(listener, service).await.unwrap();
    })
}

fn client_of(server: &Within, version: Version) -> H2 {
    let options = Options::new().version(version).h2();
    H2::connect_with(server.addr, &options, H2Options::default()).unwrap()
}

fn fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// Asks for all of these in one write: what came of them, in that order.
fn ask(h2: &mut H2, paths: &[&str]) -> Vec<H2Stream> {
    let requests = paths.iter();
    let requests: Vec<Frame> = requests
        .map(|path| h2.request(&fields("GET", path), true))
        .collect();
    h2.send_frames(&requests).unwrap();
    let streams = requests.iter().map(|request| request.stream);
    streams.map(|of| h2.wait_stream(of, LIMIT)).collect()
}

fn is_hello(answer: &H2Stream) -> bool {
    answer.is_complete() && answer.status == Some(200) && answer.text() == "hello\n"
}

fn all_are_answered(h2: &mut H2, paths: &[&str]) {
    let answers = ask(h2, paths);
    assert!(answers.iter().all(is_hello), "{answers:?} {h2:?}");
}

fn everywhere(test: impl Fn(&Within, &mut H2, Version)) {
    for version in Version::BOTH {
        let server = server(version, false);
        let mut h2 = client_of(&server, version);
        test(&server, &mut h2, version);
    }
}

#[test]
fn all_that_come_at_once_are_answered() {
    everywhere(|_, h2, _| {
        all_are_answered(h2, &["/"; 100]);
        all_are_answered(h2, &["/"]);
        all_are_answered(h2, &["/"; 3]);
    });
}

#[test]
fn handlers_wait_beside_each_other() {
    everywhere(|_, h2, _| {
        all_are_answered(h2, &["/together"; TOGETHER]);
        all_are_answered(h2, &["/yield"; 100]);
        all_are_answered(h2, &["/thread"; 20]);
        all_are_answered(h2, &["/", "/yield", "/", "/thread", "/"]);
    });
}

#[test]
fn a_panic_resets_its_own_stream() {
    everywhere(|_, h2, _| {
        for panics in ["/panic", "/panic-later"] {
            let answers = ask(h2, &["/", panics, "/yield", panics, "/"]);
            for (i, answer) in answers.iter().enumerate() {
                let expected = i % 2 == 0;
                assert_eq!(is_hello(answer), expected, "{i}: {answer:?} {h2:?}");
                assert_eq!(answer.reset.is_some(), !expected, "{i}: {answer:?} {h2:?}");
            }
        }
        all_are_answered(h2, &["/"]);
    });
}

#[test]
fn a_reset_ends_a_handler_that_waits() {
    everywhere(|_, h2, _| {
        let waits = h2.get("/for-ever").unwrap();
        let waiting = |h2: &mut H2| h2.h2_get("/waiting").unwrap().text();
        let until = |h2: &mut H2, count: &str| {
            let mut looks = 0..1000;
            looks.any(|_| {
                thread::sleep(Duration::from_millis(5));
                waiting(h2) == count
            })
        };
        assert!(until(h2, "1"), "{h2:?}");
        h2.send_frame(&Frame::rst_stream(waits, 8)).unwrap();
        assert!(until(h2, "0"), "{h2:?}");
    });
}

/// On two workers.
#[test]
fn a_handler_that_blocks_its_thread_keeps_no_other_connection_up() {
    everywhere(|server, h2, version| {
        let mut other = client_of(server, version);
        all_are_answered(&mut other, &["/"]);
        let blocked = h2.get("/block").unwrap();
        all_are_answered(&mut other, &["/"; 3]);
        assert!(!h2.pump_until(Duration::ZERO, |h2| h2.stream(blocked).is_over()));
        assert!(is_hello(&h2.wait_stream(blocked, LIMIT)), "{h2:?}");
        all_are_answered(h2, &["/"; 3]);
    });
}

/// Nor, where that was asked for, those of its own.
#[test]
fn where_handlers_may_block_each_has_a_task() {
    for version in Version::BOTH {
        let server = server(version, true);
        let mut h2 = client_of(&server, version);
        all_are_answered(&mut h2, &["/"]);
        let blocked = h2.get("/block").unwrap();
        let other = h2.get("/").unwrap();
        assert!(is_hello(&h2.wait_stream(other, LIMIT)), "{h2:?}");
        assert!(!h2.stream(blocked).is_over(), "{h2:?}");
        assert!(is_hello(&h2.wait_stream(blocked, LIMIT)), "{h2:?}");
    }
}

#[test]
fn an_upload_that_is_waited_for_arrives() {
    everywhere(|_, h2, _| {
        let mut fields = fields("POST", "/length").to_vec();
        fields.push(("expect", "100-continue"));
        let upload = h2.send_request(&fields, false).unwrap();
        all_are_answered(h2, &["/"]);
        h2.data(upload, &[b'x'; 1000], false).unwrap();
        all_are_answered(h2, &["/"]);
        h2.data(upload, &[b'x'; 234], true).unwrap();
        let answer = h2.wait_stream(upload, LIMIT);
        assert_eq!(answer.text(), "1234", "{h2:?}");
    });
}

#[test]
fn an_upload_that_is_there_already_is_read() {
    everywhere(|_, h2, _| {
        let head = h2.request(&fields("POST", "/length"), false);
        let body = Frame::data(head.stream, vec![b'x'; 1234], true);
        let upload = head.stream;
        h2.send_frames(&[head, body]).unwrap();
        let answer = h2.wait_stream(upload, LIMIT);
        assert_eq!(answer.text(), "1234", "{h2:?}");
    });
}

/// RFC 8441, as websockets have it.
#[test]
fn a_tunnel_carries_both_ways() {
    everywhere(|_, h2, _| {
        for path in ["/echo", "/echo-later"] {
            let mut fields = fields("CONNECT", path).to_vec();
            fields.insert(1, (":protocol", "websocket"));
            let tunnel = h2.send_request(&fields, false).unwrap();
            assert_eq!(h2.wait_status(tunnel, LIMIT).status, Some(200), "{h2:?}");
            for text in ["ping", "pong"] {
                let before = h2.stream(tunnel).body.len();
                h2.data(tunnel, text.as_bytes(), false).unwrap();
                let all = before + text.len();
                assert!(
                    h2.pump_until(LIMIT, |h2| h2.stream(tunnel).body.len() == all),
                    "{h2:?}"
                );
            }
            all_are_answered(h2, &["/"]);
            h2.data(tunnel, b"", true).unwrap();
            let tunnel = h2.wait_stream(tunnel, LIMIT);
            assert!(
                tunnel.is_complete() && tunnel.text() == "pingpong",
                "{h2:?}"
            );
        }
    });
}

#[test]
fn a_handler_may_begin_the_shutdown() {
    everywhere(|server, h2, _| {
        all_are_answered(h2, &["/", "/shutdown", "/"]);
        let ending = h2.read_until_end(LIMIT);
        assert!(ending.is_proper(), "{ending:?} {h2:?}");
        assert_eq!(h2.goaway_received(), Some((5, 0)), "{h2:?}");
        let _ = h2.conn.close();
        assert!(server.closed(LIMIT).is_clean());
    });
}

/// How many TLS records with data have come.
fn records(h2: &H2) -> usize {
    let lines = h2.conn.story().lines().iter();
    let data = lines.filter(|line| line.text.starts_with("< application_data"));
    data.filter_map(|line| line.tally)
        .map(|(count, _)| count)
        .sum()
}

/// What is answered in one turn goes in one write, and so in one record. They are as many as even a test build
/// answers before the turn is taken for long; on a machine that is busy it may be so all the same.
#[test]
fn many_answers_go_together() {
    everywhere(|_, h2, _| {
        all_are_answered(h2, &["/"]);
        let mut tries = 0..200;
        let together = tries.any(|_| {
            let before = records(h2);
            all_are_answered(h2, &["/"; 5]);
            records(h2) - before == 1
        });
        assert!(together, "{h2:?}");
    });
}

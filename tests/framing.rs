//! How answers are framed decides whether close_notify may be sent behind one that was cut, and no
//! order in which requests come may confuse it: pipelined ones, those that come while the last
//! answer is being written, those past the layer.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get as answers};
use graceful_tls::{GracefulTls, GracefulTlsLayer, TlsConnection};
use judge::{
    Then, alone, at_most, connect, ends_properly, ends_visibly_truncated, everywhere, get,
    is_hello, is_notified_within, is_whole, old_get,
};
use support::{VERSIONS, pair};
use testbed::Exit;
use tokio::{net::TcpListener, time::sleep};
use wire::{Client, Framing, Options, Version};
use within::Within;

const LONG: Duration = Duration::from_secs(10);

/// HTTP/1.0 that keeps the connection where the answer has a length.
fn old_kept(path: &str) -> String {
    old_get(path).replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n")
}

/// Requests in one write: so many that are answered with `hello`, and one whose answer is cut.
type Pipeline = (String, usize);

fn pipelines(last: String) -> [(&'static str, Pipeline); 5] {
    let (new, old) = (get("/"), old_kept("/"));
    [
        ("alone", (last.clone(), 0)),
        ("behind one", (new.clone() + &last, 1)),
        ("behind five", (new.repeat(5) + &last, 5)),
        ("behind HTTP/1.0", (old.clone() + &last, 1)),
        ("behind both", (new + &old + &old + &last, 3)),
    ]
}

/// Sends a pipeline and reads all but the last answer.
fn begins(client: &mut Client, (requests, hellos): &Pipeline) {
    client.send(requests).unwrap();
    for _ in 0..*hellos {
        assert!(
            is_hello(&client.read_response().unwrap(), "hello\n"),
            "{client:?}"
        );
    }
}

/// Nothing was said about a layer that is missing: it is not.
fn no_layer_is_missed(exit: &Exit) {
    assert!(!exit.stderr.contains("GracefulTlsLayer"), "{exit:?}");
}

/// Answers to HTTP/1.0 without a length last until the end: cut, they must show it.
#[test]
fn a_cut_answer_to_http10_is_visibly_cut_wherever_it_comes_in_a_pipeline() {
    for path in ["/error-mid-body", "/panic-mid-body"] {
        everywhere(&[], &pipelines(old_get(path)), |bed, version, pipeline| {
            let mut client = connect(bed, version);
            begins(&mut client, pipeline);
            ends_visibly_truncated(&mut client, Then::Closes);
            let response = client.read_response().unwrap();
            assert_eq!(response.framing, Framing::UntilEnd, "{client:?}");
        });
    }
}

#[test]
fn so_is_one_that_the_deadline_cuts() {
    let options = ["--shutdown-timeout-ms", "700"];
    let cases = pipelines(old_get("/slow/1000/30"));
    alone(&options, &cases, |bed, version, pipeline| {
        let mut client = connect(&bed, version);
        begins(&mut client, pipeline);
        assert!(
            client.pump_until(LONG, |client| client.unread().len() > 1024),
            "{client:?}"
        );
        bed.terminate();
        ends_visibly_truncated(&mut client, Then::Closes);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("truncated"), 1, "{exit:?}");
        no_layer_is_missed(&exit);
    });
}

/// Whole, it ends with close_notify.
#[test]
fn a_whole_answer_to_http10_ends_properly_wherever_it_comes() {
    everywhere(
        &[],
        &pipelines(old_get("/chunked/500000")),
        |bed, version, pipeline| {
            let mut client = connect(bed, version);
            begins(&mut client, pipeline);
            let response = client.read_response().unwrap();
            assert!(is_whole(&response, 500_000), "{client:?}");
            ends_properly(&mut client, Then::Closes);
        },
    );
}

/// Chunks show by themselves that the last is missing.
#[test]
fn a_framed_answer_that_the_deadline_cuts_ends_with_close_notify() {
    let options = ["--shutdown-timeout-ms", "700"];
    let cases = pipelines(get("/slow/1000/30"));
    alone(&options, &cases, |bed, version, pipeline| {
        let mut client = connect(&bed, version);
        begins(&mut client, pipeline);
        assert!(
            client.pump_until(LONG, |client| client.unread().len() > 1024),
            "{client:?}"
        );
        bed.terminate();
        ends_properly(&mut client, Then::Closes);
        assert!(!client.read_response().unwrap().complete, "{client:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("truncated"), 1, "{exit:?}");
        no_layer_is_missed(&exit);
    });
}

/// When the next request comes while the last answer's tail is being written.
#[test]
fn a_request_that_comes_while_the_last_answer_is_written_confuses_nobody() {
    // How much of the request comes then; the rest comes when the answer has been read.
    let halves = [("half of it", 20), ("all of it", usize::MAX), ("a byte", 1)];
    let options = ["--shutdown-timeout-ms", "1000"];
    alone(&options, &halves, |bed, version, half| {
        let options = Options::new()
            .version(version)
            .http1()
            .recv_buffer(16 << 10);
        let mut client = Client::connect_with(bed.addr, &options).unwrap();
        // hyper has taken all of the body, but can't get rid of its last part while nobody reads.
        client.send(get("/bytes/560000")).unwrap();
        let filled = client.read_exactly(200_000, LONG).len();
        assert_eq!(filled, 200_000, "{client:?}");
        std::thread::sleep(Duration::from_millis(200));
        let next = get("/slow/1000/30");
        let (now, later) = next.split_at(next.len().min(*half));
        client.send(now).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let rest = client.read_exactly(360_000, LONG).len();
        assert_eq!(rest, 360_000, "{client:?}");
        client.send(later).unwrap();
        let more = client.pump_until(LONG, |client| client.unread().len() > 1024);
        assert!(more, "{client:?}");
        bed.terminate();
        // It is in chunks, which show that it is cut.
        ends_properly(&mut client, Then::Closes);
        no_layer_is_missed(&bed.wait(LONG));
    });
}

/// Routes that the layer does not see, among others.
#[test]
fn routes_outside_the_layer_end_properly_too() {
    let timeout = Duration::from_millis(1000);
    let orders = [("first", ["/outside", "/"]), ("last", ["/", "/outside"])];
    everywhere(
        &["--header-timeout-ms", "1000"],
        &orders,
        |bed, version, paths| {
            let mut client = connect(bed, version);
            // Elsewhere there is no such route, and nothing to be seen.
            client.send(paths.map(get).concat()).unwrap();
            for _ in paths {
                assert!(client.read_response().unwrap().complete, "{client:?}");
            }
            let since = client.now();
            let ending = ends_properly(&mut client, Then::Closes);
            is_notified_within(&ending, since, (timeout / 2, at_most(timeout)));
        },
    );
}

#[test]
fn and_when_draining_begins() {
    let orders = [
        ("first", vec!["/outside", "/"]),
        ("last", vec!["/", "/outside"]),
        ("alone", vec!["/outside"]),
    ];
    alone(&[], &orders, |bed, version, paths| {
        let mut client = connect(&bed, version);
        for path in paths {
            assert!(client.get(path).unwrap().complete, "{client:?}");
        }
        bed.terminate();
        ends_properly(&mut client, Then::Closes);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// An answer to HTTP/1.0 outside the layer, which is cut, behind one that the layer saw.
#[test]
fn a_cut_answer_outside_the_layer_is_visibly_cut() {
    for version in Version::BOTH {
        let (builder, _) = pair(VERSIONS[version as usize]);
        let builder = builder
            .lame_duck(Duration::ZERO)
            .shutdown_timeout(Duration::from_millis(300));
        let server = Within::start(builder, serve_partly);
        for pipeline in [
            old_get("/endless"),
            get("/") + &old_get("/endless"),
            get("/").repeat(3) + &old_get("/endless"),
            get("/outside") + &get("/") + &old_get("/endless"),
        ] {
            let options = Options::new().version(version).http1();
            let mut client = Client::connect_with(server.addr, &options).unwrap();
            client.send(pipeline).unwrap();
            let ticks = |client: &mut Client| client.unread().ends_with(b"tick\ntick\n");
            assert!(client.pump_until(LONG, ticks), "{client:?}");
            // It breaks the connection off, and reads on.
            client.send_corrupt_record().unwrap();
            let ending = client.finish();
            assert!(ending.close_notify.is_none(), "{ending:?}");
        }
        let options = Options::new().version(version).http1();
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        client.send(get("/") + &old_get("/endless")).unwrap();
        let ticks = |client: &mut Client| client.unread().ends_with(b"tick\ntick\n");
        assert!(client.pump_until(LONG, ticks), "{client:?}");
        server.tls.shutdown();
        ends_visibly_truncated(&mut client, Then::Closes);
        let report = server.closed(LONG);
        assert_eq!((report.clean, report.truncated), (0, 1), "{report}");
    }
}

/// axum, with the layer on some of its routes only.
async fn serve_partly(tls: GracefulTls, listener: TcpListener) {
    let app = Router::new()
        .route("/", answers("hello\n"))
        .layer(GracefulTlsLayer)
        .route("/outside", answers("hello\n"))
        .route("/endless", answers(endless));
    let app = app.into_make_service_with_connect_info::<TlsConnection>();
    axum::serve(tls.listener(listener), app)
        .with_graceful_shutdown(tls.drained())
        .await
        .unwrap();
}

async fn endless() -> Body {
    let ticks = futures_util::stream::unfold((), |()| async {
        sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, Infallible>("tick\n"), ()))
    });
    Body::from_stream(ticks)
}

//! The log: what handlers say falls under their connection's span, what was lost is told at `warn`, and a
//! shutdown names what it waits for.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Debug,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, middleware, routing::get};
use futures_util::{StreamExt, stream};
use graceful_tls::{Builder, Drain, GracefulTlsLayer, Observer, Report};
use served::{PATIENCE, Serve, Served, ask, everywhere, until};
use tokio::time::sleep;
use tower::Service;
use tracing::{
    Dispatch, Event, Level, Subscriber,
    dispatcher::set_default,
    field::{Field, Visit},
    info,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::{LookupSpan, SpanRef},
};
use wire::{Client, Version};

const MS: Duration = Duration::from_millis(1);

type Fields = BTreeMap<&'static str, String>;

/// One line of a log: what it says, and the spans that it falls under, innermost first.
#[derive(Clone, Debug)]
struct Line {
    level: Level,
    fields: Fields,
    spans: Vec<(&'static str, Fields)>,
}

impl Line {
    fn says(&self, text: &str) -> bool {
        self.fields
            .get("message")
            .is_some_and(|it| it.contains(text))
    }

    fn has(&self, field: &str) -> &str {
        let value = self.fields.get(field);
        value.unwrap_or_else(|| panic!("no {field}: {self:?}"))
    }
}

/// Keeps all that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for so many lines with this text.
    fn saying(&self, text: &str, lines: usize) -> Vec<Line> {
        let look = || {
            let mut lines = self.lines();
            lines.retain(|line| line.says(text));
            lines
        };
        until(look, |of| of.len() >= lines)
    }

    fn warned(&self) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| line.level <= Level::WARN);
        lines
    }
}

struct Reads<'a>(&'a mut Fields);

impl Visit for Reads<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Reads(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Reads(extensions.get_mut().unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.lock().unwrap().push(Line {
            level: Level::TRACE,
            fields: Fields::from([("message", CLOSED.to_owned())]),
            spans: vec![known(context.span(&id).unwrap())],
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Reads(&mut fields));
        let spans = context.event_scope(event).into_iter().flatten().map(known);
        self.0.lock().unwrap().push(Line {
            level: *event.metadata().level(),
            fields,
            spans: spans.collect(),
        });
    }
}

/// What the log is made to say when a span is over.
const CLOSED: &str = "the span is over";

fn known<'a, S: LookupSpan<'a>>(span: SpanRef<'a, S>) -> (&'static str, Fields) {
    let fields = span.extensions().get::<Fields>().unwrap().clone();
    (span.name(), fields)
}

/// A server on threads where `wants` is what is logged.
fn logged(
    server: (&'static str, Serve),
    version: Version,
    app: Router,
    wants: &'static str,
    change: impl FnOnce(Builder) -> Builder,
) -> (Served, Log) {
    let log = Log::default();
    let subscriber = Registry::default()
        .with(EnvFilter::new(wants))
        .with(log.clone());
    let subscriber = Dispatch::new(subscriber);
    // For as long as the thread lives.
    let subscribe = move || std::mem::forget(set_default(&subscriber));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(2)
        .enable_all()
        .on_thread_start(subscribe);
    let served = Served::on(runtime.build().unwrap(), server, version, app, change);
    (served, log)
}

const ALL: &str = "graceful_tls=trace,spans=trace";

/// What handlers and middleware say.
const SAID: [&str; 5] = ["called", "middleware", "handler", "handled", "body"];

/// Says something wherever it is asked.
fn talks() -> Router {
    let handler = async || {
        info!("handler");
        sleep(10 * MS).await;
        info!("handled");
        let says = |of| async move {
            sleep(10 * MS).await;
            info!("body");
            Ok::<_, Infallible>(of)
        };
        Body::from_stream(stream::iter(["a", "b"]).then(says))
    };
    Router::new()
        .route("/", get(handler))
        .layer(middleware::from_fn(
            async |request: Request, next: middleware::Next| {
                info!("middleware");
                next.run(request).await
            },
        ))
        .layer(tower_layer::layer_fn(Says))
}

/// Says that it is called, before there is a future.
#[derive(Clone)]
struct Says<S>(S);

impl<S: Service<Request>> Service<Request> for Says<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        info!("called");
        self.0.call(request)
    }
}

/// One request over HTTP/1 and one over HTTP/2; the addresses of their clients.
fn asks_both(served: &Served) -> [SocketAddr; 2] {
    let (mut client, mut h2) = (served.client(), served.h2());
    assert_eq!(client.get("/").unwrap().text(), "ab");
    assert_eq!(h2.h2_get("/").unwrap().text(), "ab");
    [client.local_addr(), h2.conn.local_addr()]
}

/// What was said on one connection falls under one span: its own.
fn falls_under_one_span(log: &Log, peers: [SocketAddr; 2]) {
    for (peer, protocol) in peers.into_iter().zip(["http/1", "http/2"]) {
        let of = |line: &Line| {
            let span = line.spans.first();
            span.is_some_and(|(_, fields)| fields.get("peer") == Some(&peer.to_string()))
        };
        let mut lines = log.lines();
        lines.retain(of);
        for said in SAID {
            let times = if said == "body" { 2 } else { 1 };
            assert_eq!(
                lines
                    .iter()
                    .filter(|of| of.says(said) && of.level == Level::INFO)
                    .count(),
                times,
                "{said}: {:#?}",
                log.lines()
            );
        }
        let mut ids: Vec<_> = lines
            .iter()
            .map(|line| line.spans[0].1["id"].clone())
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{lines:#?}");
        for line in lines
            .iter()
            .filter(|line| SAID.iter().any(|said| line.says(said)))
        {
            assert_eq!(line.spans.len(), 1, "{line:#?}");
            let (name, fields) = &line.spans[0];
            assert_eq!(*name, "connection");
            assert_eq!(fields["server_name"], "localhost");
            assert_eq!(fields["protocol"], protocol, "{line:#?}");
        }
    }
}

#[test]
fn what_handlers_say_falls_under_their_connections_span() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, talks(), ALL, |of| of);
        let peers = asks_both(&served);
        log.saying("body", 4);
        falls_under_one_span(&log, peers);
    });
}

/// Says that it is dropped.
struct Parts(&'static str);

impl Drop for Parts {
    fn drop(&mut self) {
        info!("{} dropped", self.0);
    }
}

/// What a client that goes away cancels: a handler, and the body of an answer.
fn parts() -> Router {
    let handler = async || {
        let _parts = Parts("handler");
        pending::<()>().await;
    };
    let body = async || {
        let parts = Parts("body");
        let begun = stream::iter([Ok::<_, Infallible>("four")]);
        Body::from_stream(begun.chain(stream::once(async move {
            let _parts = parts;
            pending().await
        })))
    };
    Router::new()
        .route("/handler", get(handler))
        .route("/body", get(body))
}

#[test]
fn so_does_what_they_say_when_they_are_dropped() {
    everywhere(|server, version| {
        for track in [false, true] {
            let (served, log) =
                logged(server, version, parts(), ALL, |of| of.track_requests(track));
            for dropped in ["handler", "body"] {
                let (mut client, mut h2) = (served.client(), served.h2());
                let path = format!("/{dropped}");
                ask(&mut client, &path);
                h2.get(&path).unwrap();
                until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
                let peers = sorted([client.local_addr(), h2.conn.local_addr()]);
                client.reset().unwrap();
                h2.conn.reset().unwrap();
                let lines = log.saying(&format!("{dropped} dropped"), 2);
                let mut under: Vec<_> = lines.iter().filter_map(peer_of).collect();
                under.sort_unstable();
                assert_eq!(under, peers, "{lines:#?}");
                until(|| served.tls().stats(), |of| of.requests_in_flight == 0);
            }
        }
    });
}

/// Whose span a line falls under, where that is the only one.
fn peer_of(line: &Line) -> Option<SocketAddr> {
    match &line.spans[..] {
        [(_, fields)] => fields.get("peer")?.parse().ok(),
        _ => None,
    }
}

/// Who has made room for another is remembered, and not kept.
#[test]
fn a_span_is_over_with_its_connection() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            of.max_connections(2)
        });
        let asked = || {
            let mut client = served.client();
            client.get("/").unwrap();
            // So that the first one has been idle longest.
            thread::sleep(20 * MS);
            client
        };
        let (mut first, mut second) = (asked(), asked());
        let mut third = asked();
        assert!(first.finish().is_proper(), "{first:?}");
        first.close().unwrap();
        let over = log.saying(CLOSED, 1);
        assert_eq!(peer_of(&over[0]), Some(first.local_addr()));
        for client in [&mut second, &mut third] {
            client.close().unwrap();
        }
        log.saying(CLOSED, 3);
    });
}

#[test]
fn a_second_layer_does_not_double_it() {
    everywhere(|server, version| {
        let app = talks().layer(GracefulTlsLayer);
        let (served, log) = logged(server, version, app, ALL, |of| of.track_requests(true));
        let peers = asks_both(&served);
        log.saying("body", 4);
        falls_under_one_span(&log, peers);
    });
}

#[test]
fn who_does_not_want_spans_has_none() {
    everywhere(|server, version| {
        let wants = "graceful_tls=warn,spans=trace";
        let (served, log) = logged(server, version, talks(), wants, |of| of);
        asks_both(&served);
        log.saying("body", 4);
        for line in log.lines() {
            assert!(line.spans.is_empty(), "{line:?}");
        }
    });
}

fn tracks(of: Builder) -> Builder {
    of.track_requests(true).shutdown_timeout(500 * MS)
}

const CUT: &str = "connection ended with an exchange cut short";
const FAILED: &str = "an answer was broken off, and its connection goes on";

#[test]
fn what_we_cut_is_a_warning_that_names_it() {
    everywhere(|server, version| {
        for (path, cause) in [
            ("/cut", "dropped"),
            ("/panic", "panicked"),
            ("/never", "deadline"),
        ] {
            let (served, log) = logged(server, version, served::app(), ALL, tracks);
            let mut client = served.client();
            ask(&mut client, &format!("{path}?token=secret"));
            if cause == "deadline" {
                until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
                served.tls().shutdown();
            }
            client.finish();
            client.close().unwrap();
            let line = log.saying(CUT, 1).remove(0);
            assert_eq!(line.level, Level::WARN);
            assert_eq!(
                (line.has("cause"), line.has("outcome")),
                (cause, "truncated")
            );
            assert_eq!(
                (line.has("requests"), line.has("requests_in_flight")),
                ("1", "1")
            );
            assert_eq!(
                (line.has("peer"), line.has("unlogged")),
                (&*client.local_addr().to_string(), "0")
            );
            assert!(
                line.has("cut").starts_with(&format!("GET {path}, 0.")),
                "{line:?}"
            );
            assert!(line.has("sent").parse::<u32>().unwrap() > 500, "{line:?}");
            assert_eq!(log.saying(CUT, 1).len(), 1);
        }
    });
}

#[test]
fn so_it_is_over_http2() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, tracks);
        let mut h2 = served.h2();
        h2.get("/silent").unwrap();
        thread::sleep(50 * MS);
        h2.get("/never?token=secret").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
        served.tls().shutdown();
        h2.finish();
        h2.conn.close().unwrap();
        let line = log.saying(CUT, 1).remove(0);
        assert_eq!((line.level, line.has("cause")), (Level::WARN, "deadline"));
        assert_eq!(line.has("requests_in_flight"), "2");
        let names = line.has("cut");
        let (first, second) = names.split_once("; ").unwrap();
        assert!(
            first.starts_with("GET /silent, ") && second.starts_with("GET /never, "),
            "{names}"
        );
    });
}

/// An HTTP/2 connection goes on without the stream, for days where it is gRPC's: so it is told at once, and once.
#[test]
fn a_stream_that_a_handler_cuts_is_a_warning_at_once() {
    everywhere(|server, version| {
        for path in ["/cut", "/panic"] {
            let (served, log) = logged(server, version, served::app(), ALL, tracks);
            let mut h2 = served.h2();
            assert!(!h2.h2_get(path).unwrap().is_complete());
            let line = log.saying(FAILED, 1).remove(0);
            assert_eq!((line.level, line.has("unlogged")), (Level::WARN, "0"));
            assert_eq!(line.has("peer"), h2.conn.local_addr().to_string());
            assert_eq!(line.has("requests_failed"), "1");
            assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
            let now = served.tls().connections()[0].stats();
            assert_eq!((now.requests, now.requests_failed), (2, 1));
            assert_eq!(served.tls().stats().requests_failed, 1);

            h2.conn.send_close_notify().unwrap();
            h2.finish();
            h2.conn.close().unwrap();
            let line = log.saying("connection ended", 1).remove(0);
            assert_eq!(
                (line.level, line.has("cause")),
                (Level::DEBUG, "peer_closed")
            );
            assert_eq!(
                (line.has("outcome"), line.has("requests_failed")),
                ("truncated", "1")
            );
            assert_eq!(log.warned().len(), 1);
            assert_eq!(served.tls().stats().requests_failed, 1);
        }
    });
}

#[test]
fn what_a_client_does_is_no_warning() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            tracks(of).handshake_timeout(200 * MS)
        });
        let asking = || {
            let (mut client, mut h2) = (served.client(), served.h2());
            ask(&mut client, "/never");
            h2.get("/never").unwrap();
            until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
            (client, h2)
        };
        let (mut client, mut h2) = asking();
        client.reset().unwrap();
        h2.conn.reset().unwrap();
        log.saying("connection ended", 2);
        let (mut client, mut h2) = asking();
        client.send_close_notify().unwrap();
        h2.conn.send_close_notify().unwrap();
        client.close().unwrap();
        h2.conn.close().unwrap();
        log.saying("connection ended", 4);
        wire::RawTcp::stalled_handshake(served.within.addr)
            .unwrap()
            .finish();
        wire::RawTcp::connect(served.within.addr)
            .unwrap()
            .send("garbage, really\r\n\r\n")
            .unwrap();
        log.saying("handshake failed", 2);
        for line in &log.saying("connection ended", 6)[..4] {
            assert_eq!(line.level, Level::DEBUG);
            assert_eq!(
                (line.has("cause"), line.has("outcome")),
                ("abandoned", "aborted")
            );
        }
        assert!(log.warned().is_empty(), "{:#?}", log.warned());
    });
}

/// A client may bring some about after all.
#[test]
fn more_than_ten_warnings_a_second_are_counted() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, tracks);
        let cut = |many| {
            let mut clients: Vec<_> = (0..many).map(|_| served.client()).collect();
            clients.iter_mut().for_each(|client| ask(client, "/cut"));
            clients.iter_mut().for_each(|client| drop(client.finish()));
        };
        let ended = |so_many| {
            let all = |of: &graceful_tls::Stats| {
                of.ended_with(graceful_tls::Outcome::Truncated) == so_many
            };
            until(|| served.tls().stats(), all);
        };
        cut(25);
        ended(25);
        let lines = log.saying(CUT, 10).len();
        assert!((10..=20).contains(&lines), "{lines}");
        thread::sleep(1100 * MS);
        cut(1);
        ended(26);
        let lines = log.saying(CUT, lines + 1);
        let unlogged = |line: &Line| line.has("unlogged").parse::<usize>().unwrap();
        let left_out: usize = lines.iter().map(unlogged).sum();
        assert_eq!(lines.len() + left_out, 26);
        assert!(left_out >= 5, "{lines:?}");
    });
}

/// Clients that hold their connections to the end of the grace, as anybody can.
#[test]
fn what_clients_bring_about_leaves_out_no_fault_of_a_handler() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            tracks(of)
                .drain(Drain::default().idle_timeout(50 * MS))
                .max_connection_age(500 * MS)
                .max_connection_age_grace(100 * MS)
        });
        // Each asks as soon as it is there, well before its age.
        let _clients: [_; 40] = std::array::from_fn(|_| {
            let mut client = served.client();
            ask(&mut client, "/never");
            client
        });
        let lost = |of: &graceful_tls::Stats, so_many| {
            of.ended_with(graceful_tls::Outcome::Truncated) >= so_many
        };
        until(|| served.tls().stats(), |of| lost(of, 20));
        let mut client = served.client();
        ask(&mut client, "/cut");
        client.finish();
        until(|| served.tls().stats(), |of| lost(of, 41));
        // It is counted a moment before it is said.
        let lines = until(
            || log.saying(CUT, 1),
            |lines| lines.iter().any(|of| of.has("cause") == "dropped"),
        );
        let of = |cause| lines.iter().filter(|of| of.has("cause") == cause).count();
        assert_eq!(of("dropped"), 1, "{lines:#?}");
        assert!(of("max_age_grace") < 40, "{lines:#?}");
    });
}

/// Panics at whatever a client does.
struct Panics;

impl Observer for Panics {
    fn accepted(&self, _: Option<SocketAddr>) {
        panic!("an observer may");
    }
}

/// A stranger may bring them about.
#[test]
fn so_are_more_than_ten_panics_of_the_observer() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            of.observer(Panics)
        });
        let panics = |many| {
            let clients: Vec<_> = (0..many).map(|_| served.client()).collect();
            drop(clients);
        };
        panics(25);
        let lines = log.saying("the observer has panicked", 10).len();
        assert!((10..=20).contains(&lines), "{lines}");
        thread::sleep(1100 * MS);
        panics(1);
        let lines = log.saying("the observer has panicked", lines + 1);
        let unlogged = |line: &Line| line.has("unlogged").parse::<usize>().unwrap();
        let left_out: usize = lines.iter().map(unlogged).sum();
        assert_eq!(lines.len() + left_out, 26);
    });
}

/// There is no line after these that could tell.
#[test]
fn so_are_those_of_the_deadline() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, tracks);
        let mut clients: Vec<_> = (0..30).map(|_| served.client()).collect();
        clients.iter_mut().for_each(|client| ask(client, "/never"));
        until(|| served.tls().stats(), |of| of.requests_in_flight == 30);
        served.tls().shutdown();
        for mut client in clients {
            client.finish();
            client.close().unwrap();
        }
        let report = served.within.closed(PATIENCE);
        assert_eq!((report.truncated, report.cut.len()), (30, 30));
        let mut lines = log.warned();
        lines.retain(|line| line.fields.contains_key("unlogged"));
        let said = lines.iter().filter(|line| line.says(CUT)).count();
        let unlogged = lines
            .iter()
            .map(|line| line.has("unlogged").parse::<usize>().unwrap());
        assert!((10..30).contains(&said), "{said}");
        assert_eq!(said + unlogged.sum::<usize>(), 30, "{lines:#?}");
    });
}

#[test]
fn a_shutdown_names_what_it_waits_for() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            of.track_requests(true).shutdown_timeout(1500 * MS)
        });
        let (mut client, mut h2) = (served.client(), served.h2());
        ask(&mut client, "/silent?token=secret");
        until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
        thread::sleep(150 * MS);
        h2.get("/never?token=secret").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
        let peers = [client.local_addr(), h2.conn.local_addr()];
        served.tls().shutdown();
        let line = log
            .saying("draining: 2 connections, 2 requests in flight", 1)
            .remove(0);
        let said = &line.fields["message"];
        let (_, names) = said
            .split_once(" s left, for longest of GET /silent, 1.")
            .expect(said);
        let (first, second) = names.split_once("; ").expect(said);
        assert!(first.ends_with(&format!(" s from {}", peers[0])), "{said}");
        assert!(second.starts_with("GET /never, 1."), "{said}");
        assert!(second.ends_with(&format!(" s from {}", peers[1])), "{said}");
        client.finish();
        h2.finish();
        client.close().unwrap();
        h2.conn.close().unwrap();

        let report = served.within.closed(PATIENCE);
        let forced = log.saying(
            "the deadline has passed, ending what is left, for longest of GET /silent, ",
            1,
        );
        assert_eq!(forced[0].level, Level::WARN);
        assert_eq!(
            cut_of(&report),
            sorted([
                (peers[0], "GET /silent".to_owned(), false),
                (peers[1], "GET /never".to_owned(), true)
            ])
        );
        assert!(
            log.lines()
                .iter()
                .all(|line| !format!("{line:?}").contains("secret"))
        );
    });
}

/// Whose handshake is over first, the server says.
fn sorted<T: Ord, const N: usize>(mut of: [T; N]) -> [T; N] {
    of.sort_unstable();
    of
}

/// Whose request was cut, which, and whether its answer had begun.
fn cut_of(report: &Report) -> Vec<(SocketAddr, String, bool)> {
    let mut cut: Vec<_> = report
        .cut
        .iter()
        .map(|of| {
            assert_eq!(of.cause, graceful_tls::Cause::Deadline);
            assert_eq!((of.requests_in_flight, of.requests.len()), (1, 1), "{of:?}");
            let request = &of.requests[0];
            assert!(
                request.age > 400 * MS && request.age < PATIENCE,
                "{request:?}"
            );
            let name = format!("{} {}", request.method, request.path);
            (of.peer.unwrap(), name, request.answering)
        })
        .collect();
    cut.sort_unstable();
    cut
}

/// Its handler is over, and hyper has all of the answer.
#[test]
fn an_answer_that_waits_for_its_client_is_named() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, tracks);
        let options = served.options().http1().recv_buffer(16 << 10);
        let mut client = Client::connect_with(served.within.addr, &options).unwrap();
        let mut h2 = served.h2();
        ask(&mut client, "/large");
        h2.get("/large").unwrap();
        let answering = || {
            let all = served.tls().connections();
            let all = all.iter().flat_map(|of| of.tracked_requests());
            all.filter(|of| of.answering && of.path == "/large").count()
        };
        until(answering, |of| *of == 2);
        served.tls().shutdown();
        log.saying(
            "the deadline has passed, ending what is left, for longest of GET /large, ",
            1,
        );
        client.finish();
        h2.finish();
        client.close().unwrap();
        h2.conn.close().unwrap();
        let large = |of: SocketAddr| (of, "GET /large".to_owned(), true);
        let report = served.within.closed(PATIENCE);
        assert_eq!(
            cut_of(&report),
            sorted([large(client.local_addr()), large(h2.conn.local_addr())])
        );
    });
}

/// What is answered to the last byte is forgotten, on a connection that is kept alive.
#[test]
fn what_is_answered_is_not_named() {
    everywhere(|server, version| {
        let (served, _) = logged(server, version, served::app(), ALL, tracks);
        let (mut client, mut h2) = (served.client(), served.h2());
        for _ in 0..3 {
            client.get("/").unwrap();
            h2.h2_get("/").unwrap();
        }
        until(|| served.tls().stats(), |of| of.requests_in_flight == 0);
        for connection in served.tls().connections() {
            assert_eq!(connection.tracked_requests(), []);
        }
    });
}

#[test]
fn nothing_is_named_unless_it_was_asked_for() {
    everywhere(|server, version| {
        let (served, log) = logged(server, version, served::app(), ALL, |of| {
            of.shutdown_timeout(1200 * MS)
        });
        let mut client = served.client();
        ask(&mut client, "/silent");
        until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
        assert_eq!(served.tls().connections()[0].tracked_requests(), []);
        served.tls().shutdown();
        let line = log
            .saying("draining: 1 connections, 1 requests in flight", 1)
            .remove(0);
        // The connection is, and not what it is asked.
        let message = &line.fields["message"];
        assert!(
            message.contains(" s left, open longest: in_use http/1 from "),
            "{line:?}"
        );
        assert!(!message.contains("/silent"), "{line:?}");
        client.finish();
        client.close().unwrap();
        let report = served.within.closed(PATIENCE);
        assert_eq!((report.cut.len(), report.cut[0].requests_in_flight), (1, 1));
        assert_eq!(report.cut[0].requests, []);
        assert_eq!(log.saying(CUT, 1)[0].fields.get("cut"), None);
    });
}

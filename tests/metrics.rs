//! Metrics, as Prometheus gets them: connections that end in different ways, over both versions of TLS and of
//! HTTP, are counted under the names that the log and the snapshot have.

mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use graceful_tls::{
    Builder, Cause, Ended, HandshakeError, Observer, Outcome, TlsConnection,
    metrics::{self, BUCKETS, Metrics},
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use wire::{Client, H2, H2Options, Options, RawTcp, Version};
use within::Within;

const PATIENCE: Duration = Duration::from_secs(10);

/// Counts the connections that have ended.
#[derive(Default)]
struct Own(Arc<AtomicU32>);

impl Observer for Own {
    fn ended(&self, _: &TlsConnection, _: &Ended) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Server {
    within: Within,
    recorder: PrometheusRecorder,
    prometheus: PrometheusHandle,
    ended: Arc<AtomicU32>,
    version: Version,
}

impl Server {
    fn start(version: Version, change: impl FnOnce(Builder) -> Builder) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS)
            .unwrap()
            .build_recorder();
        let ended = Arc::default();
        let metrics = ::metrics::with_local_recorder(&recorder, Metrics::new);
        let builder = change(support::pair(support::VERSIONS[version as usize]).0);
        let builder = builder.observer((metrics, Own(Arc::clone(&ended))));
        let within = Within::start(builder, |tls, listener| async move {
            tls.serve(listener, app()).await.unwrap();
        });
        Self {
            within,
            prometheus: recorder.handle(),
            recorder,
            ended,
            version,
        }
    }

    fn options(&self) -> Options {
        Options::new().version(self.version)
    }

    fn client(&self) -> Client {
        Client::connect_with(self.within.addr, &self.options().http1()).unwrap()
    }

    fn h2(&self) -> H2 {
        H2::connect_with(self.within.addr, &self.options().h2(), H2Options::default()).unwrap()
    }

    fn text(&self) -> String {
        let stats = self.within.tls.stats();
        ::metrics::with_local_recorder(&self.recorder, || metrics::record(&stats));
        self.prometheus.render()
    }

    /// All that is not zero, by name and labels, without `graceful_tls_`.
    fn all(&self) -> BTreeMap<String, f64> {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| line.rsplit_once(' '));
        values
            .map(|(name, value)| {
                let name = name.strip_prefix("graceful_tls_").unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .filter(|(_, value)| *value != 0.0)
            .collect()
    }

    /// Waits until this is the value.
    fn has(&self, name: &str, value: f64) {
        let until = Instant::now() + PATIENCE;
        while self.all().get(name).copied().unwrap_or_default() != value {
            assert!(
                Instant::now() < until,
                "no {name} {value}: {:#?}",
                self.all()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn has_ended(&self, cause: Cause, outcome: Outcome, connections: f64) {
        let labels = format!("cause=\"{cause}\",outcome=\"{outcome}\"");
        self.has(&format!("connections_ended_total{{{labels}}}"), connections);
    }
}

fn app() -> Router {
    let cut = || async {
        let start = stream::iter([Ok("four"), Err("cut")]);
        Body::from_stream(start)
    };
    let never = || async {
        let start = stream::iter([Ok::<_, Infallible>("four")]);
        Body::from_stream(start.chain(stream::pending()))
    };
    Router::new()
        .route("/", get("hello\n"))
        .route("/cut", get(cut))
        .route("/never", get(never))
        .route("/silent", get(pending::<()>))
        .route("/large", get(async || vec![b'x'; 1 << 20]))
        .route("/upload", post(async |body: Bytes| body.len().to_string()))
}

fn everywhere(run: impl Fn(Version, &str)) {
    run(Version::Tls12, "1.2");
    run(Version::Tls13, "1.3");
}

#[test]
fn connections_are_counted_by_how_they_ended() {
    everywhere(|version, name| {
        let server = Server::start(version, |of| {
            of.keep_alive_timeout(Duration::from_millis(300))
        });

        // Two requests, and the client leaves.
        let mut client = server.client();
        client.get("/").unwrap();
        client.get("/").unwrap();
        server.has("connections{state=\"idle\"}", 1.0);
        client.close().unwrap();
        server.has_ended(Cause::PeerClosed, Outcome::Clean, 1.0);

        // Idle for too long, in HTTP/2.
        let mut h2 = server.h2();
        assert!(h2.h2_get("/").unwrap().is_complete());
        h2.finish();
        h2.conn.close().unwrap();
        server.has_ended(Cause::Idle, Outcome::Clean, 1.0);

        // An answer that the handler cuts.
        let mut cut = server.client();
        cut.send("GET /cut HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        cut.finish();
        cut.close().unwrap();
        server.has_ended(Cause::Dropped, Outcome::Truncated, 1.0);

        // The same in HTTP/2, where the connection goes on.
        let mut h2 = server.h2();
        let stream = h2.get("/cut").unwrap();
        assert!(h2.wait_stream(stream, PATIENCE).reset.is_some());
        server.has("requests_cut_total{cause=\"dropped\"}", 2.0);
        h2.conn.close().unwrap();
        server.has_ended(Cause::PeerClosed, Outcome::Truncated, 1.0);

        // A client that goes away in the middle of one, in HTTP/2.
        let mut gone = server.h2();
        gone.get("/silent").unwrap();
        server.has("requests_in_flight", 1.0);
        server.has("connections{state=\"in_use\"}", 1.0);
        gone.conn.reset().unwrap();
        server.has(
            "connections_ended_total{cause=\"abandoned\",outcome=\"aborted\"}",
            1.0,
        );

        let all = server.all();
        let expected = [
            ("connections_accepted_total", 5.0),
            ("requests_total{protocol=\"http/1\"}", 3.0),
            ("requests_total{protocol=\"http/2\"}", 3.0),
            ("requests_cut_total{cause=\"dropped\"}", 2.0),
            ("requests_cut_total{cause=\"abandoned\"}", 1.0),
            (
                "connection_duration_seconds_count{protocol=\"http/1\"}",
                2.0,
            ),
            (
                "connection_duration_seconds_count{protocol=\"http/2\"}",
                3.0,
            ),
            ("drain_duration_seconds_count{outcome=\"clean\"}", 2.0),
            ("drain_duration_seconds_count{outcome=\"truncated\"}", 2.0),
            ("drain_duration_seconds_count{outcome=\"aborted\"}", 1.0),
            ("phase{phase=\"serving\"}", 1.0),
        ];
        for (name, value) in expected {
            assert_eq!(all.get(name), Some(&value), "{name}: {all:#?}");
        }
        let handshakes =
            format!("handshake_duration_seconds_count{{tls_protocol_version=\"{name}\"}}");
        assert_eq!(all[&handshakes], 5.0, "{all:#?}");
        let took = all[&handshakes.replace("_count", "_sum")];
        assert!(took > 0.0 && took < 10.0, "{all:#?}");
        assert!(all["sent_bytes_total"] > 2000.0, "{all:#?}");
        assert!(all["received_bytes_total"] > 1000.0, "{all:#?}");
        // The bound of HTTP/2: it was idle for 0.3 s.
        let idled = all["connection_duration_seconds_sum{protocol=\"http/2\"}"];
        assert!((0.3..5.0).contains(&idled), "{all:#?}");
        assert_eq!(server.ended.load(Ordering::SeqCst), 5, "the other observer");
    });
}

/// The connection goes on without them, and its end has another cause.
#[test]
fn streams_that_are_broken_off_are_counted_by_why() {
    everywhere(|version, _| {
        let late = Duration::from_millis(300);
        let server = Server::start(version, |of| of.write_timeout(late).body_timeout(late));
        let options = H2Options::window(1000);
        let mut h2 = H2::connect_with(server.within.addr, &server.options().h2(), options).unwrap();
        let stalled = h2.get("/large").unwrap();
        let late = h2.post("/upload").unwrap();
        h2.data(late, b"a part", false).unwrap();
        h2.get("/silent").unwrap();
        for stream in [stalled, late] {
            let reset = h2.wait_stream(stream, PATIENCE).reset;
            assert_eq!(reset.map(|(code, _)| code), Some(8), "{h2:?}");
        }
        h2.conn.reset().unwrap();
        server.has("requests_cut_total{cause=\"abandoned\"}", 1.0);
        let all = server.all();
        for cause in ["stalled", "body_timeout"] {
            let name = format!("requests_cut_total{{cause=\"{cause}\"}}");
            assert_eq!(all.get(&name), Some(&1.0), "{all:#?}");
        }
        assert_eq!(all.get("requests_cut_total{cause=\"dropped\"}"), None);
    });
}

/// Each server has a gate of its own; who was refused by any is counted.
#[test]
fn refusals_are_counted_of_all_servers() {
    let server = Server::start(Version::Tls13, |of| of);
    let builder = support::pair(support::VERSIONS[1]).0;
    let builder = builder.shutdown_with(&server.within.tls);
    let other = builder.connection_filter(|_| graceful_tls::Admission::Refuse);
    let other = Within::start(other, |tls, listener| async move {
        tls.serve(listener, app()).await.unwrap();
    });
    let mut refused = RawTcp::connect(other.addr).unwrap();
    refused.finish();
    server.has("connections_refused_total", 1.0);
    assert_eq!((server.within.tls.refused(), other.tls.refused()), (0, 1));
    server.within.tls.shutdown_now();
}

#[test]
fn handshakes_are_counted_by_why_they_failed() {
    everywhere(|version, _| {
        let server = Server::start(version, |of| {
            of.handshake_timeout(Duration::from_millis(300))
        });
        let mut plain = RawTcp::connect(server.within.addr).unwrap();
        plain
            .send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        server.has("handshakes_failed_total{reason=\"plain_http\"}", 1.0);

        let foreign = server.options().alpn(&["foo"]);
        Client::connect_with(server.within.addr, &foreign).unwrap_err();
        server.has("handshakes_failed_total{reason=\"tls\"}", 1.0);

        let _silent = RawTcp::connect(server.within.addr).unwrap();
        server.has("connections{state=\"handshaking\"}", 1.0);
        server.has("handshakes_failed_total{reason=\"timed_out\"}", 1.0);
        let all = server.all();
        assert_eq!(all["connections_accepted_total"], 3.0, "{all:#?}");
        let ended = all
            .keys()
            .find(|name| name.starts_with("connections_ended"));
        assert_eq!(ended, None);
    });
}

#[test]
fn a_shutdown_is_timed_and_its_phase_shown() {
    everywhere(|version, _| {
        let server = Server::start(version, |of| {
            of.lame_duck(Duration::from_millis(100))
                .shutdown_timeout(Duration::from_millis(400))
        });
        let (mut client, mut h2) = (server.client(), server.h2());
        client
            .send("GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        h2.get("/never").unwrap();
        server.has("requests_in_flight", 2.0);

        server.within.tls.shutdown();
        server.has("phase{phase=\"lame_duck\"}", 1.0);
        server.has("phase{phase=\"draining\"}", 1.0);
        client.finish();
        h2.finish();
        client.close().unwrap();
        h2.conn.close().unwrap();
        server.has_ended(Cause::Deadline, Outcome::Truncated, 2.0);
        server.has("phase{phase=\"closed\"}", 1.0);
        server.has("shutdown_duration_seconds_count", 1.0);
        let all = server.all();
        assert_eq!(
            all["requests_cut_total{cause=\"deadline\"}"], 2.0,
            "{all:#?}"
        );
        let took = all["shutdown_duration_seconds_sum"];
        assert!((0.5..5.0).contains(&took), "{took}");
        assert!(
            all.keys().all(|name| !name.starts_with("connections{")),
            "{all:#?}"
        );
    });
}

/// A server of its own, or one that shares the shutdown of another.
fn serving(version: Version, change: impl FnOnce(Builder) -> Builder) -> Within {
    let builder = support::pair(support::VERSIONS[version as usize]).0;
    let builder = change(builder.lame_duck(Duration::ZERO));
    Within::start(builder, |tls, listener| async move {
        tls.serve(listener, app()).await.unwrap();
    })
}

fn ask(of: &Within, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    let mut client = Client::connect_with(of.addr, &options).unwrap();
    client.get("/").unwrap();
    client
}

/// All that is not zero.
fn rendered(prometheus: &PrometheusHandle) -> String {
    let text = prometheus.render();
    let lines = text.lines().filter(|line| !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn servers_that_share_a_shutdown_count_it_once() {
    everywhere(|version, _| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let prometheus = recorder.handle();
        let metrics = ::metrics::with_local_recorder(&recorder, Metrics::new);
        let one = serving(version, |of| of.observer(metrics.clone()));
        let other = serving(version, |of| {
            of.shutdown_with(&one.tls).observer(metrics.clone())
        });
        let clients = [ask(&one, version), ask(&other, version)];
        one.tls.shutdown();
        drop(clients);
        one.closed(PATIENCE);
        other.closed(PATIENCE);
        let series = "\ngraceful_tls_shutdown_duration_seconds_count 1\n";
        let until = Instant::now() + PATIENCE;
        while !rendered(&prometheus).contains(series) {
            assert!(Instant::now() < until, "{}", rendered(&prometheus));
            thread::sleep(Duration::from_millis(10));
        }
        // Time for a second one.
        thread::sleep(Duration::from_millis(100));
        let text = rendered(&prometheus);
        assert!(text.contains(series), "{text}");
        assert!(text.contains("\ngraceful_tls_requests_total{protocol=\"http/1\"} 2\n"));
    });
}

#[test]
fn servers_that_do_not_have_each_their_own_series() {
    everywhere(|version, _| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let prometheus = recorder.handle();
        let metrics = ::metrics::with_local_recorder(&recorder, || {
            ["public", "internal"].map(Metrics::of_server)
        });
        let [public, internal] = metrics
            .clone()
            .map(|of| serving(version, |to| to.observer(of)));
        let _clients = [&public, &public, &internal].map(|of| ask(of, version));
        let look = || {
            ::metrics::with_local_recorder(&recorder, || {
                metrics[0].record(&public.tls.stats());
                metrics[1].record(&internal.tls.stats());
            });
            rendered(&prometheus)
        };
        let expected = |server: &str, clients: u32| {
            [
                format!("connections_accepted_total{{server=\"{server}\"}} {clients}"),
                format!("requests_total{{server=\"{server}\",protocol=\"http/1\"}} {clients}"),
                format!("connections{{server=\"{server}\",state=\"idle\"}} {clients}"),
                format!("phase{{server=\"{server}\",phase=\"serving\"}} 1"),
            ]
        };
        let expected = [expected("public", 2), expected("internal", 1)].concat();
        let lacks = |text: &str| {
            let lacking = |line: &&String| !text.contains(&format!("\ngraceful_tls_{line}\n"));
            expected.iter().find(lacking).cloned()
        };
        let until = Instant::now() + PATIENCE;
        while let Some(lacking) = lacks(&look()) {
            assert!(Instant::now() < until, "no {lacking}: {}", look());
            thread::sleep(Duration::from_millis(10));
        }
        let text = look();
        let mut nobodys = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(nobodys.find(|line| !line.contains("server=")), None);
    });
}

#[test]
fn all_are_there_from_the_beginning() {
    let server = Server::start(Version::Tls13, |of| of);
    let text = server.text();
    let has = |series: String| {
        assert!(
            text.contains(&format!("\n{series} 0\n")),
            "{series}: {text}"
        )
    };
    for reason in HandshakeError::REASONS {
        has(format!(
            "graceful_tls_handshakes_failed_total{{reason=\"{reason}\"}}"
        ));
    }
    for cause in [Cause::Orderly, Cause::Dropped, Cause::Deadline] {
        has(format!(
            "graceful_tls_requests_cut_total{{cause=\"{cause}\"}}"
        ));
        for outcome in Outcome::ALL {
            has(format!(
                "graceful_tls_connections_ended_total{{cause=\"{cause}\",outcome=\"{outcome}\"}}"
            ));
        }
    }
    // Those are handshakes that have failed.
    assert!(!text.contains("cause=\"handshake"), "{text}");
    // Each is described, and the unit is a word of its name.
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

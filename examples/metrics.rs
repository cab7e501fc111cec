//! Metrics for Prometheus, and a dashboard and alerts for them.
//!
//! ```sh
//! cargo run --example metrics             # port 8443, metrics on 9464
//! cargo run --example metrics -- 9443     # another
//! ```
//!
//! `http://127.0.0.1:9464/metrics` is what Prometheus scrapes; `metrics/` beside this file has a dashboard for
//! Grafana and alerts. Ask for `/`, `/slow` and `/cut`, an answer that fails in the middle, and see what becomes
//! of them. Press Ctrl-C while somebody asks for `/slow`: the metrics can be scraped until the last connection
//! has ended, and if somebody did before, for some seconds more: so that Prometheus sees how the shutdown went.

mod common;

use std::{future::IntoFuture, net::Ipv4Addr, time::Duration};

use anyhow::Context;
use axum::{Router, body::Body, http::header::CONTENT_TYPE, routing::get};
use futures_util::{StreamExt, stream};
use graceful_tls::{
    GracefulTls, Phase,
    metrics::{self, BUCKETS, Metrics},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{interval, sleep, timeout},
};

/// Of scrapes: the last one is awaited for so long.
const LONGEST_INTERVAL: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [port] = common::start(["a port"])?;
    let any = port.as_deref() == Some("0");
    let listener = common::listen_on(port).await?;
    // Before there are metrics.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS)?
        .install_recorder()?;

    let tls = GracefulTls::builder(common::config(&common::self_made()?)?)
        .observer(Metrics::new())
        .build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    tokio::spawn(upkeep(prometheus.clone()));
    let (told, scraped) = watch::channel(None);
    let admin = axum::serve(admin_listener(any).await?, admin(&tls, prometheus, told))
        .with_graceful_shutdown(last_scrape(tls.clone(), scraped));
    let admin = tokio::spawn(admin.into_future());

    let app = Router::new()
        .route("/", get("hello\n"))
        .route("/slow", get(async || Body::from_stream(slow())))
        .route("/cut", get(async || Body::from_stream(cut())));
    let report = tls.serve(listener, app).await?;
    println!("{report}");
    _ = timeout(LONGEST_INTERVAL, admin).await;
    Ok(())
}

/// What only operators are to see, so not on the public port.
fn admin(
    tls: &GracefulTls,
    prometheus: PrometheusHandle,
    told: watch::Sender<Option<Phase>>,
) -> Router {
    let tls = tls.clone();
    let scrape = async move || {
        let stats = tls.stats();
        metrics::record(&stats);
        told.send_replace(Some(stats.phase));
        let format = "text/plain; version=0.0.4";
        ([(CONTENT_TYPE, format)], prometheus.render())
    };
    Router::new().route("/metrics", get(scrape))
}

/// Where somebody scrapes, the one that tells how the shutdown went.
async fn last_scrape(tls: GracefulTls, mut scraped: watch::Receiver<Option<Phase>>) {
    tls.closed().await;
    if scraped.borrow().is_some() {
        _ = scraped
            .wait_for(|phase| *phase == Some(Phase::Closed))
            .await;
    }
}

/// The port that OpenTelemetry names for this; any that is free where the server's is any.
async fn admin_listener(any: bool) -> anyhow::Result<TcpListener> {
    let port = if any { 0 } else { 9464 };
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = bound.context("port 9464 is in use: let `-- 0` take free ones")?;
    println!("metrics http://{}/metrics", listener.local_addr()?);
    Ok(listener)
}

/// Where nobody scrapes, histograms would keep every value.
async fn upkeep(prometheus: PrometheusHandle) {
    let mut now_and_then = interval(Duration::from_secs(5));
    loop {
        now_and_then.tick().await;
        prometheus.run_upkeep();
    }
}

/// One line each half a second, for five seconds.
fn slow() -> impl stream::Stream<Item = Result<String, std::io::Error>> {
    stream::unfold(1, |line| async move {
        sleep(Duration::from_millis(500)).await;
        (line <= 10).then(|| (Ok(format!("line {line} of 10\n")), line + 1))
    })
}

/// Half an answer.
fn cut() -> impl stream::Stream<Item = Result<&'static str, &'static str>> {
    let fails = async {
        sleep(Duration::from_millis(50)).await;
        Err("this answer fails, as it was asked for")
    };
    stream::iter([Ok("half an")]).chain(stream::once(fails))
}

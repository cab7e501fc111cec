//! The page's own server: its files, what they show, and who may ask.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::{MethodRouter, get, post},
};
use futures_util::stream;
use graceful_tls::{GracefulTls, Phase};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::sleep,
};

use crate::{
    buttons::press,
    snapshot::{Snapshot, Wanted},
    timeline::Timeline,
    token::Token,
};

/// How many may look on at once.
pub(crate) const WATCHERS: usize = 16;

/// How long a page may take its last news, once the shutdown is over.
const LAST_NEWS: Duration = Duration::from_secs(1);

/// Nothing from elsewhere, nothing inline, and no text of ours can become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) tls: GracefulTls,
    pub(crate) timeline: watch::Receiver<Timeline>,
    pub(crate) token: Token,
    /// Each that looks on has the whole table made for it, each second.
    pub(crate) watchers: Arc<Semaphore>,
}

/// Serves until the shutdown is over: it is there to watch it.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let tls = admin.tls.clone();
    let server =
        axum::serve(listener, routes(admin)).with_graceful_shutdown(tls.reached(Phase::Closed));
    tokio::select! {
        served = async { server.await } => served,
        // A browser that takes nothing must not hold the process.
        () = async { tls.closed().await; sleep(LAST_NEWS).await } => Ok(()),
    }
}

fn routes(admin: Admin) -> Router {
    let style = "text/css; charset=utf-8";
    let script = "text/javascript; charset=utf-8";
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("page/index.html")),
        )
        .route("/style.css", file(style, include_str!("page/style.css")))
        .route(
            "/icon.svg",
            file("image/svg+xml", include_str!("page/icon.svg")),
        )
        .route("/page.js", file(script, include_str!("page/page.js")))
        .route("/table.js", file(script, include_str!("page/table.js")))
        .route("/chart.js", file(script, include_str!("page/chart.js")))
        .route("/buttons.js", file(script, include_str!("page/buttons.js")))
        .route("/snapshot", get(snapshot))
        .route("/events", get(events))
        .route("/press/{button}", post(press))
        .layer(middleware::from_fn(guard))
        .with_state(admin)
}

fn file(kind: &'static str, text: &'static str) -> MethodRouter<Admin> {
    get(async move || ([(header::CONTENT_TYPE, kind)], text))
}

/// This moment.
async fn snapshot(State(admin): State<Admin>, Query(wanted): Query<Wanted>) -> Response {
    let timeline = admin.timeline.borrow();
    Json(Snapshot::of(&admin.tls, &timeline, &wanted)).into_response()
}

/// This moment, and one each second until the shutdown is over.
async fn events(State(mut admin): State<Admin>, Query(wanted): Query<Wanted>) -> Response {
    let Ok(place) = admin.watchers.clone().try_acquire_owned() else {
        let why = format!("{WATCHERS} look on already\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    admin.timeline.mark_changed();
    let news = stream::unfold(
        (admin, wanted, place),
        async |(mut admin, wanted, place)| {
            admin.timeline.changed().await.ok()?;
            let timeline = admin.timeline.borrow_and_update().clone();
            let event = Event::default().json_data(Snapshot::of(&admin.tls, &timeline, &wanted));
            Some((event, (admin, wanted, place)))
        },
    );
    Sse::new(news).into_response()
}

/// Answers who asks for this server by its address alone, with headers that keep browsers strict.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match names_an_address(request.headers()) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "ask by address, or for localhost\n").into_response(),
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A name could be another site's that resolves to this machine, so that its scripts may read what is here.
fn names_an_address(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok()
    })
}

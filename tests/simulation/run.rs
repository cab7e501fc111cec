//! One run: a server, a few clients, a shutdown, and everything that was seen of it.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use fastrand::Rng;
use graceful_tls::{GracefulTls, Phase, Report, Stats};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, plan::Plan, roles, seen::Seen},
    handlers::{Handlers, PANIC},
    net::{Link, Log, Nature, ServerEnd},
    observed::{self, Told},
    servers::{Driver, Kind, Listener},
    settings::Settings,
    tls,
    trace::{self, Stamp},
    world::{Key, Served, World},
};

/// One client, and what was seen of its connection.
#[derive(Debug)]
pub struct Conn {
    pub plan: Plan,
    pub nature: Nature,
    pub seen: Seen,
    pub log: Log,
}

/// Everything the oracles judge by.
#[derive(Debug)]
pub struct Facts {
    pub settings: Settings,
    pub kind: Kind,
    pub conns: Vec<Conn>,
    pub served: BTreeMap<Key, Served>,
    /// When the server came to each phase.
    pub phases: BTreeMap<Phase, Stamp>,
    /// When a shutdown began that was called off, and when that was.
    pub undone: Option<(Stamp, Stamp)>,
    pub report: Option<Report>,
    /// Tasks that were left a minute after everything was over.
    pub tasks_left: usize,
    /// Panics that nobody asked for.
    pub panics: Vec<String>,
    /// What the observer was told.
    pub told: Told,
    /// What the server counted in the end.
    pub stats: Stats,
    pub hash: u64,
}

/// What rustls asserts in debug builds, and is not so where the peer breaks TLS behind our close_notify.
const RUSTLS: &str = "assertion failed: !self.sent_fatal_alert";

/// Longer than any run may take.
const END: Duration = Duration::from_secs(600);

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the panics that were asked for quiet, and those of a run that were not for its facts.
pub fn watch_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !trace::is_running() {
            return before(info);
        }
        let text = info.to_string();
        if !text.contains(PANIC) && !text.contains(RUSTLS) {
            PANICS.with(|panics| panics.borrow_mut().push(text));
        }
    }));
}

/// Runs one seed.
pub fn run(seed: u64, printed: bool) -> Facts {
    tls::seed(seed);
    PANICS.with(|panics| panics.borrow_mut().clear());
    observed::take();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut facts = runtime.block_on(async {
        trace::begin(printed);
        scene(Rng::with_seed(seed)).await
    });
    drop(runtime);
    facts.told = observed::take();
    facts.hash = trace::hash();
    trace::end();
    facts.panics = PANICS.with(RefCell::take);
    facts
}

async fn scene(mut rng: Rng) -> Facts {
    let start = Instant::now();
    let settings = Settings::random(&mut rng);
    let kind = Kind::random(&mut rng, &settings);
    let builder = GracefulTls::builder(tls::server());
    let builder = settings.apply(builder).observer(observed::Keeper);
    let tls = builder.build().unwrap();
    let world = World::default();
    let (listener, queue) = mpsc::unbounded_channel();
    let handlers = Handlers {
        world: world.clone(),
        sleepy: kind.driver == Driver::Serve,
    };
    let draining = CancellationToken::new();
    let listener_end = Listener::new(queue, &mut rng);
    let serving = kind.run(tls.clone(), listener_end, handlers, draining.clone());
    let server = tokio::spawn(serving);

    let over = CancellationToken::new();
    let clients: Vec<_> = (0..rng.usize(1..=4))
        .map(|conn| {
            let plan = roles::random(&mut rng, &settings, &kind, start);
            let nature = Nature::random(&mut rng);
            let link = Link::new(conn, nature.clone(), rng.fork());
            let client = connect(
                conn,
                plan.clone(),
                link.clone(),
                listener.clone(),
                over.clone(),
            );
            (plan, nature, link, tokio::spawn(client))
        })
        .collect();
    tokio::spawn(tell_loops(tls.clone(), draining));
    drop(listener);

    let shutdown_at = start + settings.shutdown_at;
    let mut undone = None;
    if let Some((before, pause)) = settings.undone {
        sleep_until(shutdown_at - before.min(settings.shutdown_at)).await;
        let begun = trace::now();
        shut_down(&tls, &settings);
        sleep(pause).await;
        tls.resume();
        undone = Some((begun, trace::now()));
    }
    sleep_until(shutdown_at).await;
    let phases = tokio::spawn(watch_phases(tls.clone()));
    shut_down(&tls, &settings);
    if let Some(pause) = settings.hurried {
        sleep(pause).await;
        tls.shutdown_now();
    }
    let report = timeout(END, server).await.ok().and_then(Result::ok);
    let phases = phases.await.unwrap_or_default();
    // Time for what the server said last to arrive.
    sleep(Duration::from_secs(60)).await;
    over.cancel();
    let mut conns = Vec::new();
    for (plan, nature, link, client) in clients {
        let seen = client.await.unwrap_or_default();
        // The log is of the server's end, which the client's can't change any more.
        conns.push(Conn {
            log: link.log(),
            plan,
            nature,
            seen,
        });
    }
    let stats = tls.stats();
    drop(tls);
    sleep(Duration::from_secs(60)).await;
    Facts {
        settings,
        kind,
        conns,
        served: world.all(),
        phases,
        undone,
        report,
        tasks_left: tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        panics: Vec::new(),
        told: Told::default(),
        stats,
        hash: 0,
    }
}

fn shut_down(tls: &GracefulTls, settings: &Settings) {
    match settings.handover {
        true => tls.handover(),
        false => tls.shutdown(),
    }
}

/// Connects when it is time, and runs the client.
async fn connect(
    conn: usize,
    plan: Plan,
    link: Link,
    listener: mpsc::UnboundedSender<ServerEnd>,
    over: CancellationToken,
) -> Seen {
    sleep_until(plan.start + plan.connects).await;
    trace::event(conn, plan.role, u64::from(plan.http2));
    let (client, server) = link.ends();
    if listener.send(server).is_err() {
        return Seen {
            asks: plan.asks,
            refused: true,
            ..Seen::default()
        };
    }
    drop(listener);
    tokio::spawn(link.pump());
    Client::new(conn, plan, client, over).run().await
}

/// Tells the loops when their servers should stop.
async fn tell_loops(tls: GracefulTls, draining: CancellationToken) {
    tls.drained().await;
    draining.cancel();
}

/// Notes when each phase came.
async fn watch_phases(tls: GracefulTls) -> BTreeMap<Phase, Stamp> {
    let mut phases = BTreeMap::new();
    for phase in [
        Phase::LameDuck,
        Phase::Draining,
        Phase::Deadline,
        Phase::Closed,
    ] {
        if timeout(END, tls.reached(phase)).await.is_ok() {
            phases.insert(phase, trace::now());
        }
    }
    phases
}

//! Why a request may be left without a whole answer. Each is a sentence of the rules; where none
//! holds, the request was lost.

use std::time::Duration;

use super::view::View;
use crate::{
    client::{http2::stream, seen::Ask},
    endpoints::Endpoint,
    trace::Stamp,
    world::Work,
};

const REFUSED_STREAM: u32 = 7;

/// Timers have a resolution of a millisecond.
const TICK: Duration = Duration::from_millis(2);

type Excuse = fn(&View<'_>, usize, &Ask, Stamp) -> bool;

const EXCUSES: &[(&str, Excuse)] = &[
    ("the client left (R4: FIN and RST cancel)", |v, _, _, _| {
        v.left() || v.peer_gone()
    }),
    ("TLS 1.2 answers a close_notify at once (R4)", tls12),
    ("the server cancelled its task", |v, _, _, _| v.cancelled()),
    ("the handler failed by itself", handler_failed),
    (
        "an answer before it said that it was the last (RFC 9112 9.6)",
        told,
    ),
    (
        "a body before it was never read, so HTTP/1 can't go on",
        unread_before,
    ),
    (
        "GOAWAY or REFUSED_STREAM says that it was not processed (RFC 9113 6.8, 8.7)",
        refused,
    ),
    (
        "the deadline has passed (R7), or the grace of its age",
        deadline,
    ),
    ("the client took nothing for the write time-out (R6)", stuck),
    (
        "it waited for the client's windows for the write time-out (R6)",
        window_closed,
    ),
    (
        "an RST after the drain's bounds destroyed it (R3)",
        destroyed,
    ),
    (
        "all of it is in the client's kernel, and the client does not look",
        looks_away,
    ),
    (
        "all of it is on its way, and the client reads so slowly that the run is over before",
        unread,
    ),
    (
        "some of it was on its way still, which this link can't be asked",
        in_transit,
    ),
    (
        "it sent more behind its close_notify than a drain takes",
        |v, _, _, _| v.flooded(),
    ),
    ("it took too long to answer a PING", |v, _, _, _| pinged(v)),
    ("its upload will never be complete", upload_given_up),
    ("its upload did not move for its time (R6)", upload_stalled),
];

/// Why request `number` of this connection has no whole answer, when the end began at `ended`.
pub fn excuse(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> Option<&'static str> {
    let holds = |(_, excuse): &&(&str, Excuse)| excuse(view, number, ask, ended);
    EXCUSES.iter().find(holds).map(|(name, _)| *name)
}

/// The answers to the server's PINGs may have waited behind what the client was slow to say, or it did
/// not look at them: what waits behind bytes that it has yet to get is nothing against it, where the
/// server's kernel tells of those.
pub fn pinged(view: &View<'_>) -> bool {
    let (Some((_, timeout)), true) = (view.facts.kind.pings(), view.http2()) else {
        return false;
    };
    let plan = &view.conn.plan;
    let far = view.conn.nature.delay >= Duration::from_millis(300);
    let untold = || {
        view.ended()
            .is_none_or(|ended| !tells(view, ended, timeout))
    };
    let floods = plan.flood.is_some();
    far || floods || plan.dawdles() || view.looks_away() || !plan.reads_eagerly() && untold()
}

/// A frame of an answer. A PING has its turn behind the one that is being written, and that behind the
/// record that TLS has to send before it takes more.
const FRAME: u64 = 9 + (16 << 10);

/// Whether the PING that was not answered had its turn, and the kernel held something when it was sent.
fn tells(view: &View<'_>, ended: Stamp, timeout: Duration) -> bool {
    // hyper gives up before the end begins, where a write waits.
    let asks = view.asks().filter_map(|(n, _)| view.served(n));
    let dropped = asks.filter(|served| served.work == Work::Dropped);
    let gave_up = dropped.filter_map(|served| served.dropped).min();
    let gave_up = gave_up.map_or(ended.at, |at| at.at.min(ended.at));
    let sent = gave_up.saturating_sub(timeout);
    let by = |marks: &[(u64, Stamp)], at: Duration| {
        let before = marks.iter().take_while(|(_, stamp)| stamp.at <= at);
        before.last().map_or(0, |(total, _)| *total)
    };
    let log = &view.conn.log;
    let written = by(&log.written, sent.saturating_sub(TICK));
    let turn = by(&log.written, gave_up) - written > 2 * FRAME;
    view.conn.nature.asked && turn && by(&log.acknowledged, sent + TICK) < written
}

/// Why an upload may be cut that goes on behind its answer.
pub fn upload(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> bool {
    let excuses: [Excuse; 7] = [
        |v, _, _, ended| v.is_excused(ended),
        |v, _, _, _| pinged(v),
        // Within half a frame a client can't go on with another stream.
        |v, _, _, _| v.http2() && v.conn.plan.dawdles(),
        tls12,
        stuck,
        upload_given_up,
        upload_stalled,
    ];
    excuses.iter().any(|holds| holds(view, number, ask, ended))
}

fn tls12(view: &View<'_>, _: usize, _: &Ask, ended: Stamp) -> bool {
    view.conn.plan.tls12 && view.notified().is_some_and(|notified| notified <= ended)
}

fn handler_failed(view: &View<'_>, number: usize, _: &Ask, _: Stamp) -> bool {
    let failed = |n: usize| {
        let ask = &view.conn.seen.asks[n];
        let served = view.served(n);
        served.is_some_and(|s| s.work == Work::Failed || ask.endpoint.fails())
    };
    match view.http2() {
        true => failed(number),
        false => (0..=number).any(failed),
    }
}

fn told(view: &View<'_>, number: usize, _: &Ask, _: Stamp) -> bool {
    // An RST may have destroyed the answer that said so.
    let destroyed = |n: usize| {
        let given = view
            .served(n)
            .is_some_and(|served| served.work == Work::Given);
        given && view.conn.log.reset_sent.is_some()
    };
    let asks = &view.conn.seen.asks[..number];
    let mut before = asks.iter().enumerate();
    !view.http2() && before.any(|(n, ask)| ask.answer.closes || destroyed(n))
}

fn unread_before(view: &View<'_>, number: usize, _: &Ask, _: Stamp) -> bool {
    let unread = |ask: &Ask| matches!(ask.endpoint, Endpoint::Unread(_) | Endpoint::Early(_));
    !view.http2() && view.conn.seen.asks[..number].iter().any(unread)
}

/// By the client's knowledge: a request that did reach a handler all the same is another oracle's.
fn refused(view: &View<'_>, number: usize, ask: &Ask, _: Stamp) -> bool {
    let goaway = view.conn.seen.goaways.iter().map(|(last, _)| *last).min();
    ask.answer.begun.is_none()
        && (goaway.is_some_and(|last| stream(number) > last)
            || ask.answer.reset == Some(REFUSED_STREAM))
}

fn deadline(view: &View<'_>, _: usize, _: &Ask, ended: Stamp) -> bool {
    // What its kernel holds is waited for a flush longer.
    let cut = view
        .conn
        .log
        .dropped
        .filter(|_| view.conn.log.reset_sent.is_some());
    let passed = |at| view.is_forced(at);
    passed(ended) || cut.is_some_and(passed)
}

fn stuck(view: &View<'_>, _: usize, _: &Ask, _: Stamp) -> bool {
    view.blocked_for(view.facts.settings.write_timeout.saturating_sub(TICK))
}

/// There was more to come than the client's windows let through, and it did not open the one that
/// was used up.
fn window_closed(view: &View<'_>, _: usize, ask: &Ask, ended: Stamp) -> bool {
    let (delay, late) = (view.conn.nature.delay, view.conn.nature.late);
    // What the client had said when the server gave up, as far as that could know.
    let gave_up = match ask.answer.reset_at {
        Some(reset) => reset.at.saturating_sub(delay),
        None => ended.at,
    };
    let (by, gave_up) = (
        gave_up.saturating_sub(delay + late + TICK),
        gave_up.saturating_sub(delay),
    );
    let asked = ask.asked.map_or(Duration::ZERO, |stamp| stamp.at);
    let timeout = view.facts.settings.write_timeout.saturating_sub(TICK);
    let waited = |last: Option<Stamp>| {
        let since = last.map_or(asked, |stamp| stamp.at).max(asked);
        gave_up.saturating_sub(since) >= timeout
    };
    view.http2() && used_up(view, ask, by).into_iter().flatten().any(waited)
}

/// The windows that were used up by then, the answer's own and the connection's: when each was
/// last opened.
fn used_up(view: &View<'_>, ask: &Ask, by: Duration) -> [Option<Option<Stamp>>; 2] {
    let (plan, seen) = (&view.conn.plan, &view.conn.seen);
    let given = |ask: &Ask| ask.endpoint.given_length(ask.upload);
    let lengths = seen.asks.iter().map(given).fold(0, u64::saturating_add);
    let opened = &ask.answer.opened;
    let own = ask.length() > u64::from(plan.window) + opened.by(by);
    let shared = lengths > 65_535 + seen.opened.by(by);
    [
        own.then(|| opened.last(by)),
        shared.then(|| seen.opened.last(by)),
    ]
}

/// All had been written, and the FIN behind it. Whether the drain was long enough is another
/// oracle's.
fn destroyed(view: &View<'_>, number: usize, ask: &Ask, _: Stamp) -> bool {
    let log = &view.conn.log;
    let given = view
        .served(number)
        .is_some_and(|served| served.work == Work::Given);
    let (Some(fin), Some(_)) = (log.fin, log.reset_sent) else {
        return false;
    };
    given && (!view.http2() || used_up(view, ask, fin.at) == [None, None])
}

/// Nothing waits for a window, and the server's socket took all.
fn looks_away(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> bool {
    let held_back = view.http2() && used_up(view, ask, ended.at) != [None, None];
    let given = view
        .served(number)
        .is_some_and(|served| served.work == Work::Given);
    view.looks_away() && given && !held_back && view.conn.log.blocked.is_none()
}

/// The server had written all, and what was not read no RST has destroyed.
fn unread(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> bool {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let held_back = view.http2() && used_up(view, ask, ended.at) != [None, None];
    let given = view
        .served(number)
        .is_some_and(|served| served.work == Work::Given);
    let written = log.written.last().map_or(0, |(total, _)| *total);
    let reset = log.reset_sent.is_some() || seen.rst.is_some();
    given && !held_back && !reset && log.fin.is_some() && seen.read < written
}

/// The server can't know that the client has not looked at all of it.
pub fn is_unseen(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> bool {
    looks_away(view, number, ask, ended) || unread(view, number, ask, ended)
}

/// The crate asks the kernel, of sockets. To other transports what is written has arrived.
pub fn in_transit(view: &View<'_>, number: usize, ask: &Ask, ended: Stamp) -> bool {
    let log = &view.conn.log;
    // The stream may have ended before.
    let dropped = view
        .served(number)
        .filter(|served| served.work == Work::Dropped);
    let dropped = dropped.and_then(|served| served.dropped);
    let ended = dropped.map_or(ended, |dropped| dropped.min(ended));
    let by = |log: &[(u64, Stamp)]| {
        let before = log.iter().take_while(|(_, stamp)| *stamp < ended);
        before.last().map_or(0, |(total, _)| *total)
    };
    let all_written = view
        .served(number)
        .is_some_and(|served| served.work == Work::Given);
    let held_back = view.http2() && used_up(view, ask, ended.at) != [None, None];
    let moves = by(&log.acknowledged) < by(&log.written);
    !view.conn.nature.asked && (all_written || held_back) && moves
}

fn upload_given_up(view: &View<'_>, _: usize, ask: &Ask, _: Stamp) -> bool {
    ask.complete.is_none() && view.conn.seen.own_notify.is_some() && counts(view, ask)
}

fn upload_stalled(view: &View<'_>, _: usize, ask: &Ask, ended: Stamp) -> bool {
    let settings = &view.facts.settings;
    let shortest = settings
        .keep_alive
        .min(settings.write_timeout)
        .saturating_sub(TICK);
    let moved = view.useful().map_or(Duration::ZERO, |stamp| stamp.at);
    let waited = ended.at.saturating_sub(moved) >= shortest;
    // What the server's own window holds up is not the client's fault.
    ask.complete.is_none() && !ask.waits && waited && counts(view, ask)
}

/// The answer depends on the upload: in HTTP/2 only where the handler reads it.
fn counts(view: &View<'_>, ask: &Ask) -> bool {
    ask.endpoint.needs_upload() || !view.http2()
}

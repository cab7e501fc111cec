//! What is going on when the signal comes.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::link::{Link, each};
use super::{Needs, Played, Scenario, Scene, Variant};
use crate::judge::{Expect, judge};
use crate::run::Verdict;
use crate::scenarios::Http;
use crate::seen::Seen;
use crate::watch::{Manners, watch};
use wire::Client;

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "sigterm-idle",
        title: "The signal, while the connection is idle",
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        needs: Needs::Nothing,
        play: idle,
    },
    Scenario {
        id: "sigterm-in-flight",
        title: "The signal, while a handler is at work",
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        needs: Needs::SlowPath,
        play: in_flight,
    },
    Scenario {
        id: "sigterm-streaming",
        title: "The signal, while an answer is being sent",
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        needs: Needs::Nothing,
        play: streaming,
    },
    Scenario {
        id: "sigterm-endless",
        title: "The signal, while an answer is being sent that never ends",
        expect: Expect::Cut,
        rule: "RFC 9112 9.6",
        needs: Needs::Testbed,
        play: endless,
    },
    Scenario {
        id: "sigterm-racing",
        title: "The signal, together with 10 requests",
        expect: Expect::Race,
        rule: "RFC 9112 9.5",
        needs: Needs::Nothing,
        play: racing,
    },
    Scenario {
        id: "sigterm-handshake",
        title: "The signal, in the middle of a handshake",
        expect: Expect::Silence,
        rule: "RFC 9846 6.1",
        needs: Needs::Nothing,
        play: handshake,
    },
    Scenario {
        id: "sigterm-500",
        title: "The signal, with 500 idle connections",
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        needs: Needs::Nothing,
        play: five_hundred,
    },
    Scenario {
        id: "sigterm-twice",
        title: "The signal, twice, while a handler is at work",
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        needs: Needs::SlowPath,
        play: twice,
    },
];

/// From the request to the signal, so that the handler is at work.
const AT_WORK: Duration = Duration::from_millis(300);
const RACERS: usize = 10;
const MANY: usize = 500;
const THREADS: usize = 50;

/// So many connections for each variant, after their first exchange.
fn kept_alive(scene: &Scene<'_>, of_each: usize) -> io::Result<Vec<Link>> {
    let stage = &scene.stage;
    let mut variants = scene.variants.repeat(of_each);
    let links = each(&mut variants, THREADS, |(version, http)| {
        let mut link = Link::connect(stage, *version, *http)?;
        link.exchange(stage)?;
        Ok(link)
    });
    links.into_iter().collect()
}

/// Sends the signal, and says so on every time line.
fn signal(scene: &mut Scene<'_>, links: &mut [Link]) -> io::Result<()> {
    let text = format!("signal SIG{}", scene.signal_name());
    links.iter_mut().for_each(|link| link.note(&text));
    scene.signal()
}

/// Reads what was asked for last, and looks on to the end.
fn finish(scene: &Scene<'_>, links: &mut [Link]) -> Played {
    let seen = each(links, THREADS, |link| {
        link.read(&scene.stage);
        (link.variant(), link.watch(&scene.stage))
    });
    Ok(seen)
}

fn idle(scene: &mut Scene<'_>) -> Played {
    let mut links = kept_alive(scene, 1)?;
    signal(scene, &mut links)?;
    let stage = &scene.stage;
    Ok(each(&mut links, THREADS, |link| {
        (link.variant(), link.watch(stage))
    }))
}

fn in_flight(scene: &mut Scene<'_>) -> Played {
    let path = scene.slow_path.clone();
    at_work(scene, &path)
}

fn streaming(scene: &mut Scene<'_>) -> Played {
    let path = scene.stream_path.clone();
    at_work(scene, &path)
}

fn endless(scene: &mut Scene<'_>) -> Played {
    at_work(scene, "/sse")
}

fn at_work(scene: &mut Scene<'_>, path: &str) -> Played {
    let mut links = kept_alive(scene, 1)?;
    links
        .iter_mut()
        .for_each(|link| link.ask(&scene.stage, path));
    sleep(AT_WORK);
    signal(scene, &mut links)?;
    finish(scene, &mut links)
}

fn twice(scene: &mut Scene<'_>) -> Played {
    let path = match scene.stage.testbed {
        true => "/sleep/60000".into(),
        false => scene.slow_path.clone(),
    };
    let mut links = kept_alive(scene, 1)?;
    links
        .iter_mut()
        .for_each(|link| link.ask(&scene.stage, &path));
    sleep(AT_WORK);
    signal(scene, &mut links)?;
    sleep(AT_WORK);
    // Whoever is gone by now did not need the second one.
    let _ = signal(scene, &mut links);
    finish(scene, &mut links)
}

fn racing(scene: &mut Scene<'_>) -> Played {
    let mut links = kept_alive(scene, RACERS)?;
    let path = scene.stage.path.clone();
    links
        .iter_mut()
        .for_each(|link| link.ask(&scene.stage, &path));
    signal(scene, &mut links)?;
    let stage = &scene.stage;
    let all = each(&mut links, THREADS, |link| {
        link.read(stage);
        (link.variant(), link.watch(stage))
    });
    let answered = |seen: &Seen| seen.answer.as_ref().is_some_and(|answer| answer.whole);
    Ok(worst_of_each(
        all,
        Expect::Race,
        answered,
        "requests were answered",
    ))
}

fn handshake(scene: &mut Scene<'_>) -> Played {
    let mut client = Client::open(scene.stage.addr, &scene.stage.options())?;
    client.note("client sends half a ClientHello");
    client.send_half_client_hello()?;
    sleep(AT_WORK);
    client.note(&format!("signal SIG{}", scene.signal_name()));
    scene.signal()?;
    let seen = watch(&mut client.into_raw(), &scene.stage, Manners::Waits);
    Ok(vec![((None, Http::None), seen)])
}

/// All of one variant: how many there are is what counts here.
fn five_hundred(scene: &mut Scene<'_>) -> Played {
    let Some((version, http)) = scene.variants.first().copied() else {
        return Ok(Vec::new());
    };
    // The kernel's table grows long, and half a thousand clients would read all of it again and again.
    scene.stage.sees_descriptors = false;
    let stage = scene.stage.clone();
    let made = each(&mut [(); MANY], THREADS, |()| {
        let mut link = Link::connect(&stage, version, http)?;
        link.exchange(&stage)?;
        io::Result::Ok(link)
    });
    let mut links: Vec<_> = made.into_iter().flatten().collect();
    let refused = MANY - links.len();
    signal(scene, &mut links)?;
    let stage = &scene.stage;
    let all = each(&mut links, THREADS, |link| {
        (link.variant(), link.watch(stage))
    });
    let notified = |seen: &Seen| seen.close_notify.is_some() && seen.reset().is_none();
    let mut worst = worst_of_each(all, Expect::Answer, notified, "ended with close_notify");
    if let (1.., Some((_, seen))) = (refused, worst.first_mut()) {
        let remark = seen.remark.take().unwrap_or_default();
        seen.remark = Some(format!("{remark} {refused} could not be made."));
    }
    Ok(worst)
}

/// The worst connection of each variant, with a count of the good ones.
fn worst_of_each(
    all: Vec<(Variant, Seen)>,
    expect: Expect,
    good: impl Fn(&Seen) -> bool,
    what: &str,
) -> Vec<(Variant, Seen)> {
    let mut variants: Vec<_> = all.iter().map(|(variant, _)| *variant).collect();
    variants.sort();
    variants.dedup();
    let worst = |variant: &Variant| {
        let of: Vec<_> = all
            .iter()
            .filter(|(v, _)| v == variant)
            .map(|(_, seen)| seen)
            .collect();
        let count = of.iter().filter(|seen| good(seen)).count();
        let rank = |seen: &&&Seen| -> Verdict { judge(seen, expect, "", false).verdict };
        let worst = (*of.iter().max_by_key(rank)?).clone();
        let remark = format!("{count} of {} {what}.", of.len());
        Some((*variant, worst.remarking(remark)))
    };
    variants.iter().filter_map(worst).collect()
}

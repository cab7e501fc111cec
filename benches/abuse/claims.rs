//! What must hold for ours in the short form, whose time-outs are those in `plan`.

use crate::{
    attacks::Kind,
    run::{Outcome, Seen},
};

/// Something said of every outcome of an attack that `of` picks.
struct Claim {
    what: &'static str,
    of: fn(&Outcome) -> bool,
    holds: fn(&Outcome) -> bool,
}

const CLAIMS: &[Claim] = &[
    Claim {
        what: "the server answers afterwards",
        of: |_| true,
        holds: |outcome| outcome.answers,
    },
    Claim {
        what: "the server goes in peace when told",
        of: |_| true,
        holds: |outcome| outcome.goes,
    },
    Claim {
        what: "nothing is left of attackers who have gone",
        of: |_| true,
        holds: |outcome| outcome.left == 0,
    },
    Claim {
        what: "no good client beside fails",
        of: |_| true,
        holds: |outcome| outcome.seen.beside.failures == 0,
    },
    Claim {
        what: "who is slow, drips, stops, floods or vanishes is let go",
        of: |outcome| !matches!(outcome.attack.kind, Kind::Descriptors | Kind::Handshakes),
        // A flood comes back, and its last connection is open still when it is over.
        holds: |outcome| match outcome.attack.kind {
            Kind::Flood(_) => outcome.seen.median().is_some_and(|held| held.ended),
            _ => are_let_go(&outcome.seen),
        },
    },
];

fn are_let_go(seen: &Seen) -> bool {
    !seen.held.is_empty() && seen.held.iter().all(|held| held.ended)
}

/// Those that do not hold, a line each.
pub fn broken(outcomes: &[Outcome]) -> Vec<String> {
    let broken = outcomes.iter().flat_map(|outcome| {
        let broken = CLAIMS
            .iter()
            .filter(|claim| (claim.of)(outcome) && !(claim.holds)(outcome));
        broken.map(|claim| format!("{}: not so: {}", outcome.attack.id, claim.what))
    });
    broken.collect()
}

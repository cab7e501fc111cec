//! What a peer that has said close_notify is still owed (RFC 9846 6.1).
//!
//! ```text
//!           close_notify            nothing is due any more
//!   Open ───────────────▶ Waiting ──────────────────────────▶ Told
//!    │                       │                                 │
//!    │ FIN, RST              │ FIN, RST, too many bytes        │ FIN, RST
//!    └───────────────────────┴─────────────────────────────────┴──▶ Gone
//! ```
//!
//! In TLS 1.3 close_notify ends the peer's own direction only: what it asked is answered, however
//! long that takes, and no server is told of an EOF before, since every one of them would cancel.
//! In TLS 1.2 the connection ends at once (RFC 9846 6.1), and a tunnel sees what its peer does.
//!
//! Without IO and without a clock: time and facts are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::Owed;

/// What is known of the peer's direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum HalfClose {
    #[default]
    Open,
    /// close_notify came at this time; the server has not been told, because answers are due.
    Waiting {
        /// Then, or when more of an answer was last seen to have gone out.
        since: Instant,
        /// Bytes of ours that had gone out by then.
        sent: u64,
        /// Bytes that came after it, and were discarded.
        discarded: u64,
    },
    /// The server has been told of the EOF.
    Told,
    /// It broke the TLS protocol, and may still be sending.
    Broken,
    /// TCP itself is closed or reset.
    Gone,
}

impl HalfClose {
    /// The peer has said close_notify, with `sent` bytes of ours gone out.
    pub(crate) fn close_notify(&mut self, now: Instant, sent: u64) {
        if *self == Self::Open {
            *self = Self::Waiting {
                since: now,
                sent,
                discarded: 0,
            };
        }
    }

    /// `n` bytes came after close_notify, of which a drain would take `most`.
    pub(crate) fn discard(&mut self, n: u64, most: u64) {
        if let Self::Waiting { discarded, .. } = self {
            *discarded = discarded.saturating_add(n);
            if *discarded >= most {
                *self = Self::Gone;
            }
        }
    }

    /// Whether the server is to be told of the EOF now. It stays so.
    ///
    /// Where it is doubtful that the peer is owed anything, it is waited for as long as something
    /// goes out within `patience`.
    pub(crate) fn ends(&mut self, now: Instant, owed: Owed, sent: u64, patience: Duration) -> bool {
        if let Self::Waiting {
            since, sent: mark, ..
        } = self
        {
            if *mark < sent {
                (*since, *mark) = (now, sent);
            }
            let over = match owed {
                Owed::Nothing => true,
                Owed::Doubtful => now >= *since + patience,
                Owed::Answers => false,
            };
            if over {
                *self = Self::Told;
            }
        }
        !matches!(self, Self::Open | Self::Waiting { .. })
    }

    /// When [`ends`](Self::ends) has something to decide, if nothing happens before.
    pub(crate) fn next(&self, owed: Owed, patience: Duration) -> Option<Instant> {
        match *self {
            Self::Waiting { since, .. } if owed == Owed::Doubtful => Some(since + patience),
            _ => None,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the peer has closed its direction, in TLS or in TCP: nothing is left to drain.
    pub(crate) fn is_closed(&self) -> bool {
        !matches!(self, Self::Open | Self::Broken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);
    const MOST: u64 = 100;

    /// What happens to the peer's direction.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        CloseNotify,
        Discard(u64),
        /// The server reads, with this owed and so many bytes gone out.
        Read(Owed, u64),
        Wait(u64),
    }
    use Event::*;

    /// What became of it, and whether the last read was told of an EOF.
    fn after(events: &[Event]) -> (HalfClose, bool) {
        let mut now = Instant::now();
        let mut machine = HalfClose::default();
        let mut told = false;
        for event in events {
            match *event {
                CloseNotify => machine.close_notify(now, 0),
                Discard(n) => machine.discard(n, MOST),
                Read(owed, sent) => told = machine.ends(now, owed, sent, PATIENCE),
                Wait(seconds) => now += Duration::from_secs(seconds),
            }
        }
        (machine, told)
    }

    #[test]
    fn who_is_told_when() {
        use Owed::*;
        for (name, events, expected) in [
            ("an open one is not", vec![Read(Nothing, 0)], false),
            ("nothing is owed", vec![CloseNotify, Read(Nothing, 0)], true),
            (
                "answers are, however long it takes",
                vec![CloseNotify, Wait(999), Read(Answers, 0)],
                false,
            ),
            (
                "and then nothing is",
                vec![CloseNotify, Read(Answers, 0), Wait(99), Read(Nothing, 9)],
                true,
            ),
            (
                "a doubtful one is waited for",
                vec![CloseNotify, Wait(7), Read(Doubtful, 0)],
                false,
            ),
            (
                "and not for ever",
                vec![CloseNotify, Wait(8), Read(Doubtful, 0)],
                true,
            ),
            (
                "while something goes out",
                vec![
                    CloseNotify,
                    Wait(7),
                    Read(Doubtful, 1),
                    Wait(7),
                    Read(Doubtful, 1),
                ],
                false,
            ),
            (
                "and no longer",
                vec![
                    CloseNotify,
                    Wait(7),
                    Read(Doubtful, 1),
                    Wait(8),
                    Read(Doubtful, 1),
                ],
                true,
            ),
            (
                "it stays told",
                vec![CloseNotify, Read(Nothing, 0), Read(Answers, 0)],
                true,
            ),
            (
                "bytes after close_notify",
                vec![CloseNotify, Discard(99), Read(Answers, 0)],
                false,
            ),
            (
                "too many of them",
                vec![CloseNotify, Discard(99), Discard(1), Read(Answers, 0)],
                true,
            ),
            (
                "bytes count only after it",
                vec![Discard(100), CloseNotify, Read(Answers, 0)],
                false,
            ),
            (
                "a second close_notify is the same one",
                vec![
                    CloseNotify,
                    Wait(7),
                    CloseNotify,
                    Wait(1),
                    Read(Doubtful, 0),
                ],
                true,
            ),
        ] {
            assert_eq!(after(&events).1, expected, "{name}");
        }
    }

    #[test]
    fn says_what_it_is() {
        use HalfClose::*;
        let (waiting, _) = after(&[CloseNotify]);
        for (state, waits, closed) in [
            (Open, false, false),
            (waiting, true, true),
            (Told, false, true),
            (Broken, false, false),
            (Gone, false, true),
        ] {
            assert_eq!(
                (state.is_waiting(), state.is_closed()),
                (waits, closed),
                "{state:?}"
            );
        }
    }

    #[test]
    fn looks_again_only_in_doubt() {
        let now = Instant::now();
        let mut machine = HalfClose::default();
        assert_eq!(machine.next(Owed::Doubtful, PATIENCE), None);
        machine.close_notify(now, 0);
        assert_eq!(machine.next(Owed::Doubtful, PATIENCE), Some(now + PATIENCE));
        assert_eq!(machine.next(Owed::Answers, PATIENCE), None);
        assert_eq!(machine.next(Owed::Nothing, PATIENCE), None);
    }

    fn owed() -> impl Strategy<Value = Owed> {
        prop_oneof![
            Just(Owed::Nothing),
            Just(Owed::Doubtful),
            Just(Owed::Answers)
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(CloseNotify),
            (0..30_u64).prop_map(Discard),
            (owed(), 0..3_u64).prop_map(|(owed, sent)| Read(owed, sent)),
            (0..9_u64).prop_map(Wait),
        ]
    }

    proptest! {
        /// Whoever has just asked has nothing to ask again at once.
        #[test]
        fn the_next_look_is_ahead(events in proptest::collection::vec(event(), 0..40), owed in owed()) {
            let (mut machine, _) = after(&events);
            let mut now = Instant::now() + Duration::from_secs(1000);
            machine.ends(now, owed, 5, PATIENCE);
            if let Some(next) = machine.next(owed, PATIENCE) {
                prop_assert!(next > now, "a look in the past");
                now = next;
                prop_assert!(machine.ends(now, owed, 5, PATIENCE));
            }
        }

        /// Nobody is told before close_notify, nor while answers are due, but for a flood.
        #[test]
        fn never_told_too_soon(events in proptest::collection::vec(event(), 0..40)) {
            let mut notified = false;
            for n in 1..=events.len() {
                let before = after(&events[..n - 1]);
                let (state, told) = after(&events[..n]);
                notified |= matches!(events[n - 1], CloseNotify);
                prop_assert!(notified || state == HalfClose::Open);
                if let Read(owed, _) = events[n - 1] {
                    let turned = told && before.0.is_waiting();
                    prop_assert!(!turned || owed != Owed::Answers);
                }
                prop_assert!(!(before.0 == HalfClose::Told && state != HalfClose::Told));
            }
        }
    }
}

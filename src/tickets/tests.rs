//! Tables and garbage. Time is tokio's, which stands still but for `advance`.

use std::{fs, path::PathBuf, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::advance;
use tokio_rustls::rustls::{
    CipherSuite, SupportedCipherSuite,
    crypto::{CryptoProvider, GetRandomFailed, SecureRandom, ring},
    server::ProducesTickets,
};

use super::{TicketKeys, TicketKeysError};

const SESSION: &[u8] = b"a session";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn keys() -> TicketKeys {
    TicketKeys::new(&ring::default_provider()).unwrap()
}

/// Keys of the process after.
fn after(keys: &TicketKeys) -> TicketKeys {
    let next = self::keys();
    next.import(&keys.export()).unwrap();
    next
}

fn with_suites(keep: impl Fn(CipherSuite) -> bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .retain(|suite: &SupportedCipherSuite| keep(suite.suite()));
    provider
}

#[tokio::test(start_paused = true)]
async fn what_one_seals_only_who_has_its_keys_opens() {
    let (one, other) = (keys(), keys());
    let ticket = one.encrypt(SESSION).unwrap();
    assert_eq!(one.decrypt(&ticket).unwrap(), SESSION);
    assert_eq!(other.decrypt(&ticket), None);
    assert_eq!(after(&one).decrypt(&ticket).unwrap(), SESSION);
    assert_ne!(one.encrypt(SESSION).unwrap(), ticket);
    // In either direction: the old one may take over again.
    let next = after(&one);
    let ticket = next.encrypt(SESSION).unwrap();
    assert_eq!(one.decrypt(&ticket).unwrap(), SESSION);
}

#[tokio::test(start_paused = true)]
async fn an_import_ends_no_ticket_of_its_own() {
    let (one, other) = (keys(), keys());
    let own = other.encrypt(SESSION).unwrap();
    other.import(&one.export()).unwrap();
    assert_eq!(other.decrypt(&own).unwrap(), SESSION);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_for_its_lifetime_under_whichever_key() {
    for (rotate_every, lifetime) in [(6, 12), (1, 12), (12, 1), (5, 5), (168, 168)] {
        let timed = |keys: TicketKeys| {
            let keys = keys.rotate_every(HOUR * rotate_every).unwrap();
            keys.ticket_lifetime(HOUR * lifetime).unwrap()
        };
        let keys = timed(keys());
        assert_eq!(keys.lifetime(), lifetime * 60 * 60);
        for before in [0, 1, 5, 11] {
            advance(HOUR * before).await;
            let ticket = keys.encrypt(SESSION).unwrap();
            for _ in 0..lifetime {
                assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
                assert_eq!(timed(after(&keys)).decrypt(&ticket).unwrap(), SESSION);
                // Some come in every hour.
                keys.encrypt(SESSION).unwrap();
                advance(HOUR).await;
            }
            assert_eq!(keys.decrypt(&ticket), None, "{rotate_every}, {lifetime}");
            assert_eq!(timed(after(&keys)).decrypt(&ticket), None);
        }
    }
}

/// The name that a ticket begins with.
fn sealed_by(keys: &TicketKeys) -> Vec<u8> {
    keys.encrypt(SESSION).unwrap()[..16].to_vec()
}

#[tokio::test(start_paused = true)]
async fn rotation_goes_on_where_it_was() {
    let keys = keys();
    let first = sealed_by(&keys);
    advance(HOUR * 4).await;
    let next = after(&keys);
    assert_eq!(sealed_by(&next), first);
    advance(HOUR * 2 - MINUTE).await;
    assert_eq!(sealed_by(&next), first);
    advance(MINUTE).await;
    let second = sealed_by(&next);
    assert_ne!(second, first);
    assert_eq!(sealed_by(&after(&next)), second);
}

#[tokio::test(start_paused = true)]
async fn keys_go_when_their_tickets_have() {
    let keys = keys();
    let key = keys.export().len() - 1;
    for _ in 0..20 {
        keys.encrypt(SESSION).unwrap();
        advance(HOUR * 6).await;
    }
    assert_eq!(keys.export().len(), 1 + 3 * key, "18 hours of keys");
    // Nobody has come for a week.
    advance(HOUR * 24 * 7).await;
    assert_eq!(keys.export().len(), 1 + key);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_makes_no_key_last() {
    let keys = keys();
    let mut ahead = keys.export().to_vec();
    // The year's highest bits.
    ahead[17] = 0x7f;
    let next = self::keys();
    next.import(&ahead).unwrap();
    let first = sealed_by(&next);
    advance(HOUR * 6).await;
    assert_ne!(sealed_by(&next), first);
}

#[tokio::test(start_paused = true)]
async fn scopes_do_not_share() {
    let keys = keys();
    let tenant = keys.scope("tenant");
    let ticket = keys.encrypt(SESSION).unwrap();
    assert_eq!(tenant.decrypt(&ticket), None);
    assert_eq!(keys.scope("").decrypt(&ticket).unwrap(), SESSION);
    let ticket = tenant.encrypt(SESSION).unwrap();
    assert_eq!(keys.decrypt(&ticket), None);
    assert_eq!(keys.scope("tenan").decrypt(&ticket), None);
    assert_eq!(
        after(&keys).scope("tenant").decrypt(&ticket).unwrap(),
        SESSION
    );
}

#[test]
fn one_scope_is_one_servers() {
    let keys = keys();
    let first = keys.ticketer().unwrap();
    assert!(keys.ticketer().is_none());
    assert!(keys.scope("admin").ticketer().is_some());
    assert!(after(&keys).ticketer().is_some());
    drop(first);
    assert!(keys.ticketer().is_some());
}

#[test]
fn every_bit_counts() {
    let keys = keys();
    let ticket = keys.encrypt(SESSION).unwrap();
    for bit in 0..ticket.len() * 8 {
        let mut flipped = ticket.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys.decrypt(&flipped), None, "bit {bit}");
    }
    for length in 0..ticket.len() {
        assert_eq!(keys.decrypt(&ticket[..length]), None, "{length} bytes");
    }
    let longer = [&ticket[..], &[0]].concat();
    assert_eq!(keys.decrypt(&longer), None);
}

#[test]
fn a_session_is_any_that_fits() {
    let keys = keys();
    for length in [0, 1, 1000, 65_463] {
        let session = vec![7; length];
        let ticket = keys.encrypt(&session).unwrap();
        assert_eq!(ticket.len(), length + 72);
        assert_eq!(keys.decrypt(&ticket).unwrap(), session);
    }
    assert_eq!(keys.encrypt(&[7; 65_464]), None);
}

proptest! {
    #[test]
    fn garbage_opens_nothing(garbage: Vec<u8>, head in 0_usize..=48) {
        let keys = keys();
        prop_assert_eq!(keys.decrypt(&garbage), None);
        let mut behind_a_name = keys.encrypt(SESSION).unwrap();
        behind_a_name.truncate(head);
        behind_a_name.extend(garbage);
        prop_assert_eq!(keys.decrypt(&behind_a_name), None);
    }

    #[test]
    fn garbage_imports_nothing(garbage: Vec<u8>, format: bool) {
        let keys = keys();
        let mut handed = garbage;
        if format {
            handed.insert(0, 1);
        }
        let ticket = keys.encrypt(SESSION).unwrap();
        let _ = keys.import(&handed);
        prop_assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
    }
}

#[test]
fn what_is_handed_over_in_part_changes_nothing() {
    let (one, other) = (keys(), keys());
    let handed = one.export();
    for length in 0..handed.len() {
        // Of none nothing is to be had either.
        let read = other.import(&handed[..length]);
        assert_eq!(read.is_ok(), length == 1, "{length}");
    }
    let error = other.import(&[9, 9]).unwrap_err().to_string();
    assert!(
        error.contains("in format 9, and this is format 1"),
        "{error}"
    );
    let ticket = one.encrypt(SESSION).unwrap();
    assert_eq!(other.decrypt(&ticket), None);
}

#[test]
fn what_seals_is_the_providers() {
    let any = keys();
    let aes = with_suites(|suite| suite == CipherSuite::TLS13_AES_256_GCM_SHA384);
    let chacha = with_suites(|suite| suite == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    for (provider, same) in [(aes, true), (chacha, false)] {
        let other = TicketKeys::new(&provider).unwrap();
        other.import(&any.export()).unwrap();
        let ticket = other.encrypt(SESSION).unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), SESSION);
        assert_eq!(any.decrypt(&ticket).is_some(), same);
    }
    let short = with_suites(|suite| suite == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let error = TicketKeys::new(&short).unwrap_err();
    assert!(matches!(error, TicketKeysError::NoCipher), "{error}");
}

#[test]
fn without_random_numbers_there_is_no_key() {
    #[derive(Debug)]
    struct None;

    impl SecureRandom for None {
        fn fill(&self, _: &mut [u8]) -> Result<(), GetRandomFailed> {
            Err(GetRandomFailed)
        }
    }

    let provider = CryptoProvider {
        secure_random: &None,
        ..ring::default_provider()
    };
    let error = TicketKeys::new(&provider).unwrap_err();
    assert!(matches!(error, TicketKeysError::NoRandom), "{error}");
    let file = Lines::new(&[KEYS[0]]);
    let keys = TicketKeys::from_file(&provider, file.path()).unwrap();
    assert_eq!(keys.encrypt(SESSION), Option::None);
}

#[test]
fn times_are_what_tls_allows() {
    let week = HOUR * 24 * 7;
    for value in [
        Duration::ZERO,
        MINUTE - MINUTE / 60,
        week + MINUTE / 60,
        Duration::MAX,
    ] {
        let error = keys().rotate_every(value).unwrap_err().to_string();
        assert!(error.starts_with("rotate_every is "), "{error}");
        let error = keys().ticket_lifetime(value).unwrap_err().to_string();
        assert!(error.starts_with("ticket_lifetime is "), "{error}");
    }
    for value in [MINUTE, week] {
        assert!(keys().rotate_every(value).is_ok());
        assert!(keys().ticket_lifetime(value).is_ok());
    }
}

#[test]
fn no_key_is_shown() {
    let file = Lines::new(&KEYS);
    let shown = format!("{:?} {:?}", keys(), file.keys());
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(
        format!("{:?}", keys()),
        "TicketKeys { scope: \"\", file: None, .. }"
    );
    let ring = format!("{:?}", keys().shared.read());
    assert!(
        ring.contains("Key { made: ") && !ring.contains("secret"),
        "{ring}"
    );
}

/// As of openssl rand, and each begins with a name of its own.
const KEYS: [&str; 5] = [
    "gyMWCJ2KlcWHP4gJyHcXZl2VJm4TOtYrL6sQmN4lgNqrbuz4ZrG1m3E9u5pyaRxO",
    "ujPRIp7BbVQo9eVUmgDu6mYDyXZ0nfRIzFVeHZYKqfzXSvMWkTjEHzCHzqTmj9hN",
    "ZI2NsS0ErZxC1s6sR5vHnJ9m0pCVyKYwWzq0yTjWSZlR3T7Jv4qYb6kHnE0cUu1x",
    "MEAlmLbDyH0eUTOu1DAsCTjZ0kxXbXc6qfRl+Qy8eJq3m9bWZ7tD2nU4g5hPvI1o",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8=",
];

/// A file with these lines.
struct Lines(TempDir);

impl Lines {
    fn new(lines: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(lines);
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tickets")
    }

    fn write(&self, lines: &[&str]) {
        fs::write(self.path(), lines.join("\n") + "\n").unwrap();
    }

    fn read(&self) -> Result<TicketKeys, TicketKeysError> {
        TicketKeys::from_file(&ring::default_provider(), self.path())
    }

    fn keys(&self) -> TicketKeys {
        self.read().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Which of `KEYS` seals, and which of them open.
fn roles(lines: &[&str]) -> (usize, Vec<usize>) {
    let keys = Lines::new(lines).keys();
    let opens = |of: &&str| keys.decrypt(&Lines::new(&[of]).keys().encrypt(SESSION).unwrap());
    let opening = (0..KEYS.len()).filter(|at| opens(&KEYS[*at]).is_some());
    let ticket = keys.encrypt(SESSION).unwrap();
    let alone = |of: &&str| Lines::new(&[of]).keys().decrypt(&ticket);
    let sealing = (0..KEYS.len()).find(|at| alone(&KEYS[*at]).is_some());
    (sealing.unwrap(), opening.collect())
}

#[test]
fn the_last_three_open_and_the_last_but_one_seals() {
    let [a, b, c, d, long] = KEYS;
    for (lines, sealing, opening) in [
        (&[a][..], 0, &[0][..]),
        (&[a, b], 0, &[0, 1]),
        (&[b, a], 1, &[0, 1]),
        (&[a, b, c], 1, &[0, 1, 2]),
        (&[a, b, c, d], 2, &[1, 2, 3]),
        (&[a, b, c, d, long], 3, &[2, 3, 4]),
        (&[a, long, c], 4, &[0, 2, 4]),
        // Windows, and people.
        (
            &["", "  ", &format!("{a}\r"), "", &format!(" {b} ")],
            0,
            &[0, 1],
        ),
        // One that is gone may be named as one that is there.
        (&[a, b, c, a], 2, &[0, 1, 2]),
    ] {
        assert_eq!(roles(lines), (sealing, opening.to_vec()), "{lines:?}");
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_the_fix() {
    let [a, b, c, d, _] = KEYS;
    let short = &a[..60];
    let named_alike = format!("{}{}", &a[..24], &b[24..]);
    for (lines, said) in [
        (&[""][..], "there is no key in it: add one"),
        (
            &[a, "not base64!", b],
            "line 2: it is not base64 (RFC 4648 4)",
        ),
        (&[a, b, &a[..63]], "line 3: it is not base64"),
        (&[&format!("{a} {b}")], "line 1: it is not base64"),
        (
            &[a, short],
            "line 2: it has 45 bytes: write a key of 48 or of 80",
        ),
        (&["AAAA"], "line 1: it has 3 bytes"),
        (&[short, a, b, c, d], "line 1: it has 45 bytes"),
        (&[a, b, a], "are those of line 1: leave one of the two"),
        (
            &["", b, c, "", c],
            "line 5: its first 16 bytes, the key's name, are those of line 3",
        ),
        (&[a, &named_alike], "line 2: its first 16 bytes"),
    ] {
        let file = Lines::new(lines);
        let error = file.read().unwrap_err().to_string();
        let path = file.path().display().to_string();
        assert!(error.starts_with(&path), "{lines:?}: {error}");
        assert!(error.contains(said), "{lines:?}: {error}");
        assert!(!error.contains(&a[24..]), "a key is shown: {error}");
    }
    let file = Lines::new(&[a]);
    fs::remove_file(file.path()).unwrap();
    assert!(matches!(file.read(), Err(TicketKeysError::NotFound { .. })));
    fs::create_dir(file.path()).unwrap();
    assert!(matches!(file.read(), Err(TicketKeysError::Io { .. })));
}

const LOOK: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_and_a_broken_one_is_not_used() {
    let [a, b, c, d, _] = KEYS;
    let file = Lines::new(&[a, b, c]);
    let keys = file.keys().ticket_lifetime(HOUR).unwrap();
    let ticket = keys.encrypt(SESSION).unwrap();
    for broken in [&[a, b, c, "!"][..], &[], &["AAAA"]] {
        file.write(broken);
        advance(LOOK).await;
        assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
    }
    fs::remove_file(file.path()).unwrap();
    advance(LOOK).await;
    assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
    let missing = keys.reload();
    assert!(matches!(missing, Err(TicketKeysError::NotFound { .. })));
    assert!(self::keys().reload().is_ok());

    file.write(&[b, c, d]);
    // Looked at no more than once a second.
    assert_eq!(sealed_by(&keys), ticket[..16]);
    advance(LOOK).await;
    assert_ne!(sealed_by(&keys), ticket[..16]);
    assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
    assert_eq!(keys.lifetime(), 3600, "it is not the file's");
    file.write(&[c, d, a]);
    keys.reload().unwrap();
    assert_eq!(keys.decrypt(&ticket), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_known_to_a_fleet_before_it_seals() {
    let [a, b, c, d, _] = KEYS;
    let files = [Lines::new(&[a, b, c]), Lines::new(&[a, b, c])];
    let servers = files.each_ref().map(Lines::keys);
    let agree = || {
        for (one, other) in [(0, 1), (1, 0)] {
            let ticket = servers[one].encrypt(SESSION).unwrap();
            assert_eq!(servers[other].decrypt(&ticket).unwrap(), SESSION);
        }
    };
    agree();
    for file in &files {
        file.write(&[a, b, c, d]);
        advance(LOOK).await;
        agree();
    }
}

#[tokio::test(start_paused = true)]
async fn tickets_of_a_files_keys_expire_too() {
    let keys = Lines::new(&KEYS).keys();
    let ticket = keys.encrypt(SESSION).unwrap();
    advance(HOUR * 12 - LOOK).await;
    assert_eq!(keys.decrypt(&ticket).unwrap(), SESSION);
    advance(LOOK).await;
    assert_eq!(keys.decrypt(&ticket), None);
}

#[tokio::test(start_paused = true)]
async fn a_files_keys_are_not_handed_over() {
    let (file, random) = (Lines::new(&KEYS).keys(), keys());
    assert_eq!(file.export().len(), 1);
    let sealing = sealed_by(&random);
    random.import(&file.export()).unwrap();
    assert_eq!(sealed_by(&random), sealing);
    let sealing = sealed_by(&file);
    file.import(&random.export()).unwrap();
    assert_eq!(sealed_by(&file), sealing);
}

//! [`Key`]: one key, and how it seals.
//!
//! Each ticket is sealed with an AEAD key and a nonce of its own, which HKDF (RFC 5869) derives from this key,
//! 32 random bytes that the ticket begins with, and the scope. So nothing has to be counted, in a fleet
//! neither, and no limit of tickets per key is ever near: an AEAD key seals once, where SP 800-38D 8.3 allows
//! a key with random nonces 2^32 times, and among 2^64 tickets two have the same random bytes with a
//! probability of 2^-129. HKDF and AEAD are the crypto provider's, those that it makes TLS and QUIC with.
//!
//! ```text
//!  name, 16 bytes │ random, 32 bytes │ sealed: time of sealing, 8 bytes, and the session │ tag, 16 bytes
//!  └───────── authenticated ────────┘
//! ```

use std::fmt;

use tokio_rustls::rustls::{
    CipherSuite,
    crypto::{
        CryptoProvider, SecureRandom,
        cipher::{AeadKey, Iv},
        tls13::{Hkdf, HkdfExpander},
    },
    quic,
};
use zeroize::Zeroizing;

use super::error::TicketKeysError;

/// By what a ticket says which key it is sealed with.
pub(super) type Name = [u8; NAME];

pub(super) const NAME: usize = 16;
const SALT: usize = 32;
const HEAD: usize = NAME + SALT;
const TIME: usize = 8;
const SECRET: usize = 32;
/// A `NewSessionTicket` has two bytes for the length.
const LONGEST: usize = u16::MAX as usize;
/// What sets these keys apart from others of the same bytes, such as HAProxy's.
const LABEL: &[u8] = b"graceful-tls session tickets 1";

/// What the provider has to seal with.
#[derive(Clone, Copy)]
pub(super) struct Crypto {
    hkdf: &'static dyn Hkdf,
    aead: &'static dyn quic::Algorithm,
    random: &'static dyn SecureRandom,
}

impl Crypto {
    /// Always in this order, so that another process with these suites does the same.
    const SUITES: [CipherSuite; 2] = [
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];

    pub(super) fn of(provider: &CryptoProvider) -> Result<Self, TicketKeysError> {
        let suites = || provider.cipher_suites.iter().filter_map(|of| of.tls13());
        let usable = |wanted: &CipherSuite| {
            let suite = suites().find(|of| of.common.suite == *wanted)?;
            Some(Self {
                hkdf: suite.hkdf_provider,
                aead: suite.quic?,
                random: provider.secure_random,
            })
        };
        let found = Self::SUITES.iter().find_map(usable);
        found.ok_or(TicketKeysError::NoCipher)
    }
}

/// A key, and since when there is one.
pub(super) struct Key {
    pub(super) name: Name,
    /// Of the clock that this process goes by.
    pub(super) made: u64,
    pub(super) secret: Zeroizing<Vec<u8>>,
    derived: Box<dyn HkdfExpander>,
    crypto: Crypto,
}

impl Key {
    pub(super) fn new(crypto: Crypto, name: Name, secret: Zeroizing<Vec<u8>>, made: u64) -> Self {
        Self {
            name,
            made,
            derived: crypto.hkdf.extract_from_secret(Some(LABEL), &secret),
            secret,
            crypto,
        }
    }

    pub(super) fn fresh(crypto: Crypto, made: u64) -> Result<Self, TicketKeysError> {
        let mut name = [0; NAME];
        let mut secret = Zeroizing::new(vec![0; SECRET]);
        for bytes in [&mut name[..], &mut secret] {
            let filled = crypto.random.fill(bytes);
            filled.map_err(|_| TicketKeysError::NoRandom)?;
        }
        Ok(Self::new(crypto, name, secret, made))
    }

    /// `None` where there are no random numbers, or the session is too long for a ticket.
    pub(super) fn seal(&self, scope: &str, now: u64, session: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = Vec::with_capacity(HEAD + TIME + session.len() + 16);
        ticket.extend(self.name);
        ticket.extend([0; SALT]);
        self.crypto.random.fill(&mut ticket[NAME..]).ok()?;
        ticket.extend(now.to_be_bytes());
        ticket.extend(session);
        let (head, plain) = ticket.split_at_mut(HEAD);
        let tag = self.aead(head, scope)?.encrypt_in_place(0, head, plain);
        ticket.extend(tag.ok()?.as_ref());
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    /// When the ticket was sealed, and what is in it.
    pub(super) fn open(&self, scope: &str, ticket: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (head, sealed) = ticket.split_at_checked(HEAD)?;
        let aead = self.aead(head, scope)?;
        if sealed.len() < TIME + aead.tag_len() {
            return None;
        }
        let mut plain = Zeroizing::new(sealed.to_vec());
        let opened = aead.decrypt_in_place(0, head, &mut plain).ok()?;
        let (time, session) = opened.split_first_chunk()?;
        Some((u64::from_be_bytes(*time), session.to_vec()))
    }

    /// What seals this one ticket. The first packet of QUIC's has the nonce as it is (RFC 9001 5.3).
    fn aead(&self, head: &[u8], scope: &str) -> Option<Box<dyn quic::PacketKey>> {
        const KEY: usize = 32;
        let mut derived = Zeroizing::new([0; KEY + 12]);
        let info = [head, scope.as_bytes()];
        self.derived.expand_slice(&info, &mut derived[..]).ok()?;
        let key: [u8; KEY] = *derived.first_chunk()?;
        let nonce: [u8; 12] = *derived.last_chunk()?;
        let packet_key = self
            .crypto
            .aead
            .packet_key(AeadKey::from(key), Iv::from(nonce));
        Some(packet_key)
    }
}

/// The name of the key that a ticket was sealed with.
pub(super) fn name(ticket: &[u8]) -> Option<&Name> {
    ticket.first_chunk()
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

//! [`TicketKeys`]: the keys that session tickets are sealed with, for TLS 1.2 (RFC 5077) and 1.3 (RFC 9846
//! 4.6.1), so that sessions survive a restart, or are resumed anywhere in a fleet.
//!
//! rustls asks for a seal, and to open one, as `ProducesTickets`. What rustls has of its own for that knows
//! its keys alone; here they can be handed to the next process, or come from a file.
//!
//! A ticket says when it was sealed, so that it expires to the second, under every key and in every process; a
//! key goes when all that it has sealed has expired. A lock is held for as long as it takes to get at a key,
//! never while one seals.
//!
//! `key` seals, `ring` is which key does, `file` reads those of a fleet, `handed` is how they get to another
//! process, `clock` tells the time. It uses `watched` alone, and so do certificates.

mod clock;
mod error;
mod file;
mod handed;
mod key;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
    time::Duration,
};

use tokio_rustls::rustls::{crypto::CryptoProvider, server::ProducesTickets};

use crate::watched::Watched;
pub use error::TicketKeysError;
pub use handed::ExportedTicketKeys;
use key::{Crypto, Key};
use ring::Ring;

/// The keys that session tickets are sealed with, set by
/// [`Builder::ticket_keys`](crate::Builder::ticket_keys).
///
/// A client that shows a ticket goes on with the session in it (RFC 9846 2.2, RFC 5077): certificates and the
/// signature fall away, over TLS 1.2 the key exchange and a round trip too. Without this rustls keeps 256 sessions in memory, which
/// end with the process; with it they are with the clients, any number of them, and are good wherever these keys
/// are. So they have to get to where the client comes next: by [`export`](Self::export) and
/// [`import`](Self::import) to the process that takes this one's place, or [from a file](Self::from_file) to a
/// fleet. They are never written anywhere.
///
/// By default there is a new key every 6 h, tickets are good for 12 h after they were made, and a key is kept
/// until its last one has expired: at most 18 h. Every resumption comes with a new ticket. A ticket that is
/// damaged, expired, or of keys that are not known is no error: the client does a full handshake.
///
/// ```no_run
/// # use graceful_tls::{GracefulTls, TicketKeys, rustls::ServerConfig};
/// # fn f(config: ServerConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let keys = TicketKeys::new(config.crypto_provider())?;
/// let tls = GracefulTls::builder(config).ticket_keys(keys).build()?;
/// # Ok(()) }
/// ```
///
/// Clones mean the same keys.
///
/// # What they are worth to a thief
///
/// Who has a key can read, of what was recorded, every TLS 1.2 session whose ticket it has sealed. In TLS 1.3 what
/// follows a resumption has forward secrecy all the same, for rustls always makes a new key exchange (`psk_dhe_ke`, RFC
/// 9846 2.2), and takes no early data by tickets. In both versions he can pass for the server where a client
/// resumes. So keys change, are wiped from memory, and a file of them should be in memory too (tmpfs). The
/// crypto provider has copies of its own, which it may not wipe. An expired key goes at the first handshake
/// after.
///
/// # Scopes
///
/// A client that resumes is not asked for its certificate again: what it has shown at first counts. rustls has
/// a session resumed for the same server name only, but does not look at who was asked for what: so tickets of a server
/// that asks for no certificate must never be good where one is asked for. Each configuration that differs in this
/// has a [`scope`](Self::scope) of its own, and another one when the authorities of clients change.
#[derive(Clone)]
pub struct TicketKeys {
    shared: Arc<Shared>,
    scope: Arc<str>,
}

struct Shared {
    crypto: Crypto,
    ring: RwLock<Ring>,
    file: Option<File>,
    /// Those that servers seal with.
    in_use: Mutex<Vec<Weak<TicketKeys>>>,
}

struct File {
    watched: Watched<1>,
    /// Whether it has been said that everybody may read it.
    warned: Once,
}

impl TicketKeys {
    /// A new random key, followed by another every [`rotate_every`](Self::rotate_every).
    ///
    /// `provider` is that of the server, [`ServerConfig::crypto_provider`], or another. Its cipher suites
    /// decide what tickets are sealed with: AES-256-GCM, or else ChaCha20-Poly1305.
    ///
    /// [`ServerConfig::crypto_provider`]: crate::rustls::ServerConfig::crypto_provider
    ///
    /// # Errors
    ///
    /// [`TicketKeysError::NoCipher`], [`TicketKeysError::NoRandom`].
    pub fn new(provider: &CryptoProvider) -> Result<Self, TicketKeysError> {
        let crypto = Crypto::of(provider)?;
        let first = Key::fresh(crypto, clock::now())?;
        Ok(Self::of(crypto, Ring::new(first), None))
    }

    /// Keys from a file, in the format of HAProxy's `tls-ticket-keys`, for the servers of a fleet.
    ///
    /// A key a line, in base64, of 48 or 80 bytes: `openssl rand -base64 48`. The last three open tickets, and
    /// of these the last but one seals (of two the first, of one that one). So a new key is known
    /// everywhere before anybody seals with it: append a line to a copy of every server's file, rename it over the old one, wait until all have it, and
    /// the next line may follow. Do that every few hours, and no more often than three times in
    /// a [`ticket_lifetime`](Self::ticket_lifetime) if tickets are to be good for all of it.
    /// [`rotate_every`](Self::rotate_every) is nothing to these.
    ///
    /// The file is looked at when a client connects, no more than once a second, and read again when it has
    /// changed. What can't be used changes nothing, and is said once in the log, at `error`; that
    /// everybody on the machine may read it, once at `warn`. The look blocks for as long as the file system takes.
    ///
    /// HAProxy wants at least three keys, all of one length, and does not open these servers' tickets, nor they
    /// HAProxy's: only the file is the same.
    ///
    /// # Errors
    ///
    /// See [`TicketKeysError`]; those about a line name it.
    pub fn from_file(
        provider: &CryptoProvider,
        path: impl Into<PathBuf>,
    ) -> Result<Self, TicketKeysError> {
        let crypto = Crypto::of(provider)?;
        let file = File {
            watched: Watched::new([path.into()]),
            warned: Once::new(),
        };
        let ring = file.read(crypto)?;
        Ok(Self::of(crypto, ring, Some(file)))
    }

    fn of(crypto: Crypto, ring: Ring, file: Option<File>) -> Self {
        Self {
            shared: Arc::new(Shared {
                crypto,
                ring: RwLock::new(ring),
                file,
                in_use: Mutex::default(),
            }),
            scope: Arc::from(""),
        }
    }

    /// How long a key seals until another follows, in whole seconds. Default: 6 h; from 1 min to 7 days.
    ///
    /// It holds for all clones, as from the next ticket.
    ///
    /// # Errors
    ///
    /// [`TicketKeysError::RotateEvery`].
    pub fn rotate_every(self, time: Duration) -> Result<Self, TicketKeysError> {
        self.shared.write().times().rotate_every(time)?;
        Ok(self)
    }

    /// How long a ticket is good for, in whole seconds, and told to be. Default: 12 h; from 1 min to 7 days,
    /// the longest that RFC 9846 4.6.1 allows.
    ///
    /// It holds for all clones, and for the tickets that there are.
    ///
    /// # Errors
    ///
    /// [`TicketKeysError::Lifetime`].
    pub fn ticket_lifetime(self, time: Duration) -> Result<Self, TicketKeysError> {
        self.shared.write().times().lifetime(time)?;
        Ok(self)
    }

    /// The same keys for another configuration: tickets of one scope are not good in another. Default: the empty
    /// one.
    ///
    /// Servers that live side by side need one each: [`Builder::build`](crate::Builder::build) says so. For
    /// configurations that [`config_for_client`](crate::Builder::config_for_client) picks it is up to you:
    ///
    /// ```no_run
    /// # use graceful_tls::{TicketKeys, rustls::ServerConfig};
    /// # use std::sync::Arc;
    /// # fn f(keys: &TicketKeys, tenant: &str, mut config: ServerConfig) -> Arc<ServerConfig> {
    /// config.ticketer = Arc::new(keys.scope(tenant));
    /// Arc::new(config)
    /// # }
    /// ```
    #[must_use = "it changes nothing of this one"]
    pub fn scope(&self, name: impl Into<Arc<str>>) -> Self {
        Self {
            shared: self.shared.clone(),
            scope: name.into(),
        }
    }

    /// The keys and their ages, for [`import`](Self::import) in the process that takes this one's place.
    ///
    /// Who has them can do what is [said above](Self#what-they-are-worth-to-a-thief): pass them in memory, as by a
    /// pipe or a socket, and not by a file, the environment or the command line. They are wiped when dropped. Of
    /// those from a file there are none: the next process reads it.
    pub fn export(&self) -> ExportedTicketKeys {
        self.shared.refresh();
        let ring = self.shared.read();
        let keys = ring.keys().filter(|_| self.shared.file.is_none());
        handed::write(keys)
    }

    /// Goes on with the keys of the process before: its tickets are good here, and rotation goes on where it was.
    ///
    /// Until the next rotation both seal with the same key, so that either can take over from the other. It can
    /// be done at any time, also when servers have these keys already. Where they are from a file nothing
    /// changes: it has them all.
    ///
    /// # Errors
    ///
    /// [`TicketKeysError::UnknownFormat`], [`TicketKeysError::Damaged`]: then nothing has changed.
    pub fn import(&self, keys: &[u8]) -> Result<(), TicketKeysError> {
        let shared = &self.shared;
        let keys = handed::read(keys, shared.crypto, clock::now())?;
        if shared.file.is_none() {
            shared.write().adopt(keys);
        }
        Ok(())
    }

    /// Reads the file again, now. What can't be used changes nothing. Where keys are not from a file there is
    /// nothing to do.
    ///
    /// It blocks for as long as reading a small file takes.
    ///
    /// # Errors
    ///
    /// See [`TicketKeysError`].
    pub fn reload(&self) -> Result<(), TicketKeysError> {
        match &self.shared.file {
            Some(file) => file.watched.read_again(|_| self.shared.read_file(file)),
            None => Ok(()),
        }
    }

    /// What a server seals with, if there is not one already that does so in this scope.
    pub(crate) fn ticketer(&self) -> Option<Arc<Self>> {
        let in_use = self.shared.in_use.lock();
        let mut in_use = in_use.unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|other| other.strong_count() > 0);
        let mut others = in_use.iter().filter_map(Weak::upgrade);
        if others.any(|other| other.scope == self.scope) {
            return None;
        }
        let ticketer = Arc::new(self.clone());
        in_use.push(Arc::downgrade(&ticketer));
        Some(ticketer)
    }

    pub(crate) fn scope_name(&self) -> &str {
        &self.scope
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.shared.read().lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.shared.refresh();
        let key = self.shared.read().sealing();
        key.seal(&self.scope, clock::now(), session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.shared.refresh();
        let (key, lifetime) = {
            let ring = self.shared.read();
            (ring.of_ticket(ticket)?, ring.lifetime())
        };
        let (sealed, session) = key.open(&self.scope, ticket)?;
        // From the future is what a server has sealed whose clock is ahead.
        let age = clock::now().saturating_sub(sealed);
        (age < lifetime.into()).then_some(session)
    }
}

impl Shared {
    /// Reads the file again, or makes the next key, if it is time.
    fn refresh(&self) {
        match &self.file {
            Some(file) => self.look(file),
            None => self.rotate(),
        }
    }

    fn look(&self, file: &File) {
        let looked = file.watched.look(|_| self.read_file(file));
        let [path] = file.watched.paths();
        match looked {
            None => {}
            Some(Ok(())) => tracing::info!(?path, "the ticket keys have been read again"),
            Some(Err(error)) => tracing::error!(%error, "the ticket keys stay the old ones"),
        }
    }

    fn read_file(&self, file: &File) -> Result<(), TicketKeysError> {
        let ring = file.read(self.crypto)?;
        self.write().replace(ring);
        Ok(())
    }

    fn rotate(&self) {
        let now = clock::now();
        if self.read().is_due(now) {
            self.make_the_next(now);
        }
        if self.read().has_expired(now) {
            self.write().prune(now);
        }
    }

    /// Without random numbers the old key goes on to be the one, but there are no tickets.
    fn make_the_next(&self, now: u64) {
        let Ok(next) = Key::fresh(self.crypto, now) else {
            return;
        };
        let mut ring = self.write();
        if ring.is_due(now) {
            ring.rotate(next);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn read(&self, crypto: Crypto) -> Result<Ring, TicketKeysError> {
        let [path] = self.watched.paths();
        let ring = file::read(path, crypto, clock::now())?;
        if file::is_open_to_all(path) {
            self.warned.call_once(|| {
                const TEXT: &str = "everybody on this machine may read the ticket keys: chmod o-r";
                tracing::warn!(?path, "{TEXT}");
            });
        }
        Ok(ring)
    }
}

/// Without the keys.
impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.shared.file.as_ref().map(|file| file.watched.paths());
        f.debug_struct("TicketKeys")
            .field("scope", &self.scope)
            .field("file", &file)
            .finish_non_exhaustive()
    }
}

//! How a connection ended, which is what most tests are about.
//!
//! close_notify, a FIN and a RST are three different things, and a client can be told any of them
//! without the others.  [`Ending`] keeps them apart.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use rustls::AlertDescription;

use super::story::{Story, excerpt, millis};

/// How the TCP connection stands, as seen by this client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The peer sent a FIN, read at this time.
    Fin(Duration),
    /// The peer sent a RST with no FIN before it.
    Reset(Duration),
    /// Neither has come yet.
    StillOpen,
    /// This client closed or reset its own socket before either came.
    Ours(Duration),
}

/// What was on the wire until the client stopped looking.
#[derive(Clone)]
pub struct Ending {
    /// All plaintext received since the connection was made, whether or not it was taken since.
    pub bytes: Vec<u8>,
    /// When close_notify was read.
    pub close_notify: Option<Duration>,
    /// The fatal alert which was read, and when.
    pub alert: Option<(AlertDescription, Duration)>,
    /// How TCP ended.
    pub end: End,
    /// A RST noticed after the FIN.  See `Connection::linger_for_reset`.
    pub late_reset: Option<Duration>,
    /// The first failed write, other than one which only timed out.
    pub write_failed: Option<(ErrorKind, Duration)>,
    /// What rustls objected to in the bytes received, other than a fatal alert.
    pub tls_error: Option<(String, Duration)>,
    /// Bytes which came after close_notify, a fatal alert or an unusable record: nobody reads those.
    pub ignored: usize,
    /// Bytes of the last TLS record, if it was cut short.
    pub partial_record: usize,
    /// Everything above in order, and what this client sent.
    pub story: Story,
}

impl Ending {
    /// close_notify, then a FIN, and nothing else: no alert, no RST, no bytes in between.
    pub fn is_proper(&self) -> bool {
        self.close_notify.is_some()
            && self.is_clean_fin()
            && self.alert.is_none()
            && self.tls_error.is_none()
            && self.ignored == 0
            && self.partial_record == 0
    }

    /// A FIN came with no close_notify before it, so that a TLS client sees a truncated stream.
    pub fn is_truncation_visible(&self) -> bool {
        self.is_fin() && self.close_notify.is_none()
    }

    /// A FIN with no RST before or after, which is all that plain TCP can offer.
    pub fn is_clean_fin(&self) -> bool {
        self.is_fin() && self.late_reset.is_none()
    }

    /// A FIN came, whatever else did.
    pub fn is_fin(&self) -> bool {
        matches!(self.end, End::Fin(_))
    }

    /// A RST came, before or after a FIN.
    pub fn is_reset(&self) -> bool {
        matches!(self.end, End::Reset(_)) || self.late_reset.is_some()
    }

    /// Neither a FIN nor a RST came.
    pub fn is_still_open(&self) -> bool {
        self.end == End::StillOpen
    }

    /// When the FIN or the RST which ended the connection was read.
    pub fn ended_at(&self) -> Option<Duration> {
        match self.end {
            End::Fin(at) | End::Reset(at) => Some(at),
            End::StillOpen | End::Ours(_) => None,
        }
    }

    /// The fatal alert, without its time.
    pub fn alert_kind(&self) -> Option<AlertDescription> {
        self.alert.map(|(kind, _)| kind)
    }

    fn verdict(&self) -> String {
        let notify = match self.close_notify {
            Some(at) => format!("close_notify at {}", millis(at)),
            None => "no close_notify".into(),
        };
        let end = match self.end {
            End::Fin(at) => format!("FIN at {}", millis(at)),
            End::Reset(at) => format!("RST at {}", millis(at)),
            End::StillOpen => "still open".into(),
            End::Ours(at) => format!("closed by this client at {}", millis(at)),
        };
        let late = self.late_reset.map(|at| format!(", RST at {}", millis(at)));
        format!("{notify}, {end}{}", late.unwrap_or_default())
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Ending {{")?;
        writeln!(f, "  verdict: {}", self.verdict())?;
        if let Some((kind, at)) = self.alert {
            writeln!(f, "  fatal alert: {kind:?} at {}", millis(at))?;
        }
        if let Some((what, at)) = &self.tls_error {
            writeln!(f, "  TLS error: {what} at {}", millis(*at))?;
        }
        if let Some((kind, at)) = self.write_failed {
            writeln!(f, "  failed write: {kind:?} at {}", millis(at))?;
        }
        if self.ignored + self.partial_record > 0 {
            let (ignored, partial) = (self.ignored, self.partial_record);
            writeln!(f, "  ignored bytes: {ignored}, of a cut record: {partial}")?;
        }
        writeln!(f, "  plaintext: {}", excerpt(&self.bytes))?;
        write!(f, "  story:\n{:?}}}", self.story)
    }
}

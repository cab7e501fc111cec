//! The token that the buttons want.

use std::{env, fmt, sync::Arc};

use anyhow::{Context, ensure};
use axum::http::{HeaderMap, header::AUTHORIZATION};
use rustls::crypto::ring;
use subtle::ConstantTimeEq;

/// Its name among the environment variables.
const VARIABLE: &str = "ADMIN_TOKEN";

#[derive(Clone)]
pub(crate) struct Token {
    token: Arc<str>,
    /// Nobody knows it yet.
    random: bool,
}

impl Token {
    /// What the environment says, or 128 random bits.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        match env::var(VARIABLE) {
            Ok(token) => {
                let usable = token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_graphic());
                ensure!(
                    usable,
                    "{VARIABLE} needs 16 characters or more, all visible ASCII: leave it out for a random one"
                );
                Ok(Self {
                    token: token.into(),
                    random: false,
                })
            }
            Err(env::VarError::NotPresent) => Self::random(),
            Err(error) => Err(error).context(VARIABLE),
        }
    }

    fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        let random = ring::default_provider().secure_random;
        let filled = random.fill(&mut bytes);
        filled.ok().context("no random numbers for a token")?;
        Ok(Self {
            token: format!("{:032x}", u128::from_be_bytes(bytes)).into(),
            random: true,
        })
    }

    /// Whether a request has it, as `Authorization: Bearer` (RFC 6750 2.1).
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        // In a time that tells nobody how much of it was right.
        given.is_some_and(|given| given.as_bytes().ct_eq(self.token.as_bytes()).into())
    }
}

/// As the end of the page's link. Who has set one knows it, and the log need not.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.random {
            true => write!(f, "#{}", self.token),
            false => Ok(()),
        }
    }
}

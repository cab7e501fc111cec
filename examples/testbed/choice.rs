//! Configurations picked by the name that a client asks for.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use app::tls::self_made;
use graceful_tls::Refusal;
use tokio_rustls::rustls::{AlertDescription, ServerConfig, server::ClientHello};

type Chosen = Result<Option<Arc<ServerConfig>>, Refusal>;
type Choosing = Pin<Box<dyn Future<Output = Chosen> + Send>>;

/// What each name under `.test` gets; the others get the server's own.
pub(crate) fn by_name() -> Result<impl Fn(ClientHello<'_>) -> Choosing + Send + Sync, String> {
    let tenant = self_made(["tenant.test", "slow.test", "acme.test"])?;
    let offering = |protocols: &[&[u8]]| {
        let mut config = tenant.clone();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Arc::new(config)
    };
    let http = offering(&[b"h2", b"http/1.1"]);
    let unusable = offering(&[b"foo"]);
    let acme = offering(&[b"acme-tls/1"]);
    Ok(move |hello: ClientHello<'_>| -> Choosing {
        let (http, unusable, acme) = (http.clone(), unusable.clone(), acme.clone());
        let name = hello.server_name().unwrap_or_default().to_owned();
        Box::pin(async move {
            match name.as_str() {
                "tenant.test" => Ok(Some(http)),
                "slow.test" => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Ok(Some(http))
                }
                "never.test" => pending().await,
                "refused.test" => {
                    let alert = AlertDescription::UnrecognisedName;
                    Err(Refusal::new(alert, "nobody of that name"))
                }
                // No alert that says that there is no error.
                "closed.test" => Err(Refusal::new(AlertDescription::CloseNotify, "closed")),
                "unusable.test" => Ok(Some(unusable)),
                "acme.test" => Ok(Some(acme)),
                _ => Ok(None),
            }
        })
    })
}

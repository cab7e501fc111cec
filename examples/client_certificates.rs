//! Clients that have to show a certificate (mutual TLS).
//!
//! ```sh
//! cargo run --example client_certificates          # port 8443
//! cargo run --example client_certificates -- 9443  # another; 0 takes any that is free
//! ```
//!
//! It makes an authority of its own, and writes what the clients need to a directory that it
//! removes at its end. It prints a command for a client that gets in, and two for clients that
//! don't; those are told why by a TLS alert, which is not lost to a reset.

mod common;

use std::{fs, path::Path, sync::Arc};

use anyhow::Context;
use axum::{Extension, Router, http::StatusCode, routing::get};
use graceful_tls::{GracefulTls, TlsConnection};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType,
    ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth},
    IsCa, KeyPair,
};
use rustls::{
    RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer, server::WebPkiClientVerifier,
};
use webpki::EndEntityCert; // of the package rustls-webpki

type Authority = CertifiedIssuer<'static, KeyPair>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (ours, theirs) = (authority("ours")?, authority("theirs")?);
    let directory = tempfile::tempdir()?;
    let files = directory.path();
    fs::write(files.join("ca.pem"), ours.pem())?;
    write(files, "alice", &issue(&ours, "alice")?)?;
    write(files, "mallory", &issue(&theirs, "mallory")?)?;

    let tls = GracefulTls::new(config(&ours)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen().await?;
    let files = files.display();
    let curl = format!(
        "curl --cacert {files}/ca.pem https://{}/",
        listener.local_addr()?
    );
    println!("Let in:          {curl} --cert {files}/alice.pem");
    println!("Unknown issuer:  {curl} --cert {files}/mallory.pem");
    println!("No certificate:  {curl}");

    let app = Router::new().route("/", get(greet));
    println!("{}", tls.serve(listener, app).await?);
    Ok(())
}

/// Greets the client by the name in its certificate, which rustls has verified (RFC 9525 2: not by
/// its subject).
async fn greet(Extension(tls): Extension<TlsConnection>) -> Result<String, StatusCode> {
    let certificate = tls.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or(StatusCode::UNAUTHORIZED)?;
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| StatusCode::BAD_REQUEST)?;
    let name = certificate.valid_dns_names().next();
    Ok(format!("hello, {}\n", name.ok_or(StatusCode::FORBIDDEN)?))
}

/// A server that lets in whom `authority` has vouched for.
fn config(authority: &Authority) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let CertifiedKey { cert, signing_key } = issue(authority, "127.0.0.1")?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert.into()], key.into())
        .context("the server's own certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn authority(name: &str) -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn issue(authority: &Authority, name: &str) -> Result<CertifiedKey<KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new([name.into()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ClientAuth, ServerAuth];
    let signing_key = KeyPair::generate()?;
    let cert = params.signed_by(&signing_key, authority)?;
    Ok(CertifiedKey { cert, signing_key })
}

/// Certificate and key in one file, which is what curl takes.
fn write(files: &Path, name: &str, identity: &CertifiedKey<KeyPair>) -> std::io::Result<()> {
    let (certificate, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
    fs::write(files.join(name).with_extension("pem"), certificate + &key)
}

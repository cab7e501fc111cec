//! Fresh self-signed certificates, for servers that misbehave and for clients which must show one.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A new self-signed certificate for `localhost` and `127.0.0.1`, with its key.
///
/// Both are DER, in the types which rustls' builders accept as they are.
pub fn test_cert() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names).expect("make a self-signed certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    (made.cert.der().clone(), key.into())
}

//! Alone in its process, for a crypto provider is installed once and for all.

use graceful_tls::{GracefulTls, PemError};

#[test]
fn where_none_is_installed_the_error_says_how_to() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();

    let error = GracefulTls::from_pem_files(&cert, &key).unwrap_err();
    assert!(matches!(error, PemError::NoCryptoProvider), "{error}");
    let fix = "rustls::crypto::ring::default_provider().install_default()";
    assert!(error.to_string().contains(fix), "{error}");

    let installed = graceful_tls::rustls::crypto::ring::default_provider().install_default();
    installed.unwrap();
    GracefulTls::from_pem_files(&cert, &key).unwrap();
}

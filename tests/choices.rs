//! Configurations picked by the ClientHello: each client gets its own, or an alert, within the handshake
//! time-out; and an ACME server gets its certificate and an end.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{future::ready, sync::Arc, time::Duration};

use graceful_tls::{BuildError, GracefulTls, HandshakeError, Refusal};
use judge::{PROMPT, Then, ends_properly, everywhere, is_hello, is_let_go, is_within};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use testbed::Testbed;
use tokio_rustls::TlsConnector;
use wire::{Client, H2, H2Options, Options, RawTcp, Version};

const CHOICE: [&str; 3] = ["--config-for-client", "--handshake-timeout-ms", "700"];
const BOTH: [Then; 2] = [Then::Closes, Then::IsSilent];
const LIMITS: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(1500));

fn named(version: Version, name: &str) -> Options {
    Options::new().version(version).server_name(name).http1()
}

fn open(bed: &Testbed, version: Version, name: &str) -> Client {
    Client::open(bed.addr, &named(version, name)).unwrap()
}

/// The certificate that a client of this name gets, and that it is served.
fn certificate(bed: &Testbed, version: Version, name: &str) -> CertificateDer<'static> {
    let mut client = Client::connect_with(bed.addr, &named(version, name)).unwrap();
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    let facts = client.get("/tls").unwrap();
    assert!(facts.text().contains(name), "{facts:?}");
    client.server_cert().unwrap()
}

#[test]
fn each_name_gets_its_own_certificate() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let own = certificate(bed, version, "localhost");
        let tenant = certificate(bed, version, "tenant.test");
        assert_ne!(own, tenant);
        assert_eq!(tenant, certificate(bed, version, "slow.test"));
        assert_eq!(own, certificate(bed, version, "other.test"));
    });
}

#[test]
fn protocols_are_agreed_on_as_the_chosen_one_says() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let options = named(version, "tenant.test").h2();
        let mut h2 = H2::connect_with(bed.addr, &options, H2Options::default()).unwrap();
        let answer = h2.h2_get("/full/1000").unwrap();
        assert!(judge::is_whole_h2(&answer, 1000), "{h2:?}");
        assert_eq!(h2.conn.alpn().as_deref(), Some("h2"));

        let options = named(version, "tenant.test").alpn(&["foo"]);
        let mut client = Client::open(bed.addr, &options).unwrap();
        client.handshake().unwrap_err();
        let alert = is_refused(&mut client, Then::Closes);
        assert_eq!(alert, AlertDescription::NoApplicationProtocol);
    });
}

#[test]
fn sessions_of_a_chosen_one_are_resumed() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let options = named(version, "tenant.test").resuming();
        for resumed in [false, true] {
            let mut client = Client::connect_with(bed.addr, &options).unwrap();
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
            assert_eq!(client.resumed(), resumed, "{client:?}");
        }
    });
}

/// A fatal alert, the FIN, no RST, and nothing else.
fn is_refused(client: &mut Client, then: Then) -> AlertDescription {
    let ending = client.finish();
    assert!(
        ending.is_clean_fin() && ending.close_notify.is_none(),
        "{ending:?}"
    );
    is_let_go(client, then);
    let alert = ending.alert_kind();
    alert.unwrap_or_else(|| panic!("no alert: {ending:?}"))
}

const REFUSED: [(&str, AlertDescription); 3] = [
    ("refused.test", AlertDescription::UnrecognisedName),
    // A closure alert would tell of no error.
    ("closed.test", AlertDescription::InternalError),
    // What can't be served as HTTP is not served as HTTP.
    ("unusable.test", AlertDescription::InternalError),
];

#[test]
fn who_gets_none_is_told_by_an_alert() {
    everywhere(
        &CHOICE,
        &REFUSED.map(|case| (case.0, case)),
        |bed, version, (name, alert)| {
            for then in BOTH {
                let mut client = open(bed, version, name);
                client.handshake().unwrap_err();
                assert_eq!(is_refused(&mut client, then), *alert);
            }
            // What comes behind the ClientHello destroys no alert.
            let mut client = open(bed, version, name);
            let hello = client.encrypt_only("");
            client
                .send_raw([hello, vec![22; 256 << 10]].concat())
                .unwrap();
            assert_eq!(is_refused(&mut client, Then::Closes), *alert);
        },
    );
}

#[test]
fn the_log_says_why() {
    for server in testbed::servers() {
        let bed = Testbed::start_talkative(server, &CHOICE);
        for (name, _) in REFUSED {
            let mut client = open(&bed, Version::Tls13, name);
            client.handshake().unwrap_err();
        }
        let exit = bed.stop(Duration::from_secs(10));
        let why = "no TLS configuration for this client: nobody of that name (UnrecognisedName)";
        assert!(exit.stderr.contains(why), "{exit:?}");
        let line = exit.stderr.lines().find(|line| line.contains("ERROR"));
        let line = line.unwrap_or_else(|| panic!("{exit:?}"));
        assert!(
            line.contains("offers \"foo\", which is not served"),
            "{line}"
        );
    }
}

#[test]
fn a_choice_that_never_comes_is_bounded_by_the_handshake_time_out() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let mut client = open(bed, version, "never.test");
            client.handshake().unwrap_err();
            let ending = client.finish();
            assert!(ending.is_clean_fin(), "{ending:?}");
            is_within(ending.ended_at(), Duration::ZERO, LIMITS, &ending);
            is_let_go(&mut client, then);
        }
    });
}

/// Where a handshake may stall with a choice to be made.
#[test]
fn a_client_hello_that_never_ends_is_bounded_too() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let mut silent = open(bed, version, "tenant.test").into_raw();
        let mut half = open(bed, version, "tenant.test");
        half.send_half_client_hello().unwrap();
        let mut unfinished = open(bed, version, "tenant.test");
        let hello = unfinished.encrypt_only("");
        unfinished.send_raw(hello).unwrap();
        for client in [
            &mut silent,
            &mut half.into_raw(),
            &mut unfinished.into_raw(),
        ] {
            let ending = client.finish();
            assert!(ending.is_clean_fin(), "{ending:?}");
            is_within(ending.ended_at(), Duration::ZERO, LIMITS, &ending);
        }
    });
}

#[test]
fn what_is_no_client_hello_is_answered_as_ever() {
    everywhere(&CHOICE, &[("", ())], |bed, _, ()| {
        let no_hellos: [&[u8]; 4] = [
            &[22, 3, 1, 0, 4, 77, 0, 0, 0],      // a message of no known kind
            &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0xff], // a ClientHello of junk
            &[23, 3, 1, 0, 1, 7],                // application data
            &[0x80; 64],                         // no record
        ];
        for bytes in no_hellos {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            client.send(bytes).unwrap();
            let ending = client.finish();
            let told = ending.is_clean_fin() && ending.alert.is_some();
            assert!(told, "{bytes:?}: {ending:?}");
        }

        let mut client = RawTcp::connect(bed.addr).unwrap();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(client.read_response().unwrap().status, 400);
        assert!(client.finish().is_clean_fin(), "{client:?}");
    });
}

#[test]
fn an_acme_challenge_ends_after_the_handshake() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let options = named(version, "acme.test").alpn(&["acme-tls/1"]);
        for then in BOTH {
            let mut client = Client::connect_with(bed.addr, &options).unwrap();
            assert_eq!(client.alpn().as_deref(), Some("acme-tls/1"));
            let ending = ends_properly(&mut client, then);
            assert!(ending.bytes.is_empty(), "{ending:?}");
            is_within(
                ending.close_notify,
                Duration::ZERO,
                (Duration::ZERO, PROMPT),
                &ending,
            );
        }
        // Whoever speaks HTTP nevertheless gets no answer.
        let mut client = Client::open(bed.addr, &options).unwrap();
        client.handshake().unwrap();
        let _ = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let ending = ends_properly(&mut client, Then::Closes);
        assert!(ending.bytes.is_empty(), "{ending:?}");
    });
}

/// No browser, whatever name it asks for, agrees on it.
#[test]
fn a_challenge_is_not_for_others() {
    everywhere(&CHOICE, &[("", ())], |bed, version, ()| {
        let mut client = open(bed, version, "acme.test");
        client.handshake().unwrap_err();
        let alert = is_refused(&mut client, Then::Closes);
        assert_eq!(alert, AlertDescription::NoApplicationProtocol);
        let options = named(version, "localhost").alpn(&["acme-tls/1"]);
        let mut client = Client::open(bed.addr, &options).unwrap();
        client.handshake().unwrap_err();
        let alert = is_refused(&mut client, Then::Closes);
        assert_eq!(alert, AlertDescription::NoApplicationProtocol);
    });
}

#[test]
fn a_choice_that_never_comes_holds_up_a_shutdown_for_no_longer() {
    for server in testbed::servers() {
        let bed = Testbed::start_talkative(server, &CHOICE);
        let mut never = open(&bed, Version::Tls13, "never.test");
        let hello = never.encrypt_only("");
        never.send_raw(hello).unwrap();
        let options = named(Version::Tls13, "acme.test").alpn(&["acme-tls/1"]);
        let mut acme = Client::connect_with(bed.addr, &options).unwrap();
        ends_properly(&mut acme, Then::Closes);
        never.close().unwrap();
        let exit = bed.stop(Duration::from_secs(10));
        assert!(exit.status.success() && exit.took < 2 * PROMPT, "{exit:?}");
        assert!(exit.stderr.contains("cause=acme_challenge"), "{exit:?}");
    }
}

/// Whoever knows the name of such a tenant must not fill the log.
#[test]
fn a_configuration_that_cant_be_used_is_an_error_in_the_log_once() {
    for server in testbed::servers() {
        let bed = Testbed::start_talkative(server, &CHOICE);
        for version in Version::BOTH {
            for _ in 0..3 {
                let mut client = open(&bed, version, "unusable.test");
                client.handshake().unwrap_err();
                is_refused(&mut client, Then::Closes);
            }
        }
        let exit = bed.stop(PROMPT);
        let said = |level| {
            let mut lines: Vec<_> = exit.stderr.lines().collect();
            lines.retain(|line| line.contains("a chosen configuration can't be used"));
            lines.iter().filter(|line| line.contains(level)).count()
        };
        assert_eq!((said("ERROR"), said("DEBUG")), (1, 5), "{exit:?}");
    }
}

/// A server's configuration, and that of a client that trusts it, both offering this.
fn offering(server: &[&[u8]], client: &[u8]) -> (ServerConfig, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = server.iter().map(|p| p.to_vec()).collect();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut connector = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    connector.alpn_protocols = vec![client.to_vec()];
    (config, TlsConnector::from(Arc::new(connector)))
}

/// How a handshake ends that does not give a stream.
async fn error(tls: &GracefulTls, connector: &TlsConnector) -> HandshakeError {
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let name = ServerName::try_from("localhost").unwrap();
    let (server, _client) = tokio::join!(
        async { tls.acceptor().accept(server_io).await },
        connector.connect(name, client_io)
    );
    server.unwrap_err()
}

const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

#[tokio::test]
async fn errors_tell_what_became_of_the_choice() {
    let (own, connector) = offering(HTTP, b"h2");
    let own = Arc::new(own);
    let (mut small, _) = offering(HTTP, b"h2");
    small.max_fragment_size = Some(1024);
    let (silent, _) = offering(&[], b"h2");
    let [small, silent] = [small, silent].map(Arc::new);
    let builder = || GracefulTls::builder(own.clone());

    let unusable = builder().config_for_client(move |_| ready(Ok(Some(small.clone()))));
    let told = error(&unusable.build().unwrap(), &connector).await;
    let wanted = "picked for this client can't be served: max_fragment_size of a chosen";
    assert!(told.to_string().contains(wanted), "{told}");
    let unusable = builder().config_for_client(move |_| ready(Ok(Some(silent.clone()))));
    let told = error(&unusable.build().unwrap(), &connector).await;
    let no_alpn = matches!(told, HandshakeError::UnusableConfig(BuildError::NoAlpn));
    assert!(no_alpn, "{told}");
    let refusing = builder().config_for_client(|_| {
        let reason = std::io::Error::other("the table of tenants is not there");
        ready(Err(Refusal::new(AlertDescription::InternalError, reason)))
    });
    let told = error(&refusing.build().unwrap(), &connector).await;
    let HandshakeError::NoConfig(refusal) = &told else {
        panic!("{told}");
    };
    assert_eq!(refusal.alert(), AlertDescription::InternalError);
    assert!(told.to_string().contains("tenants is not there"), "{told}");
}

#[test]
fn a_refusal_has_an_error_alert() {
    for (alert, told) in [
        (
            AlertDescription::CloseNotify,
            AlertDescription::InternalError,
        ),
        (
            AlertDescription::UserCanceled,
            AlertDescription::InternalError,
        ),
        (
            AlertDescription::AccessDenied,
            AlertDescription::AccessDenied,
        ),
    ] {
        assert_eq!(Refusal::new(alert, "no").alert(), told);
    }
}

#[tokio::test]
async fn the_servers_own_may_offer_acme_beside_http() {
    let (own, connector) = offering(&[b"h2", b"http/1.1", b"acme-tls/1"], b"acme-tls/1");
    let tls = GracefulTls::new(own).unwrap();
    let told = error(&tls, &connector).await;
    assert!(matches!(told, HandshakeError::AcmeChallenge), "{told}");

    let (alone, _) = offering(&[b"acme-tls/1"], b"h2");
    assert_eq!(GracefulTls::new(alone).unwrap_err(), BuildError::NoAlpn);
    let (foo, _) = offering(&[b"h2", b"foo"], b"h2");
    let error = GracefulTls::new(foo).unwrap_err();
    assert!(matches!(error, BuildError::UnknownAlpn { .. }), "{error}");
}

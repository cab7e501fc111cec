//! What a server spends on a handshake, by provider, cipher suite, key exchange, certificate and number of session
//! tickets:
//! `cargo run --release --manifest-path benches/handshakes/Cargo.toml`.
//!
//! rustls alone, server and client in one thread with nothing but memory between them; the clock runs
//! while the server's side works. All take turns, round by round; printed are medians, and as ratios to the first.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SideData, SupportedCipherSuite, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs, ring},
    pki_types::{PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};

const ROUNDS: usize = 101;
/// Handshakes of one kind in a row.
const IN_A_ROW: u32 = 5;

struct Way {
    name: &'static str,
    provider: fn() -> CryptoProvider,
    group: &'static dyn SupportedKxGroup,
    key: &'static SignatureAlgorithm,
    version: &'static SupportedProtocolVersion,
    tickets: usize,
    resumed: bool,
    /// The server picks AES-128 with SHA-256, where rustls' own client and OpenSSL's would rather have AES-256
    /// with SHA-384.
    aes_128: bool,
}

/// The crate's own advice, and what there is beside it.
const FIRST: Way = Way {
    name: "ring, X25519, certificate of P-256, 2 tickets",
    provider: ring::default_provider,
    group: ring::kx_group::X25519,
    key: &PKCS_ECDSA_P256_SHA256,
    version: &TLS13,
    tickets: 2,
    resumed: false,
    aes_128: false,
};

const AWS: Way = Way {
    name: "aws-lc-rs",
    provider: aws_lc_rs::default_provider,
    group: aws_lc_rs::kx_group::X25519,
    ..FIRST
};

const WAYS: [Way; 15] = [
    FIRST,
    Way {
        name: "the same, resumed",
        resumed: true,
        ..FIRST
    },
    Way {
        name: "cipher suite: AES-128 with SHA-256",
        aes_128: true,
        ..FIRST
    },
    Way {
        name: "the same, resumed",
        aes_128: true,
        resumed: true,
        ..FIRST
    },
    Way {
        name: "key exchange: P-256",
        group: ring::kx_group::SECP256R1,
        ..FIRST
    },
    Way {
        name: "key exchange: P-384",
        group: ring::kx_group::SECP384R1,
        ..FIRST
    },
    Way {
        name: "certificate: Ed25519",
        key: &PKCS_ED25519,
        ..FIRST
    },
    Way {
        name: "certificate: RSA-2048",
        key: &PKCS_RSA_SHA256,
        ..FIRST
    },
    Way {
        name: "4 tickets",
        tickets: 4,
        ..FIRST
    },
    Way {
        name: "1 ticket",
        tickets: 1,
        ..FIRST
    },
    Way {
        name: "no ticket",
        tickets: 0,
        ..FIRST
    },
    Way {
        name: "TLS 1.2",
        version: &TLS12,
        ..FIRST
    },
    AWS,
    Way {
        name: "aws-lc-rs, X25519MLKEM768",
        group: aws_lc_rs::kx_group::X25519MLKEM768,
        ..AWS
    },
    Way {
        name: "aws-lc-rs, certificate: RSA-2048",
        key: &PKCS_RSA_SHA256,
        ..AWS
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let pairs = WAYS.iter().map(Pair::new).collect::<Result<Vec<_>, _>>()?;
    let mut times = WAYS.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (pair, times) in pairs.iter().zip(&mut times) {
            times.push(pair.handshakes()?);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_secs_f64() * 1e6
    });
    println!("| | µs | ratio |\n|---|---|---|");
    for (way, median) in WAYS.iter().zip(medians) {
        println!(
            "| {} | {median:.0} | {:.2} |",
            way.name,
            median / medians[0]
        );
    }
    Ok(())
}

struct Pair {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    resumed: bool,
}

impl Pair {
    fn new(way: &Way) -> Result<Self, Box<dyn Error>> {
        let key = KeyPair::generate_for(way.key)?;
        let cert = CertificateParams::new(["localhost".into()])?.self_signed(&key)?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![way.group],
            ..(way.provider)()
        });
        let mut ours = (*provider).clone();
        if way.aes_128 {
            let is_it = |suite: &SupportedCipherSuite| {
                suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256
            };
            ours.cipher_suites.sort_by_key(|suite| !is_it(suite));
        }
        let mut server = ServerConfig::builder_with_provider(Arc::new(ours))
            .with_protocol_versions(&[way.version])?
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der())?,
            )?;
        server.send_tls13_tickets = way.tickets;
        server.ignore_client_order = way.aes_128;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[way.version])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !way.resumed {
            client.resumption = Resumption::disabled();
        }
        let pair = Self {
            server: Arc::new(server),
            client: Arc::new(client),
            resumed: way.resumed,
        };
        pair.handshake()?; // the first one has no session to resume
        Ok(pair)
    }

    /// The server's part of one, on average.
    fn handshakes(&self) -> Result<Duration, Box<dyn Error>> {
        let mut time = Duration::ZERO;
        for _ in 0..IN_A_ROW {
            let (took, kind) = self.handshake()?;
            if (kind == Some(HandshakeKind::Resumed)) != self.resumed {
                return Err(format!("{kind:?}, which is not what is measured").into());
            }
            time += took;
        }
        Ok(time / IN_A_ROW)
    }

    fn handshake(&self) -> Result<(Duration, Option<HandshakeKind>), Box<dyn Error>> {
        let name = ServerName::try_from("localhost")?;
        let mut client = ClientConnection::new(self.client.clone(), name)?;
        let begun = Instant::now();
        let mut server = ServerConnection::new(self.server.clone())?;
        let mut time = begun.elapsed();
        let mut wire = Vec::new();
        while server.is_handshaking() || client.is_handshaking() || server.wants_write() {
            write(&mut client, &mut wire)?;
            let begun = Instant::now();
            read(&mut server, &wire)?;
            wire.clear();
            write(&mut server, &mut wire)?;
            time += begun.elapsed();
            read(&mut client, &wire)?;
            wire.clear();
        }
        Ok((time, server.handshake_kind()))
    }
}

fn write<D: SideData>(
    from: &mut ConnectionCommon<D>,
    wire: &mut Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    while from.wants_write() {
        from.write_tls(wire)?;
    }
    Ok(())
}

fn read<D: SideData>(to: &mut ConnectionCommon<D>, mut wire: &[u8]) -> Result<(), Box<dyn Error>> {
    while !wire.is_empty() {
        to.read_tls(&mut wire)?;
        to.process_new_packets()?;
    }
    Ok(())
}

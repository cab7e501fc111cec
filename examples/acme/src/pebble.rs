//! An ACME directory on this machine: pebble, and a name server that leads it back to this machine.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

/// The two processes, which end with it.
pub(crate) struct Pebble {
    identity: CertifiedKey,
    port: u16,
    _processes: [Child; 2],
    _folder: TempDir,
}

impl Pebble {
    /// Starts it; challenges are to be answered on the port `tls` of this machine.
    pub(crate) async fn start(tls: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let identity = rcgen::generate_simple_self_signed(["localhost".into()])?;
        let [cert, key, config] = ["cert", "key", "config"].map(|name| folder.path().join(name));
        fs::write(&cert, identity.cert.pem())?;
        fs::write(&key, identity.key_pair.serialize_pem())?;
        let [port, dns, management] = free_ports()?;
        let settings = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{port}", "certificate": {cert:?},
                "privateKey": {key:?}, "httpPort": 0, "tlsPort": {tls}}}}}"#
        );
        fs::write(&config, settings)?;

        let dns = format!("127.0.0.1:{dns}");
        let names = Command::new("pebble-challtestsrv")
            .args([
                "-defaultIPv4",
                "127.0.0.1",
                "-defaultIPv6",
                "",
                "-dns01",
                &dns,
            ])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-management", &format!("127.0.0.1:{management}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("pebble-challtestsrv: install Debian's package `pebble`")?;
        let pebble = Command::new("pebble")
            .arg("-config")
            .arg(&config)
            .args(["-dnsserver", &dns])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("pebble: install Debian's package `pebble`")?;
        listens(port).await?;
        Ok(Self {
            identity,
            port,
            _processes: [pebble, names],
            _folder: folder,
        })
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// rustls' configuration for a client that trusts it.
    pub(crate) fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.identity.cert.der().clone())?;
        let config = ClientConfig::builder().with_root_certificates(roots);
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

fn free_ports() -> std::io::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

async fn listens(port: u16) -> anyhow::Result<()> {
    for _ in 0..100 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_ok()
        {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("pebble does not listen on port {port}")
}

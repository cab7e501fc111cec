//! nginx and Apache httpd, from their packages, before the router without TLS.
//!
//! They serve `/`, `/close`, `/ignore-body`, `/bytes/N` and `/unread/N` (for the sizes in
//! [`SIZES`]) by themselves, and pass on the rest. Each instance has a directory of its own.

use std::{
    error::Error,
    fs::{self, Permissions},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    signal::unix::Signal,
    time::sleep,
};

use crate::{Settings, Site, unbound};

/// What there is to know of such a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    name: &'static str,
    /// Where it may be; the package's directory is not on everyone's search path.
    executables: [&'static str; 3],
    package: &'static str,
    template: &'static str,
    arguments: &'static [&'static str],
    /// What it calls graceful; at SIGTERM it drops what is in flight.
    graceful: &'static str,
}

pub(crate) const NGINX: Proxy = Proxy {
    name: "nginx",
    executables: ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"],
    package: "nginx-light",
    template: include_str!("nginx.conf"),
    arguments: &["-e", "stderr", "-c"],
    graceful: "-QUIT",
};

pub(crate) const APACHE: Proxy = Proxy {
    name: "Apache httpd",
    executables: ["apache2", "/usr/sbin/apache2", "/usr/sbin/httpd"],
    package: "apache2",
    template: include_str!("apache.conf"),
    arguments: &["-DFOREGROUND", "-f"],
    graceful: "-WINCH",
};

/// Sizes of the static files, in bytes.
const SIZES: [usize; 4] = [1_000_000, 1 << 17, 1 << 20, 1 << 22];

pub(crate) async fn serve(
    proxy: &Proxy,
    site: Site,
    settings: &Settings,
) -> Result<(), Box<dyn Error>> {
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = free(settings.addr()).await?;
    let root = root(proxy, settings, addr, upstream.local_addr()?)?;
    tokio::spawn(async move { axum::serve(upstream, site.app).await });
    let mut child = start(proxy, root.path())?;
    let _guard = guard(&child, root.path())?;
    await_listening(addr, &mut child).await?;
    println!("listening on {addr}");
    let status = until_exit(&mut child, proxy.graceful, site.terminations).await?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{} ended with {status}", proxy.name).into()),
    }
}

/// The address, with a free port for port 0.
async fn free(addr: SocketAddr) -> Result<SocketAddr, String> {
    let bound = TcpListener::bind(addr).await;
    let free = bound.and_then(|listener| listener.local_addr());
    free.map_err(|error| unbound(addr, &error))
}

/// A directory with the configuration, the certificate and the static files.
fn root(
    proxy: &Proxy,
    settings: &Settings,
    addr: SocketAddr,
    upstream: SocketAddr,
) -> Result<TempDir, Box<dyn Error>> {
    let root = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755)) // the workers are nobody
        .tempdir()?;
    let (cert, key) = identity(settings, root.path())?;
    let values = [
        ("${KEEPALIVE_MIN_TIMEOUT}", keepalive_min_timeout(proxy)),
        (
            "${KEEPALIVE_REQUESTS}",
            settings.keepalive_requests.to_string(),
        ),
        ("${WORKERS}", workers()),
        ("${ROOT}", root.path().display().to_string()),
        ("${PORT}", addr.port().to_string()),
        ("${UPSTREAM}", upstream.to_string()),
        ("${CERT}", cert),
        ("${KEY}", key),
    ];
    let config = values
        .iter()
        .fold(proxy.template.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
    fs::write(root.path().join("server.conf"), config)?;
    static_files(&root.path().join("static"))?;
    Ok(root)
}

/// One for each processor that it may use, as the others have it.
fn workers() -> String {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .to_string()
}

/// From 1.27.4 on nginx can keep idle connections for some time when it quits, so that requests which cross
/// the end are answered.
fn keepalive_min_timeout(proxy: &Proxy) -> String {
    const SINCE: [u32; 3] = [1, 27, 4];
    let outputs = proxy.executables.iter();
    let output = outputs.filter_map(|of| std::process::Command::new(of).arg("-v").output().ok());
    let said = output.map(|of| String::from_utf8_lossy(&of.stderr).into_owned());
    let version = said.filter_map(|said| {
        let (_, version) = said.trim().rsplit_once('/')?;
        let parts = version.split('.').map_while(|part| part.parse().ok());
        Some(parts.collect::<Vec<u32>>())
    });
    match version
        .into_iter()
        .next()
        .is_some_and(|of| of.as_slice() >= SINCE.as_slice())
    {
        true => "keepalive_min_timeout 5s;".into(),
        false => String::new(),
    }
}

/// The paths of certificate and key, made here unless given.
pub(crate) fn identity(
    settings: &Settings,
    root: &Path,
) -> Result<(String, String), Box<dyn Error>> {
    let shown = |path: &Path| path.display().to_string();
    if let (Some(cert), Some(key)) = (&settings.cert, &settings.key) {
        return Ok((shown(&cert.canonicalize()?), shown(&key.canonicalize()?)));
    }
    let made = rcgen::generate_simple_self_signed(["localhost", "127.0.0.1"].map(String::from))?;
    let (cert, key) = (root.join("cert.pem"), root.join("key.pem"));
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    Ok((shown(&cert), shown(&key)))
}

fn static_files(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("bytes"))?;
    fs::write(folder.join("hello"), "hello\n")?;
    fs::write(folder.join("close"), "bye\n")?;
    fs::write(folder.join("ignore-body"), "ignored\n")?;
    for size in SIZES {
        fs::write(
            folder.join("bytes").join(size.to_string()),
            vec![b'x'; size],
        )?;
    }
    Ok(())
}

fn start(proxy: &Proxy, root: &Path) -> Result<Child, String> {
    for executable in proxy.executables {
        let child = Command::new(executable)
            .args(proxy.arguments)
            .arg(root.join("server.conf"))
            .current_dir(root)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn();
        match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return child.map_err(|error| format!("{executable}: {error}")),
        }
    }
    let Proxy { name, package, .. } = proxy;
    Err(format!(
        "{name} is not installed: `apt-get install {package}` does it"
    ))
}

/// Leaves nothing behind once this process is gone, even if that was by SIGKILL: the guard waits
/// for the end of its standard input, whose other end only this process has.
pub(crate) fn guard(child: &Child, root: &Path) -> io::Result<Child> {
    let group = child.id().unwrap_or_default();
    let root = root.display();
    let script = format!("read _; kill -s KILL -- -{group} 2>/dev/null; rm -rf '{root}'");
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
}

async fn await_listening(addr: SocketAddr, child: &mut Child) -> Result<(), Box<dyn Error>> {
    while TcpStream::connect(addr).await.is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended with {status} before it listened").into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Passes each SIGTERM on as the signal that this server calls graceful.
pub(crate) async fn until_exit(
    child: &mut Child,
    graceful: &str,
    mut terminations: Signal,
) -> io::Result<ExitStatus> {
    let pid = child.id().unwrap_or_default().to_string();
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = terminations.recv() => {
                Command::new("kill").args([graceful, &pid]).status().await?;
            }
        }
    }
}

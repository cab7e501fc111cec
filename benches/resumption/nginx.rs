//! nginx with one worker, which is reloaded: in its worker everything begins anew, but for a file of keys.

use std::{
    fs::{self, Permissions},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Server, rig::Error};

const EXECUTABLES: [&str; 3] = ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"];
const LIMIT: Duration = Duration::from_secs(10);

pub struct Nginx {
    _root: TempDir,
    master: Child,
    worker: u32,
    addr: SocketAddr,
}

impl Nginx {
    pub fn is_there() -> bool {
        executable().is_some()
    }

    pub fn start(keys: bool) -> Result<Self, Error> {
        let executable = executable().ok_or("nginx is not installed")?;
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let root = root(keys, addr)?;
        let mut master = Command::new(executable)
            .args(["-e", "stderr", "-c"])
            .arg(root.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()?;
        wait(|| match master.try_wait()? {
            Some(status) => Err(format!("nginx ended with {status}").into()),
            None => Ok(TcpStream::connect(addr).ok()),
        })?;
        let worker = worker(&master, None)?;
        Ok(Self {
            _root: root,
            master,
            worker,
            addr,
        })
    }

    fn signal(&self, name: &str) {
        processes::kill(name, self.master.id());
    }
}

fn executable() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("-v").output().is_ok();
    EXECUTABLES.into_iter().find(works)
}

/// A folder with the configuration, a certificate and a key for tickets.
fn root(keys: bool, addr: SocketAddr) -> Result<TempDir, Error> {
    let root = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755)) // the worker is nobody
        .tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".into()])?;
    let path = |name: &str| root.path().join(name);
    fs::write(path("cert.pem"), made.cert.pem())?;
    fs::write(path("key.pem"), made.signing_key.serialize_pem())?;
    fs::write(path("tickets"), random()?)?;
    fs::write(path("nginx.conf"), config(root.path(), keys, addr))?;
    Ok(root)
}

/// 80 bytes, as nginx wants them.
fn random() -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; 80];
    let random = tokio_rustls::rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| "no random numbers")?;
    Ok(bytes)
}

fn config(root: &Path, keys: bool, addr: SocketAddr) -> String {
    let root = root.display();
    let tickets = match keys {
        true => format!("ssl_session_ticket_key {root}/tickets;"),
        false => String::new(),
    };
    format!(
        "daemon off; pid {root}/pid; worker_processes 1; error_log stderr error;
         events {{ worker_connections 4096; }}
         http {{
             access_log off;
             server {{
                 listen {addr} ssl backlog=4096;
                 ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
                 ssl_protocols TLSv1.2 TLSv1.3;
                 {tickets}
                 location / {{ return 200 'hello\\n'; }}
             }}
         }}"
    )
}

/// The one worker there is, if it is not this one.
fn worker(master: &Child, before: Option<u32>) -> Result<u32, Error> {
    let pid = master.id();
    wait(|| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut workers = children.split_whitespace().map(str::parse);
        Ok(match (workers.next().transpose()?, workers.next()) {
            (Some(worker), None) if Some(worker) != before => Some(worker),
            _ => None,
        })
    })
}

fn wait<T>(mut until: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(found) = until()? {
            return Ok(found);
        }
        sleep(Duration::from_millis(10));
    }
    Err("nginx does not do what it is told".into())
}

impl Server for Nginx {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.signal("HUP");
        self.worker = worker(&self.master, Some(self.worker))?;
        Ok(())
    }

    fn pid(&self) -> u32 {
        self.worker
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal("TERM");
        let _ = self.master.wait();
    }
}

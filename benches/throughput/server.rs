//! One server on a thread of its own.

use std::{io, net::SocketAddr, sync::mpsc, time::Duration};

use tokio::{net::TcpListener, runtime::Runtime};

use crate::rig::{Certificate, Error, Kind, Serving};

/// It ends with its runtime.
pub struct Server {
    pub addr: SocketAddr,
    thread: String,
    _serving: Serving,
    _runtime: Runtime,
}

impl Server {
    pub fn start(kind: Kind, certificate: &Certificate) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || {
                let _ = sender.send(std::fs::read_link("/proc/thread-self"));
            })
            .enable_all()
            .build()?;
        let thread = receiver.recv()??.display().to_string();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let serving = {
            let _inside = runtime.enter();
            certificate.serve(kind, listener)?
        };
        Ok(Self {
            addr,
            thread,
            _serving: serving,
            _runtime: runtime,
        })
    }

    /// What the server's thread has used of a processor so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.thread))?;
        let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
        nanos
            .map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other("schedstat can't be read"))
    }
}

//! A server that replaces itself under systemd's protocols: sockets that are passed, readiness that is
//! told, and sockets that are not what they are said to be. And a pid file on a full disk.

use std::{
    fs,
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use processes::{
    SOON, example, kill,
    load::Load,
    restarting::{self, Site, installed, output},
};
use wire::{Client, Options};

#[test]
fn readiness_is_told_and_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let site = Site::start_with(&[], |command| command.env("NOTIFY_SOCKET", &path));
    let main = |pid: u32| format!("MAINPID={pid}");
    let first = site.pid();
    has(&told(&systemd), &[&main(first)]);
    has(&told(&systemd), &["READY=1", "STATUS=listening on "]);

    site.replace("exit 3");
    site.fails_to_restart("the new process exited");
    has(&told(&systemd), &["RELOADING=1", "MONOTONIC_USEC="]);
    let failed = "restart failed: the new process";
    has(&told(&systemd), &["READY=1", failed]);

    site.repair();
    let (_, second) = site.restart();
    has(&told(&systemd), &["RELOADING=1", "MONOTONIC_USEC="]);
    has(&told(&systemd), &["READY=1", "STATUS=listening on "]);
    // When it can no longer be undone: systemd ends all when the main process ends.
    has(&told(&systemd), &[&main(second)]);

    site.signal("TERM");
    has(&told(&systemd), &["STOPPING=1"]);
}

/// The main process stays the one that it was, so that systemd does not end it.
#[test]
fn systemd_does_not_notice_what_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let site = Site::start_with(&["--undo-within-ms=20000"], |command| {
        command.env("NOTIFY_SOCKET", &path)
    });
    let first = site.pid();
    has(&told(&systemd), &["MAINPID="]);
    has(&told(&systemd), &["READY=1"]);
    site.signal("USR2");
    has(&told(&systemd), &["RELOADING=1"]);
    has(&told(&systemd), &["READY=1"]);
    site.is_replaced(1);
    site.signal("KILL");
    has(&told(&systemd), &["READY=1", "the new process has died"]);
    assert_eq!(site.pid(), first);
    site.signal("TERM");
    has(&told(&systemd), &["STOPPING=1"]);
}

/// systemd passes a socket, and the process it passed it to is replaced under load.
#[test]
fn a_socket_of_systemd_survives_restarts() {
    let Some(activated) = Activated::start() else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: systemd-socket-activate is not installed"
        );
        return;
    };
    // It starts the server when the first client comes.
    let load = Load::start(activated.addr, &["--rate", "200", "--connections", "16"]);
    for ready in 1..=3 {
        let pid = activated.wait_for_ready(ready);
        sleep(Duration::from_millis(700));
        if ready < 3 {
            kill("USR2", pid);
        }
    }
    let totals = load.finish();
    let said = activated.said();
    assert!(totals.is_lossless(), "{}\n{said}", totals.story());
    let address = format!("listening on {} ", activated.addr);
    assert_eq!(said.matches(&address).count(), 3, "{said}");
}

#[test]
fn sockets_that_are_not_what_they_are_said_to_be() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = format!("LISTEN_FDS=1; exec 3<>/dev/tcp/127.0.0.1/{}", port(&busy));
    for (passed, why) in [
        (
            "LISTEN_FDS=1; exec 3</dev/null",
            "LISTEN_FDS=1: fd 3 is not a socket",
        ),
        (
            "LISTEN_FDS=1; exec 3>&-",
            "LISTEN_FDS=1: fd 3 is not a socket",
        ),
        ("LISTEN_FDS=x", "LISTEN_FDS=x: not a number of sockets"),
        ("LISTEN_FDS=-1", "LISTEN_FDS=-1: not a number of sockets"),
        (
            &connected,
            "LISTEN_FDS=1: descriptor 0 of them is a socket that does not listen",
        ),
    ] {
        let server = example("restart_testbed");
        let script = format!(
            "{passed}; export LISTEN_FDS LISTEN_PID=$$; exec {}",
            server.display()
        );
        let ended = Command::new("bash").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(said.lines().count(), 1, "{passed}: {said}");
        assert!(
            said.starts_with(&format!("error: {why}")),
            "{passed}: {said}"
        );
        assert_eq!(ended.status.code(), Some(2), "{passed}");
    }
}

/// Whoever inherits the variables by accident is not meant.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let site = Site::start_with(&[], |command| {
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1")
    });
    assert_eq!(get(site.addr), "hello\n");
}

#[test]
fn an_address_in_use() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("127.0.0.1:{}", port(&busy));
    let server = example("restart_testbed");
    let ended = Command::new(server)
        .args(["--listen", &listen])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.starts_with(&format!(
            "error: listener https, {listen}: Address already in use"
        )),
        "{said}"
    );
    assert_eq!(ended.status.code(), Some(2));
}

/// The new process can't put its number where the old one's is: it does not take over.
#[test]
fn a_pid_file_on_a_full_disk() {
    let Some(mut small) = SmallDisk::start() else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no disk can be mounted, not even by unshare"
        );
        return;
    };
    let said = small.said();
    let addr = restarting::words_after(&said, "listening on ")[0]
        .parse()
        .unwrap();
    let load = Load::start(addr, &["--rate", "200", "--connections", "16"]);
    small.fill();
    kill("USR2", small.server.id());
    let failed = wait(|| small.said().contains("restart failed"));
    let totals = load.finish();
    let said = small.said();
    assert!(failed && small.lives(), "{said}");
    assert!(said.contains("this process goes on serving: "), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(totals.is_lossless(), "{}\n{said}", totals.story());
}

/// A server whose pid file is on a small disk of its own, which nobody else sees.
struct SmallDisk {
    folder: tempfile::TempDir,
    disk: tempfile::TempDir,
    server: Child,
}

impl SmallDisk {
    fn start() -> Option<Self> {
        let (folder, disk) = (installed(), tempfile::tempdir().unwrap());
        let mount = format!("mount -t tmpfs -o size=8k small {}", disk.path().display());
        let server = Command::new("unshare")
            .args(["-rm", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")])
            .arg(folder.path().join("server"))
            .args(["--listen", "127.0.0.1:0", "--pid-file"])
            .arg(disk.path().join("pid"))
            .args(restarting::PATIENT)
            .stdout(output(folder.path()))
            .stderr(output(folder.path()))
            .spawn();
        let mut small = Self {
            folder,
            disk,
            server: server.ok()?,
        };
        wait(|| small.said().contains("listening on ") || !small.lives());
        small.lives().then_some(small)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    fn lives(&mut self) -> bool {
        self.server.try_wait().unwrap().is_none()
    }

    fn fill(&self) {
        let (pid, disk) = (self.server.id(), self.disk.path().display());
        let file = format!("/proc/{pid}/root{disk}/fill");
        assert!(fs::write(file, vec![0; 64 * 1024]).is_err());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A server behind systemd-socket-activate.
struct Activated {
    folder: tempfile::TempDir,
    addr: SocketAddr,
    child: Child,
}

impl Activated {
    fn start() -> Option<Self> {
        let folder = installed();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let child = Command::new("systemd-socket-activate")
            .args(["-l", &addr.to_string()])
            .arg(folder.path().join("server"))
            .args(restarting::PATIENT)
            .stdout(output(folder.path()))
            .stderr(output(folder.path()))
            .spawn();
        let child = child.ok()?;
        let activated = Self {
            folder,
            addr,
            child,
        };
        assert!(
            wait(|| activated.said().contains("Listening on")),
            "{}",
            activated.said()
        );
        Some(activated)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Waits for the nth process; gives its number.
    fn wait_for_ready(&self, nth: usize) -> u32 {
        let pids = || restarting::words_after(&self.said(), "(pid ");
        assert!(wait(|| pids().len() >= nth), "{}", self.said());
        pids()[nth - 1].trim_end_matches(')').parse().unwrap()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        for pid in restarting::words_after(&self.said(), "(pid ") {
            kill("KILL", pid.trim_end_matches(')').parse().unwrap());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn get(addr: SocketAddr) -> String {
    let mut client = Client::connect_with(addr, &Options::new().http1()).unwrap();
    client.get("/").unwrap().text()
}

/// The next that systemd is told.
fn told(systemd: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    match systemd.recv(&mut buffer) {
        Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => "nothing".into(),
        Err(error) => panic!("{error}"),
    }
}

fn has(told: &str, all: &[&str]) {
    for one in all {
        assert!(told.contains(one), "no {one:?} in {told:?}");
    }
}

/// Waits until something is so; whether it is.
fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        if is_so() {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    false
}

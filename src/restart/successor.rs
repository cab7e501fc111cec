//! The process that takes over.
//!
//! It is checked first and started then: what a check finds costs nothing.

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    future::pending,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    pin::pin,
    process::{self, ExitStatus, Stdio},
    time::Duration,
};

use command_fds::CommandFdExt;
use rustix::io::fcntl_dupfd_cloexec;
use socket2::SockRef;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, Command},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::control::{CONTROL, Hello, OLDER, Word};

/// Set for a process that is only to look whether it could serve.
pub(super) const CHECK: &str = "GRACEFUL_TLS_CHECK";

/// Between two lines in the log while a new process gets ready.
const PROGRESS: Duration = Duration::from_secs(5);

/// Words are short and few. Something else may be at the other end.
const MOST: u64 = 4096;

/// Why a new process has not taken over, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{program} can't be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program}, asked to check its settings: {complaint}")]
    Check { program: String, complaint: String },
    #[error(
        "{program}, asked to check its settings, was not done within {patience:?}, and was killed"
    )]
    SlowCheck { program: String, patience: Duration },
    #[error(
        "the new process exited or was killed before it was ready ({0}): see what it said last"
    )]
    Exited(ExitStatus),
    #[error("the new process was not ready within {0:?}, and was killed")]
    Slow(Duration),
    #[error(
        "the new process said {0:?} instead of being ready, and was killed: is it another program?"
    )]
    Lied(String),
    #[error("nothing can be passed on to a new process: {0}: are there too many open files?")]
    PassOn(#[source] io::Error),
    #[error("it was told to stop first")]
    Stopped,
}

/// This program, as it was started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    words: Vec<OsString>,
    /// How long it may take to check its settings, and how long to be ready then.
    pub(super) patience: Duration,
}

impl Program {
    pub(super) fn of_this_process(patience: Duration) -> Self {
        let words = env::args_os().collect();
        Self { words, patience }
    }

    fn command(&self) -> process::Command {
        let mut words = self.words.iter();
        let mut command = process::Command::new(words.next().cloned().unwrap_or_default());
        command
            .args(words)
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove(CHECK);
        command
    }

    fn shown(&self) -> String {
        let name = self.words.first().map(|name| name.to_string_lossy());
        name.unwrap_or_default().into_owned()
    }

    fn start_error(&self, source: io::Error) -> Failed {
        let program = self.shown();
        Failed::Start { program, source }
    }

    /// Lets the program look at its settings, without serving.
    pub(super) async fn check(&self) -> Result<(), Failed> {
        let (program, patience) = (self.shown(), self.patience);
        let mut command = self.command();
        command
            .env(CHECK, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut checking = Command::from(command);
        let mut checking = checking
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| self.start_error(source))?;
        let mut said = Tail::default();
        let stderr = checking.stderr.take();
        let ended = timeout(patience, said.of(stderr, checking.wait())).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failed::Check {
                program,
                complaint: complaint(&said.text(), status),
            }),
            Ok(Err(source)) => Err(Failed::Start { program, source }),
            Err(_) => Err(Failed::SlowCheck { program, patience }),
        }
    }

    /// Starts it with these sockets, and waits until it is ready.
    pub(super) async fn start(&self, legacy: Legacy) -> Result<Successor, Failed> {
        let (ours, theirs) = StdUnixStream::pair().map_err(Failed::PassOn)?;
        let hello = legacy.hello.lines();
        let (names, descriptors) = legacy.with(theirs.into());
        let descriptors = contiguous(descriptors).map_err(Failed::PassOn)?;

        let mut command = self.command();
        let first = descriptors.first().map_or(3, AsRawFd::as_raw_fd);
        command
            .env("LISTEN_FDS", descriptors.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .preserved_fds(descriptors);
        let child = Command::from(command).spawn();
        let child = child.map_err(|source| self.start_error(source))?;
        let mut successor = Successor::new(child, ours).map_err(Failed::PassOn)?;
        successor.get_ready(&hello, self.patience).await?;
        Ok(successor)
    }
}

/// What a process leaves to the one that takes over.
#[derive(Debug)]
pub(super) struct Legacy {
    pub(super) hello: Hello,
    /// As the hello says.
    pub(super) sockets: Vec<OwnedFd>,
    /// The ways to the processes before this one, the oldest first.
    pub(super) older: Vec<OwnedFd>,
}

impl Legacy {
    fn with(self, control: OwnedFd) -> (Vec<String>, Vec<OwnedFd>) {
        let mut names: Vec<_> = self
            .hello
            .sockets
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.extend(self.older.iter().map(|_| OLDER.to_owned()));
        names.push(CONTROL.into());
        let sockets = self.sockets.into_iter().chain(self.older);
        (names, sockets.chain([control]).collect())
    }
}

/// The same descriptors, with numbers one after the other, as the protocol has it.
///
/// They are open here already when the new process begins: had they to be moved there, one could come to stand
/// where the standard library says why a program could not be run.
fn contiguous(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let mut first = 3;
    'from_there: loop {
        let mut copies = Vec::with_capacity(descriptors.len());
        for (number, descriptor) in (first..).zip(&descriptors) {
            let copy = fcntl_dupfd_cloexec(descriptor.as_fd(), number)?;
            if copy.as_raw_fd() != number {
                first = copy.as_raw_fd();
                continue 'from_there;
            }
            copies.push(copy);
        }
        return Ok(copies);
    }
}

/// The last that a process says, whatever else it has said.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    const LENGTH: usize = 8 * 1024;

    /// Reads until the process has ended, and then what there is: something that it leaves behind may hold the pipe
    /// open.
    async fn of<T>(&mut self, stderr: Option<ChildStderr>, ended: impl Future<Output = T>) -> T {
        let mut ended = pin!(ended);
        let Some(mut stderr) = stderr else {
            return ended.await;
        };
        let mut some = [0; 4096];
        let mut is_open = true;
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                read = stderr.read(&mut some), if is_open => match read {
                    Ok(length @ 1..) => self.add(&some[..length]),
                    _ => is_open = false,
                },
            }
        };
        // It does not block, and asks nobody whether it may.
        while let Ok(length @ 1..) = rustix::io::read(&stderr, &mut some) {
            self.add(&some[..length]);
            if length < some.len() {
                break;
            }
        }
        ended
    }

    fn add(&mut self, some: &[u8]) {
        self.0.extend(some);
        self.0.drain(..self.0.len().saturating_sub(Self::LENGTH));
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.0.make_contiguous()).into_owned()
    }
}

/// What a check has said about its failure: what the program's `main` has returned, or its panic, or else the last
/// line; and how it has ended, if that says more.
fn complaint(said: &str, status: ExitStatus) -> String {
    let lines: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note: run with"))
        .collect();
    let is_error = |line: &&str| {
        line.to_ascii_lowercase().starts_with("error") || line.contains("panicked at")
    };
    let begins = lines.iter().rposition(is_error);
    let said = lines[begins.unwrap_or(lines.len().saturating_sub(1))..].join(" ");
    match (said.trim_start_matches("error: "), status.code()) {
        ("", _) => status.to_string(),
        (said, Some(_)) => said.to_owned(),
        (said, None) => format!("{status}, after it had said: {said}"),
    }
}

/// A new process, from its start on, and whoever comes after it.
#[derive(Debug)]
pub(super) struct Successor {
    /// What was started, until it has ended.
    child: Option<Child>,
    words: Lines<BufReader<Take<OwnedReadHalf>>>,
    hello: OwnedWriteHalf,
    /// Everybody who could say something has gone.
    is_silent: bool,
    ends: End,
    /// Of the sockets that were passed to it, those that it listens on.
    pub(super) taken: Vec<usize>,
    /// What the process that serves has said that it is.
    pid: u32,
}

/// What the end of a process shows by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The process that was started is the one that serves.
    OfChild,
    /// It is not: a script has started it, say, and has ended. It has the socket open as long as it runs.
    OfSocket,
    /// It has ended, or that is of no concern any more.
    Known,
}

/// What becomes known of a new process that serves.
#[derive(Debug)]
pub(super) enum News {
    /// How, for people to read.
    Ended(String),
    Said(Word),
    /// Neither it nor any that it has started is there any more.
    Gone,
}

/// What has come of waiting for a new process.
enum Heard {
    Line(String),
    Ended(ExitStatus),
    Nothing,
}

impl Successor {
    fn new(child: Child, control: StdUnixStream) -> io::Result<Self> {
        control.set_nonblocking(true)?;
        let (words, hello) = UnixStream::from_std(control)?.into_split();
        Ok(Self {
            child: Some(child),
            words: BufReader::new(words.take(MOST)).lines(),
            hello,
            is_silent: false,
            ends: End::OfChild,
            taken: Vec::new(),
            pid: 0,
        })
    }

    /// The number of the process that serves, as long as that is known to run.
    pub(super) fn id(&self) -> Option<u32> {
        (self.ends != End::Known).then_some(self.pid)
    }

    /// How the process itself ends is of no concern any more, only what those say that it has started.
    pub(super) fn forget_the_first(&mut self) {
        self.ends = End::Known;
    }

    /// From now on another is meant, which has taken what it could.
    pub(super) fn becomes(&mut self, pid: u32) {
        self.pid = pid;
        self.ends = End::OfSocket;
    }

    async fn get_ready(&mut self, hello: &str, patience: Duration) -> Result<(), Failed> {
        let failed = match self.hear(hello, patience).await {
            Heard::Line(line) => match line.parse() {
                Ok(Word::Ready { pid, taken }) => {
                    let child = self.child.as_ref().and_then(Child::id);
                    self.ends = match child == Some(pid) {
                        true => End::OfChild,
                        false => End::OfSocket,
                    };
                    (self.pid, self.taken) = (pid, taken);
                    self.answer(&Word::Serve);
                    return Ok(());
                }
                _ => Failed::Lied(line),
            },
            Heard::Ended(status) => Failed::Exited(status),
            Heard::Nothing => Failed::Slow(patience),
        };
        if let Some(child) = &mut self.child {
            // It may have gone already, and may have left another behind that comes later.
            let _ = child.kill().await;
        }
        self.answer(&Word::TooLate);
        Err(failed)
    }

    async fn hear(&mut self, hello: &str, patience: Duration) -> Heard {
        let Some(child) = &mut self.child else {
            return Heard::Nothing;
        };
        let says = async {
            // Whether it was read shows in what comes back.
            let _ = self.hello.write_all(hello.as_bytes()).await;
            match self.words.next_line().await {
                Ok(Some(line)) => line,
                // It has closed the socket, and will say nothing more.
                _ => pending().await,
            }
        };
        let heard = tokio::select! {
            biased;
            said = timeout(patience, says) => said.map_or(Heard::Nothing, Heard::Line),
            // What it has started may hold the other end.
            Ok(status) = child.wait() => Heard::Ended(status),
            never = progress(patience) => never,
        };
        // Where this process was stopped for a while, the time is over before the socket was looked at.
        if matches!(heard, Heard::Nothing) && self.has_said_something() {
            let line = self.words.next_line().await;
            return line.ok().flatten().map_or(Heard::Nothing, Heard::Line);
        }
        heard
    }

    /// As the system knows, whatever the runtime does.
    fn has_said_something(&mut self) -> bool {
        let stream: &UnixStream = self.words.get_ref().get_ref().get_ref().as_ref();
        let mut some = [MaybeUninit::uninit(); 1];
        SockRef::from(stream)
            .peek(&mut some)
            .is_ok_and(|length| length > 0)
    }

    /// It is short, and nothing else is on its way: there is room for it.
    pub(super) fn answer(&self, word: &Word) {
        let _ = self.hello.try_write(format!("{word}\n").as_bytes());
    }

    /// The next that becomes known of it. Cancel safe.
    pub(super) async fn news(&mut self) -> News {
        loop {
            if self.is_silent && self.child.is_none() {
                return News::Gone;
            }
            let has_child = self.child.is_some();
            let child = async {
                match &mut self.child {
                    Some(child) => child.wait().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                // What it has said before it ended counts.
                line = self.words.next_line(), if !self.is_silent => match line {
                    Ok(Some(line)) => if let Ok(word) = line.parse() {
                        return News::Said(word);
                    },
                    _ => {
                        self.is_silent = true;
                        if self.ends == End::OfSocket {
                            self.ends = End::Known;
                            return News::Ended("it has closed its socket".into());
                        }
                    }
                },
                ended = child, if has_child => {
                    self.child = None;
                    if self.ends == End::OfChild {
                        self.ends = End::Known;
                        let status = ended.map_or_else(|error| error.to_string(), |of| of.to_string());
                        return News::Ended(status);
                    }
                }
            }
        }
    }
}

/// Says that a new process is waited for.
async fn progress<T>(patience: Duration) -> T {
    let begun = Instant::now();
    let mut ticks = interval_at(begun + PROGRESS, PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tracing::info!(
            "the new process has not been ready for {:.0} s, it has {:.0} s",
            begun.elapsed().as_secs_f64(),
            patience.as_secs_f64()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::process::ExitStatusExt};

    use super::*;

    #[test]
    fn descriptors_stand_one_after_the_other() {
        let open = || OwnedFd::from(File::open("/dev/null").unwrap());
        let mut some: Vec<_> = (0..40).map(|_| open()).collect();
        let mut number = 0;
        // Gaps of one, in which not all of them have room.
        some.retain(|_| {
            number += 1;
            number % 3 != 0
        });
        let numbers = contiguous(some.split_off(20)).unwrap();
        let numbers: Vec<_> = numbers.iter().map(AsRawFd::as_raw_fd).collect();
        assert!(
            numbers.windows(2).all(|two| two[0] + 1 == two[1]),
            "{numbers:?}"
        );
    }

    #[test]
    fn the_reason_of_a_check() {
        for (stderr, expected) in [
            ("error: --cert: no such file\n", "--cert: no such file"),
            (
                "INFO x\nError: cert.pem\n\nCaused by:\n    no file\n",
                "Error: cert.pem Caused by: no file",
            ),
            ("one\ntwo\n", "two"),
            ("", "exit status: 3"),
            (
                "thread 'main' panicked at src/main.rs:3:5:\nno\nnote: run with `RUST_BACKTRACE=1`\n",
                "thread 'main' panicked at src/main.rs:3:5: no",
            ),
        ] {
            assert_eq!(complaint(stderr, ExitStatus::from_raw(3 << 8)), expected);
        }
    }
}

//! Just enough HTTP/1 to know what a server said, and whether it said all of it.
//!
//! A body is whole if its own framing says so: all of Content-Length, the last chunk, or, for a body
//! which lasts until the end, an end which cannot be mistaken for a truncation.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::connection::{Connection, Pumped};
use super::layer::Layer;
use super::story::excerpt;

/// What is longer is no line of a head.
const LONGEST_LINE: usize = 64 * 1024;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is no body, as with 204, 304, and answers to HEAD.
    None,
    Length(usize),
    Chunked,
    UntilEnd,
}

/// An HTTP/1 response.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1`, as the server wrote it.
    pub version: String,
    pub status: u16,
    /// The statuses of the 1xx responses which came first.
    pub interim: Vec<u16>,
    pub headers: Vec<(String, String)>,
    pub framing: Framing,
    /// The body without its framing, as far as it came.
    pub body: Vec<u8>,
    /// Whether the body is whole by its own framing.
    pub complete: bool,
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Whether `Connection: close` was announced.
    pub fn says_close(&self) -> bool {
        let mut named = self
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
        named.any(|(_, value)| {
            value
                .split(',')
                .any(|v| v.trim().eq_ignore_ascii_case("close"))
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

struct Head {
    version: String,
    status: u16,
    headers: Vec<(String, String)>,
}

impl<L: Layer> Connection<L> {
    /// Sends a GET and reads the response.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))?;
        self.read_response()
    }

    /// Reads one response, to a request other than HEAD and CONNECT.
    ///
    /// An error means that not even the head came; a body cut short is not an error.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.read_response_to("GET", self.timeout)
    }

    /// Reads one response to a request with this method.
    pub fn read_response_to(&mut self, method: &str, timeout: Duration) -> io::Result<Response> {
        let deadline = Instant::now() + timeout;
        let mut interim = Vec::new();
        let head = loop {
            let head = self.read_head(deadline)?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                break head;
            }
            interim.push(head.status);
        };
        let framing = framing(&head, method).ok_or_else(|| {
            self.failure(ErrorKind::InvalidData, "cannot tell where the body ends")
        })?;
        let mut response = Response {
            version: head.version,
            status: head.status,
            interim,
            headers: head.headers,
            framing,
            body: Vec::new(),
            complete: false,
            trailers: Vec::new(),
        };
        response.complete = self.read_body(&mut response, deadline).is_some();
        self.story.note(format!(
            "# response {}, {framing:?}, complete: {}",
            response.status, response.complete
        ));
        Ok(response)
    }

    fn read_head(&mut self, deadline: Instant) -> io::Result<Head> {
        let mut lines = Vec::new();
        loop {
            match self.read_line(deadline) {
                Some(line) if line.is_empty() => break,
                Some(line) => lines.push(line),
                None => return Err(self.headless()),
            }
        }
        parse_head(&lines)
            .ok_or_else(|| self.failure(ErrorKind::InvalidData, "not an HTTP/1 response"))
    }

    fn headless(&self) -> io::Error {
        let (kind, rest) = match self.ending().is_still_open() && !self.heard.is_over() {
            true => (ErrorKind::TimedOut, "in time"),
            false => (ErrorKind::UnexpectedEof, "before the end"),
        };
        let unread = excerpt(self.heard.unread());
        self.failure(kind, &format!("no response head {rest}, unread {unread}"))
    }

    /// `None` if the body is not whole; what there is of it is in the response.
    fn read_body(&mut self, response: &mut Response, deadline: Instant) -> Option<()> {
        match response.framing {
            Framing::None => Some(()),
            Framing::Length(n) => self.read_part(n, response, deadline),
            Framing::Chunked => self.read_chunks(response, deadline),
            Framing::UntilEnd => self.read_rest(response, deadline),
        }
    }

    fn read_part(&mut self, n: usize, response: &mut Response, deadline: Instant) -> Option<()> {
        let whole = self.need(deadline, |unread| unread.len() >= n);
        response.body.extend(self.heard.take(n));
        whole.then_some(())
    }

    fn read_chunks(&mut self, response: &mut Response, deadline: Instant) -> Option<()> {
        loop {
            let line = self.read_line(deadline)?;
            let size = line.split(';').next()?.trim();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                break;
            }
            self.read_part(size, response, deadline)?;
            self.read_line(deadline)?.is_empty().then_some(())?;
        }
        loop {
            let line = self.read_line(deadline)?;
            if line.is_empty() {
                return Some(());
            }
            response.trailers.push(parse_field(&line)?);
        }
    }

    fn read_rest(&mut self, response: &mut Response, deadline: Instant) -> Option<()> {
        self.need(deadline, |_| false);
        response.body.extend(self.heard.take(usize::MAX));
        let ending = self.ending();
        match L::ENDS_WITH_CLOSE_NOTIFY {
            true => ending.close_notify.map(|_| ()),
            false => ending.is_fin().then_some(()),
        }
    }

    /// One line without its end, or `None` (and nothing taken) if it never came entirely.
    fn read_line(&mut self, deadline: Instant) -> Option<String> {
        let end = |unread: &[u8]| unread.windows(2).position(|pair| pair == b"\r\n");
        self.need(deadline, |unread| {
            end(unread).is_some() || unread.len() > LONGEST_LINE
        });
        let length = end(self.heard.unread())?;
        let line = self.heard.take(length + 2);
        Some(String::from_utf8_lossy(&line[..length]).into_owned())
    }

    /// Reads until the unread plaintext satisfies `enough`, or no more can come.
    fn need(&mut self, deadline: Instant, enough: impl Fn(&[u8]) -> bool) -> bool {
        loop {
            if enough(self.heard.unread()) {
                return true;
            }
            if self.heard.is_over() || Instant::now() >= deadline {
                return false;
            }
            if self.pump(deadline) == Pumped::Ended {
                return false;
            }
        }
    }
}

fn parse_head(lines: &[String]) -> Option<Head> {
    let (first, fields) = lines.split_first()?;
    let mut words = first.split(' ');
    let version = words.next()?.to_string();
    let status = words.next()?.parse().ok()?;
    let headers = fields
        .iter()
        .map(|line| parse_field(line))
        .collect::<Option<_>>()?;
    version.starts_with("HTTP/1.").then_some(Head {
        version,
        status,
        headers,
    })
}

fn parse_field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.into(), value.trim().into()))
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.as_str())
}

fn framing(head: &Head, method: &str) -> Option<Framing> {
    let bodiless = matches!(head.status, 101 | 204 | 304) || method == "HEAD";
    if bodiless || method == "CONNECT" && head.status / 100 == 2 {
        return Some(Framing::None);
    }
    if let Some(coding) = find(&head.headers, "transfer-encoding") {
        let chunked = coding.to_ascii_lowercase().ends_with("chunked");
        return Some(if chunked {
            Framing::Chunked
        } else {
            Framing::UntilEnd
        });
    }
    match find(&head.headers, "content-length") {
        Some(length) => Some(Framing::Length(length.parse().ok()?)),
        None => Some(Framing::UntilEnd),
    }
}

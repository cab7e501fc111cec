//! Whole conversations, against a model that knows what was meant.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    None,
    Length,
    Chunked,
    /// Of answers only.
    Close,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Ordinary,
    /// `Connection: close`.
    Last,
    /// HTTP/1.0, with keep-alive or without.
    Old {
        keep_alive: bool,
    },
    /// 204.
    Empty,
    /// 2xx to CONNECT, 101 otherwise.
    Tunnel {
        websocket: bool,
    },
}

/// A request and its answer, as they are meant.
#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    upload: Framing,
    upload_chunks: Vec<usize>,
    interim: u8,
    framing: Framing,
    chunks: Vec<usize>,
    ending: Ending,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let framing = select(vec![
        Framing::None,
        Framing::Length,
        Framing::Length,
        Framing::Chunked,
    ]);
    let answer = prop_oneof![8 => framing.clone().boxed(), 1 => Just(Framing::Close).boxed()];
    let ending = prop_oneof![
        12 => Just(Ending::Ordinary),
        1 => Just(Ending::Last),
        1 => any::<bool>().prop_map(|keep_alive| Ending::Old { keep_alive }),
        1 => Just(Ending::Empty),
        1 => any::<bool>().prop_map(|websocket| Ending::Tunnel { websocket }),
    ];
    let chunks = || vec(0_usize..50, 0..4);
    let method = select(vec!["GET", "POST", "HEAD", "CONNECT"]);
    (method, framing, chunks(), 0_u8..3, answer, chunks(), ending).prop_map(
        |(method, upload, upload_chunks, interim, framing, chunks, ending)| {
            // What hyper would not write either.
            let framing = match (framing, ending) {
                (Framing::Chunked, Ending::Old { .. }) => Framing::Close,
                (framing, _) => framing,
            };
            Exchange {
                method,
                upload,
                upload_chunks,
                interim,
                framing,
                chunks,
                ending,
            }
        },
    )
}

/// The pieces of a body, and how much of each is payload.
fn body(framing: Framing, chunks: &[usize]) -> Vec<(String, u64)> {
    let pieces = chunks.iter().filter(|len| **len > 0).map(|len| {
        let data = "\r\n0".repeat(*len)[..*len].to_owned();
        let text = match framing {
            Framing::Chunked => format!("{len:X};a=\"b\"\r\n{data}\r\n"),
            _ => data,
        };
        (text, *len as u64)
    });
    let end = (framing == Framing::Chunked).then(|| ("0\r\nx-sum: 1\r\n\r\n".to_owned(), 0));
    if framing == Framing::None {
        return Vec::new();
    }
    pieces.chain(end).collect()
}

fn framing_line(framing: Framing, chunks: &[usize]) -> String {
    match framing {
        Framing::None => "content-length: 0\r\n".to_owned(),
        Framing::Length => format!("Content-Length: {}\r\n", chunks.iter().sum::<usize>()),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::Close => String::new(),
    }
}

/// What remains to be said, and what is true of what has been.
struct Model {
    requests: VecDeque<Exchange>,
    /// Pieces of the request or the answer under way.
    uploading: VecDeque<(String, u64)>,
    downloading: VecDeque<(String, u64)>,
    unanswered: VecDeque<Exchange>,
    head: Option<String>,
    interim: u8,
    over: bool,
    seen: Seen,
}

impl Model {
    fn new(exchanges: Vec<Exchange>) -> Self {
        Self {
            requests: exchanges.into(),
            uploading: VecDeque::new(),
            downloading: VecDeque::new(),
            unanswered: VecDeque::new(),
            head: None,
            interim: 0,
            over: false,
            seen: Seen {
                followed: true,
                ..Seen::default()
            },
        }
    }

    fn settle(mut self) -> Self {
        self.seen.upload = !self.uploading.is_empty();
        let count = u32::try_from(self.unanswered.len()).unwrap();
        self.seen.in_flight = if self.over { 0 } else { count };
        self.seen.owes_complete = self.seen.in_flight > u32::from(self.seen.upload);
        self
    }

    /// The client says something more.
    fn ask(mut self) -> (Self, Option<Step>) {
        if self.seen.tunnel.is_some() {
            self.seen.body += 4;
            return (self, Some(received("\r\n\r\n")));
        }
        if let Some((piece, payload)) = self.uploading.pop_front() {
            self.seen.body += payload;
            return (self.settle(), Some(received(piece)));
        }
        if let Some(rest) = self.head.take() {
            let exchange = self.requests.pop_front().unwrap();
            self.seen.begun += 1;
            self.seen.head_begun = false;
            self.uploading = body(exchange.upload, &exchange.upload_chunks).into();
            self.unanswered.push_back(exchange);
            return (self.settle(), Some(received(rest)));
        }
        let Some(exchange) = self.requests.front() else {
            return (self, None);
        };
        let framing = framing_line(exchange.upload, &exchange.upload_chunks);
        let method = exchange.method;
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\n{framing}cookie: b\r\n\r\n");
        let (now, later) = head.split_at(9 + exchange.interim as usize * 11);
        self.head = Some(later.to_owned());
        self.seen.head_begun = true;
        let now = received(format!("\r\n{now}"));
        (self.settle(), Some(now))
    }

    /// The server says something more.
    fn answer(mut self) -> (Self, Option<Step>) {
        if self.seen.close_delimited {
            self.seen.close_delimited = false;
            self.seen.answering = false;
            self.over = true;
            return (self.settle(), Some(Step::Finish));
        }
        if let Some((piece, _)) = self.downloading.pop_front() {
            if self.downloading.is_empty() {
                self.complete();
            }
            return (self.settle(), Some(sent(piece)));
        }
        let Some(exchange) = self.unanswered.front().filter(|_| !self.over).cloned() else {
            return (self, None);
        };
        if self.interim < exchange.interim {
            self.interim += 1;
            return (
                self,
                Some(sent("HTTP/1.1 103 x\r\ncontent-length: 9\r\n\r\n")),
            );
        }
        self.interim = 0;
        let head = self.answer_head(&exchange);
        (self.settle(), Some(sent(head)))
    }

    fn complete(&mut self) {
        self.seen.answering = false;
        self.unanswered.pop_front();
        self.over = self.seen.last;
    }

    fn open(&mut self, websocket: bool) {
        self.seen.tunnel = Some(if websocket {
            Tunnel::Framed
        } else {
            Tunnel::Raw
        });
        self.seen.close_delimited = !websocket;
        self.seen.last = true;
        self.over = true;
        self.uploading.clear();
        // What has been said of a next head was said into the tunnel.
        if let Some(rest) = self.head.take() {
            let framing = &self.requests[0];
            let all = framing.method.len()
                + framing_line(framing.upload, &framing.upload_chunks).len()
                + " / HTTP/1.1\r\nhost: a\r\ncookie: b\r\n\r\n".len();
            self.seen.body += (2 + all - rest.len()) as u64;
            self.seen.head_begun = false;
        }
    }

    fn answer_head(&mut self, exchange: &Exchange) -> String {
        let framing = framing_line(exchange.framing, &exchange.chunks);
        let is_connect = exchange.method == "CONNECT";
        let (first, fields) = match exchange.ending {
            Ending::Tunnel { .. } if is_connect => {
                self.open(false);
                return "HTTP/1.1 200 OK\r\ndate: x\r\n\r\n".to_owned();
            }
            Ending::Tunnel { websocket } => {
                self.open(websocket);
                let to = if websocket { "WebSocket" } else { "h2c" };
                return format!("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n");
            }
            Ending::Empty => ("HTTP/1.1 204 x", String::new()),
            Ending::Last => (
                "HTTP/1.1 400 x",
                format!("connection: x, Close\r\n{framing}"),
            ),
            Ending::Old { keep_alive: true } => (
                "HTTP/1.0 404 x",
                format!("{framing}Connection: keep-alive\r\n"),
            ),
            Ending::Old { keep_alive: false } => ("HTTP/1.0 404 x", framing),
            Ending::Ordinary => ("HTTP/1.1 404 x", framing),
        };
        let has_body = exchange.method != "HEAD"
            && exchange.ending != Ending::Empty
            && !(is_connect && first.contains(" 2"));
        // A 204 to CONNECT would open a tunnel.
        if is_connect && exchange.ending == Ending::Empty {
            self.open(false);
            return format!("{first}\r\n\r\n");
        }
        let is_close = has_body && exchange.framing == Framing::Close;
        self.seen.last = is_close
            || matches!(
                exchange.ending,
                Ending::Last | Ending::Old { keep_alive: false }
            );
        self.seen.close_delimited = is_close;
        self.seen.answering = true;
        if has_body && !is_close {
            self.downloading = body(exchange.framing, &exchange.chunks).into();
        }
        if self.downloading.is_empty() && !is_close {
            self.complete();
        }
        format!("{first}\r\n{fields}date: x\r\n\r\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn it_knows_what_was_meant(
        exchanges in vec(exchange(), 1..8),
        turns in vec(any::<bool>(), 0..120),
        lengths in vec(1_usize..70, 1..6),
    ) {
        let mut http1 = Http1::new(true);
        let mut model = Model::new(exchanges);
        for is_client in turns {
            let (next, step) = if is_client { model.ask() } else { model.answer() };
            model = next;
            if let Some(step) = step {
                take(&mut http1, &step, &lengths);
                prop_assert_eq!(seen(&http1), model.seen, "after {:?}", step);
            }
        }
    }
}

//! What to do about a fault: in any server, and with graceful-tls.
//!
//! It depends on what was seen alone, so that what an older run found has its advice too. Nothing here
//! prints: the table and the page each show all of it once, with the faults that it is for.

use crate::rows::{alike, rows};
use crate::run::{Ending, Group, Run, Verdict};

/// What helps against one kind of fault.
#[derive(Debug, Eq, PartialEq)]
pub struct Advice {
    pub title: &'static str,
    /// For whatever server it is.
    pub any: &'static str,
    /// For one with graceful-tls. What is to be typed is in backquotes, here too.
    pub ours: &'static str,
}

static BOUND_HANDSHAKE: Advice = Advice {
    title: "Bound the handshake",
    any: "Give each connection ten seconds or so from accept to the end of the handshake, then close \
          its socket. A limit that HTTP has does not run yet.",
    ours: "It does so: `handshake_timeout`, 10 s.",
};
static BOUND_REQUESTS: Advice = Advice {
    title: "Bound the wait for requests",
    any: "Limit how long the next request, its head, and the preface of HTTP/2 may take. Many servers \
          limit HTTP/1 alone: look for the setting of HTTP/2. If yours waits longer on purpose, give \
          the probe more `--patience`.",
    ours: "It does so, over HTTP/2 too: `header_timeout`, 30 s, and `keep_alive_timeout`, 120 s.",
};
static BOUND_WRITES: Advice = Advice {
    title: "Bound the wait for clients that do not read",
    any: "Limit how long a write may make no progress, and reset the connection then: nobody reads what \
          is left of the answer.",
    ours: "It does so: `write_timeout`, 30 s, and `min_rate` for those that read a byte now and then.",
};
static LET_GO: Advice = Advice {
    title: "Let go of what is over",
    any: "Once either side has ended the connection, wait for the rest a few seconds, then close the \
          socket whatever the client does.",
    ours: "It does so: `drain` bounds the wait for the client's end, in time and in bytes.",
};
static BOUND_SHUTDOWN: Advice = Advice {
    title: "Give the shutdown a deadline",
    any: "End idle connections and handshakes at once, let answers finish until a deadline, and close \
          what is left then. Whatever kills the process has to wait for longer than that.",
    ours: "It does so: `shutdown_timeout`, 30 s. If that is longer than the probe waits, give it more \
           `--grace`.",
};
static SHUT_DOWN_GENTLY: Advice = Advice {
    title: "Answer before you go",
    any: "At the signal go on accepting for a moment, answer what has arrived, say `Connection: close` \
          or GOAWAY, and exit only when the last answer is out. Check that it is the signal your \
          server calls graceful: `--signal`.",
    ours: "Give the signal to `shutdown_on`, and do not let `main` return before `closed` or `serve` \
           does. `lame_duck` and `shutdown_timeout` say how long it takes.",
};
static ANSWER_HALF_CLOSED: Advice = Advice {
    title: "Answer clients that have half-closed",
    any: "In TLS 1.3 close_notify ends one direction alone. Take it as the end of the requests, answer \
          what has arrived, then end your own direction.",
    ours: "It does so: a request that arrived before the client's close_notify is answered.",
};
static LINGER: Advice = Advice {
    title: "Read on before you close",
    any: "A socket that is closed with unread data in it sends a RST, which destroys the answer. Send \
          close_notify, shut down writing, and read and discard for a few seconds before you close \
          (nginx: `lingering_close`).",
    ours: "It does so: `drain` says for how long, and how much.",
};
static NOTIFY: Advice = Advice {
    title: "Send close_notify",
    any: "Shut TLS down before TCP: `SSL_shutdown` in OpenSSL, `poll_shutdown` in tokio-rustls, on every \
          path and not only where all went well. And give answers a length or chunks, so that they do \
          not depend on it.",
    ours: "It does so on every path: close_notify, flushed, and then the FIN.",
};
static FINISH: Advice = Advice {
    title: "Finish the answer first",
    any: "End a connection only when the answer is out to its last byte, and answer each request that \
          was taken. Look for a time-out that counts while an answer is under way, and into the log \
          of handlers that failed.",
    ours: "It does so: time-outs do not count while an answer moves. What is left is a handler that \
           failed: `RUST_LOG=graceful_tls=debug` names what ended a connection.",
};
static BE_THERE: Advice = Advice {
    title: "Take the connection",
    any: "The server answered before, and did not now: look for limits of connections or descriptors, \
          a listener that was closed too early, and a firewall that takes the probe for an attack.",
    ours: "Raise `max_connections` or `max_connections_per_client`, if the report counts refused ones.",
};
static WITHHOLD_NOTIFY: Advice = Advice {
    title: "Say when an answer broke off",
    any: "Where only the end of the connection ends an answer, a failed one has to end without \
          close_notify. A proxy has to pass on that the answer it got broke off. Better, send a length \
          or chunks.",
    ours: "It does so: close_notify is withheld from an answer that broke off.",
};
static WITHHOLD_FRAMING: Advice = Advice {
    title: "Do not finish what failed",
    any: "A body that fails must not end as a whole one does: no last chunk, no END_STREAM, no bytes \
          to fill up its length. End the connection, or reset the stream.",
    ours: "It does so, if the body says that it failed: its stream has to yield an error, and not end.",
};

/// What to do about it; `None` where there is no fault.
pub fn advice(ending: &Ending) -> Option<&'static Advice> {
    Some(match ending.verdict {
        Verdict::Skipped | Verdict::Proper | Verdict::Allowed => return None,
        Verdict::Lost => lost(ending),
        Verdict::Untrue if ending.scenario.starts_with("close-delimited") => &WITHHOLD_NOTIFY,
        Verdict::Untrue => &WITHHOLD_FRAMING,
        Verdict::Hang => hang(ending),
    })
}

fn lost(ending: &Ending) -> &'static Advice {
    match ending.scenario.as_str() {
        // It did not get as far as a rule.
        _ if ending.rule.is_empty() => &BE_THERE,
        _ if ending.group == Group::Shutdown => &SHUT_DOWN_GENTLY,
        _ if ending.rst_ms.is_some() => &LINGER,
        _ if ending.rule == "RFC 9112 9.8" => &NOTIFY,
        name if name.contains("half-close") => &ANSWER_HALF_CLOSED,
        _ => &FINISH,
    }
}

fn hang(ending: &Ending) -> &'static Advice {
    match ending.scenario.as_str() {
        _ if ending.group == Group::Shutdown => &BOUND_SHUTDOWN,
        _ if ending.tls.is_none() || ending.http.is_none() => &BOUND_HANDSHAKE,
        "stuck-reader" | "slow-reader" => &BOUND_WRITES,
        "silent-client" | "half-head" | "keep-alive-idle" => &BOUND_REQUESTS,
        "h2-silent-client" | "h2-half-preface" | "h2-bad-preface" | "h2-keep-alive-idle" => {
            &BOUND_REQUESTS
        }
        _ => &LET_GO,
    }
}

/// A fault, and the servers that have it.
#[derive(Debug)]
pub struct Fault<'a> {
    /// One, or one for each version of TLS.
    pub endings: Vec<&'a Ending>,
    pub servers: Vec<&'a str>,
}

/// An advice, and the faults that it is for.
#[derive(Debug)]
pub struct Todo<'a> {
    pub verdict: Verdict,
    pub advice: &'static Advice,
    pub faults: Vec<Fault<'a>>,
}

/// All that there is to do, each once.
pub fn todos(runs: &[Run]) -> Vec<Todo<'_>> {
    let mut todos: Vec<Todo<'_>> = Vec::new();
    for row in Group::ALL.iter().flat_map(|group| rows(runs, *group)) {
        for (run, cell) in runs.iter().zip(&row.cells) {
            for endings in alike(cell) {
                if let Some(advice) = advice(endings[0]) {
                    todo(&mut todos, endings[0].verdict, advice).add(endings, &run.server.name);
                }
            }
        }
    }
    todos.sort_by_key(|todo| todo.verdict);
    todos
}

/// The one with this advice, which may be new.
fn todo<'a, 'b>(
    todos: &'b mut Vec<Todo<'a>>,
    verdict: Verdict,
    advice: &'static Advice,
) -> &'b mut Todo<'a> {
    let place = todos.iter().position(|todo| todo.advice == advice);
    let place = place.unwrap_or(todos.len());
    if place == todos.len() {
        todos.push(Todo {
            verdict,
            advice,
            faults: Vec::new(),
        });
    }
    &mut todos[place]
}

impl<'a> Todo<'a> {
    /// A fault that another server has too is one fault.
    fn add(&mut self, endings: Vec<&'a Ending>, server: &'a str) {
        let what = |endings: &[&Ending]| -> Vec<_> {
            let each = endings.iter();
            each.map(|e| (e.scenario.clone(), e.http.clone(), e.tls.clone()))
                .collect()
        };
        let same = |fault: &&mut Fault<'_>| what(&fault.endings) == what(&endings);
        match self.faults.iter_mut().find(same) {
            Some(fault) => fault.servers.push(server),
            None => self.faults.push(Fault {
                endings,
                servers: vec![server],
            }),
        }
    }
}

#[cfg(test)]
mod tests;

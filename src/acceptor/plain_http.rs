//! The answer to plain HTTP on the TLS port.
//!
//! Someone has typed `http://` or a health check is set up wrong. Garbage in return helps nobody:
//! they get 400 with a sentence that says why, or a redirect to https. The head is read first,
//! because the redirect needs its path, and because an answer to a half-sent request may be lost.

use std::{future::poll_fn, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{close, end};
use crate::{
    ending::Cause, handshakes::Running, phase::Phase, register::Registration, settings::PlainHttp,
    transport::Transport,
};

/// How much of a request is looked at.
const MAX_HEAD: usize = 16 * 1024;

/// How long the client may take to send its head, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers, and ends the socket, on a task of its own.
///
/// It keeps its place among the handshakes meanwhile, and gives way like them: a flood of heads that
/// never end is no better.
pub(super) fn answer<IO>(
    transport: Transport<IO>,
    head: Vec<u8>,
    registration: Registration,
    mut running: Running,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = registration.connection().context().clone();
    let runtime = context.runtime();
    let policy = context.settings.plain_http;
    let mut transport = transport;
    let task = async move {
        let exchange = timeout(PATIENCE, exchange(&mut transport, head, policy));
        let answered = tokio::select! {
            biased;
            exchange = exchange => matches!(exchange, Ok(Ok(()))),
            () = poll_fn(|cx| running.poll_evicted(cx)) => {
                return close(transport, &registration, Cause::HandshakeEvicted);
            }
            () = context.phases.reached(Phase::Deadline) => false,
        };
        if !answered {
            tracing::debug!("the answer to plain HTTP could not be written");
        }
        drop(running);
        let answers = transport.written();
        end(transport, registration, answers);
    };
    if let Some(runtime) = runtime {
        runtime.spawn(task);
    }
}

async fn exchange<IO>(
    transport: &mut Transport<IO>,
    mut head: Vec<u8>,
    policy: PlainHttp,
) -> std::io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    while !is_whole(&head) && head.len() < MAX_HEAD {
        if transport.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    transport
        .write_all(respond(&head, policy).as_bytes())
        .await?;
    transport.flush().await
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

fn respond(head: &[u8], policy: PlainHttp) -> String {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    // An error leaves in place what was understood before it.
    let _ = request.parse(head);
    let location = match policy {
        PlainHttp::Redirect => location(&request),
        PlainHttp::BadRequest => None,
    };
    let (status, extra) = match location {
        Some(location) => (
            "308 Permanent Redirect",
            format!("location: {location}\r\n"),
        ),
        None => ("400 Bad Request", String::new()),
    };
    let text = "This port speaks HTTPS. Use https:// instead of http://.\n";
    let body = match request.method {
        Some("HEAD") => "",
        _ => text,
    };
    format!(
        "HTTP/1.1 {status}\r\n{extra}content-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        text.len(),
    )
}

/// The same host, port and path over https, if the request names a host that can be one.
///
/// A target in absolute form names the host itself, and `Host` does not count (RFC 9112 3.2.2).
fn location(request: &httparse::Request<'_, '_>) -> Option<String> {
    let target: http::Uri = request.path?.parse().ok()?;
    let authority = match target.authority() {
        Some(authority) => authority.clone(),
        None => host(request)?.parse().ok()?,
    };
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let path = match path.starts_with('/') {
        true => path,
        false => "/",
    };
    Some(format!("https://{authority}{path}"))
}

fn host<'a>(request: &'a httparse::Request<'_, '_>) -> Option<&'a str> {
    let host = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("host"))?;
    std::str::from_utf8(host.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_line_and_location(head: &str, policy: PlainHttp) -> (String, Option<String>) {
        let answer = respond(head.as_bytes(), policy);
        let line = answer.lines().next().unwrap().to_owned();
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .map(str::to_owned);
        (line, location)
    }

    #[test]
    fn redirects_where_there_is_a_host() {
        let head = "GET /a?b=c HTTP/1.1\r\nHost: example.org:8443\r\n\r\n";
        assert_eq!(
            first_line_and_location(head, PlainHttp::Redirect),
            (
                "HTTP/1.1 308 Permanent Redirect".into(),
                Some("https://example.org:8443/a?b=c".into())
            )
        );
    }

    #[test]
    fn redirects_to_what_an_absolute_target_names() {
        for (target, expected) in [
            ("http://example.org/a?b=c", "https://example.org/a?b=c"),
            ("http://example.org:8443", "https://example.org:8443/"),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n");
            let answer = first_line_and_location(&head, PlainHttp::Redirect);
            assert_eq!(answer.1.as_deref(), Some(expected), "{target}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "HELO\r\n",
            "",
        ] {
            let answer = first_line_and_location(head, PlainHttp::Redirect);
            assert_eq!(
                answer,
                ("HTTP/1.1 400 Bad Request".into(), None),
                "{head:?}"
            );
        }
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = first_line_and_location(head, PlainHttp::BadRequest);
        assert_eq!(answer.0, "HTTP/1.1 400 Bad Request");
    }

    #[test]
    fn a_head_request_gets_no_body() {
        let answer = respond(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", PlainHttp::BadRequest);
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

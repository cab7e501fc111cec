//! What the attackers have to know of HTTP/2: how a connection and a request begin, and what any
//! client answers.

use wire::{Frame, PREFACE, flag, header_block, kind};

/// The preface, with these settings.
pub fn begin(settings: &[(u16, u32)]) -> Vec<u8> {
    [PREFACE, &Frame::settings(settings).encode()].concat()
}

/// The header block of a request.
pub fn fields(method: &str, path: &str) -> Vec<u8> {
    header_block(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ])
}

/// A request; that of a GET is all of it.
pub fn request(stream: u32, method: &str, path: &str) -> Vec<u8> {
    Frame::headers(stream, fields(method, path), method == "GET").encode()
}

/// Takes the frames that have come, and gives the acknowledgements they ask for.
pub fn answers(inbox: &mut Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((frame, length)) = Frame::parse(inbox) {
        inbox.drain(..length);
        match frame.kind {
            kind::SETTINGS if !frame.has(flag::ACK) => out.extend(Frame::settings_ack().encode()),
            kind::PING if !frame.has(flag::ACK) => {
                out.extend(Frame::ping_ack(frame.payload).encode());
            }
            _ => {}
        }
    }
    out
}

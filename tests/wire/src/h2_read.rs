//! The reading side of the HTTP/2 client: waiting for frames, and what they do to the state.

use std::io;
use std::time::{Duration, Instant};

use super::connection::Pumped;
use super::ending::Ending;
use super::frame::{Frame, flag, kind, setting};
use super::h2::H2;
use super::h2_stream::H2Stream;
use super::layer::Layer;

/// Waiting.
impl<L: Layer> H2<L> {
    /// Reads from the socket once, and takes and answers the frames which are whole.
    pub fn pump(&mut self, deadline: Instant) -> Pumped {
        let pumped = self.conn.pump(deadline);
        while let Some((frame, length)) = Frame::parse(self.conn.heard.unread()) {
            self.conn.heard.take(length);
            self.receive(frame);
        }
        pumped
    }

    /// Reads until `done`, which is asked before every read; `false` if that never came to be.
    ///
    /// It looks at the socket at least once, even if there is no time to wait.
    pub fn pump_until(&mut self, timeout: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if done(self) {
                return true;
            }
            if self.pump(deadline) == Pumped::Ended || Instant::now() >= deadline {
                return done(self);
            }
        }
    }

    /// The first frame, of those received and those to come, which satisfies `wanted`.
    pub fn wait_frame(
        &mut self,
        wanted: impl Fn(&Frame) -> bool,
        timeout: Duration,
    ) -> Option<Frame> {
        self.wait_frame_after(0, wanted, timeout)
    }

    /// Like `wait_frame`, without the first `skip` frames received: see `frame_count`.
    pub fn wait_frame_after(
        &mut self,
        skip: usize,
        wanted: impl Fn(&Frame) -> bool,
        timeout: Duration,
    ) -> Option<Frame> {
        let find = |h2: &Self| {
            let mut found = h2
                .frames
                .iter()
                .skip(skip)
                .filter(|(_, frame)| wanted(frame));
            found.next().map(|(_, frame)| frame.clone())
        };
        self.pump_until(timeout, |h2| find(h2).is_some());
        find(self)
    }

    /// Reads until a stream has ended, or nothing more can come; the stream as it is then.
    pub fn wait_stream(&mut self, stream: u32, timeout: Duration) -> H2Stream {
        self.pump_until(timeout, |h2| {
            h2.streams.get(&stream).is_some_and(H2Stream::is_over) || h2.conn.heard.is_over()
        });
        self.stream(stream)
    }

    /// Reads until a stream has its final status; the stream as it is then.
    pub fn wait_status(&mut self, stream: u32, timeout: Duration) -> H2Stream {
        self.pump_until(timeout, |h2| {
            let state = h2.streams.get(&stream);
            state.is_some_and(|s| s.status.is_some() || s.is_over()) || h2.conn.heard.is_over()
        });
        self.stream(stream)
    }

    /// Waits for a GOAWAY: the first one's last stream and code.
    pub fn wait_goaway(&mut self, timeout: Duration) -> Option<(u32, u32)> {
        let frame = self.wait_frame(|frame| frame.is(kind::GOAWAY), timeout)?;
        frame.goaway_fields()
    }

    /// Sends a PING and waits for its answer: the time it took.
    pub fn ping(&mut self, payload: [u8; 8], timeout: Duration) -> io::Result<Option<Duration>> {
        let (start, seen) = (Instant::now(), self.frames.len());
        self.send_frame(&Frame::ping(payload))?;
        let answer = |frame: &Frame| frame == &Frame::ping_ack(payload);
        let answered = self.wait_frame_after(seen, answer, timeout);
        Ok(answered.map(|_| start.elapsed()))
    }

    /// Reads until TCP ends, past close_notify, and reports.
    pub fn read_until_end(&mut self, timeout: Duration) -> Ending {
        self.pump_until(timeout, |_| false);
        self.conn.ending()
    }

    /// `read_until_end` with the connection's own timeout.
    pub fn finish(&mut self) -> Ending {
        self.read_until_end(self.conn.timeout)
    }

    /// The newest GOAWAY received until now: its last stream and code.
    pub fn goaway_received(&self) -> Option<(u32, u32)> {
        self.goaways().pop()
    }

    /// Last stream and code of every GOAWAY received until now.
    pub fn goaways(&self) -> Vec<(u32, u32)> {
        self.frames
            .iter()
            .filter_map(|(_, frame)| frame.goaway_fields())
            .collect()
    }

    /// Every frame received until now, with times.
    pub fn frames(&self) -> &[(Duration, Frame)] {
        &self.frames
    }

    /// How many frames were received until now, for `wait_frame_after`.
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// What was received on a stream until now.
    pub fn stream(&self, stream: u32) -> H2Stream {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }
}

/// What received frames do.
impl<L: Layer> H2<L> {
    fn receive(&mut self, frame: Frame) {
        let at = match frame.kind {
            kind::DATA => self.conn.story.tally("< DATA", frame.payload.len()),
            kind::WINDOW_UPDATE => self.conn.story.tally("< WINDOW_UPDATE", 4),
            _ => self.conn.story.note(format!("< {frame:?}")),
        };
        match frame.kind {
            kind::DATA => self.receive_data(&frame),
            kind::HEADERS | kind::CONTINUATION => self.receive_headers(&frame, at),
            kind::SETTINGS if !frame.is_ack() => self.receive_settings(&frame),
            kind::PING if !frame.is_ack() && self.options.auto_ping_ack => {
                self.answer(&[Frame::ping_ack(frame.payload.clone())]);
            }
            kind::WINDOW_UPDATE => {
                let increment = i64::from(frame.increment().unwrap_or(0));
                *self.windows.entry(frame.stream).or_default() += increment;
            }
            kind::RST_STREAM => {
                let code = frame.error_code().unwrap_or(u32::MAX);
                self.state(frame.stream).reset = Some((code, at));
            }
            _ => {}
        }
        if frame.is(kind::DATA) && frame.ends_stream() {
            self.state(frame.stream).end_stream = Some(at);
        }
        self.frames.push((at, frame));
    }

    fn receive_data(&mut self, frame: &Frame) {
        self.state(frame.stream).add_data(frame);
        let size = u32::try_from(frame.payload.len()).unwrap_or(0);
        if !self.options.auto_window_update || size == 0 {
            return;
        }
        let mut updates = vec![Frame::window_update(0, size)];
        if !frame.ends_stream() {
            updates.push(Frame::window_update(frame.stream, size));
        }
        self.answer(&updates);
    }

    /// Collects a header block until END_HEADERS, then decodes it.
    fn receive_headers(&mut self, frame: &Frame, at: Duration) {
        let (first, mut block) = match self.block.take() {
            Some(begun) if frame.is(kind::CONTINUATION) => begun,
            _ => (frame.clone(), Vec::new()),
        };
        block.extend_from_slice(frame.content());
        if !frame.has(flag::END_HEADERS) {
            self.block = Some((first, block));
            return;
        }
        let fields = self.decoder.decode(&block);
        self.conn.story.note(format!("# fields: {fields:?}"));
        let state = self.state(first.stream);
        state.add_fields(fields.unwrap_or_default());
        if first.ends_stream() {
            state.end_stream = Some(at);
        }
    }

    fn receive_settings(&mut self, frame: &Frame) {
        for (id, value) in frame.settings_values() {
            if id == setting::INITIAL_WINDOW_SIZE {
                self.initial_window = i64::from(value);
            }
        }
        if self.options.auto_settings_ack {
            self.answer(&[Frame::settings_ack()]);
        }
    }

    /// A failure to answer is in the story, and the next read shows what it was about.
    fn answer(&mut self, frames: &[Frame]) {
        let _ = self.send_frames(frames);
    }

    fn state(&mut self, stream: u32) -> &mut H2Stream {
        self.streams.entry(stream).or_default()
    }
}

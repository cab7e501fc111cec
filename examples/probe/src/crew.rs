//! Runs jobs side by side, and shows how far they are.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::run::Ending;

/// What has to be done for one scenario.
pub struct Job<'a> {
    pub name: String,
    /// At most, with a server that does not hang.
    pub takes: Duration,
    pub work: Box<dyn FnOnce() -> Vec<Ending> + Send + 'a>,
}

enum News {
    Begun(usize),
    Done(usize, Vec<Ending>),
}

/// Between the starts of two threads, so that the server is not met by all of them at once.
const STAGGER: Duration = Duration::from_millis(20);

/// How long all jobs will take at most, so many at once.
pub fn takes(jobs: &[Job<'_>], at_once: usize) -> Duration {
    let longest = jobs.iter().map(|job| job.takes).max();
    let all: Duration = jobs.iter().map(|job| job.takes).sum();
    // Each worker has its share of the work, and the last one begins when the others are done.
    match jobs.len() <= at_once {
        true => longest.unwrap_or_default(),
        false => {
            all / at_once as u32
                + longest.unwrap_or_default() * (at_once as u32 - 1) / at_once as u32
        }
    }
}

/// Does all jobs, so many at once; what they found is in their order.
pub fn run(jobs: Vec<Job<'_>>, at_once: usize) -> Vec<Ending> {
    let names: Vec<_> = jobs.iter().map(|job| job.name.clone()).collect();
    let workers = at_once.min(jobs.len());
    let queue: Mutex<VecDeque<_>> = Mutex::new(jobs.into_iter().enumerate().collect());
    scope(|scope| {
        let (news, inbox) = channel();
        for worker in 0..workers {
            let (queue, news) = (&queue, news.clone());
            scope.spawn(move || {
                sleep(STAGGER * worker as u32);
                work(queue, &news);
            });
        }
        drop(news);
        let mut board = Board::new(names);
        loop {
            match inbox.recv_timeout(Duration::from_millis(500)) {
                Ok(News::Begun(job)) => board.running.push(job),
                Ok(News::Done(job, endings)) => board.is_done(job, endings),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            board.show();
        }
        board.finish()
    })
}

fn work<'a>(queue: &Mutex<VecDeque<(usize, Job<'a>)>>, news: &Sender<News>) {
    let next = || queue.lock().ok()?.pop_front();
    while let Some((number, job)) = next() {
        let _ = news.send(News::Begun(number));
        let _ = news.send(News::Done(number, (job.work)()));
    }
}

/// What is done and what is not, on standard error if that is a terminal.
struct Board {
    names: Vec<String>,
    running: Vec<usize>,
    done: Vec<Option<Vec<Ending>>>,
    begun: Instant,
    shown: Option<Instant>,
}

impl Board {
    fn new(names: Vec<String>) -> Self {
        Self {
            done: names.iter().map(|_| None).collect(),
            names,
            running: Vec::new(),
            begun: Instant::now(),
            shown: None,
        }
    }

    fn is_done(&mut self, job: usize, endings: Vec<Ending>) {
        self.running.retain(|running| *running != job);
        self.done[job] = Some(endings);
    }

    fn show(&mut self) {
        const OFTEN: Duration = Duration::from_millis(100);
        let recently = self.shown.is_some_and(|at| at.elapsed() < OFTEN);
        if recently || !stderr().is_terminal() {
            return;
        }
        self.shown = Some(Instant::now());
        let done = self.done.iter().flatten().count();
        let mut waiting: Vec<_> = self
            .running
            .iter()
            .map(|n| self.names[*n].as_str())
            .collect();
        waiting.dedup();
        let waiting: String = waiting.join(", ").chars().take(48).collect();
        let (all, seconds) = (self.names.len(), self.begun.elapsed().as_secs());
        let _ = write!(
            stderr(),
            "\r\x1b[K{done} of {all} done, {seconds} s; waiting for {waiting} "
        );
        let _ = stderr().flush();
    }

    fn finish(self) -> Vec<Ending> {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
        self.done.into_iter().flatten().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_takes() {
        for (seconds, at_once, all) in [
            (&[][..], 4, 0),
            (&[80, 4, 4], 4, 80),
            (&[80, 80, 80, 80], 4, 80),
            (&[80, 80, 80, 80], 2, 200),
            (&[20, 20, 20], 1, 60),
        ] {
            let jobs = seconds.iter().map(|seconds| Job {
                name: String::new(),
                takes: Duration::from_secs(*seconds),
                work: Box::new(Vec::new),
            });
            let took = takes(&jobs.collect::<Vec<_>>(), at_once);
            assert_eq!(took.as_secs(), all, "{seconds:?}, {at_once} at once");
        }
    }
}

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
    pub takes: Takes,
    pub work: Box<dyn FnOnce() -> Vec<Ending> + Send + 'a>,
}

enum News {
    Begun(usize),
    Done(usize, Vec<Ending>),
}

/// Between the starts of two threads, so that the server is not met by all of them at once.
const STAGGER: Duration = Duration::from_millis(20);

/// How long something takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Takes {
    /// At most, if the server hangs nowhere but where the client waits for its time-outs.
    pub usual: Duration,
    /// At most.
    pub most: Duration,
}

impl std::ops::Add for Takes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            usual: self.usual + other.usual,
            most: self.most + other.most,
        }
    }
}

/// How long all jobs take, so many at once.
pub fn takes(jobs: &[Job<'_>], at_once: usize) -> Takes {
    let each = |of: fn(&Takes) -> Duration| {
        let all: Vec<_> = jobs.iter().map(|job| of(&job.takes)).collect();
        side_by_side(&all, at_once)
    };
    Takes {
        usual: each(|takes| takes.usual),
        most: each(|takes| takes.most),
    }
}

/// The last to begin does so when all others are shared out, at the latest.
fn side_by_side(each: &[Duration], at_once: usize) -> Duration {
    let longest = each.iter().max().copied().unwrap_or_default();
    let workers = at_once.clamp(1, each.len().max(1)) as u32;
    if each.len() <= at_once {
        return longest;
    }
    let all: Duration = each.iter().sum();
    (all + longest * (workers - 1)) / workers
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
            let each: Vec<_> = seconds.iter().copied().map(Duration::from_secs).collect();
            let took = side_by_side(&each, at_once);
            assert_eq!(took.as_secs(), all, "{seconds:?}, {at_once} at once");
        }
    }
}

//! [`Filter`]: the waker of a connection, without the wakes that change nothing.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use super::turn;

/// Wakes a connection's task, but for what a stream asks for that is being run in that task, see the
/// [module](super).
#[derive(Debug)]
pub(crate) struct Filter {
    task: Waker,
}

impl Filter {
    pub(crate) fn new(task: &Waker) -> Arc<Self> {
        Arc::new(Self { task: task.clone() })
    }

    /// Whether it is a filter of the wakes of `task`.
    pub(crate) fn is_of(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Which one it is.
    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

impl Wake for Filter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !turn::absorbs(self.address()) {
            self.task.wake_by_ref();
        }
    }
}

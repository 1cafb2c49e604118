//! What stands in for `src/store/sync.rs` here: the same names, of parts that loom watches. What tokio waits with is made
//! anew, since loom sees only what is made of its own parts.

pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
pub use loom::sync::{Mutex, MutexGuard, RwLock};
// Who counts the last reference is not in question.
pub use std::sync::Arc;

/// So few that every key of items, paths and callers shares both of one: the more they meet, the fewer runs it takes.
pub const STRIPES: usize = 2;

/// So few that the second one moves the first.
pub const MAX_PREFIXES: usize = 1;

/// What is there when nothing ever happened.
pub trait Zeroable: Default {}

impl Zeroable for AtomicU32 {}
impl Zeroable for AtomicU64 {}

/// One for each of so many slots.
pub fn zeroed_slice_box<T: Zeroable>(length: usize) -> Box<[T]> {
    (0..length).map(|_| T::default()).collect()
}

/// A value that changes, and those who wait for it: as much of `tokio::sync::watch` as flights use.
pub mod watch {
    use super::Arc;
    use loom::sync::{Condvar, Mutex};

    struct Shared<T> {
        value: Mutex<T>,
        changed: Condvar,
    }

    pub struct Sender<T>(Arc<Shared<T>>);

    pub struct Receiver<T>(Arc<Shared<T>>);

    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared { value: Mutex::new(value), changed: Condvar::new() });
        (Sender(shared.clone()), Receiver(shared))
    }

    impl<T> Sender<T> {
        pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
            let modified = modify(&mut self.0.value.lock().expect("nobody panics under it"));
            if modified {
                self.0.changed.notify_all();
            }
            modified
        }

        pub fn receiver_count(&self) -> usize {
            // All but this one.
            Arc::strong_count(&self.0) - 1
        }
    }

    impl<T> Receiver<T> {
        pub fn same_channel(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    impl<L: Copy> Receiver<Option<L>> {
        /// Waits for a word.
        pub fn told(&self) -> L {
            let mut value = self.0.value.lock().expect("nobody panics under it");
            loop {
                if let Some(told) = *value {
                    return told;
                }
                value = self.0.changed.wait(value).expect("nobody panics under it");
            }
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Receiver(self.0.clone())
        }
    }
}

/// As much of `tokio::sync::Notify` as turns use.
#[derive(Default)]
pub struct Notify(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// How often all were woken.
    calls: u64,
    wakers: Vec<std::task::Waker>,
}

impl Notify {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("nobody panics under it")
    }

    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, calls: self.waiting().calls }
    }

    pub fn notify_waiters(&self) {
        let wakers = {
            let mut waiting = self.waiting();
            waiting.calls += 1;
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Ends with the first call since it was made.
pub struct Notified<'n> {
    notify: &'n Notify,
    calls: u64,
}

impl Notified<'_> {
    /// "guaranteed to receive wakeups from `notify_waiters()` as soon as it has been created" (tokio): nothing to do.
    pub fn enable(self: std::pin::Pin<&mut Self>) -> bool {
        false
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let mut waiting = self.notify.waiting();
        if waiting.calls > self.calls {
            return std::task::Poll::Ready(());
        }
        waiting.wakers.push(cx.waker().clone());
        std::task::Poll::Pending
    }
}

//! What fences, flights and turns are made of, so far as threads meet in it: the one place that names it. `tests/loom`
//! compiles these very files over another one, whose parts try every order in which threads can meet.

pub use bytemuck::{Zeroable, zeroed_slice_box};
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
pub use std::sync::{Arc, Mutex, MutexGuard, RwLock};
pub use tokio::sync::{Notify, watch};

/// Fence slots shared by items, paths and callers: each of these stands in one of either half.
pub const STRIPES: usize = 1 << 20;

/// Prefixes that are fenced at a time; when one more comes, the oldest becomes everything.
pub const MAX_PREFIXES: usize = 32;

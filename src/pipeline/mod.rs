//! The two lines: retrieve and mutate.

pub mod exchange;

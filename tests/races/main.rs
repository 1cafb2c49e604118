//! Races: each test is named for the promise that it tries to break, and holds the origin's answers back until the
//! moment that would break it.
//!
//! Everything runs on one thread, in the order that the test gives. Nothing sleeps: where a deadline is the subject, the
//! timers' clock and the pipeline's are moved together by hand.

mod callers;
mod codings;
mod collapse;
mod house;
mod limits;
mod mutations;
mod purges;
mod refresh;
mod slow;
mod tokens;
mod updates;

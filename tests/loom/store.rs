//! The house's fences and flights, over loom's parts.

#![expect(dead_code, reason = "the house uses more of it than the models do")]
#![expect(unused_imports, reason = "the files' own tests run in the house")]

#[path = "../../src/store/fences.rs"]
pub mod fences;
#[path = "../../src/store/flight.rs"]
pub mod flight;
#[path = "sync.rs"]
pub mod sync;

//! What the races are made of: a history and its judge, an origin whose steps can be held, the races, the products.

pub mod history;
pub mod lab;
pub mod product;
#[expect(dead_code, reason = "the races need one listener, and nobody's process id")]
pub mod program;
pub mod races;

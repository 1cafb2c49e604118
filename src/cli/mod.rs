
pub mod check;

pub mod admin_client;
pub mod purge;
pub mod stats;

//! The house's decisions, with samples of what they decide about, which the house's own tests have as well.

pub use freshgate::semantics::*;

/// As much of `src/semantics/sample.rs` as is used here.
pub mod sample {
    use crate::clock::Timestamp;
    use crate::semantics::request::{Request, Scheme, Version};
    use freshgate::config::{self, Overrides};
    use freshgate::policy::Route;
    use std::net::{IpAddr, Ipv4Addr};

    pub fn at(seconds: u64) -> Timestamp {
        Timestamp { wall_ms: 0, boot_ms: seconds * 1000 }
    }

    /// The route of what no route names.
    pub fn plain() -> Route {
        let toml = "origin.url = \"http://origin.test\"";
        let loaded = config::parse(toml, "loom.toml", &Overrides::default(), &|_| None).expect("it is well-formed");
        loaded.policy.routes.implicit().clone()
    }

    pub fn request(method: &str, path: &str, lines: &[(&'static str, &'static str)]) -> Request {
        Request {
            method: method.into(),
            scheme: Scheme::Http,
            authority: "shop.test".into(),
            path: path.into(),
            query: None,
            fields: lines.iter().copied().collect(),
            version: Version::Http11,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            has_body: false,
        }
    }
}

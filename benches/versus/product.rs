//! The products of the races: each program with its configurations.

use super::program::{Frame, Program, Running};
use std::env;
use std::net::SocketAddr;

/// A product in one configuration, a row of the table each.
pub struct Product {
    pub program: Program,
    /// Beside this file.
    pub file: &'static str,
    /// What the configuration is, for the table.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub says: &'static str,
}

pub const FRESHGATE: Product = Product {
    program: Program::Freshgate,
    file: "freshgate/usual.toml",
    name: "usual",
    says: "Two routes with `fresh`, one of them with `stale_while_revalidate`; everything else by default.",
};

pub const PRODUCTS: [Product; 11] = [
    Product {
        program: Program::Nginx,
        file: "nginx/usual.conf",
        name: "usual",
        says: "`proxy_cache`, for as long as the origin says; everything else by default.",
    },
    Product {
        program: Program::Nginx,
        file: "nginx/tuned.conf",
        name: "one second",
        says: "Stored for one second, then revalidated in the background; `proxy_cache_lock`; Authorization in the key.",
    },
    Product {
        program: Program::Nginx,
        file: "nginx/best.conf",
        name: "best",
        says: "The open build has no purge, so never stale is never from the store: the origin is asked each time, and \
               what is stored is for when it is down.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/usual.vcl",
        name: "usual",
        says: "The built-in VCL: for as long as the origin says, with ten seconds of grace.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/ban.vcl",
        name: "ban",
        says: "Authorization in the hash; each unsafe method that succeeds bans its URL; grace as by default.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/no-grace.vcl",
        name: "ban, no grace",
        says: "The same, banned before and after the origin is asked, and no grace.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/best.vcl",
        name: "best",
        says: "The same, and a barrier written in VCL with vmod_var: for a minute after a write its URL is passed and not \
               stored.",
    },
    Product {
        program: Program::Haproxy,
        file: "haproxy/usual.cfg",
        name: "usual",
        says: "`cache-use` and `cache-store`, for as long as the origin says.",
    },
    Product {
        program: Program::Haproxy,
        file: "haproxy/best.cfg",
        name: "best",
        says: "The same, and a barrier made of a stick table: for a minute after a write its URL is neither answered from \
               the cache nor stored.",
    },
    Product {
        program: Program::Squid,
        file: "squid/usual.conf",
        name: "usual",
        says: "An accelerator in memory, everything else by default: that is RFC 9111, invalidation included.",
    },
    Product {
        program: Program::Squid,
        file: "squid/best.conf",
        name: "best",
        says: "The same with `collapsed_forwarding`: with it, a write also voids a fetch of its URL that is in flight.",
    },
];

impl Product {
    /// What its row is called.
    pub fn title(&self, version: &str) -> String {
        format!("{} {version}, {}", self.program.name(), self.name)
    }

    /// Starts it in front of an origin, and waits until an exchange through it succeeds.
    pub fn start(&self, origin: u16, ready: impl Fn(SocketAddr) -> bool) -> Result<Running, String> {
        let parent = env::temp_dir();
        let frame = Frame { parent: &parent, folder_prefix: "versus-", prefix: &[], varnish: &["-s", "malloc,32m"] };
        self.program.start(self.file, &frame, origin, ready)
    }
}

//! freshgate: an ETag-validating caching reverse proxy.
//!
//! It stands in front of a JSON API that sends no validators and that nobody wants to change. It gives that API
//! content-hash entity-tags, 304s out of memory, fresh and stale times per route, and it invalidates what a mutation
//! touches when the mutation passes through. Everything it does is one of two lines.
//!
//! ```text
//! request in                                                                                   response out
//!  edge → Routes::select → cache_key::of → store.select → reuse::decide ─Hit─────────────────────────────┐
//!                                                             │ Fetch                                    ▼
//!         flight (collapse) → origin.ask → storing::decide (+ validator) → store.put(Ticket) → precondition::evaluate → answer
//!
//! mutation in                                                                                  event out
//!  edge → raise the barrier → origin.ask → invalidation::outcome → store.invalidate → changes.append
//!  the operator's purge, a refused credential ─────────────────────────┘  one door
//! ```
//!
//! **Retrieving.** A GET becomes a [`Subject`](pipeline::subject::Subject): its route, its caller, its key, its fences.
//! The store is asked what it has, the fences whether that is still true, and [`reuse`](semantics::reuse) what to do.
//! A miss is fetched whole by a task that belongs to no client; concurrent misses of one key wait for one
//! [`flight`](store::flight). What comes is given validators and, where it may be stored, is stored. Whatever was
//! selected, stored or fetched, leaves by one exit, and only there is a condition evaluated: a client that holds the
//! right entity-tag gets its 304 from a hit, a miss and a collapsed fetch alike.
//!
//! **Mutating.** Anything unsafe raises a barrier over what it may touch, is sent once, and invalidates before the first
//! byte of its answer goes out. Nothing that was fetched before can be stored, served or handed on afterwards: a fetch
//! notes the [`fences`](store::fences)' sequence before it writes its request, and every use of what it brought is
//! checked against that mark.
//!
//! **Passing.** What is neither (uploads, downloads, streams, upgrades) goes to Pingora with its unread bytes.
//!
//! # The floors
//!
//! A module uses lower floors only, which `tests/architecture.rs` holds.
//!
//! | floor | modules |
//! |---|---|
//! | 9 | [`cli`]: serve, check, explain, stats, purge, demo |
//! | 8 | [`edge`]: sockets, Pingora, the admin listener and what it shows |
//! | 6 | [`pipeline`]: the two lines, and the record of a decision |
//! | 4 | [`changes`]: the numbered log of invalidations |
//! | 3 | [`store`], [`identity`], [`origin`] |
//! | 2 | [`semantics`]: pure decisions, a file per section of the RFCs; [`config`]: TOML to [`policy::Policy`] |
//! | 1 | [`policy`]: what a route's owner decided; [`message`]: HTTP/1.1 as octets |
//! | 0 | [`field`]: header fields as values; [`clock`] |
//!
//! Floor 7 is kept for incremental sync, floor 5 for a bus between replicas.
//!
//! # Where is …?
//!
//! | question | answer |
//! |---|---|
//! | where is 304 decided? | [`semantics::precondition::evaluate`], called once, in [`pipeline::retrieve`] |
//! | how long is a response fresh? | [`semantics::freshness::lifetime`] |
//! | what did the origin say to this cache alone? | [`field::targeted::of`] |
//! | who may be served stale? | [`semantics::freshness::stale_allowance`] |
//! | why was this not stored? | [`semantics::storing::decide`]; its reason is the `detail` of Cache-Status |
//! | every `detail` there is | [`semantics::cache_status::Detail`] |
//! | what is the entity-tag made of? | [`semantics::validator::entity_tag`] |
//! | where does Last-Modified come from? | [`semantics::validator::newest`], [`store::first_seen`] |
//! | what tells two responses apart? | [`semantics::cache_key::of`] |
//! | what tells two callers apart? | [`identity::Identity::caller`] |
//! | who may be answered with what another was told? | [`semantics::cache_key::partition`], [`pipeline::admission`] |
//! | what does a token prove? | [`identity::jwt::Verifier::verify`] |
//! | what keeps two clients from overwriting each other? | [`pipeline::update`], [`pipeline::turns`] |
//! | in which content coding is it sent? | [`semantics::content_coding`], [`pipeline::form`]; made in [`store::variants`] |
//! | which requests are mutations? | [`semantics::invalidation::is_mutation`] |
//! | what does a mutation invalidate? | [`semantics::invalidation::decide`] |
//! | where is it carried out? | [`store::Store::invalidate`], behind the one door in [`pipeline::mutate`] |
//! | what keeps the overtaken fetch out? | [`store::fences::Fences::standing`] |
//! | what stops a stampede? | [`store::flight::Flights::board`] |
//! | which status does a failure of the origin become? | [`origin::rescue::answer`] |
//! | which requests are refused? | [`edge::head`] |
//! | what does this key in the TOML mean? | `config/reference.toml`, then [`policy`] |
//! | what is counted? | [`edge::metrics::COUNTERS`] |

pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod edge;
pub mod field;
pub mod identity;
pub mod message;
pub mod origin;
pub mod pipeline;
pub mod policy;
pub mod semantics;
pub mod store;

//! The two lines: retrieve and mutate.

pub mod exchange;

use crate::clock::Clock;
use crate::field::Fields;
use crate::identity::Caller;
use crate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, Sending};
use crate::policy::{Policy, RouteId};
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::forwarding::forwarded_fields;
use crate::semantics::request::Request;
use bytes::Bytes;
use exchange::Exchange;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What kind of request this is, from its head alone.
pub enum Class {
    Retrieve,
    Mutate,
    Pass(Detail),
}

/// What a client is to be sent.
pub struct Answer {
    /// Complete end-to-end fields.
    pub head: Head,
    pub content: Content,
    pub exchange: Exchange,
}

/// The body of an answer.
pub enum Content {
    Empty,
    Whole(Bytes),
    Stream { framing: Framing, body: BoxStream<'static, Result<Bytes, OriginError>> },
}

/// What became of a retrieval.
pub enum Handled {
    Answer(Answer),
    /// Let Pingora stream it.
    Pass(Passage),
}

/// Leave to stream one request to the origin.
pub struct Passage {
    pub exchange: Exchange,
    pub mutation: Option<StreamedMutation>,
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A mutation whose body streams.
pub struct StreamedMutation;

impl StreamedMutation {
    pub fn head(&mut self, _head: &Head) {}
    pub fn end(self) {}
}

pub struct Pipeline {
    pub policy: Arc<Policy>,
    pub clock: Arc<dyn Clock>,
    pub origin: Arc<dyn Origin>,
    pub observed: std::sync::Mutex<Vec<Exchange>>,
}

impl Pipeline {
    pub fn classify(&self, request: &Request) -> Class {
        match request.method.as_str() {
            _ if request.fields.contains("upgrade") => Class::Pass(Detail::Refused),
            "GET" | "HEAD" if !request.has_body => Class::Retrieve,
            "POST" | "PUT" | "PATCH" | "DELETE" => Class::Mutate,
            _ => Class::Pass(Detail::Refused),
        }
    }

    fn exchange(&self, request: Option<&Request>, cache_status: CacheStatus) -> Exchange {
        Exchange {
            at: self.clock.now(),
            route: RouteId(0),
            method: request.map_or_else(String::new, |r| r.method.clone()),
            target: request.map_or_else(String::new, Request::target),
            caller: Caller::Anonymous,
            status: 0,
            cache_status,
            origin_requests: 0,
            origin_bytes: 0,
            content_length: 0,
            content: None,
            json: false,
            sent_bytes: 0,
            latency: std::time::Duration::ZERO,
            background: false,
            mutation: None,
        }
    }

    pub async fn retrieve(self: &Arc<Self>, request: Request, interim: Option<Interim>) -> Handled {
        if request.path.starts_with("/stream") {
            return match self.pass(&request, Detail::Refused).await {
                Ok(passage) => Handled::Pass(passage),
                Err(answer) => Handled::Answer(answer),
            };
        }
        Handled::Answer(self.ask(request, Bytes::new(), interim, Sending::RetryOnce).await)
    }

    async fn ask(&self, request: Request, body: Bytes, interim: Option<Interim>, sending: Sending) -> Answer {
        let ask = Ask {
            method: request.method.clone(),
            scheme: request.scheme,
            target: request.target(),
            fields: forwarded_fields(&request, &self.policy.server.trusted_proxies),
            has_body: request.has_body,
            body,
            sending,
        };
        let status = CacheStatus::Forward(Forwarded::because(Forward::Miss));
        match self.origin.ask(ask, interim).await {
            Ok(mut reply) => {
                reply.head.fields.push("Cache-Status", status.to_string());
                let content = match reply.framing {
                    Framing::Empty => Content::Empty,
                    framing => Content::Stream { framing, body: reply.body },
                };
                Answer { head: reply.head, content, exchange: self.exchange(Some(&request), status) }
            }
            Err(error) => {
                let (status, why) = crate::edge::rescue::answer(error.kind);
                self.refuse(Some(&request), status, why)
            }
        }
    }

    pub async fn mutate(self: &Arc<Self>, request: Request, body: Bytes, interim: Option<Interim>) -> Answer {
        self.ask(request, body, interim, Sending::Once).await
    }

    pub async fn pass(self: &Arc<Self>, request: &Request, _why: Detail) -> Result<Passage, Answer> {
        let status = CacheStatus::Forward(Forwarded::because(Forward::Bypass));
        Ok(Passage { exchange: self.exchange(Some(request), status), mutation: None, permit: None })
    }

    pub fn observe(&self, exchange: Exchange) {
        self.observed.lock().expect("no holder panics").push(exchange);
    }

    pub fn refuse(&self, request: Option<&Request>, status: u16, why: &str) -> Answer {
        let cache_status = CacheStatus::Own { detail: Some(Detail::Refused) };
        let mut fields = Fields::new();
        fields.push("Content-Type", "text/plain; charset=utf-8");
        fields.push("Cache-Status", cache_status.to_string());
        Answer {
            head: Head { status, reason: Bytes::new(), fields },
            content: Content::Whole(Bytes::from(format!("{why}\n"))),
            exchange: self.exchange(request, cache_status),
        }
    }
}

//! TRACE (RFC 9110 §9.3.8), which is answered here or not at all: it would show an origin's view of a request, and with it
//! the credentials, to whoever asks. [`head`](crate::edge::head) refuses what is meant for anyone behind this proxy.

use crate::edge::lane::head_octets;
use crate::pipeline::{Answer, Content, Pipeline};
use crate::policy::Credential;
use crate::semantics::request::Request;

/// Shows the request as it came, but for what proves who sent it: "A client MUST NOT generate fields in a TRACE request
/// containing sensitive data that might be disclosed by the response", and some do.
pub fn answer(pipeline: &Pipeline, request: &Request) -> Answer {
    let mut seen = request.clone();
    let credentials = &pipeline.policy.identity.credentials;
    seen.fields.retain(|name, _| {
        let secret = ["authorization", "proxy-authorization", "cookie"];
        !secret.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
            && !credentials.iter().any(|credential| match credential {
                Credential::Field(field) => name.eq_ignore_ascii_case(field.as_bytes()),
                Credential::Cookie(_) => false,
            })
    });
    let mut answer = pipeline.refuse(Some(request), 200, "");
    answer.head.fields.set("Content-Type", "message/http");
    answer.content = Content::Whole(head_octets(&seen, &seen.target(), false).freeze());
    answer
}

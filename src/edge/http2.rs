//! A request that came over HTTP/2 (RFC 9113 §8.3), as the pipeline sees requests. Framing and field syntax have been
//! checked by Pingora; what is left are the rules that hold for every version.

use crate::edge::head::{self, Arrival, Refusal, Rules, TOO_LONG};
use crate::edge::pace::Pace;
use crate::edge::proxy::status_error;
use crate::field::Fields;
use crate::message::{self, Head};
use crate::pipeline::{Content, Pipeline};
use crate::semantics::request::{Request, Version};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use tokio::time::timeout;

/// What was read of a mutation's body.
pub enum Body {
    Whole(Bytes),
    /// Longer than is held; what has come so far.
    Long(Bytes),
    Refused(Refusal),
}

/// Reads `header`. `has_body`: whether the stream did not end with it.
///
/// # Errors
/// What the client is told.
pub fn request(header: &RequestHeader, has_body: bool, rules: Rules<'_>, arrival: Arrival) -> Result<Request, Refusal> {
    let target = header.raw_path();
    if rules.limits.uri > 0 && target.len() as u64 > rules.limits.uri {
        return Err(Refusal { status: 414, why: "The request's target is longer than is read here." });
    }
    let mut fields = fields(header);
    // "A field value MUST NOT start or end with an ASCII whitespace character" (RFC 9113 §8.2.1): over HTTP/1.1 the origin
    // would read another value than the one that is keyed.
    if header.headers.values().any(|value| value.as_bytes().trim_ascii() != value.as_bytes()) {
        return Err(Refusal { status: 400, why: "A header value begins or ends with white space." });
    }
    message::content_length(&fields).map_err(|_| head::ODD_LENGTH)?;
    head::expectation(&fields, true)?;
    if rules.limits.header_count > 0 && fields.len() > rules.limits.header_count {
        return Err(Refusal { status: 431, why: "The request has more header lines than are read here." });
    }
    let authority = authority(header, &fields, arrival)?;
    if !fields.contains("host") {
        fields.push("host", authority.clone());
    }
    let method = header.method.as_str().to_owned();
    // "… a user agent normally sends Content-Length in a POST request even when the value is 0" (RFC 9110 §8.6): that is a
    // body, of nothing, and some origins refuse a request that goes without (411).
    let has_body = has_body || !matches!(method.as_str(), "GET" | "HEAD") && fields.contains("content-length");
    head::check_method(&method, &fields, has_body)?;
    head::check_passes(&fields, rules.own)?;
    head::check_served(&authority, rules.hosts)?;
    let (path, query) = match std::str::from_utf8(target) {
        Ok("*") if method == "OPTIONS" => ("*".to_owned(), None),
        Ok(target) if target.starts_with('/') => head::path_and_query(target)?,
        _ => return Err(Refusal { status: 400, why: "The request's target is not a path." }),
    };
    let Arrival { scheme, client } = arrival;
    Ok(Request { method, scheme, authority, path, query, fields, version: Version::Http2, client, has_body })
}

/// The fields, cookies on one line again: HTTP/2 may split them (RFC 9113 §8.2.3).
fn fields(header: &RequestHeader) -> Fields {
    let mut fields = Fields::new();
    let mut cookies: Vec<&[u8]> = Vec::new();
    for (name, value) in &header.headers {
        if name == "cookie" {
            cookies.push(value.as_bytes());
        } else {
            fields.push(Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        }
    }
    if !cookies.is_empty() {
        fields.push("cookie", cookies.join(&b"; "[..]));
    }
    fields
}

/// `:authority`, or Host in its place; both have to be the same (RFC 9113 §8.3.1).
fn authority(header: &RequestHeader, fields: &Fields, arrival: Arrival) -> Result<String, Refusal> {
    let odd = |why| Refusal { status: 400, why };
    let read = |octets: &[u8]| head::authority(octets, arrival.scheme);
    let named = header.uri.authority().map(|authority| read(authority.as_str().as_bytes()));
    let host = fields.get("host").map(read);
    match (named, host) {
        (Some(Some(named)), Some(Some(host))) if named != host => Err(odd("Host is not what :authority says.")),
        (Some(Some(authority)), _) | (None, Some(Some(authority))) => Ok(authority),
        (None, None) => Err(odd("The request names no host.")),
        _ => Err(odd("Host is not a host name and port.")),
    }
}

/// Reads the body of a mutation, up to `request_buffer`; most clients announce no length (RFC 9113 §8.1.1 asks for none).
/// Once its end has come it is whole, were the last frame to lead over the bound: a body that has been read to its end
/// cannot be streamed any more.
///
/// # Errors
/// The client was too slow, or has gone.
pub async fn body(session: &mut Session, announced: Option<u64>, pipeline: &Pipeline) -> pingora::Result<Body> {
    let policy = &pipeline.policy;
    let (limit, hold) = (policy.server.limits.body, policy.origin.request_buffer);
    let pace = Pace::from(pipeline.clock.now(), policy.server.limits.idle_timeout);
    let mut body = BytesMut::new();
    if announced.is_some_and(|length| length > hold) {
        return Ok(Body::Long(Bytes::new()));
    }
    let late = |_| Error::new_down(ErrorType::ReadTimedout);
    loop {
        let patience = pace.patience(body.len(), pipeline.clock.now());
        let came = timeout(patience, session.read_request_body()).await.map_err(late)?;
        let Some(octets) = came.map_err(Error::into_down)? else { break };
        body.extend_from_slice(&octets);
        if limit > 0 && body.len() as u64 > limit {
            return Ok(Body::Refused(TOO_LONG));
        }
        if body.len() as u64 > hold && !session.is_body_done() {
            return Ok(Body::Long(body.freeze()));
        }
    }
    if announced.is_some_and(|length| length != body.len() as u64) {
        return Err(status_error(400));
    }
    Ok(Body::Whole(body.freeze()))
}

/// Waits for `work`, unless the client resets its stream before: it may open another in its place, and would have more
/// under way than it may have streams.
///
/// # Errors
/// It has.
pub async fn unless_gone<T>(session: &mut Session, work: impl Future<Output = T>) -> pingora::Result<T> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        _ = session.read_body_or_idle(true) => Err(Error::new_down(ErrorType::ConnectionClosed)),
    }
}

/// Writes an answer through Pingora, over HTTP/2 and where what Pingora streams has failed.
pub async fn respond(session: &mut Session, head: Head, content: Content) -> pingora::Result<()> {
    let bodiless = session.req_header().method == http::Method::HEAD || matches!(head.status, 204 | 304);
    let lines = Some(head.fields.len() + 1);
    let mut response = match session.is_http2() {
        // All names are in lower case there (RFC 9113 §8.2): how they came need not be kept.
        true => ResponseHeader::build_no_case(head.status, lines)?,
        false => ResponseHeader::build(head.status, lines)?,
    };
    response.set_reason_phrase(std::str::from_utf8(&head.reason).ok().filter(|reason| !reason.is_empty()))?;
    for (name, value) in head.fields.iter() {
        response.append_header(Bytes::copy_from_slice(name), value)?;
    }
    if let (Some(length), false) = (content.length(), bodiless) {
        response.set_content_length(length)?;
    }
    session.write_response_header(Box::new(response), bodiless).await?;
    match content {
        _ if bodiless => Ok(()),
        Content::Empty => session.write_response_body(None, true).await,
        Content::Whole(body) => session.write_response_body(Some(body), true).await,
        Content::Stream { mut body, .. } => {
            // A client that resets its stream is heard although the origin is silent, or its connection would be held.
            while let Some(octets) = tokio::select! {
                biased;
                octets = body.next() => octets,
                gone = session.read_body_or_idle(true) => return gone.map(drop),
            } {
                let octets = octets.map_err(|error| Error::because(ErrorType::ReadError, "reading the body", error))?;
                session.write_response_body(Some(octets), false).await?;
            }
            session.write_response_body(None, true).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Limits;
    use crate::semantics::request::Scheme;
    use std::net::IpAddr;
    use std::time::Duration;

    fn read(uri: &str, lines: &[(&'static str, &'static str)]) -> Result<Request, u16> {
        read_as("GET", uri, lines)
    }

    fn read_as(method: &str, uri: &str, lines: &[(&'static str, &'static str)]) -> Result<Request, u16> {
        let limits = Limits {
            connections: 0,
            header_bytes: 0,
            header_count: 4,
            uri: 40,
            body: 0,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
        };
        let mut header = RequestHeader::build_no_case(method, b"/", None).expect("a header");
        header.set_uri(uri.parse().expect("a URI"));
        for (name, value) in lines {
            header.append_header(*name, *value).expect("a field");
        }
        let rules = Rules { limits: &limits, hosts: &[], credentials: &[], own: "" };
        let arrival = Arrival { scheme: Scheme::Https, client: IpAddr::from([192, 0, 2, 7]) };
        request(&header, false, rules, arrival).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_request_is_one_like_any_other() {
        let lines = [("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2")];
        let request = read("https://Shop.Example:443/a?b", &lines).expect("a request");
        assert_eq!((request.authority.as_str(), request.target().as_str()), ("shop.example", "/a?b"));
        let lines: Vec<_> = request.fields.iter().collect();
        assert_eq!(lines, [(&b"accept"[..], &b"x"[..]), (b"cookie", b"a=1; b=2"), (b"host", b"shop.example")]);
    }

    #[test]
    fn a_body_of_nothing_is_one_where_a_body_means_something() {
        let nothing = [("content-length", "0")];
        for (method, has_body) in [("PUT", true), ("POST", true), ("GET", false), ("HEAD", false)] {
            let request = read_as(method, "https://a.example/", &nothing).expect("a request");
            assert_eq!(request.has_body, has_body, "{method}");
        }
        assert!(!read_as("PUT", "https://a.example/", &[]).expect("a request").has_body);
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(read("https://a.example/../b", &[]).expect_err("dots"), 400);
        assert_eq!(read("https://a.example/", &[("host", "b.example")]).expect_err("two hosts"), 400);
        assert_eq!(read("https://user@a.example/", &[]).expect_err("user information"), 400);
        assert_eq!(read("/", &[]).expect_err("no host"), 400);
        assert_eq!(read(&format!("https://a.example/{}", "x".repeat(60)), &[]).expect_err("long"), 414);
        let five = [("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")];
        assert_eq!(read("https://a.example/", &five).expect_err("many"), 431);
    }
}

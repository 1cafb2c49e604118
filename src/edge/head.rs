//! The head of a client's request (RFC 9112 §2, §3), read strictly. What could be read in two ways is refused rather
//! than repaired: the origin, or another proxy, might read it the other way, and that is how requests are smuggled.

use crate::field::{self, Fields, MAX_SECTION, max_forwards};
use crate::message::{self, MAX_LINES};
use crate::policy::{Credential, Limits, Policy};
use crate::semantics::forwarding;
use crate::semantics::request::{Request, Scheme, Version};
use bytes::{Buf, BytesMut};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::sync::Arc;

/// What the configuration says about heads.
#[derive(Clone, Copy)]
pub struct Rules<'p> {
    pub limits: &'p Limits,
    /// The hosts that are answered; empty: all.
    pub hosts: &'p [String],
    pub credentials: &'p [Credential],
    /// What this proxy is called in `Via`.
    pub own: &'p str,
}

impl<'p> Rules<'p> {
    /// The rules of `policy`, for a proxy that is called `own`.
    pub fn of(policy: &'p Policy, own: &'p str) -> Self {
        let (limits, hosts) = (&policy.server.limits, &policy.server.hosts);
        Rules { limits, hosts, credentials: &policy.identity.credentials, own }
    }
}

/// How the connection was made.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub scheme: Scheme,
    pub client: IpAddr,
}

/// What became of the octets so far.
#[derive(Debug)]
pub enum Parsed {
    /// More has to come.
    Partial,
    /// A head, taken off the buffer.
    Complete(Received),
    Refused(Refusal),
}

/// Why a request is refused: a status and a sentence for whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub why: &'static str,
}

/// A head that came complete and has one reading.
#[derive(Debug)]
pub struct Received {
    pub request: Arc<Request>,
    pub body: RequestBody,
    /// Whether the client means to send another request on this connection.
    pub persists: bool,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// Whether the client asks for another protocol on this connection (RFC 9110 §7.8).
    pub upgrades: bool,
}

/// How the end of a request's body is told (RFC 9112 §6.3): never by closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    None,
    Length(u64),
    Chunked,
}

/// Fields that take part in choosing or guarding an answer: a client that has them removed on the way (RFC 9110 §7.6.1)
/// would make this proxy and the origin see two different requests.
const NEVER_NOMINATED: [&str; 15] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "if-match",
    "if-none-match",
    "origin",
    "range",
    "transfer-encoding",
];

const fn refusal(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

/// Takes a head off the front of `buffer`, if it has come whole.
pub fn take(buffer: &mut BytesMut, rules: Rules<'_>, arrival: Arrival) -> Parsed {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut parser = httparse::Request::new(&mut []);
    let line = match parser.parse_with_uninit_headers(buffer, &mut lines) {
        Ok(httparse::Status::Partial) => {
            return too_long(buffer, buffer.len(), rules.limits).map_or(Parsed::Partial, Parsed::Refused);
        }
        Err(error) => return Parsed::Refused(malformed(error, buffer)),
        Ok(httparse::Status::Complete(length)) => {
            let method = parser.method.expect("a complete head has a method");
            let target = parser.path.expect("a complete head has a target");
            let http11 = parser.version == Some(1);
            Line { method, target, http11, octets: &buffer[..length], fields: message::fields_of(parser.headers) }
        }
    };
    let length = line.octets.len();
    match too_long(buffer, length, rules.limits).map_or_else(|| line.read(rules, arrival), Err) {
        Ok(received) => {
            buffer.advance(length);
            Parsed::Complete(received)
        }
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// A head whose syntax is right.
struct Line<'b> {
    method: &'b str,
    target: &'b str,
    http11: bool,
    octets: &'b [u8],
    fields: Fields,
}

impl Line<'_> {
    fn read(self, rules: Rules<'_>, arrival: Arrival) -> Result<Received, Refusal> {
        if message::has_bare_line_end(self.octets) {
            return Err(refusal(400, "A line ends in LF without CR."));
        }
        let Line { method, target, http11, mut fields, .. } = self;
        if rules.limits.header_count > 0 && fields.len() > rules.limits.header_count {
            return Err(TOO_MANY_LINES);
        }
        let body = request_body(method, &fields, http11)?;
        refuse_nominations(&fields, rules.credentials)?;
        let expects_continue = expectation(&fields, http11)?;
        let host = host(&fields, http11, arrival.scheme)?;
        check_method(method, &fields, body != RequestBody::None)?;
        let Target { authority, path, query } = read_target(method, target, host, arrival.scheme)?;
        check_passes(&fields, rules.own)?;
        check_served(&authority, rules.hosts)?;
        if !authority.is_empty() && !fields.contains("host") {
            // HTTP/1.0 in absolute-form: what is sent on has to name the host in the one place that is read.
            fields.push("Host", authority.clone());
        }
        let persists = message::persists(&fields, http11);
        let upgrades = http11 && fields.contains("upgrade") && has_option(&fields, "upgrade");
        drop_nominated(&mut fields, upgrades);
        let version = if http11 { Version::Http11 } else { Version::Http10 };
        let Arrival { scheme, client } = arrival;
        let has_body = body != RequestBody::None;
        let request =
            Request { method: method.to_owned(), scheme, authority, path, query, fields, version, client, has_body };
        Ok(Received { request: Arc::new(request), body, persists, expects_continue, upgrades })
    }
}

/// What a body over `server.limits.body` is answered with, whether its length was announced or turned out.
pub const TOO_LONG: Refusal = refusal(413, "The request's body is longer than is taken here.");

/// What a Content-Length that can be read in two ways is answered with.
pub const ODD_LENGTH: Refusal = refusal(400, "Content-Length has to be one number, on one line.");

const TOO_MANY_LINES: Refusal = refusal(431, "The request has more header lines than are read here.");

fn malformed(error: httparse::Error, buffer: &[u8]) -> Refusal {
    let names_a_version =
        || buffer.splitn(3, |octet| *octet == b' ').nth(2).is_some_and(|end| end.starts_with(b"HTTP/"));
    match error {
        httparse::Error::TooManyHeaders => TOO_MANY_LINES,
        httparse::Error::Version if names_a_version() => {
            refusal(505, "Only HTTP/1.1 and HTTP/1.0 are understood here.")
        }
        httparse::Error::HeaderName => refusal(400, "A header line has no valid name before its colon."),
        httparse::Error::HeaderValue => refusal(400, "A header value holds a control character."),
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            refusal(400, "This is not an HTTP request.")
        }
    }
}

/// Whether the head, `length` octets of which are there, is over a limit.
fn too_long(buffer: &[u8], length: usize, limits: &Limits) -> Option<Refusal> {
    let over = |limit: u64, length: usize| limit > 0 && length as u64 > limit;
    let line = buffer.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let target = line.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
    if over(limits.uri, target.len()) {
        return Some(refusal(414, "The request's target is longer than is read here."));
    }
    (over(limits.header_bytes, length) || length > MAX_SECTION)
        .then_some(refusal(431, "The request's head is longer than is read here."))
}

/// RFC 9112 §6.1, §6.3: a length that can be read in one way only.
fn request_body(method: &str, fields: &Fields, http11: bool) -> Result<RequestBody, Refusal> {
    let length = message::content_length(fields).map_err(|_| ODD_LENGTH)?;
    match (message::is_chunked(fields), length) {
        (Some(_), _) if !http11 => Err(refusal(400, "Transfer-Encoding does not exist in HTTP/1.0.")),
        (Some(_), Some(_)) => Err(refusal(400, "Content-Length and Transfer-Encoding exclude each other.")),
        (Some(false), None) => Err(refusal(501, "The only Transfer-Encoding understood here is chunked.")),
        (Some(true), None) => Ok(RequestBody::Chunked),
        (None, Some(0)) if matches!(method, "GET" | "HEAD") => Ok(RequestBody::None),
        (None, Some(length)) => Ok(RequestBody::Length(length)),
        (None, None) => Ok(RequestBody::None),
    }
}

fn has_option(fields: &Fields, option: &str) -> bool {
    field::list(fields.get_all("connection")).any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
}

fn refuse_nominations(fields: &Fields, credentials: &[Credential]) -> Result<(), Refusal> {
    for option in field::list(fields.get_all("connection")) {
        let guarded = NEVER_NOMINATED.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        let credential = credentials.iter().any(|credential| match credential {
            Credential::Field(name) => option.eq_ignore_ascii_case(name.as_bytes()),
            Credential::Cookie(_) => false,
        });
        let forwarding = option.len() > 12 && option[..12].eq_ignore_ascii_case(b"x-forwarded-");
        if guarded || credential || forwarding {
            return Err(refusal(400, "Connection names a field that is not for one connection alone."));
        }
    }
    Ok(())
}

/// Takes out what Connection names, before anything is decided: the origin will not see it, so it must select nothing
/// here either. Upgrade stays where it is meant for this connection, and nowhere else (RFC 9110 §7.6.1, §7.8). Connection
/// itself stays, also where it names itself: whoever streams the request reads there whether the client wants it closed.
fn drop_nominated(fields: &mut Fields, upgrades: bool) {
    let named: Vec<Vec<u8>> = field::list(fields.get_all("connection")).map(<[u8]>::to_vec).collect();
    fields.retain(|name, _| match name.eq_ignore_ascii_case(b"upgrade") {
        true => upgrades,
        false => name.eq_ignore_ascii_case(b"connection") || !named.iter().any(|n| name.eq_ignore_ascii_case(n)),
    });
    if fields.get_all("connection").nth(1).is_some() {
        // Several lines are one list (RFC 9110 §5.3), of which Pingora would read the first line alone. An option is a token
        // (§7.6.1): on one line with others, the quote of what is none would reach over them.
        let options: Vec<_> = named.into_iter().filter(|option| !option.contains(&b'"')).collect();
        fields.set("Connection", options.join(&b", "[..]));
    }
}

/// RFC 9110 §10.1.1: 100-continue is the only expectation there is; HTTP/1.0 has none. Says whether it is there.
///
/// # Errors
/// There is another.
pub fn expectation(fields: &Fields, http11: bool) -> Result<bool, Refusal> {
    let mut members = field::list(fields.get_all("expect")).filter(|_| http11).peekable();
    let expects = members.peek().is_some();
    if members.all(|member| member.eq_ignore_ascii_case(b"100-continue")) {
        Ok(expects)
    } else {
        Err(refusal(417, "The only expectation understood here is 100-continue."))
    }
}

/// The authority of Host: exactly one on HTTP/1.1 (RFC 9112 §3.2); `None` where HTTP/1.0 sent none.
fn host(fields: &Fields, http11: bool, scheme: Scheme) -> Result<Option<String>, Refusal> {
    let mut lines = fields.get_all("host");
    match (lines.next(), lines.next()) {
        (None, _) if http11 => Err(refusal(400, "HTTP/1.1 requires a Host field.")),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(refusal(400, "Host is there more than once.")),
        (Some(host), None) => {
            authority(host, scheme).map(Some).ok_or(refusal(400, "Host is not a host name and port."))
        }
    }
}

/// `host[:port]` in the one form that is compared: lower-case, without the scheme's own port (RFC 9110 §4.2.3). `None`
/// if it is anything else, with user information for one.
pub fn authority(octets: &[u8], scheme: Scheme) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, rest) = literal.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (&text[..address.len() + 2], rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port).filter(|port| !port.is_empty())),
            None => (text, Some("")),
        },
    };
    let port = port?;
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if name.is_empty() || !name.starts_with('[') && !name.bytes().all(named) {
        return None;
    }
    let own = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let mut authority = String::with_capacity(text.len());
    authority.push_str(name);
    authority.make_ascii_lowercase();
    if port.is_empty() {
        return Some(authority);
    }
    let number: u16 = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())??;
    if number != own {
        authority.push(':');
        // Zeros in front say nothing; one that is all zeros keeps the last.
        authority.push_str(port.trim_start_matches('0'));
        if number == 0 {
            authority.push('0');
        }
    }
    Some(authority)
}

/// A target in origin-form, and whom it was for.
struct Target {
    authority: String,
    path: String,
    query: Option<String>,
}

/// RFC 9112 §3.2: origin-form; absolute-form if it names the same authority as Host; `*` for OPTIONS.
fn read_target(method: &str, target: &str, host: Option<String>, scheme: Scheme) -> Result<Target, Refusal> {
    let odd = refusal(400, "The request's target is not a path.");
    let (authority, origin_form) = match target.split_once("://") {
        _ if target == "*" && method == "OPTIONS" => {
            return Ok(Target { authority: host.unwrap_or_default(), path: "*".into(), query: None });
        }
        _ if target.starts_with('/') => (host.unwrap_or_default(), target),
        Some((named, rest)) if named.eq_ignore_ascii_case(scheme.as_str()) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let authority = authority(&rest.as_bytes()[..end], scheme).ok_or(odd)?;
            if host.is_some_and(|host| host != authority) {
                return Err(refusal(400, "The request's target names another host than Host does."));
            }
            (authority, &rest[end..])
        }
        _ => return Err(odd),
    };
    let (path, query) = path_and_query(origin_form)?;
    Ok(Target { authority, path, query })
}

/// Path and query of a target in origin-form.
///
/// # Errors
/// It holds what no URI does (RFC 3986 §2), or dot segments, which whoever resolves them reads as another path, or in its
/// path an escape that stands for no octet, or for NUL, where some readers see the end.
pub fn path_and_query(origin_form: &str) -> Result<(String, Option<String>), Refusal> {
    if origin_form.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\')) {
        return Err(refusal(400, "The request's target holds what a URI cannot."));
    }
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (origin_form, None),
    };
    // Without one of these it can hold neither dot segments nor escapes.
    let plain = !path.contains('%') && !path.as_bytes().windows(2).any(|two| two == b"/.");
    if !plain && segments(path).any(is_dot_segment) {
        return Err(refusal(400, "The request's path holds dot segments."));
    }
    if !plain && !path.split('%').skip(1).all(is_escape) {
        return Err(refusal(400, "The request's path holds a percent sign that stands for no octet."));
    }
    Ok((if path.is_empty() { "/".to_owned() } else { path.to_owned() }, query))
}

/// What lies between slashes, for an origin, too, that resolves a path only after it has decoded it: behind
/// `/shared/x%2F..%2F..%2Fmine` it would find `/mine`, and the route of `/shared` says who may have that.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').flat_map(|raw| {
        let separators = ["%2f", "%2F", "%5c", "%5C"];
        let mut rest = Some(raw);
        std::iter::from_fn(move || {
            let text = rest?;
            let at = separators.iter().filter_map(|separator| text.find(separator)).min();
            rest = at.map(|at| &text[at + 3..]);
            Some(&text[..at.unwrap_or(text.len())])
        })
    })
}

/// Whether what follows a percent sign begins with two hexadecimal digits (RFC 3986 §2.1), and not those of NUL.
fn is_escape(behind: &str) -> bool {
    let digits = behind.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
}

/// `.` or `..`, however they are written (RFC 3986 §3.3, §2.3), parameters set aside as servlets do.
fn is_dot_segment(segment: &str) -> bool {
    let segment = segment.split(';').next().unwrap_or_default();
    segment.len() <= 6 && {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        decoded == "." || decoded == ".."
    }
}

/// CONNECT is for forward proxies; TRACE shows a request to whoever asks, credentials too, so only this proxy itself
/// answers it, to Max-Forwards: 0 (RFC 9110 §9.3.6, §9.3.8).
pub fn check_method(method: &str, fields: &Fields, has_body: bool) -> Result<(), Refusal> {
    match method {
        "CONNECT" => Err(refusal(405, "CONNECT is not offered here.")),
        "TRACE" if max_forwards::of(fields) != Some(0) => Err(refusal(405, "TRACE is not passed on.")),
        // RFC 9110 §9.3.8: a client MUST NOT send content with TRACE.
        "TRACE" if has_body => Err(refusal(400, "TRACE takes no body.")),
        _ => Ok(()),
    }
}

/// The origin that this proxy was given may be the proxy itself by another name, or lead back to it. A request that comes
/// back is refused before anything waits for it: a GET would join the fetch that it came from, and both would wait for each
/// other. 508 is what RFC 5842 §7.2 calls that.
pub fn check_passes(fields: &Fields, own: &str) -> Result<(), Refusal> {
    match forwarding::has_passed(fields, own) {
        true => Err(refusal(508, "The request has come through here already: it loops.")),
        false => Ok(()),
    }
}

/// RFC 9110 §15.5.20: where `server.hosts` names the hosts, no other is answered.
pub fn check_served(authority: &str, hosts: &[String]) -> Result<(), Refusal> {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    };
    let name = name.trim_end_matches('.');
    if hosts.is_empty() || hosts.iter().any(|host| host == name) {
        Ok(())
    } else {
        Err(refusal(421, "This host is not served here."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits {
        connections: 0,
        header_bytes: 1000,
        header_count: 10,
        uri: 200,
        body: 0,
        header_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(60),
    };

    fn parse(wire: &[u8]) -> (Parsed, BytesMut) {
        let mut buffer = BytesMut::from(wire);
        let hosts = ["shop.example".to_owned(), "localhost".to_owned()];
        let credentials = [Credential::Field("x-api-key".into())];
        let rules = Rules { limits: &LIMITS, hosts: &hosts, credentials: &credentials, own: "here" };
        let client = IpAddr::from([192, 0, 2, 7]);
        let parsed = take(&mut buffer, rules, Arrival { scheme: Scheme::Http, client });
        (parsed, buffer)
    }

    #[track_caller]
    fn accepted(wire: &str) -> Received {
        match parse(wire.as_bytes()).0 {
            Parsed::Complete(received) => received,
            other => panic!("{wire:?} gave {other:?}"),
        }
    }

    #[track_caller]
    fn refused(wire: impl AsRef<[u8]>, status: u16) {
        match parse(wire.as_ref()).0 {
            Parsed::Refused(refusal) => assert_eq!(refusal.status, status, "{}", wire.as_ref().escape_ascii()),
            other => panic!("{} gave {other:?}", wire.as_ref().escape_ascii()),
        }
    }

    fn get(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
    }

    #[test]
    fn a_head_is_kept_as_it_came() {
        let wire = b"GET /a%2Fb?x=1&x HTTP/1.1\r\nHOST: Shop.Example:80\r\nX-Odd:  \xff b \r\n\r\nrest";
        let (parsed, buffer) = parse(wire);
        let Parsed::Complete(received) = parsed else { panic!("{parsed:?}") };
        let request = received.request;
        assert_eq!((request.path.as_str(), request.query.as_deref()), ("/a%2Fb", Some("x=1&x")));
        assert_eq!(request.authority, "shop.example");
        let lines: Vec<_> = request.fields.iter().collect();
        assert_eq!(lines, [(&b"HOST"[..], &b"Shop.Example:80"[..]), (b"X-Odd", b"\xff b")]);
        assert_eq!((received.body, received.persists, request.has_body), (RequestBody::None, true, false));
        assert_eq!(&buffer[..], b"rest");
    }

    #[test]
    fn nothing_is_said_before_the_end() {
        let wire = get("A: b\r\n");
        for length in 0..wire.len() {
            assert!(matches!(parse(&wire.as_bytes()[..length]).0, Parsed::Partial), "{length} octets");
        }
    }

    #[test]
    fn bodies() {
        #[track_caller]
        fn check(method: &str, lines: &str, expected: RequestBody) {
            let received = accepted(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
            assert_eq!(received.body, expected);
            assert_eq!(received.request.has_body, expected != RequestBody::None);
        }
        check("POST", "", RequestBody::None);
        check("POST", "Content-Length: 0\r\n", RequestBody::Length(0));
        check("GET", "Content-Length: 0\r\n", RequestBody::None);
        check("GET", "Content-Length: 3\r\n", RequestBody::Length(3));
        check("PUT", "Transfer-Encoding: Chunked\r\n", RequestBody::Chunked);
    }

    #[test]
    fn bodies_with_two_readings() {
        refused(get("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400);
        refused(get("Content-Length: 4\r\nContent-Length: 4\r\n"), 400);
        refused(get("Content-Length: 4\r\nContent-Length: 5\r\n"), 400);
        for odd in ["+1", "-1", "0x1", "1, 1", "99999999999999999999", "", "1 1"] {
            refused(get(&format!("Content-Length: {odd}\r\n")), 400);
        }
        for coding in ["xchunked", "chunked, identity", "gzip, chunked", "identity", ""] {
            refused(get(&format!("Transfer-Encoding: {coding}\r\n")), 501);
        }
        refused(get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 501);
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
        refused(get("Transfer-Encoding : chunked\r\n"), 400);
        refused(get("Transfer-Encoding: \x0bchunked\r\n"), 400);
    }

    #[test]
    fn lines_with_two_readings() {
        refused("GET / HTTP/1.1\nHost: localhost\n\n", 400);
        refused("GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400);
        refused(get("A: b\r\n c\r\n"), 400);
        refused(get("A: b\rc\r\n"), 400);
        refused(get("A: b\0c\r\n"), 400);
        refused(get(": b\r\n"), 400);
        refused(get("A b\r\n"), 400);
        refused(get("A\u{1}: b\r\n"), 400);
        refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    }

    #[test]
    fn what_is_for_this_connection_alone_goes_no_further() {
        #[track_caller]
        fn check(lines: &str, left: &[&str]) {
            let fields = accepted(&get(lines)).request.fields.clone();
            let names: Vec<_> = fields.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
            assert_eq!(names[1..], *left, "{lines:?}");
        }
        check("Connection: X-A, close\r\nx-a: 1\r\nX-B: 2\r\n", &["Connection", "X-B"]);
        check("Connection: close, Connection\r\nX-A: 1\r\n", &["Connection", "X-A"]);
        check("Connection: upgrade\r\nUpgrade: websocket\r\n", &["Connection", "Upgrade"]);
        check("Connection: keep-alive\r\nConnection: X-A\r\nX-A: 1\r\nX-B: 2\r\n", &["Connection", "X-B"]);
        check("Upgrade: websocket\r\n", &[]);
    }

    #[test]
    fn hosts() {
        refused("GET / HTTP/1.1\r\n\r\n", 400);
        refused("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400);
        for odd in
            ["", "a@localhost", "localhost/x", "localhost:", "localhost:99999", "localhost:+1", "[::1", "a b", "é"]
        {
            refused(format!("GET / HTTP/1.1\r\nHost: {odd}\r\n\r\n"), 400);
        }
        refused("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421);
        assert_eq!(accepted("GET / HTTP/1.1\r\nHost: LOCALHOST:8080\r\n\r\n").request.authority, "localhost:8080");
        assert_eq!(accepted("GET / HTTP/1.1\r\nHost: shop.example.\r\n\r\n").request.authority, "shop.example.");
    }

    #[test]
    fn authorities_have_one_form() {
        #[track_caller]
        fn check(text: &str, scheme: Scheme, expected: Option<&str>) {
            assert_eq!(authority(text.as_bytes(), scheme).as_deref(), expected);
        }
        check("A.Example:443", Scheme::Https, Some("a.example"));
        check("a.example:443", Scheme::Http, Some("a.example:443"));
        check("[::1]", Scheme::Http, Some("[::1]"));
        check("[::1]:80", Scheme::Http, Some("[::1]"));
        check("[::1]:81", Scheme::Http, Some("[::1]:81"));
        check("[::1]81", Scheme::Http, None);
        check("[nonsense]", Scheme::Http, None);
        check("a.example:0080", Scheme::Http, Some("a.example"));
    }

    #[test]
    fn targets() {
        let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for odd in ["a", "*", "http:/localhost/", "ftp://localhost/", "https://localhost/", "/a#b", "/a\\b", "/é"] {
            refused(target(odd), 400);
        }
        for dots in ["/..", "/a/../b", "/a/./b", "/%2e%2E/a", "/.%2e", "/.", "/a/x%2F..%2fb", "/a%5C..", "/a/..;x/b"] {
            refused(target(dots), 400);
        }
        for escape in ["/a%zz", "/a%", "/a%2", "/a%00.css", "/%%41"] {
            refused(target(escape), 400);
        }
        assert_eq!(accepted(&target("/a%7a?q=100%&z=%00")).request.target(), "/a%7a?q=100%&z=%00");
        refused(target("http://other.example/"), 400);
        refused(target("http://user@localhost/"), 400);
        refused("GET / a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400);
        refused("GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400);
        let same = accepted(&target("http://LOCALHOST:80/a?b")).request;
        assert_eq!((same.path.as_str(), same.query.as_deref()), ("/a", Some("b")));
        assert_eq!(accepted(&target("http://localhost?b")).request.target(), "/?b");
        assert_eq!(accepted(&target("/.well-known/a..b/...")).request.path, "/.well-known/a..b/...");
        assert_eq!(accepted(&target("/a[b]{c}|d?`<")).request.target(), "/a[b]{c}|d?`<");
        assert_eq!(accepted(&target("/.well-known/a..b/...;x/%2F")).request.path, "/.well-known/a..b/...;x/%2F");
        assert_eq!(accepted("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").request.path, "*");
        assert_eq!(accepted("GET http://localhost/a HTTP/1.0\r\n\r\n").request.authority, "localhost");
    }

    #[test]
    fn methods() {
        refused("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405);
        refused("CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405);
        refused("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405);
        refused("TRACE / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 1\r\n\r\n", 405);
        refused("TRACE / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\nContent-Length: 3\r\n\r\n", 400);
        assert_eq!(accepted("TRACE / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n\r\n").request.method, "TRACE");
        assert_eq!(accepted("get / HTTP/1.1\r\nHost: localhost\r\n\r\n").request.method, "get");
    }

    #[test]
    fn what_came_through_here_already_loops() {
        accepted(&get("Via: 1.0 fred, 1.1 there\r\nX-Via: 1.1 here\r\n"));
        refused(get("Via: 1.0 fred\r\nVia: 1.1 here, 1.1 there\r\n"), 508);
    }

    #[test]
    fn versions() {
        for version in ["HTTP/1.9", "HTTP/2.0", "HTTP/0.9"] {
            refused(format!("GET / {version}\r\nHost: localhost\r\n\r\n"), 505);
        }
        refused("GET /\r\n\r\n", 400);
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
        let old = accepted("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
        assert_eq!((old.request.version, old.persists), (Version::Http10, false));
        assert!(accepted("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").persists);
        assert!(!accepted(&get("Connection: close\r\n")).persists);
        let twice = accepted(&get("Connection: keep-alive\r\nConnection: close\r\n"));
        assert_eq!(twice.request.fields.get("connection"), Some(&b"keep-alive, close"[..]));
        assert!(!twice.persists);
    }

    #[test]
    fn expectations() {
        refused(get("Expect: 200-ok\r\n"), 417);
        assert!(accepted(&get("Expect: 100-Continue\r\n")).expects_continue);
        assert!(!accepted("GET / HTTP/1.0\r\nHost: localhost\r\nExpect: x\r\n\r\n").expects_continue);
    }

    #[test]
    fn connection_options() {
        for name in ["Authorization", "cookie", "Host", "content-length", "X-API-Key", "X-Forwarded-For"] {
            refused(get(&format!("Connection: close, {name}\r\n")), 400);
        }
        assert!(accepted(&get("Connection: keep-alive, X-Hop\r\n")).persists);
        assert!(accepted(&get("Connection: Upgrade\r\nUpgrade: websocket\r\n")).upgrades);
        assert!(!accepted(&get("Upgrade: websocket\r\n")).upgrades);
    }

    #[test]
    fn limits() {
        let long = "x".repeat(300);
        refused(format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414);
        refused(format!("GET /{long}"), 414);
        refused(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200)), 414);
        accepted(&format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(199)));
        refused(get(&format!("A: {long}\r\nB: {long}\r\nC: {long}\r\nD: {long}\r\n")), 431);
        refused(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(1000)), 431);
        refused(get(&"A: b\r\n".repeat(10)), 431);
        refused(get(&"A: b\r\n".repeat(260)), 431);
        accepted(&get(&"A: b\r\n".repeat(9)));
    }
}

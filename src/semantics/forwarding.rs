//! Message forwarding (RFC 9110 §7.6): what belongs to one connection stays there, and what tells the next hop about
//! this one is added.

use crate::field::{self, Fields, max_forwards};
use crate::semantics::request::{Request, Scheme};
use ipnet::IpNet;
use std::net::IpAddr;

/// The name in `Via` of the process that has this number. It is the process's own: a request that names it has been here
/// before, and one that names another of this kind only came through there, as in a chain of proxies.
pub fn pseudonym(number: u32) -> String {
    format!("freshgate-{number:08x}")
}

/// Fields that are for the next hop only, besides those that Connection names (RFC 9110 §7.6.1, §10.1.4, §11.7;
/// RFC 9112 §6.1). Content-Length is among them here because the transport frames what it sends.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Takes out what belongs to the connection that `fields` came on.
pub fn keep_end_to_end(fields: &mut Fields) {
    let named: Vec<Vec<u8>> = field::list(fields.get_all("connection")).map(<[u8]>::to_ascii_lowercase).collect();
    fields.retain(|name, _| {
        !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_bytes()))
            && !named.iter().any(|named| name.eq_ignore_ascii_case(named))
    });
}

/// The fields of `request` as the origin is to get them: end-to-end fields, without `Expect` (it is answered here), with
/// `Via`, in which this proxy is called `own`, and `X-Forwarded-For`, `-Proto`, `-Host`. What an address outside of
/// `trusted` says about forwarding is dropped.
pub fn forwarded_fields(request: &Request, trusted: &[IpNet], own: &str) -> Fields {
    let mut fields = request.fields.clone();
    keep_end_to_end(&mut fields);
    fields.remove("expect");
    for (name, value) in about_this_hop(request, trusted, own) {
        fields.set(name, value);
    }
    fields.retain(|name, _| is_believed(name, request, trusted));
    fields
}

/// Takes out the precondition of a mutation: it was evaluated here, and the origin, which does not know what it names,
/// would evaluate it otherwise.
pub fn without_precondition(fields: &mut Fields) {
    fields.remove("if-match");
    fields.remove("if-unmodified-since");
}

/// The lines that tell of this hop, each replacing all lines of its name: `Via`, the three `X-Forwarded-*`, and
/// `Max-Forwards` where it counts down.
pub fn about_this_hop(request: &Request, trusted: &[IpNet], own: &str) -> Vec<(&'static str, Vec<u8>)> {
    let believed = is_trusted(request.client, trusted);
    let earlier = |name: &str| believed.then(|| joined(&request.fields, name)).filter(|v| !v.is_empty());
    let appended = |before: Option<Vec<u8>>, last: String| match before {
        Some(mut list) => {
            list.extend_from_slice(b", ");
            list.extend_from_slice(last.as_bytes());
            list
        }
        None => last.into_bytes(),
    };
    let scheme = match request.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    // Via is a history, not a claim: it is kept whoever sent it (RFC 9110 §7.6.3).
    let via = Some(joined(&request.fields, "via")).filter(|v| !v.is_empty());
    let mut lines = vec![
        ("Via", appended(via, format!("{} {own}", request.version.as_via()))),
        ("X-Forwarded-For", appended(earlier("x-forwarded-for"), request.client.to_canonical().to_string())),
        ("X-Forwarded-Proto", earlier("x-forwarded-proto").unwrap_or_else(|| scheme.into())),
        ("X-Forwarded-Host", earlier("x-forwarded-host").unwrap_or_else(|| request.authority.clone().into())),
    ];
    lines.extend(forwards_left(request).map(|left| ("Max-Forwards", left.saturating_sub(1).to_string().into_bytes())));
    lines
}

/// How often a request may still be forwarded, by this proxy too: "Each intermediary that receives a TRACE or OPTIONS
/// request containing a Max-Forwards header field MUST check and update its value prior to forwarding the request"; "A
/// recipient MAY ignore a Max-Forwards header field received with any other request methods" (RFC 9110 §7.6.2).
pub fn forwards_left(request: &Request) -> Option<u64> {
    matches!(request.method.as_str(), "OPTIONS" | "TRACE").then(|| max_forwards::of(&request.fields))?
}

/// Whether a request has come through the proxy of this name already: "An intermediary can use Via to detect forwarding
/// loops" (RFC 9110 §7.6.3). Names are compared as host names are, since hosts are what most of them are.
pub fn has_passed(fields: &Fields, own: &str) -> bool {
    let received_by = |hop: &[u8]| {
        let mut words = hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(own.as_bytes()))
    };
    field::list(fields.get_all("via")).any(received_by)
}

/// Whether a field of the request may reach the origin: from a client that is not trusted, what claims to be a proxy's
/// word (`Forwarded`, `X-Forwarded-Prefix` and the like) may not. An origin that went by another URL, or another host, than
/// the one a response is stored under would answer for the one under the name of the other. No proxy writes such a name
/// with `_`: that comes from a client, through whatever proxy it comes.
pub fn is_believed(name: &[u8], request: &Request, trusted: &[IpNet]) -> bool {
    let own = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let begins = |beginning: &str| name.get(..beginning.len()).is_some_and(|b| field::is_alike(b, beginning));
    let alike = |known: &&str| field::is_alike(name, known);
    let forwarding = alike(&"forwarded") || begins("x-forwarded-") || ASKED.iter().any(alike);
    let spelt = !name.contains(&b'_');
    if !spelt && HOP_BY_HOP.iter().any(alike) {
        // What frames this message is said in the one spelling that is read here.
        return false;
    }
    !forwarding || spelt && (own.iter().any(alike) || is_trusted(request.client, trusted))
}

/// What a trusted proxy's request is told apart by beside its own URI: what it says of the one that its client asked,
/// which goes on to the origin and so shapes redirects and links, or, with some frameworks, chooses what is answered.
pub const ASKED: [&str; 9] = [
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
];

/// `request` with the scheme and authority that its client asked, where a trusted proxy says them: "the target URI" is
/// that one (RFC 9110 §7.1). Of several proxies the first spoke to the client.
pub fn as_asked(request: &Request, trusted: &[IpNet]) -> Request {
    let mut asked = request.clone();
    if !is_trusted(request.client, trusted) {
        return asked;
    }
    let first = |name: &str| {
        let value = field::list(request.fields.get_all(name)).next()?;
        std::str::from_utf8(value).ok().map(str::to_ascii_lowercase)
    };
    match first("x-forwarded-proto").as_deref() {
        Some("http") => asked.scheme = Scheme::Http,
        Some("https") => asked.scheme = Scheme::Https,
        _ => {}
    }
    let host = first("x-forwarded-host").unwrap_or_else(|| request.authority.clone());
    let own_port = match asked.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    asked.authority = host.strip_suffix(own_port).map_or_else(|| host.clone(), str::to_owned);
    asked
}

/// Whether what `client` says about forwarding is believed.
pub fn is_trusted(client: IpAddr, trusted: &[IpNet]) -> bool {
    let client = client.to_canonical();
    trusted.iter().any(|net| net.contains(&client))
}

fn joined(fields: &Fields, name: &str) -> Vec<u8> {
    field::list(fields.get_all(name)).collect::<Vec<_>>().join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::request::Version;

    fn request(lines: &[(&'static str, &'static str)]) -> Request {
        Request {
            method: "GET".into(),
            scheme: Scheme::Https,
            authority: "shop.example".into(),
            path: "/products".into(),
            query: None,
            fields: lines.iter().copied().collect(),
            version: Version::Http11,
            client: "::ffff:192.0.2.7".parse().expect("an address"),
            has_body: false,
        }
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &'static str)], trusted: &[&str], expected: &[(&str, &str)]) {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        let fields = forwarded_fields(&request(lines), &trusted, "freshgate-0000002a");
        let seen: Vec<(String, String)> = fields
            .iter()
            .map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), String::from_utf8_lossy(v).into_owned()))
            .collect();
        let seen: Vec<(&str, &str)> = seen.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(seen, expected);
    }

    const OWN: [(&str, &str); 4] = [
        ("Via", "1.1 freshgate-0000002a"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.example"),
    ];

    fn with_own<'a>(before: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [before, &OWN].concat()
    }

    #[test]
    fn what_belongs_to_the_connection_stays() {
        check(
            &[
                ("Host", "shop.example"),
                ("Connection", "keep-alive, X-Hop"),
                ("x-hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("TE", "trailers"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Length", "5"),
                ("Expect", "100-continue"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "AAMAAABk"),
                ("Authorization", "Bearer x"),
            ],
            &[],
            &with_own(&[("Host", "shop.example"), ("Authorization", "Bearer x")]),
        );
    }

    #[test]
    fn max_forwards_of_options_and_trace_counts_down_and_that_of_others_stays() {
        let left = |method: &str, value: &'static str| {
            let request = Request { method: method.into(), ..request(&[("Max-Forwards", value)]) };
            let fields = forwarded_fields(&request, &[], "freshgate-0000002a");
            let lines: Vec<_> = fields.get_all("max-forwards").map(<[u8]>::to_vec).collect();
            (forwards_left(&request), lines)
        };
        assert_eq!(left("OPTIONS", "10"), (Some(10), vec![b"9".to_vec()]));
        assert_eq!(left("TRACE", "1"), (Some(1), vec![b"0".to_vec()]));
        assert_eq!(left("OPTIONS", "0").0, Some(0));
        assert_eq!(left("OPTIONS", "x"), (None, vec![b"x".to_vec()]));
        assert_eq!(left("GET", "10"), (None, vec![b"10".to_vec()]));
    }

    #[test]
    fn via_grows_whoever_sent_it() {
        let mut expected = OWN;
        expected[0] = ("Via", "1.0 fred, 1.1 p.example, 1.1 freshgate-0000002a");
        check(&[("Via", "1.0 fred"), ("via", "1.1 p.example")], &[], &expected);
    }

    #[test]
    fn who_comes_back_is_known_by_the_name_in_via() {
        let own = pseudonym(42);
        assert_eq!(own, "freshgate-0000002a");
        let passed = |via: &'static str| has_passed(&request(&[("Via", "1.0 fred"), ("via", via)]).fields, &own);
        for via in ["1.1 freshgate-0000002a", "1.1 p, HTTP/2  FreshGate-0000002A (a comment)", "2\tfreshgate-0000002a"]
        {
            assert!(passed(via), "{via}");
        }
        for via in
            ["1.1 freshgate-0000002b", "1.1 freshgate-0000002a:80", "freshgate-0000002a", "1.1 p (freshgate-0000002a)"]
        {
            assert!(!passed(via), "{via}");
        }
    }

    #[test]
    fn a_stranger_is_not_believed() {
        check(
            &[
                ("X-Forwarded-For", "10.0.0.1"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Prefix", "/admin"),
                ("Forwarded", "for=10.0.0.1"),
                ("X-Original-URL", "/admin"),
                ("X-Rewrite-URL", "/admin"),
                ("X-Host", "evil.example"),
                ("X_Forwarded_Host", "evil.example"),
                ("x_original_url", "/admin"),
                ("Transfer_Encoding", "chunked"),
                ("Content_Length", "30"),
            ],
            &["10.0.0.0/8"],
            &[OWN[1], OWN[2], OWN[3], OWN[0]],
        );
    }

    #[test]
    fn a_trusted_proxy_is() {
        check(
            &[
                ("X-Forwarded-For", "10.0.0.1"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Host", "shop.test"),
                ("X-Forwarded-Prefix", "/admin"),
                ("X-Original-URL", "/shop"),
                ("X_Forwarded-Host", "evil.test"),
                ("X_Host", "evil.test"),
                ("X_Request_Id", "1"),
            ],
            &["192.0.2.0/24"],
            &[
                ("X-Forwarded-For", "10.0.0.1, 192.0.2.7"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Host", "shop.test"),
                ("X-Forwarded-Prefix", "/admin"),
                ("X-Original-URL", "/shop"),
                ("X_Request_Id", "1"),
                OWN[0],
            ],
        );
    }

    #[test]
    fn what_a_trusted_proxy_was_asked_is_what_is_asked() {
        let asked = |lines: &[(&'static str, &'static str)], trusted: &str| {
            let asked = as_asked(&request(lines), &[trusted.parse().expect("a network")]);
            format!("{}://{}", asked.scheme.as_str(), asked.authority)
        };
        let (proxy, stranger) = ("192.0.2.0/24", "10.0.0.0/8");
        let plain = [("X-Forwarded-Proto", "http, https"), ("X-Forwarded-Host", "Shop.test:80, p.example")];
        assert_eq!(asked(&plain, proxy), "http://shop.test");
        assert_eq!(asked(&plain, stranger), "https://shop.example");
        assert_eq!(asked(&[("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "a:443")], proxy), "https://a");
        assert_eq!(asked(&[("X-Forwarded-Proto", "ftp"), ("X-Forwarded-Host", "a:80")], proxy), "https://a:80");
        assert_eq!(asked(&[], proxy), "https://shop.example");
    }
}

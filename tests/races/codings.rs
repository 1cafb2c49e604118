//! A stored content in other codings: made once, in the background, and never the wrong octets under an entity-tag.

use crate::house::{Got, House, Lines, SHARED, ok, status};
use freshgate::field::Fields;
use freshgate::origin::scripted::Scripted;
use freshgate::policy::Coding;
use freshgate::store::variants::Coded;
use std::io::Read;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");
const BROWSER: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd");

fn rows(of: &str) -> String {
    format!("[{}]", vec![format!("{{\"name\":\"{of}\"}}"); 100].join(","))
}

fn field<'g>(got: &'g Got, name: &str) -> &'g str {
    got.head.fields.get(name).map_or("", |value| std::str::from_utf8(value).expect("it is text"))
}

fn decoded(got: &Got) -> String {
    let mut text = String::new();
    let octets = got.octets();
    match field(got, "content-encoding") {
        "gzip" => flate2::read::GzDecoder::new(octets).read_to_string(&mut text).expect("gzip"),
        "br" => brotli::Decompressor::new(octets, 4096).read_to_string(&mut text).expect("br"),
        "zstd" => zstd::stream::Decoder::new(octets).expect("zstd").read_to_string(&mut text).expect("zstd"),
        other => panic!("{other:?}"),
    };
    text
}

impl House {
    async fn hit(&self, lines: Lines<'_>) -> Got {
        let got = self.get_with("/items", lines).await.got().await;
        assert!(got.is_hit(), "{got:?}");
        got
    }

    /// What is being made in the background is there.
    async fn made(&self) {
        while self.pipeline.store.codings_under_way() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_first_to_ask_gets_the_identity_form_and_the_next_the_coded_one() {
    for (accepts, coding) in [(GZIP, "gzip"), (BROWSER, "zstd"), (("Accept-Encoding", "br"), "br")] {
        let house = House::new();
        house.stores("/items", &rows("one")).await;
        let first = house.hit(&[accepts]).await;
        assert_eq!((first.text(), field(&first, "content-encoding")), (rows("one").as_str(), ""));
        assert_eq!(field(&first, "vary"), "Accept-Encoding");
        house.made().await;
        let next = house.hit(&[accepts]).await;
        assert_eq!((decoded(&next), field(&next, "content-encoding")), (rows("one"), coding));
        assert_eq!(field(&next, "vary"), "Accept-Encoding");
        assert_eq!(field(&next, "content-length"), next.octets().len().to_string());
        let tag = field(&first, "etag").trim_end_matches('"');
        assert_eq!(field(&next, "etag"), format!("{tag}-{coding}1\""));
        // Whoever takes no coding gets none, and is told that others do.
        let plain = house.hit(&[]).await;
        assert_eq!((plain.text(), field(&plain, "etag")), (rows("one").as_str(), field(&first, "etag")));
        assert_eq!(field(&plain, "vary"), "Accept-Encoding");
    }
}

/// A miss asks for it as well as a hit does.
#[tokio::test]
async fn a_miss_that_is_stored_asks_for_its_coding() {
    let house = House::new();
    let asking = house.get_with("/items", &[GZIP]).await;
    let asked = house.asked("GET", "/items").await;
    assert_eq!(asked.ask.fields.get("accept-encoding"), Some(&b"identity"[..]));
    asked.answer(ok(&rows("one")));
    assert_eq!(asking.got().await.text(), rows("one"));
    house.made().await;
    assert_eq!(decoded(&house.hit(&[GZIP]).await), rows("one"));
}

/// Nobody could be sent what was made: it is its caller's alone.
#[tokio::test]
async fn what_is_not_stored_is_made_in_no_coding() {
    let house = House::new();
    let asking = house.get_with("/items", &[GZIP]).await;
    house.asked("GET", "/items").await.answer(status(200, &[("Set-Cookie", "a=b")], &rows("one")));
    let got = asking.got().await;
    assert_eq!((got.text(), got.stored()), (rows("one").as_str(), false));
    house.made().await;
    let content = got.exchange.content.expect("it has a content");
    assert_eq!(house.pipeline.store.coded(content, Coding::Gzip), Coded::Absent);
}

/// P3, and no octet twice: any form that the client may be sent and has is current.
#[tokio::test]
async fn whoever_has_any_form_that_they_take_is_told_that_it_is_current() {
    let house = House::new();
    house.stores("/items", &rows("one")).await;
    let identity = field(&house.hit(&[GZIP]).await, "etag").to_owned();
    house.made().await;
    let gzip = field(&house.hit(&[GZIP]).await, "etag").to_owned();
    let zstd = gzip.replace("gzip", "zstd");
    let check = async |accepts: &'static str, has: &str, status: u16, tag: &str| {
        let lines = [("Accept-Encoding", accepts.to_owned()), ("If-None-Match", has.to_owned())];
        let got = house.get_owned("/items", &lines).await.got().await;
        assert_eq!((got.head.status, field(&got, "etag")), (status, tag), "{accepts} {has}");
        assert_eq!(field(&got, "vary"), "Accept-Encoding");
        assert_eq!(!field(&got, "content-encoding").is_empty(), status == 200 && tag != identity, "{got:?}");
    };
    check("gzip", &gzip, 304, &gzip).await;
    check("gzip", &identity, 304, &identity).await;
    check("identity", &identity, 304, &identity).await;
    check("br, gzip", &format!("\"other\", W/{gzip}"), 304, &gzip).await;
    // The form is one that could be made, and its entity-tag names octets that are always the same.
    check("zstd, gzip", &zstd, 304, &zstd).await;
    // What the client does not take any more is not current for it.
    check("identity", &gzip, 200, &identity).await;
    check("gzip", &zstd, 200, &gzip).await;
    check("gzip", "\"fg1-0123456789abcdefghijkl-gzip1\"", 200, &gzip).await;
}

/// A coded form goes with the content that it was made of.
#[tokio::test]
async fn another_content_is_not_answered_with_an_older_one_s_coding() {
    let house = House::new();
    house.stores("/items", &rows("one")).await;
    house.hit(&[GZIP]).await;
    house.made().await;
    house.mutated("POST", "/items").await;
    let asking = house.get_with("/items", &[GZIP]).await;
    house.asked("GET", "/items").await.answer(ok(&rows("two")));
    assert_eq!(asking.got().await.text(), rows("two"));
    house.made().await;
    assert_eq!(decoded(&house.hit(&[GZIP]).await), rows("two"));
    // The older content comes back: what was made of it is still there.
    house.mutated("POST", "/items").await;
    let asking = house.get_with("/items", &[GZIP]).await;
    house.asked("GET", "/items").await.answer(ok(&rows("one")));
    assert_eq!(decoded(&asking.got().await), rows("one"));
}

#[tokio::test]
async fn equal_contents_share_what_is_made_of_them() {
    let house = House::new();
    for target in ["/items/1", "/items/2"] {
        house.stores(target, &rows("one")).await;
    }
    house.get_with("/items/1", &[GZIP]).await.got().await;
    house.made().await;
    assert_eq!(decoded(&house.get_with("/items/2", &[GZIP]).await.got().await), rows("one"));
}

#[tokio::test]
async fn what_is_small_incompressible_or_not_to_be_transformed_is_left_alone() {
    let mut noise = 1_u32;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    let no_transform: Lines<'_> = &[("Cache-Control", "no-transform")];
    let none = format!("[cache]\ncodings = []\n{SHARED}");
    let left_alone: [(&str, Lines<'_>, Vec<u8>); 6] = [
        (SHARED, no_transform, rows("one").into()),
        (SHARED, &[("Content-Encoding", "own")], rows("one").into()),
        (SHARED, &[], "small".into()),
        (SHARED, &[], noise.take(2000).collect()),
        ("", &[("Cache-Control", "max-age=60")], rows("one").into()),
        (&none, &[], rows("one").into()),
    ];
    for (config, lines, body) in left_alone {
        let house = House::with(config);
        let first = house.get_with("/items", &[GZIP]).await;
        let mut fields: Fields = lines.iter().copied().collect();
        fields.push("Content-Type", "application/json");
        house.asked("GET", "/items").await.answer(Scripted::new(200, fields, body.clone()));
        first.got().await;
        for _ in 0..2 {
            house.made().await;
            let got = house.hit(&[GZIP]).await;
            assert_eq!(got.octets(), body);
            let own = got.head.fields.get("content-encoding").unwrap_or(b"own");
            assert_eq!(own, b"own", "{lines:?}");
        }
    }
}

/// The origin's strong entity-tag names the octets that came, and clients hand it back in If-Match: they stay as they came. A
/// weak one says of both forms that they mean the same.
#[tokio::test]
async fn what_has_a_strong_entity_tag_of_the_origin_s_is_left_alone() {
    for (tag, coding) in [("\"v1\"", ""), ("W/\"v1\"", "gzip")] {
        let house = House::new();
        let asking = house.get("/items").await;
        house.asked("GET", "/items").await.answer(status(200, &[("ETag", tag)], &rows("one")));
        assert_eq!(field(&asking.got().await, "etag"), tag);
        house.hit(&[GZIP]).await;
        house.made().await;
        let got = house.hit(&[GZIP]).await;
        assert_eq!((field(&got, "content-encoding"), field(&got, "etag")), (coding, tag));
        let current = house.hit(&[GZIP, ("If-None-Match", tag)]).await;
        assert_eq!((current.head.status, field(&current, "etag")), (304, tag));
    }
}

/// A part is one of the identity form, whose entity-tag it shows.
#[tokio::test]
async fn a_range_is_one_of_the_identity_form() {
    let house = House::new();
    house.stores("/items", &rows("one")).await;
    house.hit(&[GZIP]).await;
    house.made().await;
    let part = house.hit(&[GZIP, ("Range", "bytes=1-6")]).await;
    assert_eq!((part.head.status, part.text()), (206, "{\"name"));
    let identity = house.hit(&[]).await;
    assert_eq!(field(&part, "etag"), field(&identity, "etag"));
}

/// HEAD shows what GET would.
#[tokio::test]
async fn head_speaks_of_the_form_that_get_would_carry() {
    let house = House::new();
    house.stores("/items", &rows("one")).await;
    house.hit(&[GZIP]).await;
    house.made().await;
    let get = house.hit(&[GZIP]).await;
    let head = house.ask_with("HEAD", "/items", &[GZIP]).got().await;
    for name in ["etag", "content-length", "content-encoding", "vary"] {
        assert_eq!(field(&head, name), field(&get, name), "{name}");
    }
    assert_eq!(head.text(), "");
}

/// Of as many as come at once, one makes it.
#[tokio::test]
async fn one_makes_it_however_many_ask() {
    let house = House::new();
    house.stores("/items", &rows("one")).await;
    let content = house.hit(&[]).await.exchange.content.expect("it has a content");
    let making = house.pipeline.store.begin_coding(content, Coding::Gzip, usize::MAX).expect("nobody makes it");
    for _ in 0..100 {
        assert_eq!(house.hit(&[GZIP]).await.text(), rows("one"));
    }
    assert_eq!(house.pipeline.store.codings_under_way(), 1);
    house.pipeline.store.make_coded(making, rows("one").as_bytes());
    assert!(matches!(house.pipeline.store.coded(content, Coding::Gzip), Coded::Made(_)));
    assert_eq!(decoded(&house.hit(&[GZIP]).await), rows("one"));
}

//! An origin that dies, comes and goes, and is back: stale where that is allowed, a clear answer where it is not, and no
//! herd for it to meet.

use crate::faults::{Fault, Faults};
use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, gate, json, write};
use crate::wire::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long after the origin is back the next answer may take, and that is the origin's.
const SOON: Duration = Duration::from_secs(2);

/// Those who wait for one key.
const CROWD: usize = 200;

#[test]
fn an_origin_that_comes_and_goes_is_asked_whenever_it_is_there() {
    let version = Arc::new(AtomicUsize::new(0));
    let newest = version.clone();
    let origin = Origin::start(move |_, peer| {
        write(peer, json(&[], &newest.load(Ordering::SeqCst).to_string()).as_bytes());
        After::Keep
    });
    let faults = Faults::before(&origin.url, |_| Fault::None);
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{CACHED}", faults.url));
    for round in 0..10 {
        let now = round.to_string();
        version.store(round, Ordering::SeqCst);
        proxy.expire_all();
        let fresh = soon(&proxy, "/a/1");
        assert_eq!((fresh.status(), fresh.text()), (200, now.as_str()), "{fresh:?}");

        faults.refuse();
        proxy.expire_all();
        let stale = soon(&proxy, "/a/1");
        assert_eq!((stale.status(), stale.text()), (200, now.as_str()), "{stale:?}");
        assert!(stale.cache_status().contains("detail=stale-if-error"), "{stale:?}");
        origin.times_asked();
        for line in ["GET /a/2", "GET /unnamed", "OPTIONS /a/1", "PUT /a/3"] {
            let answer = proxy.ask(line, &[], "");
            assert_eq!(answer.status(), 502, "{line}: {answer:?}");
            assert!(answer.cache_status().contains("detail=connect"), "{line}: {answer:?}");
        }
        assert_eq!(origin.times_asked(), 0);
        faults.accept();
    }
}

/// Connections stand, and nothing comes.
#[test]
fn an_origin_that_is_silent_is_stale_or_a_504() {
    let origin = Origin::answering(json(&[], "true"));
    let faults = Faults::before(&origin.url, |request| match request.to_ascii_lowercase().contains("x-silent") {
        true => Fault::Hold(0),
        false => Fault::None,
    });
    let timeout = "origin.response_timeout = \"1s\"\norigin.body_timeout = \"1s\"\n";
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{timeout}{CACHED}", faults.url));
    assert_eq!(proxy.get("/a/1").status(), 200);
    proxy.expire_all();
    let stale = proxy.ask("GET /a/1", &["X-Silent: yes"], "");
    assert!(stale.status() == 200 && stale.cache_status().contains("detail=stale-if-error"), "{stale:?}");
    for line in ["GET /a/2", "OPTIONS /a/2"] {
        let answer = proxy.ask(line, &["X-Silent: yes"], "");
        assert_eq!(answer.status(), 504, "{line}: {answer:?}");
        assert!(answer.cache_status().contains("detail=timeout"), "{line}: {answer:?}");
    }
    let fresh = soon(&proxy, "/a/1");
    assert!(fresh.cache_status().contains("fwd=stale") && fresh.cache_status().contains("fwd-status=200"), "{fresh:?}");
    assert!(soon(&proxy, "/a/2").cache_status().contains("; stored"));
}

#[test]
fn an_origin_that_is_back_meets_no_herd() {
    let (open, wait) = gate();
    let origin = Origin::start(move |request, peer| {
        if request.line() != "GET /a/warm" {
            wait();
        }
        write(peer, json(&[], r#""newer""#).as_bytes());
        After::Keep
    });
    let faults = Faults::before(&origin.url, |_| Fault::None);
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{CACHED}", faults.url));
    open.send(()).expect("the origin waits");
    assert_eq!(proxy.get("/a/stale").status(), 200);
    proxy.expire_all();

    faults.refuse();
    for (path, expected) in [("/a/stale", 200), ("/a/none", 502)] {
        for answer in crowd(&proxy, path, || {}) {
            assert_eq!(answer.status(), expected, "{path}: {answer:?}");
        }
    }
    faults.accept();
    origin.times_asked();
    for path in ["/a/stale", "/a/none"] {
        let answers = crowd(&proxy, path, || {
            // All have been sent; behind them, one that is answered.
            assert_eq!(proxy.get("/a/warm").status(), 200);
            // Whoever comes late finds the answer stored, or at worst asks for it a second time.
            (0..2).for_each(|_| open.send(()).expect("the origin waits"));
        });
        assert!(answers.iter().all(|answer| answer.text() == r#""newer""#));
        let asked =
            std::iter::from_fn(|| origin.asked_so_far()).filter(|request| request.line().ends_with(path)).count();
        assert!((1..=2).contains(&asked), "{CROWD} callers of {path} were {asked} requests");
    }
}

/// Asks once, and has the answer soon.
#[track_caller]
fn soon(proxy: &Proxy, path: &str) -> Response {
    let mut client = proxy.connect();
    client.reader.get_ref().set_read_timeout(Some(SOON)).expect("a bound can be set");
    client.ask(&format!("GET {path}"), &[], "");
    client.response()
}

/// Many ask for one key; what they are answered, once `all_have_asked` was done.
#[track_caller]
fn crowd(proxy: &Proxy, path: &str, all_have_asked: impl FnOnce()) -> Vec<Response> {
    let mut clients: Vec<_> = (0..CROWD).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.ask(&format!("GET {path}"), &[], "");
    }
    all_have_asked();
    clients.iter_mut().map(|client| client.response()).collect()
}

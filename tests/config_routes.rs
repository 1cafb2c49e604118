//! Where a path meets a route: [`Routes`] and nothing else.

use freshgate::config::{self, Overrides};
use freshgate::policy::{PatternKind, Routes};

/// The routes of a file: each row a name and its paths.
fn routes(top: &str, rows: &[(&str, &[&str])]) -> Routes {
    let mut text = format!("{top}\n[origin]\nurl = \"http://127.0.0.1:3000\"\n");
    if top.contains("case_insensitive") {
        text = format!("[origin]\nurl = \"http://127.0.0.1:3000\"\n{top}\n");
    }
    for (name, paths) in rows {
        text += &format!("[[route]]\nname = {name:?}\npaths = {paths:?}\n");
    }
    let loaded = config::parse(&text, "f", &Overrides::default(), &|_| None);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).policy.routes
}

const SHOP: &[(&str, &[&str])] = &[
    ("anything", &["/products/{*rest}", "/files/{*path}"]),
    ("products", &["/products", "/products/{id}"]),
    ("search", &["/products/search"]),
    ("variants", &["/products/{id}/variants"]),
];

/// Asserts the route and the parameters of a path, given as a client sends it.
#[track_caller]
fn check(routes: &Routes, path: &str, name: &str, params: &[(&str, &str)]) {
    let selected_path = routes.matching_form(path);
    let selected = routes.select(&selected_path);
    assert_eq!(
        (selected.route.name.as_str(), selected.params().collect::<Vec<_>>()),
        (name, params.to_vec()),
        "{path}"
    );
}

#[test]
fn literal_beats_id_beats_remainder() {
    let routes = routes("", SHOP);
    check(&routes, "/products", "products", &[]);
    check(&routes, "/products/search", "search", &[]);
    check(&routes, "/products/5", "products", &[("id", "5")]);
    check(&routes, "/products/searching", "products", &[("id", "searching")]);
    check(&routes, "/products/5/variants", "variants", &[("id", "5")]);
    check(&routes, "/products/search/variants", "variants", &[("id", "search")]);
    check(&routes, "/products/5/images/1", "anything", &[("rest", "5/images/1")]);
    check(&routes, "/files/a/b", "anything", &[("path", "a/b")]);
    check(&routes, "/files", "unrouted", &[]);
    // A remainder is never empty: one slash is no part of the matching form, the other leads nowhere.
    check(&routes, "/files//", "unrouted", &[]);
    check(&routes, "/", "unrouted", &[]);
}

#[test]
fn file_order_means_nothing() {
    let backwards: Vec<_> = SHOP.iter().rev().copied().collect();
    let (forth, back) = (routes("", SHOP), routes("", &backwards));
    for path in ["/products", "/products/search", "/products/5", "/products/5/variants", "/products/5/x", "/else"] {
        assert_eq!(forth.select(path).route.name, back.select(path).route.name, "{path}");
    }
}

#[test]
fn the_matching_form_undoes_percent_encoding_and_one_trailing_slash() {
    let routes = routes("", SHOP);
    check(&routes, "/products/", "products", &[]);
    check(&routes, "/%70roducts/5/", "products", &[("id", "5")]);
    check(&routes, "/products/%C3%A4", "products", &[("id", "ä")]);
    for (path, form) in [
        ("/", "/"),
        ("/a//", "/a/"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb%", "/a/b%"),
        ("/a%zz%4", "/a%zz%4"),
        // What is not UTF-8 has one spelling.
        ("/%61%fF%C3", "/a%FF%C3"),
        ("/%2541", "/%41"),
    ] {
        assert_eq!(routes.matching_form(path), form, "{path}");
    }
}

#[test]
fn case_means_nothing_only_where_the_origin_says_so() {
    let rows: &[(&str, &[&str])] = &[("products", &["/Products/{productId}"])];
    let exact = routes("", rows);
    check(&exact, "/Products/A5", "products", &[("productId", "A5")]);
    check(&exact, "/products/A5", "unrouted", &[]);
    let insensitive = routes("case_insensitive = true", rows);
    check(&insensitive, "/PRODUCTS/A5", "products", &[("productId", "a5")]);
}

#[test]
fn a_base_stands_before_every_path() {
    let routes =
        routes("[server]\nbase = \"/api/v1/\"", &[("root", &["/", "/{*rest}"]), ("products", &["/products/{id}"])]);
    check(&routes, "/api/v1", "root", &[]);
    check(&routes, "/api/v1/", "root", &[]);
    check(&routes, "/api/v1/products/5", "products", &[("id", "5")]);
    check(&routes, "/products/5", "unrouted", &[]);
}

#[test]
fn a_pattern_is_a_collection_an_item_or_a_remainder() {
    let routes = routes("", SHOP);
    let kinds: Vec<_> = routes
        .iter()
        .flat_map(|route| &route.patterns)
        .map(|pattern| (pattern.text.as_str(), pattern.kind, pattern.literal_prefix.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("/products/{*rest}", PatternKind::Remainder, "/products/"),
            ("/files/{*path}", PatternKind::Remainder, "/files/"),
            ("/products", PatternKind::Collection, "/products"),
            ("/products/{id}", PatternKind::Item, "/products/"),
            ("/products/search", PatternKind::Collection, "/products/search"),
            ("/products/{id}/variants", PatternKind::Item, "/products/"),
        ]
    );
}

#[test]
fn a_path_lies_below_every_route_that_whole_segments_of_it_match() {
    let routes = routes("", &SHOP[1..]);
    let below = |path: &str| routes.below(path).map(|found| found.route.name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(below("/products/5/adjust"), "products products", "an item, and the collection that it lies below");
    assert_eq!(below("/products/5/variants/7/move"), "variants products products");
    assert_eq!(below("/products/search/again"), "search products");
    assert_eq!(below("/products/5"), "products", "an item lies below its collection");
    assert_eq!(below("/productsearch"), "");
    assert_eq!(below("/products"), "", "nothing lies below itself");
    assert_eq!(below("/else/where"), "");
    assert_eq!(below("/"), "");
    assert_eq!(below("*"), "");
}

#[test]
fn everything_lies_below_a_route_at_the_root() {
    let routes = routes("", &[("root", &["/"]), ("products", &["/products"])]);
    assert_eq!(routes.below("/else/where").next().expect("the root").route.name, "root");
    assert_eq!(routes.below("/products/5").next().expect("products").route.name, "products");
}

#[test]
fn a_literal_prefix_is_compared_by_character() {
    let check = |routes: &Routes, path: &str, names: &[&str]| {
        let found: Vec<_> = routes.with_literal_prefix_of(path).map(|route| route.name.as_str()).collect();
        assert_eq!(found, names, "{path}");
    };
    let shop = routes("", SHOP);
    check(&shop, "/products/5/adjust", &["anything", "products", "variants"]);
    check(&shop, "/products/search/x", &["anything", "products", "search", "variants"]);
    check(&shop, "/products-export", &["anything", "products", "variants"]);
    check(&shop, "/product", &[]);
    check(&shop, "/files", &["anything"]);
    check(&routes("", &[("root", &["/"])]), "/else", &["root"]);
    check(&routes("case_insensitive = true", &[("a", &["/Alpha/{id}"])]), "/alpha/5/x", &["a"]);
}

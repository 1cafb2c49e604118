//! The configuration as people meet it: what each file comes to, and by exact text, what is wrong with a bad one.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use freshgate::cli::check;
use freshgate::config::{self, ConfigErrors, Loaded, Overrides, Source};
use freshgate::policy::{Credential, Freshness, IMPLICIT, Mode, OriginCacheControl, Relation, Route, Scope, Token};

const ORIGIN: &str = "[origin]\nurl = \"http://127.0.0.1:3000\"\n";

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    config::parse(text, "freshgate.toml", &Overrides::default(), &no_env)
}

#[track_caller]
fn sound(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What a person reads about `text`, which must be refused.
#[track_caller]
fn refused(text: &str) -> String {
    parse(text).expect_err("the file should be refused").to_string()
}

/// A file with an origin and one route, whose body is given.
fn with_route(body: &str) -> String {
    format!("{ORIGIN}[[route]]\nname = \"products\"\npaths = [\"/products\", \"/products/{{id}}\"]\n{body}\n")
}

#[track_caller]
fn route<'l>(loaded: &'l Loaded, name: &str) -> &'l Route {
    loaded.policy.routes.iter().find(|route| route.name == name).expect(name)
}

fn load(path: &str) -> Loaded {
    let env = |name: &str| match name {
        "FRESHGATE_ADMIN_TOKEN" => Some("t0k3n".to_owned()),
        "JWT_SECRET" => Some("what the tokens are signed with".to_owned() + " in tests"),
        _ => None,
    };
    config::load(Path::new(path), &Overrides::default(), &env).unwrap_or_else(|errors| panic!("{errors}"))
}

// --- what is wrong, by exact text -----------------------------------------------------------------------------------

#[test]
fn a_misspelt_key_is_named_with_the_one_that_was_meant() {
    let text = "[sever]\n[server]\nlistn = \"127.0.0.1:1\"\n".to_owned()
        + &with_route("freshh = \"30m\"\nnonsense = 1\n[route.etag]\nignored = []\n");
    insta::assert_snapshot!(refused(&text));
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_file() {
    insta::assert_snapshot!(refused(
        r#"
[server]
listen = ["localhost:8080", ":8081", "nowhere"]
threads = 0
hosts = ["https://shop.example"]
base = "api"
trusted_proxies = ["10.0.0.0/33"]
tls = { cert = "cert.pem" }
[server.limits]
connections = "many"
header_bytes = 32768
[origin]
url = "ftp://127.0.0.1"
connect_timeout = "0s"
max_concurrent = -1
[identity]
credentials = ["authorization", "cookie", "cookie:session", "x y"]
"#
    ));
}

#[test]
fn what_is_no_toml_is_located_too() {
    insta::assert_snapshot!(refused("[server]\nlisten = \"127.0.0.1:8080\nthreads = 2\n[origin]\nurl 3\n"));
}

#[test]
fn a_key_given_twice_is_located() {
    insta::assert_snapshot!(refused("[origin]\nurl = \"http://a\"\nurl = \"http://b\"\n"));
}

#[test]
fn values_of_the_wrong_form_say_what_to_write() {
    insta::assert_snapshot!(refused(&with_route(
        r#"fresh = 30
negative = "5 s"
settle = "400d"
stale_if_error = "99999999999999999999h"
scope = "claim:"
mode = "cached"
origin_cache_control = true
client_cache_control = "no cache"
vary = ["*"]
query = { ignore = ["utm_*", "*_id"], sort = 1 }
reads = ["post", "GET"]
writes = ["POST"]
[route.etag]
ignore = ["meta.generated_at", "/a~b"]
fields = ["x total"]
[route.last_modified]
zone = "Mars/Olympus"
"#
    )));
}

#[test]
fn sizes_and_numbers_out_of_bounds_are_refused() {
    insta::assert_snapshot!(refused(&format!(
        "{ORIGIN}request_buffer = \"1mb\"\nmax_concurrent = 99999999999999999999\n\
         [cache]\nmemory = \"99999999GiB\"\nmax_body = \"-1B\"\n\
         [server.limits]\nheader_count = 10001\n"
    )));
}

#[test]
fn an_origin_is_the_one_thing_that_has_to_be_written() {
    insta::assert_snapshot!(refused("[cache]\nmemory = \"1MiB\"\n"));
}

#[test]
fn origins_that_make_no_sense_are_refused() {
    let rows = [
        "127.0.0.1:3000",
        "http://",
        "http://user:secret@api.example",
        "http://api.example/?a=b",
        "http://api.example/#top",
        "http://api.example:0",
        "http://api.example:70000",
        "http://localhost:8080",
        "http://127.0.0.1:8080/api",
    ];
    let texts = rows.map(|url| refused(&format!("[origin]\nurl = \"{url}\"\n")).replace("\n\n1 problem\n", ""));
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn paths_that_could_never_match_or_match_twice_are_refused() {
    insta::assert_snapshot!(refused(&format!(
        r#"{ORIGIN}
[[route]]
name = "products"
paths = ["products", "/products/", "/p?x=1", "/a%20b", "/{{id", "/{{a}}-{{b}}", "/{{a b}}", "/{{id}}/{{id}}", "/{{*rest}}/x", "/a//b"]
[[route]]
name = "one"
paths = ["/one/{{id}}", "/two"]
[[route]]
name = "other"
paths = ["/one/{{number}}", "/two", "/three", "/three"]
[[route]]
name = "empty"
paths = []
"#
    )));
}

#[test]
fn names_are_one_word_and_given_once() {
    insta::assert_snapshot!(refused(&format!(
        "{ORIGIN}[[route]]\nname = \"a\"\npaths = [\"/a\"]\n[[route]]\nname = \"a\"\npaths = [\"/b\"]\n\
         [[route]]\nname = \"{IMPLICIT}\"\npaths = [\"/c\"]\n[[route]]\nname = \"d e\"\npaths = [\"/d\"]\nentity = \"\"\n\
         [[route]]\nfresh = \"1m\"\n"
    )));
}

#[test]
fn relations_name_routes_and_parameters_that_exist() {
    insta::assert_snapshot!(refused(&with_route(
        "invalidates = [\"product\", \"elsewhere\", \"/stock/{id}\", \"/stock/{number}\", \"/stock/\"]"
    )));
}

#[test]
fn what_could_have_no_effect_is_refused_where_a_route_says_it_itself() {
    insta::assert_snapshot!(refused(&format!(
        "{ORIGIN}[[route]]\nname = \"a\"\npaths = [\"/a\"]\nstale_while_revalidate = \"1m\"\n\
         stale_if_error = \"8h\"\norigin_cache_control = \"ignore\"\n\
         [[route]]\nname = \"b\"\npaths = [\"/b\"]\nmode = \"pass\"\nfresh = \"1m\"\n\
         [[route]]\nname = \"c\"\npaths = [\"/c\"]\nlast_modified = {{ zone = \"UTC\" }}\n"
    )));
    // In [defaults] the same may be meant for other routes.
    sound(&format!(
        "{ORIGIN}[defaults]\nstale_while_revalidate = \"1m\"\nlast_modified = {{ zone = \"UTC\" }}\n\
         [[route]]\nname = \"a\"\npaths = [\"/a\"]\n"
    ));
}

#[test]
fn a_problem_in_defaults_is_told_once_however_many_routes_inherit_it() {
    insta::assert_snapshot!(refused(&format!(
        "{ORIGIN}[defaults]\nvary = [\"a b\"]\n[[route]]\nname = \"a\"\npaths = [\"/a\"]\n\
         [[route]]\nname = \"b\"\npaths = [\"/b\"]\n"
    )));
}

#[test]
fn the_admin_listener_is_its_own_and_guarded() {
    insta::assert_snapshot!(refused(&format!("{ORIGIN}[admin]\nlisten = \"0.0.0.0:8080\"\n")));
}

#[test]
fn tables_and_lists_are_not_taken_for_each_other() {
    insta::assert_snapshot!(refused("server = 1\nroute = [1]\n[origin]\nurl = []\n[admin]\nlisten = {}\n"));
    insta::assert_snapshot!(refused(&format!("{ORIGIN}[route]\nname = \"a\"\n")));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let errors =
        config::load(Path::new("config/nowhere.toml"), &Overrides::default(), &no_env).expect_err("no such file");
    insta::assert_snapshot!(errors.to_string());
}

#[test]
fn a_problem_knows_its_line_and_column() {
    let errors =
        parse("[origin]\nurl = \"http://127.0.0.1:3000\"\nhost = \"both\"\n").expect_err("host is no such word");
    let places: Vec<_> = errors.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(Some(3), Some(8))]);
}

proptest::proptest! {
    /// Whatever is done to a good file, the answer is a policy or a list of problems.
    #[test]
    fn a_damaged_file_is_refused_or_read_and_nothing_else(at in 0.0..1.0f64, cut in 0usize..40, put in "\\PC{0,12}") {
        let mut text = std::fs::read_to_string("config/reference.toml").expect("the reference is in the tree");
        let start = text.floor_char_boundary((text.len() as f64 * at) as usize);
        let end = text.ceil_char_boundary(start + cut);
        text.replace_range(start..end, &put);
        match parse(&text) {
            Ok(loaded) => proptest::prop_assert!(!check::report(&loaded).is_empty()),
            Err(errors) => proptest::prop_assert!(errors.to_string().contains("error: ")),
        }
    }
}

// --- secrets --------------------------------------------------------------------------------------------------------

#[test]
fn a_secret_comes_from_the_environment_or_a_file() {
    let dir = tempfile::tempdir().expect("a directory for the secret");
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").expect("the file can be written");
    let env = |name: &str| (name == "TOKEN").then(|| "from-env".to_owned());
    for (written, secret) in [("env:TOKEN".to_owned(), "from-env"), (format!("file:{}", file.display()), "from-file")] {
        let text = format!("{ORIGIN}[admin]\ntoken = \"{written}\"\n");
        let loaded = config::parse(&text, "f", &Overrides::default(), &env).expect("the secret is there");
        let Token::Required(token) = &loaded.policy.admin.token else { panic!("a token was written") };
        assert_eq!(token, secret);
        assert!(!format!("{:?}{}", loaded, check::report(&loaded)).contains(secret), "the secret was printed");
    }
}

#[test]
fn a_secret_that_cannot_be_had_is_refused() {
    let text = |token: &str| refused(&format!("{ORIGIN}[admin]\ntoken = \"{token}\"\n"));
    insta::assert_snapshot!(text("env:TOKEN") + "\n" + &text("file:/nowhere/token"));
    let env = |_: &str| Some(String::new());
    let empty = config::parse(
        &format!("{ORIGIN}[admin]\ntoken = \"env:TOKEN\"\n"),
        "freshgate.toml",
        &Overrides::default(),
        &env,
    );
    insta::assert_snapshot!(empty.expect_err("an empty token guards nothing").to_string());
}

#[test]
fn a_secret_written_into_the_file_is_never_printed() {
    for line in [
        "[origin]\nurl = \"http://user:hunter2@api.example/#top\"",
        "token = \"hunter2\"",
        "tokn = \"hunter2\"",
        "token = \"hunter2",
        "token = [\"hunter2\"]",
        "listen = 1\ntoken = \"hunter2\" x",
    ] {
        let shown = refused(&format!("[admin]\n{line}\n"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    insta::assert_snapshot!(refused(&format!("{ORIGIN}[admin]\ntoken = \"hunter2\"\n")));
}

// --- what it comes to -----------------------------------------------------------------------------------------------

#[test]
fn the_reference_says_the_defaults() {
    let minimal = with_route("").replace("products", "example");
    let (reference, minimal) = (load("config/reference.toml").policy, sound(&minimal).policy);
    assert_eq!(format!("{reference:#?}"), format!("{minimal:#?}"));
}

#[test]
fn the_reference_has_every_key_and_no_other_each_with_a_sentence() {
    let text = std::fs::read_to_string("config/reference.toml").expect("the reference is in the tree");
    let shown: String = text.lines().map(|line| uncommented(line).to_owned() + "\n").collect();
    // What a key without a default is shown with must be acceptable as well; extra roots go with https, and of two keys
    // that exclude each other the first is tried.
    let env = |_: &str| Some("a-secret-of-forty-visible-ASCII-octets..".to_owned());
    let with_examples = shown.replace("http://", "https://").replace("\njwks_file = ", "\n#jwks_file = ");
    config::parse(&with_examples, "reference", &Overrides::default(), &env).unwrap_or_else(|e| panic!("{e}"));

    let table: toml::Table = shown.parse().expect("the reference is TOML");
    let mut keys = BTreeSet::new();
    flatten("", &toml::Value::Table(table), &mut keys);
    assert_eq!(keys, config::known_keys().into_iter().collect());

    let lines: Vec<&str> = text.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let line = uncommented(line);
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with("# ") && above.ends_with('.'), "no sentence stands above {line}");
        }
    }
}

/// `#key = …` shows a key that has no default; prose begins with a space after the `#`.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[')).unwrap_or(line)
}

fn flatten(path: &str, value: &toml::Value, keys: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, keys);
            }
        }
        toml::Value::Array(array) if array.iter().any(toml::Value::is_table) => {
            array.iter().for_each(|value| flatten(path, value, keys));
        }
        _ => {
            keys.insert(path.to_owned());
        }
    }
}

#[test]
fn the_pos_file_holds_the_freshness_matrix() {
    let loaded = load("config/pos.toml");
    let matrix: Vec<(&str, u64)> = loaded
        .policy
        .routes
        .iter()
        .filter_map(|route| match route.freshness {
            Freshness::For(fresh) if route.mode == Mode::Cache => Some((route.name.as_str(), fresh.as_secs())),
            _ => None,
        })
        .collect();
    let minutes = 60;
    assert_eq!(
        matrix,
        [
            ("units", 60 * minutes),
            ("categories", 30 * minutes),
            ("brands", 30 * minutes),
            ("products", 5 * minutes),
            ("variants", 5 * minutes),
            ("stock", 30),
            ("sales", minutes),
            ("purchases", minutes),
            ("reports", 5 * minutes),
        ]
    );
    assert_eq!(route(&loaded, "stock").stale_while_revalidate, Duration::ZERO);
    for route in loaded.policy.routes.iter().filter(|route| route.name != IMPLICIT && route.mode == Mode::Cache) {
        assert_eq!(route.scope, Scope::Claim("tenant_id".into()), "{}", route.name);
        assert_eq!(route.origin_cache_control, OriginCacheControl::Ignore, "{}", route.name);
        assert_eq!(route.etag.ignore, ["/meta/generated_at"], "{}", route.name);
        assert_eq!(route.last_modified.field, "updated_at", "{}", route.name);
    }
}

#[test]
fn the_pos_file_holds_the_relations() {
    let loaded = load("config/pos.toml");
    let routes = &loaded.policy.routes;
    let mutation = |path: &str| -> Vec<String> {
        let named = |relation: &Relation| match relation {
            Relation::Route(id) => routes.get(*id).name.clone(),
            Relation::Path(path) => path.clone(),
        };
        routes.select(path).route.invalidates.iter().map(named).collect()
    };
    assert_eq!(mutation("/sales"), ["stock", "reports"]);
    assert_eq!(mutation("/purchases"), ["stock"]);
    assert_eq!(mutation("/products/5/adjust"), ["stock"]);
    for edited in ["/categories/5", "/brands/5", "/units/5"] {
        assert_eq!(mutation(edited), ["products", "variants"], "{edited}");
    }
    assert_eq!(mutation("/products/5"), ["/products/{id}/variants"]);
    assert_eq!(routes.select("/products/5/adjust").route.mode, Mode::Pass);
}

#[test]
fn check_says_where_each_value_came_from() {
    insta::assert_snapshot!(check::report(&load("config/pos.toml")));
}

#[test]
fn check_advises_where_the_file_may_not_do_what_was_meant() {
    let text = format!(
        "[server]\nbase = \"/api\"\n{ORIGIN}[identity]\ncredentials = []\n[cache]\nmemory = \"1MiB\"\n\
         [[route]]\nname = \"a\"\npaths = [\"/a\", \"/a/{{id}}\"]\nfresh = \"1m\"\nclient_cache_control = \"public, max-age=60\"\n\
         invalidates = [\"/b/{{id}}\"]\nreads = [\"POST\"]\nwrites = [\"GET\"]\n\
         [[route]]\nname = \"b\"\npaths = [\"/b/{{id}}\"]\nentity = \"a\"\nscope = \"public\"\n"
    );
    insta::assert_snapshot!(check::report(&sound(&text)));
    insta::assert_snapshot!(check::report(&sound(ORIGIN)));
}

/// The stock would stay as it was, with nobody to say so.
#[test]
fn check_names_a_route_whose_mutations_invalidate_nothing() {
    let with = |invalidates: &str| {
        let report = check::report(&sound(&format!(
            "{ORIGIN}[[route]]\nname = \"stock\"\npaths = [\"/stock\"]\nfresh = \"1m\"\n[[route]]\nname = \"adjustments\"\n\
             paths = [\"/products/{{id}}/adjust\"]\nmode = \"pass\"\n{invalidates}"
        )));
        report.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let advice = "Advice: a mutation on /products/{id}/adjust invalidates nothing that is stored. If it changes what \
                  another route shows, name that route in `invalidates`.";
    assert!(with("").contains(advice), "{}", with(""));
    assert!(!with("invalidates = [\"stock\"]\n").contains("nothing that is stored"));
}

#[test]
fn a_route_inherits_key_by_key() {
    let loaded = sound(&format!(
        "{ORIGIN}[defaults]\nfresh = \"1m\"\n[defaults.etag]\nignore = [\"/a\"]\nfields = [\"X-Total\"]\n\
         [[route]]\nname = \"own\"\npaths = [\"/own\"]\nfresh = \"2m\"\n[route.etag]\nignore = []\n\
         [[route]]\nname = \"inherited\"\npaths = [\"/inherited\"]\n"
    ));
    let (own, inherited) = (route(&loaded, "own"), route(&loaded, "inherited"));
    assert_eq!(own.freshness, Freshness::For(Duration::from_secs(120)));
    assert_eq!(inherited.freshness, Freshness::For(Duration::from_secs(60)));
    assert_eq!((own.etag.ignore.len(), own.etag.fields.as_slice()), (0, ["x-total".to_owned()].as_slice()));
    assert_eq!(loaded.provenance.of(own.id, "fresh"), Source::Route(11));
    assert_eq!(loaded.provenance.of(own.id, "etag.fields"), Source::Defaults(7));
    assert_eq!(loaded.provenance.of(inherited.id, "fresh"), Source::Defaults(4));
    assert_eq!(loaded.provenance.of(inherited.id, "scope"), Source::Default);
}

#[test]
fn some_defaults_depend_on_fresh() {
    let plain = sound(&with_route(""));
    let governed = sound(&with_route("fresh = \"1m\""));
    let words = |loaded: &Loaded| {
        let route = route(loaded, "products");
        (route.vary.join(","), route.request_cache_control.word())
    };
    assert_eq!(words(&plain), (String::new(), "respect"));
    assert_eq!(words(&governed), ("accept,accept-language".to_owned(), "reload"));
}

#[test]
fn paths_without_a_route_inherit_nothing_that_loosens_or_rewrites() {
    let loaded = sound(&format!(
        "{ORIGIN}[defaults]\nfresh = \"1m\"\nscope = \"public\"\nset_cookie = \"strip\"\nsettle = \"2s\"\n\
         origin_cache_control = \"ignore\"\netag = {{}}\n"
    ));
    let implicit = loaded.policy.routes.implicit();
    assert_eq!(implicit.freshness, Freshness::Origin);
    assert_eq!(implicit.scope, Scope::User);
    assert_eq!(implicit.origin_cache_control, OriginCacheControl::Respect);
    assert_eq!(implicit.set_cookie.word(), "refuse");
    assert!(!implicit.etag.replace);
    assert_eq!(implicit.settle, Duration::from_secs(2));
}

#[test]
fn validators_are_added_unless_the_file_leaves_them_to_the_origin() {
    let words = |text: &str| {
        let loaded = sound(text);
        [route(&loaded, "products").validators.word(), loaded.policy.routes.implicit().validators.word()]
    };
    assert_eq!(words(&with_route("")), ["add", "add"]);
    assert_eq!(words(&with_route("validators = \"origin\"")), ["origin", "add"]);
    assert_eq!(words(&format!("{}[defaults]\nvalidators = \"origin\"\n", with_route(""))), ["origin", "origin"]);
    let refused = refused(&with_route("validators = \"origin\"\n[route.etag]\n"));
    assert!(refused.contains("`etag` has no effect where validators is \"origin\""), "{refused}");
}

#[test]
fn routes_of_one_entity_share_its_number() {
    let loaded = sound(&format!(
        "{ORIGIN}[[route]]\nname = \"a\"\npaths = [\"/a\"]\nentity = \"x\"\n[[route]]\nname = \"b\"\npaths = [\"/b\"]\n\
         [[route]]\nname = \"c\"\npaths = [\"/c\"]\nentity = \"x\"\n"
    ));
    assert_eq!(route(&loaded, "a").entity_id, route(&loaded, "c").entity_id);
    assert_ne!(route(&loaded, "a").entity_id, route(&loaded, "b").entity_id);
    assert_ne!(route(&loaded, "b").entity_id, route(&loaded, IMPLICIT).entity_id);
}

#[test]
fn an_origin_is_taken_apart() {
    #[track_caller]
    fn check(url: &str, tls: bool, name: &str, port: u16, path: &str, authority: &str) {
        let origin = sound(&format!("[origin]\nurl = \"{url}\"\n")).policy.origin;
        let parts = (origin.tls, origin.name.as_str(), origin.port, origin.path.as_str());
        assert_eq!(parts, (tls, name, port, path));
        assert_eq!(origin.authority(), authority);
    }
    check("http://127.0.0.1:3000", false, "127.0.0.1", 3000, "", "127.0.0.1:3000");
    check("https://API.example/", true, "api.example", 443, "", "api.example");
    check("https://api.example:8443/v1/", true, "api.example", 8443, "/v1", "api.example:8443");
    check("http://[::1]:3000/a/b", false, "::1", 3000, "/a/b", "[::1]:3000");
    check("http://[::1]", false, "::1", 80, "", "[::1]");
}

#[test]
fn one_cookie_can_stand_for_all() {
    let loaded = sound(&format!("{ORIGIN}[identity]\ncredentials = [\"Authorization\", \"cookie:SID\"]\n"));
    let expected = [Credential::Field("authorization".to_owned()), Credential::Cookie("SID".to_owned())];
    assert_eq!(loaded.policy.identity.credentials, expected);
}

// --- the command line -----------------------------------------------------------------------------------------------

#[test]
fn a_first_run_without_fresh_answers_nothing_unasked() {
    let flags = Overrides { origin: Some("http://127.0.0.1:3000".to_owned()), ..Overrides::default() };
    let policy = config::from_flags(&flags).expect("an origin is enough").policy;
    assert_eq!(policy.routes.iter().count(), 1);
    assert_eq!(policy.routes.select("/products").route.freshness, Freshness::Origin);
    assert_eq!(policy.admin.listen.port(), 9090);
}

#[test]
fn a_first_run_on_any_free_port_lets_operators_connect_to_one_too() {
    let (origin, listen) = (Some("http://127.0.0.1:3000".to_owned()), Some("127.0.0.1:0".to_owned()));
    let flags = Overrides { origin, listen, fresh: None };
    let policy = config::from_flags(&flags).expect("nothing is wrong with these").policy;
    assert_eq!((policy.server.listen[0].port(), policy.admin.listen.port()), (0, 0));
}

#[test]
fn a_first_run_with_fresh_lets_every_mutation_invalidate_everything() {
    let flags = Overrides {
        origin: Some("http://127.0.0.1:3000".to_owned()),
        listen: Some("127.0.0.1:8181".to_owned()),
        fresh: Some(Duration::from_secs(30)),
    };
    let loaded = config::from_flags(&flags).expect("nothing is wrong with these");
    assert_eq!(loaded.policy.server.listen, ["127.0.0.1:8181".parse().expect("an address")]);
    for path in ["/", "/products", "/products/5/variants"] {
        let route = loaded.policy.routes.select(path).route;
        assert_eq!(route.name, "everything", "{path}");
        assert_eq!(route.freshness, Freshness::For(Duration::from_secs(30)));
        assert_eq!(route.scope, Scope::User);
        assert_eq!(route.invalidates, [Relation::Route(route.id)]);
        assert_eq!(loaded.provenance.of(route.id, "fresh"), Source::Flag("--fresh"));
    }
    insta::assert_snapshot!(check::report(&loaded));
}

#[test]
fn flags_outrank_the_file() {
    let flags = Overrides {
        origin: Some("https://api.example".to_owned()),
        listen: Some("127.0.0.1:8181".to_owned()),
        fresh: Some(Duration::from_secs(30)),
    };
    let text = with_route("") + "[[route]]\nname = \"b\"\npaths = [\"/b\"]\nfresh = \"1m\"\n";
    let loaded = config::parse(&text, "f", &flags, &no_env).expect("nothing is wrong with these");
    assert_eq!(loaded.policy.origin.authority(), "api.example");
    assert_eq!(loaded.policy.server.listen, ["127.0.0.1:8181".parse().expect("an address")]);
    // A route that says how long it is fresh was thought about; the flag is for the others.
    assert_eq!(route(&loaded, "products").freshness, Freshness::For(Duration::from_secs(30)));
    assert_eq!(route(&loaded, "b").freshness, Freshness::For(Duration::from_secs(60)));
}

#[test]
fn what_is_wrong_with_a_flag_names_the_flag() {
    let flags = Overrides { origin: Some("api.example".to_owned()), listen: Some(":8080".to_owned()), fresh: None };
    let errors = config::from_flags(&flags).expect_err("neither is sound");
    let nothing = config::from_flags(&Overrides::default()).expect_err("no origin");
    insta::assert_snapshot!(errors.to_string() + "\n" + &nothing.to_string());
}

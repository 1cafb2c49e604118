//! What `freshgate check` prints: each route as it was resolved, where each value came from, what its mutations
//! invalidate, and what its owner may want to know.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::admin_client::{Failure, Target};
use crate::cli::serve::CONFIG;
use crate::cli::stats;
use crate::config::{self, Loaded, Overrides, Source, show_duration, show_size};
use crate::edge::admin::StatsAnswer;
use crate::policy::{
    Credential, Freshness, Mode, OriginCacheControl, Pattern, PatternKind, Policy, Relation, Route, Routes, Scope,
    Token,
};
use crate::semantics::invalidation;

/// Print each route's resolved policy, and where each value came from; or all errors at once
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also ask a running proxy what it has found out of these routes; its token is read from FRESHGATE_ADMIN_TOKEN
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

/// Prints the report, or what is wrong with the file; with `--admin` also which routes a running proxy demoted, and which
/// mutations it saw do nothing.
pub fn run(args: &Args) -> ExitCode {
    let code = check(args);
    let Some(admin) = args.admin.clone().filter(|_| code == ExitCode::SUCCESS) else { return code };
    let target = Target { admin };
    match target.get("/stats").and_then(|answer| stats::read(&target, answer)) {
        Ok(answer) => {
            print!("{}", found_out(&answer, &target.admin));
            code
        }
        Err(Failure { code, message }) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

/// What a running proxy has found out of the routes.
fn found_out(answer: &StatsAnswer, admin: &str) -> String {
    let mut out = stats::kept_apart(&answer.demoted);
    if answer.demoted.is_empty() {
        write(&mut out, format_args!("\n{admin} keeps no route's callers apart that were to share.\n"));
    }
    match stats::unmatched(&answer.stats.unmatched) {
        none if none.is_empty() => {
            write(
                &mut out,
                format_args!("{admin} has seen no mutation without a route, or that invalidated nothing.\n"),
            );
        }
        some => out.push_str(&some),
    }
    out
}

fn check(args: &Args) -> ExitCode {
    match config::load(&args.config, &Overrides::default(), &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            print!("{}", report(&loaded));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprint!("{errors}");
            ExitCode::from(CONFIG)
        }
    }
}

/// The whole report on a configuration that is sound.
pub fn report(loaded: &Loaded) -> String {
    let policy = &loaded.policy;
    let mut out = head(loaded);
    for route in policy.routes.iter() {
        if route.id == policy.routes.implicit().id {
            continue;
        }
        out.push('\n');
        describe(route, loaded, &mut out);
    }
    out.push_str("\nEvery other path\n");
    out.push_str("    Plain mode: the origin's own fields decide (RFC 9111), and nothing that it sent is rewritten.\n");
    out.push_str(
        "    A mutation invalidates its own URL, same-origin Location and Content-Location (RFC 9111 §4.4), the\n",
    );
    out.push_str("    routes that it lies below, and each route whose paths begin as its own does.\n");
    for advice in general_advice(policy) {
        let lines = wrapped("Advice: ", " ", advice.split(' '));
        write(&mut out, format_args!("\n{}\n", lines.join("\n")));
    }
    out
}

/// Writing to a `String` cannot fail.
fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String cannot fail");
}

fn head(loaded: &Loaded) -> String {
    let Policy { server, origin, admin, cache, identity, routes } = &loaded.policy;
    let name = if loaded.provenance.file.is_empty() { "The command line" } else { &loaded.provenance.file };
    let count = match routes.iter().count() - 1 {
        1 => "1 route".to_owned(),
        n => format!("{n} routes"),
    };
    let scheme = if origin.tls { "https" } else { "http" };
    let listen = server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let token = match admin.token {
        Token::Open => "no token",
        Token::Required(_) => "a token",
    };
    let credential = |credential: &Credential| match credential {
        Credential::Field(name) => name.clone(),
        Credential::Cookie(name) => format!("cookie:{name}"),
    };
    let credentials: Vec<String> = identity.credentials.iter().map(credential).collect();
    let mut out = format!("{name} is sound: {count}.\n\n");
    write(&mut out, format_args!("    origin       {scheme}://{}{}\n", origin.authority(), origin.path));
    write(&mut out, format_args!("    listen       {listen}\n"));
    write(&mut out, format_args!("    admin        {}, {token}\n", admin.listen));
    write(&mut out, format_args!("    memory       {}\n", show_size(cache.memory)));
    write(&mut out, format_args!("    credentials  {}\n", list(&credentials)));
    if let Some(jwt) = &identity.jwt {
        let (algorithm, from) = (jwt.algorithm.word(), credential(&jwt.from));
        write(&mut out, format_args!("    jwt          {algorithm} in {from}, key from {}\n", jwt.source));
    }
    out
}

fn describe(route: &Route, loaded: &Loaded, out: &mut String) {
    let routes = &loaded.policy.routes;
    write(out, format_args!("{}  {}\n", route.name, texts(route.patterns.iter().map(|p| &p.text))));
    write(out, format_args!("    {}\n", freshness_sentence(route)));
    if route.mode == Mode::Cache {
        write(out, format_args!("    {}\n", route.scope.sentence()));
    }
    for (who, what) in mutations(route, routes) {
        write(out, format_args!("    {who} invalidates: {what}\n"));
    }
    let mut defaults = Vec::new();
    for (key, value) in values(route) {
        match loaded.provenance.of(route.id, key) {
            Source::Default => defaults.push(format!("{key} {value}")),
            source => write(out, format_args!("      {key:<23} {value:<28} {source}\n")),
        }
    }
    for line in wrapped("by default: ", "; ", defaults.iter().map(String::as_str)) {
        write(out, format_args!("      {line}\n"));
    }
    for advice in advice(route, routes) {
        for line in wrapped("Advice: ", " ", advice.split(' ')) {
            write(out, format_args!("    {line}\n"));
        }
    }
}

/// The items, with the separator between them, in lines of readable length that are indented like the first.
fn wrapped<'t>(intro: &str, separator: &str, items: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut lines = vec![intro.to_owned()];
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        let end = if items.peek().is_some() { separator } else { "" };
        match lines.last_mut().filter(|line| line.chars().count() + item.chars().count() < 100) {
            Some(line) => *line += &format!("{item}{end}"),
            None => lines.push(format!("{}{item}{end}", " ".repeat(intro.len()))),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

fn freshness_sentence(route: &Route) -> String {
    match (route.mode, route.freshness) {
        (Mode::Pass, _) => route.mode.sentence().to_owned(),
        (Mode::Cache, Freshness::Origin) => {
            "The origin's own fields decide how long a response is fresh (RFC 9111).".to_owned()
        }
        (Mode::Cache, Freshness::For(fresh)) => {
            let mut text = format!("Answered without asking for {}", show_duration(fresh));
            if !route.stale_while_revalidate.is_zero() {
                text += &format!(", while asking for {} more", show_duration(route.stale_while_revalidate));
            }
            if !route.stale_if_error.is_zero() {
                text += &format!(", while the origin fails for {} more", show_duration(route.stale_if_error));
            }
            text + "."
        }
    }
}

/// Every key that has a meaning in the route's mode, by its dotted name, with its resolved value.
fn values(route: &Route) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("entity", route.entity.clone()),
        ("mode", route.mode.word().to_owned()),
        ("settle", show_duration(route.settle)),
        ("reads", list(&route.reads)),
        ("writes", list(&route.writes)),
        ("query_key", list(&route.query_key)),
    ];
    if route.mode == Mode::Cache {
        values.extend(cache_values(route));
    }
    values
}

fn cache_values(route: &Route) -> Vec<(&'static str, String)> {
    let fresh = match route.freshness {
        Freshness::Origin => "none".to_owned(),
        Freshness::For(fresh) => show_duration(fresh),
    };
    vec![
        ("fresh", fresh),
        ("stale_while_revalidate", show_duration(route.stale_while_revalidate)),
        ("stale_if_error", show_duration(route.stale_if_error)),
        ("negative", show_duration(route.negative)),
        ("scope", route.scope.to_string()),
        ("origin_cache_control", route.origin_cache_control.word().to_owned()),
        ("client_cache_control", format!("{:?}", route.client_cache_control)),
        ("request_cache_control", route.request_cache_control.word().to_owned()),
        ("vary", list(&route.vary)),
        ("query.ignore", list(&route.query.ignore)),
        ("query.sort", route.query.sort.to_string()),
        ("set_cookie", route.set_cookie.word().to_owned()),
        ("validators", route.validators.word().to_owned()),
        ("require_if_match", route.require_if_match.to_string()),
        ("etag", if route.etag.replace { "in place of the origin's" } else { "where the origin has none" }.to_owned()),
        ("etag.ignore", list(&route.etag.ignore)),
        ("etag.fields", list(&route.etag.fields)),
        ("last_modified.field", or_none(&route.last_modified.field)),
        ("last_modified.zone", or_none(&route.last_modified.zone)),
    ]
}

fn texts<'t>(texts: impl Iterator<Item = &'t String>) -> String {
    texts.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { texts(names.iter()) }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

/// Which mutations there are on a route, and what each invalidates.
fn mutations(route: &Route, routes: &Routes) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let unsafe_but_read = |method: &str| route.reads.iter().any(|read| read == method);
    for pattern in &route.patterns {
        let (methods, own): (_, Vec<String>) = match pattern.kind {
            PatternKind::Collection => (vec!["POST"], collections(route, routes)),
            PatternKind::Item => {
                let item = std::iter::once("that item".to_owned());
                (vec!["PUT", "PATCH", "DELETE"], item.chain(collections(route, routes)).collect())
            }
            PatternKind::Remainder => continue,
        };
        let methods: Vec<&str> = methods.into_iter().filter(|method| !unsafe_but_read(method)).collect();
        if !methods.is_empty() && route.mode == Mode::Cache {
            let who = format!("{} {}", methods.join(", "), pattern.text);
            rows.push((who, with_relations(own, route, pattern, routes)));
        }
    }
    let relations = route.invalidates.iter().map(|relation| relation_text(relation, routes));
    let what = whole(route, routes).into_iter().chain(relations).collect::<Vec<_>>().join(", ");
    if !what.is_empty() {
        let any = if rows.is_empty() { "Any mutation" } else { "Any other mutation" };
        let writes = match route.writes.as_slice() {
            [] => String::new(),
            writes => format!(", {} too,", list(writes)),
        };
        rows.push((format!("{any} here or below{writes}"), what));
    }
    rows
}

/// The whole route and those that share its entity, unless nothing of them is stored or a relation says so already.
fn whole(route: &Route, routes: &Routes) -> Option<String> {
    let shared = routes.iter().any(|other| other.entity_id == route.entity_id && other.id != route.id);
    let stored = route.mode == Mode::Cache || shared;
    (stored && !invalidates_itself(route, routes)).then(|| format!("{} (whole)", group(route, routes)))
}

fn invalidates_itself(route: &Route, routes: &Routes) -> bool {
    route.invalidates.iter().any(|relation| match relation {
        Relation::Route(id) => routes.get(*id).entity_id == route.entity_id,
        Relation::Path(_) => false,
    })
}

/// The collections of the route and of those that share its entity, where there are any.
fn collections(route: &Route, routes: &Routes) -> Vec<String> {
    let with_collections = routes.iter().filter(|other| {
        other.entity_id == route.entity_id && other.patterns.iter().any(|p| p.kind != PatternKind::Item)
    });
    let names = texts(with_collections.map(|route| &route.name));
    if names.is_empty() { Vec::new() } else { vec![format!("the collections of {names}")] }
}

/// The route and those that share its entity.
fn group(route: &Route, routes: &Routes) -> String {
    let others = routes.iter().filter(|other| other.entity_id == route.entity_id && other.id != route.id);
    std::iter::once(route).chain(others).map(|route| route.name.as_str()).collect::<Vec<_>>().join(" and ")
}

fn with_relations(own: Vec<String>, route: &Route, pattern: &Pattern, routes: &Routes) -> String {
    let own = if invalidates_itself(route, routes) { Vec::new() } else { own };
    let relations = route.invalidates.iter().filter_map(|relation| match relation {
        Relation::Path(path) if !names_all(relation, pattern) => routes_instead_of(path, routes),
        _ => Some(relation_text(relation, routes)),
    });
    own.into_iter().chain(relations).collect::<Vec<_>>().join(", ")
}

/// What a mutation invalidates that lacks a parameter of `path`; `None` where no route begins as that does.
fn routes_instead_of(path: &str, routes: &Routes) -> Option<String> {
    let mut entities = BTreeSet::new();
    let mut each = invalidation::routes_of(path, routes);
    each.retain(|route| entities.insert(route.entity_id));
    let whole: Vec<String> = each.into_iter().map(|route| format!("{} (whole)", group(route, routes))).collect();
    (!whole.is_empty()).then(|| whole.join(", "))
}

/// Whether a mutation on `pattern` has every parameter that a path asks for.
fn names_all(relation: &Relation, pattern: &Pattern) -> bool {
    match relation {
        Relation::Route(_) => true,
        Relation::Path(path) => {
            Pattern::below("", path).parameters().all(|name| pattern.parameters().any(|p| p == name))
        }
    }
}

fn relation_text(relation: &Relation, routes: &Routes) -> String {
    match relation {
        Relation::Route(id) => format!("{} (whole)", group(routes.get(*id), routes)),
        Relation::Path(path) => path.clone(),
    }
}

fn advice(route: &Route, routes: &Routes) -> Vec<String> {
    let mut advice = Vec::new();
    let fruitless = route.patterns.iter().filter(|pattern| invalidation::is_fruitless(pattern, routes));
    let fruitless = texts(fruitless.map(|pattern| &pattern.text));
    if !fruitless.is_empty() {
        advice.push(format!(
            "a mutation on {fruitless} invalidates nothing that is stored. If it changes what another route shows, \
             name that route in `invalidates`."
        ));
    }
    if route.mode == Mode::Pass {
        return advice;
    }
    match (route.freshness, route.origin_cache_control) {
        (Freshness::For(_), OriginCacheControl::Respect) => advice.push(
            "if the origin says no-store, no-cache or must-revalidate, that outranks `fresh`, and Cache-Status says so. \
             If its framework says it on everything, write origin_cache_control=\"ignore\"."
                .to_owned(),
        ),
        (Freshness::Origin, _) => {
            advice.push("add fresh=\"30s\" to answer without asking; an origin without validators is asked for every request.".to_owned());
        }
        (Freshness::For(_), OriginCacheControl::Ignore) => {}
    }
    let told = route.client_cache_control.to_ascii_lowercase();
    let governed = route.freshness != Freshness::Origin;
    if governed && !told.contains("no-cache") && !told.contains("no-store") {
        advice.push(format!(
            "clients that are told {:?} may use their own copy without asking: no mutation reaches it there.",
            route.client_cache_control
        ));
    }
    if governed && route.scope == Scope::User && (told.contains("public") || told.contains("s-maxage")) {
        advice
            .push("a shared cache between here and the clients may give one caller's response to another.".to_owned());
    }
    for relation in &route.invalidates {
        let without = route.patterns.iter().filter(|pattern| !names_all(relation, pattern));
        let without = texts(without.map(|pattern| &pattern.text));
        if let (Relation::Path(path), false) = (relation, without.is_empty()) {
            let instead = routes_instead_of(path, routes).unwrap_or_else(|| "nothing".to_owned());
            advice.push(format!(
                "a mutation on {without} lacks what {path} asks for, and invalidates {instead} in its place."
            ));
        }
    }
    advice
}

fn general_advice(policy: &Policy) -> Vec<String> {
    let mut advice = Vec::new();
    if policy.routes.iter().count() == 1 {
        advice.push(
            "no route says how long anything is fresh; begin with a [[route]], its paths and fresh=\"30s\".".to_owned(),
        );
    }
    if policy.identity.credentials.is_empty() {
        advice.push("identity.credentials is empty: all callers count as one, whatever they send.".to_owned());
    }
    if policy.cache.max_body > policy.cache.memory {
        let (body, memory) = (show_size(policy.cache.max_body), show_size(policy.cache.memory));
        advice.push(format!("cache.max_body ({body}) is more than cache.memory ({memory}) can hold."));
    }
    advice
}

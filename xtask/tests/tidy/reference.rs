//! docs/reference.md and the code have the same fields of the filter's configuration,
//! flags of the store, variables, metrics, codes and audit actions: what one of the two
//! has and the other lacks is named.

use std::collections::BTreeSet;

use crate::files;

/// Variables behind the store's feature `crash-points`, which only tests build.
const OF_TESTS: [&str; 2] = ["REKEY_STORE_CLOCK", "REKEY_STORE_CRASH_AT"];
/// Variables of every program, and of Cargo.
const OF_EVERYBODY: [&str; 2] = ["PATH", "CARGO"];
/// Documented variables that SQLite and Rust's library read for us.
const READ_ELSEWHERE: [&str; 2] = ["SQLITE_TMPDIR", "TMPDIR"];

type Names = BTreeSet<String>;

/// The shipped sources in which this stands, wherever they are.
fn sources_with(mark: &str) -> String {
    let sources = files::sources().into_iter();
    let shipped = sources.map(|file| file.shipped_and_tested().0.to_owned());
    let found: String = shipped.filter(|text| text.contains(mark)).collect();
    assert!(!found.is_empty(), "no source has {mark:?}");
    found
}

/// What stands in code marks in this column of the tables below this heading, without
/// their first rows. Of `--listen ADDR` the first word.
fn documented(page: &str, heading: &str, column: usize) -> Names {
    let sections = page.split("\n## ");
    let section = sections
        .filter_map(|section| section.strip_prefix(heading))
        .next();
    let lines: Vec<_> = section.unwrap_or_default().lines().collect();
    let is_below = |line: &&str| !line.starts_with("| ---");
    let rows = lines.iter().enumerate().filter(|(place, _)| {
        let next = lines.get(place + 1);
        next.is_none_or(is_below)
    });
    let rows = rows.filter_map(|(_, line)| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(column));
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    spans
        .filter_map(|span| span.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// What one side has and the other lacks, in words.
fn differences(heading: &str, page: &Names, code: &Names) -> Vec<String> {
    let unknown = page.difference(code);
    let unknown = unknown.map(|name| format!("{heading}: the code has no {name}"));
    let missing = code.difference(page);
    let missing = missing.map(|name| format!("{heading}: the page has no {name}"));
    unknown.chain(missing).collect()
}

/// Complains of what is not both in the code and on the page.
fn compare(heading: &str, column: usize, code: impl IntoIterator<Item = String>) {
    let page = files::read(&["docs/reference.md"]);
    let page = page.first().map_or("", |file| &file.text);
    let code: Names = code.into_iter().collect();
    assert!(code.len() > 5, "{heading}: only {code:?} found in the code");
    let found = differences(heading, &documented(page, heading, column), &code);
    assert!(found.is_empty(), "docs/reference.md: {found:#?}");
}

/// What stands between the two marks, wherever the first is found.
fn between(text: &str, from: &str, to: &str) -> Vec<String> {
    let parts = text.split(from).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(to)?.0.to_owned()))
        .collect()
}

/// The fields of a struct, by their names.
fn fields(text: &str, of: &str) -> Vec<String> {
    let bodies = between(text, &format!("struct {of} {{"), "\n}");
    let lines = bodies.iter().flat_map(|body| body.lines());
    let fields = lines.filter_map(|line| line.trim().split_once(": "));
    let names = fields.map(|(name, _)| name.trim_start_matches("pub ").to_owned());
    let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    names.filter(is_name).collect()
}

#[test]
fn the_fields_of_the_configuration() {
    let config = sources_with("struct StoreConfig {");
    let mut names = fields(&config, "RawConfig");
    names.retain(|name| name != "store");
    let of_the_store = fields(&config, "StoreConfig").into_iter();
    names.extend(of_the_store.map(|name| format!("store.{name}")));
    compare("Configuration of the filter", 0, names);
}

#[test]
fn the_flags_of_the_store() {
    let mut names = fields(&sources_with("struct ServeArgs {"), "ServeArgs");
    names.retain(|name| name != "dashboard");
    let dashboard = sources_with("struct DashboardArgs {");
    names.extend(fields(&dashboard, "DashboardArgs"));
    let flag = |name: &String| format!("--{}", name.replace('_', "-"));
    compare("Flags of the store", 0, names.iter().map(flag));
}

/// Every name behind one of the marks, as far as it is made of capitals.
fn variables(text: &str, marks: &[&str]) -> Names {
    let is_name = |c: &char| c.is_ascii_uppercase() || *c == '_';
    let rests = marks.iter().flat_map(|mark| text.split(mark).skip(1));
    let names = rests.map(|rest| rest.chars().take_while(is_name).collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn the_variables() {
    let mut names = Names::new();
    for file in files::read(&["engine/*.rs", "src/*.rs", "store/*.rs", "testbed/*.rs"]) {
        let text = file.shipped_and_tested().0;
        names.extend(variables(text, &["env::var(\"", "env::var_os(\""]));
        let ours = variables(text, &["\"REKEY"]).into_iter();
        names.extend(ours.map(|rest| format!("REKEY{rest}")));
        // Read under a name that is a parameter.
        let programs = ["CHROMIUM", "CHROMEDRIVER"].into_iter();
        let programs = programs.filter(|name| text.contains(&format!("\"{name}\"")));
        names.extend(programs.map(str::to_owned));
    }
    for file in files::read(&["deploy/gateway.sh", "docker-compose.yml"]) {
        let ours = variables(&file.text, &["${REKEY"]).into_iter();
        names.extend(ours.map(|rest| format!("REKEY{rest}")));
    }
    let is_told = |name: &String| {
        let name = name.as_str();
        !OF_TESTS.contains(&name) && !OF_EVERYBODY.contains(&name)
    };
    names.retain(is_told);
    names.extend(READ_ELSEWHERE.map(str::to_owned));
    compare("Environment variables", 0, names);
}

#[test]
fn the_metrics_of_the_gateway() {
    let names = between(&sources_with("\"rekey.requests."), "\"rekey.", "\"");
    let shown = |name: &String| match name.split('.').collect::<Vec<_>>()[..] {
        [thing, label, value] => format!("rekey_{thing}{{{label}=\"{value}\"}}"),
        _ => format!("rekey_{name}"),
    };
    compare("Metrics of the gateway", 0, names.iter().map(shown));
}

#[test]
fn the_metrics_of_the_store() {
    let metrics = sources_with("Registry::with_prefix(\"rekey_store\")");
    let mut names = between(&metrics, "registry.register(\n            \"", "\"");
    let with_unit = "register_with_unit(\n            \"";
    for rest in between(&metrics, with_unit, ");") {
        let name = rest.split('"').next().unwrap_or_default();
        let unit = between(&rest, "Unit::", ",").concat().to_lowercase();
        names.push(format!("{name}_{unit}"));
    }
    // The gauges of the disk, which one loop registers.
    let disk = between(&metrics, "let gauges = [", "];").concat();
    let disk = disk
        .split('(')
        .skip(1)
        .filter_map(|row| row.split('"').nth(1));
    names.extend(disk.map(|name| format!("{name}_bytes")));
    let shown = |name: &String| format!("rekey_store_{name}");
    compare("Metrics of the store", 0, names.iter().map(shown));
}

#[test]
fn the_codes_of_the_store() {
    let variants = between(
        &sources_with("pub enum ErrorCode {"),
        "enum ErrorCode {",
        "\n}",
    );
    let lines = variants.iter().flat_map(|body| body.lines().map(str::trim));
    let names = lines.filter_map(|line| line.strip_suffix(',').filter(|name| *name != "Unknown"));
    compare("Refusals", 1, names.map(snake_case));
}

/// `NotFound` as `not_found`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn the_audit_actions() {
    let rows = between(&sources_with("const NAMES: [(Action"), "(Action::", "),");
    let names = rows.iter().filter_map(|row| row.split('"').nth(1));
    let names: Vec<_> = names.map(str::to_owned).collect();
    // Also in the OpenAPI document, whose text this is.
    let told = sources_with("pub action: String");
    let is_missing = |name: &&String| !told.contains(&format!("`{name}`"));
    let missing: Vec<_> = names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "AuditEvent::action lacks {missing:?}");
    compare("Audit actions", 0, names);
}

#[test]
fn differences_are_found_both_ways() {
    let page =
        "# R\n\n## A\n| `x` | y |\n| --- | --- |\n| `--a ADDR`, `b` | `no` |\n\n## B\n| `c` |";
    let a = documented(page, "A", 0);
    assert_eq!(a, Names::from(["--a".to_owned(), "b".to_owned()]));
    let code = Names::from(["--a".to_owned(), "d".to_owned()]);
    let expected = ["A: the code has no b", "A: the page has no d"];
    assert_eq!(differences("A", &a, &code), expected);
    let read = variables("env::var(\"A_B\") \"REKEY_C\"", &["env::var(\"", "\"REKEY"]);
    assert_eq!(read, Names::from(["A_B".to_owned(), "_C".to_owned()]));
    assert_eq!(snake_case("AlreadyExists"), "already_exists");
}

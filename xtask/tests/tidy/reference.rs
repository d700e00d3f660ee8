//! docs/reference.md lists every field of the filter's configuration, every flag of
//! the store, every metric and every audit action.

use crate::files;

/// The shipped sources in which this stands, wherever they are.
fn sources_with(mark: &str) -> String {
    let sources = files::sources().into_iter();
    let shipped = sources.map(|file| file.shipped_and_tested().0.to_owned());
    let found: String = shipped.filter(|text| text.contains(mark)).collect();
    assert!(!found.is_empty(), "no source has {mark:?}");
    found
}

/// Complains of what the page does not name in code marks.
fn check(what: &str, names: &[String]) {
    let page = files::read(&["docs/reference.md"]);
    let page = page.first().map_or("", |file| &file.text);
    assert!(names.len() > 5, "{what}: only {names:?} found");
    let is_missing = |name: &&String| !page.contains(&format!("`{name}"));
    let missing: Vec<_> = names.iter().filter(is_missing).collect();
    assert!(
        missing.is_empty(),
        "{what} that docs/reference.md does not have: {missing:#?}"
    );
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
fn every_field_of_the_configuration_is_listed() {
    let config = sources_with("struct StoreConfig {");
    let mut names = fields(&config, "RawConfig");
    names.retain(|name| name != "store");
    let of_the_store = fields(&config, "StoreConfig").into_iter();
    names.extend(of_the_store.map(|name| format!("store.{name}")));
    check("fields", &names);
}

#[test]
fn every_flag_of_the_store_is_listed() {
    let mut names = fields(&sources_with("struct ServeArgs {"), "ServeArgs");
    names.retain(|name| name != "dashboard");
    let dashboard = sources_with("struct DashboardArgs {");
    names.extend(fields(&dashboard, "DashboardArgs"));
    let flag = |name: &String| format!("--{}", name.replace('_', "-"));
    check("flags", &names.iter().map(flag).collect::<Vec<_>>());
}

#[test]
fn every_metric_of_the_gateway_is_listed() {
    let names = between(&sources_with("\"rekey.requests."), "\"rekey.", "\"");
    let shown = |name: &String| match name.split('.').collect::<Vec<_>>()[..] {
        [thing, label, value] => format!("rekey_{thing}{{{label}=\"{value}\"}}"),
        _ => format!("rekey_{name}"),
    };
    check("metrics", &names.iter().map(shown).collect::<Vec<_>>());
}

#[test]
fn every_metric_of_the_store_is_listed() {
    let metrics = sources_with("Registry::with_prefix(\"rekey_store\")");
    let mut names = between(&metrics, "registry.register(\n            \"", "\"");
    names.extend(between(
        &metrics,
        "register_with_unit(\n            \"",
        "\"",
    ));
    let shown = |name: &String| format!("rekey_store_{name}");
    check("metrics", &names.iter().map(shown).collect::<Vec<_>>());
}

#[test]
fn every_audit_action_is_listed() {
    // Also in the OpenAPI document, whose text this is.
    let names = between(&sources_with("const NAMES: [(Action"), "(Action::", "),");
    let names = names.iter().filter_map(|row| row.split('"').nth(1));
    let names: Vec<_> = names.map(str::to_owned).collect();
    let told = sources_with("pub action: String");
    let is_missing = |name: &&String| !told.contains(&format!("`{name}`"));
    let missing: Vec<_> = names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "AuditEvent::action lacks {missing:?}");
    check("audit actions", &names);
}

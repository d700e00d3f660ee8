//! Every rule of the protocol that a text cites is defined, and every rule that is
//! defined is held by code and by a test.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{self, File};

/// Where the rules are defined, each under a heading that begins with its number.
const DEFINITIONS: &str = "docs/protocol.md";

/// What those headings say of a number that stands for no rule.
const UNUSED: &str = "is not used";

/// Folders with the code that holds the rules.
const SHIPPED: [&str; 4] = ["protocol/src/", "engine/src/", "src/", "store/src/"];

/// The model that holds the rules about several stores until they have an engine.
const MODELLED: &str = "sim/src/replicas/";

/// A letter and a number, such as S7.
type Rule = String;

/// The rules, and whether each is used.
fn defined() -> BTreeMap<Rule, bool> {
    let protocol = files::read(&[DEFINITIONS]);
    let text = protocol.first().map_or("", |file| &file.text);
    let headings = text.lines().filter_map(|line| line.strip_prefix("### "));
    let rules = headings.filter_map(|heading| {
        let rule = rule(heading.split(' ').next()?)?;
        Some((rule, !heading.ends_with(UNUSED)))
    });
    rules.collect()
}

/// The rule that this word is.
fn rule(word: &str) -> Option<Rule> {
    let (letter, number) = word.split_at_checked(1)?;
    let most = if letter == "I" { 1 } else { 2 };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let is_rule = "SGXIR".contains(letter) && is_number && (1..=most).contains(&number.len());
    is_rule.then(|| word.to_owned())
}

/// The rules that a text cites, by their numbers and in the names of its functions.
fn cited(text: &str) -> BTreeSet<Rule> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let numbers = words.filter_map(rule);
    let names = text.split("fn ").skip(1).filter_map(of_a_name);
    numbers.chain(names).collect()
}

/// The rule that a name such as `s7_first` begins with.
fn of_a_name(name: &str) -> Option<Rule> {
    let (number, _) = name.split_once('_')?;
    rule(&number.to_uppercase()).filter(|_| number.starts_with(|c: char| c.is_lowercase()))
}

/// The switches of a model, each of which is a rule that a mutant lacks.
fn switched(file: &File) -> BTreeSet<Rule> {
    let is_model = file.path.starts_with("sim/") && file.path.ends_with("/rules.rs");
    let lines = file.text.lines().map(str::trim).filter(|_| is_model);
    lines.filter_map(of_a_name).collect()
}

/// Without the first lines of a file, which name rules that it is about or that it
/// leaves out, and tests none.
fn below_the_head(text: &str) -> String {
    let below = text.lines().filter(|line| !line.starts_with("//!"));
    below.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_rule_that_is_cited_is_defined() {
    let defined = defined();
    let mut unknown = Vec::new();
    for file in files::read(&["*.rs", "*.md", "*.yaml", "*.sh"]) {
        let rules = cited(&file.text).into_iter().chain(switched(&file));
        let missing = rules.filter(|rule| !defined.contains_key(rule));
        unknown.extend(missing.map(|rule| format!("{}: {rule}", file.path)));
    }
    assert!(unknown.is_empty(), "not in {DEFINITIONS}: {unknown:#?}");
}

#[test]
fn every_rule_is_held_by_code_and_by_a_test() {
    let (mut held, mut tested) = (BTreeSet::new(), BTreeSet::new());
    for file in files::sources() {
        let (shipped, tests) = file.shipped_and_tested();
        if SHIPPED.iter().any(|folder| file.path.starts_with(folder)) {
            held.extend(cited(shipped));
            tested.extend(cited(&below_the_head(tests)));
        } else if !file.path.starts_with("xtask/") {
            // All of these are trials of the shipped code.
            tested.extend(cited(&below_the_head(&file.text)));
            tested.extend(switched(&file));
            if file.path.starts_with(MODELLED) {
                let rules = cited(&below_the_head(&file.text)).into_iter();
                held.extend(rules.filter(|rule| rule.starts_with('R')));
            }
        }
    }
    let used = defined().into_iter().filter(|(_, is_used)| *is_used);
    let missing: Vec<_> = used
        .flat_map(|(rule, _)| {
            let not_held = (!held.contains(&rule)).then(|| format!("{rule}: no code"));
            let not_tested = (!tested.contains(&rule)).then(|| format!("{rule}: no test"));
            not_held.into_iter().chain(not_tested)
        })
        .collect();
    assert!(missing.is_empty(), "cited by nothing: {missing:#?}");
}

#[test]
fn citations_are_read() {
    let rules = |text| cited(text).into_iter().collect::<Vec<_>>();
    assert_eq!(
        rules("// S7, G12: x (I3).\nfn x4_a() {}"),
        ["G12", "I3", "S7", "X4"]
    );
    assert!(rules("x86_64 fn i64_a S_1 HS1 S123").is_empty());
    assert_eq!(defined().get("G9"), Some(&false));
    assert_eq!(defined().get("G10"), Some(&true));
}

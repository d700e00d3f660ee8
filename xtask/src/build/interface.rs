//! What a .wasm asks of its host and offers to it: the list in
//! `src/interface.txt`, the truth in a module, and the difference.
//!
//! Knows the format of WebAssembly modules, and nothing of proxy-wasm.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, bail};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// Imports as `module.name` and exports by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// What the host must have, as `module.name`.
    pub imports: BTreeSet<String>,
    /// What the host may call.
    pub exports: BTreeSet<String>,
}

impl Interface {
    /// Reads the list: a line `import module.name` or `export name` each; `#`
    /// begins a comment, which says why.
    ///
    /// # Errors
    /// Another word, or a line that is there twice.
    pub fn parse(list: &str) -> anyhow::Result<Self> {
        let mut interface = Self::default();
        for (number, line) in (1..).zip(list.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let is_new = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some("import"), Some(name), None) => interface.imports.insert(name.to_owned()),
                (Some("export"), Some(name), None) => interface.exports.insert(name.to_owned()),
                _ => bail!("line {number}: not `import <module>.<name>` or `export <name>`"),
            };
            if !is_new {
                bail!("line {number}: listed twice");
            }
        }
        Ok(interface)
    }

    /// Reads a module.
    ///
    /// # Errors
    /// It is not a WebAssembly module.
    pub fn of(module: &[u8]) -> anyhow::Result<Self> {
        let mut interface = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let name = format!("{}.{}", import.module, import.name);
                        interface.imports.insert(name);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        interface.exports.insert(export?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(interface)
    }

    /// What `actual` has beyond this list (`+`) and lacks (`-`), a line each;
    /// empty if they agree.
    pub fn difference(&self, actual: &Self) -> String {
        let mut lines = String::new();
        for (kind, listed, found) in [
            ("import", &self.imports, &actual.imports),
            ("export", &self.exports, &actual.exports),
        ] {
            for (sign, names) in [
                ('+', found.difference(listed)),
                ('-', listed.difference(found)),
            ] {
                for name in names {
                    let _ = writeln!(lines, "{sign} {kind} {name}");
                }
            }
        }
        lines
    }
}

/// The same module without the exports that are not in `keep`.
///
/// # Errors
/// It is not a WebAssembly module.
pub fn keep_exports(module: &[u8], keep: &BTreeSet<String>) -> anyhow::Result<Vec<u8>> {
    let mut kept = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section {
                let export = export?;
                if keep.contains(export.name) {
                    exports.export(export.name, kind(export.kind)?, export.index);
                }
            }
            kept.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = module.get(range).context("a section beyond the end")?;
            kept.section(&RawSection { id, data });
        }
    }
    Ok(kept.finish())
}

fn kind(kind: ExternalKind) -> anyhow::Result<ExportKind> {
    Ok(match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    })
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, EntityType, Function, FunctionSection, ImportSection, TypeSection,
    };

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// One import, and two exports of one function.
    fn module() -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut imports = ImportSection::new();
        imports.import("env", "log", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut exports = ExportSection::new();
        exports.export("used", ExportKind::Func, 1);
        exports.export("unused", ExportKind::Func, 1);
        let mut code = CodeSection::new();
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);

        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&exports)
            .section(&code);
        module.finish()
    }

    #[test]
    fn a_list_is_read_without_its_comments() {
        let list = "# why\nimport env.log # because\n\nexport used\n";
        let interface = Interface::parse(list).unwrap();
        assert_eq!(interface.imports, names(&["env.log"]));
        assert_eq!(interface.exports, names(&["used"]));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (list, expected) in [
            ("export a\nexprot b", "line 2: not"),
            ("import", "line 1: not"),
            ("export a b", "line 1: not"),
            ("export a\nexport a", "line 2: listed twice"),
        ] {
            let error = Interface::parse(list).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{list:?}: {error}");
        }
    }

    #[test]
    fn only_listed_exports_stay_and_the_rest_is_the_same() {
        let original = module();
        let kept = keep_exports(&original, &names(&["used", "elsewhere"])).unwrap();
        let interface = Interface::of(&kept).unwrap();
        assert_eq!(interface.imports, names(&["env.log"]));
        assert_eq!(interface.exports, names(&["used"]));
        let all = keep_exports(&original, &names(&["used", "unused"])).unwrap();
        assert_eq!(all, original);
    }

    #[test]
    fn a_difference_says_what_is_new_and_what_is_gone() {
        let listed = Interface::parse("import env.log\nexport used\nexport gone").unwrap();
        let found = Interface::of(&module()).unwrap();
        assert_eq!(
            listed.difference(&found),
            "+ export unused\n- export gone\n"
        );
        assert_eq!(found.difference(&found), "");
    }
}

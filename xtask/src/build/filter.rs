//! The filter's .wasm: compiled with paths that name no builder, then stripped
//! of the exports that `src/interface.txt` does not list.

use std::{ffi::OsString, fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use tempfile::NamedTempFile;

use super::{
    interface::{self, Interface},
    toolchain::{Toolchain, ToolchainChoice},
};
use rekey_testbed::{Built, shell, workspace};

/// The list of the filter's imports and exports, below the repository.
pub const INTERFACE_FILE: &str = "src/interface.txt";

/// Builds it.
pub(super) fn build(choice: ToolchainChoice) -> anyhow::Result<()> {
    let toolchain = Toolchain::obtain(choice)?;
    let mut cargo = toolchain.cargo();
    cargo.current_dir(workspace::root());
    cargo.args(["build", "--package", "rekey", "--lib", "--profile", "wasm"]);
    cargo.args(["--target", "wasm32-wasip1"]);
    let mut flags = toolchain.rustflags();
    flags.extend(remap_paths(&toolchain)?);
    // These replace RUSTFLAGS and configured flags altogether: those are meant
    // for this machine (target-cpu, sanitizers), not for the gateway's.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    shell::run(&mut cargo)?;

    let linked = workspace::target_dir()?.join("wasm32-wasip1/wasm/rekey.wasm");
    keep_listed_exports(&linked, &Built::expected()?.filter)
}

/// Post-link step. A callback that is exported is entered, whether or not the
/// filter overrides it: the SDK exports all of them, and each chunk of each
/// body would enter the VM for nothing.
fn keep_listed_exports(linked: &Path, finished: &Path) -> anyhow::Result<()> {
    let list = workspace::root().join(INTERFACE_FILE);
    let listed = Interface::parse(&read_text(&list)?)
        .with_context(|| format!("cannot read {}", list.display()))?;
    let module = fs::read(linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let stripped = interface::keep_exports(&module, &listed.exports)
        .with_context(|| format!("cannot rewrite {}", linked.display()))?;
    if fs::read(finished).is_ok_and(|present| present == stripped) {
        return Ok(());
    }
    // Renamed into place: an Envoy may be loading the file just now.
    let mut file = NamedTempFile::new_in(workspace::output_dir()?)?;
    file.write_all(&stripped)?;
    set_readable(file.path())?;
    file.persist(finished)
        .with_context(|| format!("cannot write {}", finished.display()))?;
    shell::say(format_args!(
        "{} has {} bytes",
        finished.display(),
        stripped.len()
    ));
    Ok(())
}

/// A temporary file is private; Envoy may run as another user.
fn set_readable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o644),
    )?)
}

/// Panic texts hold source paths; the builder's folders are nobody's business.
/// The last match wins, so the wider folders come first.
fn remap_paths(toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
    let sysroot = shell::output(toolchain.rustc().args(["--print", "sysroot"]))?;
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME")
        .unwrap_or_else(|| Path::new(&home).join(".cargo").into_os_string());
    let mut folders = vec![
        (home, "home"),
        (cargo_home.clone(), "cargo"),
        (OsString::from(sysroot.trim()), "rust"),
        (workspace::target_dir()?.into_os_string(), "target"),
        (workspace::root().into(), "rekey"),
    ];
    // Cargo names these after the registry's host, which may be a private one.
    let registries = fs::read_dir(Path::new(&cargo_home).join("registry/src"));
    for registry in registries.into_iter().flatten().flatten() {
        folders.push((registry.path().into_os_string(), "crates"));
    }
    let mut flags = Vec::new();
    for (folder, name) in folders {
        let folder = folder
            .into_string()
            .ok()
            .context("a folder of this build has a name that is not UTF-8")?;
        ensure!(
            !folder.contains('\x1f'),
            "a folder of this build has a control character in its name"
        );
        if Path::new(&folder).is_absolute() && folder != "/" {
            flags.push(format!("--remap-path-prefix={folder}={name}"));
        }
    }
    Ok(flags)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl Toolchain {
    fn rustc(&self) -> Command {
        Command::new(self.rustc_path())
    }
}

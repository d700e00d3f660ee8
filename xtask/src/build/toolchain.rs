//! A Rust that compiles for wasm32-wasip1: the target that rustup adds, or,
//! where rustup has no way out, Debian's own packages with a standard library
//! built from its source.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};

use rekey_testbed::{shell, workspace};

const TARGET: &str = "wasm32-wasip1";

/// Long enough for 20 MB over a slow line, short enough to notice that there
/// is no line.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Which Rust compiles the filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ToolchainChoice {
    /// The Rust that is here, with the target added by rustup; Debian's if that is refused
    #[default]
    Auto,
    /// The Rust that is here, or fail
    Rustup,
    /// Debian's packages rustc-web, cargo-web, rust-web-src, lld and wasi-libc
    Debian,
}

/// A Rust that has the target.
pub(super) enum Toolchain {
    /// The one that runs this crate.
    Here,
    /// Debian's, with the linker of the newest LLVM that it has.
    Debian {
        /// `wasm-ld-NN`.
        linker: String,
    },
}

impl Toolchain {
    /// Finds it, or installs what is missing and says so.
    pub(super) fn obtain(choice: ToolchainChoice) -> anyhow::Result<Self> {
        if choice == ToolchainChoice::Debian {
            return Self::debian();
        }
        if has_target() {
            return Ok(Self::Here);
        }
        shell::say(format_args!(
            "the Rust target {TARGET} is missing: adding it"
        ));
        let mut rustup = Command::new("rustup");
        // In the repository, so that it is added to the toolchain used here.
        rustup.current_dir(workspace::root());
        let refused = match shell::run_for(RUSTUP_LIMIT, rustup.args(["target", "add", TARGET])) {
            Ok(()) if has_target() => return Ok(Self::Here),
            Ok(()) => anyhow::anyhow!("rustup added it to another toolchain than the one in use"),
            // Somebody else was adding it at this moment.
            Err(_) if has_target() => return Ok(Self::Here),
            Err(refused) => refused,
        };
        if choice == ToolchainChoice::Rustup {
            return Err(refused.context(format!("the Rust target {TARGET} cannot be added")));
        }
        shell::say(format_args!("{refused:#}; trying Debian's packages"));
        Self::debian().with_context(|| {
            format!("the Rust target {TARGET} cannot be added by rustup ({refused:#}), nor is there another way")
        })
    }

    /// `cargo`, of this toolchain.
    pub(super) fn cargo(&self) -> Command {
        let Self::Debian { linker } = self else {
            return workspace::cargo();
        };
        let mut cargo = Command::new("/usr/bin/cargo");
        // Debian's is a stable compiler; building a standard library needs
        // what stable compilers call unstable.
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.env("RUSTC", self.rustc_path());
        cargo.env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker);
        cargo.args(["-Z", "build-std=std,panic_abort"]);
        cargo
    }

    /// Flags for the compiler, one word each.
    pub(super) fn rustflags(&self) -> Vec<String> {
        let flags: &[&str] = match self {
            Self::Here => &[],
            Self::Debian { .. } => &[
                "-Clinker-flavor=wasm-ld",
                "-Clink-self-contained=no",
                "-L/usr/lib/wasm32-wasi",
                "-Ctarget-feature=-crt-static",
            ],
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    /// The compiler.
    pub(super) fn rustc_path(&self) -> PathBuf {
        match self {
            Self::Here => rustc_here(),
            Self::Debian { .. } => "/usr/bin/rustc".into(),
        }
    }

    fn debian() -> anyhow::Result<Self> {
        let source = Path::new("/usr/lib/rustlib/src/rust/library/std").exists();
        let libc = Path::new("/usr/lib/wasm32-wasi/libc.a").exists();
        let compiler = Path::new("/usr/bin/rustc").exists() && Path::new("/usr/bin/cargo").exists();
        if let (true, true, true, Some(linker)) = (source, libc, compiler, newest_linker()) {
            return Ok(Self::Debian { linker });
        }
        let lld = newest_lld_package()?;
        let packages = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc", &lld];
        shell::apt_install(&packages, "the filter needs a Rust that compiles for WASI")?;
        let linker = newest_linker().context("Debian's lld package brought no wasm-ld")?;
        Ok(Self::Debian { linker })
    }
}

fn rustc_here() -> PathBuf {
    // Cargo sets CARGO to the very binary; the compiler lies beside it.
    std::env::var_os("CARGO")
        .map(|cargo| Path::new(&cargo).with_file_name("rustc"))
        .filter(|rustc| rustc.exists())
        .unwrap_or_else(|| "rustc".into())
}

/// Whether the standard library for the target is there; asks no rustup, which
/// need not exist.
fn has_target() -> bool {
    let mut rustc = Command::new(rustc_here());
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let Ok(folder) = shell::output(&mut rustc) else {
        return false;
    };
    std::fs::read_dir(folder.trim()).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// `wasm-ld-NN` of the highest NN there is.
fn newest_linker() -> Option<String> {
    let files = std::fs::read_dir("/usr/bin").ok()?;
    let names = files
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned());
    newest(names, "wasm-ld-")
}

/// `lld-NN` of the highest NN that Debian offers.
fn newest_lld_package() -> anyhow::Result<String> {
    let mut apt_cache = Command::new("apt-cache");
    let names = shell::output(apt_cache.args(["pkgnames", "lld-"]))?;
    match newest(names.lines().map(str::to_owned), "lld-") {
        Some(package) => Ok(package),
        None => bail!("Debian's package lists know no lld; run `apt-get update` first"),
    }
}

fn newest(names: impl Iterator<Item = String>, prefix: &str) -> Option<String> {
    names
        .filter_map(|name| Some((name.strip_prefix(prefix)?.parse::<u32>().ok()?, name)))
        .max()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_by_number_not_by_spelling() {
        let names = ["lld-9", "lld-19", "lld-2", "lld-19-dev", "clang-20"];
        let newest = newest(names.iter().map(|name| (*name).to_owned()), "lld-");
        assert_eq!(newest.as_deref(), Some("lld-19"));
    }
}

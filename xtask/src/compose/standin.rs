//! Stand-ins for the official base images, where none can be pulled: a Debian of
//! this machine's own release from `debootstrap`, this machine's Rust toolchain
//! in it, and the Envoy that the tests run.
//!
//! Their names say what they are, and a tag is the digest of what went in, so a
//! second run finds them ready. Does not know who asked, nor for what.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use rekey_testbed::{shell, workspace};

use super::bases::Bases;
use super::docker::Docker;

/// Part of every tag: to be raised when a stand-in is made in another way.
const RECIPE: &str = "2";
/// What the official `rust` image has and a build of ours needs.
const COMPILER_PACKAGES: &str = "ca-certificates,gcc,g++,libc6-dev,make";
/// Where programs of this machine find the certificates they trust, unless
/// `SSL_CERT_FILE` says otherwise. Debian's place.
const TRUSTED_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How many of a kind stay: more than one, for another checkout may use its own
/// at this moment.
const KEPT: usize = 2;
/// Folders of a Debian that a container needs empty, as the `slim` images have it.
const EMPTIED: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
];
/// What compiles, of a toolchain; the rest is documentation, and half of it.
const TOOLCHAIN_PARTS: [&str; 2] = ["bin", "lib"];

/// Makes the stand-ins that the daemon does not have yet.
///
/// # Errors
/// Not root, not on a Debian, or one of the tools failed.
pub fn make(docker: &Docker, because: String) -> anyhow::Result<Bases> {
    let release = Release::of_this_machine()?;
    let debian = debian(docker, &release)?;
    Ok(Bases {
        rust: rust(docker, &release)?,
        envoy: envoy(docker, &debian)?,
        debian,
        stand_in_because: Some(because),
    })
}

fn debian(docker: &Docker, release: &Release) -> anyhow::Result<String> {
    let image = Image::new("debian", &[release.codename.as_bytes()]);
    image.unless_there(docker, || {
        let root = release.bootstrap(None)?;
        import(docker, root.path(), &image.0)
    })
}

fn rust(docker: &Docker, release: &Release) -> anyhow::Result<String> {
    let version = shell::output(Command::new("rustc").arg("-vV"))?;
    let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim());
    let has_wasm = sysroot.join("lib/rustlib/wasm32-wasip1").exists();
    // A registry may be reached through something that only this machine's own
    // list vouches for.
    let trusted = match std::env::var_os("SSL_CERT_FILE") {
        Some(file) => read(Path::new(&file))?,
        None => read(Path::new(TRUSTED_CERTIFICATES))?,
    };
    let image = Image::new(
        "rust",
        &[
            release.codename.as_bytes(),
            version.as_bytes(),
            &[has_wasm.into()],
            &trusted,
        ],
    );
    image.unless_there(docker, || {
        let root = release.bootstrap(Some(COMPILER_PACKAGES))?;
        let certificates = TRUSTED_CERTIFICATES.trim_start_matches('/');
        fs::write(root.path().join(certificates), &trusted)?;
        let local = root.path().join("usr/local");
        for part in TOOLCHAIN_PARTS.map(|part| sysroot.join(part)) {
            shell::run(Command::new("cp").arg("-a").arg(part).arg(&local))?;
        }
        import(docker, root.path(), &image.0)
    })
}

fn envoy(docker: &Docker, debian: &str) -> anyhow::Result<String> {
    let binary = rekey_testbed::envoy::obtain()?;
    let image = Image::new("envoy", &[debian.as_bytes(), &read(&binary)?]);
    image.unless_there(docker, || {
        let context = tempfile::tempdir()?;
        fs::copy(&binary, context.path().join("envoy"))?;
        let dockerfile = format!("FROM {debian}\nCOPY envoy /usr/local/bin/\n");
        fs::write(context.path().join("Dockerfile"), dockerfile)?;
        let build = ["build", "--quiet", "--tag", &image.0];
        shell::run(docker.docker(build).arg(context.path()))
    })
}

/// A stand-in's name and tag.
struct Image(String);

impl Image {
    fn new(name: &str, ingredients: &[&[u8]]) -> Self {
        let mut digest = Sha256::new_with_prefix(RECIPE);
        for ingredient in ingredients {
            digest.update(Sha256::digest(ingredient));
        }
        let tag = hex::encode(&digest.finalize()[..8]);
        Self(format!("rekey-standin/{name}:{tag}"))
    }

    /// Makes it if need be, and then removes old ones. Returns the name.
    fn unless_there(
        &self,
        docker: &Docker,
        make: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        if docker.has_image(&self.0) {
            shell::say(format_args!("{} is there", self.0));
            return Ok(self.0.clone());
        }
        shell::say(format_args!("making {}", self.0));
        make().with_context(|| format!("cannot make {}", self.0))?;

        let repository = self.0.split(':').next().unwrap_or(&self.0);
        docker.keep_newest(KEPT, &[repository]);
        Ok(self.0.clone())
    }
}

/// The Debian release of this machine and where its packages come from.
struct Release {
    codename: String,
    mirror: String,
}

impl Release {
    fn of_this_machine() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        ensure!(
            field("ID=") == "debian",
            "stand-ins for the base images can only be made on Debian; let Docker pull the \
             official ones instead"
        );
        let codename = field("VERSION_CODENAME=");
        ensure!(
            !codename.is_empty(),
            "/etc/os-release names no VERSION_CODENAME"
        );
        Ok(Self {
            mirror: mirror_of(&codename)?,
            codename,
        })
    }

    /// Unpacks a minimal system into a new directory.
    fn bootstrap(&self, packages: Option<&str>) -> anyhow::Result<TempDir> {
        ensure_debootstrap()?;
        // Not in /tmp: that may forbid devices and programs (nodev, noexec).
        let root = tempfile::tempdir_in(workspace::output_dir()?)?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.arg("--variant=minbase");
        debootstrap.args(packages.map(|packages| format!("--include={packages}")));
        debootstrap
            .arg(&self.codename)
            .arg(root.path())
            .arg(&self.mirror);
        // One line for each of its hundreds of packages: shown only if it fails.
        shell::output(&mut debootstrap).context(
            "debootstrap makes the stand-ins for the base images; it must run as root, with \
             the right to mount and to make devices",
        )?;
        for folder in EMPTIED.map(|folder| root.path().join(folder)) {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
                fs::create_dir(&folder)?;
            }
        }
        Ok(root)
    }
}

/// Asks apt where it gets the packages of a release.
fn mirror_of(codename: &str) -> anyhow::Result<String> {
    if let Some(mirror) = find_mirror(&apt_sources()?, codename) {
        return Ok(mirror);
    }
    // apt names only what it has a list of, and a fresh machine has none.
    shell::run(Command::new("apt-get").args(["update", "-qq"]))?;
    find_mirror(&apt_sources()?, codename)
        .with_context(|| format!("apt has no source for {codename} main"))
}

/// A line for each of apt's sources: codename, component, address.
fn apt_sources() -> anyhow::Result<String> {
    shell::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(CODENAME) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]))
}

fn find_mirror(targets: &str, codename: &str) -> Option<String> {
    let wanted = format!("{codename} main ");
    let mirror = targets
        .lines()
        .find_map(|line| line.strip_prefix(&wanted))?;
    Some(mirror.trim().to_owned())
}

fn ensure_debootstrap() -> anyhow::Result<()> {
    if shell::works("debootstrap", &["--version"]) {
        return Ok(());
    }
    shell::apt_install(
        &["debootstrap"],
        "it makes stand-ins for Docker's base images",
    )
}

/// Makes an image of a directory.
fn import(docker: &Docker, root: &Path, image: &str) -> anyhow::Result<()> {
    let mut tar = Command::new("tar")
        .arg("--directory")
        .arg(root)
        .args(["--create", "."])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `tar`")?;
    let archive = tar.stdout.take().context("`tar` has no output")?;
    let imported = docker
        .docker(["import", "--change", "CMD [\"bash\"]", "-", image])
        .stdin(archive)
        .stdout(Stdio::null())
        .status()
        .context("cannot start `docker import`")?;
    let archived = tar.wait()?;
    if !imported.success() || !archived.success() {
        bail!("`tar | docker import` failed: tar {archived}, docker {imported}");
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_ingredients_apart() {
        let tags = [
            Image::new("x", &[b"a", b"b"]).0,
            Image::new("x", &[b"ab"]).0,
            Image::new("x", &[b"b", b"a"]).0,
            Image::new("y", &[b"a", b"b"]).0,
        ];
        for (n, tag) in tags.iter().enumerate() {
            assert!(tag.starts_with("rekey-standin/"), "{tag}");
            assert!(!tags[n + 1..].contains(tag), "{tag}");
        }
        assert_eq!(tags[0], Image::new("x", &[b"a", b"b"]).0);
    }

    #[test]
    fn the_releases_own_mirror_is_found() {
        let targets = "stable main http://vendor.example/apt/\n\
                       bookworm-updates main http://mirror.example/debian/\n\
                       bookworm contrib http://other.example/debian/\n\
                       bookworm main http://mirror.example/debian/\n";
        let found = find_mirror(targets, "bookworm");
        assert_eq!(found.as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(find_mirror(targets, "trixie"), None);
    }
}

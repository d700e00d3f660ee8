//! A browser to try the dashboard in, and the driver that tests steer it by: the
//! operator's own, or Debian's.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, ensure};

use crate::shell;

/// Debian's packages of the two.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// What to do where the two cannot be had, or do not go together.
const ADVICE: &str = "set CHROMIUM and CHROMEDRIVER to a browser and its driver, of one version";

/// Two programs that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// The browser. Its driver is to be told where it is, by the capability
    /// `binary`: it looks for another one by itself.
    pub chromium: PathBuf,
    /// Speaks WebDriver.
    pub chromedriver: PathBuf,
}

/// Each of the two: by `CHROMIUM` and `CHROMEDRIVER` if set, else a `chromium`
/// and a `chromedriver` on the `PATH`, else Debian's, installed if need be.
///
/// From the second call on it just answers, the same also where it failed:
/// tests that run side by side neither install at once nor try in turn what
/// cannot be had.
///
/// # Errors
/// A variable names another program, the two are not of one version, or they
/// cannot be installed; the text says what to do.
pub fn obtain() -> anyhow::Result<Browser> {
    static OBTAINED: OnceLock<Result<Browser, String>> = OnceLock::new();
    let obtained = OBTAINED.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    obtained.clone().map_err(anyhow::Error::msg)
}

fn find() -> anyhow::Result<Browser> {
    if located().is_none() {
        shell::apt_install(&PACKAGES, "the dashboard is tried in a browser")
            .with_context(|| format!("no browser here: {ADVICE}, or have Debian's"))?;
    }
    let browser = located().with_context(|| {
        format!(
            "{} are installed, and not on the PATH",
            PACKAGES.join(" and ")
        )
    })?;
    let version = version_of(&browser.chromium)?;
    agree(&version, &version_of(&browser.chromedriver)?)?;
    let path = browser.chromium.display();
    shell::say(format_args!("Chromium {version}, {path}"));
    Ok(browser)
}

/// Both, if both are there.
fn located() -> Option<Browser> {
    Some(Browser {
        chromium: locate("CHROMIUM", "chromium")?,
        chromedriver: locate("CHROMEDRIVER", "chromedriver")?,
    })
}

fn locate(variable: &str, program: &str) -> Option<PathBuf> {
    match env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => shell::on_path(program).next(),
    }
}

fn version_of(program: &Path) -> anyhow::Result<String> {
    let ask = || -> anyhow::Result<String> {
        let printed = shell::output(Command::new(program).arg("--version"))?;
        let version = parse_version(&printed).context("it tells no version")?;
        Ok(version.to_owned())
    };
    ask().with_context(|| format!("{} is of no use: {ADVICE}", program.display()))
}

/// From `Chromium <version> built on …`, `Google Chrome <version>` or
/// `ChromeDriver <version> (…)`.
fn parse_version(printed: &str) -> Option<&str> {
    let mut words = printed.split_whitespace();
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

/// A driver refuses a browser of another major version, at each test anew.
fn agree(browser: &str, driver: &str) -> anyhow::Result<()> {
    ensure!(
        browser.split('.').next() == driver.split('.').next(),
        "the browser is of version {browser}, its driver of {driver}: {ADVICE}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_behind_a_name() {
        for (printed, expected) in [
            (
                "Chromium 156.0.8078.79 built on Debian GNU/Linux 12\n",
                Some("156.0.8078.79"),
            ),
            ("Google Chrome 140.0.7339.80 \n", Some("140.0.7339.80")),
            (
                "ChromeDriver 156.0.8078.79 (a21ce95-refs/heads@{#1704})",
                Some("156.0.8078.79"),
            ),
            ("usage: sh", None),
        ] {
            assert_eq!(parse_version(printed), expected, "{printed}");
        }
    }

    #[test]
    fn only_another_major_version_is_refused() {
        agree("156.0.8078.79", "156.0.8078.12").unwrap();
        let error = agree("156.0.8078.79", "15.0.1").unwrap_err().to_string();
        assert!(
            error.contains("156.0.8078.79") && error.contains("15.0.1"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_is_none_is_named_with_what_to_do() {
        for program in ["/nowhere/chromium", "/bin/false"] {
            let error = format!("{:#}", version_of(Path::new(program)).unwrap_err());
            assert!(
                error.contains(program) && error.contains("CHROMIUM"),
                "{error}"
            );
        }
    }
}

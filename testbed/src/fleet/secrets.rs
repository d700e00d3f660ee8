//! What the parts of a fleet must share and nobody else may know.

use std::{
    env, fmt, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, process::Command,
};

use anyhow::{Context as _, bail};

use crate::random;

/// The three variables of the environment through which secrets are given.
const VARIABLES: [&str; 3] = [
    "REKEY_STORE_TOKEN",
    "REKEY_ADMIN_TOKEN",
    "REKEY_CHECKSUM_SECRET",
];

/// Random bytes of a new one: nobody guesses 256 bits.
const BYTES: usize = 32;

/// The tokens of the key store and the secret of the keys' checksums.
#[derive(Clone)]
pub struct Secrets {
    /// What gateways show to the key store (`REKEY_STORE_TOKEN`).
    pub store_token: String,
    /// What the command line shows to it (`REKEY_ADMIN_TOKEN`).
    pub admin_token: String,
    /// What the checksum in a key is keyed with (`REKEY_CHECKSUM_SECRET`).
    pub checksum_secret: String,
}

impl Secrets {
    /// New ones.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn random() -> anyhow::Result<Self> {
        Self::from_source(|_| random::hex(BYTES))
    }

    /// Those of the environment, and new ones for what is not set there.
    ///
    /// # Errors
    /// As [`random`](Self::random).
    pub fn from_env() -> anyhow::Result<Self> {
        Self::from_source(|variable| env_or_else(variable, || random::hex(BYTES)))
    }

    /// Those of the environment, else those that an earlier call left in
    /// `file`, else new ones, which are left there: keys stay valid over a
    /// restart. The file is for its owner alone.
    ///
    /// # Errors
    /// The file cannot be read or written, or is not one of ours.
    pub fn from_env_or_file(file: &Path) -> anyhow::Result<Self> {
        let kept = if file.exists() {
            read(file).with_context(|| format!("cannot use the secrets in {}", file.display()))?
        } else {
            let new = Self::random()?;
            write(file, &new).with_context(|| format!("cannot write {}", file.display()))?;
            new
        };
        Self::from_source(|variable| env_or_else(variable, || Ok(kept.get(variable).to_owned())))
    }

    /// What an Envoy gets to know.
    pub(crate) fn give_to_gateway(&self, command: &mut Command) {
        command.env("REKEY_STORE_TOKEN", &self.store_token);
        command.env("REKEY_CHECKSUM_SECRET", &self.checksum_secret);
        command.env_remove("REKEY_ADMIN_TOKEN");
    }

    /// What the key store gets to know.
    pub(crate) fn give_to_store(&self, command: &mut Command) {
        for variable in VARIABLES {
            command.env(variable, self.get(variable));
        }
    }

    fn from_source(mut source: impl FnMut(&str) -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let [store_token, admin_token, checksum_secret] = VARIABLES;
        Ok(Self {
            store_token: source(store_token)?,
            admin_token: source(admin_token)?,
            checksum_secret: source(checksum_secret)?,
        })
    }

    fn get(&self, variable: &str) -> &str {
        match variable {
            "REKEY_STORE_TOKEN" => &self.store_token,
            "REKEY_ADMIN_TOKEN" => &self.admin_token,
            _ => &self.checksum_secret,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

fn env_or_else(
    variable: &str,
    otherwise: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    match env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(value),
        Err(env::VarError::NotUnicode(_)) => bail!("{variable} is not UTF-8"),
        _ => otherwise(),
    }
}

/// Lines `VARIABLE=value`, so that a shell can source the file too.
fn read(file: &Path) -> anyhow::Result<Secrets> {
    let text = fs::read_to_string(file)?;
    Secrets::from_source(|variable| {
        let value = text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name == variable && !value.is_empty()).then(|| value.to_owned())
        });
        value.with_context(|| format!("{variable} is missing"))
    })
}

fn write(file: &Path, secrets: &Secrets) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    for variable in VARIABLES {
        writeln!(file, "{variable}={}", secrets.get(variable))?;
    }
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_keeps_them_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.env");
        let first = Secrets::from_env_or_file(&file).unwrap();
        let second = Secrets::from_env_or_file(&file).unwrap();
        for variable in VARIABLES {
            assert_eq!(first.get(variable), second.get(variable));
        }
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(first.store_token, first.admin_token);
    }

    #[test]
    fn a_file_that_lacks_one_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.env");
        fs::write(&file, "REKEY_STORE_TOKEN=a\nREKEY_ADMIN_TOKEN=\n").unwrap();
        let error = format!("{:#}", Secrets::from_env_or_file(&file).unwrap_err());
        assert!(error.contains("REKEY_ADMIN_TOKEN is missing"), "{error}");
    }

    #[test]
    fn debug_output_shows_none() {
        let secrets = Secrets::random().unwrap();
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
    }
}

//! A child process: its life, its signals, its log.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::{Pid, getpid, getppid},
};

use crate::until;

/// How long a process may take to stop by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a log goes into an error; Envoy's first lines are long lists.
const TAIL_LINES: usize = 20;
const TAIL_COLUMNS: usize = 400;

/// A running or ended child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    life: Arc<Life>,
}

/// What outlives the [`Process`], for whoever waits for its end.
#[derive(Debug)]
struct Life {
    pid: Pid,
    /// Set when the process has been reaped; until then its id is its own.
    exit: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

/// Waits for the end of one process.
#[derive(Debug, Clone)]
pub struct ExitWatch {
    name: String,
    log: PathBuf,
    life: Arc<Life>,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`. It gets a process
    /// group of its own, so that a Ctrl-C at the terminal reaches us alone, and
    /// dies with us whatever happens.
    ///
    /// # Errors
    /// The program cannot be started, or the log cannot be written.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let open_log = || File::options().create(true).append(true).open(log);
        let output = open_log().with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        command.process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("cannot start {name} ({program})"))?;
        Ok(Self {
            name: name.to_owned(),
            log: log.to_owned(),
            life: Life::watch_over(child)?,
        })
    }

    /// Who it is, in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.life.pid.as_raw().unsigned_abs()
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.life.lock()
    }

    /// For a thread that waits for the end.
    pub fn exit_watch(&self) -> ExitWatch {
        ExitWatch {
            name: self.name.clone(),
            log: self.log.clone(),
            life: Arc::clone(&self.life),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on for longer than `limit`.
    pub fn wait(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let Some(status) = self.life.wait(limit) else {
            bail!("{} still runs after {limit:?}", self.name);
        };
        Ok(status)
    }

    /// Sends a signal; nothing happens if the process has ended.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Under the lock the process is not reaped, so the id is still its own.
        let exit = self.life.lock();
        if exit.is_none() {
            kill(self.life.pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// SIGKILL, to what it has started as well; returns when the process is
    /// gone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill_9(&self) -> anyhow::Result<()> {
        self.kill_group()?;
        self.wait(PATIENCE).map(drop)
    }

    /// SIGTERM, and SIGKILL if that does not help within ten seconds; returns
    /// how it ended.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn terminate(&self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        if let Some(status) = self.life.wait(PATIENCE) {
            return Ok(status);
        }
        self.kill_group()?;
        self.wait(PATIENCE)
    }

    /// A script that dies leaves its children, and they the script's ports.
    fn kill_group(&self) -> anyhow::Result<()> {
        let exit = self.life.lock();
        if exit.is_none() {
            let killed = killpg(self.life.pid, Signal::SIGKILL);
            killed.with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// SIGSTOP: it stands still until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Where both its outputs go; a restart goes on in the same file.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// Waits until it is `ready`; if it ends before, or takes too long, an
    /// error with the end of its log.
    pub(crate) fn wait_until_ready(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let wait = until("it", limit, || match self.exit_status() {
            Some(status) => bail!("it ended ({status})"),
            None => Ok(ready().then_some(())),
        });
        wait.map_err(|why| {
            let tail = tail(&self.log);
            anyhow::anyhow!("{} does not become ready: {why}. {tail}", self.name)
        })
    }

    /// An error if it has ended, with the end of its log.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_alive(&self) -> anyhow::Result<()> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => bail!(obituary(&self.name, status, &self.log)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill_9();
    }
}

impl ExitWatch {
    /// Waits for the end, however long it takes, and says how it came, with
    /// the end of the log.
    pub fn wait(&self) -> String {
        let mut exit = self.life.lock();
        loop {
            if let Some(status) = *exit {
                return obituary(&self.name, status, &self.log);
            }
            exit = self
                .life
                .ended
                .wait(exit)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Life {
    /// Begins a thread that reaps the child when it ends.
    fn watch_over(mut child: Child) -> anyhow::Result<Arc<Self>> {
        let life = Arc::new(Self {
            pid: Pid::from_raw(child.id().try_into()?),
            exit: Mutex::new(None),
            ended: Condvar::new(),
        });
        let watched = Arc::clone(&life);
        thread::Builder::new()
            .name(format!("reaper of {}", life.pid))
            .spawn(move || {
                // Waits without reaping: that is done under the lock, so that
                // nobody signals a stranger who was given the id anew.
                let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                while waitid(Id::Pid(watched.pid), flags) == Err(nix::Error::EINTR) {}
                let mut exit = watched.lock();
                *exit = child.wait().ok().or(Some(ExitStatus::default()));
                watched.ended.notify_all();
            })?;
        Ok(life)
    }

    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let wait = self
            .ended
            .wait_timeout_while(self.lock(), limit, |exit| exit.is_none());
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// "Die with your parent" (`PR_SET_PDEATHSIG`) means the parent *thread*, and
/// Envoy asks the kernel for that by itself: a fleet started by a test's thread
/// would die with it in the midst of another test. So one thread that lives as
/// long as the process starts all.
fn spawn_from_lasting_thread(mut command: Command) -> io::Result<Child> {
    struct Job {
        command: Command,
        started: mpsc::SyncSender<io::Result<Child>>,
    }
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for mut job in queue {
                let _ = job.started.send(job.command.spawn());
            }
        });
        jobs
    });

    let us = getpid();
    // SAFETY: both are system calls: async-signal-safe, and they touch nothing
    // of this process.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // We may have died before the call above.
            if getppid() == us {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        })
    };
    let (started, result) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send(Job { command, started }).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

fn obituary(name: &str, status: ExitStatus, log: &Path) -> String {
    format!("{name} ended ({status}). {}", tail(log))
}

/// The end of a log, under its name. Not its path: a temporary one is gone by
/// the time that somebody reads the error.
pub(crate) fn tail(log: &Path) -> String {
    let text = read_lossy(log);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let cut = last
        .iter()
        .map(|line| match line.char_indices().nth(TAIL_COLUMNS) {
            Some((end, _)) => format!("\n  {}…", &line[..end]),
            None => format!("\n  {line}"),
        });
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    format!("The end of {name}:{}", cut.collect::<String>())
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::spawn("a shell", command, &folder.path().join("log")).unwrap();
        (folder, process)
    }

    fn until_logged(process: &Process, text: &str) {
        until(text, PATIENCE, || {
            Ok(process.log().contains(text).then_some(()))
        })
        .unwrap();
    }

    #[test]
    fn both_outputs_are_logged_and_the_exit_status_is_kept() {
        let (_folder, process) = shell("echo out; echo err >&2; exit 3");
        let status = process.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.log(), "out\nerr\n");
        let error = process.check_alive().unwrap_err().to_string();
        assert!(error.contains("a shell ended (exit status: 3)"), "{error}");
        assert!(error.ends_with("The end of log:\n  out\n  err"), "{error}");
    }

    #[test]
    fn it_outlives_the_thread_that_asked_for_it() {
        let asked = thread::spawn(|| shell("echo up; exec sleep 600"));
        let (_folder, process) = asked.join().unwrap();
        until_logged(&process, "up");
        process.check_alive().unwrap();
        process.kill_9().unwrap();
        assert_eq!(process.exit_status().unwrap().signal(), Some(9));
    }

    #[test]
    fn terminating_lets_it_end_by_itself() {
        let (_folder, process) = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        until_logged(&process, "up");
        assert_eq!(process.terminate().unwrap().code(), Some(7));
        process.signal(Signal::SIGTERM).unwrap();
    }

    #[test]
    fn dropping_it_kills_it() {
        let (_folder, process) = shell("exec sleep 600");
        let watch = process.exit_watch();
        drop(process);
        assert!(watch.wait().contains("signal: 9"), "{}", watch.wait());
    }
}

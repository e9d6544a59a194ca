//! What the process gives up before it holds a key: core files, being dumped or traced by its own user, swap.
//!
//! Not provided: anything against root, who reads the memory of every process; a machine that hibernates; a hypervisor
//! that takes snapshots.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::fmt;
use std::fs;
use std::io;

/// What [`harden`] brought about.
#[derive(Debug)]
#[must_use = "the log should say what is in force"]
pub struct Hardening {
    core_files: Result<(), Weak>,
    dumps: Result<(), Weak>,
    swap: Result<(), Weak>,
}

/// Why a protection is not in force.
#[derive(Debug, thiserror::Error)]
enum Weak {
    /// The kernel refused.
    #[error("{0}")]
    Refused(#[from] io::Error),
    /// Under a limit, the first allocation beyond it would fail, and the process with it.
    #[error("RLIMIT_MEMLOCK is {0} bytes and may not be raised, wanted unlimited")]
    Limited(u64),
}

/// Protects the memory of this process for as long as it lives. To be called before the first key is loaded, since what
/// was written to swap before stays there. Nothing fails for want of it: what is not in force, [`Hardening::log`] tells.
pub fn harden() -> Hardening {
    Hardening { core_files: forbid_core_files(), dumps: forbid_dumps(), swap: lock_memory() }
}

/// `RLIMIT_CORE` to 0, hard limit and all.
fn forbid_core_files() -> Result<(), Weak> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(io::Error::from)?;
    Ok(())
}

/// `PR_SET_DUMPABLE` to 0. A core dump that the kernel pipes to a program, such as systemd-coredump, is not bound by
/// `RLIMIT_CORE` (core(5)), and processes of the same user may read the memory of one that is dumpable (ptrace(2)).
fn forbid_dumps() -> Result<(), Weak> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    Ok(())
}

/// Locks all memory, now and later, each page once it is touched. Only without a limit, or where none binds.
fn lock_memory() -> Result<(), Weak> {
    let unlimited = Rlimit { current: None, maximum: None };
    let limit = getrlimit(Resource::Memlock).current.filter(|_| setrlimit(Resource::Memlock, unlimited).is_err());
    if let Some(bytes) = limit
        && size_bytes() <= bytes
    {
        return Err(Weak::Limited(bytes));
    }
    // What is larger than the limit can be locked by CAP_IPC_LOCK alone, which no limit binds later either (mlock(2)).
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    locked.map_err(|error| limit.map_or_else(|| Weak::Refused(error.into()), Weak::Limited))
}

/// Size of the address space; 0 if the kernel does not say.
fn size_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse().ok());
    size.map_or(0, |kibibytes: u64| kibibytes.saturating_mul(1024))
}

impl Hardening {
    /// Says in one line which protections are in force, and of the others why not: a warning if there is one.
    pub fn log(&self) {
        let Self { core_files, dumps, swap } = self;
        let [core_files, dumps, swap] = [core_files, dumps, swap].map(State);
        if core_files.0.is_ok() && dumps.0.is_ok() && swap.0.is_ok() {
            tracing::info!(%core_files, %dumps, %swap, "memory protection");
        } else {
            tracing::warn!(%core_files, %dumps, %swap, "memory protection");
        }
    }
}

/// A way in which memory leaves the process, as the log puts it.
struct State<'a>(&'a Result<(), Weak>);

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(()) => f.write_str("off"),
            Err(weak) => write!(f, "possible: {weak}"),
        }
    }
}

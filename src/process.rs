//! What the process gives up before it holds a key: core files, being dumped or traced by its own user, swap; and before it
//! serves: writing files that are none of its own, and running programs.
//!
//! Not provided: anything against root, who reads the memory of every process; a machine that hibernates; a hypervisor
//! that takes snapshots.

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What [`harden`] brought about.
#[derive(Debug)]
#[must_use = "the log should say what is in force"]
pub struct Hardening {
    core_files: Result<(), Weak>,
    dumps: Result<(), Weak>,
    swap: Result<(), Weak>,
}

/// What [`confine`] brought about.
#[derive(Debug)]
#[must_use = "the log should say what is in force"]
pub struct Confinement(Result<(), Weak>);

/// Gives up, for this thread and all that it starts, writing anywhere but in these directories and files, and running programs
/// (Landlock, landlock(7)). To be called before any other thread is started. Where one of them is not there yet, in what is to
/// hold it. Reading is not restricted: what the config names may change while the gate runs.
pub fn confine(writable: &[PathBuf]) -> Confinement {
    Confinement(restrict(writable))
}

fn restrict(writable: &[PathBuf]) -> Result<(), Weak> {
    // What later kernels know is asked for too, and left out where they do not.
    let abi = ABI::V5;
    let writing = AccessFs::from_write(abi);
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let mut rules = rules.handle_access(writing | AccessFs::Execute)?.create()?;
    for path in writable {
        // A relative path ends in nothing, which is the directory at hand.
        let there = path.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
        let path = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Of those that cannot be opened nothing can be written either.
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { writing } else { writing & AccessFs::from_file(abi) };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(Weak::NoLandlock),
    }
}

impl Confinement {
    /// Says in one line whether it is in force, and else why not.
    pub fn log(&self) {
        let written = State(&self.0);
        match &self.0 {
            Ok(()) => tracing::info!(writing_elsewhere = %written, running_programs = %written, "file protection"),
            Err(_) => tracing::warn!(writing_elsewhere = %written, running_programs = %written, "file protection"),
        }
    }
}

/// Why a protection is not in force.
#[derive(Debug, thiserror::Error)]
enum Weak {
    /// The kernel is older than 5.13, or was built or started without it.
    #[error("this kernel has no Landlock")]
    NoLandlock,
    /// It has, and refused.
    #[error("Landlock: {0}")]
    Landlock(#[from] RulesetError),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_what_is_its_own_can_be_written_and_no_program_run() {
        let folder = tempfile::tempdir().unwrap();
        let (own, file, other) = (folder.path().join("own"), folder.path().join("file"), folder.path().join("other"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(&file, "before").unwrap();
        fs::write(other.join("there"), "before").unwrap();
        // It holds for the thread that asks for it.
        let confined = std::thread::spawn(move || {
            let Confinement(confined) = confine(&[own.join("to be made"), file.clone()]);
            if let Err(Weak::NoLandlock) = &confined {
                fs::write(other.join("new"), "x").unwrap();
                return;
            }
            confined.unwrap();
            fs::create_dir(own.join("below")).unwrap();
            fs::write(own.join("below/new"), "x").unwrap();
            fs::rename(own.join("below/new"), own.join("moved")).unwrap();
            fs::remove_file(own.join("moved")).unwrap();
            fs::write(&file, "after").unwrap();
            assert_eq!(fs::read_to_string(other.join("there")).unwrap(), "before", "reading is free");
            let denied = |done: io::Result<()>| assert_eq!(done.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            denied(fs::write(other.join("new"), "x"));
            denied(fs::write(other.join("there"), "x"));
            denied(fs::remove_file(other.join("there")));
            denied(fs::rename(&file, other.join("file")));
            denied(Command::new("/bin/true").status().map(drop));
        });
        confined.join().unwrap();
    }
}

//! The memory of a gate leaves its process neither in core dumps nor through its own user, and the log says what of it is
//! locked.

use crate::fixture::{Gate, Setup, Upstream};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

/// A user without any privilege, and with nothing to own: `nobody`.
const NOBODY: &str = "65534";

fn root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The start of a shell line that runs what follows without privileges.
fn unprivileged() -> String {
    if root() {
        format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs")
    } else {
        String::new()
    }
}

/// A gate that has no privileges and may lock 64 KiB.
fn under_a_limit(upstream: &Upstream) -> Gate {
    let setup = Setup::before(upstream.addr());
    let run = unprivileged();
    let line = if root() {
        // The program may stand where only root can go, so it is taken along.
        let folder = setup.folder().to_str().unwrap();
        format!(
            "cp \"$0\" {folder}/sealgate && chown -R {NOBODY} {folder} && ulimit -l 64 && exec {run} {folder}/sealgate \"$@\""
        )
    } else {
        "ulimit -l 64".to_owned()
    };
    setup.shell(&line).start()
}

fn hardening(gate: &Gate) -> Value {
    serde_json::from_str(&gate.wait_for_log("memory protection")).unwrap()
}

/// Kibibytes that the kernel holds in memory for the gate.
fn locked(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Whether a process without privileges may look into another one of its user.
fn may_be_read(pid: u32) -> bool {
    let line = format!("exec {} cat /proc/{pid}/environ", unprivileged());
    let output = Command::new("bash").arg("-c").arg(line).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || error.contains("Permission denied"), "{error}");
    output.status.success()
}

/// A process of the same user that protects itself from nothing.
struct Neighbour(Child);

impl Neighbour {
    fn start() -> Self {
        let line = format!("exec {} cat", unprivileged());
        let mut command = Command::new("bash");
        let neighbour = Self(command.arg("-c").arg(line).stdin(Stdio::piped()).spawn().unwrap());
        // It is bash, and then setpriv, before it is what it is to be.
        for _ in 0..6000 {
            if fs::read_to_string(format!("/proc/{}/comm", neighbour.0.id())).unwrap().trim() == "cat" {
                return neighbour;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the neighbour does not start")
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn a_gate_leaves_no_core_file_and_its_own_user_cannot_read_its_memory() {
    let upstream = Upstream::start();
    let gate = under_a_limit(&upstream);
    let limits = fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"], "soft and hard");

    // proc(5): the files of a process that may not be dumped belong to root.
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    let neighbour = Neighbour::start();
    assert_ne!(owner(neighbour.0.id()), 0);
    assert_eq!(owner(gate.pid()), 0);
    assert!(may_be_read(neighbour.0.id()));
    assert!(!may_be_read(gate.pid()));

    let line = hardening(&gate);
    assert_eq!((&line["core_files"], &line["dumps"]), (&"off".into(), &"off".into()), "{line}");
}

#[test]
fn under_a_limit_no_memory_is_locked_and_the_log_warns_of_it() {
    let upstream = Upstream::start();
    let gate = under_a_limit(&upstream);
    let line = hardening(&gate);
    assert_eq!(line["level"], "WARN", "{line}");
    let why = "possible: RLIMIT_MEMLOCK is 65536 bytes and may not be raised, wanted unlimited";
    assert_eq!(line["swap"], why, "{line}");
    assert_eq!(locked(&gate), 0);
}

#[test]
fn the_log_says_whether_memory_is_locked() {
    let upstream = Upstream::start();
    // Where the limit may be raised it is locked; where not, the gate serves all the same.
    let gate = Setup::before(upstream.addr()).start();
    let line = hardening(&gate);
    let off = line["swap"] == "off";
    assert_eq!(locked(&gate) > 0, off, "{line}");
    assert_eq!(line["level"], if off { "INFO" } else { "WARN" }, "{line}");
    assert_eq!(gate.admin("/readyz").0, 200);
}

#[test]
fn the_gate_says_whether_it_can_write_elsewhere_and_the_kernel_says_the_same() {
    let gate = Setup::before(Upstream::start().addr()).start();
    let line: Value = serde_json::from_str(&gate.wait_for_log("file protection")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let gives_up = status.lines().any(|line| line.starts_with("NoNewPrivs:") && line.ends_with('1'));
    // Landlock is asked for together with that.
    match line["writing_elsewhere"].as_str().unwrap() {
        "off" => assert!(gives_up),
        why => assert!(!gives_up && why.starts_with("possible: this kernel has no Landlock"), "{why}"),
    }
}

//! `sealgate demo`: the gate as it is, a throw-away PKI, a small registry behind it, and a real client in front.

mod caller;
mod pki;
mod registry;
mod show;

use super::run::Signals;
use super::{Exit, complain, say};
use crate::app::{self, Running};
use crate::config;
use crate::telemetry::{self, Logging};
use data_encoding::BASE64;
use registry::Registry;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

type Failure = Box<dyn Error + Send + Sync>;

pub(super) fn demo(once: bool) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let folder = match Folder::new() {
        Ok(folder) => folder,
        Err(error) => return failed(&error.into()),
    };
    runtime.block_on(play(&folder.0, once)).unwrap_or_else(|error| failed(&error))
}

fn failed(error: &Failure) -> Exit {
    complain(&format!("demo: {error}\n"));
    Exit::Failure
}

async fn play(folder: &Path, once: bool) -> Result<Exit, Failure> {
    let mut signals = Signals::catch()?;
    let registry = Registry::start().await?;
    let (gate, stage) = raise(folder, registry.address).await?;
    let good = show::show(&stage).await?;
    if !once {
        say(&show::invitation(&stage));
        signals.terminated().await;
    }
    gate.drain().await?;
    Ok(if good { Exit::Ok } else { Exit::Failure })
}

/// What the show is played on.
struct Stage {
    _logging: Logging,
    folder: PathBuf,
    gate: SocketAddr,
    admin: SocketAddr,
    registry: SocketAddr,
}

/// Writes keys and config and starts the gate on them, as `sealgate run` would.
async fn raise(folder: &Path, registry: SocketAddr) -> Result<(Running, Stage), Failure> {
    pki::write(folder)?;
    let mut kek = [0; 32];
    crate::seal::crypto::default_provider().fill_random(&mut kek)?;
    write_secret(&folder.join("kek"), BASE64.encode(&kek).as_bytes())?;
    let text = include_str!("gate.yaml").replace("${REGISTRY}", &format!("http://{registry}"));
    let file = folder.join("gate.yaml");
    write_secret(&file, text.as_bytes())?;
    let (sources, config) = config::read(&file);
    let config = config.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let logging = telemetry::start_logging(config.log);
    let gate = app::start(config, &sources, logging.dropped_lines()).await?;
    let stage =
        Stage { _logging: logging, folder: folder.to_owned(), gate: gate.address, admin: gate.admin_address, registry };
    Ok((gate, stage))
}

fn write_secret(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(bytes)
}

/// A folder of the demo's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sealgate-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            complain(&format!("{}: {error}\n", self.0.display()));
        }
    }
}

//! The `sealgate` program. See `sealgate help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealgate::cli::main()
}

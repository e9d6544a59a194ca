//! Work that leaves keys on the stack, and what is done about that. Libraries keep copies there, in whichever language.

use std::hint::black_box;

/// More than the work of the libraries takes of the stack.
const BYTES: usize = 32 * 1024;

/// Does `work` and overwrites that part of the stack on which it was done. What it returns must hold no key but on the
/// heap.
pub(super) fn cleaned<T>(work: impl FnOnce() -> T) -> T {
    let done = on_a_frame_of_its_own(work);
    overwrite();
    done
}

#[inline(never)]
fn on_a_frame_of_its_own<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites what earlier calls left below this frame.
#[inline(never)]
pub(super) fn overwrite() {
    black_box(&mut [0_u8; BYTES]);
}

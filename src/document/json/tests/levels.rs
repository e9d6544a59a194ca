//! The kinds of processors, as far as this one can stand in for them.

use std::cell::Cell;

use fearless_simd::{Fallback, Level};

thread_local! {
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// What rewriters that this thread makes take the processor for, if it is not for what it is.
pub(in crate::document::json) fn forced() -> Option<Level> {
    FORCED.get()
}

/// Has rewriters that `run` makes take the processor for one of that level.
pub(super) fn at<T>(level: Level, run: impl FnOnce() -> T) -> T {
    FORCED.set(Some(level));
    let done = run();
    FORCED.set(None);
    done
}

/// Every level of this processor, and the one without vectors.
pub(super) fn all() -> Vec<Level> {
    let best = Level::new();
    let mut all = vec![Level::Fallback(Fallback::new())];
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        all.extend(best.as_sse2().map(Level::Sse2));
        all.extend(best.as_sse4_2().map(Level::Sse4_2));
        all.extend(best.as_avx2().map(Level::Avx2));
        all.extend(best.as_avx512().map(Level::Avx512));
    }
    #[cfg(target_arch = "aarch64")]
    all.extend(best.as_neon().map(Level::Neon));
    assert!(all.iter().any(|level| std::mem::discriminant(level) == std::mem::discriminant(&best)));
    all
}

//! What a build for FIPS 140 (feature `fips`) may seal with.
//!
//! Approved is what the module does itself and its service indicator counts as approved. Which module that is, and by
//! which certificate, the build decides: see `deploy/fips/README.md`.

/// Whether this build refuses what is not approved.
pub const REQUIRED: bool = cfg!(feature = "fips");

/// A way to seal, as FIPS 140 looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Method {
    /// AES-256-GCM under a nonce that the module draws (SP 800-38D 8.2.2).
    RandomNonce,
    /// AES-256-GCM under a nonce that counts segments. The module encrypts, but takes the nonce from outside, and that is
    /// no approved service of it.
    CountedNonce,
    /// AES-256-SIV (RFC 5297). In no NIST standard, and computed outside of the module.
    Siv,
    /// FF1 (SP 800-38G). A NIST standard, but computed outside of the module.
    Ff1,
}

/// A way to seal that a build for FIPS 140 does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: not approved for FIPS 140, which this build is for")]
pub struct NotApproved {
    name: &'static str,
}

impl Method {
    /// All of them.
    pub const ALL: &[Self] = &[Self::RandomNonce, Self::CountedNonce, Self::Siv, Self::Ff1];

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RandomNonce => "AES-256-GCM with random nonces",
            Self::CountedNonce => "AES-256-GCM with counted nonces",
            Self::Siv => "AES-256-SIV",
            Self::Ff1 => "FF1",
        }
    }

    /// Whether it is an approved service of the module.
    #[must_use]
    pub const fn approved(self) -> bool {
        match self {
            Self::RandomNonce => true,
            Self::CountedNonce | Self::Siv | Self::Ff1 => false,
        }
    }

    /// Nothing, where this build may seal so.
    ///
    /// # Errors
    /// [`NotApproved`] for what is not approved, in a build for FIPS 140.
    pub const fn permit(self) -> Result<(), NotApproved> {
        if REQUIRED && !self.approved() { Err(NotApproved { name: self.name() }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_fips_permits_what_is_approved_and_any_other_build_everything() {
        for method in Method::ALL {
            assert_eq!(method.permit().is_ok(), method.approved() || !cfg!(feature = "fips"), "{}", method.name());
        }
        assert!(Method::RandomNonce.approved(), "values can be sealed");
    }

    #[test]
    fn only_a_build_for_fips_has_a_module() {
        let provider = crate::seal::crypto::default_provider();
        assert_eq!(provider.fips_module().is_some(), cfg!(feature = "fips"), "{:?}", provider.fips_module());
    }
}

//! The ring provider.
//!
//! ring wipes nothing: key schedules and what HKDF went through stay where they were. So both are overwritten here, as far
//! as safe Rust can: nothing else was found (`tests/residue.rs`), and nothing is promised for another compiler.

use super::{Aead, CryptoFailed, CryptoProvider, KEY_BYTES, NONCE_BYTES, Sealed, TAG_BYTES};
use ::ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ::ring::rand::{SecureRandom, SystemRandom};
use ::ring::{digest, hkdf};
use std::hint::black_box;

#[derive(Debug)]
pub(super) struct Ring;

impl CryptoProvider for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoFailed> {
        SystemRandom::new().fill(out).map_err(|_| CryptoFailed)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    fn hkdf_sha256(&self, salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoFailed> {
        let derived = derive(salt, secret, info, out);
        wipe_stack();
        derived
    }

    fn aes_256_gcm(&self, key: &[u8; KEY_BYTES]) -> Result<Box<dyn Aead>, CryptoFailed> {
        let scheduled = schedule(key);
        wipe_stack();
        Ok(Box::new(Gcm(scheduled?)))
    }
}

#[inline(never)]
fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoFailed> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let okm = key.expand(&info, Length(out.len())).map_err(|_| CryptoFailed)?;
    okm.fill(out).map_err(|_| CryptoFailed)
}

#[inline(never)]
fn schedule(key: &[u8; KEY_BYTES]) -> Result<Box<LessSafeKey>, CryptoFailed> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailed)?;
    Ok(Box::new(LessSafeKey::new(key)))
}

/// Overwrites the stack below its caller's frame, where a function that has returned left its variables.
#[inline(never)]
fn wipe_stack() {
    // Twice of what an unoptimised build was seen to use.
    black_box(&mut [0u8; 32 * 1024]);
}

/// On the heap, where it stays until it is overwritten.
struct Gcm(Box<LessSafeKey>);

impl Drop for Gcm {
    fn drop(&mut self) {
        // A key of zeros takes the place of the key. It cannot fail: the length is right.
        if let Ok(key) = UnboundKey::new(&AES_256_GCM, &[0; KEY_BYTES]) {
            *self.0 = LessSafeKey::new(key);
            // As if it were read: a write that nobody reads would be left out.
            black_box(&self.0);
        }
    }
}

impl Aead for Gcm {
    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), in_out).map_err(|_| CryptoFailed)?;
        tag.as_ref().try_into().map_err(|_| CryptoFailed)
    }

    fn seal_drawing(&self, aad: &[u8], in_out: &mut [u8]) -> Result<Sealed, CryptoFailed> {
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CryptoFailed)?;
        Ok((nonce, self.seal(nonce, aad, in_out)?))
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], in_out: &mut [u8]) -> Result<usize, CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), in_out).map(|plain| plain.len()).map_err(|_| CryptoFailed)
    }
}

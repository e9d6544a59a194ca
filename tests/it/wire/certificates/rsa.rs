//! A signature by a key that no library of today makes one with: RSA of 1024 bits (RFC 8017, RSASSA-PSS with SHA-256).

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use sealgate::seal::crypto::sha256;

const LIMBS: usize = 16;

/// A number of 1024 bits, the lowest limb first.
type Number = [u64; LIMBS];

/// Not a secret of anybody's.
const MODULUS: &str = "\
    bf3f089f1fcfa5b5da44f730aec731f603008e0a352f7abe6fc3836a85f0e2df\
    aca7fc5a13b2327cbaf82db4020bc80871d396edd07845caf0449c063fa74cb0\
    d85a16855efd83deb304dee5fb8935a3b217a09dd558ac7b6c9eb2e876657936\
    e7c1c81c00617529775ac41eac87a0d7ba8a95744a79c591e5a1082b56d03985";
const PRIVATE_EXPONENT: &str = "\
    9fd45b2d3955bda4dc94b48d70143391e9726642ebae1183e43ddeaf80df0f8c\
    656c42ff38e4bd42f6b300e726aa97f34ec5c9a6588a9bb17dd9a917a3ccface\
    8222d9caf82722194318c383544ff2a41d3596078cb49c67f2ab2286eb405f3c\
    31788909d2f366abff8c6132482a134de8a2d6146f968f0a4ab2d6238f5402c5";

/// The key of a client, as a handshake wants it.
#[derive(Debug)]
pub(crate) struct Small;

impl Small {
    /// Its SubjectPublicKeyInfo, in DER.
    pub(crate) fn public() -> Vec<u8> {
        let head = "30819f300d06092a864886f70d010101050003818d0030818902818100";
        data_encoding::HEXLOWER.decode(format!("{head}{MODULUS}0203010001").as_bytes()).unwrap()
    }
}

impl SigningKey for Small {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::RSA_PSS_SHA256).then(|| Box::new(Self) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Small {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = power(number(&encode(message)), from_hex(PRIVATE_EXPONENT), from_hex(MODULUS));
        Ok(signature.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

/// EMSA-PSS (RFC 8017 9.1.1), with a salt of zeros.
fn encode(message: &[u8]) -> [u8; 128] {
    let salt = [0; 32];
    let hash = sha256(&[&[0; 8], &sha256(&[message]), &salt]);
    let mut encoded = [0; 128];
    encoded[62] = 1;
    encoded[63..95].copy_from_slice(&salt);
    for (counter, part) in encoded[..95].chunks_mut(32).enumerate() {
        let mask = sha256(&[&hash, &u32::try_from(counter).unwrap().to_be_bytes()]);
        part.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    encoded[0] &= 0x7f;
    encoded[95..127].copy_from_slice(&hash);
    encoded[127] = 0xbc;
    encoded
}

fn number(bytes: &[u8]) -> Number {
    let mut number = [0; LIMBS];
    for (limb, bytes) in number.iter_mut().zip(bytes.rchunks(8)) {
        *limb = u64::from_be_bytes(bytes.try_into().unwrap());
    }
    number
}

fn from_hex(text: &str) -> Number {
    number(&data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap())
}

fn bits(number: &Number) -> impl Iterator<Item = bool> {
    number.iter().rev().flat_map(|limb| (0..64).rev().map(move |at| limb >> at & 1 == 1))
}

fn power(base: Number, exponent: Number, modulus: Number) -> Number {
    let mut result = [0; LIMBS];
    result[0] = 1;
    for bit in bits(&exponent) {
        result = product(&result, &result, &modulus);
        if bit {
            result = product(&result, &base, &modulus);
        }
    }
    result
}

/// Doubling and adding: slow, and short.
fn product(a: &Number, b: &Number, modulus: &Number) -> Number {
    let mut result = [0; LIMBS];
    for bit in bits(a) {
        result = sum(&result, &result, modulus);
        if bit {
            result = sum(&result, b, modulus);
        }
    }
    result
}

/// Of two numbers below the modulus.
fn sum(a: &Number, b: &Number, modulus: &Number) -> Number {
    let (mut sum, mut carry) = ([0; LIMBS], false);
    for at in 0..LIMBS {
        (sum[at], carry) = a[at].carrying_add(b[at], carry);
    }
    let (mut less, mut borrow) = ([0; LIMBS], false);
    for at in 0..LIMBS {
        (less[at], borrow) = sum[at].borrowing_sub(modulus[at], borrow);
    }
    if carry || !borrow { less } else { sum }
}

#[test]
fn what_is_signed_is_the_encoded_message_again_by_the_public_exponent() {
    let signature = number(&Small.sign(b"message").unwrap());
    let mut public = [0; LIMBS];
    public[0] = 65537;
    assert_eq!(power(signature, public, from_hex(MODULUS)), number(&encode(b"message")));
}

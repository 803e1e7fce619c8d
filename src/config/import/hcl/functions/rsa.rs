//! RSA decryption, PKCS #1 v1.5, with a private key in PEM: what bake's `rsadecrypt` does.
//!
//! For values that were encrypted for a build file. It makes no effort to hide how long it takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;

/// The largest modulus that is worked with, in bits.
const LARGEST_MODULUS: u64 = 16_384;

/// The text that `ciphertext`, in base64, holds for the owner of `key`.
pub fn decrypt(ciphertext: &str, key: &str) -> Result<String, String> {
    let encrypted =
        STANDARD.decode(ciphertext.trim()).map_err(|_| "the ciphertext is not base64".to_string())?;
    let (modulus, exponent) = private_key(key).ok_or("the key is not an RSA private key in PEM")?;
    if modulus.bits() > LARGEST_MODULUS || modulus.bits() < 64 {
        return Err("the key has an unusual size".to_string());
    }
    let failed = || "the ciphertext is not for this key".to_string();
    let encrypted = BigUint::from_bytes_be(&encrypted);
    if encrypted >= modulus {
        return Err(failed());
    }
    let decrypted = encrypted.modpow(&exponent, &modulus).to_bytes_be();
    // The leading zero byte of the block is not among the bytes of the number.
    let padded = decrypted.strip_prefix(&[2]).ok_or_else(failed)?;
    let end = padded.iter().position(|byte| *byte == 0).filter(|end| *end >= 8).ok_or_else(failed)?;
    String::from_utf8(padded[end + 1..].to_vec()).map_err(|_| "what it holds is not UTF-8 text".to_string())
}

/// The modulus and the private exponent of a PKCS #1 key, or of one inside PKCS #8.
fn private_key(pem: &str) -> Option<(BigUint, BigUint)> {
    let body: String = pem.lines().map(str::trim).filter(|line| !line.contains("-----")).collect();
    let der = STANDARD.decode(body).ok()?;
    let (_, content, _) = element(&der)?;
    let (_, _, after_version) = element(content)?;
    let (tag, first, rest) = element(after_version)?;
    if tag == 0x30 {
        let (_, inner, _) = element(rest)?;
        let (_, content, _) = element(inner)?;
        let (_, _, after_version) = element(content)?;
        return numbers(after_version);
    }
    let _ = first;
    numbers(after_version)
}

/// Modulus, public exponent, private exponent.
fn numbers(content: &[u8]) -> Option<(BigUint, BigUint)> {
    let (_, modulus, rest) = element(content)?;
    let (_, _, rest) = element(rest)?;
    let (_, exponent, _) = element(rest)?;
    Some((BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent)))
}

/// The tag and content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let bytes = rest.get(..count).filter(|_| count <= 4)?;
        let length = bytes.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        (length, &rest[count..])
    };
    Some((*tag, rest.get(..length)?, &rest[length..]))
}

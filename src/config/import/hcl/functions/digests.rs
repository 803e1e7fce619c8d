//! Hashes, identifiers made of them, and what is encrypted.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::super::value::Value;
use super::Parameter::{Number, Text};
use super::{Function, Outcome, Surroundings, blame, fixed, rsa, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    variadic("bcrypt", &[Text], Number, bcrypt),
    fixed("md5", &[Text], |values, _| Ok(Value::from(hex(&Md5::digest(text(values, 0)))))),
    fixed("rsadecrypt", &[Text, Text], |values, _| {
        Ok(Value::from(rsa::decrypt(text(values, 0), text(values, 1))?))
    }),
    fixed("sha1", &[Text], |values, _| Ok(Value::from(hex(&Sha1::digest(text(values, 0)))))),
    fixed("sha256", &[Text], |values, _| Ok(Value::from(hex(&Sha256::digest(text(values, 0)))))),
    fixed("sha512", &[Text], |values, _| Ok(Value::from(hex(&Sha512::digest(text(values, 0)))))),
    fixed("uuidv4", &[], |_, world| Ok(Value::from(uuid(world.random(), 4)))),
    fixed("uuidv5", &[Text, Text], named_uuid),
];

/// What bcrypt costs when nobody says.
const COST: u32 = 10;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The cost is fixed: bake takes an argument for it and does not use it.
fn bcrypt(values: &[Value], world: &Surroundings) -> Outcome {
    if values.len() > 2 {
        return Err("it takes no more than two arguments".into());
    }
    if text(values, 0).len() > 72 {
        return Err(blame(0, "the text is longer than 72 bytes"));
    }
    let hashed = bcrypt::hash_with_salt(text(values, 0), COST, world.random());
    let hashed = hashed.map_err(|error| error.to_string())?;
    Ok(Value::from(hashed.format_for_version(bcrypt::Version::TwoA)))
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

fn named_uuid(values: &[Value], _: &Surroundings) -> Outcome {
    let namespace = match text(values, 0) {
        "dns" => "6ba7b8109dad11d180b400c04fd430c8",
        "url" => "6ba7b8119dad11d180b400c04fd430c8",
        "oid" => "6ba7b8129dad11d180b400c04fd430c8",
        "x500" => "6ba7b8149dad11d180b400c04fd430c8",
        other => other,
    };
    let digits: String = namespace.chars().filter(|c| *c != '-').collect();
    let namespace = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let namespace = namespace.ok_or_else(|| {
        blame(0, format!("`{}` is not `dns`, `url`, `oid`, `x500` or a UUID", text(values, 0)))
    })?;
    let digest = Sha1::new().chain_update(namespace.to_be_bytes()).chain_update(text(values, 1)).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Ok(Value::from(uuid(bytes, 5)))
}

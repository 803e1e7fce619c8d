//! Base64 and URLs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::value::Value;
use super::Parameter::Text;
use super::{Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[
    fixed("base64decode", &[Text], decode),
    fixed("base64encode", &[Text], |values, _| Ok(Value::from(STANDARD.encode(text(values, 0))))),
    fixed("homedir", &[], |_, world| Ok(Value::from(world.home.as_str()))),
    fixed("urlencode", &[Text], |values, _| Ok(Value::from(url_encoded(text(values, 0))))),
];

fn decode(values: &[Value], _: &Surroundings) -> Outcome {
    let encoded: String = text(values, 0).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| blame(0, "it is not base64"))?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| blame(0, "what it encodes is not UTF-8 text"))
}

/// As in a query: a space is `+`.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

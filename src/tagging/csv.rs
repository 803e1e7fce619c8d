//! The fields of one line of rules: commas between them, and double quotes around a field that has some itself.

/// The fields, or what is wrong with the line.
pub fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, line)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err(format!(
                        "a quote begins within a field of `{line}`: `\"` goes before `{field}`"
                    ));
                }
                (field.to_string(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and what is after its closing one.
fn quoted_field<'t>(text: &'t str, line: &str) -> Result<(String, &'t str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or_else(|| format!("a quote is not closed in `{line}`"))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if rest.is_empty() || rest.starts_with(',') => return Ok((field, rest)),
            None => return Err(format!("after a quoted field of `{line}` comes no comma")),
        }
    }
}

/// Key and value, trimmed, the key in lower case; without a `=` there is no key.
pub fn pair(field: &str) -> (Option<String>, String) {
    match field.split_once('=') {
        Some((key, value)) if !key.is_empty() => (Some(key.trim().to_lowercase()), value.trim().to_string()),
        _ => (None, field.trim().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_fields() {
        let check = |line: &str, expected: Result<&[&str], &str>| {
            let found = fields(line);
            let expected = expected.map(|all| all.iter().map(|field| field.to_string()).collect::<Vec<_>>());
            assert_eq!(found, expected.map_err(str::to_string), "{line}");
        };
        check("type=raw,value=x", Ok(&["type=raw", "value=x"]));
        check("type=match,\"pattern=\\d{1,3}\"", Ok(&["type=match", "pattern=\\d{1,3}"]));
        check("\"a\"\"b\",", Ok(&["a\"b", ""]));
        check("", Ok(&[""]));
        check("\"a", Err("a quote is not closed in `\"a`"));
        check("\"a\"b", Err("after a quoted field of `\"a\"b` comes no comma"));
        check("a\"b\"", Err("a quote begins within a field of `a\"b\"`: `\"` goes before `a\"b\"`"));
    }

    #[test]
    fn fields_are_pairs() {
        for (field, key, value) in [
            (" Type = raw ", Some("type"), "raw"),
            ("value=a=b", Some("value"), "a=b"),
            ("edge", None, "edge"),
            ("=x", None, "=x"),
        ] {
            assert_eq!(pair(field), (key.map(str::to_string), value.to_string()), "{field}");
        }
    }
}

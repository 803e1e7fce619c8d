//! `key=value,key=value`: one record of CSV.

/// The fields of a record; quotes protect commas and are doubled to stand for themselves.
pub fn fields(record: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut rest = record;
    loop {
        let (field, after) = field(rest)?;
        found.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(found),
            None => return Err(format!("there is text behind a quote in `{record}`")),
        }
    }
}

fn field(text: &str) -> Result<(String, &str), String> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (plain, _) = text.split_at(text.find(',').unwrap_or(text.len()));
        if plain.contains('"') {
            return Err(format!("a field with quotes must be quoted as a whole: `{plain}`"));
        }
        return Ok((plain.to_string(), &text[plain.len()..]));
    };
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or_else(|| format!("a quote is not closed in `{text}`"))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

/// The fields as keys and values.
pub fn pairs(record: &str) -> Result<Vec<(String, String)>, String> {
    let split = |field: String| match field.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), value.to_string())),
        None => Err(format!("`{field}` is not of the form `key=value`")),
    };
    fields(record)?.into_iter().map(split).collect()
}

/// The words for true and false that bake takes.
pub fn is_true(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn records_have_quotes() {
        for (record, expected) in [
            ("", Some(vec![""])),
            ("a=1,b=2", Some(vec!["a=1", "b=2"])),
            ("a=1,\"b=2,3\"", Some(vec!["a=1", "b=2,3"])),
            ("\"a=\"\"x\"\"\"", Some(vec!["a=\"x\""])),
            ("a=\"x\"", None),
            ("\"a", None),
            ("\"a\"b", None),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_string).collect::<Vec<_>>());
            assert_eq!(fields(record).ok(), expected, "{record}");
        }
    }
}

//! Annotations: `[level[platform],…:]key=value`, bake's form. Without a level they are for the manifests.

use super::context::is_tag;
use crate::base::Platform;
use crate::model::{Annotation, AnnotationLevel};

/// One per level that the text names; or what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Annotation>, String> {
    let Some((left, value)) = text.split_once('=') else {
        return Err(format!("`{text}` is not of the form `key=value`"));
    };
    let (levels, key) = match left.split_once(':') {
        Some((levels, key)) => (levels, key),
        None => ("manifest", left),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("`{key}` is not the key of an annotation"));
    }
    levels
        .split(',')
        .map(|level| {
            let (level, platform) = parse_level(level.trim())?;
            Ok(Annotation { level, platform, key: key.to_string(), value: value.to_string() })
        })
        .collect()
}

fn parse_level(text: &str) -> Result<(AnnotationLevel, Option<Platform>), String> {
    let (word, platform) = match text.split_once('[') {
        Some((word, rest)) => {
            let Some(platform) = rest.strip_suffix(']') else {
                return Err(format!("`[` is not closed in `{text}`"));
            };
            (word, Some(platform.parse::<Platform>().map_err(|error| error.to_string())?))
        }
        None => (text, None),
    };
    let level = match word {
        "manifest" => AnnotationLevel::Manifest,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index" => AnnotationLevel::Index,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        _ if is_tag(word) => {
            return Err(format!(
                "`{word}` is not a level; those are `manifest`, `manifest-descriptor`, `index` and \
                 `index-descriptor`"
            ));
        }
        _ => return Err(format!("`{word}` is not a level of annotations")),
    };
    let one_for_all = matches!(level, AnnotationLevel::Index | AnnotationLevel::IndexDescriptor);
    match platform {
        Some(platform) if one_for_all => {
            Err(format!("there is one `{word}` for all platforms, so it cannot be for `{platform}` alone"))
        }
        platform => Ok((level, platform)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = (AnnotationLevel, Option<&'a str>, &'a str, &'a str);

    #[test]
    fn levels_and_platforms_are_read() {
        let check = |text: &str, expected: Result<&[Expected], ()>| {
            let own = |(level, platform, key, value): &Expected| Annotation {
                level: *level,
                platform: platform.map(|platform| platform.parse().unwrap()),
                key: key.to_string(),
                value: value.to_string(),
            };
            let expected = expected.map(|all| all.iter().map(own).collect::<Vec<_>>());
            assert_eq!(parse(text).map_err(|_| ()), expected, "{text}");
        };
        use AnnotationLevel::{Index, Manifest, ManifestDescriptor};
        check("a.b=c=d", Ok(&[(Manifest, None, "a.b", "c=d")]));
        check("index:a=", Ok(&[(Index, None, "a", "")]));
        check("manifest[linux/arm64]:a=b:c", Ok(&[(Manifest, Some("linux/arm64"), "a", "b:c")]));
        check(
            "index,manifest-descriptor:a=b",
            Ok(&[(Index, None, "a", "b"), (ManifestDescriptor, None, "a", "b")]),
        );
        for bad in
            ["a", "=b", "top:a=b", "index[linux/arm64]:a=b", "manifest[linux/arm64:a=b", "manifest[x y]:a=b"]
        {
            check(bad, Err(()));
        }
    }
}

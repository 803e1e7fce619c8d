//! Expansion of words.

use super::*;

fn lookup(name: &str) -> Option<String> {
    let values = [
        ("x", "value"),
        ("empty", ""),
        ("two", "a b"),
        ("path", "/usr/local/bin/go"),
        ("version", "v1.22.3-rc1"),
        ("star", "a*b"),
        ("dots", "a.b.c"),
        ("lines", "a\nb"),
        ("ü", "umlaut"),
    ];
    values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
}

fn expand(word: &str) -> String {
    match expand_word(word, '\\', &lookup) {
        Ok(expansion) => expansion.value,
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn variables_quotes_and_escapes() {
    for (word, expected) in [
        ("plain", "plain"),
        ("", ""),
        ("$x", "value"),
        ("${x}", "value"),
        ("a$x.b", "avalue.b"),
        ("$xy", ""),
        ("${x}y", "valuey"),
        ("$ü", "umlaut"),
        ("'$x'", "$x"),
        ("\"$x\"", "value"),
        ("\"'$x'\"", "'value'"),
        ("'\"$x\"'", "\"$x\""),
        ("\\$x", "$x"),
        ("\\\\$x", "\\value"),
        ("a\\b", "ab"),
        ("\"a\\b\"", "a\\b"),
        ("\"\\\"\\$\\\\\"", "\"$\\"),
        ("'a\\b'", "a\\b"),
        ("a\\", "a"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$1$@$#$*$?$-$!$$", ""),
        ("$12a", "a"),
        ("${1}", ""),
        ("$.x", "$.x"),
        ("$two", "a b"),
        ("~/*", "~/*"),
        ("'open", "error: a quote `'` is not closed"),
        ("\"open", "error: a quote `\"` is not closed"),
        ("\"open\\", "error: a quote `\"` is not closed"),
        ("${x", "error: `${` is not closed by `}`"),
        ("${", "error: `${` is not closed by `}`"),
        ("${}", "error: `${}` names no variable"),
        ("${:x}", "error: `${}` names no variable"),
        ("${{x}}", "error: `${}` names no variable"),
        ("${x[0]}", "error: `[` is not a modifier of `${x}`"),
        ("${!x}", "error: `x` is not a modifier of `${!}`"),
    ] {
        assert_eq!(expand(word), expected, "{word}");
    }
}

#[test]
fn modifiers_choose() {
    for (word, expected) in [
        ("${x:-w}", "value"),
        ("${none:-w}", "w"),
        ("${none-w}", "w"),
        ("${empty:-w}", "w"),
        ("${empty-w}", ""),
        ("${x:+w}", "w"),
        ("${x+w}", "w"),
        ("${none:+w}", ""),
        ("${none+w}", ""),
        ("${empty:+w}", ""),
        ("${empty+w}", "w"),
        ("${x:?m}", "value"),
        ("${x?m}", "value"),
        ("${empty?m}", ""),
        ("${none:?m}", "error: none: m"),
        ("${none?}", "error: none: is not allowed to be unset"),
        ("${none:?}", "error: none: is not allowed to be unset"),
        ("${empty:?}", "error: empty: is not allowed to be empty"),
        ("${none:-$x}", "value"),
        ("${none:-${empty:-${x}}}", "value"),
        ("${none:-a b}", "a b"),
        ("${none:-'}'}", "}"),
        ("${none:-\"a}\"}", "a}"),
        ("${none:-a\\}b}", "a}b"),
        ("${none:-}", ""),
        ("${none:=w}", "error: `:=` is not a modifier of `${none}`"),
        ("${x:#v}", "error: `:#` is not a modifier of `${x}`"),
        ("${x:%e}", "error: `:%` is not a modifier of `${x}`"),
        ("${x:1}", "error: `:1` is not a modifier of `${x}`"),
        ("${x^}", "error: `^` is not a modifier of `${x}`"),
        ("${x:-w", "error: `${` is not closed by `}`"),
        ("${x:", "error: `${` is not closed by `}`"),
    ] {
        assert_eq!(expand(word), expected, "{word}");
    }
}

#[test]
fn modifiers_cut_and_replace() {
    for (word, expected) in [
        ("${path#/usr}", "/local/bin/go"),
        ("${path#*/}", "usr/local/bin/go"),
        ("${path##*/}", "go"),
        ("${path%/*}", "/usr/local/bin"),
        ("${path%%/*}", ""),
        ("${path#go}", "/usr/local/bin/go"),
        ("${path%o}", "/usr/local/bin/g"),
        ("${path%?}", "/usr/local/bin/g"),
        ("${path%%??}", "/usr/local/bin/"),
        ("${version#v}", "1.22.3-rc1"),
        ("${version%-*}", "v1.22.3"),
        ("${version%%.*}", "v1"),
        ("${version%.*.*}", "v1"),
        ("${star#a\\*}", "b"),
        ("${dots#a?}", "b.c"),
        ("${dots#[a]}", "a.b.c"),
        ("${none#a}", ""),
        (
            "${none#\\a}",
            "error: `\\a` is not a pattern: a backslash may escape `*`, `?`, `/`, `}` and itself only",
        ),
        ("${none/$empty/b}", "b"),
        ("${x#}", "value"),
        ("${x##}", "value"),
        ("${x#$x}", ""),
        ("${lines#*b}", "a\nb"),
        ("${dots/./-}", "a-b.c"),
        ("${dots//./-}", "a-b-c"),
        (
            "${dots//\\./-}",
            "error: `\\.` is not a pattern: a backslash may escape `*`, `?`, `/`, `}` and itself only",
        ),
        ("${dots/b*/}", "a."),
        ("${dots//?/x}", "xxxxx"),
        ("${dots//*/x}", "x"),
        ("${path//\\//_}", "_usr_local_bin_go"),
        ("${star/\\*/+}", "a+b"),
        ("${dots/z/y}", "a.b.c"),
        ("${dots/./$x}", "avalueb.c"),
        ("${x/$empty/<}", "<value"),
        ("${two//$empty/-}", "-a- -b-"),
        ("${none/a/b}", ""),
        ("${x/a}", "error: `${x/` needs a second `/` before the replacement"),
        ("${x/a/b", "error: `${` is not closed by `}`"),
        (
            "${x#\\a}",
            "error: `\\a` is not a pattern: a backslash may escape `*`, `?`, `/`, `}` and itself only",
        ),
    ] {
        assert_eq!(expand(word), expected, "{word}");
    }
}

#[test]
fn the_escape_can_be_a_backtick() {
    let expand = |word: &str| expand_word(word, '`', &lookup).unwrap().value;
    assert_eq!(expand("c:\\$x"), "c:\\value");
    assert_eq!(expand("`$x``\"`\"\""), "$x`\"");
}

#[test]
fn words_are_split_behind_expansion() {
    for (word, expected) in [
        ("$two", vec!["a", "b"]),
        ("\"$two\"", vec!["a b"]),
        ("x$two$two", vec!["xa", "ba", "b"]),
        ("'a b' c\\ d", vec!["a b", "c d"]),
        ("$empty", vec![]),
        ("\"\" a", vec!["a"]),
        ("${none:-80 81}", vec!["80", "81"]),
        ("7 80${none:-81}2", vec!["7", "812"]),
        ("80\"${none:-81}\"", vec!["81"]),
        ("80${x}", vec!["80value"]),
        ("a << b<c", vec!["a", "<< b<c"]),
    ] {
        assert_eq!(expand_words(word, '\\', &lookup).unwrap().words, expected, "{word}");
    }
}

#[test]
fn heredoc_bodies_keep_quotes() {
    for (body, expected) in [
        ("\"$x\" '$x'\n", "\"value\" 'value'\n"),
        ("\\\n", "\n"),
        ("\\\\\n", "\\\n"),
        ("\\$x `$x`\n", "$x `value`\n"),
        ("it's ${none:-\"fine\"}\n", "it's \"fine\"\n"),
    ] {
        assert_eq!(expand_heredoc(body, &lookup).unwrap().value, expected, "{body}");
    }
}

#[test]
fn names_are_reported() {
    let expansion = expand_word("$a ${b:-$x} ${a+y} '$c' \\$d $x", '\\', &lookup).unwrap();
    assert_eq!(expansion.undefined, ["a", "b"]);
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn values_are_not_expanded_again() {
    let lookup = |name: &str| (name == "a").then(|| "$a ${b} 'c' \\".to_string());
    assert_eq!(expand_word("$a", '\\', &lookup).unwrap().value, "$a ${b} 'c' \\");
}

#[test]
fn growth_and_depth_are_bounded() {
    let lookup = |_: &str| Some("a".repeat(4096));
    let error = |word: &str| expand_word(word, '\\', &lookup).err().map(|error| error.reason);
    let nested = |depth: usize| "${x//a/".repeat(depth) + "a" + &"}".repeat(depth);
    assert_eq!(error(&nested(1)), None);
    assert_eq!(error(&nested(3)), Some(ExpandReason::TooLong));
    assert_eq!(error(&"$x".repeat(30_000)), Some(ExpandReason::TooLong));
    let deep = "${none:-".repeat(60_000) + &"}".repeat(60_000);
    assert_eq!(error(&deep), Some(ExpandReason::TooDeep));
    assert!(expand_word(&("${none:-".repeat(100) + "x" + &"}".repeat(100)), '\\', &|_| None).is_ok());
}

#[test]
fn all_patterns_of_a_word_share_what_they_may_cost() {
    let lookup = |_: &str| Some("a".repeat(400));
    let costly = "${x##*a*a*a*a*a*a*a*ab}";
    assert_eq!(expand_word(costly, '\\', &lookup).unwrap().value.len(), 400);
    let error = expand_word(&costly.repeat(2000), '\\', &lookup).unwrap_err();
    assert!(matches!(error.reason, ExpandReason::PatternCost(_)), "{error}");
}

#[test]
fn errors_say_which_part_is_wrong() {
    for (word, expected) in [
        ("a${x:-b}c${none:?m}d", "${none:?m}"),
        ("a'b", "'"),
        ("ab\"c$x", "\"c$x"),
        ("a${x", "${x"),
        ("a${x^}b", "${x^"),
        ("$x${none:-${}}", "${none:-${"),
    ] {
        let error = expand_word(word, '\\', &lookup).unwrap_err();
        assert_eq!(&word[error.at.clone()], expected, "{word}: {error}");
    }
}

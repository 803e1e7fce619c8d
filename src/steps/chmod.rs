//! `--chmod` as chmod(1) has it: octal, or symbolic clauses such as `u=rwX,go=rX`.

use super::op::Chmod;

/// Why a text is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode: use octal such as `0644`, or clauses such as `u=rwX,go=rX`")]
pub struct ParseChmodError(pub String);

impl Chmod {
    pub fn parse(text: &str) -> Result<Self, ParseChmodError> {
        let error = || ParseChmodError(text.to_string());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| error())?;
            return if mode <= 0o7777 { Ok(Self::Octal(mode)) } else { Err(error()) };
        }
        let chmod = Self::Symbolic(text.to_string());
        if apply_symbolic(text, 0, false).is_some() { Ok(chmod) } else { Err(error()) }
    }

    /// The mode that a file or directory of mode `mode` gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(text) => apply_symbolic(text, mode, is_directory).unwrap_or(mode),
        }
    }
}

fn apply_symbolic(text: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let before = Before { mode, is_directory };
    text.split(',').try_fold(mode, |mode, clause| apply_clause(clause, before, mode))
}

/// One clause: `[ugoa]*` then one or more of `[-+=]` with any of `[rwxXstugo]*`. As BSD's setmode(3) has
/// it, which BuildKit uses: `X` looks at the mode before all clauses, `=` clears setuid and setgid too.
fn apply_clause(clause: &str, before: Before, mut mode: u32) -> Option<u32> {
    let who_end = clause.find(['+', '-', '='])?;
    let who = clause[..who_end].chars().try_fold(Who::default(), Who::with)?;
    let mut rest = &clause[who_end..];
    while !rest.is_empty() {
        let operator = rest.as_bytes()[0];
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        mode = apply_action(operator, &rest[1..end], who, before, mode)?;
        rest = &rest[end..];
    }
    Some(mode)
}

/// What a file was before any clause changed its mode.
#[derive(Clone, Copy)]
struct Before {
    mode: u32,
    is_directory: bool,
}

/// Whose permissions change: nobody named is everybody.
#[derive(Clone, Copy, Default)]
struct Who {
    bits: u32,
}

impl Who {
    fn with(self, letter: char) -> Option<Self> {
        let more = match letter {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            'a' => 0o6777,
            _ => return None,
        };
        Some(Self { bits: self.bits | more })
    }

    fn mask(self) -> u32 {
        if self.bits == 0 { 0o6777 } else { self.bits }
    }

    /// For others alone there is neither setuid nor sticky.
    fn is_only_others(self) -> bool {
        self.bits == 0o0007
    }
}

fn apply_action(operator: u8, permissions: &str, who: Who, before: Before, mode: u32) -> Option<u32> {
    let mut bits = 0;
    let mut mask = who.mask();
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if operator == b'-' || before.is_directory || before.mode & 0o111 != 0 => 0o111,
            's' if !who.is_only_others() => 0o6000,
            't' if !who.is_only_others() => {
                mask |= 0o1000;
                0o1000
            }
            'X' | 's' | 't' => 0,
            'u' => (mode >> 6 & 7) * 0o111,
            'g' => (mode >> 3 & 7) * 0o111,
            'o' => (mode & 7) * 0o111,
            _ => return None,
        };
    }
    // Copied permissions replace permissions alone.
    let is_copy = permissions.starts_with(['u', 'g', 'o']);
    let cleared = if is_copy { mask & 0o777 } else { mask };
    Some(match operator {
        b'+' => mode | bits & mask,
        b'-' => mode & !(bits & mask),
        _ => mode & !cleared | bits & mask,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, mode: u32, is_directory: bool, expected: u32) {
        let chmod = Chmod::parse(text).unwrap();
        assert_eq!(format!("{:o}", chmod.apply(mode, is_directory)), format!("{expected:o}"), "{text}");
    }

    #[test]
    fn modes_are_applied_as_chmod_does() {
        check("640", 0o777, false, 0o640);
        check("04755", 0o644, false, 0o4755);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("+x", 0o644, false, 0o755);
        check("a-w", 0o666, false, 0o444);
        check("u+s,g+s", 0o755, false, 0o6755);
        check("+t", 0o777, true, 0o1777);
        check("g=u", 0o740, false, 0o770);
        check("u+r-w", 0o200, false, 0o400);
        check("a+x", 0o4640, false, 0o4751);
        check("u=rwx", 0o4644, false, 0o744);
        check("g=rx", 0o2755, true, 0o755);
        check("=rw", 0o1777, true, 0o1666);
        check("a=rwx,+t", 0o600, true, 0o1777);
        check("o+t", 0o755, true, 0o755);
        check("o+s", 0o755, false, 0o755);
        check("a-x,+X", 0o755, false, 0o755);
        check("-X", 0o755, false, 0o644);
        check("go=u-w", 0o640, false, 0o644);
        check("go=", 0o777, false, 0o700);
        check("u+rwx,g-w,o=", 0o666, false, 0o740);
        check("ug+s", 0o755, false, 0o6755);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "999", "17777", "rwx", "u", "z+x", "u+q", "u=rw,,g=r", "-1"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}

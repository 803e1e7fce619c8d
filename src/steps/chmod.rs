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
    text.split(',').try_fold(mode, |mode, clause| apply_clause(clause, mode, is_directory))
}

/// One clause: `[ugoa]*` then one or more of `[-+=]` with permissions `[rwxXst]*` or one of `[ugo]`.
fn apply_clause(clause: &str, mut mode: u32, is_directory: bool) -> Option<u32> {
    let who_end = clause.find(['+', '-', '='])?;
    let mut who = [false; 3];
    for letter in clause[..who_end].chars() {
        match letter {
            'u' => who[0] = true,
            'g' => who[1] = true,
            'o' => who[2] = true,
            'a' => who = [true; 3],
            _ => return None,
        }
    }
    if who == [false; 3] {
        who = [true; 3];
    }
    let mut rest = &clause[who_end..];
    while !rest.is_empty() {
        let operator = rest.as_bytes()[0];
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        let (bits, mask) = permission_bits(&rest[1..end], who, mode, is_directory)?;
        mode = match operator {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => (mode & !mask) | bits,
        };
        rest = &rest[end..];
    }
    Some(mode)
}

/// The bits that permissions mean for `who`, and all bits that `=` replaces.
fn permission_bits(permissions: &str, who: [bool; 3], mode: u32, is_directory: bool) -> Option<(u32, u32)> {
    let shifts = [6, 3, 0];
    let mut triple = 0;
    let mut special = 0;
    for letter in permissions.chars() {
        match letter {
            'r' => triple |= 4,
            'w' => triple |= 2,
            'x' => triple |= 1,
            'X' if is_directory || mode & 0o111 != 0 => triple |= 1,
            'X' => {}
            's' => special |= (u32::from(who[0]) * 0o4000) | (u32::from(who[1]) * 0o2000),
            't' => special |= 0o1000,
            'u' if permissions.len() == 1 => triple |= mode >> 6 & 7,
            'g' if permissions.len() == 1 => triple |= mode >> 3 & 7,
            'o' if permissions.len() == 1 => triple |= mode & 7,
            _ => return None,
        }
    }
    let spread = |bits: u32| {
        shifts.iter().zip(who).filter(|(_, on)| *on).fold(0, |sum, (shift, _)| sum | bits << shift)
    };
    let specials = (u32::from(who[0]) * 0o4000) | (u32::from(who[1]) * 0o2000) | (u32::from(who[2]) * 0o1000);
    // As GNU chmod: `=` on a directory leaves setuid and setgid unless they are named.
    let mask = spread(7) | if is_directory { special } else { specials };
    Some((spread(triple) | special, mask))
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
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "999", "17777", "rwx", "u", "z+x", "u+q", "u=rw,,g=r", "-1"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}

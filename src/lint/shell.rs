//! A RUN's text as simple commands, near enough to a shell's reading of it: words, assignments, variables.
//!
//! Nothing is expanded, and what a shell would only know at run time stays as written. Meant for rules, which
//! look for known commands and would rather miss one than see one that is not there.

use crate::dockerfile::{Run, Script};

/// What a RUN runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Shell {
    pub commands: Vec<Command>,
    /// The text without what stands in single quotes, in which no variable is one.
    open_text: String,
}

/// One command with what stands before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// `NAME=value` before the command, or all there is; `export NAME=value` too.
    pub assignments: Vec<(String, String)>,
    /// The command's name and arguments, without quotes.
    pub words: Vec<String>,
}

/// Words that stand before a command and are none.
const BEFORE_COMMANDS: [&str; 19] = [
    "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}", "in", "esac", "exec",
    "env", "sudo", "time", "nice",
];

impl Shell {
    pub fn of(run: &Run) -> Self {
        match run.script() {
            Script::Shell(text) | Script::File { content: text, .. } => Self::parse(&text),
            Script::Exec(words) => match &words[..] {
                [shell, flag, text, ..]
                    if flag.starts_with('-') && flag.ends_with('c') && is_shell(shell) =>
                {
                    Self::parse(text)
                }
                _ => Self { commands: vec![Command { assignments: Vec::new(), words }], ..Self::default() },
            },
        }
    }

    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            reader.char(char, &mut chars);
        }
        reader.end_command();
        Self { commands: reader.commands, open_text: reader.open_text }
    }

    /// Whether the variable is used as one.
    pub fn uses(&self, name: &str) -> bool {
        uses_variable(&self.open_text, name)
    }

    pub fn uses_any(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        super::arguments::PLATFORM_ARGUMENTS.iter().any(|name| is_meant(name) && self.uses(name))
    }

    /// Whether the script itself gives the variable a value.
    pub fn sets(&self, name: &str) -> bool {
        self.commands.iter().any(|command| {
            command.assignments.iter().any(|(assigned, _)| assigned == name)
                || matches!(
                    command.words.first().map(String::as_str),
                    Some("read" | "for" | "local" | "declare")
                ) && command.words.iter().any(|word| word == name)
        })
    }

    /// Whether it chooses between cases.
    pub fn is_conditional(&self) -> bool {
        self.commands.iter().any(|command| {
            matches!(command.words.first().map(String::as_str), Some("case" | "[" | "[[" | "test" | "for"))
        })
    }

    pub fn runs(&self, name: &str) -> bool {
        self.commands.iter().any(|command| command.is(name))
    }
}

impl Command {
    /// The command's name without its folder.
    pub fn name(&self) -> &str {
        let first = self.words.first().map_or("", String::as_str);
        first.rsplit('/').next().unwrap_or(first)
    }

    pub fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first argument that is no flag.
    pub fn verb(&self) -> &str {
        self.arguments().iter().find(|word| !word.starts_with('-')).map_or("", String::as_str)
    }

    pub fn has(&self, argument: &str) -> bool {
        self.arguments().iter().any(|word| word == argument)
    }

    /// The value of `--flag value` or `--flag=value`.
    pub fn flag(&self, flag: &str) -> Option<&str> {
        let mut words = self.arguments().iter();
        while let Some(word) = words.next() {
            if word == flag {
                return words.next().map(String::as_str);
            }
            if let Some(value) = word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }

    pub fn sets(&self, name: &str) -> Option<&str> {
        self.assignments.iter().find(|(assigned, _)| assigned == name).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        let assignments = self.assignments.iter().map(|(name, value)| format!("{name}={value}"));
        assignments.chain(self.words.iter().cloned()).collect::<Vec<_>>().join(" ")
    }

    /// Whether one of the arguments for the target's platform is used in it.
    pub fn uses_target(&self) -> bool {
        let text = self.text();
        super::arguments::PLATFORM_ARGUMENTS
            .iter()
            .any(|name| super::arguments::is_target_argument(name) && uses_variable(&text, name))
    }
}

fn is_shell(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"))
}

/// Whether `$name` or `${name…}` stands in `text`.
pub(super) fn uses_variable(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let rest = rest.strip_prefix(['#', '!']).unwrap_or(rest);
        rest.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_'))
    })
}

#[derive(Default)]
struct Reader {
    commands: Vec<Command>,
    current: Command,
    word: Option<String>,
    open_text: String,
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl Reader {
    fn char(&mut self, char: char, chars: &mut Chars<'_>) {
        if char != '\'' {
            self.open_text.push(char);
        }
        match char {
            '\\' => {
                if let Some(next) = chars.next().filter(|next| *next != '\n') {
                    self.push(next);
                }
            }
            '\'' => {
                self.word.get_or_insert_default();
                for quoted in chars.by_ref().take_while(|next| *next != '\'') {
                    self.push(quoted);
                }
            }
            '"' => self.double_quoted(chars),
            '$' if chars.peek() == Some(&'{') => self.braced(chars),
            '#' if self.word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            ' ' | '\t' => self.end_word(),
            '\n' | ';' | '&' | '|' | '(' | ')' | '`' => self.end_command(),
            _ => self.push(char),
        }
    }

    fn push(&mut self, char: char) {
        self.word.get_or_insert_default().push(char);
    }

    fn double_quoted(&mut self, chars: &mut Chars<'_>) {
        self.word.get_or_insert_default();
        while let Some(char) = chars.next().filter(|next| *next != '"') {
            self.open_text.push(char);
            match char {
                '\\' => {
                    if let Some(next) = chars.next() {
                        self.push(next);
                    }
                }
                _ => self.push(char),
            }
        }
    }

    fn braced(&mut self, chars: &mut Chars<'_>) {
        self.push('$');
        for char in chars.by_ref() {
            self.open_text.push(char);
            self.push(char);
            if char == '}' {
                break;
            }
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let first = self.current.words.first().map(String::as_str);
        let opens = first.is_none() || matches!(first, Some("export"));
        if first.is_none() && BEFORE_COMMANDS.contains(&word.as_str()) {
            return;
        }
        match word.split_once('=') {
            Some((name, value)) if opens && is_name(name) => {
                self.current.assignments.push((name.to_string(), value.to_string()));
            }
            _ => self.current.words.push(word),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let command = std::mem::take(&mut self.current);
        if command != Command::default() {
            self.commands.push(command);
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let commands: Vec<String> = Shell::parse(text).commands.iter().map(Command::text).collect();
        assert_eq!(commands, expected, "{text}");
    }

    #[test]
    fn commands_are_told_apart() {
        check("a b && c 'd e' | f;g\nh", &["a b", "c d e", "f", "g", "h"]);
        check("X=1 Y=\"$2 3\" go build -o /x .", &["X=1 Y=$2 3 go build -o /x ."]);
        check(
            "export GOARCH=arm64; if [ -f x ]; then make; fi",
            &["GOARCH=arm64 export", "[ -f x ]", "make"],
        );
        check("curl -L ${URL:-a b}/x # comment\necho \\\n ok", &["curl -L ${URL:-a b}/x", "echo ok"]);
        check("echo $(uname -m)", &["echo $", "uname -m"]);
        check("", &[]);
    }

    #[test]
    fn variables_in_single_quotes_are_text() {
        let shell = Shell::parse("echo '$TARGETARCH' \"${TARGETOS:-x}\" $TARGETVARIANT2");
        assert!(!shell.uses("TARGETARCH") && shell.uses("TARGETOS") && !shell.uses("TARGETVARIANT"));
    }

    #[test]
    fn assignments_and_reads_set_variables() {
        let shell = Shell::parse("A=1; export B=2 && read C; D=3 make");
        for name in ["A", "B", "C", "D"] {
            assert!(shell.sets(name), "{name}");
        }
        assert!(!shell.sets("make"));
    }
}

//! The file that is being written: sections of items, each with what is said about it, and the lines they
//! come to.

use super::tree::{Tree, WIDEST, name};

/// Tables with more entries get a header of their own.
const MOST_INLINE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Project,
    Var,
    Group,
    Target,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Var => "var",
            Self::Group => "group",
            Self::Target => "target",
        }
    }
}

/// `[target.NAME]` and its keys.
#[derive(Clone, Debug)]
pub struct Section {
    pub kind: Kind,
    /// Empty for `[project]`.
    pub name: String,
    pub comments: Vec<String>,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub key: String,
    pub value: Tree,
    pub comments: Vec<String>,
    /// About entries of a table.
    pub notes: Vec<(String, String)>,
    /// Why it is a comment instead of a key.
    pub refused: Option<String>,
    /// Of a table: entries that are comments.
    pub refused_entries: Vec<(String, String)>,
    /// Its templates gave way to what they come to.
    pub is_settled: bool,
    /// It adds to what is inherited.
    pub is_added: bool,
}

impl Item {
    pub fn new(key: impl Into<String>, value: Tree) -> Self {
        Self {
            key: key.into(),
            value,
            comments: Vec::new(),
            notes: Vec::new(),
            refused: None,
            refused_entries: Vec::new(),
            is_settled: false,
            is_added: false,
        }
    }

    pub fn noted(mut self, comments: impl IntoIterator<Item = String>) -> Self {
        self.comments.extend(comments);
        self
    }

    /// Whether it takes a header of its own.
    fn is_section(&self) -> bool {
        let Tree::Table(entries) = &self.value else { return false };
        let width = self.key.len() + 3 + self.value.inline().chars().count();
        self.refused.is_none()
            && (self.key == "matrix"
                || entries.len() > MOST_INLINE
                || width > WIDEST
                || !self.notes.is_empty()
                || !self.refused_entries.is_empty())
    }
}

impl Section {
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), comments: Vec::new(), items: Vec::new() }
    }

    pub fn item(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    pub fn item_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.key == key)
    }

    /// Puts the item in the place of the one of its key.
    pub fn put(&mut self, item: Item) {
        match self.item_mut(&item.key) {
            Some(known) => *known = item,
            None => self.items.push(item),
        }
    }

    pub fn remove(&mut self, key: &str) {
        self.items.retain(|item| item.key != key);
    }

    fn header(&self) -> String {
        match self.kind {
            Kind::Project => "project".to_string(),
            kind => format!("{}.{}", kind.word(), name(&self.name)),
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Comments at its head.
    pub head: Vec<String>,
    pub sections: Vec<Section>,
    /// Comments at its end.
    pub tail: Vec<String>,
}

/// Where a line comes from: a section, an item of it, and an entry of that.
pub type Origin = (usize, usize, Option<String>);

/// The text, and for each of its lines where it comes from.
#[derive(Debug, Default)]
pub struct Written {
    pub text: String,
    pub origins: Vec<Option<Origin>>,
}

impl Written {
    fn line(&mut self, text: &str, origin: Option<&Origin>) {
        for line in text.split('\n') {
            self.text.push_str(line);
            self.text.push('\n');
            self.origins.push(origin.cloned());
        }
    }

    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.line("", None);
        }
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let line = format!("# {line}");
            self.line(line.trim_end(), None);
        }
    }
}

impl Document {
    pub fn write(&self) -> Written {
        let mut written = Written::default();
        written.line("#:schema ./schema/multiarch.schema.json", None);
        for comment in &self.head {
            written.comment(comment);
        }
        written.line("version = 1", None);
        for (at, section) in self.sections.iter().enumerate() {
            write_section(&mut written, at, section);
        }
        if !self.tail.is_empty() {
            written.gap();
            self.tail.iter().for_each(|comment| written.comment(comment));
        }
        written
    }

    pub fn section(&self, kind: Kind, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind && section.name == name)
    }

    pub fn section_mut(&mut self, kind: Kind, name: &str) -> Option<&mut Section> {
        self.sections.iter_mut().find(|section| section.kind == kind && section.name == name)
    }

    pub fn targets(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.kind == Kind::Target)
    }
}

fn write_section(written: &mut Written, at: usize, section: &Section) {
    written.gap();
    section.comments.iter().for_each(|comment| written.comment(comment));
    let (tables, plain): (Vec<_>, Vec<_>) =
        section.items.iter().enumerate().partition(|(_, item)| item.is_section());
    // A header with nothing but tables below it says nothing.
    if !plain.is_empty() || tables.is_empty() {
        written.line(&format!("[{}]", section.header()), None);
    }
    for (index, item) in plain {
        write_item(written, &(at, index, None), item);
    }
    for (index, item) in tables {
        write_table(written, (at, index), section, item);
    }
}

fn write_item(written: &mut Written, origin: &Origin, item: &Item) {
    item.comments.iter().for_each(|comment| written.comment(comment));
    item.notes.iter().for_each(|(_, note)| written.comment(note));
    let append = if item.is_added { "append." } else { "" };
    let start = format!("{append}{} = ", name(&item.key));
    let text = format!("{start}{}", item.value.lines(start.len()));
    match &item.refused {
        Some(reason) => write_refused(written, reason, &text),
        None => written.line(&text, Some(origin)),
    }
}

fn write_refused(written: &mut Written, reason: &str, text: &str) {
    written.comment(&format!("not carried over: {reason}"));
    written.comment(text);
}

fn write_table(written: &mut Written, (at, index): (usize, usize), section: &Section, item: &Item) {
    let Tree::Table(entries) = &item.value else { return };
    written.gap();
    item.comments.iter().for_each(|comment| written.comment(comment));
    written.line(&format!("[{}.{}]", section.header(), name(&item.key)), None);
    for (key, value) in entries {
        for (_, note) in item.notes.iter().filter(|(noted, _)| noted == key) {
            written.comment(note);
        }
        let start = format!("{} = ", name(key));
        let text = format!("{start}{}", value.lines(start.len()));
        match item.refused_entries.iter().find(|(refused, _)| refused == key) {
            Some((_, reason)) => write_refused(written, reason, &text),
            None => written.line(&text, Some(&(at, index, Some(key.clone())))),
        }
    }
}

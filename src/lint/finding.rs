//! What a rule found, before anybody knows whether it is to be told.

use crate::base::Platform;
use crate::diag::{Edit, Label, Place};

/// One mistake at one place.
#[derive(Clone, Debug)]
pub struct Finding {
    pub message: String,
    /// The most telling place first.
    pub labels: Vec<Label>,
    pub help: Option<String>,
    /// How to put it right, where that needs no thought.
    pub edit: Option<Edit>,
    /// The one platform of the target that it is about.
    pub platform: Option<Platform>,
}

impl Finding {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), labels: Vec::new(), help: None, edit: None, platform: None }
    }

    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, text: text.into(), replacement: None });
        self
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub fn edit(self, place: Place, replacement: impl Into<String>) -> Self {
        Self { edit: Some(Edit { place, replacement: replacement.into() }), ..self }
    }

    pub fn only_for(self, platform: &Platform) -> Self {
        Self { platform: Some(platform.clone()), ..self }
    }
}

/// The first `text` in `place`, or all of it.
pub(super) fn within(place: &Place, text: &str) -> Place {
    let span = place.span.clone();
    let found = place.source.text.get(span.clone()).and_then(|written| written.find(text));
    match found {
        Some(offset) if !text.is_empty() => {
            Place::new(&place.source, span.start + offset..span.start + offset + text.len())
        }
        _ => place.clone(),
    }
}

/// Where the variable `name` is used in `place`, or all of it.
pub(super) fn variable_within(place: &Place, name: &str) -> Place {
    let braced = within(place, &format!("${{{name}"));
    if braced != *place {
        let end = braced.span.end + usize::from(place.source.text[braced.span.end..].starts_with('}'));
        return Place::new(&place.source, braced.span.start..end);
    }
    within(place, &format!("${name}"))
}

/// The line that `place` begins on, up to its end.
pub(super) fn first_line(place: &Place) -> Place {
    let text = &place.source.text[place.span.clone()];
    let length = text.find('\n').unwrap_or(text.len());
    let length = text[..length].trim_end().len();
    Place::new(&place.source, place.span.start..place.span.start + length)
}

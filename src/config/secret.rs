//! Secrets: bake's `id=…,env=…` and `id=…,src=…`, or a table. Where a value is, never the value.

use toml::de::DeValue;

use super::conditional::Conditional;
use super::entries::split_csv;
use super::forwarded::{Forwarded, check_id};
use super::keys::Section;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::base::Secret;
use crate::diag::{Place, Problem};
use crate::model::SecretSource;

#[derive(Debug)]
pub enum SecretDeclaration {
    /// `[type=file|env,]id=…[,src=…|,env=…]`
    Line(Text),
    Table(Box<SecretTable>),
}

/// A secret variable, as far as it is known.
pub struct SecretVariable {
    pub value: Option<Secret>,
    /// The environment variable that it declares.
    pub env: Option<String>,
}

#[derive(Debug)]
pub struct SecretTable {
    place: Place,
    id: Text,
    env: Option<Text>,
    src: Option<Text>,
    /// The name of a secret variable.
    var: Option<Text>,
}

impl SecretDeclaration {
    /// The id as it is written, before templates are rendered.
    pub fn id(&self) -> String {
        match self {
            Self::Line(text) => Draft::parse(&text.value).map(|draft| draft.id).unwrap_or_default(),
            Self::Table(table) => table.id.value.clone(),
        }
    }
}

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Conditional<SecretDeclaration>>> {
    let members = reader.list("secret", value, "a list of secrets")?;
    let mut secrets = Vec::new();
    for member in members {
        match member.get_ref() {
            DeValue::String(_) => {
                let line = reader.text("secret", member, Role::Template);
                secrets.extend(line.map(SecretDeclaration::Line).map(Conditional::always));
            }
            DeValue::Table(_) => secrets.extend(read_table(reader, member)),
            _ => reader.mismatch("secret", member, "a string or a table"),
        }
    }
    Some(secrets)
}

fn read_table(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Conditional<SecretDeclaration>> {
    let place = reader.place(value.span());
    let (mut id, mut env, mut src, mut var, mut when) = (None, None, None, None, None);
    for (key, value) in reader.table("secret", value)? {
        match key.get_ref().as_ref() {
            "id" => id = reader.text("id", value, Role::Template),
            "env" => env = reader.text("env", value, Role::Template),
            "src" => src = reader.text("src", value, Role::Template),
            "var" => var = reader.text("var", value, Role::Plain),
            "when" => when = reader.text("when", value, Role::Condition),
            _ => reader.unknown_key(Section::Secret, key),
        }
    }
    if id.is_none() {
        reader.report(
            Problem::input("config::missing-key", "a secret needs an `id`")
                .at(place.clone(), "has no `id`")
                .help("write `id = \"…\"`, as `RUN --mount=type=secret,id=…` has it"),
        );
    }
    let value = SecretDeclaration::Table(Box::new(SecretTable { place, id: id?, env, src, var }));
    Some(Conditional { value, when })
}

/// The secret with its templates rendered; `None` when it comes out empty. `variable` finds a secret variable.
pub fn resolve(
    declared: &SecretDeclaration,
    render: &impl Fn(&Text) -> Result<String, Problem>,
    variable: &impl Fn(&str) -> Result<SecretVariable, Problem>,
) -> Result<Option<Forwarded<SecretSource>>, Problem> {
    match declared {
        SecretDeclaration::Line(text) => {
            let line = render(text)?;
            if line.trim().is_empty() {
                return Ok(None);
            }
            let draft = Draft::parse(&line).map_err(|message| bad(message, text.place()))?;
            draft.finish(text, text.place(), text, variable).map(Some)
        }
        SecretDeclaration::Table(table) => {
            let optional = |text: &Option<Text>| text.as_ref().map(render).transpose();
            let (env, src) = (optional(&table.env)?, optional(&table.src)?);
            let var = table.var.as_ref().map(|text| text.value.clone());
            let draft = Draft { kind: None, id: render(&table.id)?, env, src, var };
            let named = table.var.as_ref().unwrap_or(&table.id);
            draft.finish(&table.id, table.place.clone(), named, variable).map(Some)
        }
    }
}

#[derive(Default)]
struct Draft {
    kind: Option<Kind>,
    id: String,
    env: Option<String>,
    src: Option<String>,
    var: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Env,
}

impl Draft {
    fn parse(line: &str) -> Result<Self, String> {
        let fields = split_csv(line).ok_or_else(|| format!("a quote is not closed in `{line}`"))?;
        let mut draft = Self::default();
        for field in fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(format!("`{field}` is not of the form `key=value`"));
            };
            match (key.trim().to_ascii_lowercase().as_str(), value) {
                ("type", "file") => draft.kind = Some(Kind::File),
                ("type", "env") => draft.kind = Some(Kind::Env),
                ("type", other) => return Err(format!("a secret is of type `file` or `env`, not `{other}`")),
                ("id", value) => draft.id = value.to_string(),
                ("env", value) => draft.env = Some(value.to_string()),
                ("var", value) => draft.var = Some(value.to_string()),
                ("src" | "source", value) => draft.src = Some(value.to_string()),
                (other, _) => return Err(format!("a secret has no key `{other}`")),
            }
        }
        // As in bake: `type=env` makes the source a variable.
        if draft.kind == Some(Kind::Env) && draft.env.is_none() {
            draft.env = draft.src.take();
        }
        Ok(draft)
    }

    fn finish(
        self,
        text: &Text,
        place: Place,
        named: &Text,
        variable: &impl Fn(&str) -> Result<SecretVariable, Problem>,
    ) -> Result<Forwarded<SecretSource>, Problem> {
        check_id("secret", &self.id, &place)?;
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let file = |path: &str| text.resolve_path(path);
        if let Some(name) = filled(self.var) {
            if filled(self.env).is_some() || filled(self.src).is_some() {
                let problem = bad(format!("the secret `{}` has `var` and another source", self.id), place);
                return Err(problem.help("keep one of them"));
            }
            let found = variable(&name).map_err(|problem| problem.at(named.place(), "named here"))?;
            let SecretVariable { value, env } = found;
            return Ok(Forwarded { id: self.id, source: SecretSource::Variable { name, value, env }, place });
        }
        let source = match (filled(self.env), filled(self.src), self.kind) {
            (Some(_), Some(_), _) => {
                let problem = bad(format!("the secret `{}` has `env` and `src`", self.id), place);
                return Err(problem.help("keep one of them"));
            }
            (Some(name), None, _) => SecretSource::Env(name),
            (None, Some(path), _) => SecretSource::File(file(&path)),
            (None, None, Some(Kind::Env)) => SecretSource::Env(self.id.clone()),
            (None, None, Some(Kind::File)) => SecretSource::File(file(&self.id)),
            (None, None, None) => SecretSource::ById(file(&self.id)),
        };
        Ok(Forwarded { id: self.id, source, place })
    }
}

fn bad(message: String, place: Place) -> Problem {
    Problem::input("config::bad-secret", message).at(place, "here")
}
